"""The score of the Numenta Anomaly Benchmark: detections are worth more the earlier they come in a labelled window.

Lavin and Ahmad 2015 ("Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark"), as version
1.1 of the benchmark computes it:

- a row is detected where its score is at or above a threshold, one for the whole corpus;
- of each window of anomaly only the earliest detection counts, a scaled sigmoid of its place (1 at the window's left
  edge, near 0 at its right); a window without one costs;
- each detection outside the windows costs: little shortly after a window, all of it later or before the first;
- the first rows of a file are probation: they are not scored;
- the sum over the corpus is given from 0 (a detector that finds nothing) to 100 (every window at once, and no more).

The threshold is the best one for the corpus and profile: that is the benchmark's own protocol, the same for all of its
detectors. Shapes: T rows, W windows, K thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

PROBATION_SHARE, PROBATION_ROWS = 0.15, 750
STEEPNESS, BEHIND = 5.0, 3.0
"""Of the sigmoid; and windows' widths behind a window after which a false alarm costs its whole weight."""


@dataclass(frozen=True)
class Profile:
    """What cases are worth in an application: a window found at once, one missed, and a false alarm far from any."""

    name: str
    found: float
    missed: float
    false_alarm: float


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("standard", 1.0, 1.0, 0.11),
        Profile("reward_low_FP_rate", 1.0, 1.0, 0.22),
        Profile("reward_low_FN_rate", 1.0, 2.0, 0.11),
    )
}
STANDARD = PROFILES["standard"]

GRID = np.geomspace(1e-3, 1e3, 4001)
"""Thresholds (ascending, 0.35 % apart) of the curves that add up: scores of files that are seen one at a time."""


@dataclass(frozen=True)
class Totals:
    """What a detector did at one threshold, over a file or a corpus.

    `points` is the sum that the profile gives; rows are counted outside probation; `windows` are those with at least
    one scored row.
    """

    threshold: float
    points: float
    windows: int
    found: int
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    def score(self, profile: Profile = STANDARD) -> float:
        """From 0 (nothing found, nothing alarmed) to 100 (all found at once); below 0 with many false alarms."""
        return normalised(self.points, self.windows, profile)


