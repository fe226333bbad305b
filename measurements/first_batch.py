"""How long README's three lines take on a file, from the file to the first batch for people.

    python -m measurements.first_batch FILE

The commands run as a user gives them, in a new folder. Prints Markdown: seconds of each, and the size of the batch.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINES = (("init", "{file}"), ("check",), ("run",))


def main() -> None:
    file = Path(sys.argv[1]).absolute()
    here = str(Path(__file__).parents[1])
    env = {k: v for k, v in os.environ.items() if not k.startswith("ASSAY_") and not k.endswith("_API_KEY")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [here, env.get("PYTHONPATH", "")]))
    print("| command | seconds | status |\n|---|---:|---:|", flush=True)
    total = 0.0
    with tempfile.TemporaryDirectory(prefix="assay-first-") as folder:
        for line in LINES:
            start = time.monotonic()
            command = [sys.executable, "-m", "cli.main", *(word.format(file=file) for word in line)]
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
            took = time.monotonic() - start
            total += took
            print(f"| assay {' '.join(line).format(file=file.name)} | {took:.0f} | {done.returncode} |", flush=True)
        batches = sorted(Path(folder).rglob("batch.jsonl"))
        if not batches:
            raise SystemExit(re.sub(r"\s+", " ", (done.stdout + done.stderr)[-1500:]))
        print(f"| all, {sum(1 for _ in batches[0].open())} pairs for people | {total:.0f} | |")


if __name__ == "__main__":
    main()
