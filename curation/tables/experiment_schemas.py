"""Experiments: training sets with a name, the models on them, their scores, and what follows (spec 8)."""

from curation.tables.columns import PAIR_ID, B, F, I, S, field, table
from curation.tables.stage1_schemas import JUDGE_VOTE_FIELDS, MODEL_FIELDS, VERDICT_FIELDS

EXPERIMENT, ARM = field("experiment", S, "as configured"), field("arm", S, "as configured, or as its preset names it")
REPLICATE = field("replicate", I, "training of the arm, from 1")
UNGUIDED_VOTES = table(
    "unguided_votes",
    "The panel on every pair of an iteration's batch, shown no gold example: for experiments only, never for silver.",
    JUDGE_VOTE_FIELDS,
    ("pair_id", "judge", "replicate"),
    "iteration",
)
UNGUIDED_VERDICTS = table(
    "unguided_verdicts",
    "What judges without examples decide: majority within each judge, then one voice a judge (spec 4.12).",
    VERDICT_FIELDS,
    ("pair_id",),
    "iteration",
)
EXPERIMENT_PAIRS = table(
    "experiment_pairs",
    "The training set of an arm, pair by pair (spec 8.14).",
    [
        PAIR_ID,
        field("verified_order", S, "original, or swapped against the original label"),
        field("weight", F, "training weight"),
        field("target", F, "probability that the order is right that the training is told"),
    ],
    ("pair_id",),
    "training_set",
)
EXPERIMENT_SETS = table(
    "experiment_sets",
    "What each training set is: how it was built, how large it is, a hash of its content.",
    [
        EXPERIMENT,
        ARM,
        field("built", S, "how, in the configuration's words"),
        field("pairs", I, "pairs in it; 0 where it could not be built"),
        field("swapped", I, "of them in the other order than the original"),
        field("hash", S, "of pairs, orders, weights and targets; equal sets have equal hashes"),
        field("problem", S, "why it is empty, or smaller than was asked; '' where all is well"),
    ],
    ("experiment", "arm"),
    "training_set",
)
EXPERIMENT_PROFILES = table(
    "experiment_profiles",
    "What the pairs of a training set look like: histograms and moments, which tell whether two sets are comparable.",
    [
        EXPERIMENT,
        ARM,
        field(
            "statistic",
            S,
            "source, topic, length (characters of both responses), margin_size, longer (chosen less rejected) and, of the"
            " pairs whose attributes are known, category, objectivity and controversiality as histograms; length, longer,"
            " margin (chosen less rejected by the best reward model) and margin_size (how far apart it finds the two,"
            " whichever is better) with _mean and _sd as numbers",
        ),
        field("item", S, "bin or value of the histogram; '' for a number"),
        field("value", F, "share of the pairs, or the number"),
        field("n", I, "pairs that it was measured on"),
    ],
    ("experiment", "arm", "statistic", "item"),
    "training_set",
)
EXPERIMENT_MODELS = table(
    "experiment_models",
    "The reward models of an arm, one a replicate. Equal data and recipe are trained once, whatever the arm is called.",
    [EXPERIMENT, ARM, REPLICATE, field("seed", I, "of the training"), *MODEL_FIELDS],
    ("experiment", "arm", "replicate"),
    "training_set",
)
EXPERIMENT_SCORES = table(
    "experiment_scores",
    "Reward of every response of everything that an arm's models are measured on.",
    [
        REPLICATE,
        field("benchmark", S, "benchmark, gold_test or held_out"),
        field("item_id", S, "item within it"),
        field("candidate", I, "response within the item, from 0"),
        field("reward", F, "reward, null when it could not be scored", True),
        field("unscored", S, "why there is no reward", True),
        field("truncated", B, "scored without its beginning"),
    ],
    ("replicate", "benchmark", "item_id", "candidate"),
    "training_set",
)
EXPERIMENT_RESULTS = table(
    "experiment_results",
    "The headline number of every replicate of an arm on everything it is measured on.",
    [
        EXPERIMENT,
        ARM,
        REPLICATE,
        field("evaluation", S, "benchmark, gold_test or held_out"),
        field("metric", S, "accuracy, or accuracy_at_hand where parts are missing"),
        field("value", F, "0 to 1"),
        field("low", F, "lower end of the 95 % interval over items"),
        field("high", F, "upper end"),
        field("n", I, "items"),
    ],
    ("experiment", "arm", "replicate", "evaluation"),
    "training_set",
)
EXPERIMENT_CONTRASTS = table(
    "experiment_contrasts",
    "Differences between arms, with what they vary over, and whether they can be read as one of the data (spec O-28, 6.10).",
    [
        EXPERIMENT,
        field(
            "contrast",
            S,
            "`a - b`; `rise: ` and the arms in order; `crossing: `, an arm to reach and the arms on the way",
        ),
        field("evaluation", S, "benchmark, gold_test, held_out, or `mean` over them"),
        field(
            "value",
            F,
            "difference, or rise from the first arm to the last; of a crossing, pairs; null where an arm has no model or it"
            " is not reached",
            True,
        ),
        field("low", F, "lower end of the 95 % interval over items and replicates", True),
        field("high", F, "upper end", True),
        field("p", F, "two-sided, from the same spread", True),
        field("p_holm", F, "corrected for the experiment's contrasts on all its evaluations (Holm)", True),
        field("items_low", F, "lower end of the 95 % interval over items alone", True),
        field("items_high", F, "upper end", True),
        field("seeds_low", F, "lower end of the 95 % interval over replicates alone, by a paired t", True),
        field("seeds_high", F, "upper end", True),
        field("seeds_p", F, "of the paired t-test over replicates", True),
        field("benchmarks_p", F, "of the paired t-test over benchmarks; null for one", True),
        field("replicates", I, "replicates that all its arms have"),
        field("n", I, "items"),
        field("detectable", F, "smallest difference that would be seen with a chance of 80 %", True),
        field(
            "verdict", S, "better, worse, not told apart, confounded, too few seeds, reached, not reached, not measured"
        ),
        field("why", S, "what the verdict rests on, where it is no plain one"),
    ],
    ("experiment", "contrast", "evaluation"),
    "experiment",
)
EXPERIMENT_BALANCE = table(
    "experiment_balance",
    "How alike the two training sets of a difference are: 5 % for numbers, 0.05 of total variation or of the Kolmogorov-"
    "Smirnov distance for histograms (spec 8.09, O-18).",
    [
        EXPERIMENT,
        field("contrast", S, "`a - b`"),
        field("statistic", S, "as in experiment_profiles, and size"),
        field("of_a", F, "the number of a; null for a histogram", True),
        field("of_b", F, "that of b", True),
        field("distance", F, "relative difference, total variation, or Kolmogorov-Smirnov distance", True),
        field(
            "alike",
            B,
            "within 5 %; null for what hangs on the labels themselves: how much longer the chosen response is, and how"
            " much better the best reward model finds it",
            True,
        ),
    ],
    ("experiment", "contrast", "statistic"),
    "experiment",
)
STUDIES = table(
    "studies",
    "Studies that need no training: filters against the reference, flips, discards (spec 4.11, 8.12, 8.13, 8.15).",
    [
        field("study", S, "filters, flips, discards, labels or variants"),
        field("item", S, "filter, group of pairs, or reason"),
        field("figure", S, "what is measured"),
        field("value", F, "a share", True),
        field("low", F, "lower end of its 95 % interval", True),
        field("high", F, "upper end", True),
        field("n", I, "pairs"),
    ],
    ("study", "item", "figure"),
)
