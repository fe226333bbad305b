"""Real pools whose labels can be checked: texts that people judged, and labels that somebody else made.

A bed is a set of pairs with people's verdict (or one that people verified), and an original label by a weaker maker: a
model, a single person, a habit. Where no such maker exists, labels are spoilt on purpose, and the bed's name says
"planted". Files are those of the folder ASSAY_DATA.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

ROWS = "{data}"  # stands for the folder in a query


@dataclass(frozen=True)
class Pairs:
    """Pairs of one set, as columns [n].

    Attributes:
        prompt, a, b: texts.
        truth: bool, whether people prefer a.
        group: what must not be split: the prompt, or a debate.
        category: what kind of pair it is, '' where nothing is known.
        makers: name -> labels [n], 1 for a, 0 for b, -1 where there is none.
        others: for a maker who is one of the people who made `truth`: what the others say [n], as in `makers`.
        agreement: share of pairs of people who say the same of one pair; None where one person labelled.
    """

    name: str
    prompt: list[str]
    a: list[str]
    b: list[str]
    truth: np.ndarray
    group: np.ndarray
    category: np.ndarray
    makers: dict[str, np.ndarray]
    others: dict[str, np.ndarray]
    agreement: float | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Characters of a less those of b [n]."""
        return np.array([len(x) - len(y) for x, y in zip(self.a, self.b, strict=True)])


def data() -> Path:
    """The folder with the files."""
    if not (folder := os.environ.get("ASSAY_DATA")):
        raise SystemExit("set ASSAY_DATA to the folder that holds bench/, gold/ and pool/")
    return Path(folder)


def query(sql: str) -> list[tuple]:
    return duckdb.connect().execute(sql.replace(ROWS, str(data()))).fetchall()


def lot(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.md5("|".join(map(str, parts)).encode()).hexdigest()[:13], 16) / 16**13


def coded(value: object, first: object, second: object) -> int:
    return 1 if value == first else 0 if value == second else -1


def build(
    name: str, rows: list[dict], makers: tuple[str, ...], others: tuple[str, ...] = (), agreement: float | None = None
) -> Pairs:
    """Columns from rows with prompt, a, b, truth, group, category and a value a maker; texts that are equal or empty
    make no pair."""
    rows = [
        r for r in rows if r["a"] and r["b"] and r["a"].strip() and r["b"].strip() and r["a"].strip() != r["b"].strip()
    ]
    rows.sort(key=lambda r: lot(name, r["group"], r["a"], r["b"]))

    def column(key: str) -> np.ndarray:
        return np.array([r[key] for r in rows])

    return Pairs(
        name,
        [r["prompt"] for r in rows],
        [r["a"] for r in rows],
        [r["b"] for r in rows],
        column("truth").astype(bool),
        np.array([str(r["group"]) for r in rows]),
        np.array([r.get("category", "") for r in rows]),
        {m: column(m).astype(int) for m in makers},
        {m: column(f"others of {m}").astype(int) for m in others},
        agreement,
    )


def same(votes: list[list]) -> float:
    """Share of pairs of people who say the same, among those who say something."""
    agree = n = 0
    for said in votes:
        c = Counter(v for v in said if v is not None and v >= 0)
        m = sum(c.values())
        agree, n = agree + sum(k * (k - 1) for k in c.values()), n + m * (m - 1)
    return agree / n


