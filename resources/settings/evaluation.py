"""What reward models and the run are measured against."""

from typing import Literal

from resources.settings.base import Count, Name, Part
from resources.settings.sources import Answers


class Benchmark(Part):
    """`path` is a file, a folder, a pattern, or `huggingface:<owner>/<name>@<commit>`; without it the loader's default.

    `sample` scores that many items, drawn by hash; `excerpt` allows subsets with fewer items than were published.
    """

    name: Name
    loader: Literal[
        "planted",
        "reward_bench",
        "reward_bench_2",
        "ppe_preference",
        "ppe_correctness",
        "rmb_pairwise",
        "rmb_bon",
        "rm_bench",
        "judgebench",
    ] = "planted"
    path: str = ""
    sample: Count | None = None
    excerpt: bool = False


class Evaluation(Part):
    over_length: Literal["cut", "wrong"] = "cut"  # what is too long for the model: its end alone is read, or it loses


class Reference(Part):
    """Labels the run is measured against, read by the report alone."""

    answers: list[Answers] = []
