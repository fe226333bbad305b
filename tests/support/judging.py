"""One judge over the real wire against a scripted server, for tests of calls."""

from pathlib import Path

import pyarrow as pa

from resources.judges.llm_judge import LlmJudge
from resources.lake import Lake
from resources.llm.policy import Policy
from resources.settings import Settings
from tests.support.lakes import settings
from tests.support.scripted_server import completion, message, verdict

ASKED = [{"role": "user", "content": "What is 2+2?"}]
NO_EXAMPLES = pa.table({"target_pair": pa.array([], pa.string()), "rank": pa.array([], pa.int64())})
FAST = Policy(attempts=4, longest_wait=0.05, first_wait=0.001)
FREE = {"input": 0, "output": 0}


def targets(n: int) -> pa.Table:
    """Pairs whose better response says 'good', which is the original order for even numbers."""
    rows = []
    for i in range(n):
        better, worse = f"good {i:04d}", f"bad {i:04d}"
        chosen, rejected = (better, worse) if i % 2 == 0 else (worse, better)
        rows.append(
            {
                "pair_id": f"p{i:04d}",
                "comparison_id": f"c{i:04d}",
                "conversation": ASKED,
                "chosen": chosen,
                "rejected": rejected,
                "category": "math",
                "objectivity": "objective",
                "controversiality": "low",
                "desired": "d",
                "guideline": "g",
            }
        )
    return pa.Table.from_pylist(rows)


def config(url: str, backend: str = "openai", dollars: float = 100.0, **judge) -> Settings:
    base = url + ("/v1" if backend == "openai" else "")
    judge = {"name": "j", "backend": backend, "model": "m", "base_url": base, "price": FREE} | judge
    return settings(judges={"panel": [judge], "quorum": 1}, budget={"dollars": dollars})


def judge(url: str, root: Path, policy: Policy = FAST, **keys) -> LlmJudge:
    made = config(url, **keys)
    return LlmJudge(made.judges.judges[0], made, Lake(str(root)), "stage", policy)


def honest(body: dict) -> str:
    """The answer of a judge that finds the word 'good'."""
    text = body["messages"][-1]["content"]
    return verdict("candidate_1" if text.index("\ngood") < text.index("\nbad") else "candidate_2")


def body_for(path: str, text: str, **keys) -> dict:
    return completion(text, **keys) if "chat" in path else message(text, **keys)
