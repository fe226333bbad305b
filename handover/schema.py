"""What a row of a release is, and what a release says of itself."""

import pyarrow as pa

from curation.tables import CONVERSATION

FORMAT = 1  # of release.json; raised where a reader of an older one would be wrong
FACTS, SUMS, RULE, REPORT, SELECTION = "release.json", "SHA256SUMS", "rule.json", "report.html", "selection.parquet"
TEXTS = ("prompt", "chosen", "rejected")
_DOCS = {
    "prompt": "the turns before the answer, as messages {role, content}",
    "chosen": "the better answer, as a list of one message; in the implicit form the whole conversation",
    "rejected": "the other answer, as a list of one message; in the implicit form the whole conversation",
    "pair_id": "hash of conversation, chosen and rejected in the order of the source",
    "source": "where the pair is from; see ATTRIBUTION.md",
    "license": "of the source; see LICENSES.md",
    "label_origin": "who made the source's own label: human, synthetic or unknown",
    "label_source": "who verified the order given here: people, judges or models; source where nobody did",
    "rule": "what admitted the pair",
    "weight": "training weight",
    "flipped": "chosen and rejected stand in the other order than in the source",
    "p_right": "calibrated probability that the order given here is right; null without calibration",
    "risk": "low, or risky: subjective or more than low controversiality; null where nobody looked",
}
_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(TEXTS, CONVERSATION),
    **dict.fromkeys(("pair_id", "source", "license", "label_origin", "label_source", "rule"), pa.string()),
    "weight": pa.float64(),
    "flipped": pa.bool_(),
    "p_right": pa.float64(),
    "risk": pa.string(),
}
NULLABLE = ("p_right", "risk")
LABEL_SOURCES = ("people", "judges", "models", "source")


def schema(whole: bool) -> pa.Schema:
    """Columns of a release; `whole` is the implicit form, which has no prompt."""
    return pa.schema(
        [pa.field(n, t, n in NULLABLE) for n, t in _TYPES.items() if not (whole and n == "prompt")]
    )  # fmt: skip


def documented(whole: bool) -> dict[str, str]:
    """Column -> a sentence."""
    return {name: _DOCS[name] for name in schema(whole).names}
