"""Which sequences are computed together, where and when: a pure function of lengths, seed and world size.

Every rank computes the same plan and takes its own part of it, so nothing is communicated. A *group* is one prompt
with its responses (two for a pair); it costs ``n + attention * n**2`` for n tokens. A step of training is a global
batch; its groups go to the rank with the least cost so far, heaviest first (LPT), and a rank's groups are packed into
micro-batches of at most `budget` tokens, first-fit, longest first.

Nothing is planned ahead of its step but the epoch's permutation, so that 26M pairs cost one permutation in memory.
"""

import functools
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MicroBatch:
    """Groups computed in one forward pass, with the tokens that they take at the most, padding included.

    `weight` is 0 for a repetition that only keeps ranks in step (ZeRO 2 and 3, or a rank without a group).
    """

    groups: tuple[int, ...]
    tokens: int
    weight: float = 1.0


def pack(groups: Sequence[int], lengths: np.ndarray, budget: int) -> list[MicroBatch]:
    """Micro-batches that hold each group once, filled first-fit, longest first; they need no padding.

    A group longer than the budget gets a micro-batch of its own.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for group in sorted(groups, key=lambda g: (-lengths[g], g)):
        n = int(lengths[group])
        for i, free in enumerate(room):
            if n <= free:
                bins[i].append(group)
                room[i] -= n
                break
        else:
            bins.append([group])
            room.append(budget - n)
    return [MicroBatch(tuple(held), budget - free) for held, free in zip(bins, room, strict=True)]


def stack(groups: Sequence[int], lengths: np.ndarray, budget: int, sequences: int = 1) -> list[MicroBatch]:
    """Micro-batches of neighbours in length, for encoders: a group takes `sequences` padded rows and shares none."""
    left = sorted(groups, key=lambda g: (-lengths[g], g))
    batches = []
    while left:
        width = int(lengths[left[0]]) * sequences
        most = max(1, budget // width)
        batches.append(MicroBatch(tuple(left[:most]), width * len(left[:most])))
        left = left[most:]
    return batches


def spread(groups: Sequence[int], costs: np.ndarray, world: int) -> list[list[int]]:
    """Groups of each rank, so that the most loaded rank is close to the mean (longest processing time first)."""
    ranks: list[list[int]] = [[] for _ in range(world)]
    heap = [(0.0, r) for r in range(world)]
    for g in sorted(groups, key=lambda g: (-costs[g], g)):
        load, r = heapq.heappop(heap)
        ranks[r].append(g)
        heapq.heappush(heap, (load + float(costs[g]), r))
    return ranks


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole training run.

    Attributes:
        lengths: [groups] int32, tokens a group takes (encoders: tokens of its longest sequence).
        batch: wanted groups in a global batch. An epoch of n groups is split evenly into ``round(n / batch)`` steps,
            so that each group comes exactly once an epoch and no small batch remains at its end.
        epochs: passes over the data; a fraction takes that share of the last permutation.
        world: ranks.
        budget: tokens a micro-batch.
        attention: cost of a token per token attended to, relative to the cost of the token itself.
        packed: groups need no padding (causal models); otherwise each of a group's two sequences has a padded row.
        level: every rank runs equally many micro-batches, with repetitions of weight 0 (ZeRO 2 and 3).
    """

    lengths: np.ndarray
    batch: int
    epochs: float = 1.0
    seed: int = 0
    world: int = 1
    budget: int = 4096
    attention: float = 0.0
    packed: bool = True
    level: bool = False

    def __post_init__(self):
        if not len(self.lengths):
            raise ValueError("there is nothing to plan: no group is left")

    @functools.cached_property
    def costs(self) -> np.ndarray:
        """[groups] float64, in tokens without attention."""
        n = self.lengths.astype(np.float64)
        return n + self.attention * n * n

    @functools.cached_property
    def _latest(self) -> dict[int, np.ndarray]:
        """The permutation of the epoch asked for last."""
        return {}

    def _epoch_sizes(self) -> list[int]:
        whole, part = divmod(self.epochs, 1)
        rest = round(part * len(self.lengths))
        return [len(self.lengths)] * int(whole) + [rest] * (rest > 0)

    def _steps_of(self, size: int) -> int:
        return max(1, round(size / self.batch))

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return sum(self._steps_of(size) for size in self._epoch_sizes())

    def groups_of(self, step: int) -> np.ndarray:
        """Groups of one global batch, from the permutation of its epoch; independent of world size and budget."""
        for epoch, size in enumerate(self._epoch_sizes()):
            if step < (steps := self._steps_of(size)):
                low, high = size * step // steps, size * (step + 1) // steps
                return self._permutation(epoch)[low:high]
            step -= steps
        raise IndexError("step is beyond the plan")

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch not in self._latest:
            self._latest.clear()
            self._latest[epoch] = np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))
        return self._latest[epoch]

    def step(self, step: int) -> list[list[MicroBatch]]:
        """Micro-batches of every rank in one optimizer step."""
        ranks = spread(self.groups_of(step).tolist(), self.costs, self.world)
        if self.packed:
            plans = [pack(r, self.lengths, self.budget) for r in ranks]
        else:
            plans = [stack(r, self.lengths, self.budget, sequences=2) for r in ranks]
        most = max(map(len, plans)) if self.level else 1
        filler = next(p for p in plans if p)[-1].groups[-1]
        idle = MicroBatch((filler,), int(self.lengths[filler]) * (1 if self.packed else 2), weight=0.0)
        return [p + [idle] * max(0, most - len(p)) for p in plans]


def scoring(lengths: np.ndarray, budget: int, packed: bool = True) -> Iterator[MicroBatch]:
    """Micro-batches for a forward pass over all groups, longest first, so that memory is at its peak at the start."""
    groups = list(range(len(lengths)))
    # Packing compares a group with every open micro-batch; windows of neighbours keep that cheap and waste next to nothing.
    order = sorted(groups, key=lambda g: (-lengths[g], g))
    for i in range(0, len(order), 1024):
        yield from (pack if packed else stack)(order[i : i + 1024], lengths, budget)
