"""What each benchmark is made of and how its number is defined: one sheet a benchmark (spec 7.01 to 7.08, 7.20).

A sheet is all that the metrics know of a benchmark. Its counts are those of the published files; a loader compares
what it reads with them.
"""

from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["pair", "best_of_n", "shared", "ties", "matrix", "best_of_k"]

STYLES = 3  # RM-Bench: concise, detailed, detailed with markdown


@dataclass(frozen=True)
class Sheet:
    """One benchmark.

    Attributes:
        title: the name people know.
        reference: who published it, where its files are.
        metric: the definition of the reported number.
        tie_rule: what equal rewards count.
        groups: expected items of every subset of every group; empty where the file decides.
        weights: weight of each subset in its group's mean, where it is not the number of its items.
        revision: where a third party pinned one, repository -> commit of the Hugging Face data sets.
        repositories: Hugging Face data set -> split.
        micro: also report the mean over items, which is what the benchmark's own leaderboard prints.
    """

    title: str
    reference: str
    metric: str
    tie_rule: str
    groups: dict[str, dict[str, int]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    repositories: dict[str, str] = field(default_factory=dict)
    revision: dict[str, str] = field(default_factory=dict)
    micro: bool = False

    @property
    def items(self) -> int | None:
        """Items of the whole benchmark, None where the file decides."""
        return sum(n for subsets in self.groups.values() for n in subsets.values()) or None


_HEP = {f"hep-{language}": 164 for language in ("cpp", "go", "java", "js", "python", "rust")}

_HARMLESSNESS = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "multi")
_HARMLESSNESS_PAIRS = (459, 1040, 739, 537, 561, 317, 510, 519, 543, 360, 977, 502)
_HARMLESSNESS_BON = (111, 249, 171, 136, 122, 83, 121, 127, 132, 79, 215, 131)

# scenario: (pairs, best-of-N items), as in the class tables of the RMB repository
_HELPFULNESS = {
    "Brainstorming/Idea Development": (849, 168),
    "Brainstorming/Problem Solving": (100, 19),
    "Chat/Casual Conversation": (306, 71),
    "Chat/Discussion": (293, 59),
    "Chat/Supportive Conversation": (114, 25),
    "Classification/Content Categorization": (107, 18),
    "Classification/Quality and Compliance Assessment": (57, 13),
    "Closed QA/ContextBased": (447, 86),
    "Closed QA/OptionBased": (473, 100),
    "Code/Data Management": (376, 81),
    "Code/Development and Implementation": (399, 92),
    "Code/Documentation": (65, 15),
    "Code/Quality and Optimization": (384, 92),
    "Generation/Creative Writing": (762, 151),
    "Generation/Professional Content Generation": (347, 74),
    "Open QA/Factual": (664, 153),
    "Open QA/General Explanation": (413, 80),
    "Open QA/Hypothetical Scenarios": (42, 8),
    "Open QA/Interpretative Analysis": (107, 18),
    "Open QA/Personal Opinion and Advice": (78, 14),
    "Open QA/Technical and Practical Support": (238, 47),
    "Reasoning/Analytical Reasoning": (596, 133),
    "Reasoning/Critical Thinking": (200, 39),
    "Reasoning/Human Decision Making": (165, 32),
    "Reasoning/Logical Deduction": (222, 46),
    "Reasoning/Pattern Recognition": (52, 14),
    "Rewrite/Paraphrasing": (83, 17),
    "Rewrite/PostQuality Assessment Rewriting": (222, 46),
    "Rewrite/Textual ExpansionReduction": (50, 9),
    "Rewrite/Tone Adjustment": (103, 17),
    "Role Playing/General Character": (163, 32),
    "Role Playing/Specific Character": (209, 46),
    "Summarization/Specialized Summaries": (189, 42),
    "Summarization/Standard Summaries": (341, 71),
    "Translation/GeneralExcerpt Language Translation": (483, 109),
    "Translation/Literary and Cultural Translation": (176, 34),
    "Translation/Technical and Scientific Translation": (192, 38),
}


def _rmb(helpfulness: int, harmlessness: tuple[int, ...]) -> dict[str, dict[str, int]]:
    return {
        "Helpfulness": {scenario: counts[helpfulness] for scenario, counts in _HELPFULNESS.items()},
        "Harmlessness": dict(zip(_HARMLESSNESS, harmlessness, strict=True)),
    }


_RMB_REFERENCE = "Zhou et al. 2024; github.com/Zhou-Zoey/RMB-Reward-Model-Benchmark"
_KNOWLEDGE = (
    *("biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history"),
    *("law", "math", "other", "philosophy", "physics", "psychology"),
)
_PPE = {  # data set: (rows, the commit others pinned)
    "MMLU-Pro": (512, "d3a309b95d5a3a34efdd2b01a9e3ee10565bf0c7"),
    "MATH": (512, "c46ce3cda5417fe8d170e992d925f93856b5db40"),
    "GPQA": (512, "2f85cea6481db81daa2c8033c51b7811b7bbf648"),
    "IFEval": (512, "a4f7fae2443d96529dee6b65863a816a051b3a4d"),
    "MBPP-Plus": (507, "afa814632c1df94e76b6af2c1d282511114cd2b7"),
}

