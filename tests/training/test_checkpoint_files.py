"""A checkpoint is data: one that names code, or is damaged, is refused by name before anything of it is loaded."""

import json
import os
from pathlib import Path

import pytest
import torch

from training.checkpoint import DamagedCheckpoint, pointed_to, refuse_code


class Command:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def folder(root: Path, **files: object) -> Path:
    made = root / "checkpoints" / "step_2"
    made.mkdir(parents=True)
    torch.save({"module": {"w": torch.ones(3)}, "step": 2}, made / "mp_rank_00_model_states.pt")
    for name, content in files.items():
        torch.save(content, made / f"{name}.pt")
    return made


def test_weights_are_taken(tmp_path):
    refuse_code(folder(tmp_path, optim={"state": {0: {"exp_avg": torch.zeros(2)}}, "groups": [{"lr": 1e-3}]}))


@pytest.mark.parametrize("old", [False, True])
def test_a_file_that_runs_something_is_refused_and_does_not(tmp_path, old):
    ran = tmp_path / "ran"
    made = folder(tmp_path)
    torch.save({"w": Command(f"touch {ran}")}, made / "optim.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(DamagedCheckpoint, match=r"optim\.pt .*; remove .*/checkpoints to begin anew"):
        refuse_code(made)
    assert not ran.exists()


@pytest.mark.parametrize("harm", ["truncated", "empty", "text"])
def test_a_damaged_file_is_named(tmp_path, harm):
    made = folder(tmp_path)
    file = made / "mp_rank_00_model_states.pt"
    whole = file.read_bytes()
    file.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"no checkpoint"}[harm])
    with pytest.raises(DamagedCheckpoint, match=r"mp_rank_00_model_states\.pt cannot be read"):
        refuse_code(made)


@pytest.mark.parametrize("tag", ["step_2", "../../elsewhere", "step_2/../../x", "/step_2", 2])
@pytest.mark.parametrize("cut", [None, 0, 9, -2])
def test_a_pointer_that_names_no_checkpoint_of_its_folder_is_refused_by_name(tmp_path, tag, cut):
    said = {"tag": tag, "state": {}, "fingerprint": "f", "world": 1, "zero_stage": 0}
    pointer = tmp_path / "checkpoints" / "last.json"
    assert pointed_to(pointer) is None
    pointer.parent.mkdir()
    pointer.write_text(json.dumps(said)[:cut])
    if tag == "step_2" and cut is None:
        assert pointed_to(pointer) == said
        return
    with pytest.raises(DamagedCheckpoint, match=r"last\.json names no .*; remove .*/checkpoints to begin anew"):
        pointed_to(pointer)


def test_a_checkpoint_that_is_gone_is_named(tmp_path):
    with pytest.raises(DamagedCheckpoint, match="no checkpoint is there"):
        refuse_code(tmp_path / "step_2")
