"""What an action is seen in: frames of a video, or joints of a body. One interface for both, so that a recipe needs
not know which it is.

A clip's raw frames are what is kept, cached and varied: pictures (T, H, W, 3) uint8, or joints (T, J, 3) float32. The
network's input is made of them when a batch is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import numpy as np
from pydantic import Field

from seqkit.config import Config
from seqkit.data.items import Unusable
from seqkit.errors import DataError, InputError, RunError
from seqkit.storage import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn

Read = TypeVar("Read")

LENGTHS_FILE = "clips.json"


@dataclass(frozen=True)
class RawClip:
    """A clip as it is kept."""

    frames: np.ndarray
    """(T, ...)."""
    seconds: float
    """Of the whole file."""
    trouble: str | None = None
    """What was wrong with the file, where it could be used all the same."""


class ViewsConfig(Config):
    """What an evaluation reads of each clip; the answer is the mean over these views."""

    windows: int = Field(default=1, ge=1)
    """Pieces of the clip, spread evenly over it."""
    share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Length of such a piece, as a share of the clip."""
    mirror: bool = False
    """Look at each piece in a mirror too; not for actions that differ by their side."""


class ClipInput(Protocol):
    """A kind of clips: how they are read and varied, and what features they become."""

    suffixes: tuple[str, ...]
    """The files that hold one."""

    @property
    def rate(self) -> float:
        """Raw frames a second."""

    @property
    def context(self) -> int | None:
        """How many frames before it the features of a frame depend on; None where they depend on the whole clip."""

    @property
    def feature_size(self) -> int:
        """Features of a frame, as the LSTM reads them."""

    def seconds(self, source: str) -> float | None:
        """How long a file's clip is; None where it does not say. Raises InputError."""

    def read(self, source: str, seconds: float | None = None) -> RawClip:
        """A clip's raw frames; with `seconds` its beginning of that length. Raises InputError, Unusable."""

    def stream(self, source: str, warn: Callable[[str], None]) -> Iterator[np.ndarray]:
        """The raw frames one by one, of a file of any length. Raises InputError, Unusable."""

    def augment(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random variation of raw frames."""

    def mirrored(self, frames: np.ndarray) -> np.ndarray:
        """Raw frames, left for right."""

    def features(self, frames: np.ndarray) -> Tensor:
        """Features (T, ...) float32 of raw frames."""

    def encoder(self) -> nn.Module:
        """What makes features (N, feature_size) of these, to be trained."""

    def pictures(self, source: str, count: int) -> np.ndarray | None:
        """A few frames (T, H, W, 3) uint8 of a clip to look at; None where there is nothing to see."""

    def fit(self, clips: Iterable[np.ndarray]) -> Self:
        """Take mean and deviation of the features from raw training clips."""

    def save(self, folder: Path) -> None:
        """Write what `fit` found into an existing folder."""

    def load(self, folder: Path) -> Self:
        """Read what `save` wrote. Raises RunError."""


@dataclass(frozen=True)
class ClipLengths:
    """How long training clips are, in seconds: by that a recording is long, and a window as long as a clip."""

    median: float = 0.0
    longest: float = 0.0

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self:
        """Of clips' lengths. Raises DataError where there is none."""
        found = np.array(list(seconds), dtype=np.float64)
        if not len(found):
            raise DataError("No training clip can be read.", hint="Check the column of files.")
        return cls(float(np.median(found)), float(found.max()))

    def save(self, folder: Path) -> None:
        """Write them into an existing folder."""
        write_json(folder / LENGTHS_FILE, {"median": self.median, "longest": self.longest})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises RunError where it is damaged."""
        stored = read_json(folder / LENGTHS_FILE)
        try:
            return cls(float(stored["median"]), float(stored["longest"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{folder / LENGTHS_FILE}: not lengths of clips.", hint="The run is damaged.") from error


def views(clips: ClipInput, frames: np.ndarray, config: ViewsConfig) -> list[np.ndarray]:
    """The views of a clip (T, ...) that an evaluation reads: the pieces in order, then these in a mirror."""
    length = max(1, round(len(frames) * config.share))
    starts = np.linspace(0, len(frames) - length, config.windows).round().astype(int).tolist()
    if config.windows == 1:
        starts = [(len(frames) - length) // 2]
    pieces = [frames[start : start + length] for start in starts]
    return [*pieces, *(clips.mirrored(piece) for piece in pieces)] if config.mirror else pieces


def readable(read: Callable[[str], Read], sources: Iterable[str]) -> Iterator[Read]:
    """What `read` makes of the files that can be read; those that cannot are named when they are prepared."""
    for source in sources:
        try:
            yield read(source)
        except (InputError, Unusable):
            continue
