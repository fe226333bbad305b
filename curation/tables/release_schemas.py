"""Releases and the models trained on them."""

from curation.tables.columns import CONV_ID, PAIR_ID, TEXTS, B, F, I, S, field, table
from curation.tables.stage1_schemas import MODEL_FIELDS

RELEASE_FIELDS = [
    PAIR_ID,
    CONV_ID,
    *TEXTS,
    field("flipped", B, "chosen and rejected are swapped against the original label"),
    field("label_source", S, "people, judges or models: who verified it"),
    field("rule", S, "what admitted it"),
    field("weight", F, "training weight, as [weights] of the configuration says; 1.0 by default"),
    field("p_right", F, "calibrated probability that the order given here is right; null without calibration", True),
    field("risk", S, "low, or risky: subjective or more than low controversiality", True),
    field("source", S, "source"),
    field("license", S, "of the source"),
]
RELEASE_CURATED = table(
    "release_curated",
    "The curated release: pairs whose original order was verified, from gold, silver and stage 2.",
    RELEASE_FIELDS,
    ("pair_id",),
    "bucket",
)
RELEASE_CORRECTED = table(
    "release_corrected",
    "The curated release and, swapped and flagged, the pairs whose original order was contradicted.",
    RELEASE_FIELDS,
    ("pair_id",),
    "bucket",
)
SNAPSHOTS = table(
    "snapshots",
    "The snapshots original, filtered and corrected after each iteration and after stage 2: how many pairs, and which.",
    [
        field("upto", S, "the last iteration that counts, or stage2"),
        field("snapshot", S, "original, filtered or corrected"),
        field("pairs", I, "pairs in it"),
        field("swapped", I, "of them in the other order than the original"),
        field("hash", S, "of the pairs and their orders; equal snapshots have equal hashes"),
    ],
    ("upto", "snapshot"),
)
CONFLICTS = table(
    "conflicts",
    "Pairs that contradict others on near-identical prompts, before and after curation: opposite labels of the same two "
    "answers, and circles of three.",
    [
        field("snapshot", S, "original, filtered or corrected, after stage 2"),
        field("stratum", S, "low, risky, or '' where nobody looked (see `risk` of the releases); 'all' for every pair"),
        field("pairs", I, "pairs in it"),
        field("opposite", I, "of them, those whose two answers stand the other way round in another pair"),
        field("in_circles", I, "of them, those in a circle: a better than b, b than c, c than a"),
        field("circles", I, "such circles; one of several strata counts in each"),
    ],
    ("snapshot", "stratum"),
)
FINAL_REWARD_MODEL = table(
    "final_reward_model",
    "Reward models trained alike on original, filtered and corrected data, with as many seeds as training.seeds says.",
    [
        field("arm", S, "original, random, filtered, corrected or soft"),
        field("seed", I, "of the head, the order of the pairs and, without a backbone, the weights"),
        *MODEL_FIELDS,
    ],
    ("model_id",),
    "model",
)
HANDED_OVER = table(
    "handed_over",
    "Releases that the run wrote as folders (release.names), and what their sums are.",
    [
        field("release", S, "curated, corrected, or a snapshot such as filtered@iter_01"),
        field("folder", S, "where it lies"),
        field("pairs", I, "pairs in it"),
        field("flipped", I, "of them in the other order than the original"),
        field("left_out", I, "pairs that may not be passed on"),
        field("sums", S, "SHA-256 of its SHA256SUMS: equal releases have equal ones"),
    ],
    ("release",),
)
