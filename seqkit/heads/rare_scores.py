"""How large the newest error is beside the large errors of a stream so far, and one alarm for one event.

A Gaussian (`seqkit.heads.tail_scores`) knows how much a stream errs on most rows, not how large its rare errors are: a
stream with regular bursts would alarm with each. `RareScorer` measures an error by those that were seldom exceeded, the
empirical tail instead of a Gaussian's; `OneAlarm` keeps what follows an alarm from being another; `EventScorer` puts
several kinds of errors together. All work row by row, and need no threshold.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class RareScorer:
    """Scores of one stream of sizes of errors. Each hangs on its own row and those before.

    The score is `size / (reference + floor)`; the reference is the size that few rows of the window before exceed: a
    `share` of them, and not more than `count` rows. A share alone lets a long stream have more false alarms than a
    short one; the count keeps them few. At 1 a size is the rarest that is still usual.

    Args:
        count: rows of a long window that may exceed the reference.
        share: of the rows of a short window; with 0.005 and a count of 20, windows below 4,000 rows are short.
        window: newest rows that are compared with, at least 1.
        warm_up: rows before the first score; till then the score is 0. At least 1.
        floor: added to the reference, in the unit of the errors, so that a stream that was foretold to the digit does
            not alarm at the first small error. More than 0.

    Raises:
        ValueError: a number that is not possible.
    """

    def __init__(
        self,
        count: float = 20.0,
        share: float = 0.005,
        *,
        window: int = 20000,
        warm_up: int = 50,
        floor: float = 0.05,
    ) -> None:
        if min(window, warm_up) < 1 or not (count > 0 and 0 < share < 1 and 0 < floor < math.inf):
            raise ValueError(
                "A rare score needs a window and a warm-up of 1 row or more, a count and a floor above 0 and a share "
                f"between 0 and 1; got {window}, {warm_up}, {count}, {floor} and {share}."
            )
        self.count, self.share, self.window, self.warm_up, self.floor = count, share, window, warm_up, floor
        self._sizes: deque[float] = deque()
        self._sorted: list[float] = []

    def step(self, size: float) -> float:
        """The score of the next row, at least 0; NaN for a row whose size is NaN, which then counts for nothing.

        Raises:
            ValueError: a size that is infinite or below 0.
        """
        if math.isnan(size):
            return math.nan
        if not 0.0 <= size < math.inf:
            raise ValueError(f"A rare score needs finite sizes of errors, at least 0; got {size}.")
        score = size / (self._reference() + self.floor) if len(self._sorted) >= self.warm_up else 0.0
        self._sizes.append(size)
        insort(self._sorted, size)
        if len(self._sizes) > self.window:
            del self._sorted[bisect_left(self._sorted, self._sizes.popleft())]
        return score

    def state(self) -> dict[str, list[float]]:
        """What was seen, as a plain list of at most `window` numbers."""
        return {"sizes": list(self._sizes)}

    def restore(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on from a state of a scorer with the same arguments: the next scores are the same bits.

        Raises:
            ValueError: the state holds more rows than this scorer keeps.
        """
        if len(state["sizes"]) > self.window:
            raise ValueError("The state is of a rare score with a longer window.")
        self._sizes = deque(state["sizes"])
        self._sorted = sorted(self._sizes)

    def _reference(self) -> float:
        """Between two sizes of the window, as a quantile is."""
        last = len(self._sorted) - 1
        place = last - min(self.count, self.share * len(self._sorted), last)
        below = int(place)
        low, high = self._sorted[below], self._sorted[min(below + 1, last)]
        return low + (place - below) * (high - low)


