"""Files that are whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqkit import storage
from seqkit.errors import RunError


def test_state_round_trip_keeps_types_and_bits(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "numbers": [1, 2.5, True, None, "text"],
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 1: {"m": torch.randn(2, 3)}}, "groups": [{"lr": 0.1}]},
        "half": torch.randn(4).bfloat16(),
        "empty": {},
    }
    storage.save_state(tmp_path, "state", state)
    loaded = storage.load_state(tmp_path, "state")
    assert loaded["numbers"] == state["numbers"]
    assert set(loaded["optimizer"]["state"]) == {0, 1}
    assert torch.equal(loaded["optimizer"]["state"][1]["m"], state["optimizer"]["state"][1]["m"])
    assert torch.equal(loaded["half"], state["half"])
    assert loaded["empty"] == {}
    assert not any(path.suffix not in (".json", ".safetensors") for path in tmp_path.iterdir())


def test_what_is_neither_json_nor_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="bad/0"):
        storage.save_state(tmp_path, "state", {"bad": [object()]})


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    storage.write_json(path, {"old": True})

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(RunError, match="No space left on device"):
        storage.write_json(path, {"new": True})
    assert storage.read_json(path) == {"old": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state-1"

    def crash() -> None:
        with storage.new_folder(path) as folder:
            (folder / "a").write_text("half")
            raise ValueError("crash")

    with pytest.raises(ValueError, match="crash"):
        crash()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".partial-state-1").mkdir()  # what a killed process left
    (tmp_path / ".partial-state-1" / "rest").write_text("")
    with storage.new_folder(path) as folder:
        (folder / "a").write_text("whole")
    assert [entry.name for entry in path.iterdir()] == ["a"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["state-1"]


def _damage(kind: str, path: Path) -> None:
    content = path.read_bytes()
    damages: dict[str, Any] = {
        "truncated": lambda: path.write_bytes(content[: len(content) // 2]),
        "empty": lambda: path.write_bytes(b""),
        "foreign": lambda: path.write_bytes(b"PK\x03\x04 this is no safetensors file"),
        "missing": path.unlink,
    }
    damages[kind]()


@pytest.mark.parametrize("kind", ["truncated", "empty", "foreign", "missing"])
@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_damaged_state_is_a_clear_error(tmp_path: Path, kind: str, name: str) -> None:
    storage.save_state(tmp_path, "state", {"weight": torch.randn(10)})
    _damage(kind, tmp_path / name)
    with pytest.raises(RunError, match=r"state\."):
        storage.load_state(tmp_path, "state")
