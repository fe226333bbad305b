"""Files as others publish them, rebuilt from their public descriptions: `assay init` reads each by what it proposes."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.lake import Lake
from resources.settings import Source
from resources.sources.looking_at_files import look, source_keys
from resources.sources.reader import read_source
from tests.sources.test_propose import N, ask, bad, good, says, side, two, user

NULLS = {"image": None, "mimeType": None}


def parts(i: int, text: str) -> list[dict]:
    """Messages whose contents are typed parts."""
    both = (("user", ask(i)), ("assistant", text))
    return [{"role": role, "content": [{"type": "text", "text": said} | NULLS]} for role, said in both]


def written(path: Path, records: list[dict]) -> None:
    """The records in the format of the name."""
    match path.suffixes:
        case [*_, ".parquet"]:
            pq.write_table(pa.Table.from_pylist(records), path)
        case [*_, ".csv"]:
            with open(path, "w", newline="") as file:
                table = csv.DictWriter(file, list(records[0]))
                table.writeheader()
                table.writerows(records)
        case [*_, ".json"]:
            path.write_text(json.dumps(records, indent=2))
        case [*_, ".gz"]:
            path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))
        case _:
            path.write_text("".join(json.dumps(r) + "\n" for r in records))


FILES: dict[str, Callable[[int], dict]] = {
    "tulu-3-preference-mixture.parquet": lambda i: {
        "id": f"p{i}", "source": "mix", "prompt": ask(i), "chosen": [user(i), says(good(i))],
        "rejected": [user(i), says(bad(i))], "chosen_rating": 5.0, "rejected_rating": 2.0 + i % 2,
        "chosen_model": f"m{i % 3}", "rejected_model": "n"},
    "skywork-preference-80k.jsonl": lambda i: {
        "chosen": [user(i), says(good(i))], "rejected": [user(i), says(bad(i))], "source": f"s{i % 4}"},
    "distilabel-capybara-dpo.parquet": lambda i: {
        "source": "x", "conversation": [{"input": ask(i), "output": "o"}], "original_response": good(i),
        "generation_prompt": ["Be brief.", ask(i)], "raw_generation_responses": [bad(i)], "new_generations": [bad(i)],
        "prompt": ask(i), "chosen": [user(i), says(good(i))], "rejected": [user(i), says(bad(i))],
        "rating_chosen": 5, "rating_rejected": 2, "chosen_model": "m", "rejected_model": "n", "turns": 1},
    "distilabel-intel-orca-dpo.parquet": lambda i: {
        "system": "You are careful.", "input": ask(i), "chosen": good(i), "rejected": bad(i),
        "generations": list(two(i)), "order": ["a", "b"], "labelling_model": "g", "raw_labelling_response": "9 3",
        "rating": [9.0, 3.0] if side(i) else [3.0, 9.0], "rationale": "r", "status": "unchanged",
        "chosen_score": 9.0, "in_gsm8k_train": False},
    "py-dpo.jsonl.gz": lambda i: {"prompt": ask(i), "chosen": good(i), "rejected": bad(i), "id": f"{i:08x}"},
    "arena-human-preference-140k.parquet": lambda i: {
        "id": f"u{i}", "model_a": f"m{i % 4}", "model_b": f"n{i % 3}",
        "winner": "both_bad" if i % 8 == 0 else "model_a" if side(i) else "model_b", "evaluation_session_id": f"e{i}",
        "conversation_a": parts(i, two(i)[0]), "conversation_b": parts(i, two(i)[1]), "language": "en", "is_code": False,
        "timestamp": f"2025-05-0{1 + i % 9} 10:00:00"},
    "full-hh-rlhf.parquet": lambda i: {
        "prompt": f"\n\nHuman: {ask(i)}\n\nAssistant:", "response": f" {good(i)}", "chosen": f" {good(i)}",
        "rejected": f" {bad(i)}"},
    "summarize-comparisons.parquet": lambda i: {
        "prompt": f"SUBREDDIT: r/x\nTITLE: t\nPOST: {ask(i)}\nTL;DR:", "chosen": f"TL;DR: {good(i)}",
        "rejected": f"TL;DR: {bad(i)}"},
    "reward-bench.parquet": lambda i: {
        "prompt": ask(i), "chosen": good(i), "chosen_model": "m", "rejected": bad(i), "rejected_model": "n",
        "subset": f"s{i % 3}", "id": i},
    "preference-collection.json": lambda i: {
        "orig_criteria": "Is it good?", "orig_feedback": "So it is.", "orig_instruction": ask(i),
        "orig_response_A": two(i)[0], "orig_response_B": two(i)[1], "orig_preference": "A" if side(i) else "B",
        "orig_score_A": "4", "orig_score_B": "2", "instruction": "###Task: compare", "output": "[RESULT] A"},
    "code-preference-pairs.json": lambda i: {"input": ask(i), "accepted": good(i), "rejected": bad(i), "ID": i},
    "math-step-dpo.jsonl": lambda i: {
        "dataset": "d", "prompt": ask(i), "prompt_format": "p", "initial_reason_steps": "", "chosen": good(i),
        "rejected": bad(i), "answer": "4", "full_chosen": f"So: {good(i)}", "full_rejected": f"So: {bad(i)}"},
    "orpo-dpo-mix-40k.parquet": lambda i: {
        "source": "x", "chosen": [user(i), says(good(i))], "rejected": [user(i), says(bad(i))], "prompt": ask(i),
        "question": ask(i)},
    "mix-instruct.jsonl": lambda i: {
        "id": f"mix/{i}", "instruction": "", "input": ask(i), "output": "o",
        "candidates": [{"model": f"m{k}", "decoding": "beam", "text": text, "scores": {"bartscore": score}}
                       for k, (text, score) in enumerate(((bad(i), -3.5), (good(i), -1.5 - i / 100)))]},
    "pairrm-dpo.parquet": lambda i: {
        "prompt_id": f"{i}", "prompt": ask(i), "chosen": [user(i), says(good(i))], "rejected": [user(i), says(bad(i))],
        "all_generated_responses": list(two(i)), "all_rm_scores": [2.5, -1.0] if side(i) else [-1.0, 2.5]},
    "spin.parquet": lambda i: {"real": [user(i), says(good(i))], "generated": [user(i), says(bad(i))]},
    "truthy-dpo.jsonl": lambda i: {
        "id": f"{i:x}", "source": "truthy", "system": "You are unbiased." if i % 2 else "", "prompt": ask(i),
        "chosen": good(i), "rejected": bad(i)},
    "chinese-dpo-pairs.csv": lambda i: {"prompt": ask(i), "chosen": good(i), "rejected": bad(i), "source": "flan"},
    "preference-700k.parquet": lambda i: {
        "chosen": [user(i), says(good(i))], "rejected": [user(i), says(bad(i))], "chosen_score": 1.0 + i,
        "rejected_score": -0.5},
    "ultrafeedback-standard.parquet": lambda i: {
        "conv_A": [user(i), says(two(i)[0])], "conv_A_rating": 8.5 if side(i) else 3.0,
        "conv_B": [user(i), says(two(i)[1])], "conv_B_rating": 3.0 if side(i) else 8.5, "num_turns": 1, "source": "x"},
}  # fmt: skip


# What their keys do not tell: that "real" is better than "generated", and which of several scores an answer is judged by.
BY_HAND = {"spin.parquet", "mix-instruct.jsonl"}


@pytest.mark.parametrize("name", sorted(FILES.keys() - BY_HAND))
def test_a_file_of_others_is_read_by_what_is_proposed(name, tmp_path):
    path = tmp_path / name
    written(path, [FILES[name](i) for i in range(N)])
    found = look(str(path))
    assert found.proposal is not None, found.problem
    source = Source.model_validate({"name": "s"} | source_keys(found.proposal, str(path)))
    pairs = [pair for batch in read_source(source, Lake(str(tmp_path))) for pair in batch.pairs.to_pylist()]
    assert len(pairs) >= N - 3, (found.proposal, found.left_out)  # the ties
    for pair in pairs:
        assert "better" in pair["chosen"] and "worse" in pair["rejected"], found.proposal
        said = [turn["content"] for turn in pair["conversation"] if turn["role"] == "user"]
        assert len(said) == 1 and "Tell me about the" in said[0], pair
    about = FILES[name](1).get("system")
    assert not about or any(pair["conversation"][0]["content"] == about for pair in pairs)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_nothing_is_proposed_where_the_keys_do_not_tell(name, tmp_path):
    path = tmp_path / name
    written(path, [FILES[name](i) for i in range(N)])
    found = look(str(path))
    assert found.proposal is None and set(found.keys) == set(FILES[name](0))
