"""Checkpoints: whole or not at all, and the one before serves when the newest is damaged."""

import pytest
import torch

from ddrep_core.errors import RunError
from ddrep_core.jobs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint


def checkpoint(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "theta": torch.randn(5, 3, generator=generator),
        "moments": torch.randn(2, 4, dtype=torch.float64, generator=generator).T,  # not contiguous
        "generator": generator.get_state(),
    }
    return Checkpoint(tensors, {"position": step, "disagreement": None, "seconds": {"total": 0.1}})


def equal(a: Checkpoint, b: Checkpoint) -> bool:
    return a.numbers == b.numbers and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def test_what_was_written_is_read(tmp_path):
    for step in range(5):
        write_checkpoint(tmp_path, checkpoint(step))
    found, complaints = read_checkpoint(tmp_path)
    assert found is not None and equal(found, checkpoint(4)) and not complaints
    assert len(list(tmp_path.iterdir())) == 2


def damage_truncate(path):
    file = path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def damage_flip(path):
    file = path / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


def damage_numbers(path):
    file = path / "state.json"
    file.write_text(file.read_text().replace('\\"position\\": 1', '\\"position\\": 7'))


def damage_json(path):
    file = path / "state.json"
    file.write_bytes(file.read_bytes()[:20])


def damage_remove(path):
    (path / "state.safetensors").unlink()


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_numbers, damage_json, damage_remove])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage):
    write_checkpoint(tmp_path, checkpoint(0))
    newest = write_checkpoint(tmp_path, checkpoint(1))
    damage(newest)
    found, complaints = read_checkpoint(tmp_path)
    assert found is not None and equal(found, checkpoint(0))
    assert len(complaints) == 1 and newest.name in complaints[0]
    damage(tmp_path / "000000") if damage is not damage_numbers else damage_remove(tmp_path / "000000")
    found, complaints = read_checkpoint(tmp_path)
    assert found is None and len(complaints) == 2


def test_a_half_written_checkpoint_does_not_count(tmp_path):
    write_checkpoint(tmp_path, checkpoint(0))
    half = tmp_path / "000001.part"
    half.mkdir()
    (half / "state.json").write_text("{")
    found, complaints = read_checkpoint(tmp_path)
    assert found is not None and equal(found, checkpoint(0)) and not complaints
    write_checkpoint(tmp_path, checkpoint(2))
    assert not half.exists()


def test_none_where_there_is_nothing(tmp_path):
    assert read_checkpoint(tmp_path / "absent") == (None, [])


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "checkpoint", checkpoint(0))
