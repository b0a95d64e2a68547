"""Which moments of a video are looked at. Times are seconds from its beginning."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Uniform:
    """`count` frames, spread evenly: those that are shown at the centres of `count` equal parts of the video.

    No frame is given twice, so a video that has fewer frames gives fewer; with `repeat` it gives `count` all the same.
    """

    count: int
    repeat: bool = False

    def __post_init__(self) -> None:
        _check_count(self.count)

    def times(self, seconds: float) -> Iterator[float]:
        """The times in a video that is so long, in order."""
        return ((part + 0.5) * seconds / self.count for part in range(self.count))


@dataclass(frozen=True)
class Segments:
    """`count` frames, one from each of `count` equal parts of the video, at a random time in it (as TSN samples).

    L. Wang et al., Temporal Segment Networks, ECCV 2016. The same seed gives the same times; a generator goes on where
    it stands. No frame is given twice, as in `Uniform`.
    """

    count: int
    seed: int | Sequence[int] | np.random.Generator = 0
    repeat: bool = False

    def __post_init__(self) -> None:
        _check_count(self.count)

    def times(self, seconds: float) -> Iterator[float]:
        """The times in a video that is so long, in order."""
        places = np.random.default_rng(self.seed).random(self.count)
        return ((part + float(place)) * seconds / self.count for part, place in enumerate(places))


@dataclass(frozen=True)
class Strided:
    """The frame that is shown at start, start + 1 / fps, start + 2 / fps, ...; to the end, or for so many seconds.

    Where the video itself has fewer frames a second, a frame is given more than once.
    """

    fps: float
    start: float = 0.0
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_fps(self.fps)
        if not (math.isfinite(self.start) and self.start >= 0):
            raise ValueError(f"start={self.start} is no time in a video")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds={self.seconds} is not a length")

    def times(self) -> Iterator[float]:
        """The times, in order; without end where `seconds` is None."""
        stop = math.inf if self.seconds is None else self.seconds - 1e-9
        steps = (step / self.fps for step in itertools.count())
        return (self.start + step for step in itertools.takewhile(lambda step: step < stop, steps))


Sampling = Uniform | Segments | Strided


def check_fps(fps: float) -> None:
    """Raise ValueError for a rate of frames that is none."""
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps={fps} is not a rate of frames")


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count={count}; at least one frame must be asked for")
