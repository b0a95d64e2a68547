"""From the errors of a detector to a score for each row, and from scores on normal rows to a threshold.

Squared errors are averaged over the rows just past, with weights that fall off, since one row says little; the score is
their mean, or their greatest, over the columns. A threshold is the score that a stated share of normal rows is above.

Shapes: T rows, D columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from seqkit.config import Config
from seqkit.errors import DataError
from seqkit.heads.rare_scores import EventScorer, OneAlarm, RareScorer, RecentMean
from seqkit.heads.tail_scores import TailScorer, tail_scores

Units = Literal["values", "errors"]


class ScoreConfig(Config):
    """How errors become scores, and scores flags."""

    method: Literal["errors", "tail", "rare"] = "errors"
    """`errors`: the size of the recent errors. `tail`: how unlikely they are among those of a long running window
    (Ahmad et al. 2017), in powers of ten, which follows a series whose errors change for good. `rare`: how large they
    are beside the rarest of a long running window, with one alarm for one event."""
    units: Units = "errors"
    """What an error of a column is measured in: `errors`, the errors that are usual on normal rows, so that a column
    that is easily foretold counts when it no longer is; `values`, the spread of the column itself."""
    combine: Literal["mean", "max"] = "mean"
    """The score is the mean of the columns' squared errors, or the greatest."""
    smooth: float = Field(default=10.0, ge=1.0)
    """Rows over which errors are averaged: the span n of an exponential average, with 2 / (n + 1) on the newest."""
    running_window: int = Field(default=8000, ge=2)
    """With `tail` and `rare`, rows of the long window."""
    warm_up: int = Field(default=100, ge=2)
    """With `tail` and `rare`, rows before the first score."""
    floor: float = Field(default=1e-3, gt=0.0)
    """With `tail`, the least deviation of errors; with `rare`, what is added to those compared with."""
    values: bool = False
    """With `tail` and `rare`, judge the sizes of the scaled values in the same way, and take the higher of the two
    scores: for a value that is unusual although it was foretold."""
    tail_recent: int = Field(default=10, ge=1)
    """With `tail`, newest rows whose mean is compared with the window."""
    tail_gap: int = Field(default=0, ge=0)
    """With `tail`, newest rows that the window leaves out, so that an anomaly does not widen what it is judged by."""
    rare_count: float = Field(default=20.0, gt=0.0)
    """With `rare`, rows of the window that may be above what an error is compared with, at most."""
    rare_share: float = Field(default=0.005, gt=0.0, lt=1.0)
    """With `rare`, the share of the window's rows that may, at most."""
    rare_mean: int = Field(default=20, ge=1)
    """With `rare`, rows over which errors are averaged with their signs and judged besides: an expectation that is off
    by a little in one direction for a while."""
    rare_half_life: float = Field(default=150.0, gt=0.0)
    """With `rare`, rows over which the height of an alarm falls by half, that scores after it must exceed to count."""
    false_alarms: float = Field(default=0.01, gt=0.0, lt=1.0)
    """Share of normal rows that may be flagged: the threshold is that quantile of their scores."""
    margin: float = Field(default=1.0, gt=0.0)
    """The threshold is so many times that quantile; above 1 where normal rows to come differ from those seen."""
    calibrate_on: Literal["held_out", "normal"] = "held_out"
    """The normal rows that the threshold comes from: those that were held out of training, or all of them, where
    those held out are too few for a quantile."""


@dataclass(frozen=True)
class Calibration:
    """What scoring a series needs besides the network.

    units: what errors are divided by (D,). usual: the mean square (D,) of normal errors, so divided: what a series is
    taken to have had before its first row. threshold: the score above which a row is flagged.
    """

    units: np.ndarray
    usual: np.ndarray
    threshold: float

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"units": self.units.tolist(), "usual": self.usual.tolist(), "threshold": self.threshold}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Calibration:
        """From JSON."""
        units, usual = (np.array(stored[name], dtype=np.float64) for name in ("units", "usual"))
        return cls(units, usual, float(stored["threshold"]))


@dataclass(frozen=True)
class Normal:
    """A normal series: errors and scaled values (T, D); those before row `start` lead in, and do not count."""

    errors: np.ndarray
    values: np.ndarray
    start: int


def calibrated(series: Sequence[Normal], config: ScoreConfig, what: str) -> Calibration:
    """The calibration from normal series.

    `what` names the series in messages. Raises DataError where no row has a score.
    """
    errors = np.concatenate([one.errors[one.start :] for one in series])
    real = ~np.isnan(errors)
    squares = (np.where(real, errors, 0.0) ** 2).sum(0) / np.maximum(real.sum(0), 1)  # (D,)
    # A column that is foretold to the digit would make any error infinite: no unit is below a thousandth of a spread.
    units = np.maximum(np.sqrt(squares), 1e-3) if config.units == "errors" else np.ones(len(squares))
    usual = squares / units**2
    unknown = Calibration(units, usual, math.inf)
    scores = [RowScorer(config, unknown).whole(one.errors, one.values)[0][one.start :] for one in series]
    return Calibration(units, usual, threshold_of(np.concatenate(scores), config, what))


