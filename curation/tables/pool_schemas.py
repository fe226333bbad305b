"""Stage 0: the pool."""

from curation.tables.columns import (
    CONV_ID,
    IDS,
    ORIGIN,
    PAIR,
    PAIR_ID,
    SIMULATED,
    STRINGS,
    TEXTS,
    B,
    F,
    I,
    S,
    field,
    table,
)

SOURCES = table(
    "sources",
    "What the pool is made from: a configured source and the hash of its bytes.",
    [
        field("source", S, "name"),
        field("path", S, "file or query as configured, with the names of environment variables"),
        field("fingerprint", S, "hash of the bytes read, '' where the file could not be read"),
        field("bytes", I, "size of the file"),
        field("shape", S, "adapter that reads it"),
        field("license", S, "license as configured"),
        field("redistribution", B, "whether the license lets its rows be released"),
        field("label_origin", S, "human, synthetic or unknown"),
        field("stage", S, "seed, stage1 or stage2"),
        field("joined", I, "iteration of stage 1 with which it joined the pool"),
        field("priority", I, "of equal pairs that joined together, the source with the lowest number keeps its row"),
        field("problem", S, "why the whole file could not be read", True),
        field("settings", S, "hash of its whole configuration"),
    ],
    ("source",),
    "source",
)
RAW_POOL = table(
    "raw_pool",
    "Every usable pair of a source, as read: one canonical record, ids by content.",
    [
        *PAIR,
        *ORIGIN,
        field("row", I, "record number in the file, from 1"),
        field("part", I, "which of the pairs that this record implies, from 0"),
        field("priority", I, "of the source"),
        field("n_chars", I, "characters of conversation and both responses"),
        field("ahead_by", F, "points of its source's scores by which chosen is ahead; null where there are none", True),
    ],
    ("comparison_id", "pair_id", "row", "part"),  # a bucket is a range of comparison_id: it reads only its row groups
    "source",
)
UNUSABLE = table(
    "unusable",
    "Records that were read but are no pair: a missing or empty response, identical responses, a tie, no label.",
    [
        field("source", S, "the configured source"),
        field("row", I, "record number in the file, from 1"),
        field("part", I, "which of the record's pairs, from 0"),
        field("reason", S, "null_response, identical, identical_normalised, tie, both_bad, no_label, bad_roles, …"),
        field("evidence", S, "what was found, shortened"),
    ],
    ("row", "part"),
    "source",
)
QUARANTINE = table(
    "quarantine",
    "Rows and files that could not be read at all: file, row and error.",
    [
        field("source", S, "the configured source"),
        field("file", S, "path or query as configured, with the names of environment variables"),
        field("row", I, "record number, 0 for the whole file"),
        field("reason", S, "missing_file, empty_file, truncated, not_utf8, not_json, wrong_fields, row_too_big, …"),
        field("error", S, "the message, naming what was expected"),
        field("excerpt", S, "the first characters of the row"),
    ],
    ("row",),
    "source",
)
IMPORTS = table(
    "imports",
    "What reading a source brought, and where it brought no pair, why and what to try.",
    [
        field("source", S, "the configured source"),
        field("records", I, "records read"),
        field("pairs", I, "rows of raw_pool"),
        field("unusable", I, "rows of unusable: parts of records that are no pair"),
        field("quarantined", I, "rows of quarantine: records and files that could not be read"),
        field("warning", S, "the commonest reasons and the nearest adapter, where there is no pair", True),
    ],
    ("source",),
    "source",
)
ANSWER_FILES = table(
    "answer_files",
    "Recorded answers of people and judges: what each of their files brought.",
    [
        field("answers_of", S, "people, reference, or judge and its name"),
        field("path", S, "path or query as configured, with the names of environment variables"),
        field("place", I, "which of their files it is, from 0"),
        field("accepted", I, "answers that say which response is better, or that neither is"),
        field("refused", I, "rows of unusable_answers"),
        field("reasons", S, "why, with counts, the commonest first"),
    ],
    ("answers_of", "place"),
)
UNUSABLE_ANSWERS = table(
    "unusable_answers",
    "Recorded answers that are no label: an unlisted code, a missing response, a file that cannot be read.",
    [
        field("answers_of", S, "people, reference, or judge and its name"),
        field("place", I, "which of their files it is, from 0"),
        field("row", I, "record number in the file, from 1; 0 for the whole file, or the rest of it"),
        field("part", I, "which of the record's comparisons, from 0"),
        field("reason", S, "unknown_code, no_label, both_bad, null_response, not_json, missing_file, …"),
        field("evidence", S, "what was found, shortened"),
    ],
    ("answers_of", "place", "row", "part"),
)
DEDUPED = table(
    "deduped",
    "Every distinct pair once: which record of it stays, by source priority; mirror images marked. With their texts the "
    "pairs stand in the view `deduped_pairs`.",
    [
        *IDS,
        *ORIGIN,
        field("row", I, "record number in the survivor's file"),
        field("part", I, "which of the record's pairs"),
        field("copies", I, "records that held this pair, the survivor included"),
        field("also_in", STRINGS, "other sources that held it, sorted"),
        field("conflict", B, "the same responses stand with the opposite label in a pair that joined no later"),
        field("n_chars", I, "characters of conversation and both responses"),
    ],
    ("pair_id",),
    "bucket",
)
DUPLICATES = table(
    "duplicates",
    "Records removed because an equal pair was kept: who lost and to whom.",
    [
        PAIR_ID,
        field("source", S, "source of the removed record"),
        field("row", I, "its record number"),
        field("part", I, "which of the record's pairs"),
        field("kept_source", S, "source of the survivor"),
        field("kept_row", I, "record number of the survivor"),
    ],
    ("pair_id", "source", "row", "part"),
    "bucket",
)
BENCHMARK_PROMPTS = table(
    "benchmark_prompts",
    "First-turn prompts of every configured benchmark, what the pool is cleaned against.",
    [field("benchmark", S, "name"), field("item_id", S, "item within it"), field("prompt", S, "first user turn")],
    ("benchmark", "item_id"),
)
CLUSTERS = table(
    "clusters",
    "Near-duplicate conversations (MinHash), so that gold, silver and test never share one.",
    [CONV_ID, field("cluster_id", S, "conv_id of the smallest of its first members")],
    ("conv_id",),
)
CLEAN_POOL = table(
    "clean_pool",
    "The decontaminated pool: every pair that curation may use.",
    [*PAIR, *list(DEDUPED.schema)[len(IDS) :], field("cluster_id", S, "near-duplicate conversations share it")],
    ("pair_id",),
    "bucket",
)
BENCHMARK_HITS = table(
    "benchmark_hits",
    "Every 13-gram, or whole short prompt, of a benchmark that a text of the pool holds, and where.",
    [
        field("benchmark", S, "name"),
        field("item_id", S, "its first item that holds these words"),
        field("rule", S, "13-gram or short-prompt"),
        field("span", S, "the matching words"),
        field("conv_id", S, "conversation of the match, or of the response that holds it"),
        field(
            "pair_id",
            S,
            "pair whose response holds it; null for a match in the conversation, which is all its pairs'",
            True,
        ),
        field("place", I, "turn of the conversation from 0; 2^30 stands for chosen, 2^30 + 1 for rejected"),
        field("position", I, "first word of the match within its text"),
    ],
    ("conv_id", "pair_id", "place", "position", "benchmark"),
    "bucket",
)
BENCHMARK_SCANS = table(
    "benchmark_scans",
    "What a bucket was searched for: a benchmark added later is searched for alone.",
    [
        field("benchmark", S, "name"),
        field("fingerprint", S, "hash of its prompts"),
        field("n_grams", I, "its distinct n-grams and whole short prompts"),
    ],
    ("benchmark",),
    "bucket",
)
CONTAMINATED = table(
    "contaminated",
    "Pairs that share a 13-gram, or a whole short prompt, with a benchmark.",
    [
        PAIR_ID,
        field("source", S, "source of the pair"),
        field("benchmark", S, "benchmark of the first match"),
        field("item_id", S, "its item"),
        field("rule", S, "13-gram or short-prompt"),
        field("span", S, "the matching words"),
        field("n_matches", I, "distinct benchmark 13-grams found in the pair"),
    ],
    ("pair_id",),
    "bucket",
)
NGRAM_FREQUENCY = table(
    "ngram_frequency",
    "How often the pool holds each benchmark n-gram that it holds at all.",
    [
        field("span", S, "the words"),
        field("rule", S, "13-gram or short-prompt"),
        field("benchmarks", STRINGS, "benchmarks that hold it, sorted"),
        field("conversations", I, "distinct conversations that hold it, or whose responses do"),
        field("pairs", I, "distinct pairs that hold it"),
        field("frequent", B, "in so many conversations that it looks like boilerplate and not like the benchmark"),
    ],
    ("span",),
)

