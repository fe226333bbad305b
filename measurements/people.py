"""How far people agree on recorded labels, and what a second, a third or an adjudicator's opinion is worth.

    python -m measurements.people FOLDER      # of gold/: pandalm_testset_v1, prd_vicuna80_human, ukp_convarg1

Truth of the second table is what two people said alike who take no part in the rule that is measured (UKP: votes four
and five of five).
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb

from curation.agreement import Said, agreement
from curation.intervals import Estimate, wilson
from curation.opinions import Disagreement, Opinion, standing

WORDS = {
    1: "original",
    2: "swapped",
    0: "undecided",
    3: "undecided",
    "a1": "original",
    "a2": "swapped",
    "equal": "undecided",
}
RULES: tuple[tuple[str, int, Disagreement], ...] = (
    ("one person", 1, "leave"),
    ("two; where they differ, left out", 2, "leave"),
    ("two; where they differ, a third", 2, "third"),
    ("two; where they differ, a third's word alone", 2, "adjudicate"),
    ("three for all", 3, "leave"),
)


def pandalm(folder: Path) -> Iterator[Said]:
    """999 pairs, three annotators."""
    rows = duckdb.sql(
        f"SELECT row_number() OVER (), cmp_key, annotator1::INT, annotator2::INT, annotator3::INT"
        f" FROM read_json('{folder}/pandalm_testset_v1.json.gz')"
    ).fetchall()
    for number, models, *votes in rows:
        for n, vote in enumerate(votes, 1):
            yield Said(str(number), f"annotator{n}", WORDS[vote], (models,))


def prd(folder: Path) -> Iterator[Said]:
    """80 questions, ten pairs of models; the files name neither annotators nor which vote is whose."""
    rows = duckdb.sql(
        "SELECT question_id::INT, regexp_extract(_path, 'answer_(.*)-vs-answer_(.*?)-huma', ['a', 'b']), score::INT"
        f" FROM read_json('{folder}/prd_vicuna80_human.jsonl.zst') ORDER BY _path"
    ).fetchall()
    votes: dict[tuple, list[str]] = {}
    for question, models, score in rows:
        a, b = models["a"], models["b"]
        vote = WORDS[score] if a <= b else {"original": "swapped", "swapped": "original"}.get(WORDS[score], "undecided")
        votes.setdefault((question, *sorted((a, b))), []).append(vote)
    for key, said in votes.items():
        for n, vote in enumerate(said):
            yield Said("/".join(map(str, key)), f"vote {n}", vote, ("/".join(key[1:]),))


def ukp(folder: Path) -> Iterator[Said]:
    """16,927 pairs of arguments, five votes each by workers of a crowd."""
    rows = duckdb.sql(
        "SELECT row_number() OVER (), debateMetaData.title, list_transform(mTurkAssignments, lambda x: {w: x.turkID, v:"
        f" x.value}}) FROM read_json('{folder}/ukp_convarg1.jsonl.zst')"
    ).fetchall()
    for number, title, votes in rows:
        for v in votes:
            if v["v"] in WORDS:
                yield Said(str(number), v["w"], WORDS[v["v"]], (title,))


def rule_on(votes: Sequence[str], wanted: int, rule: Disagreement) -> tuple[str, int]:
    """What a rule makes of votes, asked for in their order: (original, swapped or undecided, answers it took)."""
    said: list[Opinion] = []
    for vote in votes:
        now = standing(said, wanted, rule, len(votes))
        if not now.needed:
            break
        said.append(Opinion(vote, "", now.by == "adjudicator"))
    counted = [o.verdict for o in said if o.final] or [o.verdict for o in said]
    top = max(sorted(set(counted)), key=counted.count)
    return (top if counted.count(top) * 2 > len(counted) else "undecided"), len(said)


def worth(every: Iterable[Said]) -> list[tuple[str, Estimate, Estimate, float]]:
    """(rule, share right of what it decides, share decided, answers a pair), on pairs whose last two votes are equal and
    decided; the rule sees the other votes."""
    pairs: dict[str, list[str]] = {}
    for said in every:
        pairs.setdefault(said.pair, []).append(said.verdict)
    known = [v for v in pairs.values() if len(v) == 5 and v[3] == v[4] != "undecided"]
    found = []
    for name, wanted, rule in RULES:
        made = [(*rule_on(v[:3], wanted, rule), v[4]) for v in known]
        decided = [verdict == truth for verdict, _, truth in made if verdict != "undecided"]
        answers = sum(n for _, n, _ in made) / len(made)
        found.append((name, wilson(sum(decided), len(decided)), wilson(len(decided), len(made)), answers))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, said in (("PandaLM", pandalm(folder)), ("PRD", prd(folder)), ("UKP", ukp(folder))):
        whole = agreement(said)[0]
        print(f"{name}: {whole.pairs:,} pairs, {whole.labels:,} labels", *map(_shown, whole[1:4]), sep=" | ")
    for name, right, decided, answers in worth(ukp(folder)):
        print(f"UKP, {name}: right {_shown(right)}, decided {_shown(decided)}, {answers:.2f} answers a pair")


def _shown(e: Estimate) -> str:
    return f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"


if __name__ == "__main__":
    main()
