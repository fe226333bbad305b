"""Shapes in use, rebuilt from their public descriptions: the proposal reads each as its authors meant it."""

import itertools
import json
from collections.abc import Callable, Sequence

import duckdb
import pytest

from curation.adapters import adapter
from curation.codes import Codes
from curation.comparison import Comparison
from curation.propose import Proposal, propose
from curation.unpaired import pair_up

N = 24
WORDS = ("harbour", "violin", "copper", "meadow", "lantern", "glacier", "pepper", "saddle")


def ask(i: int) -> str:
    return f"Tell me about the {WORDS[i % 8]} and the {WORDS[i // 8]}, please."


def good(i: int) -> str:
    return f"A better answer, number {i}, on the {WORDS[i % 8]}."


def bad(i: int) -> str:
    return f"A worse reply, number {i}, about nothing much."


def user(i: int) -> dict:
    return {"role": "user", "content": ask(i)}


def says(text: str) -> dict:
    return {"role": "assistant", "content": text}


def side(i: int) -> bool:
    """Whether the better one comes first in record i."""
    return i % 3 != 1


def two(i: int) -> tuple[str, str]:
    return (good(i), bad(i)) if side(i) else (bad(i), good(i))


def human(text: str) -> dict:
    return {"from": "human", "value": text}


def gpt(text: str) -> dict:
    return {"from": "gpt", "value": text}


def arena(i: int) -> dict:
    """A vote of the Chatbot Arena, every eighth a tie."""
    a, b = two(i)
    winner = ("tie (bothbad)" if i % 16 else "tie") if i % 8 == 0 else "model_a" if side(i) else "model_b"
    turns = [user(i)]
    return {
        "question_id": f"q{i}", "model_a": f"m{i % 4}", "model_b": f"n{i % 3}", "winner": winner, "judge": f"j{i}",
        "conversation_a": [*turns, says(a)], "conversation_b": [*turns, says(b)], "turn": 1, "language": "English",
        "tstamp": 1682351591.0 + i,
    }  # fmt: skip


def ultrafeedback(i: int) -> dict:
    ratings = [
        {"response": good(i), "overall_score": 9.0, "model": "x"},
        {"response": bad(i), "overall_score": 3.0, "model": "y"},
    ]
    return {
        "source": "sharegpt",
        "instruction": ask(i),
        "models": ["x", "y"],
        "completions": ratings[:: 1 if side(i) else -1],
    }


def oasst(i: int) -> dict:
    replies = [{"text": t, "role": "assistant", "rank": r, "replies": []} for t, r in ((bad(i), 1), (good(i), 0))]
    return {"message_tree_id": str(i), "prompt": {"text": ask(i), "role": "prompter", "replies": replies}}


def label_studio(i: int) -> dict:
    """An export of tasks with annotations, the choice among other controls of the form."""
    a, b = two(i)
    chosen = {
        "type": "choices",
        "from_name": "which",
        "value": {"choices": ["candidate_1" if side(i) else "candidate_2"]},
    }
    return {
        "id": i, "data": {"prompt": ask(i), "candidate_1": a, "candidate_2": b},
        "annotations": [{"id": 7 + i, "completed_by": 1, "lead_time": 12.5, "result": [chosen]}], "predictions": [],
    }  # fmt: skip


def label_studio_pairwise(i: int) -> dict:
    a, b = two(i)
    result = [{"type": "pairwise", "value": {"selected": "left" if side(i) else "right"}}]
    return {"id": i, "data": {"question": ask(i), "answer1": a, "answer2": b}, "annotations": [{"result": result}]}


def shp(i: int) -> dict:
    a, b = two(i)
    scores = {"score_A": 40 + i, "score_B": 4} if side(i) else {"score_A": 3, "score_B": 30 + i}
    return {
        "post_id": f"p{i}", "domain": "askculinary", "history": ask(i), "human_ref_A": a, "human_ref_B": b,
        "labels": int(side(i)), **scores, "seconds_difference": 3.0 + i, "score_ratio": 2.5,
    }  # fmt: skip


