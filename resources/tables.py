"""The lake's tables: one pyarrow schema each, the key its rows are sorted by, and the partition it is split by.

Everything else in the project names columns by these definitions; `docs` of the UI, checks on write and the SQL
views all come from here.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

# Two dimensions are joined by "|", in alphabetical order, and so are their keys.
PartitionKind = Literal["source", "bucket", "iteration", "model", "benchmark|model"]


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Attributes:
        name: name of the Dagster asset, of the folder in the lake and of the SQL view.
        doc: one sentence for people.
        schema: column names, types and nullability, enforced on write; each field carries its own doc.
        key: columns that identify a row; rows are stored in this order and a repeated key is refused.
        partition: what one Parquet file holds, or None for a table of one file.
    """

    name: str
    doc: str
    schema: pa.Schema
    key: tuple[str, ...]
    partition: PartitionKind | None = None


def _f(name: str, type_: pa.DataType, doc: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, type_, nullable, {"doc": doc})


S, I, F, B = pa.string(), pa.int64(), pa.float64(), pa.bool_()
STRINGS = pa.list_(pa.field("element", S, nullable=False))
TURN = pa.struct([pa.field("role", S, nullable=False), pa.field("content", S, nullable=False)])
CONVERSATION = pa.list_(pa.field("element", TURN, nullable=False))
VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False))

PAIR_ID = _f("pair_id", S, "128-bit hash over length-prefixed (conversation, chosen, rejected)")
CONV_ID = _f("conv_id", S, "128-bit hash over the conversation")
COMPARISON_ID = _f("comparison_id", S, "128-bit hash over conversation and the unordered responses: (A>B) meets (B>A)")
TEXTS = [
    _f("conversation", CONVERSATION, "all turns before the answer, roles user, assistant, system"),
    _f("chosen", S, "the response the original label prefers"),
    _f("rejected", S, "the other response"),
]
IDS = [PAIR_ID, CONV_ID, COMPARISON_ID]
PAIR = [*IDS, *TEXTS]
ORIGIN = [
    _f("source", S, "the configured source"),
    _f("label_origin", S, "who made the original label: human, synthetic or unknown"),
    _f("stage", S, "seed, stage1 or stage2: where the source's pairs enter (spec 0.04)"),
    _f("joined", I, "iteration of stage 1 with which the source joined the pool"),
]
SIMULATED = _f("simulated", B, "true when a simulation, not a person or a model, made this row")


def _t(name, doc, fields, key, partition=None) -> Table:
    return Table(name, doc, pa.schema(fields), key, partition)


