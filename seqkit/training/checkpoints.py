"""Checkpoints: the last training state, whole or absent, and the weights of the best evaluations."""

from __future__ import annotations

import re
import shutil
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqkit.errors import RunError
from seqkit.runs.folder import Run
from seqkit.storage import (
    disk_errors,
    load_state,
    load_tensors,
    new_folder,
    remove_leftovers,
    save_state,
    save_tensors,
)


@dataclass
class Position:
    """Where a training is: everything about the loop that is not a tensor. Stored with each checkpoint."""

    epoch: int = 0
    """The epoch under way, from 0."""
    batch: int = 0
    """Batches of that epoch that are done."""
    step: int = 0
    """Optimizer steps done, skipped ones included."""
    tokens: int = 0
    """Real steps trained on."""
    count: float = 0.0
    """Terms of the loss summed over all steps."""
    skipped: int = 0
    """Batches left out for a non-finite loss or gradient."""
    stale: int = 0
    """Evaluations in a row without a better metric."""
    log_bytes: int = 0
    """Length of the metrics log; what a crash left behind it is cut off on resume."""
    best: list[tuple[float, int]] = field(default_factory=list)
    """(metric, step) of the kept evaluations, the best first."""
    finished: bool = False
    """Training has ended by itself: by its epochs, its steps, or early stopping."""


class Checkpoints:
    """The `checkpoints/` folder of a run: `state-N/` is the last state, `best-N.safetensors` the kept weights."""

    def __init__(self, run: Run) -> None:
        self.folder = run.checkpoints

    def _states(self) -> list[Path]:
        """The states' folders, the oldest first. There are two where a process was killed before it removed one."""
        found = [path for path in self.folder.glob("state-*") if re.fullmatch(r"state-\d+", path.name)]
        return sorted(found, key=self._number)

    def __bool__(self) -> bool:
        """Whether there is a state to go on from."""
        return bool(self._states())

    @staticmethod
    def _number(path: Path) -> int:
        return int(path.name.removeprefix("state-"))

    def _best(self, step: int) -> Path:
        return self.folder / f"best-{step}.safetensors"

    def save(self, position: Position, state: dict[str, Any]) -> None:
        """Write the training state; the older one goes only when the new one is whole."""
        older = self._states()
        number = 1 + max((self._number(path) for path in older), default=0)
        with new_folder(self.folder / f"state-{number}") as folder:
            save_state(folder, "state", {"position": asdict(position), **state})
        self._remove(older, position)

    def _remove(self, states: list[Path], position: Position) -> None:
        """Remove states, and the kept weights that `position` no longer names."""
        with disk_errors(self.folder):
            for folder in states:
                shutil.rmtree(folder)
            kept = {self._best(step) for _, step in position.best}
            for weights in set(self.folder.glob("best-*.safetensors")) - kept:
                weights.unlink()

    def load(self) -> tuple[Position, dict[str, Any]] | None:
        """The last whole state, or None where there is none yet; warns where a later one is damaged.

        What a killed process left beside it is removed. Raises RunError where every state is damaged.
        """
        states = self._states()
        damage: RunError | None = None
        for number, folder in reversed(list(enumerate(states))):
            try:
                position, state = self._read(folder)
            except RunError as error:
                damage = damage or error
                continue
            if damage is not None:
                warnings.warn(f"{damage.message} Going on from the checkpoint before it, {folder}.", stacklevel=2)
            # A damaged state stays until a whole one is written in its place.
            self._remove(states[:number], position)
            remove_leftovers(self.folder)
            return position, state
        if damage is not None:
            raise RunError(
                f"{damage.message} No other checkpoint is there to go on from.",
                hint=f"Take a copy of the run, or start it again with --out {self.folder.parent} --overwrite.",
            ) from damage
        return None

    def _read(self, folder: Path) -> tuple[Position, dict[str, Any]]:
        """A state and the position in it. Raises RunError where it, or weights that it names, are not whole."""
        state = load_state(folder, "state")
        try:
            position = Position(**state.pop("position"))
            position.best = [(float(value), int(step)) for value, step in position.best]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise RunError(f"{folder}: not a checkpoint of this version of seqkit.") from error
        for _, step in position.best:
            load_tensors(self._best(step))
        return position, state

    def save_best(self, step: int, weights: dict[str, Tensor]) -> None:
        """Keep the weights of an evaluation that is among the best."""
        save_tensors(self._best(step), weights)

    def average(self, position: Position) -> dict[str, Tensor]:
        """The mean of the kept weights (Polyak-style averaging of checkpoints); of one, that one bit for bit."""
        if not position.best:
            raise RunError(f"{self.folder}: no evaluation was kept, so there are no weights to choose.")
        kept = [load_tensors(self._best(step)) for _, step in position.best]
        if len(kept) == 1:
            return kept[0]
        return {name: _mean([weights[name] for weights in kept]) for name in kept[0]}


def _mean(tensors: list[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(tensors[0].dtype)
