"""A release holds what it may, says where everything else went, loads without arguments, and has equal bytes twice
(spec 0.11, 5.03, 5.04, 5.11)."""

import hashlib
import json
import shutil
import subprocess

import pyarrow.parquet as pq
import pytest
import yaml

from cli.main import main
from handover import contents, shards
from handover.build import Wanted, build
from handover.card import cell, hub_license, origin
from handover.contents import HandoverError, Snapshot, ranges
from handover.verify import verify
from tests.support.releases import SOURCES, configured, handed_lake, pair, pool


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return handed_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def release(lake, tmp_path_factory):
    """The corrected release, to be copied and spoilt."""
    folder = tmp_path_factory.mktemp("release") / "out"
    made(lake, folder)
    return folder


def made(lake, out, name="corrected", settings=None, **wanted):
    return build(settings or configured(), lake, Wanted(Snapshot.named(name), **wanted), out)


def rows(folder):
    return [r for p in sorted((folder / "data").glob("*.parquet")) for r in pq.read_table(p).to_pylist()]


def test_rows_stand_in_the_verified_order_and_keep_their_own_in_the_name_of_the_pair(lake, tmp_path):
    facts = made(lake, tmp_path / "out")
    found = {r["pair_id"]: r for r in rows(tmp_path / "out")}
    permitted = [p for p in enumerate(pool()) if p[1]["source"] != "shut"]
    assert found.keys() == {p["pair_id"] for _, p in permitted}
    for i, p in permitted:
        row, flipped = found[p["pair_id"]], i % 3 == 0
        better, worse = (p["rejected"], p["chosen"]) if flipped else (p["chosen"], p["rejected"])
        assert row["prompt"] == p["conversation"] and row["flipped"] == flipped
        assert row["chosen"] == [{"role": "assistant", "content": better}]
        assert row["rejected"] == [{"role": "assistant", "content": worse}]
        assert row["rule"] == ("flipped both_reject" if flipped else "kept agreed") and row["label_source"] == "models"
    assert (facts["pairs"], facts["flipped"]) == (12, 4)
    assert {s["source"]: s["license"] for s in facts["sources"]} == {"open": "Apache-2.0", "wide": "CC-BY-4.0"}


def test_what_may_not_be_passed_on_is_a_class_of_the_ledger(lake, tmp_path):
    facts = made(lake, tmp_path / "out")
    assert facts["left_out"] == [{"source": "shut", "reason": "no_permission", "pairs": 6}]
    by_class = {r["class"]: r["records"] for r in facts["ledger"] if r["source"] == "shut"}
    assert by_class == {"not_permitted": 6} and sum(r["records"] for r in facts["ledger"]) == 18
    assert "shut" not in (tmp_path / "out" / "ATTRIBUTION.md").read_text()
    assert "no permission to redistribute | 6" in (tmp_path / "out" / "README.md").read_text()
    curated = made(lake, tmp_path / "curated", "curated")
    classes = {(r["class"], r["reason"]): r["records"] for r in curated["ledger"] if r["source"] == "open"}
    assert classes == {("released", "kept agreed"): 4, ("flipped, not in this snapshot", "both_reject"): 2}


def test_a_source_without_permission_goes_along_only_where_it_is_named(lake, tmp_path):
    facts = made(lake, tmp_path / "out", spelled_out=("shut",))
    assert facts["pairs"] == 18 and facts["left_out"] == []
    assert "**shut was released because it was named" in (tmp_path / "out" / "README.md").read_text()
    assert verify(tmp_path / "out").faults == []
    with pytest.raises(HandoverError, match="no such source: 'shu'; there are open, shut, wide"):
        made(lake, tmp_path / "other", spelled_out=("shu",))


@pytest.mark.parametrize("license_", ["unknown", " Unknown", "n/a", ""])
def test_a_source_that_may_be_passed_on_and_has_no_license_stops_the_release_by_name(tmp_path, license_):
    settings = configured([*SOURCES[:2], SOURCES[2] | {"license": license_, "redistribution": True}])
    lake = handed_lake(tmp_path / "lake", settings)
    with pytest.raises(HandoverError, match=r"^shut: no license is known; say `license`"):
        made(lake, tmp_path / "out", settings=settings)
    assert not (tmp_path / "out").exists()
    assert made(lake, tmp_path / "out", settings=settings, spelled_out=("shut",))["pairs"] == 18


def test_nothing_that_may_be_passed_on_is_told_and_writes_nothing(tmp_path):
    settings = configured([s | {"redistribution": False} for s in SOURCES])
    lake = handed_lake(tmp_path / "lake", settings)
    with pytest.raises(HandoverError, match=r"nothing is left: .*redistribution = true.*--include open"):
        made(lake, tmp_path / "out", settings=settings)
    assert not (tmp_path / "out").exists()


