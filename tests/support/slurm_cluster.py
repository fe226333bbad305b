"""A real Slurm of two nodes on this machine: Debian's slurmctld and munge here, a slurmd in each of two hosts."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.hosts import Host, hosts
from training.launch import environment

CONFIGURATION = """
ClusterName=assay
SlurmctldHost={name}({here})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=10
CredType=cred/munge
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=5
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol")


@dataclass(frozen=True)
class Cluster:
    """Its nodes, this machine's address in their network, and the environment that its commands want."""

    nodes: list[Host]
    here: str
    env: dict[str, str]

    def say(self, *line: str, **more: str) -> str:
        """The output of one of Slurm's commands."""
        env = {**os.environ, **environment(1), **self.env, **more}
        done = subprocess.run(line, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, *line: str, **more: str) -> str:
        """A job's number."""
        return self.say("sbatch", "--parsable", *line, **more).strip()

    def state(self, number: str) -> set[str]:
        """Of a job, or of all tasks of an array."""
        shown = self.say("scontrol", "show", "job", number)
        return {word.removeprefix("JobState=") for word in shown.split() if word.startswith("JobState=")}


@contextlib.contextmanager
def cluster() -> Generator[Cluster]:
    """Two nodes of one processor each, alpha and beta; skips where Slurm is not installed."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    programs = {name: shutil.which(name, path=path) for name in PROGRAMS}
    if missing := [name for name, found in programs.items() if found is None]:
        pytest.skip(f"no {missing[0]}: apt-get install slurmctld slurmd slurm-client munge")
    with tempfile.TemporaryDirectory(prefix="assay-slurm-") as name, hosts("alpha", "beta") as (nodes, here):
        folder, started = Path(name), []
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        listed = "\n".join(
            f"NodeName={n.name} NodeAddr={n.address} CPUs=1 RealMemory=1000 State=UNKNOWN" for n in nodes
        )
        made = CONFIGURATION.format(name=socket.gethostname(), here=here, folder=folder, nodes=listed)
        (folder / "slurm.conf").write_text(made)
        (folder / "state").mkdir()
        env = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        files = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
        files |= {"seed-file": "munge.seed"}
        munge = [str(programs["munged"]), "--foreground", "--force", *(f"--{k}={folder / v}" for k, v in files.items())]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            started.append(subprocess.Popen(munge, **quiet))
            started.append(subprocess.Popen([str(programs["slurmctld"]), "-D"], env=os.environ | env, **quiet))
            for node in nodes:
                (folder / node.name).mkdir()
                started.append(node.start([str(programs["slurmd"]), "-D", "-N", node.name], env, **quiet))
            found = Cluster(nodes, here, env)
            until = time.monotonic() + 60
            while _idle(found) < len(nodes):
                assert time.monotonic() < until, (folder / "controller.log").read_text()[-3000:]
                time.sleep(0.5)
            yield found
        finally:
            for node in nodes:
                node.kill()
            for program in reversed(started):
                program.terminate()
            for program in started:
                program.wait(30)


def _idle(found: Cluster) -> int:
    shown = subprocess.run(
        ["sinfo", "-h", "-N", "-o", "%T"], env=os.environ | found.env, capture_output=True, text=True
    )
    return shown.stdout.split().count("idle")