def ukp() -> Pairs:
    """Arguments in 32 debates, five people a pair; makers: one person drawn at random, the least competent of the five.
    They are measured against the majority of the others."""
    rows, votes = [], []
    for a, b, gold, values, skill, path in query(
        "SELECT arg1.text, arg2.text, goldLabel, list_transform(mTurkAssignments, lambda x: x.value),"
        f" list_transform(mTurkAssignments, lambda x: x.turkCompetence), _path FROM '{ROWS}/gold/ukp_convarg1.jsonl.zst'"
        " WHERE goldLabel IN ('a1', 'a2')"
    ):
        said = [coded(v, "a1", "a2") for v in values]
        known = [i for i, v in enumerate(said) if v >= 0]
        if not known:
            continue
        votes.append(said)
        debate = path.split("/")[-1].split("_")[0]
        picks = {"one person": known[int(lot(a, b) * len(known))], "weakest person": min(known, key=lambda i: skill[i])}
        row = dict(prompt=debate.replace("-", " "), a=a, b=b, truth=gold == "a1", group=debate)
        for maker, i in picks.items():
            rest = sum(2 * said[j] - 1 for j in known if j != i)
            row |= {maker: said[i] if rest else -1, f"others of {maker}": int(rest > 0) if rest else -1}
        rows.append(row)
    return build("ukp", rows, ("one person", "weakest person"), ("one person", "weakest person"), same(votes))


def pandalm() -> Pairs:
    rows, votes = [], []
    for i, given, a, b, *people, g, p in query(
        "SELECT h.instruction, h.input, json_extract_string(to_json(h.response1), '$'),"
        " json_extract_string(to_json(h.response2), '$'), annotator1, annotator2, annotator3, gpt_result, pandalm_result"
        f" FROM read_json('{ROWS}/gold/pandalm_testset_v1.json.gz') h"
        f" JOIN read_json('{ROWS}/gold/pandalm_gpt_3.5_turbo_testset_v1.json.gz') USING (idx)"
        f" JOIN read_json('{ROWS}/gold/pandalm_pandalm_7b_testset_v1.json.gz') USING (idx)"
    ):
        said, times = Counter(people).most_common(1)[0]
        votes.append([coded(v, 1, 2) for v in people])
        if times >= 2 and said in (1, 2):
            row = {"GPT-3.5": coded(str(g), "1", "2"), "PandaLM-7B": coded(str(p), "1", "2")}
            rows.append(dict(prompt=f"{i}\n{given or ''}", a=a, b=b, truth=said == 1, group=i, **row))
    return build("pandalm", rows, ("GPT-3.5", "PandaLM-7B"), agreement=same(votes))


PRD = ("Vicuna-13B", "Bard", "GPT-3.5", "GPT-4")


def prd() -> Pairs:
    """80 questions, answers of five models; makers are judges that saw both answers in one order."""
    answers = dict(query(f"SELECT DISTINCT answer_id, text FROM '{ROWS}/pool/prd_vicuna80_answers.jsonl.zst'"))
    asked = dict(query(f"SELECT question_id, text FROM '{ROWS}/pool/prd_vicuna80_questions.jsonl'"))
    judged: dict = {}
    for a, b, score, judge in query(
        "SELECT answer1_id, answer2_id, score, regexp_extract(_path, 'ratings-([a-z0-9.]+)', 1)"
        f" FROM '{ROWS}/pool/prd_vicuna80_llm_reviews.jsonl.zst' ORDER BY ALL"
    ):
        judged.setdefault((judge, a, b), a if score == 1 else b if score == 2 else None)
    people = defaultdict(list)
    for question, a, b, score in query(
        "WITH models AS (SELECT *, CASE split_part(model_id, ':', 1) WHEN 'gpt-3.5-turbo' THEN 'gpt35' WHEN 'gpt-4'"
        f" THEN 'gpt4' ELSE split_part(model_id, ':', 1) END AS model FROM '{ROWS}/pool/prd_vicuna80_answers.jsonl.zst'),"
        " votes AS (SELECT question_id, score, regexp_extract(_path, 'answer_(.*)-vs-answer_(.*)-human', ['one', 'two']) AS shown"
        f" FROM '{ROWS}/gold/prd_vicuna80_human.jsonl.zst')"
        " SELECT v.question_id, a.answer_id, b.answer_id, score FROM votes v"
        " JOIN models a ON a.question_id = v.question_id AND a.model = v.shown.one"
        " JOIN models b ON b.question_id = v.question_id AND b.model = v.shown.two ORDER BY ALL"
    ):
        people[question, *sorted((a, b))].append(a if score == 1 else b if score == 2 else None)
    rows, votes = [], []
    for (question, a, b), said in people.items():
        votes.append([coded(v, a, b) for v in said])
        if more := said.count(a) - said.count(b):
            names = zip(PRD, ("vicuna", "bard", "gpt35", "gpt4"), strict=True)
            row = {maker: coded(judged.get((file, a, b)), a, b) for maker, file in names}
            rows.append(dict(prompt=asked[question], a=answers[a], b=answers[b], truth=more > 0, group=question, **row))
    return build("prd", rows, PRD, agreement=same(votes))