def test_a_permission_that_was_taken_back_since_is_heard(lake, tmp_path):
    settings = configured([SOURCES[0] | {"redistribution": False}, *SOURCES[1:]])
    with pytest.raises(HandoverError, match=r"^open: the configuration says license 'Apache-2.0' and .* = false"):
        made(lake, tmp_path / "out", settings=settings)


def test_a_folder_of_something_else_is_left_alone_and_a_release_is_replaced(lake, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(HandoverError, match="holds something that is no release"):
        made(lake, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    made(lake, tmp_path / "out", lines=True)
    made(lake, tmp_path / "out", "curated")
    assert verify(tmp_path / "out").faults == [] and not (tmp_path / "out" / "jsonl").exists()


def test_an_unknown_release_names_those_that_there_are(lake, tmp_path):
    with pytest.raises(HandoverError, match="no such release: 'corected'; there are curated, corrected"):
        Snapshot.named("corected")
    with pytest.raises(HandoverError, match=r"filtered@iter_07: the lake holds no such pairs; it has corrected@stage2"):
        made(lake, tmp_path / "out", "filtered@iter_07")


def everything(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_equal_lakes_give_equal_bytes_whatever_their_buckets(lake, tmp_path):
    made(lake, tmp_path / "one", lines=True)
    made(lake, tmp_path / "two", lines=True)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "one", capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == len(everything(tmp_path / "one")) - 1


def test_rows_are_cut_alike_whatever_slices_they_came_in(lake, tmp_path, monkeypatch):
    made(lake, tmp_path / "one", lines=True)
    monkeypatch.setattr(contents, "SLICE", 2)
    made(lake, tmp_path / "two", lines=True)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")
    monkeypatch.setattr(shards, "GROUP", 1)
    facts = build(configured(), lake, Wanted(Snapshot.named("corrected"), lines=True), tmp_path / "many", most=2_000)
    assert rows(tmp_path / "many") == rows(tmp_path / "one") and len(facts["files"]) > 2
    assert verify(tmp_path / "many").faults == []
    lines = [
        json.loads(line)
        for p in sorted((tmp_path / "many" / "jsonl").iterdir())
        for line in p.read_text("utf-8").split("\n")
        if line
    ]
    assert lines == rows(tmp_path / "many")


def test_slices_of_ids_lose_none_and_hold_none_twice():
    for pairs in (1, 20_000, 20_001, 400_000, 26_000_000):
        edges = list(ranges(pairs))
        assert edges[0][0] == "" and edges[-1][1] == "g"
        assert all(a[1] == b[0] and a[0] < a[1] for a, b in zip(edges, edges[1:], strict=False))
        names = [hashlib.md5(str(i).encode()).hexdigest() for i in range(200)]
        assert [sum(low <= n < high for low, high in edges) for n in names] == [1] * 200


def test_the_implicit_form_holds_whole_conversations(lake, tmp_path):
    facts = made(lake, tmp_path / "out", whole=True)
    for row in rows(tmp_path / "out"):
        assert "prompt" not in row and row["chosen"][:-1] == row["rejected"][:-1]
        assert row["chosen"][0]["role"] == "user" and row["chosen"][-1]["role"] == "assistant"
    assert facts["form"] == "implicit" and verify(tmp_path / "out").faults == []


def test_datasets_loads_the_folder_without_arguments(lake, tmp_path):
    datasets = pytest.importorskip("datasets")
    made(lake, tmp_path / "out", lines=True)
    cache = str(tmp_path / "cache")
    both = datasets.load_dataset(str(tmp_path / "out"), cache_dir=cache)["train"]
    assert both.num_rows == 12 and both[0]["prompt"][0]["role"] == "user"
    confirmed = datasets.load_dataset(str(tmp_path / "out"), "confirmed", cache_dir=cache)["train"]
    assert confirmed.num_rows == 8 and not any(confirmed["flipped"])


def test_datasets_takes_no_release_for_another_one_of_the_same_name(lake, tmp_path):
    datasets = pytest.importorskip("datasets")
    cache = str(tmp_path / "cache")

    small = handed_lake(tmp_path / "small", pairs=pool(3))

    def loaded() -> list[str]:
        return datasets.load_dataset(str(tmp_path / "out"), cache_dir=cache)["train"]["pair_id"][:]

    for each in (lake, small, lake):
        made(each, tmp_path / "out")
        assert loaded() == [r["pair_id"] for r in rows(tmp_path / "out")]


def test_the_card_says_what_it_has_to(lake, tmp_path):
    made(lake, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    front = yaml.safe_load(head)
    assert front["license"] == "other" and front["license_name"] == "Apache-2.0, CC-BY-4.0"
    assert [c["config_name"] for c in front["configs"]] == ["default", "confirmed", "flipped"]
    for said in ("Flipped pairs are unverified", "not a wrong pair", "No single reward model", "filters are models",
                 "minorities", "Everything rests on people's labels", "could be paid for", "(33.3 %)",
                 "### By task", "### By objectivity", "### By controversiality", "### By language"):  # fmt: skip
        assert said in body
    assert (tmp_path / "out" / "plots" / "sources.png").read_bytes()[:4] == b"\x89PNG"


def test_a_release_of_what_came_does_not_say_that_somebody_looked(lake, tmp_path):
    facts = made(lake, tmp_path / "out", "original")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "nobody verified it here" in text and "People labelled a part" not in text
    assert {(r["label_source"], r["rule"]) for r in rows(tmp_path / "out")} == {("source", "as it came")}
    assert facts["flipped"] == 0 and verify(tmp_path / "out").faults == []


def test_names_of_sources_are_no_markup():
    assert cell("a|b <img src=x>\n# [x](y)") == r"a\|b \<img src=x\> \# \[x\](y)"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Apache-2.0"], ("apache-2.0", None)),
        (["MIT", "mit"], ("mit", None)),
        (["ODC-BY-1.0"], ("odc-by", None)),
        (["MIT", "Apache-2.0"], ("other", "Apache-2.0, MIT")),
        (["our own"], ("other", "our own")),
    ],
)
def test_licenses_as_the_hub_names_them(names, expected):
    assert hub_license(names) == expected


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/jo/secret/pairs.jsonl", "pairs.jsonl"),
        ("huggingface:o/n@" + "1" * 40, "huggingface:o/n@" + "1" * 40),
        ("SELECT * FROM '/home/jo/x.parquet'", "a query over several files"),
    ],
)
def test_where_a_source_is_from_names_no_folder_of_ours(path, shown):
    assert origin(path) == shown


