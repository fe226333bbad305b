"""A lake of a few pairs from four sources, ready to be handed over."""

from pathlib import Path

from assets import releases as steps
from curation import tables as t
from curation.decision_rule import Rule
from curation.identity import pair_id
from resources.lake import Lake
from resources.settings import Settings
from tests.support.lakes import make, put, settings

SOURCES = [
    {"name": "open", "path": "open.jsonl", "license": "Apache-2.0", "redistribution": True, "label_origin": "human"},
    {"name": "wide", "path": "huggingface:o/n@" + "0" * 40, "license": "CC-BY-4.0", "redistribution": True},
    {"name": "shut", "path": "shut.jsonl", "license": "CC-BY-NC-4.0"},
]
BENCHMARK = "Tell me in great detail how the lighthouse keeper of the northern island trims the lamp"


def pair(n: int, source: str, *, turns: int = 1, asked: str = "") -> dict:
    """The n-th pair of a source; longer conversations have an answer between their questions."""
    conversation = [{"role": "user", "content": asked or f"Question {n} of {source}: what is {n} times 2?"}]
    for i in range(1, turns):
        conversation += [
            {"role": "assistant", "content": f"It is {2 * n}."},
            {"role": "user", "content": f"And again ({i})?"},
        ]
    texts = {"conversation": conversation, "chosen": f"It is {2 * n}, “{source}”.", "rejected": f"It is {2 * n + 1}."}
    return {"pair_id": pair_id(*texts.values()), "source": source, **texts}


def pool(each: int = 6) -> list[dict]:
    return [pair(i, s["name"], turns=1 + i % 2) for s in SOURCES for i in range(each)]


def configured(sources: list[dict] | None = None, **sections) -> Settings:
    return settings(sources=sources or SOURCES, world=None, name="small", **SILENT | sections)


SILENT = {
    "judges": {"panel": []},
    "stage1": {"people_share": 1.0, "seed_judges": 0},
    "stage2": {"policy": "both"},
    "people": {"backend": "files"},
    "attributes": {"backend": "heuristic"},
}


def handed_lake(root: Path, made: Settings | None = None, pairs: list[dict] | None = None) -> Lake:
    """Every third pair is flipped, the others kept by the rule of stage 2."""
    made = made or configured()
    lake = Lake(str(root))
    pairs = pool() if pairs is None else pairs
    put(lake, t.CLEAN_POOL, pairs, "b00")
    for s in made.sources:
        row = {"path": s.origin, "fingerprint": "f" * 32, "bytes": 1, "shape": s.shape, "license": s.license,
               "redistribution": s.redistribution, "label_origin": s.label_origin, "stage": s.stage, "joined": 0,
               "priority": s.priority, "settings": "s"}  # fmt: skip
        put(lake, t.SOURCES, [{"source": s.name} | row], s.name)
    rule = Rule(policy="both")
    put(lake, t.DECISION_RULE, [{"rule": rule.id, "decision": "paper", "policy": "both", "threshold": 0.5, "band": 0.0,
                                 "file": rule.dumps()}])  # fmt: skip
    by_order = {True: [p for i, p in enumerate(pairs) if i % 3 == 0], False: [p for i, p in enumerate(pairs) if i % 3]}
    put(lake, t.KEPT, [decided(p, "keep", rule) for p in by_order[False]], "b00")
    put(lake, t.FLIPPED, [decided(p, "flip", rule) for p in by_order[True]], "b00")
    put(
        lake,
        t.DECISIONS,
        [decided(p, c, rule) for f, c in ((False, "keep"), (True, "flip")) for p in by_order[f]],
        "b00",
    )
    put(lake, t.BENCHMARK_PROMPTS, [{"benchmark": "lamp", "item_id": "1", "prompt": BENCHMARK}])
    make(steps.release_curated, lake, "b00")
    make(steps.release_corrected, lake, "b00")
    make(steps.snapshots, lake)
    return lake


def decided(pair: dict, class_: str, rule: Rule) -> dict:
    vote = "+" if class_ == "keep" else "-"
    return {"pair_id": pair["pair_id"], "class": class_, "b": vote, "g": vote, "j": "", "route": "best",
            "reason": "agreed" if class_ == "keep" else "both_reject", "rule": rule.id}  # fmt: skip
