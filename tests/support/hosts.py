"""Several hosts on this machine: each has its own network, name and processes, and all share the file system.

A host is a set of Linux namespaces (network, UTS, PID, mount) that one process keeps; the hosts' networks are joined by a
bridge that this machine is on too. Wants root.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.places import ROOT
from training.launch import environment
from training.supervise import die_with_parent

MADE = itertools.count()


@dataclass(frozen=True)
class Host:
    """One of them: the process that keeps it, its address, and the end of its cable on this machine's side."""

    name: str
    address: str
    keeper: int
    cable: str

    def start(self, line: Sequence[str], env: Mapping[str, str] | None = None, **options) -> subprocess.Popen:
        """A program on it, in this folder unless `cwd` says another."""
        enter = [
            "nsenter",
            "-t",
            str(self.keeper),
            "--net",
            "--uts",
            "--pid",
            "--mount",
            f"--wdns={options.pop('cwd', ROOT)}",
        ]
        # as many threads as on any other host: sums of other numbers of threads differ in their last bits
        whole = {**os.environ, **environment(1), "OMP_NUM_THREADS": "1", **(env or {})}
        return subprocess.Popen([*enter, *line], env=whole, text=True, **options)

    def run(self, line: Sequence[str], env: Mapping[str, str] | None = None, **options) -> subprocess.CompletedProcess:
        with self.start(line, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as program:
            out, err = program.communicate(timeout=600)
        return subprocess.CompletedProcess(line, program.returncode, out, err)

    def unplug(self) -> None:
        """From now on nothing that it sends arrives, its farewells neither."""
        _ip("link", "set", self.cable, "down")

    def kill(self) -> None:
        """All its processes end at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.keeper, 9)


@contextlib.contextmanager
def hosts(*names: str) -> Generator[tuple[list[Host], str]]:
    """Hosts of these names, which know each other by them, and this machine's address; skips where there can be none."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("hosts need root, iproute2 and util-linux")
    net = (os.getpid() + 10 * next(MADE)) % 250
    bridge, here = f"assay{net}", f"10.77.{net}.254"
    made: list[Host] = []
    with tempfile.TemporaryDirectory(prefix="assay-hosts-") as folder:
        known = Path(folder) / "hosts"
        addresses = {name: f"10.77.{net}.{i + 1}" for i, name in enumerate(names)}
        known.write_text(
            "127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in addresses.items()) + f"{here} here\n"
        )
        try:
            added = subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], capture_output=True, text=True)
            if "not supported" in added.stderr or "not permitted" in added.stderr:
                pytest.skip(f"no bridge can be made: {added.stderr.strip()}")
            assert added.returncode == 0, added.stderr
            _ip("addr", "add", f"{here}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            for i, (name, address) in enumerate(addresses.items()):
                made.append(Host(name, address, _keeper(name, known), f"{bridge}v{i}"))
                keeper = str(made[-1].keeper)
                _ip("link", "add", made[-1].cable, "type", "veth", "peer", "name", "eth0", "netns", keeper)
                _ip("link", "set", made[-1].cable, "master", bridge, "up")
                for more in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
                    subprocess.run(["nsenter", "-t", keeper, "--net", "ip", *more.split()], check=True)
            yield made, here
        finally:
            for host in made:
                host.kill()
            subprocess.run(["ip", "link", "del", bridge], capture_output=True)


def _keeper(name: str, known: Path) -> int:
    """The id of a process that is alone in new namespaces, the first of its host."""
    script = f'mount --bind "{known}" /etc/hosts && hostname {name} && exec sleep infinity'
    shares = ["--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # once its process group is gone it says so, and nobody needs to know
    start = ["unshare", *shares, "sh", "-c", script]
    outside = subprocess.Popen(start, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    for _ in range(200):
        inside = children.read_text().split() if outside.poll() is None else []
        if inside and Path(f"/proc/{inside[0]}/comm").read_text() == "sleep\n":
            return int(inside[0])
        time.sleep(0.05)
    outside.kill()
    pytest.skip("this kernel makes no namespaces")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
