"""How long a final training takes on GPUs nobody lent: arithmetic, with every number it rests on.

    python -m training.duration [--model llama-3.1-8b] [--gpus 64] [--mfu 0.40] …

Prints each line of the sum and whether its number was measured, is from a data sheet, or is assumed. The
utilisation above all is assumed: it was not measured on a GPU.
"""

import argparse
import sys

import numpy as np

from training.plan import Plan
from training.profiles import MODELS, PROFILES, RECOMPUTED

# Layers, hidden size, width of the queries, of keys and of values each, and of the MLP (the published config.json).
SHAPES = {
    "Qwen/Qwen3-0.6B": (28, 1024, 2048, 1024, 3072),
    "Qwen/Qwen3-1.7B": (28, 2048, 2048, 1024, 6144),
    "Qwen/Qwen3-4B": (36, 2560, 4096, 1024, 9728),
    "Qwen/Qwen3-8B": (36, 4096, 4096, 1024, 12288),
    "meta-llama/Llama-3.2-1B-Instruct": (16, 2048, 2048, 512, 8192),
    "meta-llama/Llama-3.2-3B-Instruct": (28, 3072, 3072, 1024, 8192),
    "meta-llama/Llama-3.1-8B-Instruct": (32, 4096, 4096, 1024, 14336),
}


def weights(backbone: str) -> int:
    """Weights of all layers: every one is a multiplication and an addition a token. Embeddings are none."""
    layers, hidden, queries, keys, inner = SHAPES[backbone]
    return layers * (2 * hidden * queries + 2 * hidden * keys + 3 * hidden * inner)


def operations(backbone: str, seen: float) -> float:
    """FLOPs of one token's forward pass when it sees `seen` keys: 2 a weight, 4 a key and unit of query width."""
    layers, _, queries, *_ = SHAPES[backbone]
    return 2 * weights(backbone) + 4 * layers * queries * seen


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.duration", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="llama-3.1-8b", choices=MODELS)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument(
        "--mfu", type=float, default=0.40, help="share of the peak that is reached, recomputation counted"
    )
    parser.add_argument("--peak", type=float, default=989e12, help="FLOP/s of one GPU, bf16 dense; default: H100 SXM")
    parser.add_argument("--tokens", type=float, default=1099, help="a pair, both sequences whole")
    parser.add_argument("--computed", type=float, default=0.782, help="tokens computed per token of the above")
    parser.add_argument("--seen", type=float, default=602, help="keys that a token sees on average")
    parser.add_argument("--wire", type=float, default=40e9, help="bytes/s that a collective moves through one GPU")
    parser.add_argument("--score", type=float, default=40e6, help="pairs of the pool that are scored")
    args = parser.parse_args()
    for line in estimate(args):
        print(line)
    return 0


def estimate(args: argparse.Namespace) -> list[str]:
    """The lines of the sum."""
    backbone, millions = MODELS[args.model]
    recipe = PROFILES["final"]
    steps = Plan(lengths=np.ones(millions * 1_000_000, np.int8), batch=recipe["global_batch_size"]).steps
    real = millions * 1e6 * args.tokens
    computed = real * args.computed
    forward = operations(backbone, args.seen)
    again = 1 if args.model in RECOMPUTED else 0
    work = computed * forward * 3
    busy = args.gpus * args.peak * args.mfu
    train = work / busy * (3 + again) / 3
    moved = (4 + 2) * weights(backbone)  # fp32 gradients to where their optimizer state is, bf16 weights back
    wires = steps * moved / args.wire
    pool = args.score * args.tokens * args.computed * forward / busy
    return [
        f"{args.model} on {millions}M pairs, {args.gpus} GPUs, profile final",
        f"  {steps:>14,} steps of {recipe['global_batch_size']:,} pairs                      computed",
        f"  {args.tokens:>14,.0f} tokens a pair                               measured on HH, RMB and JudgeBench",
        f"  {real / 1e9:>13.2f}B tokens of all pairs                         computed",
        f"  {args.computed:>14.3f} computed per token: prompts shared, no padding   measured on the same",
        f"  {computed / 1e9:>13.2f}B tokens computed                             computed",
        f"  {weights(backbone) / 1e9:>13.2f}B weights in layers                            published configuration",
        f"  {args.seen:>14,.0f} keys seen by a token                        measured on the same",
        f"  {forward / 1e9:>13.2f}G FLOPs a token forward, {3 + again} times that in all   computed"
        + (" (once more for recomputed activations)" if again else ""),
        f"  {args.peak / 1e12:>13.0f}T FLOP/s of a GPU at its peak                  data sheet",
        f"  {args.mfu:>14.2f} of it reached, recomputation counted           ASSUMED, not measured",
        f"  {train / 3600:>13.1f} h  computing",
        f"  {wires / 3600:>13.1f} h  gradients and weights moved, {args.wire / 1e9:.0f} GB/s a GPU      ASSUMED, nothing overlaps",
        f"  {(train + wires) / 3600:>13.1f} h  training, {(train + wires) / 3600 * args.gpus:,.0f} GPU hours",
        f"  {train / args.computed / 3600:>13.1f} h  of computing without shared prompts or padding (packing alone)",
        f"  {pool / 3600:>13.1f} h  one scoring pass over {args.score / 1e6:.0f}M pairs",
    ]


if __name__ == "__main__":
    sys.exit(main())
