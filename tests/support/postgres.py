"""A real PostgreSQL server in a folder of its own."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from training.launch import free_port

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@contextlib.contextmanager
def server(address: str = "127.0.0.1") -> Generator[str]:
    """Its URL at an address of this machine, for whoever is in the same network; skips where there is no PostgreSQL, or no
    `dagster-postgres`."""
    pytest.importorskip("dagster_postgres")
    programs = shutil.which("pg_ctl") or next((str(p / "pg_ctl") for p in PLACES), None)
    if programs is None:
        pytest.skip("no PostgreSQL here")
    place, port = Path(programs).parent, free_port()
    # not under the tests' folder, which each run of tests makes its own user's alone: the server runs as another
    with tempfile.TemporaryDirectory(prefix="assay-postgres-") as folder:
        Path(folder).chmod(0o777)
        data = f"{folder}/data"
        _as_nobody_special([str(place / "initdb"), "-D", data, "-U", "assay", "--auth=trust"])
        with open(f"{data}/pg_hba.conf", "a", encoding="utf-8") as allowed:
            allowed.write("host all all samenet trust\n")
        options = f"-p {port} -c unix_socket_directories='' -c listen_addresses={address} -c fsync=off"
        _as_nobody_special([str(place / "pg_ctl"), "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start"])
        try:
            yield f"postgresql+psycopg2://assay@{address}:{port}/postgres"
        finally:
            _as_nobody_special([str(place / "pg_ctl"), "-D", data, "-m", "immediate", "stop"])


def _as_nobody_special(command: Sequence[str]) -> None:
    """PostgreSQL refuses to run as root."""
    who = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*who, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")