def test_the_report_goes_along_only_where_it_quotes_nobody_who_is_left_out(lake, tmp_path):
    page = lake.folder("report") / "index.html"
    page.write_text("<p>a pair of shut</p>")
    made(lake, tmp_path / "out")
    assert not (tmp_path / "out" / "report.html").exists()
    made(lake, tmp_path / "out", spelled_out=("shut",))
    assert (tmp_path / "out" / "report.html").read_text() == "<p>a pair of shut</p>"
    page.unlink()


# ---- verify ----------------------------------------------------------------------------------------------------------
def tampered(folder, change):
    """Change the rows of a shard, or a file, and write the sums anew, as somebody would who wants it unseen."""
    from handover.build import sums

    change(folder)
    (folder / "SHA256SUMS").write_text(sums(folder))


def rewritten(change, stem="confirmed"):
    def apply(folder):
        path = next((folder / "data").glob(f"{stem}-*"))
        table = pq.read_table(path)
        new = change(table.to_pylist())
        pq.write_table(type(table).from_pylist(new, table.schema), path)

    return apply


def facts_changed(**keys):
    def apply(folder):
        path = folder / "release.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))

    return apply


def edit(name, old, new):
    def apply(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return apply


def first(**keys):
    return rewritten(lambda rows: [rows[0] | keys, *rows[1:]])


def foreign(asked=""):
    def change(rows):
        new = pair(99, "open", asked=asked)
        row = {"prompt": new["conversation"], "pair_id": new["pair_id"]} | {
            c: [{"role": "assistant", "content": new[c]}] for c in ("chosen", "rejected")
        }
        return sorted([*rows, rows[0] | row], key=lambda r: r["pair_id"])

    return rewritten(change)


TAMPERED = {
    "a text changed": (first(chosen=[{"role": "assistant", "content": "Buy."}]), "its texts or their order are not those"),
    "a flag taken off": (rewritten(lambda rows: [r | {"flipped": False} for r in rows], "flipped"),
                         "rule 'flipped both_reject' and flipped = false"),
    "an order turned": (rewritten(lambda rows: [rows[0] | {"chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]},
                                                *rows[1:]]), "its texts or their order are not those"),
    "a row taken out": (rewritten(lambda rows: rows[1:]), "7 rows, release.json says 8"),
    "a row twice": (rewritten(lambda rows: [rows[0], *rows]), "stands twice"),
    "a row from elsewhere": (foreign(), "9 rows, release.json says 8"),
    "rows out of order": (rewritten(lambda rows: rows[::-1]), "is out of order"),
    "another license": (first(license="MIT"), "license 'MIT', release.json says"),
    "a source that is left out": (first(source="shut"), "source 'shut' may not be passed on"),
    "a source nobody knows": (first(source="elsewhere"), "source 'elsewhere' is not among those of release.json"),
    "a column renamed": (lambda f: [pq.write_table(pq.read_table(p).rename_columns(
        ["conversation", *pq.read_table(p).column_names[1:]]), p) for p in (f / "data").glob("*")],
        "columns conversation, chosen"),
    "another rule": (edit("rule.json", '"both"', '"gold_only"'), "rule.json: is the rule v2 gold_only"),
    "no rule": (lambda f: (f / "rule.json").unlink(), "rule.json: missing, and release.json names the rule"),
    "no licenses": (lambda f: (f / "LICENSES.md").unlink(), "LICENSES.md: missing; a release holds"),
    "other counts": (facts_changed(pairs=13), "12 rows in all, release.json says 13"),
    "a shard taken out": (lambda f: next((f / "data").glob("flipped-*")).unlink(), "missing, is named in release.json"),
    "a format of tomorrow": (facts_changed(format=2), "format 2, this Assay reads 1"),
    "a shard that is none": (lambda f: next((f / "data").glob("flipped-*")).write_bytes(b"PAR1"), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_a_changed_release_is_refused_with_its_line_even_where_the_sums_were_made_anew(release, tmp_path, how):
    change, line = TAMPERED[how]
    shutil.copytree(release, tmp_path / "out")
    assert verify(tmp_path / "out").faults == []
    tampered(tmp_path / "out", change)
    assert line in "\n".join(verify(tmp_path / "out").lines)


def test_every_file_is_summed_and_nothing_else_is_there(release, tmp_path):
    shutil.copytree(release, tmp_path / "out")
    (tmp_path / "out" / "extra.bin").write_bytes(b"x")
    (tmp_path / "out" / "USAGE.md").write_text("send money")
    (tmp_path / "out" / "plots" / "sources.png").unlink()
    (tmp_path / "out" / "plots" / "sources.png").symlink_to("/etc/hostname")
    lines = "\n".join(verify(tmp_path / "out").lines)
    for said in ("extra.bin: is in the folder and not in SHA256SUMS", "USAGE.md: its SHA-256 is not the listed one",
                 "plots/sources.png: is a link and no file"):  # fmt: skip
        assert said in lines
    (tmp_path / "out" / "SHA256SUMS").write_text("0" * 64 + "  ../../etc/passwd\n")
    assert verify(tmp_path / "out").lines == ["SHA256SUMS, line 1: not a checksum and a file of this folder"]
    assert verify(tmp_path / "nowhere").lines == [f"{tmp_path / 'nowhere'}: no such folder"]


@pytest.mark.parametrize("whole", [False, True])
def test_a_row_that_a_benchmark_asks_is_found(lake, tmp_path, whole):
    from curation.contamination import BenchmarkIndex
    from tests.support.releases import BENCHMARK

    index = BenchmarkIndex(["lamp"], ["1"], [BENCHMARK], 13)
    made(lake, tmp_path / "out", whole=whole)
    assert verify(tmp_path / "out", index).faults == []
    dirty = handed_lake(tmp_path / "dirty", pairs=[*pool(), pair(7, "wide", asked=f"{BENCHMARK} at night.")])
    made(dirty, tmp_path / "bad", whole=whole)
    [line] = verify(tmp_path / "bad", index).lines
    assert "shares with lamp 1: 'tell me in great detail how the lighthouse keeper of the northern island'" in line
    [note] = verify(tmp_path / "bad").notes
    assert note == "overlap with benchmarks was not looked for: no benchmark's prompts are at hand"


def test_the_command_writes_a_release_and_looks_at_it(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ASSAY_CONFIG", raising=False)
    handed_lake(tmp_path / "lake")
    config = tmp_path / "assay.toml"
    listed = "\n".join(
        "[[sources]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in source.items()) for source in SOURCES
    )
    config.write_text(f'name = "small"\n[lake]\npath = "lake"\nbuckets = 1\n{listed}\n')
    out = tmp_path / "out"
    assert main(["--config", str(config), "release", "corrected", str(out), "--jsonl"]) == 0
    said = capsys.readouterr().out
    assert "Left out: 6 pairs of shut (redistribution = false)" in said and "12 pairs, 4 of them flipped." in said
    assert main(["--config", str(config), "release", "verify", str(out)]) == 0
    next((out / "data").glob("flipped-*")).unlink()
    assert main(["--config", str(config), "release", "verify", str(out)]) == 1
    assert main(["--config", str(config), "release", "corected", str(tmp_path / "b")]) == 2
    assert "no such release: 'corected'" in capsys.readouterr().err