def threshold_of(scores: np.ndarray, config: ScoreConfig, what: str) -> float:
    """The threshold from scores (T,) of normal rows, NaN where there is none. Raises DataError where none is left."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        raise DataError(
            f"{what}: no normal row has a score, so that no threshold can be chosen.",
            hint="Give more normal rows: data.normal_rows or data.normal_fraction.",
        )
    threshold = float(np.quantile(known, 1.0 - config.false_alarms)) * config.margin
    # A tail score says itself how rare it would be, if errors were Gaussian; a few normal rows cannot say it is rarer.
    return max(threshold, -math.log10(config.false_alarms)) if config.method == "tail" else threshold


class RowScorer:
    """Scores of a series that goes on: call `step` for each row, or `whole` for all of them; both give the same.

    A value that is missing, NaN, takes no part: the average goes on from the rows before it.

    Args:
        config: how errors are averaged and combined.
        calibration: what errors are divided by, and what the average begins with. Its threshold is not used.
    """

    def __init__(self, config: ScoreConfig, calibration: Calibration) -> None:
        self.config, self.units = config, calibration.units
        self._keep = 1.0 - 2.0 / (config.smooth + 1.0)
        # Of squared errors and of their weights, as if rows without end had gone before that were all normal: the first
        # few rows would else be judged by themselves alone.
        before = 1.0 / (1.0 - self._keep)
        self._sums = np.stack([before * calibration.usual, np.full(len(self.units), before)])
        self._begun = False
        self._running = _Running(config) if config.method != "errors" else None
        self._means = RecentMean(config.rare_mean)

    def step(self, errors: np.ndarray, values: np.ndarray) -> tuple[float, int]:
        """Score and most deviating column of the next row, with errors and scaled values (D,), NaN where there is none;
        NaN and -1 before there is an error."""
        scores, columns = self.whole(errors[None], values[None])
        return float(scores[0]), int(columns[0])

    def whole(self, errors: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (T,) and most deviating columns (T,) of the next rows, with errors and scaled values (T, D)."""
        real = ~np.isnan(errors)
        terms = np.stack([np.where(real, errors / self.units, 0.0) ** 2, real], axis=1)  # (T, 2, D)
        for row, added in enumerate(terms):
            self._sums = terms[row] = self._keep * self._sums + added
        means = terms[:, 0] / np.maximum(terms[:, 1], np.finfo(np.float64).tiny)  # (T, D)
        scores = means.max(1) if self.config.combine == "max" else means.mean(1)
        # No score before the first error, however long it takes to come.
        begun = np.maximum.accumulate(np.append(self._begun, real.any(1)))[1:]
        self._begun = bool(begun[-1]) if len(begun) else self._begun
        if self._running is not None:
            sizes = np.where(begun, np.sqrt(scores), np.nan)
            lasting = self._sizes(self._means.whole(errors / self.units))
            scores = self._running.whole(sizes, self._sizes(values), lasting)
        return np.where(begun, scores, np.nan), np.where(begun, means.argmax(1), -1)

    def _sizes(self, values: np.ndarray) -> np.ndarray:
        """The sizes (T,) of rows of scaled values (T, D), NaN where all are missing."""
        real = ~np.isnan(values)
        squares = np.where(real, values, 0.0) ** 2
        sizes = squares.max(1) if self.config.combine == "max" else squares.sum(1) / np.maximum(real.sum(1), 1)
        return np.where(real.any(1), np.sqrt(sizes), np.nan)


class _Running:
    """Errors and values judged by those of a running window."""

    def __init__(self, config: ScoreConfig) -> None:
        self._values = config.values
        self._tails = [
            TailScorer(
                config.running_window,
                config.tail_recent,
                warm_up=config.warm_up,
                gap=config.tail_gap,
                floor=config.floor,
            )
            for _ in range(2)
        ]
        rare = [
            RareScorer(
                count=config.rare_count,
                share=config.rare_share,
                window=config.running_window,
                warm_up=config.warm_up,
                floor=config.floor,
            )
            for _ in range(3)
        ]
        self._events = EventScorer(rare, OneAlarm(config.rare_half_life)) if config.method == "rare" else None

    def whole(self, errors: np.ndarray, values: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Scores (T,) of the next rows, from the sizes (T,) of their errors, their values and the mean errors."""
        values = values if self._values else np.full_like(values, np.nan)
        if self._events is not None:
            return self._events.whole(np.stack([errors, means, values], axis=1))[0]
        found: np.ndarray = np.fmax(tail_scores(errors, self._tails[0]), tail_scores(values, self._tails[1]))
        return found


@dataclass(frozen=True)
class Scored:
    """What is said of a series: for each of its rows the score (NaN where there is none), the flag, and the column
    (-1 for none) that deviates most; and the squared errors (T, D) in the column's spread, NaN where there is none."""

    scores: np.ndarray
    flags: np.ndarray
    columns: np.ndarray
    squares: np.ndarray
    threshold: float | None


@dataclass(frozen=True)
class Spell:
    """Rows `start` to `stop` (exclusive), flagged one after another, their highest score, and the column that deviates
    most where it is reached."""

    start: int
    stop: int
    score: float
    column: int


def spells(scored: Scored) -> list[Spell]:
    """The runs of flagged rows, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], scored.flags.astype(np.int8), [0]])))
    found = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        peak = start + int(scored.scores[start:stop].argmax())
        found.append(Spell(start, stop, float(scored.scores[peak]), int(scored.columns[peak])))
    return found