def llmbar() -> Pairs:
    judged: dict = {}
    for judge, subset, idx, winner in query(
        f"SELECT judge, subset, idx, winner FROM '{ROWS}/gold/llmbar_judges.parquet' WHERE strategy = 'Vanilla'"
        " AND stage = 0 AND \"order\" = 'original'"
    ):
        judged[judge, subset, idx] = coded(winner, "1", "2")
    rows = []
    for p, a, b, label, subset, idx in query(
        f"SELECT input, output_1, output_2, label, _subset, _idx FROM '{ROWS}/gold/llmbar.jsonl.zst'"
    ):
        row = {m: judged.get((m, subset, idx), -1) for m in ("ChatGPT", "GPT-4")}
        rows.append(dict(prompt=p, a=a, b=b, truth=label == 1, group=p, category=subset.split("/")[0], **row))
    return build("llmbar", rows, ("ChatGPT", "GPT-4"))


def rmb(half: str, prompts: int, longest: int = 3000) -> Pairs:
    """RMB's `half`, labelled "the stronger model's answer is chosen", strength measured on the other half."""
    wins: Counter = Counter()
    played: Counter = Counter()
    source = f"'{ROWS}/bench/rmb_pairwise.jsonl.zst'"
    for winner, loser in query(
        f"SELECT chosen.llm_name, reject.llm_name FROM {source} WHERE category_path NOT LIKE '%{half}%'"
    ):
        wins[winner] += 1
        played.update((winner, loser))
    strength = {m: wins[m] / n for m, n in played.items()}
    by_prompt = defaultdict(list)
    for row in query(
        "SELECT chosen.answer, reject.answer, chosen.llm_name, reject.llm_name, category_path,"
        " array_to_string(list_transform(conversation_input, lambda x: x.role || ': ' || x.content), chr(10)),"
        f" conversation_input[-1].content FROM {source} WHERE category_path LIKE '%{half}%'"
        f" AND length(chosen.answer) <= {longest} AND length(reject.answer) <= {longest} ORDER BY pair_uid"
    ):
        by_prompt[row[5]].append(row)
    rows = []
    for key in sorted(by_prompt, key=lot)[:prompts]:
        for better, worse, winner, loser, category, conversation, prompt in by_prompt[key]:
            turned = lot(better, worse) < 0.5
            x, y = strength.get(winner), strength.get(loser)
            maker = -1 if x is None or y is None or x == y else int((x > y) != turned)
            a, b = (worse, better) if turned else (better, worse)
            rows.append(
                dict(prompt=prompt, a=a, b=b, truth=not turned, group=conversation, category=category.split("/")[2])
                | {"stronger model": maker}
            )
    return build(f"rmb {half.lower()}", rows, ("stronger model",))


def mixture() -> Pairs:
    """PandaLM, LLMBar and PRD together, each under the label of a model, as in configs/real.toml."""
    parts = [(pandalm(), "GPT-3.5"), (llmbar(), "ChatGPT"), (prd(), "GPT-3.5")]
    rows = [
        dict(prompt=p.prompt[i], a=p.a[i], b=p.b[i], truth=p.truth[i], group=f"{p.name} {p.group[i]}", category=p.name,
             models=p.makers[maker][i])
        for p, maker in parts for i in range(len(p.a))
    ]  # fmt: skip
    return build("mixture", rows, ("models",))


