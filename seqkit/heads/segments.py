"""Where a long recording is cut into segments, each of which is searched for words on its own.

The rule looks back only, one step at a time: so a stream is cut where the whole file is cut, however it arrives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

_CERTAIN = float(np.log(0.9))


@dataclass(frozen=True)
class CutRule:
    """When a segment ends: the longer it is, the shorter the pause that will do. All in steps."""

    least: int
    """A segment of fewer steps goes on."""
    pause: int
    """Steps without a label that end it after that."""
    long: int
    """From so many steps on, one step without a label does."""
    most: int
    """It has no more steps than this, whatever is said."""

    @classmethod
    def of(cls, step_seconds: float) -> CutRule:
        """10 s at least, then a pause of half a second; any gap after 20 s, and 40 s at most."""
        least, pause, long, most = (max(1, round(seconds / step_seconds)) for seconds in (10.0, 0.5, 20.0, 40.0))
        return cls(least, pause, long, most)


class Segmenter:
    """Cuts log P (T', V), as it arrives, by a rule. `silent` are the labels that are no speech: blank and space."""

    def __init__(self, rule: CutRule, silent: Collection[int]) -> None:
        self.rule, self._silent = rule, sorted(silent)
        self._length = self._gap = 0

    def push(self, log_probs: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
        """The pieces of log P (T', V) that belong together, each with whether its segment ends with it."""
        if not len(log_probs):
            return
        quiet = np.logaddexp.reduce(log_probs[:, self._silent], axis=1) > _CERTAIN  # (T',)
        start = 0
        for step, silent in enumerate(quiet, 1):
            self._length += 1
            self._gap = self._gap + 1 if silent else 0
            if self._ends():
                self._length = self._gap = 0
                yield log_probs[start:step], True
                start = step
        if start < len(log_probs):
            yield log_probs[start:], False

    def _ends(self) -> bool:
        rule = self.rule
        if self._length >= rule.most:
            return True
        needed = 1 if self._length >= rule.long else rule.pause
        return self._length >= rule.least and self._gap >= needed
