"""How the published files of each benchmark become items: columns as their authors name them.

The query of each stands in sql/evaluation/formats. It reads `file` (the declared columns; `path` is the file's name or
the data set's) and gives one row an item:

    item_id, item_group, subset, prompt, turns, responses, labels, against

`prompt` is what the pool is cleaned against, `turns` the conversation, `responses` stand right answers first where the
benchmark says so, `against` lists for every response those it was drawn to be compared with. A null where none may be
is found later, with the item's name.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """Attributes:
    unit: rule of an item (evaluation.sheets.Unit), or SQL that gives it.
    columns: name -> DuckDB type of what is read; a trailing `?` marks a column that some files lack. Files may spell a
        name in capitals.
    """

    unit: str
    columns: dict[str, str]


_MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"
_ANSWER = "STRUCT(answer VARCHAR)"
_K = 32  # responses a row of PPE Correctness

FORMATS: dict[str, Format] = {
    "planted": Format(
        "'pair'",
        {n: "VARCHAR" for n in ("item_id", "subset", "prompt", "chosen", "rejected")},
    ),
    "reward_bench": Format(
        "'pair'",
        {"id": "VARCHAR", **{n: "VARCHAR" for n in ("subset", "prompt", "chosen", "rejected")}},
    ),
    "reward_bench_2": Format(
        "CASE WHEN subset = 'Ties' THEN 'ties' ELSE 'shared' END",
        {
            "id": "VARCHAR",
            "subset": "VARCHAR",
            "prompt": "VARCHAR",
            "chosen": "VARCHAR[]",
            "rejected": "VARCHAR[]",
            "num_correct": "BIGINT",
        },
    ),
    "ppe_preference": Format(
        "'pair'",
        {n: "VARCHAR" for n in ("question_id", "winner", "prompt", "response_1", "response_2")},
    ),
    "ppe_correctness": Format(
        "'best_of_k'",
        {
            "question_id": "VARCHAR",
            "model_name": "VARCHAR",
            "prompt": "VARCHAR",
            "scores": "BOOLEAN[]",
            "sampled_conflict_pairs": "BIGINT[][]",
            # the question alone, under the name its data set gives it; `prompt` wraps it in instructions
            **{f"{n}?": "VARCHAR" for n in ("question", "problem", "ifeval_prompt")},
            **{f"response_{i + 1}": "VARCHAR" for i in range(_K)},
        },
    ),
    "rmb_pairwise": Format(
        "'pair'",
        {
            "pair_uid": "VARCHAR",
            "conversation_input": _MESSAGES,
            "chosen": _ANSWER,
            "reject": _ANSWER,
            "category_path": "VARCHAR",
        },
    ),
    "rmb_bon": Format(
        "'best_of_n'",
        {
            "bon_uid": "VARCHAR",
            "conversation_input": _MESSAGES,
            "bon_best": _ANSWER,
            "loser_list": f"{_ANSWER}[]",
            "category_path": "VARCHAR",
        },
    ),
    "rm_bench": Format(
        "'matrix'",
        {"id": "VARCHAR", "prompt": "VARCHAR", "chosen": "VARCHAR[]", "rejected": "VARCHAR[]", "domain?": "VARCHAR"},
    ),
    "judgebench": Format(
        "'pair'",
        {n: "VARCHAR" for n in ("pair_id", "source", "question", "response_A", "response_B", "label")},
    ),
}