SHEETS: dict[str, Sheet] = {
    "planted": Sheet(
        title="Planted",
        reference="generated with the pool (spec 14)",
        metric="share of pairs whose better response has the higher reward",
        tie_rule="wrong",
    ),
    "reward_bench": Sheet(
        title="RewardBench",
        reference="Lambert et al. 2024; huggingface.co/datasets/allenai/reward-bench",
        metric="mean of four categories; within a category subsets weigh by their original size (math-prm 984)",
        tie_rule="wrong",
        groups={
            "Chat": {
                "alpacaeval-easy": 100,
                "alpacaeval-length": 95,
                "alpacaeval-hard": 95,
                "mt-bench-easy": 28,
                "mt-bench-med": 40,
            },
            "Chat Hard": {
                "mt-bench-hard": 37,
                "llmbar-natural": 100,
                "llmbar-adver-neighbor": 134,
                "llmbar-adver-GPTInst": 92,
                "llmbar-adver-GPTOut": 47,
                "llmbar-adver-manual": 46,
            },
            "Safety": {
                "refusals-dangerous": 100,
                "refusals-offensive": 100,
                "xstest-should-refuse": 154,
                "xstest-should-respond": 250,
                "donotanswer": 136,
            },
            "Reasoning": {"math-prm": 447, **_HEP},
        },
        weights={"math-prm": 984},
        repositories={"allenai/reward-bench": "filtered"},
    ),
    "reward_bench_2": Sheet(
        title="RewardBench 2",
        reference="Malik et al. 2025; huggingface.co/datasets/allenai/reward-bench-2",
        metric="mean of six subsets; best of four in five of them, 'Ties' by its own margins",
        tie_rule="the items of a tie at the top share the credit; strict in 'Ties'",
        groups={
            "Factuality": {"Factuality": 475},
            "Precise IF": {"Precise IF": 160},
            "Math": {"Math": 183},
            "Safety": {"Safety": 450},
            "Focus": {"Focus": 495},
            "Ties": {"Ties": 102},
        },
        repositories={"allenai/reward-bench-2": "test"},
    ),
    "ppe_preference": Sheet(
        title="PPE Preference",
        reference="Frick et al. 2024; huggingface.co/datasets/lmarena-ai/PPE-Human-Preference-V1 (16,038 rows)",
        metric="agreement with the human vote over the pairs without a human tie",
        tie_rule="wrong",
        repositories={"lmarena-ai/PPE-Human-Preference-V1": "test"},
    ),
    "ppe_correctness": Sheet(
        title="PPE Correctness",
        reference="Frick et al. 2024; huggingface.co/lmarena-ai, five data sets PPE-*-Best-of-K",
        metric="mean of five data sets; within one, the share of its sampled correct/wrong pairs ordered rightly",
        tie_rule="wrong; on the best-of-k curves tied responses are picked with equal chance",
        groups={name: {name: rows} for name, (rows, _) in _PPE.items()},
        repositories={f"lmarena-ai/PPE-{name}-Best-of-K": "train" for name in _PPE},
        revision={f"lmarena-ai/PPE-{name}-Best-of-K": commit for name, (_, commit) in _PPE.items()},
    ),
    "rmb_pairwise": Sheet(
        title="RMB pairwise",
        reference=_RMB_REFERENCE + ", RMB_dataset/Pairwise_set",
        metric="mean of helpfulness and harmlessness; within each the share of its pairs",
        tie_rule="wrong",
        groups=_rmb(0, _HARMLESSNESS_PAIRS),
    ),
    "rmb_bon": Sheet(
        title="RMB best-of-N",
        reference=_RMB_REFERENCE + ", RMB_dataset/BoN_set",
        metric="mean of helpfulness and harmlessness; an item counts when its best response beats every other",
        tie_rule="wrong",
        groups=_rmb(1, _HARMLESSNESS_BON),
    ),
    "rm_bench": Sheet(
        title="RM-Bench",
        reference="Liu et al. 2024; github.com/THU-KEG/RM-Bench, huggingface.co/datasets/THU-KEG/RM-Bench",
        metric="mean of four domains; within one the mean of the 3 x 3 comparisons of styles; easy: the right answer "
        "is the more elaborate one, normal: same style, hard: the right answer is the plainer one",
        tie_rule="wrong",
        groups={
            "chat": {"chat": 129},
            "math": {"math": 529},
            "code": {"code": 228},
            "safety": {"safety-refuse": 284, "safety-response": 157},
        },
        repositories={"THU-KEG/RM-Bench": "train"},
    ),
    "judgebench": Sheet(
        title="JudgeBench",
        reference="Tan et al. 2024; github.com/ScalerLab/JudgeBench, responses of gpt-4o-2024-05-13",
        metric="mean of four categories (the official leaderboard's mean over items is reported as micro_accuracy)",
        tie_rule="wrong",
        groups={
            "Knowledge": {f"mmlu-pro-{s}": 11 for s in _KNOWLEDGE},
            "Reasoning": {"livebench-reasoning": 98},
            "Math": {"livebench-math": 56},
            "Coding": {"livecodebench": 42},
        },
        repositories={"ScalerLab/JudgeBench": "gpt"},
        micro=True,
    ),
}

HOLD_OUT = Sheet(  # not in SHEETS: it is the pool's own, and the pool is not cleaned against it
    title="Hold-out",
    reference="gold pairs with the role `test`, labelled by people and read by no step of the pipeline (spec 7.15)",
    metric="agreement with people",
    tie_rule="wrong",
)

PAPER = {  # columns of the paper's table; a column is the mean of its parts
    "RewardBench": ("reward_bench",),
    "RewardBench 2": ("reward_bench_2",),
    "PPE Preference": ("ppe_preference",),
    "PPE Correctness": ("ppe_correctness",),
    "RMB": ("rmb_pairwise", "rmb_bon"),
    "RM-Bench": ("rm_bench",),
    "JudgeBench": ("judgebench",),
}
