"""The video front-end: a video file becomes small pictures at a steady rate, and these a network's input.

Shapes: T frames, H and W their height and width, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from seqkit.config import Config
from seqkit.errors import DataError, RunError
from seqkit.storage import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

STATISTICS_FILE = "video.json"
_LEAST_DEVIATION = 1e-3
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VideoConfig(Config):
    """From video files to pictures."""

    rate: float = Field(default=10.0, gt=0.0, le=240.0)
    """Frames a second that are looked at, whatever the file's own rate."""
    size: tuple[int, int] = (64, 64)
    """Height and width of the pictures, pixels."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """How a picture of another shape is brought to that size: stretched, its centre cut out, or with black borders."""
    max_seconds: float | None = Field(default=60.0, gt=0.0)
    """Longer clips are left out of training, and counted; null for no limit."""
    grey: bool = False
    """Look at brightness only: one channel in place of three."""
    differences: bool = False
    """Add what changed since the frame before, as channels of its own; before the first frame nothing did."""
    normalize: Literal["data", "imagenet"] = "data"
    """Mean and deviation of each channel: those of the training part, or those that networks of torchvision expect."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if any(not 8 <= side <= 1024 for side in self.size):
            raise ValueError(f"size is height and width, 8 to 1024 pixels; it is {list(self.size)}")
        if self.normalize == "imagenet" and self.grey:
            raise ValueError("normalize=imagenet is for colours; set grey=false, or normalize=data")
        return self


class VideoFrontend:
    """Pictures (T, H, W, 3) uint8 to input (T, C, H, W) float32. Fit it or load it first; then it does not change."""

    def __init__(self, config: VideoConfig) -> None:
        self.config = config
        self.mean = np.zeros(self.channels, dtype=np.float32)  # (C,)
        self.deviation = np.ones(self.channels, dtype=np.float32)  # (C,)

    @property
    def channels(self) -> int:
        """C."""
        return (1 if self.config.grey else 3) * (2 if self.config.differences else 1)

    @property
    def context(self) -> int:
        """How many frames before it the input of a frame depends on."""
        return 1 if self.config.differences else 0

    def fit(self, clips: Iterable[np.ndarray]) -> Self:
        """Take mean and deviation of each channel from pictures (T, H, W, 3) of training clips.

        Raises DataError where there is none.
        """
        if self.config.normalize == "imagenet" and not self.config.differences:
            self.mean[:], self.deviation[:] = _IMAGENET_MEAN, _IMAGENET_DEVIATION
            return self
        count, total, squares = 0, np.zeros(self.channels), np.zeros(self.channels)
        for clip in clips:
            raw = self._raw(clip).double().numpy()
            count += raw.size // self.channels
            total, squares = total + raw.sum(axis=(0, 2, 3)), squares + (raw**2).sum(axis=(0, 2, 3))
        if count == 0:
            raise DataError("No training clip that could be read has a frame.", hint="Check the column of files.")
        mean = total / count
        self.mean = mean.astype(np.float32)
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        self.deviation = np.maximum(deviation, _LEAST_DEVIATION).astype(np.float32)
        if self.config.normalize == "imagenet":
            self.mean[:3], self.deviation[:3] = _IMAGENET_MEAN, _IMAGENET_DEVIATION
        return self

    def features(self, frames: np.ndarray) -> Tensor:
        """Normalised input (T, C, H, W) of pictures (T, H, W, 3)."""
        import torch

        mean, deviation = (torch.from_numpy(values)[:, None, None] for values in (self.mean, self.deviation))
        return (self._raw(frames) - mean) / deviation

    def _raw(self, frames: np.ndarray) -> Tensor:
        """Input (T, C, H, W), colours from 0 to 1, before it is normalised."""
        import torch

        colours = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255  # (T, 3, H, W)
        if self.config.grey:
            colours = (colours * torch.tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)
        if not self.config.differences:
            return colours
        return torch.cat([colours, torch.diff(colours, dim=0, prepend=colours[:1])], dim=1)

    def save(self, folder: Path) -> None:
        """Write the statistics into an existing folder."""
        write_json(folder / STATISTICS_FILE, {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()})

    @classmethod
    def load(cls, folder: Path, config: VideoConfig) -> Self:
        """Read what `save` wrote. Raises RunError where it does not fit the configuration."""
        loaded = cls(config)
        stored = read_json(folder / STATISTICS_FILE)
        for name in ("mean", "deviation"):
            values = np.array(stored.get(name, []), dtype=np.float32)
            if values.shape != (loaded.channels,):
                raise RunError(
                    f"{folder / STATISTICS_FILE}: '{name}' should hold {loaded.channels} numbers.",
                    hint="The run is damaged.",
                )
            setattr(loaded, name, values)
        return loaded
