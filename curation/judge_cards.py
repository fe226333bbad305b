"""Report cards: what each judge, and each way to count their votes, is worth on pairs that people decided."""

from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.intervals import Estimate, paired_difference, wilson, wilson_by_pair
from curation.tables import JUDGE_CARDS
from curation.verdicts import aggregate
from curation.vote_models import ballots, dawid_skene_weights, effective_votes, stacking_weights
from sql import statement

CARD_SCHEMA = JUDGE_CARDS.schema
PEOPLE = pa.schema([("pair_id", pa.string()), ("annotator", pa.string()), ("vote", pa.string())])
MAJORITY = "majority, both orders"
ONE_ORDER = "majority, one order"  # the paper's way at half the calls
FOLDS = 5


def cards(votes: pa.Table, known: pa.Table, people: pa.Table | None = None) -> pa.Table:
    """Figures by judge and stratum, with intervals of 95 % that know which votes are on one pair.

    Figures: agrees_with_people (their verdict), agrees_with_one_person (of several who labelled the pair),
    prefers_first, prefers_longer (of answers that differ in length), flips_with_order (of pairs decided in both orders),
    repeats_itself (two answers in one order), decides, refuses. The judge `people` is people's agreement with each
    other where several labelled a pair: the ceiling of agrees_with_one_person.

    Args:
        votes: rows of `judge_votes`.
        known: pair_id, order (original or swapped by people, null where they did not say), strata (names),
            chosen_chars, rejected_chars.
        people: pair_id, annotator, vote (original or swapped), where single labels are known.

    Returns:
        CARD_SCHEMA rows.
    """
    with duckdb.connect() as con:
        con.register("votes", votes)
        con.register("known", known)
        con.register("people", PEOPLE.empty_table() if people is None else people)
        rows = con.sql(statement("judges/judge_cards")).to_arrow_table().to_pylist()
    for r in rows:
        sums = [r.pop(name) for name in ("hh", "hn", "nn")]
        r["value"], r["low"], r["high"] = wilson_by_pair(r.pop("hits"), r["n"], r["pairs"], *sums)
    return pa.Table.from_pylist(rows, CARD_SCHEMA)


def methods(votes: pa.Table, known: pa.Table, seed: int = 0) -> dict[str, np.ndarray]:
    """What each way from votes to a verdict earns on each pair with a known order: 1 right, 0 wrong, a half undecided.

    Whatever is fitted on gold decides pairs that the fit did not see (five folds). `majority, one order` asks each
    judge once, in an order drawn by lot; `stacking, as many as both orders decide` keeps the surest of its verdicts.
    """
    known = known.filter(pc.is_valid(known["verified_order"])).select(["pair_id", "verified_order"])
    known = known.filter(pc.is_in(known["pair_id"], votes["pair_id"])).sort_by("pair_id")
    votes = votes.filter(pc.is_in(votes["pair_id"], known["pair_id"]))
    order = known["verified_order"].to_pylist()
    fold = np.random.default_rng(seed).permutation(len(order)) % FOLDS
    judges = sorted(set(votes["judge"].to_pylist()))

    def said(some: pa.Table, weights: pa.Table | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What the verdicts earn, and how sure they are."""
        found = aggregate(some, 1, weights).to_pylist()
        by_pair = {r["pair_id"]: r for r in found}
        rows = [by_pair.get(p, {"verdict": "undecided", "p": None}) for p in known["pair_id"].to_pylist()]
        pairs = zip(rows, order, strict=True)
        earned = [0.5 if r["verdict"] == "undecided" else float(r["verdict"] == o) for r, o in pairs]
        return np.array(earned), np.array([0.0 if r["p"] is None else abs(r["p"] - 0.5) for r in rows])

    alone = {j: said(votes.filter(pc.equal(votes["judge"], j)))[0] for j in judges}
    stacked, sure, best = np.zeros(len(order)), np.zeros(len(order)), np.zeros(len(order))
    for k in range(FOLDS):
        seen, rest = fold != k, fold == k
        gold = known.filter(pa.array(seen))
        weights = stacking_weights(votes.filter(pc.is_in(votes["pair_id"], gold["pair_id"])), gold)
        for whole, part in zip((stacked, sure), said(votes, weights), strict=True):
            whole[rest] = part[rest]
        best[rest] = alone[max(judges, key=lambda j: alone[j][seen].mean())][rest]
    both = said(votes)[0]
    surest = np.argsort(-sure, kind="stable")[: np.count_nonzero(both != 0.5)]
    return {
        ONE_ORDER: said(_one_order(votes, seed))[0],
        MAJORITY: both,
        "dawid_skene": said(votes, dawid_skene_weights(votes))[0],
        "stacking": stacked,
        "stacking, as many as both orders decide": np.where(np.isin(np.arange(len(order)), surest), stacked, 0.5),
        "best judge on gold": best,
    }


def _one_order(votes: pa.Table, seed: int) -> pa.Table:
    """Of each judge's votes on a pair, those in one order, drawn by hash."""
    with duckdb.connect() as con:
        con.register("votes", votes)
        con.execute(statement("macros"))
        return con.sql(statement("judges/one_order"), params={"seed": str(seed)}).to_arrow_table()


def panel_card(credits: Mapping[str, np.ndarray], votes: pa.Table, known: pa.Table) -> pa.Table:
    """CARD_SCHEMA rows of the panel as a whole.

    For each method of `methods`: agrees_with_people (of the pairs it decides), decides, credit (undecided pairs count a
    half) and gain_over_majority (in credit, over the majority in both orders, by a paired bootstrap). And how many
    independent votes the judges are worth.
    """
    rows = []

    def add(judge: str, figure: str, e: Estimate, n: int) -> None:
        rows.append({"judge": judge, "stratum": "all", "figure": figure, **e._asdict(), "n": n, "pairs": n})

    for name, earned in credits.items():
        n, decided = len(earned), earned[earned != 0.5]
        total, square = float(earned.sum()), float((earned**2).sum())
        add(f"panel: {name}", "agrees_with_people", wilson(float(decided.sum()), len(decided)), len(decided))
        add(f"panel: {name}", "decides", wilson(len(decided), n), n)
        add(f"panel: {name}", "credit", wilson_by_pair(total, n, n, square, total, n), n)
        if name != MAJORITY:
            add(f"panel: {name}", "gain_over_majority", paired_difference(earned, credits[MAJORITY]), n)
    right = rights(votes, known)
    if right.shape[1] > 1 and len(right):
        add("panel", "effective_votes", Estimate(effective_votes(right), None, None), len(right))
    return pa.Table.from_pylist(rows, CARD_SCHEMA)


def rights(votes: pa.Table, known: pa.Table) -> np.ndarray:
    """bool, shape (pairs, judges): whether each judge's own majority is what people decided; pairs that all decide."""
    order = dict(zip(known["pair_id"].to_pylist(), known["verified_order"].to_pylist(), strict=True))
    made = ballots(votes)
    leans = np.sign(made.cast.reshape(len(made.pairs), len(made.workers) // 2, 2).sum(2, dtype=int))
    truth = np.array([{"original": 1, "swapped": -1}.get(order.get(p), 0) for p in made.pairs], int)
    whole = (leans != 0).all(1) & (truth != 0)
    return leans[whole] == truth[whole, None]
