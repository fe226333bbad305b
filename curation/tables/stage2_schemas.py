"""Stage 2: scores, votes, decisions."""

from curation.tables.columns import PAIR_ID, B, F, I, S, field, table
from curation.tables.seed_schemas import ATTRIBUTES
from curation.tables.stage1_schemas import HUMAN_LABELS, JUDGE_VOTE_FIELDS, MODEL_FIELDS, VERDICT_FIELDS, WEIGHT_FIELDS

BEST_REWARD_MODEL = table(
    "best_reward_model",
    "Every iteration's reward model measured on the final gold; the best is frozen for stage 2.",
    [
        field("iteration", S, "whose model"),
        field("model_id", S, "its id"),
        field("path", S, "folder of the model"),
        field("pairs", I, "gold pairs measured on"),
        field("accuracy", F, "ties count half"),
        field("best", B, "the one used from here on"),
    ],
    ("iteration",),
)
GOLD_REWARD_MODEL = table(
    "gold_reward_model", "The reward model trained on people's labels only.", MODEL_FIELDS, ("model_id",)
)
GOLD_FOLDS = table(
    "gold_folds",
    "How the gold model's training went on parts of gold: what chose its length, and how right it is on pairs that it did"
    " not learn from.",
    [
        field("fold", I, "part of gold that was tested and not learned from"),
        field("part", F, "of the recipe's training after which it was tested"),
        field("pairs", I, "gold pairs learned from"),
        field("tested", I, "gold pairs tested"),
        field("accuracy", F, "ties count half"),
        field("chosen", B, "the part that is best over all folds; the gold model is trained that long, on all of gold"),
    ],
    ("fold", "part"),
)
SCORES = table(
    "scores",
    "Rewards of both models for every pair that stage 2 decides, in the original order.",
    [
        PAIR_ID,
        *[
            field(f"{c}_{m}", F, d, True)
            for m in ("best", "gold")
            for c, d in (("r_chosen", "reward"), ("r_rejected", "reward"), ("p", "sigmoid of the difference"))
        ],
        field("best_model", S, "model id"),
        field("gold_model", S, "model id"),
        *[
            field(f"unscored_{m}", S, "why it gives no reward: over_length or refused_by_template", True)
            for m in ("best", "gold")
        ],
        *[
            field(f"spread_{m}", F, "standard deviation of its ensemble's margins; null where it has none", True)
            for m in ("best", "gold")
        ],
    ],
    ("pair_id",),
    "bucket",
)
AUDIT_STRATA = table(
    "audit_strata",
    "What stage 2 would do before people look, counted: the pairs that an audit may draw from.",
    [
        field("stratum", S, "agree, reject or split, by the votes of both models"),
        field("class", S, "keep, flip or drop, before guards or calibration"),
        field("asked", B, "whether the judges were asked"),
        field("pairs", I, "how many"),
    ],
    ("stratum", "class", "asked"),
)
AUDIT_SAMPLE = table(
    "audit_sample",
    "The pairs of stage 2 that are drawn at random for people to look at, and what for.",
    [
        PAIR_ID,
        field("stratum", S, "agree, reject or split"),
        field("of_flips", B, "in the draw of would-be flips"),
        field("of_strata", B, "in the draw that probabilities and thresholds rest on"),
    ],
    ("pair_id",),
)
AUDIT_ATTRIBUTES = table(
    "audit_attributes",
    "The pairs of stage 2 that were drawn at random for people, with their attributes.",
    list(ATTRIBUTES.schema),
    ("pair_id",),
)
AUDIT = table(
    "audit",
    "What people said about pairs of stage 2 that were drawn at random: whether flips are allowed, and calibrated"
    " decisions, rest on them.",
    list(HUMAN_LABELS.schema),
    ("event_id",),
)
RULE_FIELDS = [
    field("rule", S, "its name; ends with a hash of the file"),
    field("decision", S, "guarded, paper or calibrated"),
    field("policy", S, "who must agree, and who is asked"),
    field("threshold", F, "p above which the best model agrees with a label"),
    field("band", F, "added to the threshold"),
    field("file", S, "the JSON text"),
]
ROUTING_RULE = table(
    "routing_rule",
    "The rule as far as gold alone makes it: it says whom the judges are asked about, and what would be flipped.",
    RULE_FIELDS,
    ("rule",),
)
DECISION_RULE = table(
    "decision_rule",
    "The rule of stage 2 as a file: applied to stored scores and verdicts it gives the same classes again (spec 4.13).",
    RULE_FIELDS,
    ("rule",),
)
ROUTED = table(
    "routed",
    "Pairs whose class the judges can still change, the only ones they are paid for.",
    [
        PAIR_ID,
        field("p_best", F, "best model's confidence in the original order"),
        field("k", I, "gold examples to show (spec 3.07)"),
    ],
    ("pair_id",),
    "bucket",
)
STAGE2_ATTRIBUTES = table(
    "stage2_attributes",
    "Attributes of the routed pairs only (spec 4.05).",
    list(ATTRIBUTES.schema),
    ("pair_id",),
    "bucket",
)
STAGE2_VOTES = table(
    "stage2_votes", "Judges' answers on routed pairs.", JUDGE_VOTE_FIELDS, ("pair_id", "judge", "replicate"), "bucket"
)
STAGE2_JUDGE_WEIGHTS = table(
    "stage2_judge_weights",
    "What each judge's votes counted for in stage 2.",
    WEIGHT_FIELDS,
    ("judge", "shown_first"),
    "bucket",
)
STAGE2_VERDICTS = table(
    "stage2_verdicts", "The panel's verdict on routed pairs.", VERDICT_FIELDS, ("pair_id",), "bucket"
)
DECISIONS = table(
    "decisions",
    "Stage 2's decision on every pair, with the votes it follows from (spec 4, partition).",
    [
        PAIR_ID,
        field("b", S, "best model on the original order: +, - or 0"),
        field("g", S, "gold model: +, - or 0"),
        field("j", S, "judges: +, -, 0, or '' when not asked"),
        field("route", S, "confident, judged or unasked"),
        field("class", S, "keep, flip or drop"),
        field(
            "reason",
            S,
            "agreed, judged, both_reject, rejected, rest, calibrated; conflict, tie, undecided, abstained,"
            " flip_unproven, keep_unproven, too_little_gold or why it was not scored",
        ),
        field("p_right", F, "calibrated probability that the original order is right; null without calibration", True),
        field("rule", S, "name of the rule"),
    ],
    ("pair_id",),
    "bucket",
)
KEPT = table(
    "kept",
    "Stage 2's survivors in their original order.",
    [
        PAIR_ID,
        field("route", S, "confident or judged"),
        field("reason", S, "why"),
        field(
            "p_right", F, "calibrated probability that the order it has here is right; null without calibration", True
        ),
    ],
    ("pair_id",),
    "bucket",
)
FLIPPED = table("flipped", "Pairs that pass the same rule once swapped.", list(KEPT.schema), ("pair_id",), "bucket")
DROPPED = table("dropped", "Pairs that pass in neither order.", list(KEPT.schema), ("pair_id",), "bucket")
