"""Random variations of a clip of pictures: another piece of it, another camera, another pace.

Every choice comes from the generator that is given, and holds for the whole clip: a camera that trembled from frame to
frame would drown what moves.

Shapes: T frames, H and W their height and width.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from seqkit.config import Config


class VideoAugmentConfig(Config):
    """What training does to pictures, anew for each clip in each epoch."""

    zoom: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Cut out a piece whose sides are 1 - this to 1 of the picture's, each drawn for itself, and bring it to size."""
    shift: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Move the picture by up to this share of its sides, either way; the border is drawn out to fill what is free."""
    flip: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the clips that are mirrored, left for right; not for actions that differ by their side."""
    speed: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Play at a speed between 1 - this and 1 + this, by leaving frames out or showing them twice."""
    crop: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Cut off up to this share of the frames, at either end."""
    brightness: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Multiply all colours by 1 - this to 1 + this."""
    contrast: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Bring colours nearer to their mean, or away from it: by 1 - this to 1 + this."""
    saturation: float = Field(default=0.0, ge=0.0, le=1.0)
    """Bring colours nearer to grey, or away from it: by 1 - this to 1 + this."""
    hue: float = Field(default=0.0, ge=0.0, le=0.5)
    """Turn the circle of colours by up to this share of it."""


def augment_video(frames: np.ndarray, config: VideoAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """A variation (T', H, W, 3) uint8 of a clip (T, H, W, 3) uint8; of one frame at least."""
    frames = frames[_times(len(frames), config, rng)]
    if config.zoom or config.shift:
        frames = _moved(frames, config, rng)
    if rng.random() < config.flip:
        frames = frames[:, :, ::-1]
    if config.brightness or config.contrast or config.saturation or config.hue:
        frames = _coloured(frames, config, rng)
    return np.ascontiguousarray(frames)


def _times(total: int, config: VideoAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Which frames (T',) are shown."""
    cut = int(rng.uniform(0.0, config.crop) * total)
    start = int(rng.integers(0, cut + 1))
    speed = 1.0 + rng.uniform(-config.speed, config.speed)
    count = max(1, round((total - cut) / speed))
    places = start + (np.arange(count) + 0.5) * ((total - cut) / count)
    return np.clip(places.astype(np.int64), 0, total - 1)


def _moved(frames: np.ndarray, config: VideoAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """A piece of the pictures, brought to their size."""
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    height, width = frames.shape[1:3]
    sides = [max(1, round(side * (1.0 - rng.uniform(0.0, config.zoom)))) for side in (height, width)]
    tops = [rng.uniform(0.0, full - side) for full, side in zip((height, width), sides, strict=True)]
    moves = [rng.uniform(-config.shift, config.shift) * full for full in (height, width)]
    rows, columns = (
        np.clip(np.arange(round(top + move), round(top + move) + side), 0, full - 1)
        for top, move, side, full in zip(tops, moves, sides, (height, width), strict=True)
    )
    piece = torch.from_numpy(frames[:, rows][:, :, columns]).permute(0, 3, 1, 2)
    sized = F.resize(piece, [height, width], interpolation=InterpolationMode.BILINEAR, antialias=True)
    return np.asarray(sized.permute(0, 2, 3, 1).numpy())


def _coloured(frames: np.ndarray, config: VideoAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """The pictures in another light."""
    import torch
    from torchvision.transforms.v2 import functional as F

    pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    factors = [1.0 + rng.uniform(-r, r) for r in (config.brightness, config.contrast, config.saturation)]
    turned = rng.uniform(-config.hue, config.hue)
    pictures = F.adjust_brightness(pictures, factors[0])
    pictures = F.adjust_contrast(pictures, factors[1])
    pictures = F.adjust_saturation(pictures, factors[2])
    if config.hue:
        pictures = F.adjust_hue(pictures, turned)
    return np.asarray(pictures.permute(0, 2, 3, 1).numpy())
