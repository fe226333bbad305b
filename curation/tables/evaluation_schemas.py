"""Benchmarks, judges and money: what a run was worth and what it cost."""

from curation.tables.columns import STRINGS, B, F, I, S, field, table

BENCHMARK_SCORES = table(
    "benchmark_scores",
    "Reward of every response of every benchmark: what results are computed from, again and without the model.",
    [
        field("benchmark", S, "name"),
        field("item_id", S, "item within it"),
        field("candidate", I, "response within the item, from 0"),
        field("reward", F, "reward, null when it could not be scored", True),
        field("unscored", S, "why there is no reward: over_length or refused_by_template", True),
        field("truncated", B, "longer than the model's limit: scored without its beginning"),
    ],
    ("benchmark", "item_id", "candidate"),
    "model",
)
BENCHMARK_RESULT_FIELDS = [
    field("arm", S, "model evaluated (of another seed than the first: arm-2, arm-3, …), or a baseline: longer_answer"),
    field("benchmark", S, "name"),
    field("subset", S, "'' for the whole benchmark"),
    field("metric", S, "what value is; `_at_hand` where parts are missing"),
    field("value", F, "0 to 1; null where a part of the benchmark is missing", True),
    field("low", F, "lower end of the 95 % bootstrap interval over items", True),
    field("high", F, "upper end", True),
    field("n", I, "items"),
    field("out_of", I, "items published; more than n when sampled or incomplete"),
    field("ties", I, "items with an exact tie"),
    field("truncated", I, "items with a response over the length limit: cut, or counted wrong where it was refused"),
    field("missing", STRINGS, "parts of the benchmark that are not at hand"),
]
BENCHMARK_RESULTS = table(
    "benchmark_results",
    "Scores of the final models on every configured benchmark, with intervals.",
    BENCHMARK_RESULT_FIELDS,
    ("arm", "benchmark", "subset", "metric"),
    "benchmark|model",
)
BENCHMARK_BASELINES = table(
    "benchmark_baselines",
    "What needs no model: the longer answer wins.",
    BENCHMARK_RESULT_FIELDS,
    ("arm", "benchmark", "subset", "metric"),
)
JUDGE_CARDS = table(
    "judge_cards",
    "Report cards on gold: what each judge, the panel by every way of counting, and people among themselves are worth.",
    [
        field("judge", S, "a judge, people, panel, or `panel: ` and a way from votes to verdicts"),
        field("stratum", S, "all, or an attribute's value"),
        field(
            "figure",
            S,
            "agrees_with_people, agrees_with_one_person, prefers_first, prefers_longer, flips_with_order,"
            " repeats_itself, decides, refuses, dollars_per_label, seconds_per_call, credit, gain_over_majority or effective_votes",
        ),
        field("value", F, "share, dollars, seconds, difference of shares, or number of votes", True),
        field("low", F, "lower end of the 95 % interval, which knows that votes on one pair go together", True),
        field("high", F, "upper end", True),
        field("n", I, "votes measured on"),
        field("pairs", I, "pairs they are on"),
    ],
    ("judge", "stratum", "figure"),
)
SPENDING = table(
    "spending",
    "The ledger of paid calls, from the store that holds every one of them: also what brought no label.",
    [
        field("stage", S, "step and partition"),
        field("who", S, "judge or labeller"),
        field("model", S, "as configured"),
        field(
            "status",
            S,
            "ok, refused, truncated, unparsable, invalid: answered and charged; error, expired, cancelled:"
            " not; open: in a batch; lost: sent, and the process died",
        ),
        field("calls", I, "calls"),
        field("input_tokens", I, "tokens of prompts read afresh"),
        field("cached_tokens", I, "tokens of prompts read from the provider's cache"),
        field("written_tokens", I, "tokens of prompts written to the provider's cache"),
        field("output_tokens", I, "tokens of answers, reasoning included"),
        field("cost_micros", I, "millionths of a dollar, by the provider's own usage"),
        field("at_risk_micros", I, "millionths of a dollar that may have been charged although no answer is known"),
    ],
    ("stage", "who", "model", "status"),
)
REPORT_FIGURES = table(
    "report_figures",
    "Every figure of the report's page, with its interval and what it was measured on.",
    [
        field("figure", S, "what is measured"),
        field("figure_group", S, "arm, class, iteration or ''"),
        field("value", F, "the figure", True),
        field("low", F, "lower end of its 95 % interval", True),
        field("high", F, "upper end", True),
        field("n", I, "what it was measured on"),
        field("against", S, "planted, people or ''"),
    ],
    ("figure", "figure_group"),
)
