"""The scan for personal data on a planted set: what it finds, what it takes for personal and is not, what it leaves."""

import re
import sys
from collections import Counter
from importlib.util import find_spec

import pytest

from assets.personal_data import personal_data
from curation.redaction import Finding, apart, redacted, sensitivity
from curation.tables import CLEAN_POOL
from resources.lake import Lake
from resources.settings import ConfigError, Personal
from resources.sources import personal_scan as personal
from tests.support.lakes import make, put, query

pytestmark = pytest.mark.skipif(not find_spec("presidio_analyzer"), reason="presidio_analyzer is not installed")

# [kind:value] is planted; everything else is not personal
PLANTED = """
Write to [EMAIL_ADDRESS:anna.berg@firma-nord.de] or [EMAIL_ADDRESS:j_o'neill+list@mail.univ.ac.uk] by Friday.
My mail is [EMAIL_ADDRESS:Kai.Uwe@Example.ORG], the team is <[EMAIL_ADDRESS:team42@startup.io]>.
联系邮箱:[EMAIL_ADDRESS:zhang.wei@qq.com]。
Call me at [PHONE_NUMBER:+49 30 90182011] or on [PHONE_NUMBER:+1 (415) 230-5678], evenings [PHONE_NUMBER:020 7946 0018].
Office [PHONE_NUMBER:(212) 736-5000], mobile [PHONE_NUMBER:+91 98765 43210], Paris [PHONE_NUMBER:01 42 68 53 00].
Call [PHONE_NUMBER:0049 30 90182011], ring [PHONE_NUMBER:030/90182011].
电话:[PHONE_NUMBER:13812345678], or [PHONE_NUMBER:415.230.5678].
In the film they dial [PHONE_NUMBER:(212) 555-0142].
Pay to [IBAN_CODE:DE89 3704 0044 0532 0130 00] or [IBAN_CODE:GB82WEST12345698765432], thanks.
The card [CREDIT_CARD:4539 1488 0343 6467] expired; test with [CREDIT_CARD:4111 1111 1111 1111].
The login came from [IP_ADDRESS:81.2.69.142] and from [IP_ADDRESS:2a02:2e0:3fe:1001:302::]; the router is [IP_ADDRESS:192.168.1.1].
Device [MAC_ADDRESS:00:1A:2B:3C:4D:5E] joined the network.
Her number is SSN [US_SSN:536-22-8726], keep it safe.
Donate to [CRYPTO:1BoatSLRHtKNngkdXEeobR76b53LETtpyT] please.
""".strip().splitlines()
HARMLESS = """
The meeting is on 2024-01-15 at 12:30:45, room 3.14, and the ratio is 16:9.
Order 4457821 has 12 items for 1,299.00 dollars; see chapter 10.2.3.
git checkout 3f786850e387550fdab836ed7e6dc881de23001b && pip install numpy==1.26.4
def f(x): return x @ w  # 0x7ffd2a, 1e-05, 6.02214076e23
Follow @openai or run ssh root@localhost and look at ::before in the style sheet.
The population grew from 1200345 in 1990 to 2500789 in 2020, that is 3.75 percent a year.
ISBN 978-3-16-148410-0, DOI 10.1000/182, pi is 3.14159265358979.
Solve 12345 * 67890 + 24680 / 13579 = ? and show 100 200 300 400 500.
""".strip().splitlines()
UNSEEN = """
Reach me: [EMAIL_ADDRESS:anna (at) firma-nord (dot) de]. My number is [PHONE_NUMBER:736-5000], ask for [PERSON:Lou].
I live at [ADDRESS:12 Elm Street, Springfield, IL 62704]. My neighbour is called [PERSON:Anna Berg].
Passport [PASSPORT:C01X00T47], born [BIRTH:3 May 1988], NI number [UK_NINO:QQ 12 34 56 C].
""".strip().splitlines()
TEMPTING = """
Update to version 81.4.2.1 of the driver.
Sum 415 230 5678 and 212 736 5000.
Lottery numbers: 04 11 23 35 42 49
UPC 036000291452 and 4006381333931
""".strip().splitlines()


def planted(line: str) -> tuple[str, set[tuple[int, int, str]]]:
    text, spans, end = "", set(), 0
    for match in re.finditer(r"\[([A-Z_]+):(.+?)\](?![:\w])", line):
        text += line[end : match.start()]
        spans.add((len(text), len(text) + len(match[2]), match[1]))
        text += match[2]
        end = match.end()
    return text + line[end:], spans


@pytest.fixture(scope="module")
def scan():
    return personal.scanner(Personal(backend="presidio"))


