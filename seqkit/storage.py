"""Files that are whole or absent: atomic writes, and nested state as safetensors + JSON, never as a pickle.

A file or folder is written beside its place under a temporary name, flushed to the disk, and renamed; a crash leaves
the old one as it was. A full disk becomes a `RunError` that says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkit.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

_TENSOR = "$tensor"
_TEMPORARY = ".partial-"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the body into a RunError that names the path and what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written: {error.strerror or error}.",
            hint="What stood there before is untouched. Free space or mend the permissions, then go on with "
            "'seqkit train --resume RUN'.",
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises RunError where the disk refuses."""
    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    with disk_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented for reading."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises RunError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise RunError(f"{path}: cannot be read: {reason}.", hint="The run is incomplete or damaged.") from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when the body has filled it. `path` must not exist.

    Yields the temporary folder to write into. What an earlier crash left under the temporary name is removed.
    """
    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    with disk_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with disk_errors(path):
            _sync(temporary)
            temporary.rename(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what killed processes left below a folder under temporary names; returns what it was."""
    found = sorted(folder.rglob(f"{_TEMPORARY}*"))
    with disk_errors(folder):
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # it may have stood in a folder that is gone
    return found


def _sync(folder: Path) -> None:
    """Flush a folder's own entries, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as one safetensors file, atomically. Shared storage is written once per name."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(whole))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU. Raises RunError where it is missing, truncated or of another format."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}.", hint="The run has no weights there.") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(
            f"{path}: not a whole safetensors file ({error}).",
            hint="It is truncated or comes from elsewhere; take a copy of the run, or train again.",
        ) from error


def save_state(folder: Path, name: str, state: Any) -> None:
    """Write nested dicts, lists, numbers, texts and tensors as `name.safetensors` and `name.json`.

    A dict's keys may be texts or whole numbers (as in an optimizer's state); both come back as they were.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _take_out(state, "", tensors)
    save_tensors(folder / f"{name}.safetensors", tensors)
    write_json(folder / f"{name}.json", skeleton)


def load_state(folder: Path, name: str) -> Any:
    """Read what `save_state` wrote. Raises RunError where a file is missing or damaged."""
    skeleton = read_json(folder / f"{name}.json")
    tensors = load_tensors(folder / f"{name}.safetensors")
    try:
        return _put_back(skeleton, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / name}.json: does not fit its tensors.", hint="The run is damaged.") from error


def _take_out(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A JSON image of `value`; tensors move to `tensors` and leave their name behind."""
    import torch

    if isinstance(value, torch.Tensor):
        tensors[path] = value
        return {_TENSOR: path}
    if isinstance(value, Mapping):
        # JSON keys are texts: a list of pairs keeps whole-number keys whole.
        return {"$items": [[key, _take_out(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, tuple | list):
        return [_take_out(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: {type(value).__name__} cannot be stored as JSON or as a tensor")


def _put_back(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_back(item, tensors) for item in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _put_back(item, tensors) for key, item in value["$items"]}
    return value
