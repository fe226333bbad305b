"""Reward models from elsewhere score as plain transformers scores them, or are refused by name."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from cli import main as command_line
from resources.retrieval.embedder import _encoder
from tests.support.training_jobs import job, pairs, table
from training import score as program
from training.job import ScoreJob
from training.model import load_model, shares_prefixes
from training.scorer import Scorer
from training.states import StateReader
from training.train import train

EACH = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}{{ eos_token }}{% endfor %}"
WITH_BOS = "{{ bos_token }}" + EACH
NEWLINE = EACH.replace("{% endfor", "\n{% endfor")
DEFAULT_SYSTEM = "{% if messages[0]['role'] != 'system' %}[system]Be nice.{{ eos_token }}{% endif %}" + EACH
transformers.utils.logging.disable_progress_bar()
TEXTS = ["hello world the cat sat on the mat user assistant system be nice"] * 10


def tokenizer_of(template=EACH, pad=None, side="right", bos=False, encoder=False):
    """A small byte-level tokenizer; an encoder's puts [CLS] and [SEP] around a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>"]  # in the order that RoBERTa counts its positions by
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    if bos or encoder:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>" if encoder else "<s> $A", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=None if encoder else "<s>", eos_token="</s>", pad_token=pad,
        padding_side=side,
    )  # fmt: skip
    made.chat_template = template
    return made


SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
SIZES |= {"num_key_value_heads": 2, "initializer_range": 0.1}


def save(folder, name, tokenizer, **config):
    """A classifier of random weights, one output unless told otherwise."""
    values = SIZES | {"vocab_size": len(tokenizer), "num_labels": 1, "max_position_embeddings": 256} | config
    values = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": 2, "bos_token_id": 0} | values
    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_config(getattr(transformers, f"{name}Config")(**values))
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def items(n=12):
    """Dialogues of one and of several turns, with answers."""
    r = np.random.default_rng(0)
    found = []
    for i in range(n):
        turns = [
            {
                "role": ("user", "assistant")[k % 2],
                "content": " ".join(r.choice(TEXTS[0].split(), int(r.integers(1, 12)))),
            }
            for k in range(1 + 2 * (i % 3))
        ]
        found.append({"conversation": turns, "chosen": f"the cat {'sat ' * i}", "rejected": f"hello {i}"})
    return found


