"""One configuration run twice, with the tables in a folder and in a store of objects on this machine: the same versions?

    python -m measurements.object_store [CONFIG] [KEY=VALUE …]

The store is moto's server, a process of its own that shares the cores with the run. Prints JSON: seconds of each run, requests by
kind, partitions whose versions are equal and those that are not. Wants an idle machine for the seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from curation.tables import TABLES  # noqa: E402
from resources.lake import Lake, label  # noqa: E402
from tests.support.object_store import serving  # noqa: E402


def run(config: Path, folder: Path, changes: list[str]) -> float:
    """Seconds of `assay run` with a Dagster home of its own."""
    home = folder / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    line = [sys.executable, "-m", "cli.main", "run", "--jobs", "1", "--config", str(config)]
    line += [f"lake.path={folder / 'lake'}", f"people.folder={folder / 'people'}", *changes]
    began = time.monotonic()
    env = {**os.environ, "DAGSTER_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    (folder / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return time.monotonic() - began


def versions(lake: Lake) -> dict[str, str]:
    """The version of every partition."""
    storage = lake.pinned(TABLES.values()).storage
    return {label(t, key): storage.version(t, key) or "" for t in TABLES.values() for key in storage.keys(t)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", nargs="?", type=Path, default=ROOT / "assay.toml")
    parser.add_argument("changes", nargs="*", help="settings of both runs, such as world.pairs=700")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-object-store-") as name, serving(Path(name)) as store:
        here, there = Path(name) / "here", Path(name) / "there"
        tables = f"{store.bucket}/lake"
        config = args.config.resolve()
        found = {"folder_s": round(run(config, here, args.changes), 1)}
        began = len(store.requests())
        found["store_s"] = round(run(config, there, [*args.changes, f"lake.tables={tables}"]), 1)
        found["ratio"] = round(found["store_s"] / found["folder_s"], 2)
        asked = store.requests()[began:]
        one, other = versions(Lake(str(here / "lake"))), versions(Lake(str(there / "lake"), tables=tables))
        kinds = Counter(f"{r.split()[0]}{' log' if '_delta_log' in r else ''}" for r in asked if r.split())
        differ = sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))
        counts = {"partitions": len(one), "equal": len(one) - len(differ), "differ": differ}
        print(json.dumps({**found, "requests": len(asked), "by_kind": dict(kinds.most_common()), **counts}, indent=1))


if __name__ == "__main__":
    main()
