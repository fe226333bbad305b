"""A process that has imported what training programs import, and forks them: a start costs a tenth of a second instead of
four. For programs of one process on CPUs; CUDA does not survive a fork.

    python -m training.forkserver SOCKET

The server belongs to the process that started it and ends with it, and what it forked ends with who asked for it (the
guard, see supervise).
"""

import atexit
import contextlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

PROGRAMS = ("training.train", "training.score")
IMPORTED = (
    *PROGRAMS,
    "deepspeed",
    "transformers.masking_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
)
STARTED_S = 120.0


# ---- for who starts programs -----------------------------------------------------------------------------------------
class ForkServer:
    """A server that this process started, and the variables it was started with."""

    def __init__(self, env: dict[str, str]):
        self.env = env
        self.folder = Path(tempfile.mkdtemp(prefix="assay-forkserver-"))
        self.socket = self.folder / "socket"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "training.forkserver", str(self.socket)],
            env=os.environ | env,
            stdin=subprocess.PIPE,  # it ends when this pipe closes
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the guards, and these what was forked for them
        )

    def end(self) -> None:
        """With it ends what it forked."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)


_own: tuple[int, ForkServer] | None = None
_lock = threading.Lock()


def address(env: dict[str, str]) -> Path | None:
    """The socket of this process's server, which is started where there is none; None on a machine with a GPU.

    Args:
        env: variables of the programs that are fixed when packages are imported, such as the number of threads.
    """
    global _own
    if Path("/dev/nvidiactl").exists():
        return None
    with _lock:
        if _own and _own[0] != os.getpid():
            _own = None  # this process was forked from the server's owner
        if _own and (_own[1].env != env or _own[1].process.poll() is not None):
            _own[1].end()
            _own = None
        if _own is None:
            _own = os.getpid(), ForkServer(env)
            atexit.register(_own[1].end)
        return _own[1].socket


# ---- for the guard ---------------------------------------------------------------------------------------------------
class Forked:
    """A program that a server forked; what `subprocess.Popen` has of it.

    Raises:
        OSError: there is no server, or it ended.
    """

    def __init__(self, address: Path, module: str, arguments: list[str], env: dict[str, str], stdout: int, stderr: int):
        self.connection = _connected(address)
        told = json.dumps({"module": module, "arguments": arguments, "env": env, "cwd": os.getcwd()}).encode()
        socket.send_fds(self.connection, [struct.pack("!Q", len(told))], [stdout, stderr])
        self.connection.sendall(told)
        self.pid: int = struct.unpack("!q", _exactly(self.connection, 8))[0]
        self.status: int | None = None

    def poll(self) -> int | None:
        if self.status is None:
            self.connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self._read()
        return self.status

    def wait(self) -> int | None:
        if self.status is None:
            self.connection.setblocking(True)
            self._read()
        return self.status

    def _read(self) -> None:
        try:
            self.status = struct.unpack("!q", _exactly(self.connection, 8))[0]
        except EOFError:
            self.status = -signal.SIGKILL  # the server ended, and with it what it forked


def _connected(address: Path) -> socket.socket:
    """The server listens before it imports, so there is little to wait for."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(STARTED_S)
    for left in range(200, -1, -1):
        try:
            connection.connect(str(address))
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            if not left or not address.parent.exists():
                raise
            threading.Event().wait(0.02)
    raise AssertionError


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = connection.recv(size, socket.MSG_WAITALL)
    if len(found) < size:
        raise EOFError
    return found


# ---- the server ------------------------------------------------------------------------------------------------------
def serve(path: Path) -> None:
    """Fork a program for each connection, tell its process id and its exit status, until stdin closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    _import()
    running: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
    with selectors.DefaultSelector() as events:
        events.register(0, selectors.EVENT_READ, None)
        events.register(listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in events.select():
                if key.fd == 0:
                    for pid, _ in running.values():
                        _kill(pid)
                    shutil.rmtree(path.parent, ignore_errors=True)
                    return
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    with contextlib.suppress(EOFError, OSError):
                        pid = _fork(connection, listener)
                        watch = os.pidfd_open(pid)
                        running[watch] = pid, connection
                        events.register(watch, selectors.EVENT_READ, None)
                        events.register(connection, selectors.EVENT_READ, pid)
                        # last: who asked may be gone already, and then the program is ended as any other
                        connection.sendall(struct.pack("!q", pid))
                elif key.fd in running:
                    pid, connection = running.pop(key.fd)
                    events.unregister(key.fd)
                    os.close(key.fd)
                    with contextlib.suppress(KeyError):
                        events.unregister(connection)
                    with contextlib.suppress(OSError):
                        connection.sendall(struct.pack("!q", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
                    connection.close()
                elif key.data is not None:  # who asked says no more, so it is gone
                    events.unregister(key.fileobj)
                    _kill(key.data)


def _import() -> None:
    import gc
    import importlib

    for name in IMPORTED:
        with contextlib.suppress(ImportError):  # the program that needs it says so
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _fork(connection: socket.socket, listener: socket.socket) -> int:
    head, fds, _, _ = socket.recv_fds(connection, 8, 2)
    if len(head) < 8:
        raise EOFError
    job = json.loads(_exactly(connection, struct.unpack("!Q", head)[0]))
    pid = os.fork()
    if pid == 0:
        listener.close()
        os._exit(_run(job, fds))
    for fd in fds:
        os.close(fd)
    return pid


def _run(job: dict[str, Any], fds: list[int]) -> int:
    """The program, in the child, as `python -m module arguments` runs it."""
    from training.supervise import die_with_parent

    status = 1
    try:
        die_with_parent()
        os.setsid()
        for target, fd in enumerate([os.open(os.devnull, os.O_RDONLY), *fds]):
            os.dup2(fd, target)
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["env"])
        sys.argv = [job["module"], *job["arguments"]]
        sys.modules.pop(job["module"], None)  # it runs as __main__, as it does by itself
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()  # ty: ignore[missing-attribute]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
    return status


def _kill(group: int) -> None:
    for send in (os.killpg, os.kill):  # it may not have its group yet
        with contextlib.suppress(ProcessLookupError):
            send(group, signal.SIGKILL)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
    os._exit(0)  # at once: there is nothing to write