def plain(folder, texts_of, together=False) -> list[float]:
    """What plain transformers gives, each text by itself or all in one padded batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [tokenizer.apply_chat_template(turns, tokenize=False) for turns in texts_of]
    printed = bool(tokenizer.bos_token) and texts[0].startswith(tokenizer.bos_token)
    given = {"add_special_tokens": not printed, "return_tensors": "pt"}
    with torch.no_grad():
        if together:
            return model(**tokenizer(texts, padding=True, **given)).logits[:, 0].tolist()
        return [model(**tokenizer(t, **given)).logits[0, 0].item() for t in texts]


def dialogues(rows):
    return [[*r["conversation"], {"role": "assistant", "content": r[c]}] for r in rows for c in ("chosen", "rejected")]


def given(results) -> list[float]:
    return [r[f"r_{c}"] for r in results for c in ("chosen", "rejected")]


FOREIGN = {
    "Llama, pad = eos": ("Llama", {"template": WITH_BOS, "pad": "</s>", "bos": True}, {}, "stream"),
    "Llama, padded left, pad = eos": ("Llama", {"pad": "</s>", "side": "left"}, {}, "stream"),
    "Llama, padding token -1": ("Llama", {}, {"pad_token_id": -1}, "stream"),
    "Llama, padded by a token of its own": ("Llama", {"template": NEWLINE, "pad": "<pad>"}, {}, "stream"),
    "Qwen3 without padding token": ("Qwen3", {}, {}, "stream"),
    "Qwen2 with a system prompt of its own": ("Qwen2", {"template": DEFAULT_SYSTEM, "pad": "</s>"}, {}, "stream"),
    "Mistral with a window": ("Mistral", {"pad": "</s>"}, {"sliding_window": 16}, "stream"),
    "Gemma2, whose scores are capped": ("Gemma2", {"pad": "<pad>"}, {"attn_logit_softcapping": 2.0}, "stream"),
    "GPT-2, pad = eos": ("GPT2", {"pad": "</s>"}, {"n_layer": 2, "n_head": 4}, "stream"),
    "OPT": ("OPT", {"pad": "<pad>"}, {"ffn_dim": 64, "word_embed_proj_dim": 32}, None),
    "Bloom without padding token": ("Bloom", {}, {"n_head": 4, "n_layer": 2}, None),
    "GPT-OSS, whose heads have sinks": ("GptOss", {"pad": "</s>"}, {"num_local_experts": 2, "num_experts_per_tok": 2}, None),
    "BERT": ("Bert", {"pad": "<pad>", "encoder": True}, {}, "rows"),
    "RoBERTa, positions from behind the padding's": ("Roberta", {"pad": "<pad>", "encoder": True}, {}, "rows"),
    "DeBERTa": ("DebertaV2", {"pad": "<pad>", "encoder": True, "side": "left"}, {}, "rows"),
    "ModernBERT, averaging": ("ModernBert", {"pad": "<pad>", "encoder": True}, {"classifier_pooling": "mean"}, "rows"),
}  # fmt: skip


@pytest.mark.parametrize("which", FOREIGN)
def test_rewards_are_those_of_plain_transformers_singly_and_together(tmp_path, which):
    name, tokenizer, config, layout = FOREIGN[which]
    folder, rows = save(tmp_path / "model", name, tokenizer_of(**tokenizer), **config), items()
    scorer = Scorer(folder, 256)
    assert layout in (None, scorer.model.layout)
    expected = plain(folder, dialogues(rows))
    assert np.ptp(expected) > 0.02, "rewards that are all alike would prove nothing"
    assert given(scorer.score([("", r) for r in rows])) == pytest.approx(expected, abs=1e-6)
    assert given([scorer.score([("", r)])[0] for r in rows]) == pytest.approx(expected, abs=1e-6)
    if tokenizer.get("pad") and name not in ("GPT2", "DebertaV2"):  # these count positions from the padding on
        assert plain(folder, dialogues(rows), together=True) == pytest.approx(expected, abs=2e-6)


def test_a_reward_read_at_the_last_token_would_be_another_one(tmp_path):
    """The planted fault of the above: without the rule for padding tokens the numbers differ."""
    folder = save(tmp_path / "model", "Llama", tokenizer_of(pad="</s>"))
    model, rows = load_model(folder), items(4)
    model.model.config.pad_token_id = None
    turns = dialogues(rows)
    found, _ = program.score(
        model, [t[:-1] for t in turns], [t[-1]["content"] for t in turns], max_tokens=256, budget=900
    )
    assert min(abs(found - plain(folder, turns))) > 1e-4


def test_system_turns_are_seen_by_models_from_elsewhere_as_plain_transformers_shows_them(tmp_path):
    folder = save(tmp_path / "model", "Llama", tokenizer_of(pad="<pad>"))
    turns = [{"role": "system", "content": "be nice"}, {"role": "user", "content": "hello"}]
    asked = {"messages": [*turns, {"role": "assistant", "content": "the cat"}]}
    (found,) = Scorer(folder).score([("", asked)])
    assert found["reward"] == pytest.approx(plain(folder, [asked["messages"]])[0], abs=1e-6)
    assert found["reward"] != pytest.approx(plain(folder, [asked["messages"][1:]])[0], abs=1e-4)


def test_the_program_scores_them_as_well(tmp_path):
    folder, rows = save(tmp_path / "model", "Llama", tokenizer_of(pad="</s>", side="left")), pairs(6)
    pq.write_table(table(rows), tmp_path / "items.parquet")
    program.run(ScoreJob(models={"m": folder}, items=tmp_path / "items.parquet", out=tmp_path, max_tokens=9999))
    found = pq.read_table(tmp_path / "m" / "part-00000.parquet").to_pylist()
    assert given(found) == pytest.approx(plain(folder, dialogues(rows)), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_labels": 2}, "LlamaForSequenceClassification with 2 outputs is no reward model"),
        ({"architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM is no reward model"),
        ({"weights": "score.weight"}, "it holds no reward model, having no score.weight"),
        ({"pickled": True}, "model.safetensors"),
    ],
)
def test_what_is_no_reward_model_is_refused_in_one_line(tmp_path, capsys, monkeypatch, change, message):
    folder = save(tmp_path / "model", "Llama", tokenizer_of(pad="<pad>"), num_labels=change.get("num_labels", 1))
    if "architectures" in change:
        config = json.loads((folder / "config.json").read_text()) | change
        (folder / "config.json").write_text(json.dumps(config))
    if "weights" in change:
        from safetensors.torch import load_file, save_file

        kept = load_file(folder / "model.safetensors")
        save_file(
            {k: v for k, v in kept.items() if k != change["weights"]}, folder / "model.safetensors", {"format": "pt"}
        )
    if "pickled" in change:
        from safetensors.torch import load_file

        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    (tmp_path / "in.jsonl").write_text(json.dumps(items(1)[0]))
    monkeypatch.setattr("sys.argv", ["assay", "score", str(folder), str(tmp_path / "in.jsonl"), str(tmp_path / "out")])
    assert command_line.main() == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_the_length_limit_is_the_models_own_unless_another_is_given(tmp_path, capsys, monkeypatch):
    folder = save(tmp_path / "model", "Llama", tokenizer_of(pad="<pad>"), max_position_embeddings=40)
    long = items(1)[0] | {"chosen": "mat " * 60}
    (tmp_path / "in.jsonl").write_text(json.dumps(items(1)[0]) + "\n" + json.dumps(long))
    line = ["assay", "score", str(folder), str(tmp_path / "in.jsonl"), str(tmp_path / "out")]
    for more, note, over in ([], "at most 40 tokens", [1]), (["--max-tokens", "5"], "", [0, 1]):
        monkeypatch.setattr("sys.argv", line + more)
        assert command_line.main() == 0
        said = capsys.readouterr().err
        assert note in said and ("too long" in said)
        found = [json.loads(row).get("unscored") for row in (tmp_path / "out").read_text().splitlines()]
        assert [i for i, why in enumerate(found) if why == "over_length"] == over
    roberta = save(tmp_path / "roberta", "Roberta", tokenizer_of(pad="<pad>", encoder=True), max_position_embeddings=42)
    assert Scorer(roberta).max_tokens == 40
    bloom = save(tmp_path / "bloom", "Bloom", tokenizer_of(), n_head=4, n_layer=2, max_position_embeddings=None)
    with pytest.raises(ValueError, match=r"neither reward\.json nor the model says how long"):
        Scorer(bloom)


# ---- training goes on from a reward model --------------------------------------------------------------------------
def test_a_reward_model_as_backbone_keeps_its_rewards_and_learns_from_there(tmp_path):
    folder, rows = save(tmp_path / "model", "Llama", tokenizer_of(pad="</s>", side="left")), pairs(48)
    before = plain(folder, dialogues(rows))
    rates = {"still": 1e-12, "moved": 2e-4}
    after = {}
    for name, rate in rates.items():
        j = job(tmp_path / name, table(rows), backbone={"path": str(folder)}, recipe={"learning_rate": rate})
        train(j)
        after[name] = plain(j.out / "model", dialogues(rows))
        ours, _ = program.score(
            load_model(j.out / "model"), [t[:-1] for t in dialogues(rows)], [t[-1]["content"] for t in dialogues(rows)],
            max_tokens=256, budget=900,
        )  # fmt: skip
        assert ours.tolist() == pytest.approx(after[name], abs=2e-6)
    assert after["still"] == pytest.approx(before, abs=1e-6)
    moved = np.abs(np.array(after["moved"]) - before)
    assert moved.max() > 1e-3
    assert np.corrcoef(after["moved"], before)[0, 1] > 0.9, "from the old head, not from a new one"


def test_a_reward_model_without_padding_token_gets_one_and_keeps_its_rewards(tmp_path):
    folder, rows = save(tmp_path / "model", "Qwen3", tokenizer_of()), pairs(8)
    before = plain(folder, dialogues(rows))
    j = job(tmp_path / "a", table(rows), backbone={"path": str(folder)}, recipe={"learning_rate": 1e-12})
    train(j)
    assert plain(j.out / "model", dialogues(rows)) == pytest.approx(before, abs=1e-6)
    assert plain(j.out / "model", dialogues(rows), together=True) == pytest.approx(before, abs=2e-6)


# ---- encoders that average -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["Bert", "Roberta", "ModernBert"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_encoder_pools_as_it_is_told_and_is_exported_as_a_plain_model(tmp_path, name, pooling):
    """The body has another head before, which goes; the averaging layer is learned from by nobody."""
    folder = save(tmp_path / "model", name, tokenizer_of(pad="<pad>", encoder=True), num_labels=3)
    given = {"path": str(folder), "pooling": pooling, "trainable_layers": 1 if name != "ModernBert" else None}
    j = job(tmp_path / "a", table(pairs(12)), backbone=given, max_tokens=128)
    train(j)
    model, rows = load_model(j.out / "model"), items(5)
    layered = pooling == "mean" and name != "ModernBert"
    assert model.config.num_hidden_layers == 2 + layered
    assert getattr(model.config, "classifier_pooling", pooling) == pooling
    found, _ = program.score(
        model, [t[:-1] for t in dialogues(rows)], [t[-1]["content"] for t in dialogues(rows)], max_tokens=128, budget=900
    )  # fmt: skip
    assert found.tolist() == pytest.approx(plain(j.out / "model", dialogues(rows)), abs=2e-6)
    if layered:
        ids = torch.randint(3, 300, (1, 30), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            *_, before, after = model.model.base_model(input_ids=ids, output_hidden_states=True).hidden_states
        mean = torch.nn.functional.layer_norm(before[0].mean(0), (32,))
        assert torch.allclose(after[0, 0], mean, atol=0.02)
        assert not torch.allclose(after[0, 0], torch.nn.functional.layer_norm(before[0, 0], (32,)), atol=0.3)


def test_a_classifier_with_other_outputs_is_a_backbone_with_a_new_head(tmp_path):
    folder = save(tmp_path / "model", "Bert", tokenizer_of(pad="<pad>", encoder=True), num_labels=3)
    j = job(tmp_path / "a", table(pairs(8)), backbone={"path": str(folder)}, max_tokens=128)
    train(j)
    assert load_model(j.out / "model").head().weight.shape == (1, 32)


def test_code_that_a_folder_brings_along_is_not_run_and_nobody_is_told_to_trust_it(tmp_path):
    about = {"model_type": "own", "auto_map": {"AutoConfig": "code.Config"}, "id2label": {"0": "reward"}}
    about |= {"architectures": ["OwnForSequenceClassification"], "num_hidden_layers": 2, "hidden_size": 8}
    tokenizer_of().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / "code.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    for load in (load_model, StateReader, shares_prefixes, _encoder):
        with pytest.raises(ValueError, match="does not know the model type 'own' without code that the folder brings"):
            load(tmp_path if load is not _encoder else str(tmp_path))
    assert not (tmp_path / "ran").exists()
