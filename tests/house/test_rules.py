"""Every rule of the paper that the code cites stands in docs/rules.md, and every rule there is cited."""

import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.support.places import ROOT

ROOMS = (
    *("assets", "cli", "curation", "evaluation", "handover", "report", "resources", "simulation", "sql", "training"),
    *("docs", "configs", "measurements"),
)
SUFFIXES = {".py", ".sql", ".md", ".toml", ".html", ".css"}
PAGE = ROOT / "docs" / "rules.md"
NUMBER = r"O-\d\d|invariant \d|\d+\.\d\d|\d+"
# `spec` and whatever numbers follow, over line ends and the marks of comments; a word that is no number ends the list
CITATION = re.compile(rf"\bspec\b[\s#]*((?:(?:{NUMBER}|partition|and|to|--)[\s,;#]*)+)")
RULE = re.compile(rf"^- \*\*({NUMBER}|\d+ invariant \d|\d+ partition)\*\* (.+(?:\n  .+)*)", re.MULTILINE)
SECTION = re.compile(r"^## (\d+) ", re.MULTILINE)


def cited(text: str) -> Iterator[str]:
    """The numbers that a text cites; a range stands for all its numbers, a number without a point for its section.

    >>> list(cited("(spec 4.08 to 4.10, O-06;\\n# and 8), O-09; (spec 4, invariant 3), (spec 2.10: 0.10 to 0.70)"))
    ['4.08', '4.09', '4.10', 'O-06', '8', '4', '4 invariant 3', '2.10', 'O-09']
    """
    listed = set()
    for found in CITATION.finditer(text):
        section = last = None
        for token in re.findall(rf"{NUMBER}|to", found[1]):
            if token == "to":
                last = section
                continue
            if token.startswith("invariant"):
                token = f"{section} {token}"
            if last:
                head, end = re.split(r"(?<=[.-])", token)
                yield from (f"{head}{n:02d}" for n in range(int(re.split(r"[.-]", last)[1]) + 1, int(end)))
            section, last = token, None
            listed.add(token)
            yield token
    yield from (number for number in re.findall(r"\bO-\d\d\b", text) if number not in listed)


def citations() -> dict[str, set[str]]:
    """Number -> the files that cite it."""
    where = defaultdict(set)
    files = [p for room in ROOMS for p in (ROOT / room).rglob("*")] + [ROOT / "README.md", ROOT / "assay.toml"]
    for path in files:
        if path.suffix in SUFFIXES and path != PAGE:
            for number in cited(path.read_text(encoding="utf-8")):
                where[number].add(path.relative_to(ROOT).as_posix())
    return where


def rules() -> dict[str, list[str]]:
    """Number -> the files that the page names."""
    text = PAGE.read_text(encoding="utf-8")
    found = {number: re.findall(r"`([\w./]+\.\w+)`", body) for number, body in RULE.findall(text)}
    assert len(found) == text.count("\n- **"), "a rule is there twice or has no number"
    return found


def test_every_number_that_is_cited_stands_on_the_page():
    known = {*rules(), *SECTION.findall(PAGE.read_text(encoding="utf-8"))}
    missing = {number: sorted(files) for number, files in citations().items() if number not in known}
    assert not missing, "docs/rules.md lacks these; say in our own words what each asks for"


def test_every_rule_on_the_page_is_cited():
    assert not {r for r in rules() if not r.endswith("partition")} - set(citations())


def test_a_file_that_the_page_names_for_a_rule_cites_it():
    where = citations()
    wrong = {rule: set(files) - where[rule.removesuffix(" partition")] for rule, files in rules().items()}
    assert not {rule: files for rule, files in wrong.items() if files}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("(spec 3.08, O-06)", ["3.08", "O-06"]),
        ("(spec 6, 6.09, 6.10, 8.01)", ["6", "6.09", "6.10", "8.01"]),
        ("Rules (spec\n# 4, partition; 4.13). Then 5.", ["4", "4.13"]),
        ("(spec 4, invariant 3)", ["4", "4 invariant 3"]),
        ("(spec 7.01 to 7.03, 7.20)", ["7.01", "7.02", "7.03", "7.20"]),
        ("(spec 4, partition; O-01 to O-03)", ["4", "O-01", "O-02", "O-03"]),
        ("-- as spec\n-- O-09 has it", ["O-09"]),
        ("dollars (spec 2.10: 0.10 to 0.70)", ["2.10"]),
        ("kept (O-09)", ["O-09"]),
        ("(spec 9.06 with patience), (spec 3.18; Shen, arXiv 2502.04354)", ["9.06", "3.18"]),
        ("spec = find_spec(name, 3.08)", []),
    ],
)
def test_a_citation_is_found_however_it_is_written(text: str, numbers: list[str]):
    assert list(cited(text)) == numbers
