"""Mean and deviation that values are scaled by: found on training rows, kept with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqkit.errors import RunError
from seqkit.storage import read_json, write_json

FILE = "scaling.json"


@dataclass(frozen=True)
class Scaling:
    """What one series is scaled by: `(value - mean) / scale`, both (D,) float64."""

    mean: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(values: np.ndarray) -> Scaling:
        """Mean and population deviation of each column of rows (T, D), NaN left out.

        A column that never changes, or has no value, keeps its size: its scale is 1.
        """
        real = ~np.isnan(values)
        count = np.maximum(real.sum(axis=0), 1)
        mean = np.where(real, values, 0.0).sum(axis=0) / count
        scale = np.sqrt(np.square(np.where(real, values - mean, 0.0)).sum(axis=0) / count)
        return Scaling(mean, np.where(scale > 1e-12 * np.maximum(1.0, np.abs(mean)), scale, 1.0))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """(..., D) in the data's unit -> float32, scaled."""
        return np.asarray((values - self.mean) / self.scale, dtype=np.float32)

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """(..., D) scaled -> float64, in the data's unit."""
        return np.asarray(np.asarray(scaled, dtype=np.float64) * self.scale + self.mean)


class Scaler:
    """The scaling of each series of a run.

    Args:
        each: every series has its own; one that was not trained on is scaled by what is known of it. Otherwise all
            share one, column by column.
    """

    def __init__(self, *, each: bool) -> None:
        self.each = each
        self.shared: Scaling | None = None
        self.named: dict[str, Scaling] = {}

    def fit(self, train: Mapping[str, np.ndarray]) -> None:
        """Learn from the training rows (T, D) of each series."""
        if self.each:
            self.named = {name: Scaling.of(rows) for name, rows in train.items()}
        else:
            self.shared = Scaling.of(np.concatenate(list(train.values())))

    def scaling(self, name: str, known: np.ndarray) -> Scaling:
        """What the series of a name is scaled by; `known` (T, D) are its rows up to now, for one that is new."""
        if self.shared is not None:
            return self.shared
        return self.named[name] if name in self.named else Scaling.of(known)

    def save(self, folder: Path) -> None:
        """Write the numbers into a folder."""
        shared = None if self.shared is None else _numbers(self.shared)
        write_json(folder / FILE, {"shared": shared, "series": {n: _numbers(s) for n, s in self.named.items()}})

    @staticmethod
    def load(folder: Path, columns: int) -> Scaler:
        """Read what `save` wrote. Raises RunError where it does not fit the columns."""
        kept = read_json(folder / FILE)
        scaler = Scaler(each=kept["shared"] is None)
        scaler.shared = None if kept["shared"] is None else _scaling(kept["shared"])
        scaler.named = {name: _scaling(numbers) for name, numbers in kept["series"].items()}
        for one in [*scaler.named.values(), *([scaler.shared] if scaler.shared else [])]:
            if one.mean.shape != (columns,) or one.scale.shape != (columns,):
                raise RunError(f"{folder / FILE}: does not have {columns} columns.", hint="Train the run again.")
        return scaler


def mase_scale(history: np.ndarray, season: int) -> np.ndarray:
    """(T, D) -> (D,): the mean absolute change from one season to the next, by which MASE divides (Hyndman and Koehler
    2006). NaN where a column has no two such values, or never changes."""
    if len(history) <= season:
        return np.full(history.shape[1], np.nan)
    changes = np.abs(history[season:] - history[:-season])
    real = ~np.isnan(changes)
    count = real.sum(axis=0)
    mean = np.where(real, changes, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(mean > 0.0, mean, np.nan)


def constant_columns(values: np.ndarray, columns: Sequence[str]) -> list[str]:
    """The columns of rows (T, D) that never change."""
    with np.errstate(invalid="ignore"):
        same = [bool(np.nanmin(column) == np.nanmax(column)) for column in values.T if not np.isnan(column).all()]
    there = [name for name, column in zip(columns, values.T, strict=True) if not np.isnan(column).all()]
    return [name for name, constant in zip(there, same, strict=True) if constant]


def _numbers(scaling: Scaling) -> dict[str, list[float]]:
    return {"mean": scaling.mean.tolist(), "scale": scaling.scale.tolist()}


def _scaling(numbers: Mapping[str, Sequence[float]]) -> Scaling:
    return Scaling(np.asarray(numbers["mean"], dtype=np.float64), np.asarray(numbers["scale"], dtype=np.float64))