class LabelledFile:
    """A file's windows, and what a detection in each row is worth.

    Args:
        rows: T.
        windows: first and last row of each, both included, in order, without overlap.

    Raises:
        ValueError: windows out of order or out of the file.
    """

    def __init__(self, rows: int, windows: Iterable[tuple[int, int]]) -> None:
        self.rows, self.windows = rows, tuple(windows)
        edges = [edge for window in self.windows for edge in window]
        if any(first > last for first, last in self.windows) or sorted(edges) != edges:
            raise ValueError(f"Windows must follow each other; got {list(self.windows)}.")
        if edges and (edges[0] < 0 or edges[-1] >= rows):
            raise ValueError(f"Windows must lie in rows 0 to {rows - 1}; got {list(self.windows)}.")
        self.probation = probation(rows)
        self.window_of, self.worth = _worth(rows, self.windows)
        """(T,) int64, the window's number or -1; (T,) float64, from 1 to -1, before the profile's weights."""

    @property
    def scored_windows(self) -> int:
        """Windows with a row after probation."""
        return sum(last >= self.probation for _, last in self.windows)

    def totals(self, scores: np.ndarray, threshold: float, profile: Profile = STANDARD) -> Totals:
        """What a detector did that gave these scores (T,). A score that is NaN detects nothing.

        Raises:
            ValueError: not a score for each row.
        """
        gains, scores, inside = self._gains(scores, profile)
        detected = scores >= threshold
        found = {int(number) for number in self.window_of[self.probation :][detected & inside]}
        return Totals(
            threshold,
            float(gains[detected].sum()) - profile.missed * self.scored_windows,
            self.scored_windows,
            len(found),
            int((detected & inside).sum()),
            int((detected & ~inside).sum()),
            int((~detected & inside).sum()),
            int((~detected & ~inside).sum()),
        )

    def curve(self, scores: np.ndarray, thresholds: np.ndarray, profile: Profile = STANDARD) -> np.ndarray:
        """Points (K,) at ascending thresholds (K,). Curves of files add up to the curve of their corpus.

        Raises:
            ValueError: not a score for each row.
        """
        gains, scores, _ = self._gains(scores, profile)
        # A row is detected at all thresholds up to its score: those before `upto`.
        upto = np.searchsorted(thresholds, scores, side="right")
        added = np.bincount(upto, weights=gains, minlength=len(thresholds) + 1)  # (K + 1,)
        return added[::-1].cumsum()[::-1][1:] - profile.missed * self.scored_windows

    def _gains(self, scores: np.ndarray, profile: Profile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each scored row adds when the threshold sinks to its score, its score, and whether it is in a window."""
        if scores.shape != (self.rows,):
            raise ValueError(f"{self.rows} rows need as many scores; got {scores.shape}.")
        scores, inside = scores[self.probation :], self.window_of[self.probation :] >= 0
        scores = np.where(np.isnan(scores), -np.inf, scores)
        worth = self.worth[self.probation :]
        gains = np.where(inside, 0.0, worth * profile.false_alarm)
        for first, last in self.windows:
            rows = np.arange(max(first, self.probation), last + 1) - self.probation
            # By falling score (the earlier row of two alike first), the best so far: what a row adds is its step.
            order = rows[np.argsort(-scores[rows], kind="stable")]
            best = np.maximum.accumulate(worth[order] * profile.found)
            gains[order] = np.diff(best, prepend=-profile.missed)
        return gains, scores, inside


def best_totals(files: Sequence[LabelledFile], scores: Sequence[np.ndarray], profile: Profile = STANDARD) -> Totals:
    """What a detector did over a corpus, at the threshold that is best for all of it.

    Args:
        files: the labels of each file.
        scores: of each file, (T,).

    Raises:
        ValueError: not a score for each row, or no file.
    """
    scored = [s[f.probation :] for f, s in zip(files, scores, strict=True)]
    if not scored:
        raise ValueError("No file to score.")
    # Just above all scores: nothing is detected.
    finite = np.concatenate([s[np.isfinite(s)] for s in scored])
    thresholds = np.unique(np.append(finite, np.inf))
    curve = sum_curves(f.curve(s, thresholds, profile) for f, s in zip(files, scores, strict=True))
    return corpus_totals(files, scores, float(thresholds[best_threshold(curve)]), profile)


def corpus_totals(
    files: Sequence[LabelledFile], scores: Sequence[np.ndarray], threshold: float, profile: Profile = STANDARD
) -> Totals:
    """What a detector did over a corpus at one threshold.

    Raises:
        ValueError: not a score for each row.
    """
    each = [f.totals(s, threshold, profile) for f, s in zip(files, scores, strict=True)]
    return Totals(
        threshold,
        math.fsum(t.points for t in each),
        sum(t.windows for t in each),
        sum(t.found for t in each),
        sum(t.true_positives for t in each),
        sum(t.false_positives for t in each),
        sum(t.false_negatives for t in each),
        sum(t.true_negatives for t in each),
    )


def statistics(file: LabelledFile, scores: np.ndarray) -> np.ndarray:
    """What a file adds to `metrics`: float64, a curve over `GRID` for each profile, and the windows.

    Raises:
        ValueError: not a score for each row.
    """
    curves = [file.curve(scores, GRID, profile) for profile in PROFILES.values()]
    return np.concatenate([*curves, [float(file.scored_windows)]])


def metrics(totals: np.ndarray) -> dict[str, float]:
    """The benchmark's scores from summed statistics, each at its best threshold of `GRID`: `nab_standard` and so on.

    `nab_threshold` is that of the standard profile. All are NaN where no window was to be found.
    """
    windows = round(float(totals[-1]))
    curves = dict(zip(PROFILES.values(), totals[:-1].reshape(len(PROFILES), len(GRID)), strict=True))
    found = {f"nab_{p.name.lower()}": normalised(float(curve.max()), windows, p) for p, curve in curves.items()}
    return found | {"nab_threshold": float(GRID[best_threshold(curves[STANDARD])]) if windows else math.nan}


def sum_curves(curves: Iterable[np.ndarray]) -> np.ndarray:
    """The curve (K,) of a corpus."""
    total: np.ndarray = np.stack(list(curves)).sum(axis=0)
    return total


def best_threshold(curve: np.ndarray) -> int:
    """The number of the threshold with most points (the highest of those alike) on a curve (K,) over ascending ones."""
    return len(curve) - 1 - int(np.argmax(curve[::-1]))


def normalised(points: float, windows: int, profile: Profile = STANDARD) -> float:
    """Points from 0 (a detector that finds nothing) to 100 (a perfect one); NaN where no window was to be found."""
    if windows == 0:
        return math.nan
    least = -profile.missed * windows
    return 100.0 * (points - least) / (profile.found * windows - least)


def probation(rows: int) -> int:
    """The first rows of a file that are not scored: 15 % of them, at most 750."""
    return min(math.floor(PROBATION_SHARE * rows), PROBATION_ROWS)


def scaled_sigmoid(place: np.ndarray) -> np.ndarray:
    """What a detection is worth by its place: -1 at a window's left edge, 0 at its right, above 0 behind it.

    Worth is near 1 at -1, 0 at 0 and -1 far behind.
    """
    place = np.asarray(place, dtype=np.float64)
    return np.where(place > BEHIND, -1.0, np.tanh(-0.5 * STEEPNESS * place))  # 2 * sigmoid(x) - 1 = tanh(x / 2)


def _worth(rows: int, windows: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    window_of, worth = np.full(rows, -1, dtype=np.int64), np.full(rows, -1.0)
    most = float(scaled_sigmoid(np.array(-1.0)))
    for number, (first, last) in enumerate(windows):
        width = last - first + 1
        inside = np.arange(first, last + 1)
        window_of[inside] = number
        worth[inside] = scaled_sigmoid((inside - last - 1) / width) / most
        behind = np.arange(last + 1, rows)  # the next window, if any, writes over this
        # The published program divides by the steps between a window's edges: one row wide, all behind it is far.
        worth[behind] = scaled_sigmoid((behind - last) / (width - 1)) if width > 1 else -1.0
    return window_of, worth
