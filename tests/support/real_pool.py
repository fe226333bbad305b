"""A pool of real pairs that three people once labelled (PandaLM's test set), and the whole of stage 1 over it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import duckdb

from assets.table_asset import Step
from curation.attributes import heuristic
from curation.tables import ANNOTATION_BATCH, ATTRIBUTES, CLEAN_POOL
from resources import settings as config
from resources.annotators.backends import Waiting
from resources.annotators.desk import Desk, desk
from resources.lake import Lake
from resources.settings import Settings
from tests.support.lakes import make, put, query
from tests.support.places import ROOT, SHARED

PANDALM = SHARED / "data" / "gold" / "pandalm_testset_v1.json.gz"
PEOPLE = ("ann@example.org", "bob@example.org", "cid@example.org")  # in the order of the recorded annotators
CONFIG = """
name = "real"
seed = 3
[lake]
path = "lake"
buckets = 1
[[sources]]
name = "pandalm"
path = "pairs.jsonl"
shape = "pair"
license = "Apache-2.0"
label_origin = "human"
stage = "seed"
[attributes]
backend = "heuristic"
[people]
backend = "{door}"
overlap = 0.3
least_seconds = 0
{more}
[stage1]
iterations = 1
seed_people = {pairs}
batch = {batch}
[gold]
few_shot = 0.2
validation = 0.3
calibration = 0
test = 0
"""


class RealPool:
    """A folder with a configuration, the pool, and what each of three people said of its pairs.

    Args:
        folder: of the test.
        door: files, label or label_studio.
        pairs, batch: people's pairs in the seed round and in the one after it.
        more: lines of the section `people`, and sections after it.
    """

    def __init__(self, folder: Path, door: str, pairs: int, batch: int, more: str = ""):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.door = folder, door
        rows = duckdb.sql(
            "SELECT instruction, input, response1::VARCHAR, response2::VARCHAR, annotator1::INT, annotator2::INT,"
            f" annotator3::INT FROM read_json('{PANDALM}') WHERE response1 <> response2"
            f" ORDER BY md5(instruction || input || response1) LIMIT {3 * (pairs + batch)}"
        ).fetchall()
        self.votes: dict[tuple[str, str], list[int]] = {}
        with (folder / "pairs.jsonl").open("w") as file:
            for asked, more_, first, second, *said in rows:
                prompt = f"{asked}\n\n{more_}".strip()
                self.votes[_plain(first), _plain(second)] = said
                file.write(json.dumps({"prompt": prompt, "chosen": first, "rejected": second}) + "\n")
        (folder / "assay.toml").write_text(CONFIG.format(door=door, pairs=pairs, batch=batch, more=more))
        self.lake = Lake(str(folder / "lake"))

    @property
    def settings(self) -> Settings:
        return config.load(self.folder / "assay.toml")

    def run(self, *command: str) -> tuple[int, str]:
        """(exit status, what it said) of `assay`."""
        environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *command],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    def laid(self, pairs: int) -> None:
        """The first batch by hand, of so many pairs of the pool: no step before people has to run."""
        rows = [json.loads(line) for line in (self.folder / "pairs.jsonl").read_text().splitlines()][:pairs]
        names = [f"p{n:02d}" for n in range(pairs)]
        turns = [[{"role": "user", "content": r["prompt"]}] for r in rows]
        texts = [{"chosen": r["chosen"].strip(), "rejected": r["rejected"].strip()} for r in rows]
        shown = zip(names, turns, texts, strict=True)
        put(self.lake, CLEAN_POOL, [{"pair_id": p, "conversation": c} | t for p, c, t in shown], "b00")
        put(self.lake, ATTRIBUTES, [{"pair_id": p} | heuristic(c) for p, c in zip(names, turns, strict=True)], "b00")
        put(self.lake, ANNOTATION_BATCH, [{"pair_id": p, "assigned_to": "people"} for p in names], "iter_00")

    def step(self, step: Step) -> Waiting | None:
        """One step of the first iteration, or that it waits."""
        try:
            make(step, self.lake, "iter_00", **self.settings.model_dump(by_alias=True, exclude_unset=True))
        except dg.Failure as e:
            if isinstance(e.__cause__, Waiting):
                return e.__cause__
            raise
        return None

    @contextlib.contextmanager
    def desk(self) -> Iterator[Desk]:
        with desk(self.lake) as opened:
            yield opened

    def verdict(self, candidates: tuple[str, str], who: str) -> str:
        """candidate_1, candidate_2 or undecided: what this person said once, of the two as they are shown."""
        first, second = map(_plain, candidates)
        stands = (first, second) in self.votes
        vote = self.votes[(first, second) if stands else (second, first)][PEOPLE.index(who)]
        return "undecided" if not vote else "candidate_1" if (vote == 1) == stands else "candidate_2"

    def answer(self, item: Mapping, who: str) -> dict:
        """A whole answer to a pair: the recorded verdict, and the tool that its kind of task requires."""
        needs = {"information seeking": "search", "coding & debugging": "code"}.get(item["attributes"]["category"])
        needs = needs if item["attributes"]["objectivity"] == "objective" else None
        verdict = self.verdict((item["candidate_1"], item["candidate_2"]), who)
        log = [f"{needs}: the claim that decides -> as the better answer has it"] if needs else []
        return {
            "pair_id": item["pair_id"], "annotator": who, "verdict": verdict, "acknowledged": True, "seconds": 30.0,
            "why_undecided": "tie" if verdict == "undecided" else "", "tools": [needs or "none"], "tool_log": log,
        }  # fmt: skip

    def by_files(self, batch: str, look: Callable[[], object]) -> int:
        """Everybody in turn answers, in the file, what waits for them; how many answers there were.

        Args:
            look: reads what was written, so that the file of open pairs follows.
        """
        folder, given = Path(self.settings.people.folder) / batch, 0
        for who in PEOPLE:
            look()
            waiting = [json.loads(line) for line in (folder / "open.jsonl").read_text().splitlines()]
            mine = [self.answer(i, who) for i in waiting if who not in i["answered_by"]]
            with (folder / "answers.jsonl").open("a") as file:
                file.writelines(json.dumps(a) + "\n" for a in mine)
            given += len(mine)
        return given

    def gold(self) -> list[tuple]:
        """What gold says, whoever has answered through whichever door."""
        return query(
            self.lake,
            "SELECT iteration, pair_id, verified_order, role, votes_original, votes_swapped FROM gold ORDER BY ALL",
        )

    def labels(self) -> list[tuple]:
        """What people said, without their names, which are pseudonyms in Label Studio."""
        return query(
            self.lake,
            "SELECT iteration, pair_id, shown_first, verdict, tools, acknowledged FROM human_labels ORDER BY ALL",
        )

    def counted(self) -> dict[str, str]:
        """Gold by a count of the recorded votes of those who were asked: the first, a second for those that two were to
        see, a third where the two differ."""
        texts = query(self.lake, "SELECT pair_id, chosen, rejected FROM clean_pool")
        asked = dict(query(self.lake, "SELECT pair_id, count(*) FROM human_labels GROUP BY 1"))
        found = {}
        for pair, chosen, rejected in texts:
            votes = self.votes[_plain(chosen), _plain(rejected)][: asked.get(pair, 0)]
            for order, vote in (("original", 1), ("swapped", 2)):
                if votes.count(vote) * 2 > len(votes):
                    found[pair] = order
        return found


def _plain(text: str) -> str:
    """A text as every form shows it: some fold white space."""
    return " ".join(text.split())
