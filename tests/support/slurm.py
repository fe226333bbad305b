"""Slurm's `srun` and `scontrol` as far as launch lines need them: the tasks of an allocation, all on this machine."""

import os
import stat
from pathlib import Path

SRUN = """#!{python}
import os, subprocess, sys
options, command, args = {{}}, [], sys.argv[1:]
while args and args[0].startswith("--"):
    name, _, value = args.pop(0)[2:].partition("=")
    options[name] = value
tasks, nodes = int(options["ntasks"]), int(options["nodes"])
here = {{**os.environ, "SLURM_NTASKS": str(tasks), "SLURM_JOB_NODELIST": "n[1-2]"}}
each = tasks // nodes
running = [
    subprocess.Popen(args, env={{**here, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i % each), "SLURM_NODEID": str(i // each)}})
    for i in range(tasks)
]
sys.exit(max(abs(p.wait()) for p in running))
"""
SCONTROL = "#!/bin/sh\nprintf '127.0.0.1\\nother\\n'\n"


def installed(folder: Path, python: str) -> dict[str, str]:
    """The environment of a machine with both programs, which are written to the folder."""
    folder.mkdir(parents=True)
    for name, text in (("srun", SRUN.format(python=python)), ("scontrol", SCONTROL)):
        path = folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
