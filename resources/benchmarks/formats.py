"""How the published files of each benchmark become items: columns as their authors name them, and one query.

Every query reads `file` (the declared columns; `path` is the file's name or the data set's) and gives one row an item:

    item_id, "group", subset, prompt, turns, responses, labels, against

`prompt` is what the pool is cleaned against, `turns` the conversation, `responses` stand right answers first where the
benchmark says so, `against` lists for every response those it was drawn to be compared with. A null where none may be
is found later, with the item's name.
"""

from dataclasses import dataclass

_PAIR = "[chosen, rejected] AS responses, [true, false] AS labels, NULL::BIGINT[][] AS against"
_ASKED = "[{'role': 'user', 'content': prompt}] AS turns"


@dataclass(frozen=True)
class Format:
    """Attributes:
    unit: rule of an item (evaluation.sheets.Unit), or SQL that gives it.
    columns: name -> DuckDB type of what is read; a trailing `?` marks a column that some files lack.
    query: SQL from `file` to items.
    """

    unit: str
    columns: dict[str, str]
    query: str


def _rmb(prefix: str) -> str:
    """Turns, group and scenario of an RMB item from its category path, e.g. BoN_set/Helpfulness/Chat/Discussion."""
    return f"""
        {prefix} AS item_id,
        split_part(category_path, '/', 2) AS "group",
        array_to_string(split(category_path, '/')[3:], '/') AS subset,
        conversation_input[1].content AS prompt,
        [{{'role': m.role, 'content': m.content}} FOR m IN conversation_input] AS turns"""


_MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"
_ANSWER = "STRUCT(answer VARCHAR)"
_K = 32  # responses a row of PPE Correctness

FORMATS: dict[str, Format] = {
    "planted": Format(
        "'pair'",
        {n: "VARCHAR" for n in ("item_id", "subset", "prompt", "chosen", "rejected")},
        f"""SELECT item_id, '' AS "group", subset, prompt, {_ASKED}, {_PAIR} FROM file""",
    ),
    "reward_bench": Format(
        "'pair'",
        {"id": "VARCHAR", **{n: "VARCHAR" for n in ("subset", "prompt", "chosen", "rejected")}},
        f"""SELECT subset || '/' || id AS item_id, NULL AS "group", subset, prompt, {_ASKED}, {_PAIR} FROM file""",
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
        f"""SELECT subset || '/' || id AS item_id, NULL AS "group", subset, prompt, {_ASKED},
                   chosen || rejected AS responses,
                   [i < num_correct FOR i IN range(len(chosen) + len(rejected))] AS labels, NULL::BIGINT[][] AS against
            FROM file""",
    ),
    "ppe_preference": Format(
        "'pair'",
        {n: "VARCHAR" for n in ("question_id", "winner", "prompt", "response_1", "response_2")},
        f"""SELECT question_id AS item_id, '' AS "group", 'preference' AS subset, prompt, {_ASKED},
                   [response_1, response_2] AS responses, [winner = 'model_a', winner = 'model_b'] AS labels,
                   NULL::BIGINT[][] AS against
            FROM file WHERE winner IS NULL OR winner IN ('model_a', 'model_b')""",
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
            **{f"{n}?": "VARCHAR" for n in ("question", "problem", "Question", "ifeval_prompt")},
            **{f"response_{i + 1}": "VARCHAR" for i in range(_K)},
        },
        f"""SELECT dataset || '/' || model_name || '/' || question_id AS item_id, dataset AS "group", dataset AS subset,
                   coalesce(question, problem, ifeval_prompt, prompt) AS prompt, {_ASKED},
                   [{", ".join(f"response_{i + 1}" for i in range(_K))}] AS responses, scores AS labels,
                   [[CASE WHEN scores[p[1] + 1] THEN p[2] ELSE p[1] END FOR p IN sampled_conflict_pairs
                     IF CASE WHEN scores[p[1] + 1] THEN p[1] ELSE p[2] END = i] FOR i IN range({_K})] AS against
            FROM (SELECT *, regexp_extract(path, '(MMLU-Pro|MATH|GPQA|IFEval|MBPP-Plus)') AS dataset FROM file)""",
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
        f"""SELECT {_rmb("pair_uid")}, [chosen.answer, reject.answer] AS responses, [true, false] AS labels,
                   NULL::BIGINT[][] AS against
            FROM file""",
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
        f"""SELECT {_rmb("bon_uid")}, [bon_best.answer] || [l.answer FOR l IN loser_list] AS responses,
                   [true] || [false FOR l IN loser_list] AS labels, NULL::BIGINT[][] AS against
            FROM file""",
    ),
    "rm_bench": Format(
        "'matrix'",
        {"id": "VARCHAR", "prompt": "VARCHAR", "chosen": "VARCHAR[]", "rejected": "VARCHAR[]", "domain?": "VARCHAR"},
        # the files of one domain do not name it, their own name does
        f"""SELECT kind || '/' || id AS item_id, NULL AS "group", kind AS subset, prompt, {_ASKED},
                   chosen || rejected AS responses, [true FOR c IN chosen] || [false FOR r IN rejected] AS labels,
                   NULL::BIGINT[][] AS against
            FROM (SELECT *, coalesce(domain, replace(
                      regexp_extract(path, '(chat|math|code|safety[-_]refuse|safety[-_]response)[^/]*$', 1), '_', '-'
                  )) AS kind FROM file)""",
    ),
    "judgebench": Format(
        "'pair'",
        {n: "VARCHAR" for n in ("pair_id", "source", "question", "response_A", "response_B", "label")},
        """SELECT pair_id AS item_id, NULL AS "group", source AS subset, question AS prompt,
                  [{'role': 'user', 'content': question}] AS turns, [response_A, response_B] AS responses,
                  [label = 'A>B', label = 'B>A'] AS labels, NULL::BIGINT[][] AS against
           FROM file""",
    ),
}
