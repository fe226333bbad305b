"""Attributes, vectors and the seed."""

from curation.tables.columns import PAIR_ID, SIMULATED, VECTOR, F, I, S, field, table

ATTRIBUTE_FIELDS = [
    field("category", S, "task category, one of 12 (spec 1.03)"),
    field("objectivity", S, "objective or subjective"),
    field("controversiality", S, "low, medium or high"),
    field("desired", S, "what a user would want from a good answer"),
    field("guideline", S, "criteria for this very instance"),
]
ATTRIBUTES = table(
    "attributes",
    "The five preference attributes of every pair that may be labelled in stage 1, made blind to the label.",
    [
        PAIR_ID,
        *ATTRIBUTE_FIELDS,
        field("labeller", S, "the models that answered, joined by ' + '"),
        field("prompt_version", S, "version of the attribute prompt"),
        field("agreement", F, "share of the labellers' closed fields that are as merged; 0 where nobody answered"),
        field("votes", S, "JSON: closed field -> labeller -> what it said"),
        field("cost_micros", I, "price in millionths of a dollar"),
        SIMULATED,
    ],
    ("pair_id",),
    "bucket",
)
EMBEDDINGS = table(
    "embeddings",
    "Vector of (conversation, attributes) for every pair with attributes; responses are left out (spec 3.06).",
    [PAIR_ID, field("vector", VECTOR, "unit length"), field("embedder", S, "model and text version")],
    ("pair_id",),
    "bucket",
)
STATES = table(
    "states",
    "What the middle layers of the backbone make of every response, read once for all models that are heads on them.",
    [
        field("text", S, "md5 of the response"),
        field("state", VECTOR, "mean over its tokens; null where it is longer than the models may read", True),
        field("reader", S, "weights, layers, and how much of a text is read"),
    ],
    ("text",),
    "bucket",
)
SEED_SELECTION = table(
    "seed_selection",
    "The pairs that open the loop, spread over category, objectivity and controversiality.",
    [
        PAIR_ID,
        field("cluster_id", S, "near-duplicate cluster of the conversation"),
        field("stratum", S, "category / objectivity / controversiality"),
        field("assigned_to", S, "people or judges"),
        field("inclusion", F, "probability of being drawn"),
    ],
    ("pair_id",),
)

SEED_COVERAGE = table(
    "seed_coverage",
    "How evenly the seed is spread over (category, objectivity, controversiality), and where the pool has gaps.",
    [
        field("category", S, "task category"),
        field("objectivity", S, "objective, subjective or missing"),
        field("controversiality", S, "low, medium, high or missing"),
        field("pool", I, "pairs of the pool with attributes, of stage seed and stage1"),
        field("pairs", I, "of them those the seed may take"),
        field("clusters", I, "conversation clusters among those; one pair of each may be taken"),
        field("target", F, "what an even spread takes"),
        field("people", I, "taken and given to people"),
        field("judges", I, "taken and given to judges"),
    ],
    ("category", "objectivity", "controversiality"),
)
