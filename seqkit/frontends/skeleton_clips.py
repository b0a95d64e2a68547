"""Clips of joints, in numpy's files, as the action recipe sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from seqkit.data.arrays import ARRAY_SUFFIXES, read_array
from seqkit.frontends.clips import RawClip
from seqkit.frontends.skeleton import SkeletonConfig, SkeletonFrontend
from seqkit.frontends.skeleton_augmentation import SkeletonAugmentConfig, augment_skeleton, mirrored

if TYPE_CHECKING:
    from torch import Tensor, nn


class SkeletonClips:
    """Joints (T, J, 3) float32 are the raw frames, features of pose and motion (T, F) the network's input."""

    suffixes: tuple[str, ...] = ARRAY_SUFFIXES

    def __init__(self, config: SkeletonConfig, augmentation: SkeletonAugmentConfig) -> None:
        self.config, self.augmentation = config, augmentation
        self.frontend = SkeletonFrontend(config)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.config.frame_rate

    @property
    def context(self) -> int | None:
        """As the front-end says."""
        return self.frontend.context

    @property
    def feature_size(self) -> int:
        """F."""
        return self.frontend.size

    def seconds(self, source: str) -> float | None:
        """How long a clip is. Raises InputError."""
        return len(read_array(source, dimensions=3)) / self.rate

    def read(self, source: str, seconds: float | None = None) -> RawClip:
        """Clean joints (T, J, 3). Raises InputError, Broken."""
        joints = read_array(source, dimensions=3)
        frames = joints if seconds is None else joints[: max(1, round(seconds * self.rate))]
        return RawClip(self.frontend.clean(frames), len(joints) / self.rate)

    def stream(self, source: str, warn: Callable[[str], None]) -> Iterator[np.ndarray]:
        """Clean joints (J, 3), frame by frame. Raises InputError, Broken."""
        yield from self.read(source).frames

    def augment(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Another view, body and pace."""
        return augment_skeleton(frames, self.augmentation, self.config.joints, rng)

    def mirrored(self, frames: np.ndarray) -> np.ndarray:
        """The body, left for right."""
        return mirrored(frames, self.config.joints)

    def features(self, frames: np.ndarray) -> Tensor:
        """Features (T, F)."""
        return self.frontend.features(frames)

    def encoder(self) -> nn.Module:
        """Features are read as they are."""
        from torch import nn

        return nn.Identity()

    def pictures(self, source: str, count: int) -> np.ndarray | None:
        """Nothing: joints are no pictures."""
        return None

    def fit(self, clips: Iterable[np.ndarray]) -> Self:
        """Take the statistics of the features."""
        self.frontend.fit(clips)
        return self

    def save(self, folder: Path) -> None:
        """Write the statistics."""
        self.frontend.save(folder)

    def load(self, folder: Path) -> Self:
        """Read the statistics."""
        self.frontend = SkeletonFrontend.load(folder, self.config)
        return self
