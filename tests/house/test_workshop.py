"""What everybody's first minute depends on: pinned versions that fit, and imports that stay light."""

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.support.places import ROOT

HEAVY = (
    *("torch", "transformers", "deepspeed", "lancedb", "scipy", "sklearn", "matplotlib"),
    *("openai", "anthropic", "datasets", "presidio_analyzer", "jinja2", "rensa"),
)
CPU_SECONDS = 15.0  # a few times what an idle core needs


def test_constraints_are_names_and_exact_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)]
    assert "torch" in {line.partition("==")[0] for line in lines}, "the build that make installs is chosen by it"


def test_every_requirement_is_pinned_to_a_version_that_it_allows():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {_spelled(name): version for name, _, version in (line.partition("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    wrong = [
        text
        for text in wanted
        for r in [Requirement(text)]
        if r.name != project["name"] and not r.specifier.contains(pinned.get(_spelled(r.name), "0"), prereleases=True)
    ]
    assert not wrong, "`make constraints` renews the file"


def _spelled(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("module", ["assets.definitions", "cli.main"])
def test_every_step_and_every_command_is_a_new_process_so_nothing_heavy_is_imported(module: str):
    code = f"import sys, time, {module};print([m for m in {HEAVY} if m in sys.modules], time.process_time(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy, seconds = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < CPU_SECONDS