class RecentMean:
    """Means of the newest errors of each column, with their signs: errors of either sign make up for each other, and
    those that keep their sign for a while, each too small to be rare, stand out.

    Args:
        rows: errors in a mean, at least 1.

    Raises:
        ValueError: fewer rows.
    """

    def __init__(self, rows: int = 20) -> None:
        if rows < 1:
            raise ValueError(f"A mean needs at least 1 row; got {rows}.")
        self._newest: deque[np.ndarray] = deque(maxlen=rows)

    def step(self, errors: np.ndarray) -> np.ndarray:
        """Means (D,) at the next row, with errors (D,). A NaN takes no part; the mean of nothing else is NaN."""
        self._newest.append(np.asarray(errors, dtype=np.float64))
        rows = np.stack(self._newest)
        real = ~np.isnan(rows)
        count = real.sum(axis=0)
        means: np.ndarray = np.where(real, rows, 0.0).sum(axis=0) / np.maximum(count, 1)
        return np.where(count > 0, means, np.nan)

    def whole(self, errors: np.ndarray) -> np.ndarray:
        """Means (T, D) at the next rows, with errors (T, D): what `step` says of each."""
        return np.array([self.step(row) for row in errors], dtype=np.float64).reshape(errors.shape)

    def state(self) -> dict[str, list[list[float]]]:
        """The newest errors."""
        return {"newest": [row.tolist() for row in self._newest]}

    def restore(self, state: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Go on from a state."""
        self._newest.clear()
        self._newest.extend(np.array(row, dtype=np.float64) for row in state["newest"])


class OneAlarm:
    """Keeps a score only where it is well above those before it, which fade: how an event begins alarms, not its rest.

    Each score stands in the way of those after it with a height of `margin` times itself, which halves every
    `half_life` rows. No threshold is needed: at any of them a burst alarms once, and again only where it grows; it ends
    where scores fall far enough for long enough.

    Args:
        half_life: rows, more than 0.
        margin: at least 1.

    Raises:
        ValueError: a number that is not possible.
    """

    def __init__(self, half_life: float = 150.0, margin: float = 1.1) -> None:
        if not (half_life > 0.0 and 1.0 <= margin < math.inf):
            raise ValueError(f"A half-life must be above 0 rows and a margin at least 1; got {half_life} and {margin}.")
        self._fade, self._margin, self._height = 0.5 ** (1.0 / half_life), margin, 0.0

    def step(self, score: float) -> float:
        """The score of the next row, or 0 where one before it stands in the way; NaN stays NaN."""
        self._height *= self._fade
        if math.isnan(score):
            return math.nan
        kept = score if score > self._height else 0.0
        self._height = max(self._height, self._margin * score)
        return kept

    def state(self) -> dict[str, list[float]]:
        """What stands in the way of the next row."""
        return {"height": [self._height]}

    def restore(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on from a state."""
        self._height = float(state["height"][0])


class EventScorer:
    """One score of several kinds of errors: the greatest of their rare scores, with one alarm for one event.

    A row is unusual where it is not what was expected (a network's error), where it is not for a while (the mean of the
    newest errors), or where it is far from all that was (the value itself, less its usual level): a network that
    follows the values sees only how an event begins.

    Args:
        scorers: one for each kind.
        alarm: what keeps alarms from repeating; None keeps every score.
    """

    def __init__(self, scorers: Sequence[RareScorer], alarm: OneAlarm | None) -> None:
        self.scorers, self.alarm = list(scorers), alarm

    def step(self, sizes: Sequence[float]) -> tuple[float, int]:
        """Score of the next row and the kind that gave it, from its sizes of errors (K,); NaN and -1 if all are NaN."""
        scores = np.array([scorer.step(float(size)) for scorer, size in zip(self.scorers, sizes, strict=True)])
        known = not np.isnan(scores).all()
        kind = int(np.nanargmax(scores)) if known else -1
        score = float(scores[kind]) if known else math.nan
        return (score if self.alarm is None else self.alarm.step(score)), kind

    def whole(self, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (T,) and kinds (T,) of the next rows, with sizes (T, K): what `step` says of each."""
        found = [self.step(row) for row in sizes]
        return np.array([score for score, _ in found]), np.array([kind for _, kind in found], dtype=np.int64)

    def state(self) -> dict[str, Any]:
        """Of all its parts."""
        alarm = None if self.alarm is None else self.alarm.state()
        return {"scorers": [scorer.state() for scorer in self.scorers], "alarm": alarm}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a scorer with the same arguments.

        Raises:
            ValueError: the state is of one with other parts.
        """
        if len(state["scorers"]) != len(self.scorers) or (state["alarm"] is None) != (self.alarm is None):
            raise ValueError("The state is of an event score with other parts.")
        for scorer, own in zip(self.scorers, state["scorers"], strict=True):
            scorer.restore(own)
        if self.alarm is not None:
            self.alarm.restore(state["alarm"])