# ---- stage 0: the pool ---------------------------------------------------------------------------------------------
SOURCES = _t(
    "sources",
    "What the pool is made from: a configured source and the hash of its bytes.",
    [
        _f("source", S, "name"),
        _f("path", S, "file or query as configured, with the names of environment variables"),
        _f("fingerprint", S, "hash of the bytes read, '' where the file could not be read"),
        _f("bytes", I, "size of the file"),
        _f("shape", S, "adapter that reads it"),
        _f("licence", S, "licence as configured"),
        _f("redistribution", B, "whether the licence lets its rows be released"),
        _f("label_origin", S, "human, synthetic or unknown"),
        _f("stage", S, "seed, stage1 or stage2"),
        _f("joined", I, "iteration of stage 1 with which it joined the pool"),
        _f("priority", I, "of equal pairs that joined together, the source with the lowest number keeps its row"),
        _f("problem", S, "why the whole file could not be read", True),
        _f("settings", S, "hash of its whole configuration"),
    ],
    ("source",),
    "source",
)
RAW_POOL = _t(
    "raw_pool",
    "Every usable pair of a source, as read: one canonical record, ids by content.",
    [
        *PAIR,
        *ORIGIN,
        _f("row", I, "record number in the file, from 1"),
        _f("part", I, "which of the pairs that this record implies, from 0"),
        _f("priority", I, "of the source"),
        _f("n_chars", I, "characters of conversation and both responses"),
    ],
    ("comparison_id", "pair_id", "row", "part"),  # a bucket is a range of comparison_id: it reads only its row groups
    "source",
)
UNUSABLE = _t(
    "unusable",
    "Records that were read but are no pair: a missing or empty response, identical responses, a tie, no label.",
    [
        _f("source", S, "the configured source"),
        _f("row", I, "record number in the file, from 1"),
        _f("part", I, "which of the record's pairs, from 0"),
        _f("reason", S, "null_response, identical, identical_normalised, tie, both_bad, no_label, bad_roles, …"),
        _f("evidence", S, "what was found, shortened"),
    ],
    ("row", "part"),
    "source",
)
QUARANTINE = _t(
    "quarantine",
    "Rows and files that could not be read at all: file, row and error.",
    [
        _f("source", S, "the configured source"),
        _f("file", S, "path or query as configured, with the names of environment variables"),
        _f("row", I, "record number, 0 for the whole file"),
        _f("reason", S, "missing_file, empty_file, truncated, not_utf8, not_json, wrong_fields, row_too_big, …"),
        _f("error", S, "the message, naming what was expected"),
        _f("excerpt", S, "the first characters of the row"),
    ],
    ("row",),
    "source",
)
DEDUPED = _t(
    "deduped",
    "Every distinct pair once: which record of it stays, by source priority; mirror images marked. With their texts the "
    "pairs stand in the view `deduped_pairs`.",
    [
        *IDS,
        *ORIGIN,
        _f("row", I, "record number in the survivor's file"),
        _f("part", I, "which of the record's pairs"),
        _f("copies", I, "records that held this pair, the survivor included"),
        _f("also_in", STRINGS, "other sources that held it, sorted"),
        _f("conflict", B, "the same responses stand with the opposite label in a pair that joined no later"),
        _f("n_chars", I, "characters of conversation and both responses"),
    ],
    ("pair_id",),
    "bucket",
)
DUPLICATES = _t(
    "duplicates",
    "Records removed because an equal pair was kept: who lost and to whom.",
    [
        PAIR_ID,
        _f("source", S, "source of the removed record"),
        _f("row", I, "its record number"),
        _f("part", I, "which of the record's pairs"),
        _f("kept_source", S, "source of the survivor"),
        _f("kept_row", I, "record number of the survivor"),
    ],
    ("pair_id", "source", "row", "part"),
    "bucket",
)
BENCHMARK_PROMPTS = _t(
    "benchmark_prompts",
    "First-turn prompts of every configured benchmark, what the pool is cleaned against.",
    [_f("benchmark", S, "name"), _f("item_id", S, "item within it"), _f("prompt", S, "first user turn")],
    ("benchmark", "item_id"),
)
CLUSTERS = _t(
    "clusters",
    "Near-duplicate conversations (MinHash), so that gold, silver and test never share one.",
    [CONV_ID, _f("cluster_id", S, "conv_id of the smallest of its first members")],
    ("conv_id",),
)
CLEAN_POOL = _t(
    "clean_pool",
    "The decontaminated pool: every pair that curation may use.",
    [*PAIR, *list(DEDUPED.schema)[len(IDS) :], _f("cluster_id", S, "near-duplicate conversations share it")],
    ("pair_id",),
    "bucket",
)
BENCHMARK_HITS = _t(
    "benchmark_hits",
    "Every 13-gram, or whole short prompt, of a benchmark that a text of the pool holds, and where.",
    [
        _f("benchmark", S, "name"),
        _f("item_id", S, "its first item that holds these words"),
        _f("rule", S, "13-gram or short-prompt"),
        _f("span", S, "the matching words"),
        _f("conv_id", S, "conversation of the match, or of the response that holds it"),
        _f("pair_id", S, "pair whose response holds it; null for a match in the conversation, which is all its pairs'", True),
        _f("place", I, "turn of the conversation from 0; 2^30 stands for chosen, 2^30 + 1 for rejected"),
        _f("position", I, "first word of the match within its text"),
    ],
    ("conv_id", "pair_id", "place", "position", "benchmark"),
    "bucket",
)  # fmt: skip
BENCHMARK_SCANS = _t(
    "benchmark_scans",
    "What a bucket was searched for: a benchmark added later is searched for alone.",
    [
        _f("benchmark", S, "name"),
        _f("fingerprint", S, "hash of its prompts"),
        _f("n_grams", I, "its distinct n-grams and whole short prompts"),
    ],
    ("benchmark",),
    "bucket",
)
CONTAMINATED = _t(
    "contaminated",
    "Pairs that share a 13-gram, or a whole short prompt, with a benchmark.",
    [
        PAIR_ID,
        _f("source", S, "source of the pair"),
        _f("benchmark", S, "benchmark of the first match"),
        _f("item_id", S, "its item"),
        _f("rule", S, "13-gram or short-prompt"),
        _f("span", S, "the matching words"),
        _f("n_matches", I, "distinct benchmark 13-grams found in the pair"),
    ],
    ("pair_id",),
    "bucket",
)
NGRAM_FREQUENCY = _t(
    "ngram_frequency",
    "How often the pool holds each benchmark n-gram that it holds at all.",
    [
        _f("span", S, "the words"),
        _f("rule", S, "13-gram or short-prompt"),
        _f("benchmarks", STRINGS, "benchmarks that hold it, sorted"),
        _f("conversations", I, "distinct conversations that hold it, or whose responses do"),
        _f("pairs", I, "distinct pairs that hold it"),
        _f("frequent", B, "in so many conversations that it looks like boilerplate and not like the benchmark"),
    ],
    ("span",),
)