SHAPES: dict[str, tuple[str, Callable[[int], dict | list[dict]]]] = {
    "TRL, explicit prompt": ("pair", lambda i: {"prompt": [user(i)], "chosen": [says(good(i))], "rejected": [says(bad(i))]}),
    "TRL, implicit prompt": ("pair", lambda i: {"chosen": [user(i), says(good(i))], "rejected": [user(i), says(bad(i))]}),
    "TRL, standard": ("pair", lambda i: {"prompt": ask(i), "chosen": good(i), "rejected": bad(i)}),
    "UltraFeedback binarized": ("pair", lambda i: {
        "prompt": ask(i), "prompt_id": f"{i:032x}", "chosen": [user(i), says(good(i))], "rejected": [user(i), says(bad(i))],
        "messages": [user(i), says(good(i))], "score_chosen": 8.0, "score_rejected": 4.5}),
    "UltraFeedback": ("scores", ultrafeedback),
    "HH-RLHF": ("pair", lambda i: {
        "chosen": f"\n\nHuman: {ask(i)}\n\nAssistant: {good(i)}", "rejected": f"\n\nHuman: {ask(i)}\n\nAssistant: {bad(i)}"}),
    "Arena": ("winner", arena),
    "HelpSteer, one row a response": ("scores", lambda i: [
        {"prompt": ask(i), "response": t, "helpfulness": h, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}
        for t, h in ((good(i), 4), (bad(i), 1))]),
    "HelpSteer3, signed preference": ("winner", lambda i: {
        "domain": "general", "language": "english", "context": [user(i)], "response1": two(i)[0], "response2": two(i)[1],
        "overall_preference": (-1 if side(i) else 1) * (1 + i % 3), "individual_preference": [{"score": 1, "reasoning": "r"}]}),
    "SHP": ("winner", shp),
    "Nectar, ranks in order": ("ranking", lambda i: {
        "prompt": f"\n\nHuman: {ask(i)}\n\nAssistant: ", "num_responses": 2, "turns": 1, "source": ["x"], "good_natured": True,
        "answers": [{"answer": good(i), "model": "m", "rank": 1.0}, {"answer": bad(i), "model": "n", "rank": 2.0}]}),
    "OASST trees": ("tree", oasst),
    "KTO": ("unpaired", lambda i: [
        {"prompt": ask(i), "completion": good(i), "label": True}, {"prompt": ask(i), "completion": bad(i), "label": False}]),
    "KTO in messages": ("unpaired", lambda i: [
        {"messages": [user(i), says(good(i))], "label": True}, {"messages": [user(i), says(bad(i))], "label": False}]),
    "LLaMA-Factory dpo, ShareGPT": ("pair", lambda i: {
        "conversations": [human(ask(i))], "chosen": gpt(good(i)), "rejected": gpt(bad(i))}),
    "LLaMA-Factory dpo, Alpaca": ("pair", lambda i: {
        "instruction": ask(i), "input": "", "chosen": good(i), "rejected": bad(i)}),
    "LLaMA-Factory, a list of outputs": ("ranking", lambda i: {
        "instruction": ask(i), "input": "", "output": [good(i), bad(i)], "history": []}),
    "OpenAI and Together": ("pair", lambda i: {
        "input": {"messages": [user(i)], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [says(good(i))], "non_preferred_output": [says(bad(i))]}),
    "PKU-SafeRLHF": ("winner", lambda i: {
        "prompt": ask(i), "response_0": two(i)[0], "response_1": two(i)[1], "is_response_0_safe": True,
        "is_response_1_safe": bool(i % 2), "better_response_id": int(not side(i)), "safer_response_id": i % 2}),
    "Orca DPO pairs": ("pair", lambda i: {"system": "Be brief.", "question": ask(i), "chosen": good(i), "rejected": bad(i)}),
    "Stack Exchange, scored answers": ("scores", lambda i: {
        "qid": i, "question": ask(i), "answers": [
            {"answer_id": 2 * i, "author": "x", "pm_score": 1, "selected": False, "text": bad(i)},
            {"answer_id": 2 * i + 1, "author": "y", "pm_score": 5, "selected": True, "text": good(i)}]}),
    "Argilla, generations and ratings": ("scores", lambda i: {
        "input": ask(i), "generations": list(two(i)), "rating": [5.0, 1.0] if side(i) else [1.0, 5.0]}),
    "AlpacaEval annotations": ("winner", lambda i: {
        "dataset": "d", "instruction": ask(i), "output_1": two(i)[0], "generator_1": "g", "output_2": two(i)[1],
        "generator_2": "h", "preference": 1.0 + 0.01 * i if side(i) else 2.0 - 0.01 * i}),
    "Label Studio, choices": ("winner", label_studio),
    "Label Studio, pairwise": ("winner", label_studio_pairwise),
    "a judge's letters": ("winner", lambda i: {
        "question": ask(i), "answer_a": two(i)[0], "answer_b": two(i)[1],
        "verdict": "[[C]]" if i % 8 == 0 else "[[A]]" if side(i) else "[[B]]"}),
    "Arena-Hard's strengths": ("winner", lambda i: {
        "prompt": ask(i), "response_a": two(i)[0], "response_b": two(i)[1],
        "label": "A=B" if i % 8 == 0 else (">", ">>")[i % 2].join("AB") if side(i) else (">", ">>")[i % 2].join("BA")}),
    "LMSYS, a column a side": ("winner", lambda i: {
        "id": i, "model_a": "m", "model_b": "n", "prompt": ask(i), "response_a": two(i)[0], "response_b": two(i)[1],
        "winner_model_a": int(side(i)), "winner_model_b": int(not side(i)), "winner_tie": 0}),
    "the winner by its model's name": ("winner", lambda i: {
        "prompt": ask(i), "model_a": f"m{i % 3}", "model_b": f"n{i % 2}", "response_a": two(i)[0], "response_b": two(i)[1],
        "winner": f"m{i % 3}" if side(i) else f"n{i % 2}"}),
    "summaries in a list, a choice by place": ("winner", lambda i: {
        "info": {"id": f"t3_{i}", "post": ask(i), "title": "t", "subreddit": "r"}, "split": "train", "choice": int(not side(i)),
        "summaries": [{"text": two(i)[0], "policy": "sup", "note": "ok"}, {"text": two(i)[1], "policy": "ref", "note": "ok"}]}),
    "WebGPT, a score a side": ("winner", lambda i: {
        "question": {"dataset": "eli5", "id": str(i), "full_text": ask(i)}, "answer_0": two(i)[0], "tokens_0": 1,
        "score_0": 0.5 if side(i) else -0.5, "answer_1": two(i)[1], "tokens_1": 1, "score_1": -0.5 if side(i) else 0.5}),
    "HelpSteer2, strength of a preference": ("winner", lambda i: {
        "split": "train", "prompt": ask(i), "response_1": two(i)[0], "response_2": two(i)[1],
        "preference_strength": (-1 if side(i) else 1) * (1 + i % 3), "preference_statement": f"Response is better, {i}."}),
    "Stack Exchange, j over k": ("pair", lambda i: {
        "qid": i, "question": ask(i), "date": "2014/01/01", "metadata": ["x"], "response_j": good(i), "response_k": bad(i)}),
    "UltraInteract": ("pair", lambda i: {
        "task": "Math", "dataset": "d", "trajectory": [human(ask(i))], "chosen": good(i), "rejected": bad(i), "id": f"{i}"}),
    "BeaverTails": ("unpaired", lambda i: [
        {"prompt": ask(i), "response": good(i), "category": {"x": False}, "is_safe": True},
        {"prompt": ask(i), "response": bad(i), "category": {"x": True}, "is_safe": False}]),
    "two scores and no winner": ("winner", lambda i: {
        "prompt": ask(i), "response_a": two(i)[0], "response_b": two(i)[1], "score_a": 9 if side(i) else 2,
        "score_b": 2 if side(i) else 9}),
}  # fmt: skip


def records_of(make: Callable[[int], dict | list[dict]]) -> list[dict]:
    made = (make(i) for i in range(N))
    return list(itertools.chain.from_iterable(m if isinstance(m, list) else [m] for m in made))


def read(made: Proposal, records: Sequence[dict], tmp_path) -> list[Comparison]:
    """Every comparison that the proposal gives; its query is asked of DuckDB over a file."""
    if made.query:
        file = tmp_path / "pairs.jsonl"
        file.write_text("".join(json.dumps(r) + "\n" for r in records))
        records = duckdb.sql(made.query.format(file=f"'{file}'")).to_arrow_table().to_pylist()
    if made.shape == "unpaired":
        labels = Codes(dict(made.codes) or {"a": [True], "b": [False]})
        found = [f for _, f in pair_up(enumerate(records), dict(made.fields), labels, 4_000_000)]
    else:
        reading = adapter(made.shape, dict(made.fields), dict(made.codes))
        found = [f for r in records for f in reading(r)]
    return [f for f in found if isinstance(f, Comparison)]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_in_use_is_read_as_its_authors_meant_it(name, tmp_path):
    shape, make = SHAPES[name]
    records = records_of(make)
    made = propose(records)
    assert made is not None and made.shape == shape and made.read >= 0.9
    pairs = [c for c in read(made, records, tmp_path) if c.problem() is None]
    assert len(pairs) >= N - 3  # the ties
    for c in pairs:
        chosen, rejected = (c.a, c.b) if c.winner == "a" else (c.b, c.a)
        assert "better" in chosen and "worse" in rejected, made
        said = [text for role, text in c.turns if role == "user"]
        assert len(said) == 1 and said[0].startswith("Tell me about the"), c.turns


def test_cells_of_csv_are_numbers_where_codes_are():
    records = [
        {"instruction": ask(i), "output_1": two(i)[0], "output_2": two(i)[1], "preference": "1" if side(i) else "2"}
        for i in range(N)
    ]
    made = propose(records, cells=True)
    assert made is not None and made.codes == {"a": [1], "b": [2]}


def test_what_follows_from_convention_alone_is_named():
    made = propose([
        {"prompt": ask(i), "response_a": two(i)[0], "response_b": two(i)[1], "winner": int(not side(i))} for i in range(N)
    ])  # fmt: skip
    assert made is not None and made.codes == {"a": [0], "b": [1]}
    assert made.doubts == ("winner: 0 was taken for the first response, 1 for the second",)


@pytest.mark.parametrize(
    "make",
    [
        lambda i: {"question": ask(i), "category": "generic"},
        lambda i: {"review_id": f"r{i}", "answer1_id": f"3oW4JY265ZP{i}", "answer2_id": f"bymmxnMyJRW{i}", "score": 1},
        lambda i: {"text": good(i), "model_id": "bard"},
    ],
)  # fmt: skip
def test_what_holds_no_pair_is_not_read_as_one(make):
    assert propose([make(i) for i in range(N)]) is None


def test_lists_that_stand_as_text_are_named():
    made = propose(
        [{"prompt": f'["{ask(i)}"]', "chosen": f'["{good(i)}"]', "rejected": f'["{bad(i)}"]'} for i in range(N)]
    )
    assert made is not None and made.doubts[0].startswith("prompt: lists that stand as text")


def test_nothing_is_proposed_for_nothing():
    assert propose([]) is None and propose([{}]) is None
