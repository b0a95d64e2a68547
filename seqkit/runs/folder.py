"""A run folder: self-contained, versioned, written once, and locked while it is trained.

run.json              format, recipe (name, version, hash), preset, seed, versions, machine, state of the training
config.yaml           the whole configuration, every default resolved
recipe/               a copy of the recipe's files, for the record: loading a run never executes it
frontend/             tokenizer, labels, statistics
weights.safetensors   the chosen weights (the best, or the average of the best)
calibration.json      what was fitted after training
data.json             the description of the data, with a fingerprint of each split
metrics.jsonl         a line per step and per evaluation
results.json          the metrics of each split that was evaluated
checkpoints/          the last state, and the weights of the best evaluations
plots/                curves, matrices, reports
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqkit.config import Config, to_yaml
from seqkit.errors import RunError
from seqkit.storage import disk_errors, read_json, write_bytes, write_json

FORMAT = 1
"""Version of the layout; a run of a newer format is refused."""
LOCK = ".lock"
"""The file that a training holds locked."""
_FIRST = {LOCK, ".partial-run.json"}  # what `create` makes before run.json is there
_RECIPE_KEYS = {"name", "version", "sha256", "built_in", "folder"}


class Run:
    """A run folder's places and its `run.json`. Make one with `create` or `open`."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info = info

    @staticmethod
    def check_free(path: Path, *, overwrite: bool = False) -> None:
        """Raise RunError where a new run cannot be made at `path`: asked before any long work is begun."""
        if not path.exists() or (path.is_dir() and {entry.name for entry in path.iterdir()} <= _FIRST):
            return
        if not overwrite:
            raise RunError(
                f"{path} exists already, and nothing is overwritten unasked.",
                hint="Give another --out, resume it with 'seqkit train --resume', or add --overwrite.",
            )
        if not (path / "run.json").is_file():
            raise RunError(
                f"{path} is not a run folder, so --overwrite does not remove it.", hint="Give another --out."
            )

    @classmethod
    def create(cls, path: Path, info: dict[str, Any], config: Config, *, overwrite: bool = False) -> Run:
        """Claim a new folder. An existing run is refused, or with `overwrite` removed; anything else is never removed.

        Raises RunError where the folder is taken or cannot be written.
        """
        cls.check_free(path, overwrite=overwrite)
        run = cls(path, {"format": FORMAT, **info})
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        with run.lock():
            # run.json goes last and comes first: killed anywhere in between, this is a run that can be overwritten.
            with disk_errors(path):
                _clear(path, but=("run.json", LOCK))
            run.save()
            with disk_errors(path):
                for folder in ("frontend", "checkpoints", "plots"):
                    (path / folder).mkdir()
            write_bytes(path / "config.yaml", to_yaml(config).encode())
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open an existing run. Raises RunError where the folder is not one, or is of a newer format."""
        if not path.is_dir():
            raise RunError(f"There is no run folder {path}.", hint="'seqkit train' makes one; its last line names it.")
        if not (path / "run.json").is_file():
            raise RunError(f"{path} is not a run folder: it has no run.json.", hint="Name the folder that was trained.")
        info = read_json(path / "run.json")
        foreign = RunError(f"{path / 'run.json'}: not the description of a run.", hint="The run is damaged.")
        if not isinstance(info, dict) or not isinstance(info.get("format"), int):
            raise foreign
        if info["format"] > FORMAT:
            raise RunError(
                f"{path} has run format {info['format']}; this seqkit reads up to {FORMAT}.", hint="Upgrade seqkit."
            )
        recipe = info.get("recipe")
        if "state" not in info or not isinstance(recipe, dict) or not recipe.keys() >= _RECIPE_KEYS:
            raise foreign
        return cls(path, info)

    def save(self, **changes: Any) -> None:
        """Write run.json, with `changes` merged in."""
        self.info.update(changes)
        write_json(self.path / "run.json", self.info)

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def frontend(self) -> Path:
        """The folder of the fitted front-end."""
        return self.path / "frontend"

    @property
    def weights(self) -> Path:
        """The chosen weights, there once training has ended."""
        return self.path / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of the training state and of the best weights."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """The folder of pictures and reports."""
        return self.path / "plots"

    @property
    def log(self) -> Path:
        """The metrics of each step and evaluation, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def data(self) -> Path:
        """The description of the data, with fingerprints."""
        return self.path / "data.json"

    def record_result(self, split: str, result: dict[str, Any]) -> None:
        """Keep the metrics of a split in results.json, beside those of other splits."""
        path = self.path / "results.json"
        results = read_json(path) if path.is_file() else {}
        write_json(path, {**results, split: result})

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for training; a second training into it is refused. The system frees it if the process dies."""
        with disk_errors(self.path):
            descriptor = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(
                    f"{self.path} is being trained by another process.", hint="Wait for it, or give another --out."
                ) from error
            _locks.add(descriptor)
            yield
        finally:
            _locks.discard(descriptor)
            os.close(descriptor)


_locks: set[int] = set()


def _leave_locks() -> None:
    """Close a forked child's copies of its parent's locks: worker processes outlive a killed training by seconds."""
    for descriptor in _locks:
        os.close(descriptor)
    _locks.clear()


os.register_at_fork(after_in_child=_leave_locks)


def _clear(folder: Path, *, but: tuple[str, ...]) -> None:
    """Remove what is in a folder, but the entries of these names."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in but:
            entry.unlink()


def free_name(base: Path) -> Path:
    """`base`, or `base-2`, `base-3`, ... where it is taken."""
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path