PERSONAL = _t(
    "personal_data",
    "Where the clean pool holds personal data, and of what kind; never the data themselves.",
    [
        PAIR_ID,
        _f("place", S, "turn <number from 0>, chosen or rejected"),
        _f("start", I, "first character"),
        _f("end", I, "character after the last"),
        _f("kind", S, "EMAIL_ADDRESS, PHONE_NUMBER, IBAN_CODE, …"),
        _f("score", F, "how sure the recogniser is, 0 to 1"),
        _f("sensitivity", I, "0 (an example) to 3 (can be used against a person)"),
    ],
    ("pair_id", "place", "start"),
    "bucket",
)
REDACTED = _t(
    "redacted",
    "Copies of the pairs that hold personal data, with the kind in its place.",
    [PAIR_ID, *TEXTS],
    ("pair_id",),
    "bucket",
)
DATA_CARD = _t(
    "data_card",
    "What the pool is: sources, licences, languages, categories, lengths, balance, duplicates, contamination, counted.",
    [
        _f("figure", S, "what is counted"),
        _f("source", S, "source, '' for the whole pool"),
        _f("item", S, "class, percentile, or upper bound of a size class in characters"),
        _f("n", I, "count; characters for a percentile"),
        _f("of", I, "what n is a part of", True),
    ],
    ("figure", "source", "item"),
)

# ---- seed and attributes -------------------------------------------------------------------------------------------
ATTRIBUTE_FIELDS = [
    _f("category", S, "task category, one of 12 (spec 1.03)"),
    _f("objectivity", S, "objective or subjective"),
    _f("controversiality", S, "low, medium or high"),
    _f("desired", S, "what a user would want from a good answer"),
    _f("guideline", S, "criteria for this very instance"),
]
ATTRIBUTES = _t(
    "attributes",
    "The five preference attributes of every pair that may be labelled in stage 1, made blind to the label.",
    [
        PAIR_ID,
        *ATTRIBUTE_FIELDS,
        _f("labeller", S, "the models that answered, joined by ' + '"),
        _f("prompt_version", S, "version of the attribute prompt"),
        _f("agreement", F, "share of the labellers' closed fields that are as merged; 0 where nobody answered"),
        _f("votes", S, "JSON: closed field -> labeller -> what it said"),
        _f("cost_micros", I, "price in millionths of a dollar"),
        SIMULATED,
    ],
    ("pair_id",),
    "bucket",
)
EMBEDDINGS = _t(
    "embeddings",
    "Vector of (conversation, attributes) for every pair with attributes; responses are left out (spec 3.06).",
    [PAIR_ID, _f("vector", VECTOR, "unit length"), _f("embedder", S, "model and text version")],
    ("pair_id",),
    "bucket",
)
SEED_SELECTION = _t(
    "seed_selection",
    "The pairs that open the loop, spread over category, objectivity and controversiality.",
    [
        PAIR_ID,
        _f("cluster_id", S, "near-duplicate cluster of the conversation"),
        _f("stratum", S, "category / objectivity / controversiality"),
        _f("assigned_to", S, "people or judges"),
        _f("inclusion", F, "probability of being drawn"),
    ],
    ("pair_id",),
)

SEED_COVERAGE = _t(
    "seed_coverage",
    "How evenly the seed is spread over (category, objectivity, controversiality), and where the pool has gaps.",
    [
        _f("category", S, "task category"),
        _f("objectivity", S, "objective, subjective or missing"),
        _f("controversiality", S, "low, medium, high or missing"),
        _f("pool", I, "pairs of the pool with attributes, of stage seed and stage1"),
        _f("pairs", I, "of them those the seed may take"),
        _f("clusters", I, "conversation clusters among those; one pair of each may be taken"),
        _f("target", F, "what an even spread takes"),
        _f("people", I, "taken and given to people"),
        _f("judges", I, "taken and given to judges"),
    ],
    ("category", "objectivity", "controversiality"),
)

