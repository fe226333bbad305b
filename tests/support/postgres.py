"""A real PostgreSQL server in a folder of its own."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from training.launch import free_port

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@contextlib.contextmanager
def server(folder: Path) -> Generator[str]:
    """Its address as a URL; skips where there is no PostgreSQL, or no `dagster-postgres`."""
    pytest.importorskip("dagster_postgres")
    programs = shutil.which("pg_ctl") or next((str(p / "pg_ctl") for p in PLACES), None)
    if programs is None:
        pytest.skip("no PostgreSQL here")
    place, port = Path(programs).parent, free_port()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    for above in folder.parents:  # the server runs as somebody else where this is root
        if above.owner() == "root" and len(above.parts) > 2:
            above.chmod(above.stat().st_mode | 0o011)
    data = str(folder / "data")
    _as_nobody_special([str(place / "initdb"), "-D", data, "-U", "assay", "--auth=trust"])
    options = f"-p {port} -c unix_socket_directories='' -c listen_addresses=127.0.0.1 -c fsync=off"
    _as_nobody_special([str(place / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"])
    try:
        yield f"postgresql://assay@127.0.0.1:{port}/postgres"
    finally:
        _as_nobody_special([str(place / "pg_ctl"), "-D", data, "-m", "immediate", "stop"])


def _as_nobody_special(command: Sequence[str]) -> None:
    """PostgreSQL refuses to run as root."""
    who = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*who, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")
