"""Runs a command in its own process group and ends the whole group when those it works for are gone.

    python -m training.supervise --for PID[,PID…] [--log FILE] [--fork-from SOCKET] -- COMMAND…

Launchers leave their ranks alive, with the accelerators' memory, when the process that started them is killed. The
guard watches the given processes (by start time, so that a reused id is not taken for them) and its own signals; it
sends SIGTERM to the group, SIGKILL after a grace period, and passes the command's exit status on. With --log, what
the command writes to stderr also goes to a file, for the error message of whoever started it. With --fork-from, the
command is `PYTHON -m MODULE …` and a server forks it (see forkserver); where there is none it is started as any other.
Linux.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.forkserver import Forked

POLL_S = 0.25
GRACE_S = 5.0
RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def started(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def began(pid: int) -> float | None:
    """When a process began, in seconds since 1970; None if it is gone or a zombie."""
    ticks = started(pid)
    if ticks is None:
        return None
    return booted() + int(ticks) / os.sysconf("SC_CLK_TCK")


def booted() -> int:
    """When the machine was started, in seconds since 1970; moves when its clock is set."""
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    return int(boot.split()[1])


def boot_id() -> str:
    """Which start of the machine this is; no clock changes it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent ends: for ranks whose launcher is killed.

    Args:
        parent: who the parent was at the start, where that is known; it may have ended before this call.
    """
    parent = parent or os.getppid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def run(command: list[str], watched: list[int], log: Path | None = None, server: Path | None = None) -> int:
    """Run `command` to its end, or to the end of any watched process.

    Args:
        server: the socket of one that forks it.

    Returns:
        its exit status, 128 + n after signal n.
    """
    alive = {pid: started(pid) for pid in watched}
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: stop.append(n))
    # The command begins a world of its own, even when this process is a rank of another.
    env = {k: v for k, v in os.environ.items() if k not in RANK_VARIABLES}
    read, write = os.pipe() if log else (-1, 2)
    child = _started(command, env, write, server)
    copy = threading.Thread(target=_copy, args=(read, log), daemon=True) if log else None
    if copy:
        os.close(write)
        copy.start()
    while (status := child.poll()) is None:
        if stop or any(since is None or started(pid) != since for pid, since in alive.items()):
            _end(child)
            return 128 + (stop[0] if stop else signal.SIGKILL)
        time.sleep(POLL_S)
    _kill(child.pid, signal.SIGKILL)  # ranks that outlived their launcher
    if copy:
        copy.join(GRACE_S)
    return status if status >= 0 else 128 - status


def _started(command: list[str], env: dict[str, str], stderr: int, server: Path | None) -> "subprocess.Popen | Forked":
    if server:
        from training.forkserver import Forked

        with contextlib.suppress(OSError, EOFError):
            return Forked(server, command[2], command[3:], env, 1, stderr)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent, stderr=stderr, env=env)


def _copy(source: int, log: Path) -> None:
    with log.open("wb", buffering=0) as file:
        while data := os.read(source, 1 << 16):
            file.write(data)
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()


def _end(child: "subprocess.Popen | Forked") -> None:
    _kill(child.pid, signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until and child.poll() is None:
        time.sleep(0.05)
    _kill(child.pid, signal.SIGKILL)
    child.wait()


def _kill(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.supervise", description=__doc__.splitlines()[0])
    parser.add_argument("--for", dest="watched", required=True, help="process ids, comma-separated")
    parser.add_argument("--log", type=Path, help="file that gets a copy of the command's stderr")
    parser.add_argument("--fork-from", type=Path, help="socket of a server that forks the command")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    return run(command, [int(p) for p in args.watched.split(",")], args.log, args.fork_from)


if __name__ == "__main__":
    sys.exit(main())