# ---- stage 1: one iteration a partition ----------------------------------------------------------------------------
ANNOTATION_BATCH = _t(
    "annotation_batch",
    "The pairs to label in an iteration and who labels them.",
    [
        PAIR_ID,
        _f("cluster_id", S, "near-duplicate cluster of the conversation"),
        _f("assigned_to", S, "people or judges"),
        _f("why", S, "seed, random, or what the policy did: retrieved, d_optimal"),
        _f("priority", I, "order of work, objective and low controversiality first"),
        _f("inclusion", F, "probability of its draw; 1 where a policy and not chance chose it"),
        _f("p", F, "of the original order, by the model before; null in the seed and where it cannot score", True),
    ],
    ("pair_id",),
    "iteration",
)
HUMAN_LABELS = _t(
    "human_labels",
    "What people said, an event a label; never changed, folded into gold.",
    [
        _f("event_id", S, "hash of pair, annotator and iteration"),
        PAIR_ID,
        _f("annotator", S, "pseudonym"),
        _f("shown_first", S, "chosen or rejected: which response stood first"),
        _f("verdict", S, "first, second or undecided"),
        _f("seconds", F, "time spent", True),
        *(f.with_nullable(True).with_metadata({"doc": "as this person corrected it, else null"}) for f in ATTRIBUTE_FIELDS),
        _f("backend", S, "simulated, recorded or files"),
        _f("cost_micros", I, "price in millionths of a dollar"),
        SIMULATED,
    ],
    ("event_id",),
    "iteration",
)
ORDER = _f("order", S, "original or swapped: the order that was verified")
GOLD = _t(
    "gold",
    "Human-verified pairs of an iteration, each with one role that keeps its uses apart.",
    [
        PAIR_ID,
        _f("cluster_id", S, "near-duplicate cluster of the conversation"),
        ORDER,
        _f("role", S, "train, few_shot, validation, calibration or test, for good (curation/gold_roles.py)"),
        _f("votes_original", I, "people for the original order"),
        _f("votes_swapped", I, "people for the other order"),
    ],
    ("pair_id",),
    "iteration",
)
EDITED_ATTRIBUTES = _t(
    "edited_attributes",
    "Gold pairs whose attributes people corrected: the five as corrected, and the vector of that text (spec 1.07).",
    [
        PAIR_ID,
        *ATTRIBUTE_FIELDS,
        _f("edited_by", STRINGS, "the people who corrected something, in order"),
        *(f for f in EMBEDDINGS.schema if f.name != "pair_id"),
    ],
    ("pair_id",),
    "iteration",
)
UNDECIDED = _t(
    "undecided",
    "Pairs that left stage 1 without a label: nobody, or no quorum of judges, could decide.",
    [PAIR_ID, _f("desk", S, "people or judges"), _f("reason", S, "undecided, tie, no_quorum, not_recorded, …")],
    ("pair_id",),
    "iteration",
)
JUDGE_VOTE_FIELDS = [
    PAIR_ID,
    _f("judge", S, "name in the configuration"),
    _f("model", S, "model snapshot"),
    _f("replicate", I, "from 0; even and odd show the responses in opposite orders"),
    _f("shown_first", S, "chosen or rejected"),
    _f("wording", S, "file of the closing question; '' where no prompt was written"),
    _f("effort", S, "reasoning effort that was asked for; '' for the model's own"),
    _f("answer", S, "candidate_1, candidate_2, tie, cannot_determine, or '' when there is none"),
    _f("vote", S, "original, swapped, tie or none: the answer mapped back"),
    _f("status", S, "ok, refused, truncated, unparsable, invalid, expired, error or not_recorded"),
    _f("examples", STRINGS, "gold pairs shown as examples, in the order shown"),
    _f("example_places", STRINGS, "where each example's better response stood: candidate_1 or candidate_2"),
    _f("prompt_version", S, "version of guideline and prompt"),
    _f("request_key", S, "hash of everything that reached the wire"),
    _f("cost_micros", I, "price in millionths of a dollar"),
    SIMULATED,
]
JUDGE_VOTES = _t(
    "judge_votes",
    "Every answer of every judge in an iteration, mapped back to the original order.",
    JUDGE_VOTE_FIELDS,
    ("pair_id", "judge", "replicate"),
    "iteration",
)
VERDICT_FIELDS = [
    PAIR_ID,
    _f("verdict", S, "original, swapped or undecided"),
    _f("share", F, "share of judges with a voice that agree with the verdict"),
    _f("p", F, "probability that the original order is right, by the judges' weights; null where heads are counted", True),
    _f("voices", I, "judges with a voice"),
    _f("votes", S, "JSON: judge -> original, swapped or tie"),
    _f("reason", S, "majority, stacking or dawid_skene decided; tie; unsure; no_quorum"),
]
WEIGHT_FIELDS = [
    _f("judge", S, "name in the configuration"),
    _f("shown_first", S, "chosen or rejected: a judge in two orders errs in two ways"),
    _f("method", S, "stacking or dawid_skene"),
    _f("for_original", F, "log odds for the original order that a vote for it adds"),
    _f("for_swapped", F, "log odds that a vote for the other order adds"),
    _f("pairs", I, "pairs with such a vote that the weights were fitted on"),
]
VERDICTS = _t(
    "verdicts",
    "The panel's verdict a pair: majority within each judge, then one voice a judge (spec 3.10).",
    VERDICT_FIELDS,
    ("pair_id",),
    "iteration",
)
JUDGE_WEIGHTS = _t(
    "judge_weights",
    "What each judge's votes counted for in an iteration's verdicts, where weights and not heads decide.",
    WEIGHT_FIELDS,
    ("judge", "shown_first"),
    "iteration",
)
GOLD_VOTES = _t(
    "gold_votes",
    "The panel on pairs that people decided: for report cards and weights only, never for silver (spec 2.16, O-05).",
    JUDGE_VOTE_FIELDS,
    ("pair_id", "judge", "replicate"),
    "iteration",
)
SILVER = _t(
    "silver",
    "Pairs the judges verified in an iteration.",
    [PAIR_ID, _f("cluster_id", S, "near-duplicate cluster of the conversation"), ORDER, _f("share", F, "of the panel")],
    ("pair_id",),
    "iteration",
)
MODEL_FIELDS = [
    _f("model_id", S, "hash of data, recipe and backbone"),
    _f("kind", S, "loop, gold or final"),
    _f("path", S, "folder of the exported model"),
    _f("data_hash", S, "hash of the training pairs"),
    _f("recipe_hash", S, "hash of backbone and hyperparameters"),
    _f("pairs", I, "training pairs"),
    _f("dropped", I, "pairs left out: over-long or identical after rendering"),
    _f("steps", I, "optimizer steps"),
    _f("best_step", I, "step whose checkpoint was kept"),
    _f("train_loss", F, "mean Bradley-Terry loss of the last tenth of the steps"),
    _f("validation_pairs", I, "pairs the checkpoint was chosen on"),
    _f("validation_accuracy", F, "their accuracy, ties count half", True),
    _f("seconds", F, "wall time of the program"),
    _f("tokens", I, "tokens computed"),
    _f("hardware", S, "device and ranks"),
]
REWARD_MODEL = _t(
    "reward_model",
    "The loop's reward model of an iteration, trained on all silver so far; never on gold.",
    MODEL_FIELDS,
    ("model_id",),
    "iteration",
)
GOLD_PREDICTIONS = _t(
    "gold_predictions",
    "What an iteration's reward model thinks of every gold pair so far, in the human order.",
    [
        PAIR_ID,
        _f("role", S, "role of the gold pair"),
        _f("reward_better", F, "reward of the response people prefer"),
        _f("reward_worse", F, "reward of the other"),
        _f("p", F, "sigmoid of the difference"),
        _f("k", I, "neighbours it may ask for (spec 3.07)"),
        _f("model_id", S, "the model asked"),
    ],
    ("pair_id",),
    "iteration",
)
RETRIEVED = _t(
    "retrieved",
    "Unlabelled pairs that resemble what the reward model gets wrong, which the policy `paper` labels next.",
    [
        PAIR_ID,
        _f("query_pair", S, "gold pair that asked for it"),
        _f("rank", I, "place among that query's neighbours, from 1"),
        _f("similarity", F, "cosine"),
        _f("p_query", F, "p of the gold pair in the human order"),
        _f("k", I, "neighbours the query was allowed"),
    ],
    ("pair_id",),
    "iteration",
)
SELECTION = _t(
    "selection",
    "The pairs to label next: a share drawn at random, the others chosen by the policy.",
    [
        PAIR_ID,
        _f("why", S, "random, or what the policy did: retrieved, d_optimal"),
        _f("rank", I, "place among those, from 1"),
        _f("score", F, "what the policy ranked by: similarity or information gain", True),
        _f("inclusion", F, "probability of its draw; 1 where the policy and not chance chose it"),
        _f("p", F, "of the original order, by this iteration's reward model", True),
    ],
    ("pair_id",),
    "iteration",
)

