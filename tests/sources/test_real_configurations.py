"""The configurations on real texts: they load anywhere, and the first round of the UKP one runs where the data are."""

import duckdb
import numpy as np
import pytest

from assets.registry import steps
from curation.tables import GOLD
from measurements.curation_proof import HELD_OUT, paired
from resources.lake import Lake
from resources.run import Run
from resources.settings import load
from tests.support import places
from tests.support.lakes import published, query

DATA = places.SHARED / "data"
PROOF = ("ukp", "rmb_harm", "prd", "pandalm")
FIRST_ROUND = ("sources", "raw_pool", "clusters", "deduped", "clean_pool", "attributes", "seed_selection",
               "annotation_batch", "human_labels", "gold")  # fmt: skip
KEYS = {"source": "weakest", "bucket": "b00", "iteration": "iter_00"}


def configuration(name: str, *changes: str):
    return load(places.ROOT / "configs" / f"{name}.toml", changes)


@pytest.mark.parametrize("name", [*PROOF, "real"])
def test_it_loads_with_data_in_any_folder(name, monkeypatch):
    monkeypatch.setenv("ASSAY_DATA", "/nowhere/at/all")
    read = configuration(name)
    assert all(s.stage for s in read.sources) and read.people.backend == "recorded"
    if name in PROOF:
        assert {read.training.head_of(kind) for kind in ("loop", "gold", "final")} == {"frozen"}
        assert (read.stage2.decision, read.stage2.flip, read.stage2.flip_audit) == ("guarded", "audited", 40)
        assert HELD_OUT in {a.annotator for a in read.reference.answers}


@pytest.mark.skipif(not DATA.is_dir(), reason="real data are not at hand")
@pytest.mark.parametrize("name", PROOF)
def test_no_conversation_of_the_pool_is_held_out(name, monkeypatch):
    monkeypatch.setenv("ASSAY_DATA", str(DATA))
    read = configuration(name)
    con = duckdb.connect()
    pool, people, *_, held = [read.sources[0], *read.people.answers, *read.reference.answers]
    asked = [
        {str(p) for (p,) in con.execute(f"SELECT DISTINCT prompt FROM ({q.query})").fetchall()}
        for q in (pool, people, held)
    ]
    assert asked[0] and asked[1] <= asked[0] and asked[2] and not asked[0] & asked[2]


@pytest.mark.skipif(not DATA.is_dir(), reason="real data are not at hand")
def test_people_label_the_first_round_of_ukp(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_DATA", str(DATA))
    read, lake = configuration("ukp", "sources.weakest.sample=120", "stage1.seed_people=12"), Lake(str(tmp_path))
    for step in steps():
        if step.tables[0].name in FIRST_ROUND:
            published(step, Run(read, lake, KEYS.get(step.partition or "")))
    assert query(lake, "SELECT count(*), count(DISTINCT cluster_id) FROM gold") == [(12, 12)]
    assert query(lake, "SELECT DISTINCT annotator, simulated FROM human_labels") == [("others", False)]
    assert lake.note(GOLD, "iter_00") is not None


def test_the_interval_of_paired_seeds_widens_with_what_goes_together():
    groups, rng = np.repeat(np.arange(10), 20), np.random.default_rng(0)
    same = np.full((200, 3), 0.1)
    assert paired(same, groups, rng) == pytest.approx((0.1, 0.1, 0.1))
    by_group = np.repeat(rng.normal(size=10), 20)[:, None] * np.ones(3)
    alone = rng.permutation(by_group)
    widths = [high - low for _, low, high in (paired(d, groups, rng) for d in (by_group, alone))]
    assert widths[0] > 2 * widths[1]