def test_precision_and_recall_on_the_planted_set(scan):
    wanted, found, wrong = Counter(), Counter(), Counter()
    for line in [*PLANTED, *HARMLESS, *UNSEEN, *TEMPTING]:
        text, spans = planted(line)
        wanted.update(kind for *_, kind in spans)
        for f in scan(text):
            (found if (f.start, f.stop, f.kind) in spans else wrong)[f.kind] += 1
    assert {kind: (found[kind], n) for kind, n in wanted.items()} == {
        "EMAIL_ADDRESS": (5, 6), "PHONE_NUMBER": (11, 12), "IBAN_CODE": (2, 2), "CREDIT_CARD": (2, 2), "IP_ADDRESS": (3, 3),
        "MAC_ADDRESS": (1, 1), "US_SSN": (1, 1), "CRYPTO": (1, 1),
        "PERSON": (0, 2), "ADDRESS": (0, 1), "PASSPORT": (0, 1), "BIRTH": (0, 1), "UK_NINO": (0, 1),  # not looked for
    }  # fmt: skip
    assert wrong == {"PHONE_NUMBER": 4, "IP_ADDRESS": 1}  # numbers that are written like one
    assert (found.total(), found.total() + wrong.total(), wanted.total()) == (26, 31, 34)  # precision 84 %, recall 76 %


def test_a_text_that_is_not_looked_at_holds_nothing(monkeypatch):
    """What lets most texts pass unread must not cost a finding."""
    lines = [planted(line)[0] for line in [*PLANTED, *HARMLESS, *UNSEEN, *TEMPTING]]
    fast = personal.scanner(Personal(backend="presidio"))
    quick = [fast(line) for line in lines]
    monkeypatch.setattr(personal, "_MAYBE", re.compile(""))
    thorough = personal.scanner(Personal(backend="presidio"))
    assert [thorough(line) for line in lines] == quick
    monkeypatch.undo()
    assert not personal._MAYBE.search("Why is the sky blue? Because of 3 things: light, air, and 12 more.")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("EMAIL_ADDRESS", "a@example.org", 0), ("EMAIL_ADDRESS", "a@mail.example.com", 0), ("EMAIL_ADDRESS", "a@b.test", 0),
        ("EMAIL_ADDRESS", "a@myexample.org", 2), ("PHONE_NUMBER", "(212) 555-0142", 0), ("PHONE_NUMBER", "212 736 5000", 2),
        ("IP_ADDRESS", "10.0.0.1", 0), ("IP_ADDRESS", "192.0.2.7", 0), ("IP_ADDRESS", "81.2.69.142", 1),
        ("CREDIT_CARD", "4111-1111-1111-1111", 0), ("CREDIT_CARD", "4539 1488 0343 6467", 3), ("IBAN_CODE", "x", 3),
        ("PERSON", "Anna", 1),
    ],
)  # fmt: skip
def test_examples_are_not_sensitive(kind, value, expected):
    assert sensitivity(kind, value) == expected


def test_of_overlapping_findings_the_surest_counts():
    iban, phone = Finding(0, 22, "IBAN_CODE", 1.0, 3), Finding(5, 16, "PHONE_NUMBER", 0.4, 2)
    far = Finding(23, 26, "CRYPTO", 0.5, 1)
    assert apart([phone, far, iban]) == [iban, far]
    assert redacted("DE89370400440532013000 and more", [iban, far], 3) == "<IBAN_CODE> and more"


def test_findings_say_where_and_the_copies_are_without(tmp_path):
    lake = Lake(str(tmp_path))
    mail, card = "anna.berg@firma-nord.de", "4539 1488 0343 6467"
    put(lake, CLEAN_POOL, [
        {"pair_id": "p1", "conversation": [{"role": "user", "content": f"Mail {mail}"}, {"role": "assistant", "content": "ok"},
                                           {"role": "user", "content": "go"}], "chosen": f"Card {card}.", "rejected": "no"},
        {"pair_id": "p2", "conversation": [{"role": "user", "content": "Mail a@example.org"}]},
        {"pair_id": "p3"},
    ], "b00")  # fmt: skip
    make(personal_data, lake, "b00", personal={"backend": "presidio"})
    assert query(lake, "SELECT pair_id, place, kind, sensitivity, start FROM personal_data ORDER BY ALL") == [
        ("p1", "chosen", "CREDIT_CARD", 3, 5), ("p1", "turn 0", "EMAIL_ADDRESS", 2, 5), ("p2", "turn 0", "EMAIL_ADDRESS", 0, 5),
    ]  # fmt: skip
    [(pair, turns, chosen, rejected)] = query(lake, "SELECT pair_id, conversation, chosen, rejected FROM redacted")
    assert (pair, chosen, rejected) == ("p1", "Card <CREDIT_CARD>.", "no")
    assert [t["content"] for t in turns] == ["Mail <EMAIL_ADDRESS>", "ok", "go"]
    for path in tmp_path.rglob("*.parquet"):
        if "clean_pool" not in str(path):
            assert mail.encode() not in path.read_bytes() and card.encode() not in path.read_bytes()


def test_a_missing_package_or_model_is_named(monkeypatch):
    with pytest.raises(ConfigError, match=r"personal\.model: the spaCy package 'xx_none' is not installed"):
        personal.scanner(Personal(backend="presidio", model="xx_none"))
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(ConfigError, match=r"pip install 'assay\[personal\]'"):
        personal.scanner(Personal(backend="presidio"))