# ---- stage 2 -------------------------------------------------------------------------------------------------------
BEST_RM = _t(
    "best_reward_model",
    "Every iteration's reward model measured on the final gold; the best is frozen for stage 2.",
    [
        _f("iteration", S, "whose model"),
        _f("model_id", S, "its id"),
        _f("path", S, "folder of the model"),
        _f("pairs", I, "gold pairs measured on"),
        _f("accuracy", F, "ties count half"),
        _f("best", B, "the one used from here on"),
    ],
    ("iteration",),
)
GOLD_RM = _t("gold_reward_model", "The reward model trained on people's labels only.", MODEL_FIELDS, ("model_id",))
SCORES = _t(
    "scores",
    "Rewards of both models for every pair that stage 2 decides, in the original order.",
    [
        PAIR_ID,
        *[
            _f(f"{c}_{m}", F, d, True)
            for m in ("best", "gold")
            for c, d in (("r_chosen", "reward"), ("r_rejected", "reward"), ("p", "sigmoid of the difference"))
        ],
        _f("best_model", S, "model id"),
        _f("gold_model", S, "model id"),
        *[
            _f(f"unscored_{m}", S, "why it gives no reward: over_length or refused_by_template", True)
            for m in ("best", "gold")
        ],
    ],
    ("pair_id",),
    "bucket",
)
AUDIT_ATTRIBUTES = _t(
    "audit_attributes",
    "The pairs of stage 2 that were drawn at random for people, with their attributes.",
    list(ATTRIBUTES.schema),
    ("pair_id",),
)
AUDIT = _t(
    "audit",
    "What people said about pairs of stage 2 that were drawn at random: calibrated decisions are tested on them.",
    list(HUMAN_LABELS.schema),
    ("event_id",),
)
DECISION_RULE = _t(
    "decision_rule",
    "The rule of stage 2 as a file: applied to stored scores and verdicts it gives the same classes again (spec 4.13).",
    [
        _f("rule", S, "its name, as on every row it decides; ends with a hash of the file"),
        _f("decision", S, "paper or calibrated"),
        _f("policy", S, "who must agree, and who is asked"),
        _f("threshold", F, "p above which the best model agrees with a label"),
        _f("band", F, "added to the threshold"),
        _f("file", S, "the JSON text"),
    ],
    ("rule",),
)
ROUTED = _t(
    "routed",
    "Pairs whose class the judges can still change, the only ones they are paid for.",
    [
        PAIR_ID,
        _f("p_best", F, "best model's confidence in the original order"),
        _f("k", I, "gold examples to show (spec 3.07)"),
    ],
    ("pair_id",),
    "bucket",
)
STAGE2_ATTRIBUTES = _t(
    "stage2_attributes", "Attributes of the routed pairs only (spec 4.05).", list(ATTRIBUTES.schema), ("pair_id",), "bucket"
)
STAGE2_VOTES = _t(
    "stage2_votes", "Judges' answers on routed pairs.", JUDGE_VOTE_FIELDS, ("pair_id", "judge", "replicate"), "bucket"
)
STAGE2_WEIGHTS = _t(
    "stage2_judge_weights", "What each judge's votes counted for in stage 2.", WEIGHT_FIELDS, ("judge", "shown_first"),
    "bucket",
)  # fmt: skip
STAGE2_VERDICTS = _t("stage2_verdicts", "The panel's verdict on routed pairs.", VERDICT_FIELDS, ("pair_id",), "bucket")
DECISIONS = _t(
    "decisions",
    "Stage 2's decision on every pair, with the votes it follows from (spec 4, partition).",
    [
        PAIR_ID,
        _f("b", S, "best model on the original order: +, - or 0"),
        _f("g", S, "gold model: +, - or 0"),
        _f("j", S, "judges: +, -, 0, or '' when not asked"),
        _f("route", S, "confident, judged or unasked"),
        _f("class", S, "keep, flip or drop"),
        _f("reason", S, "agreed, judged, both_reject, rejected, rest, calibrated; conflict, tie, undecided, abstained or"
            " why it was not scored"),
        _f("p_right", F, "calibrated probability that the original order is right; null without calibration", True),
        _f("rule", S, "name of the rule"),
    ],
    ("pair_id",),
    "bucket",
)
KEPT = _t(
    "kept",
    "Stage 2's survivors in their original order.",
    [
        PAIR_ID,
        _f("route", S, "confident or judged"),
        _f("reason", S, "why"),
        _f("p_right", F, "calibrated probability that the order it has here is right; null without calibration", True),
    ],
    ("pair_id",),
    "bucket",
)
FLIPPED = _t("flipped", "Pairs that pass the same rule once swapped.", list(KEPT.schema), ("pair_id",), "bucket")
DROPPED = _t("dropped", "Pairs that pass in neither order.", list(KEPT.schema), ("pair_id",), "bucket")