LOOK_FIELDS = [
    field("judge", S, "who looked; people for an answer of theirs"),
    field("status", S, "ok, or how the request ended without an answer"),
    field("request_key", S, "hash of everything that reached the wire; '' where nothing did"),
    field("cost_micros", I, "price in millionths of a dollar"),
    SIMULATED,
]
BENCHMARK_OVERLAPS = table(
    "benchmark_overlaps",
    "The longest run of words, from 5 to 13, that a pair shares with a benchmark's prompts, anywhere in its texts: one a pair "
    "and benchmark, of all distinct pairs, removed ones included. It removes nothing.",
    [
        PAIR_ID,
        field("benchmark", S, "name"),
        field("item_id", S, "its first item that holds these words"),
        field("n", I, "words of the run; the longest that was looked for stands for longer ones, too"),
        field("span", S, "the words"),
        field("place", S, "turn <number from 0>, chosen or rejected"),
    ],
    ("pair_id", "benchmark"),
    "bucket",
)
OVERLAP_VERDICTS = table(
    "overlap_verdicts",
    "What a judge says of a draw of the overlaps of each length: whether the pair holds the benchmark's task (spec 0.09).",
    [
        PAIR_ID,
        field("benchmark", S, "name"),
        field("n", I, "words of the run"),
        field("verdict", S, "contaminated, false_positive, cannot_determine, or '' where there is none"),
        *LOOK_FIELDS,
    ],
    ("pair_id", "benchmark"),
)
PERSONAL_VERDICTS = table(
    "personal_verdicts",
    "The second pass over personal data: what a judge, and people for a sample, say of single findings (spec 0.12).",
    [
        PAIR_ID,
        field("place", S, "turn <number from 0>, chosen or rejected"),
        field("start", I, "first character"),
        field("sensitivity", I, "of the first pass, 0 to 3"),
        field("verdict", S, "direct, indirect, none, cannot_determine; of people yes or no; '' where there is none"),
        *LOOK_FIELDS,
    ],
    ("pair_id", "place", "start", "judge"),
)
PERSONAL_DATA = table(
    "personal_data",
    "Where the clean pool holds personal data, and of what kind; never the data themselves.",
    [
        PAIR_ID,
        field("place", S, "turn <number from 0>, chosen or rejected"),
        field("start", I, "first character"),
        field("stop", I, "character after the last"),
        field("kind", S, "EMAIL_ADDRESS, PHONE_NUMBER, IBAN_CODE, …"),
        field("score", F, "how sure the recogniser is, 0 to 1"),
        field("sensitivity", I, "0 (an example) to 3 (can be used against a person)"),
    ],
    ("pair_id", "place", "start"),
    "bucket",
)
REDACTED = table(
    "redacted",
    "Copies of the pairs that hold personal data, with the kind in its place.",
    [PAIR_ID, *TEXTS],
    ("pair_id",),
    "bucket",
)
POOL_DESCRIPTION = table(
    "pool_description",
    "What the clean pool is about (spec 0.13): by attributes where pairs have them, by rules over keywords for a sample of "
    "all, and how often the two agree.",
    [
        field("figure", S, "category, objectivity, controversiality or language; `rules agree: ` and one of these"),
        field("method", S, "attributes, rules, or detector for languages"),
        field("item", S, "the class; 'pairs' for agreement"),
        field("n", I, "pairs"),
        field("out_of", I, "pairs that were looked at"),
    ],
    ("figure", "method", "item"),
)
CONTENT_SAMPLE = table(
    "content_sample",
    "Language and task of some of a bucket's clean pairs, by rules, counted by source.",
    [
        field("figure", S, "language, category, objectivity or controversiality"),
        field("source", S, "source of the pairs"),
        field("item", S, "ISO 639 code or class"),
        field("n", I, "pairs"),
    ],
    ("figure", "source", "item"),
    "bucket",
)
DATA_CARD = table(
    "data_card",
    "What the pool is: sources, licenses, languages, categories, lengths, balance, duplicates, contamination, counted.",
    [
        field("figure", S, "what is counted"),
        field("source", S, "source, '' for the whole pool"),
        field("item", S, "class, percentile, or upper bound of a size class in characters"),
        field("n", I, "count; characters for a percentile"),
        field("out_of", I, "what n is a part of", True),
    ],
    ("figure", "source", "item"),
)
