"""What happens when in a long recording: probabilities over time, and the segments that they make.

Time is cut into cells of one length. Windows of several cells slide over them; what is said of a cell is the mean of
the windows that cover it. Neighbouring cells with one answer are a segment.

Shapes: C cells, K classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Scorer = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Probabilities (W, K) of W windows, each of frames (T, ...)."""


@dataclass(frozen=True)
class Segment:
    """One action, from one time to another."""

    label: str
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    probability: float
    """Mean over the segment."""


@dataclass(frozen=True)
class Timeline:
    """Probabilities of classes over time."""

    probabilities: np.ndarray
    """(C, K)."""
    cell_seconds: float
    seconds: float
    """Where the last cell ends: at the end of the recording, so it may be shorter."""

    def start(self, cell: int) -> float:
        """When a cell begins, in seconds."""
        return min(cell * self.cell_seconds, self.seconds)

    def borders(self) -> np.ndarray:
        """Where each cell begins, and where the last one ends: (C + 1,) seconds."""
        return np.array([*(self.start(cell) for cell in range(len(self.probabilities))), self.seconds])

    def segments(self, labels: Sequence[str]) -> list[Segment]:
        """The likeliest class of each cell, neighbours with the same one merged."""
        best = self.probabilities.argmax(axis=1)  # (C,)
        borders = [0, *(np.flatnonzero(np.diff(best)) + 1).tolist(), len(best)]
        return [
            Segment(
                labels[best[first]],
                self.start(first),
                self.start(last) if last < len(best) else self.seconds,
                float(self.probabilities[first:last, best[first]].mean()),
            )
            for first, last in pairwise(borders)
        ]

    def at(self, second: float) -> tuple[int, float]:
        """The likeliest class at a time, and its probability."""
        cell = min(max(int(second / self.cell_seconds), 0), len(self.probabilities) - 1)
        best = int(self.probabilities[cell].argmax())
        return best, float(self.probabilities[cell, best])


def slide(
    frames: Iterable[np.ndarray], score: Scorer, *, cell: int, cells: int, batch: int = 8
) -> tuple[np.ndarray, int]:
    """Probabilities (C, K) of cells of `cell` frames, from windows of `cells` cells one cell apart; and the frames.

    The last window ends with the last frame, whole or not; a recording that is shorter than a window is one window.
    No more frames than `batch` windows hold are kept.

    Raises:
        ValueError: there is no frame.
    """
    sums: list[np.ndarray] = []
    counts: list[int] = []
    kept: list[tuple[int, int, np.ndarray]] = []  # windows to score: first cell, cells, frames

    def scored() -> None:
        for (first, width, _), probs in zip(kept, score([window for *_, window in kept]), strict=True):
            for place in range(first, first + width):
                if place == len(sums):
                    sums.append(np.zeros_like(probs))
                    counts.append(0)
                sums[place] = sums[place] + probs
                counts[place] += 1
        kept.clear()

    total = 0
    for first, width, window, end in _windows(frames, cell, cells):
        total = end
        kept.append((first, width, window))
        if len(kept) == batch:
            scored()
    if kept:
        scored()
    if not total:
        raise ValueError("no frame to look at")
    return np.stack(sums) / np.array(counts)[:, None], total


def _windows(frames: Iterable[np.ndarray], cell: int, cells: int) -> Iterator[tuple[int, int, np.ndarray, int]]:
    """Each window's first cell, its cells and its frames (T, ...), and how many frames were read until its end."""
    held: deque[np.ndarray] = deque(maxlen=cell * cells)
    total = 0
    for frame in frames:
        held.append(frame)
        total += 1
        if total >= cell * cells and total % cell == 0:
            yield total // cell - cells, cells, np.stack(held), total
    if total and (total < cell * cells or total % cell):
        last = -(-total // cell)
        first = max(0, last - cells)
        yield first, last - first, np.stack(held), total
