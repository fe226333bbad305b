"""Stage 1: one iteration a partition."""

from curation.tables.columns import PAIR_ID, SIMULATED, STRINGS, B, F, I, S, field, table
from curation.tables.seed_schemas import ATTRIBUTE_FIELDS, EMBEDDINGS

ANNOTATION_BATCH = table(
    "annotation_batch",
    "The pairs to label in an iteration and who labels them.",
    [
        PAIR_ID,
        field("cluster_id", S, "near-duplicate cluster of the conversation"),
        field("assigned_to", S, "people or judges"),
        field("why", S, "seed, random, or what the policy did: retrieved, d_optimal"),
        field("priority", I, "order of work, objective and low controversiality first"),
        field("inclusion", F, "probability of its draw; 1 where a policy and not chance chose it"),
        field("p", F, "of the original order, by the model before; null in the seed and where it cannot score", True),
    ],
    ("pair_id",),
    "iteration",
)
LABEL_EDITS = [
    f.with_nullable(True).with_metadata({"doc": "as this person corrected it, else null"}) for f in ATTRIBUTE_FIELDS
]
HUMAN_LABELS = table(
    "human_labels",
    "What people said, an event a label; never changed, folded into gold.",
    [
        field("event_id", S, "hash of pair, annotator and iteration"),
        PAIR_ID,
        field("annotator", S, "pseudonym"),
        field("role", S, "annotator, adjudicator (whose word is final) or passed (left to somebody else)", True),
        field("shown_first", S, "chosen or rejected: which response stood first"),
        field("verdict", S, "first, second or undecided"),
        field("why_undecided", S, "tie, missing (something needed) or not_mine (cannot read or check it)", True),
        field("seconds", F, "time spent", True),
        field("t_start", S, "when the pair was opened, ISO 8601, UTC", True),
        field("t_end", S, "when the answer was given", True),
        field("flags", STRINGS, "too_fast or too_slow: outside the usual duration (spec 2.10)", True),
        field("protocol_version", S, "version of the guideline that was shown", True),
        field("acknowledged", B, "whether the person said that it was read and applied (spec 2.02)", True),
        field("tools", STRINGS, "search, llm, code: what was used (spec 2.03)", True),
        field("tool_log", S, "JSON: an entry a use: tool, name, asked, said", True),
        field("hint_shown", S, "what a pre-verification said of the two, as shown; '' for nothing (spec 2.06)", True),
        field("hint_verdict", S, "first or second, which the hint spoke for; null where for neither", True),
        field("rationale", S, "the difference that decided, in the person's words", True),
        field("arm", S, "the form's name in the configuration; '' for the whole form", True),
        *LABEL_EDITS,
        field("backend", S, "simulated, recorded, files, label or label_studio"),
        field("cost_micros", I, "price in millionths of a dollar"),
        SIMULATED,
    ],
    ("event_id",),
    "iteration",
)
REFUSED_ANSWERS = table(
    "refused_answers",
    "Answers of people that could not be used, and why; none of them is a label.",
    [
        field("ref", S, "hash of the answer, where it stood and the reason"),
        field("pair_id", S, "as the answer names it", True),
        field("annotator", S, "as the answer names it", True),
        field("backend", S, "files, label or label_studio"),
        field("place", S, "file and row, or the number of the annotation"),
        field("reason", S, "what is wrong with it and what is allowed"),
    ],
    ("ref",),
    "iteration",
)
UNANSWERED = table(
    "unanswered",
    "Pairs of a batch that was closed before people were done with them; the next iteration asks for them again.",
    [
        PAIR_ID,
        field("answers", I, "answers that are in and settle nothing; they count when the pair is asked for again"),
        field("closed", S, "why the batch was closed"),
    ],
    ("pair_id",),
    "iteration",
)
ORDER = field("verified_order", S, "original or swapped: the order that was verified")
GOLD = table(
    "gold",
    "Human-verified pairs of an iteration, each with one role that keeps its uses apart.",
    [
        PAIR_ID,
        field("cluster_id", S, "near-duplicate cluster of the conversation"),
        ORDER,
        field("role", S, "train, few_shot, validation, calibration or test, for good (sql/macros.sql)"),
        field("votes_original", I, "people for the original order"),
        field("votes_swapped", I, "people for the other order"),
    ],
    ("pair_id",),
    "iteration",
)
EDITED_ATTRIBUTES = table(
    "edited_attributes",
    "Gold pairs whose attributes people corrected: the five as corrected, and the vector of that text (spec 1.07).",
    [
        PAIR_ID,
        *ATTRIBUTE_FIELDS,
        field("edited_by", STRINGS, "the people who corrected something, in order"),
        *(f for f in EMBEDDINGS.schema if f.name != "pair_id"),
    ],
    ("pair_id",),
    "iteration",
)
UNDECIDED = table(
    "undecided",
    "Pairs that left stage 1 without a label: nobody, or no quorum of judges, could decide.",
    [PAIR_ID, field("desk", S, "people or judges"), field("reason", S, "undecided, tie, no_quorum, not_recorded, …")],
    ("pair_id",),
    "iteration",
)
JUDGE_VOTE_FIELDS = [
    PAIR_ID,
    field("judge", S, "name in the configuration"),
    field("model", S, "model snapshot"),
    field("replicate", I, "from 0; even and odd show the responses in opposite orders"),
    field("shown_first", S, "chosen or rejected"),
    field("wording", S, "file of the closing question; '' where no prompt was written"),
    field("effort", S, "reasoning effort that was asked for; '' for the model's own"),
    field("answer", S, "candidate_1, candidate_2, tie, cannot_determine, or '' when there is none"),
    field("vote", S, "original, swapped, tie or none: the answer mapped back"),
    field("status", S, "ok, refused, truncated, unparsable, invalid, expired, error or not_recorded"),
    field("examples", STRINGS, "gold pairs shown as examples, in the order shown"),
    field("example_places", STRINGS, "where each example's better response stood: candidate_1 or candidate_2"),
    field("prompt_version", S, "version of guideline and prompt"),
    field("request_key", S, "hash of everything that reached the wire"),
    field("cost_micros", I, "price in millionths of a dollar"),
    SIMULATED,
]
RESPONSE_CHECKS = table(
    "response_checks",
    "What a judge found of each response alone before people saw the pair: a hint to them, never a label (spec 2.06).",
    [
        PAIR_ID,
        field("side", S, "chosen or rejected"),
        field("judge", S, "name in the configuration"),
        field("model", S, "model snapshot"),
        field("answer", S, "correct, incorrect, cannot_determine, or '' when there is none"),
        field("status", S, "as in judge_votes"),
        field("prompt_version", S, "version of the prompt"),
        field("request_key", S, "hash of everything that reached the wire"),
        field("cost_micros", I, "price in millionths of a dollar"),
        SIMULATED,
    ],
    ("pair_id", "side"),
    "iteration",
)
JUDGE_VOTES = table(
    "judge_votes",
    "Every answer of every judge in an iteration, mapped back to the original order.",
    JUDGE_VOTE_FIELDS,
    ("pair_id", "judge", "replicate"),
    "iteration",
)
VERDICT_FIELDS = [
    PAIR_ID,
    field("verdict", S, "original, swapped or undecided"),
    field("share", F, "share of judges with a voice that agree with the verdict"),
    field(
        "p",
        F,
        "probability that the original order is right, by the judges' weights; null where heads are counted",
        True,
    ),
    field("voices", I, "judges with a voice"),
    field("votes", S, "JSON: judge -> original, swapped or tie"),
    field("reason", S, "majority, stacking or dawid_skene decided; tie; unsure; no_quorum"),
]
WEIGHT_FIELDS = [
    field("judge", S, "name in the configuration"),
    field("shown_first", S, "chosen or rejected: a judge in two orders errs in two ways"),
    field("method", S, "stacking or dawid_skene"),
    field("for_original", F, "log odds for the original order that a vote for it adds"),
    field("for_swapped", F, "log odds that a vote for the other order adds"),
    field("pairs", I, "pairs with such a vote that the weights were fitted on"),
]
VERDICTS = table(
    "verdicts",
    "The panel's verdict a pair: majority within each judge, then one voice a judge (spec 3.10).",
    VERDICT_FIELDS,
    ("pair_id",),
    "iteration",
)
JUDGE_WEIGHTS = table(
    "judge_weights",
    "What each judge's votes counted for in an iteration's verdicts, where weights and not heads decide.",
    WEIGHT_FIELDS,
    ("judge", "shown_first"),
    "iteration",
)
GOLD_VOTES = table(
    "gold_votes",
    "The panel on pairs that people decided: for report cards and weights only, never for silver (spec 2.16, O-05).",
    JUDGE_VOTE_FIELDS,
    ("pair_id", "judge", "replicate"),
    "iteration",
)
SILVER = table(
    "silver",
    "Pairs the judges verified in an iteration.",
    [
        PAIR_ID,
        field("cluster_id", S, "near-duplicate cluster of the conversation"),
        ORDER,
        field("share", F, "of the panel"),
    ],
    ("pair_id",),
    "iteration",
)
MODEL_FIELDS = [
    field("model_id", S, "hash of data, recipe and backbone"),
    field("kind", S, "loop, gold or final"),
    field("path", S, "folder of the exported model, below the lake's folder `files`"),
    field("data_hash", S, "hash of the training pairs"),
    field("recipe_hash", S, "hash of backbone and hyperparameters"),
    field("pairs", I, "training pairs"),
    field("dropped", I, "pairs left out: over-long or identical after rendering"),
    field("steps", I, "optimizer steps"),
    field("best_step", I, "step whose checkpoint was kept"),
    field("train_loss", F, "mean Bradley-Terry loss of the last tenth of the steps"),
    field("validation_pairs", I, "pairs the checkpoint was chosen on"),
    field("validation_accuracy", F, "their accuracy, ties count half", True),
    field("seconds", F, "wall time of the program"),
    field("tokens", I, "tokens computed"),
    field("hardware", S, "device and ranks"),
]
REWARD_MODEL = table(
    "reward_model",
    "The loop's reward model of an iteration, trained on all silver so far; never on gold while there are judges.",
    MODEL_FIELDS,
    ("model_id",),
    "iteration",
)
GOLD_PREDICTIONS = table(
    "gold_predictions",
    "What an iteration's reward model thinks of every gold pair so far, in the human order.",
    [
        PAIR_ID,
        field("role", S, "role of the gold pair"),
        field("reward_better", F, "reward of the response people prefer"),
        field("reward_worse", F, "reward of the other"),
        field("p", F, "sigmoid of the difference"),
        field("k", I, "neighbours it may ask for (spec 3.07)"),
        field("model_id", S, "the model asked"),
    ],
    ("pair_id",),
    "iteration",
)
RETRIEVED = table(
    "retrieved",
    "Unlabelled pairs that resemble what the reward model gets wrong, which the policy `paper` labels next.",
    [
        PAIR_ID,
        field("query_pair", S, "gold pair that asked for it"),
        field("rank", I, "place among that query's neighbours, from 1"),
        field("similarity", F, "cosine"),
        field("p_query", F, "p of the gold pair in the human order"),
        field("k", I, "neighbours the query was allowed"),
    ],
    ("pair_id",),
    "iteration",
)
SELECTION = table(
    "selection",
    "The pairs to label next: a share drawn at random, the others chosen by the policy.",
    [
        PAIR_ID,
        field("why", S, "random, or what the policy did: retrieved, d_optimal"),
        field("rank", I, "place among those, from 1"),
        field("score", F, "what the policy ranked by: similarity or information gain", True),
        field("inclusion", F, "probability of its draw; 1 where the policy and not chance chose it"),
        field("p", F, "of the original order, by this iteration's reward model", True),
    ],
    ("pair_id",),
    "iteration",
)
WORTH = table(
    "worth",
    "Whether curating this pool pays, told from the gold so far before stage 2 is paid for (docs/worth.md).",
    [
        field("figure", S, "what was measured: verdict, accuracy, curve, rule, headroom, needed, …"),
        field("item", S, "of what"),
        field("value", F, "share, difference or count", True),
        field("low", F, "lower end of the 95 % interval", True),
        field("high", F, "upper end", True),
        field("text", S, "words, where the figure has some"),
    ],
    ("figure", "item"),
    "iteration",
)
