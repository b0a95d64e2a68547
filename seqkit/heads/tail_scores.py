"""How unlikely the newest errors of a detector are beside those of a long window before: a score that comes row by row.

Ahmad et al. 2017 ("Unsupervised real-time anomaly detection for streaming data", section 4): errors are never judged by
their size alone, for what is noisy errs much all the time. The mean of the newest few errors is set against the mean
and the deviation of a long window, as if they were Gaussian, and the score is the tail probability on a log scale.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np

LARGEST_Z = 35.0
"""Above, erfc comes near the smallest float, and the tail follows its asymptotic series."""


def surprise(z: float) -> float:
    """-log10 of the probability that a standard Gaussian is above z: 0.30 at 0, 2.87 at 3, 23.1 at 10; 0 far below 0.

    Exact to about 1e-12 of its value up to z = 35, and to 1e-6 above; infinite at infinity.
    """
    if z < LARGEST_Z:
        return abs(math.log10(0.5 * math.erfc(z / math.sqrt(2.0))))  # abs: -0.0 of a certainty is 0
    # Q(z) = phi(z) / z * (1 - 1 / z^2 + 3 / z^4 - ...), Abramowitz and Stegun 26.2.12
    series = 1.0 - z**-2 + 3.0 * z**-4
    return 0.5 * z * z / math.log(10.0) + math.log10(z * math.sqrt(2.0 * math.pi)) - math.log10(series)


class TailScorer:
    """Scores of one stream of errors. Each hangs on its own error and those before.

    The score is `surprise((r - m) / s)`: r is the mean of the `recent` newest errors, m and s are mean and deviation of
    such means over the `window` newest rows. It is in powers of ten: at 3, one row in a thousand would be as unlike the
    others as this one, if they were Gaussian. Large errors are what is unusual, so give their sizes, not their signs.

    Args:
        window: rows of the long window, at least 2.
        recent: errors in the short mean; 1 judges each row by itself.
        warm_up: rows before the first score; till then the score is 0. At least 2.
        floor: the least deviation, in the unit of the errors: a stream whose errors are all nearly the same (a constant
            sensor) is not judged by differences smaller than this. More than 0.
        gap: newest rows that the long window leaves out, so that an anomaly does not widen what it is judged by.

    Raises:
        ValueError: a number that is not possible.
    """

    def __init__(
        self, window: int = 8000, recent: int = 10, *, warm_up: int = 100, floor: float = 1e-6, gap: int = 0
    ) -> None:
        if min(window, warm_up) < 2 or recent < 1 or gap < 0 or not 0.0 < floor < math.inf:
            raise ValueError(
                "A tail score needs windows and warm-ups of 2 rows or more, at least 1 recent row, a gap of 0 or more "
                f"and a floor above 0; got {window}, {warm_up}, {recent}, {gap} and {floor}."
            )
        self.window, self.recent, self.warm_up, self.floor, self.gap = window, recent, warm_up, floor, gap
        self._errors: deque[float] = deque(maxlen=recent)
        self._means: deque[float] = deque()
        self._sums()

    def step(self, error: float) -> float:
        """The score of the next row, at least 0; NaN for a row whose error is NaN, which then counts for nothing.

        Raises:
            ValueError: an infinite error.
        """
        if math.isnan(error):
            return math.nan
        if math.isinf(error):
            raise ValueError("A tail score cannot take an infinite error.")
        self._errors.append(error)
        newest = math.fsum(self._errors) / len(self._errors)
        self._append(newest)
        if self._count < 2 or len(self._means) < self.warm_up:
            return 0.0
        mean = self._center + self._total / self._count
        variance = max(self._squares / self._count - (self._total / self._count) ** 2, 0.0)
        return surprise((newest - mean) / max(math.sqrt(variance), self.floor))

    def state(self) -> dict[str, list[float]]:
        """What was seen, as plain lists of numbers (`window` + `gap` + `recent` of them at most, and four sums)."""
        sums = [self._center, self._total, self._squares, float(self._age)]
        return {"errors": list(self._errors), "means": list(self._means), "sums": sums}

    def restore(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on from a state of a scorer with the same arguments: the next scores are the same bits.

        Raises:
            ValueError: the state holds more rows than this scorer keeps.
        """
        errors, means, sums = state["errors"], state["means"], state["sums"]
        if len(errors) > self.recent or len(means) > self.window + self.gap:
            raise ValueError("The state is of a tail score with longer windows.")
        self._errors.clear()
        self._errors.extend(errors)
        self._means = deque(means)
        self._center, self._total, self._squares, self._age = sums[0], sums[1], sums[2], int(sums[3])

    @property
    def _count(self) -> int:
        return max(len(self._means) - self.gap, 0)

    def _append(self, newest: float) -> None:
        """Move the long window by a row: one mean enters it at its new end, one leaves at the old."""
        self._means.append(newest)
        if len(self._means) > self.window + self.gap:
            self._add(self._means.popleft(), -1.0)
        if len(self._means) > self.gap:
            self._add(self._means[-1 - self.gap], 1.0)
        self._age += 1
        if self._age >= min(self.window, max(len(self._means) // 2, 1)):
            self._sums()  # rounding must not add up over a stream of any length

    def _add(self, value: float, sign: float) -> None:
        value -= self._center
        self._total += sign * value
        self._squares += sign * value * value

    def _sums(self) -> None:
        """Sums over the long window, about a center, where they keep their digits."""
        seen = list(islice(self._means, self._count))
        self._center = math.fsum(seen) / len(seen) if seen else 0.0
        self._total = math.fsum(value - self._center for value in seen)
        self._squares = math.fsum((value - self._center) ** 2 for value in seen)
        self._age = 0


def tail_scores(errors: Iterable[float], scorer: TailScorer | None = None) -> np.ndarray:
    """Scores (T,) float64 of errors (T,): what `step` says of each. The scorer, by default a new one, goes on after."""
    scorer = scorer or TailScorer()
    return np.array([scorer.step(float(error)) for error in errors], dtype=np.float64)
