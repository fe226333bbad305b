"""The planner: every pair once an epoch, the same plan everywhere, little padding, level ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.plan import Plan, pack, scoring, spread, stack

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=80).map(np.array)


@settings(max_examples=60, deadline=None)
@given(
    lengths=LENGTHS,
    batch=st.integers(1, 40),
    world=st.integers(1, 5),
    budget=st.integers(50, 1000),
    seed=st.integers(0, 9),
    packed=st.booleans(),
    level=st.booleans(),
)
def test_an_epoch_computes_each_group_once_within_the_budget(lengths, batch, world, budget, seed, packed, level):
    plan = Plan(lengths=lengths, batch=batch, world=world, budget=budget, seed=seed, packed=packed, level=level)
    seen = []
    for step in range(plan.steps):
        ranks = plan.step(step)
        assert len(ranks) == world
        assert all(ranks), "every rank must take part in every step"
        if level:
            assert len({len(r) for r in ranks}) == 1
        for micro in (m for r in ranks for m in r):
            longest = max(lengths[g] for g in micro.groups)
            needed = sum(lengths[g] for g in micro.groups) if packed else 2 * longest * len(micro.groups)
            assert micro.tokens == needed
            assert needed <= budget or len(micro.groups) == 1
            if micro.weight:
                seen += micro.groups
    assert sorted(seen) == list(range(len(lengths)))


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS, batch=st.integers(1, 40), step=st.integers(0, 5))
def test_a_global_batch_is_the_same_for_any_number_of_ranks_and_any_budget(lengths, batch, step):
    plans = [Plan(lengths=lengths, batch=batch, world=w, budget=b, seed=3) for w, b in ((1, 64), (4, 999))]
    step = min(step, plans[0].steps - 1)
    batches = [sorted(g for r in p.step(step) for m in r for g in m.groups if m.weight) for p in plans]
    assert batches[0] == batches[1] == sorted(plans[0].groups_of(step).tolist())


@pytest.mark.parametrize(("pairs", "steps"), [(26_000_000, 2_539), (40_000_000, 3_906)])
def test_step_counts_of_the_paper_are_computed(pairs, steps):
    plan = Plan(lengths=np.ones(pairs, np.int8), batch=10_240)
    assert plan.steps == steps


def test_epochs_differ_in_order_and_a_fraction_takes_a_part():
    plan = Plan(lengths=np.ones(100, int), batch=10, epochs=2.3)
    assert plan.steps == 10 + 10 + 3
    first, second = ([g for k in ks for g in plan.groups_of(k)] for ks in (range(10), range(10, 20)))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert len({int(g) for k in range(20, 23) for g in plan.groups_of(k)}) == 30
    with pytest.raises(IndexError):
        plan.groups_of(23)


def test_seeds_change_the_order_and_nothing_else_does():
    a, b, c = (Plan(lengths=np.ones(50, int), batch=50, seed=s).groups_of(0).tolist() for s in (1, 1, 2))
    assert a == b != c


def test_first_fit_decreasing_by_hand():
    lengths = np.array([3, 10, 6, 4, 7, 35, 5])  # 35 alone, though over the budget; 10+7+3 | 6+5+4
    packed = pack(range(7), lengths, budget=20)
    assert [[int(lengths[g]) for g in m.groups] for m in packed] == [[35], [10, 7, 3], [6, 5, 4]]
    assert [m.tokens for m in packed] == [35, 20, 15]


def test_encoders_get_neighbours_in_length():
    lengths = np.array([10, 100, 12, 98])
    assert [m.groups for m in stack(range(4), lengths, budget=400, sequences=2)] == [(1, 3), (2, 0)]


def test_ranks_are_level_where_random_assignment_is_not():
    lengths = np.random.default_rng(0).lognormal(6, 1, 640).clip(1, 2500).astype(int)
    cost = lengths.astype(float)
    loads = np.array([cost[r].sum() for r in spread(range(640), cost, 64)])
    assert loads.max() / loads.mean() < 1.02
    dealt = np.array([cost[r::64].sum() for r in range(64)])
    assert dealt.max() / dealt.mean() > 1.5


def test_nothing_is_padded_and_few_batches_are_half_empty():
    lengths = np.random.default_rng(1).lognormal(6, 0.8, 4000).astype(int) + 1
    micros = list(scoring(lengths, 16_384))
    assert sum(m.tokens for m in micros) == lengths.sum()
    assert lengths.sum() / len(micros) > 0.95 * 16_384


def test_nothing_to_plan_is_an_error():
    with pytest.raises(ValueError, match="nothing to plan"):
        Plan(lengths=np.array([], int), batch=4)
