"""The ledger of paid calls as a table, with the tokens that the providers counted."""

from collections import defaultdict

import pyarrow as pa

from curation.tables import SPENDING
from resources.lake import Lake
from resources.llm.call_store import exists, store
from resources.llm.prices import Usage
from resources.llm.replies import chat, message

READERS = {"openai": chat, "anthropic": message}  # of stored bodies
TOKENS = ("input_tokens", "cached_tokens", "written_tokens", "output_tokens")


def spending(lake: Lake) -> pa.Table:
    """Every call of the store by stage, who, model and status; SPENDING rows."""
    tokens: dict[tuple, list[int]] = defaultdict(lambda: [0] * len(TOKENS))
    with store(lake) as calls:
        ledger = calls.ledger()
        for *key, provider, raw in calls.bodies():
            u = READERS[provider](raw).usage or Usage()  # what was not counted costs, and has no tokens
            counted = (u.input, u.cached_input, u.cache_write + u.cache_write_1h, u.output)
            tokens[tuple(key)] = [a + b for a, b in zip(tokens[tuple(key)], counted, strict=True)]
    rows = [
        {**r, "who": r["judge"]}
        | dict(zip(TOKENS, tokens[r["stage"], r["judge"], r["model"], r["status"]], strict=True))
        for r in ledger.to_pylist()
    ]
    return pa.Table.from_pylist([{n: r[n] for n in SPENDING.schema.names} for r in rows], SPENDING.schema)


def mark(lake: Lake) -> str:
    """A short text that changes when the store does; '' while there is none."""
    if not exists(lake):
        return ""
    with store(lake) as calls:
        return calls.mark()