SETS: dict[str, Callable[[], Pairs]] = {
    "rmb harmlessness": lambda: rmb("Harmlessness", 520),
    "rmb helpfulness": lambda: rmb("Helpfulness", 700),
    "ukp": ukp,
    "prd": prd,
    "pandalm": pandalm,
    "llmbar": llmbar,
    "mixture": mixture,
}
BEDS: dict[str, tuple[str, str]] = {  # bed -> set, maker
    "RMB harmlessness, stronger model": ("rmb harmlessness", "stronger model"),
    "RMB harmlessness, planted 30 %": ("rmb harmlessness", "planted 30 %"),
    "RMB harmlessness, planted by topic": ("rmb harmlessness", "planted by topic"),
    "RMB helpfulness, stronger model": ("rmb helpfulness", "stronger model"),
    "RMB helpfulness, planted 30 %": ("rmb helpfulness", "planted 30 %"),
    "UKP, one person": ("ukp", "one person"),
    "UKP, weakest person": ("ukp", "weakest person"),
    "UKP, planted 30 %": ("ukp", "planted 30 %"),
    "UKP, planted length bias": ("ukp", "planted length bias"),
    "UKP, planted by topic": ("ukp", "planted by topic"),
    "PRD, Vicuna-13B": ("prd", "Vicuna-13B"),
    "PRD, Bard": ("prd", "Bard"),
    "PRD, GPT-3.5": ("prd", "GPT-3.5"),
    "PRD, GPT-4": ("prd", "GPT-4"),
    "PandaLM, GPT-3.5": ("pandalm", "GPT-3.5"),
    "PandaLM, PandaLM-7B": ("pandalm", "PandaLM-7B"),
    "LLMBar, ChatGPT": ("llmbar", "ChatGPT"),
    "LLMBar, GPT-4": ("llmbar", "GPT-4"),
    "mixture, models": ("mixture", "models"),
}


def labelled(pairs: Pairs, maker: str, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A maker's labels of some rows and what they are measured against: 1 for a, 0 for b, -1 for nothing."""
    truth = pairs.truth[rows].astype(int)
    if maker in pairs.makers:
        return pairs.makers[maker][rows], pairs.others.get(maker, pairs.truth.astype(int))[rows]
    if maker == "planted 30 %":
        wrong = np.full(len(rows), 0.3)
    elif maker == "planted length bias":  # admires length
        shorter_won = (pairs.lengths[rows] > 0) != (truth == 1)
        wrong = np.where(shorter_won, 0.85, 0.12)
    elif maker == "planted by topic":  # two topics in five by somebody who is mostly wrong
        topic = pairs.category[rows] if len(set(pairs.category[rows])) > 1 else pairs.group[rows]
        names = np.unique(topic)
        bad = rng.permutation(names)[: max(1, round(len(names) * 0.4))]
        wrong = np.where(np.isin(topic, bad), 0.65, 0.08)
    else:
        raise KeyError(f"no maker {maker!r} on {pairs.name}")
    return np.where(rng.random(len(rows)) < wrong, 1 - truth, truth), truth


def texts(pairs: Pairs) -> list[tuple[str, str]]:
    """Distinct (response, prompt)."""
    return sorted({*zip(pairs.a, pairs.prompt, strict=True), *zip(pairs.b, pairs.prompt, strict=True)})


if __name__ == "__main__":
    for name, make in SETS.items():
        p = make()
        right = {m: round(float((v == p.truth)[v >= 0].mean()), 3) for m, v in p.makers.items()}
        facts = dict(
            pairs=len(p.a), groups=len(set(p.group)), a_share=round(float(p.truth.mean()), 2), texts=len(texts(p))
        )
        print(name, json.dumps(facts | {"right": right, "agreement": p.agreement and round(p.agreement, 3)}))