# ---- releases, models, results -------------------------------------------------------------------------------------
RELEASE_FIELDS = [
    PAIR_ID,
    CONV_ID,
    *TEXTS,
    _f("flipped", B, "chosen and rejected are swapped against the original label"),
    _f("label_source", S, "people, judges or models: who verified it"),
    _f("rule", S, "what admitted it"),
    _f("weight", F, "training weight, 1.0 unless configured"),
    _f("p_right", F, "calibrated probability that the order given here is right; null without calibration", True),
    _f("risk", S, "low, or risky: subjective or more than low controversiality", True),
    _f("source", S, "source"),
    _f("licence", S, "of the source"),
]
RELEASE_CURATED = _t(
    "release_curated",
    "The curated release: pairs whose original order was verified, from gold, silver and stage 2.",
    RELEASE_FIELDS,
    ("pair_id",),
    "bucket",
)
RELEASE_CORRECTED = _t(
    "release_corrected",
    "The curated release and, swapped and flagged, the pairs whose original order was contradicted.",
    RELEASE_FIELDS,
    ("pair_id",),
    "bucket",
)
SNAPSHOTS = _t(
    "snapshots",
    "The views original, filtered and corrected after each iteration and after stage 2: how many pairs, and which.",
    [
        _f("upto", S, "the last iteration that counts, or stage2"),
        _f("view", S, "original, filtered or corrected"),
        _f("pairs", I, "pairs in it"),
        _f("swapped", I, "of them in the other order than the original"),
        _f("hash", S, "of the pairs and their orders; equal views have equal hashes"),
    ],
    ("upto", "view"),
)
FINAL_MODEL = _t(
    "final_reward_model",
    "Reward models trained alike on original, filtered and corrected data, with as many seeds as training.seeds says.",
    [
        _f("arm", S, "original, random, filtered, corrected or soft"),
        _f("seed", I, "of the head, the order of the pairs and, without a backbone, the weights"),
        *MODEL_FIELDS,
    ],
    ("model_id",),
    "model",
)
BENCHMARK_SCORES = _t(
    "benchmark_scores",
    "Reward of every response of every benchmark: what results are computed from, again and without the model.",
    [
        _f("benchmark", S, "name"),
        _f("item_id", S, "item within it"),
        _f("candidate", I, "response within the item, from 0"),
        _f("reward", F, "reward, null when it could not be scored", True),
        _f("unscored", S, "why there is no reward: over_length or refused_by_template", True),
        _f("truncated", B, "longer than the model's limit: scored without its beginning"),
    ],
    ("benchmark", "item_id", "candidate"),
    "model",
)
BENCHMARK_RESULT_FIELDS = [
    _f("arm", S, "model evaluated (of another seed than the first: arm-2, arm-3, …), or a baseline: longer_answer"),
    _f("benchmark", S, "name"),
    _f("subset", S, "'' for the whole benchmark"),
    _f("metric", S, "what value is; `_at_hand` where parts are missing"),
    _f("value", F, "0 to 1; null where a part of the benchmark is missing", True),
    _f("low", F, "lower end of the 95 % bootstrap interval over items", True),
    _f("high", F, "upper end", True),
    _f("n", I, "items"),
    _f("of", I, "items published; more than n when sampled or incomplete"),
    _f("ties", I, "items with an exact tie"),
    _f("truncated", I, "items with a response over the length limit: cut, or counted wrong where it was refused"),
    _f("missing", STRINGS, "parts of the benchmark that are not at hand"),
]
BENCHMARK_RESULTS = _t(
    "benchmark_results",
    "Scores of the final models on every configured benchmark, with intervals.",
    BENCHMARK_RESULT_FIELDS,
    ("arm", "benchmark", "subset", "metric"),
    "benchmark|model",
)
BENCHMARK_BASELINES = _t(
    "benchmark_baselines",
    "What needs no model: the longer answer wins.",
    BENCHMARK_RESULT_FIELDS,
    ("arm", "benchmark", "subset", "metric"),
)
JUDGE_CARDS = _t(
    "judge_cards",
    "Report cards on gold: what each judge, the panel by every way of counting, and people among themselves are worth.",
    [
        _f("judge", S, "a judge, people, panel, or `panel: ` and a way from votes to verdicts"),
        _f("stratum", S, "all, or an attribute's value"),
        _f("figure", S, "agrees_with_people, agrees_with_one_person, prefers_first, prefers_longer, flips_with_order,"
           " repeats_itself, decides, refuses, dollars_per_label, seconds_per_call, credit, gain_over_majority or effective_votes"),
        _f("value", F, "share, dollars, seconds, difference of shares, or number of votes", True),
        _f("low", F, "lower end of the 95 % interval, which knows that votes on one pair go together", True),
        _f("high", F, "upper end", True),
        _f("n", I, "votes measured on"),
        _f("pairs", I, "pairs they are on"),
    ],
    ("judge", "stratum", "figure"),
)  # fmt: skip
SPENDING = _t(
    "spending",
    "The ledger of paid calls, from the store that holds every one of them: also what brought no label.",
    [
        _f("stage", S, "step and partition"),
        _f("who", S, "judge or labeller"),
        _f("model", S, "as configured"),
        _f("status", S, "ok, refused, truncated, unparsable, invalid: answered and charged; error, expired, cancelled:"
           " not; open: in a batch; lost: sent, and the process died"),
        _f("calls", I, "calls"),
        _f("input_tokens", I, "tokens of prompts read afresh"),
        _f("cached_tokens", I, "tokens of prompts read from the provider's cache"),
        _f("written_tokens", I, "tokens of prompts written to the provider's cache"),
        _f("output_tokens", I, "tokens of answers, reasoning included"),
        _f("cost_micros", I, "millionths of a dollar, by the provider's own usage"),
        _f("at_risk_micros", I, "millionths of a dollar that may have been charged although no answer is known"),
    ],
    ("stage", "who", "model", "status"),
)  # fmt: skip
REPORT_FIGURES = _t(
    "report_figures",
    "Every figure of the report's page, with its interval and what it was measured on.",
    [
        _f("figure", S, "what is measured"),
        _f("group", S, "arm, class, iteration or ''"),
        _f("value", F, "the figure", True),
        _f("low", F, "lower end of its 95 % interval", True),
        _f("high", F, "upper end", True),
        _f("n", I, "what it was measured on"),
        _f("against", S, "planted, people or ''"),
    ],
    ("figure", "group"),
)
REFERENCE = _t(
    "reference_labels",
    "The truth a run is measured against, planted or from people; nothing but the report and simulations reads it.",
    [
        COMPARISON_ID,
        _f("winner", S, "128-bit hash of the better response, '' when nobody can tell"),
        _f("origin", S, "planted or people"),
        _f("topic", S, "planted topic, or the source of the human label"),
        _f("gap", F, "planted difference in quality, or share of the people's votes for the winner"),
    ],
    ("comparison_id",),
)
WORLD_FILES = _t(
    "world_files",
    "The files of the generated pool, which the sources read as they would read yours.",
    [_f("file", S, "name"), _f("bytes", I, "size"), _f("hash", S, "128-bit hash of the content")],
    ("file",),
)
PLANTED_ROWS = _t(
    "planted_rows",
    "What the generated pool hides, row by row; only the report reads it.",
    [
        _f("source", S, "source"),
        _f("row", I, "record number"),
        _f("kind", S, "plain, noisy, ambiguous, duplicate, mirror, contaminated, null, identical, tie or broken"),
        _f("detail", S, "what was planted"),
    ],
    ("source", "row", "kind"),
)

TABLES: dict[str, Table] = {t.name: t for t in list(globals().values()) if isinstance(t, Table)}
