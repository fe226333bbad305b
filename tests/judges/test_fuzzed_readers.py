"""Half a minute of coverage-guided inputs for every reader of what comes from outside."""

import re
import subprocess
import sys

import pytest

from tests.support.places import ROOT

pytest.importorskip("atheris", reason="atheris, the fuzzer, is not installed: it has wheels for Linux only")
READERS = (
    "chat",
    "message",
    "openai_line",
    "anthropic_line",
    "headers",
    "errors",
    "answers",
    "people",
    "config",
    "footer",
)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_no_input_brings_a_reader_to_raise_or_hang(tmp_path, reader):
    command = [sys.executable, "-m", "tests.support.fuzz", reader, "30", str(tmp_path / "corpus")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(re.search(r"number_of_executed_units: (\d+)", done.stderr)[1]) > 1000
