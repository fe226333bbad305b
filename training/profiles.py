"""The paper's training recipes and its eight models, as values; steps are computed from them, never typed.

    python -m training.profiles

prints every model under every profile. In `assay.toml`, ``profile = "final"`` in a recipe stands for these values.
"""

import sys

import numpy as np

from training.plan import Plan

MAX_TOKENS = 16_384  # follows Tulu 3 (spec 6.03)

# `dev` chose the data, `final` trained what was released (spec 6.03, 6.04). The paper names a warm-up for `dev` but not
# its length. 8B backbones take a quarter of the learning rate in `dev`.
PROFILES: dict[str, dict] = {
    "dev": {"learning_rate": 4e-6, "global_batch_size": 256, "schedule": "linear", "epochs": 1, "warmup": 0.05},
    "dev-8b": {"learning_rate": 1e-6, "global_batch_size": 256, "schedule": "linear", "epochs": 1, "warmup": 0.05},
    "final": {"learning_rate": 3e-6, "global_batch_size": 10_240, "schedule": "constant", "epochs": 1, "warmup": 0.0},
}

# name: (backbone, millions of pairs of its final training). Seven backbones, the largest twice (spec 6.02, 6.07).
MODELS: dict[str, tuple[str, int]] = {
    "qwen3-0.6b": ("Qwen/Qwen3-0.6B", 26),
    "qwen3-1.7b": ("Qwen/Qwen3-1.7B", 26),
    "qwen3-4b": ("Qwen/Qwen3-4B", 26),
    "qwen3-8b": ("Qwen/Qwen3-8B", 26),
    "llama-3.2-1b": ("meta-llama/Llama-3.2-1B-Instruct", 26),
    "llama-3.2-3b": ("meta-llama/Llama-3.2-3B-Instruct", 26),
    "llama-3.1-8b": ("meta-llama/Llama-3.1-8B-Instruct", 26),
    "llama-3.1-8b-40m": ("meta-llama/Llama-3.1-8B-Instruct", 40),
}
# Models whose activations of 32k tokens do not fit beside weights and gradients in 80 GB.
RECOMPUTED = ("qwen3-4b", "qwen3-8b", "llama-3.1-8b", "llama-3.1-8b-40m")


def expand(model: str, profile: str) -> dict:
    """The `[training]` section of one model under `dev` or `final`, as a dictionary for resources.settings.Training.

    The backbone's path is where its files are expected, `$ASSAY_BACKBONES/<name>`; nothing is downloaded.

    Raises:
        ValueError: no such model or profile; the message lists what there is.
    """
    if model not in MODELS:
        raise ValueError(f"no such model: {model!r}; there are {', '.join(MODELS)}")
    recipe = recipe_of(f"{profile}-8b" if profile == "dev" and "8b" in model else profile)
    backbone = MODELS[model][0].partition("/")[2]
    return {
        "backbone": {"name": model, "path": f"${{ASSAY_BACKBONES}}/{backbone}"},
        "max_tokens": MAX_TOKENS,
        "tokens_per_microbatch": 2 * MAX_TOKENS,  # one pair of the greatest length
        "zero_stage": 1,
        "gradient_checkpointing": model in RECOMPUTED,
        **{kind: recipe for kind in ("loop", "gold", "final")},
    }


def recipe_of(profile: str) -> dict:
    """A profile's values.

    Raises:
        ValueError: no such profile; the message lists what there is.
    """
    if profile not in PROFILES:
        raise ValueError(f"no such profile: {profile!r}; there are {', '.join(PROFILES)}")
    return PROFILES[profile]


def steps(pairs: int, recipe: dict) -> int:
    """Optimizer steps of a recipe on that many pairs."""
    return Plan(lengths=np.ones(pairs, np.int8), batch=recipe["global_batch_size"], epochs=recipe["epochs"]).steps


def main() -> int:
    columns = ("model", "backbone", "profile", "rate", "batch", "schedule", "tokens", "pairs", "steps")
    print("{:18}{:35}{:8}{:>8}{:>8} {:9}{:>7}{:>6}{:>9}".format(*columns))
    for name, (backbone, millions) in MODELS.items():
        for profile in ("dev", "final"):
            training = expand(name, profile)
            r = training["final"]
            print(
                f"{name:18}{backbone:35}{profile:8}{r['learning_rate']:8.0e}{r['global_batch_size']:8,} {r['schedule']:9}"
                f"{training['max_tokens']:7,}{millions:5}M{steps(millions * 1_000_000, r):9,}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
