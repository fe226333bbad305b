"""What benchmarks/judge_calls.py runs in bespoke curator's own environment; it knows nothing of this project.

    python benchmarks/judge_calls_curator.py URL PROMPTS.jsonl

PROMPTS.jsonl holds system and user, a request a line. Its rate limits are read from the server's headers, its default.
"""

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Literal

# it counts tokens with tiktoken, whose vocabulary comes inside litellm; nothing is downloaded, nothing reported
package = Path(importlib.util.find_spec("litellm").submodule_search_locations[0])
os.environ |= {
    "TIKTOKEN_CACHE_DIR": str(package / "litellm_core_utils" / "tokenizers"),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TELEMETRY_ENABLED": "0",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "CURATOR_VIEWER": "0",
    "HF_HUB_OFFLINE": "1",
    "CURATOR_CACHE_DIR": tempfile.mkdtemp(),
}

from bespokelabs import curator  # noqa: E402
from pydantic import BaseModel  # noqa: E402


class Answer(BaseModel):
    reasoning: str
    verdict: Literal["candidate_1", "candidate_2", "tie", "cannot_determine"]


class Judge(curator.LLM):
    response_format = Answer

    def prompt(self, row: dict) -> list[dict]:
        return [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["user"]}]

    def parse(self, row: dict, answer: Answer) -> dict:
        return {"verdict": answer.verdict}


def main() -> None:
    os.environ["OPENAI_BASE_URL"], file = sys.argv[1:]
    rows = [json.loads(line) for line in Path(file).read_text().splitlines()]
    judge = Judge(
        model_name="gpt-4o-mini-2024-07-18",
        backend="openai",
        generation_params={"max_completion_tokens": 1000},
        backend_params={"api_key": "none", "max_retries": 50, "max_concurrent_requests": 64},
    )
    found = judge(rows)
    assert len(found.dataset if hasattr(found, "dataset") else found) == len(rows)


if __name__ == "__main__":
    main()
