"""The skeleton front-end: joints of a body in space become features of its pose and motion.

A clip is float (T, J, C): x, y, z in metres in C = 3, or with the tracking's confidence, which is not used, in C = 4.
The y axis points up. What a feature is made of is relative to the body, so it does not matter where a person stands,
how tall they are or, if asked for, which way they face.

Shapes: T frames, J joints, F features.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from seqkit.config import Config
from seqkit.data.items import Broken
from seqkit.errors import DataError, RunError
from seqkit.frontends.joints import JointsConfig
from seqkit.storage import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

FeatureName = Literal["positions", "velocities", "bones", "angles", "reach", "speed"]

STATISTICS_FILE = "skeleton.json"
_LEAST_DEVIATION = 1e-3  # of a feature that never changes, such as the centre's own position: what divides stays finite
_LEAST_TORSO = 1e-6  # shorter is no torso, in whatever unit
_MOST = 1e9  # of a coordinate, in whatever unit: products of it stay finite


class SkeletonConfig(Config):
    """From joints to features."""

    joints: JointsConfig = JointsConfig()
    """Which joint is which."""
    frame_rate: float = Field(default=15.0, gt=0.0)
    """Frames a second of the recordings, which a file of joints does not say: times are reckoned by it."""
    features: tuple[FeatureName, ...] = Field(default=("positions", "velocities"), min_length=1)
    """What is said of each frame: `positions` of the joints; `velocities`, how far each has moved since some frames
    ago; `bones`, the direction of each; `angles`, the cosine between every two bones that meet; `reach`, from each of
    the body's ends to the others; `speed`, the length of each velocity."""
    center: Literal["frame", "clip"] = "frame"
    """Positions begin at the centre joint: where it is in each frame, or where it is in the middle (the median) of the
    clip, so that a body that walks or jumps is seen to move."""
    scale: Literal["torso", "none"] = "torso"
    """Divide by the torso's length (the clip's median), so that a child is as large as a grown-up; or leave metres."""
    turn: Literal["clip", "frame", "none"] = "none"
    """Turn the body about the vertical axis until it faces the camera: by its mean direction, in each frame, or not
    at all."""
    lags: tuple[int, ...] = (1,)
    """How many frames ago a velocity begins, one velocity for each; before the clip's start is as at its start."""
    smooth: float = Field(default=0.0, ge=0.0, le=50.0)
    """Standard deviation of a Gaussian over time that the joints are smoothed with, in frames; 0 does not."""
    frames: int | None = Field(default=None, ge=2, le=10_000)
    """Bring every clip to so many frames, which hides how fast an action was; null leaves it as it is."""
    stride: int = Field(default=1, ge=1, le=100)
    """Give the network every so many frames only, from the first; features are made of all of them before. It halves
    the time of training to read every second frame."""
    normalize: Literal["each", "kind", "none"] = "kind"
    """Divide by the deviation over the training part: of each feature, or of all features of one kind, so that what
    hardly moves is not made as loud as what does; or not at all. The mean is taken off unless it is `none`."""
    longest_gap: int = Field(default=30, ge=0)
    """Most frames in a row without a body, or without one of its joints, that are filled in from those around them."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if any(not 1 <= lag <= 1000 for lag in self.lags):
            raise ValueError(f"lags are frames, 1 to 1000; they are {list(self.lags)}")
        if not self.lags and {"velocities", "speed"} & set(self.features):
            raise ValueError("velocities and speed need a lag: set lags=[1], or leave them out of the features")
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"a feature is named twice: {list(self.features)}")
        return self


class SkeletonFrontend:
    """Clips of joints to features (T, F) float32. Fit it or load it first; then it does not change."""

    def __init__(self, config: SkeletonConfig) -> None:
        self.config = config
        self.mean = np.zeros(self.size, dtype=np.float32)  # (F,)
        self.deviation = np.ones(self.size, dtype=np.float32)  # (F,)

    @property
    def size(self) -> int:
        """F, features of a frame."""
        return sum(self._sizes().values())

    @property
    def context(self) -> int | None:
        """How many frames before it a frame's features depend on; None where they depend on the whole clip."""
        config = self.config
        whole = config.center == "clip" or config.scale == "torso" or config.turn == "clip" or config.smooth > 0
        if whole or config.frames is not None or config.stride > 1:
            return None
        return max(config.lags, default=0) if {"velocities", "speed"} & set(config.features) else 0

    def clean(self, joints: np.ndarray) -> np.ndarray:
        """The positions (T', J, 3) float32 of a clip (T, J, 3 or more) as it was recorded, without what is missing.

        A joint is missing where it is not finite, or stands at (0, 0, 0) exactly, as trackers write it. Frames
        without a body are cut off at both ends; what is missing between is filled in by linear interpolation, for
        `longest_gap` frames at most, and a joint that is missing at an end stays where it is first or last seen.

        Raises:
            Broken: the shape or the number of joints is another one, or too much is missing; one sentence.
        """
        count = self.config.joints.count
        if joints.ndim != 3 or joints.shape[2] < 3:
            raise Broken(f"joints have the shape {list(joints.shape)}, where [frames, {count}, 3 or more] is expected")
        if joints.shape[1] != count:
            raise Broken(f"a body of {joints.shape[1]} joints, where the configuration has {count} (joints.count)")
        clip = joints[:, :, :3].astype(np.float64)
        seen = np.isfinite(clip).all(axis=2) & (np.abs(clip) < _MOST).all(axis=2) & (clip != 0.0).any(axis=2)  # (T, J)
        body = np.flatnonzero(seen.any(axis=1))
        if not len(body):
            raise Broken(f"no body is seen in any of the {len(clip)} frames" if len(clip) else "there is no frame")
        clip, seen = clip[body[0] : body[-1] + 1], seen[body[0] : body[-1] + 1]
        for joint in range(count):
            clip[:, joint] = self._filled(clip[:, joint], seen[:, joint], joint)
        if self._torso(clip) < _LEAST_TORSO:
            raise Broken("the torso has no length: all joints are in one place")
        return clip.astype(np.float32)

    def fit(self, clips: Iterable[np.ndarray]) -> Self:
        """Take mean and deviation of the features from clean training clips (T, J, 3).

        Raises DataError where there is none.
        """
        count, total, squares = 0, np.zeros(self.size), np.zeros(self.size)
        for clip in clips:
            raw = self.raw_features(clip)
            count, total, squares = count + len(raw), total + raw.sum(axis=0), squares + (raw**2).sum(axis=0)
        if count == 0:
            raise DataError("No training clip that could be read has a frame.", hint="Check the column of joints.")
        if self.config.normalize == "none":
            return self
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0.0)
        if self.config.normalize == "kind":
            for part in self._slices():
                variance[part] = variance[part].mean()
        self.mean = mean.astype(np.float32)
        self.deviation = np.maximum(np.sqrt(variance), _LEAST_DEVIATION).astype(np.float32)
        return self

    def features(self, clip: np.ndarray) -> Tensor:
        """Normalised features (T', F) float32 of a clean clip (T, J, 3)."""
        import torch

        return torch.from_numpy(((self.raw_features(clip) - self.mean) / self.deviation).astype(np.float32))

    def raw_features(self, clip: np.ndarray) -> np.ndarray:
        """Features (T', F) float64 of a clean clip (T, J, 3), before they are normalised; T' = T unless `frames` or
        `stride` say otherwise."""
        config = self.config
        body = smoothed(clip.astype(np.float64), config.smooth)
        if config.frames is not None:
            body = resample(body, np.linspace(0.0, len(body) - 1.0, config.frames))
        if config.turn != "none":
            body = self._turned(body)
        if config.scale == "torso":
            body = body / max(self._torso(body), _LEAST_TORSO)
        centers = body[:, config.joints.center]  # (T, 3)
        body = body - (centers[:, None] if config.center == "frame" else np.median(centers, axis=0))
        return np.concatenate([self._kind(name, body) for name in config.features], axis=1)[:: config.stride]

    def save(self, folder: Path) -> None:
        """Write the statistics into an existing folder."""
        write_json(folder / STATISTICS_FILE, {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()})

    @classmethod
    def load(cls, folder: Path, config: SkeletonConfig) -> Self:
        """Read what `save` wrote. Raises RunError where it does not fit the configuration."""
        loaded = cls(config)
        stored = read_json(folder / STATISTICS_FILE)
        for name in ("mean", "deviation"):
            try:
                values = np.array(stored[name], dtype=np.float32)
            except (KeyError, TypeError, ValueError):
                values = np.zeros(0, dtype=np.float32)
            if values.shape != (loaded.size,) or not np.isfinite(values).all() or (values <= 0).all():
                raise RunError(
                    f"{folder / STATISTICS_FILE}: '{name}' should hold {loaded.size} numbers.",
                    hint="The run is damaged.",
                )
            setattr(loaded, name, values)
        return loaded

    def _sizes(self) -> dict[FeatureName, int]:
        """How many features of each kind there are."""
        config, joints = self.config, self.config.joints
        moves, ends = joints.count * len(config.lags), len(joints.ends)
        known: dict[FeatureName, int] = {
            "positions": 3 * joints.count,
            "velocities": 3 * moves,
            "bones": 3 * len(joints.bones),
            "angles": len(joints.meeting()),
            "reach": 3 * ends * (ends - 1) // 2,
            "speed": moves,
        }
        return {name: known[name] for name in config.features}

    def _slices(self) -> list[slice]:
        """Where features that share a deviation stand; the velocities of each lag are a kind of their own."""
        parts, start = [], 0
        for name, size in self._sizes().items():
            groups = len(self.config.lags) if name in ("velocities", "speed") else 1
            for _ in range(groups):
                parts.append(slice(start, start + size // groups))
                start += size // groups
        return parts

    def _kind(self, name: FeatureName, body: np.ndarray) -> np.ndarray:
        """Features (T, n) of one kind, of a body (T, J, 3) that is centred, scaled and turned."""
        joints = self.config.joints
        match name:
            case "positions":
                made = body
            case "velocities":
                made = np.stack([moved(body, lag) for lag in self.config.lags], axis=1)
            case "speed":
                made = np.stack([np.linalg.norm(moved(body, lag), axis=2) for lag in self.config.lags], axis=1)
            case "bones":
                made = directions(body, joints.bones)
            case "angles":
                bones = directions(body, joints.bones)
                first, second = np.array(joints.meeting(), dtype=np.int64).reshape(-1, 2).T
                made = (bones[:, first] * bones[:, second]).sum(axis=2)
            case "reach":
                ends = body[:, list(joints.ends)]
                first, second = np.triu_indices(len(joints.ends), 1)
                made = ends[:, second] - ends[:, first]
        return made.reshape(len(body), -1)

    def _filled(self, track: np.ndarray, seen: np.ndarray, joint: int) -> np.ndarray:
        """The track (T, 3) of one joint with what is not `seen` (T,) filled in. Raises Broken."""
        if seen.all():
            return track
        there = np.flatnonzero(seen)
        gap = int(np.diff(there, prepend=-1, append=len(track)).max()) - 1
        if gap > self.config.longest_gap or not len(there):
            raise Broken(
                f"joint {joint} is missing in {gap} frames in a row, of which {self.config.longest_gap} can be "
                "filled in (longest_gap)"
            )
        places = np.arange(len(track))
        return np.stack([np.interp(places, there, track[there, axis]) for axis in range(3)], axis=1)

    def _torso(self, clip: np.ndarray) -> float:
        joints = self.config.joints
        return float(np.median(np.linalg.norm(clip[:, joints.chest] - clip[:, joints.center], axis=1)))

    def _turned(self, clip: np.ndarray) -> np.ndarray:
        """The clip (T, J, 3), the line from the left shoulder and hip to the right ones laid along the x axis."""
        joints = self.config.joints
        right = np.array([pair[1] for pair in joints.girdles()])
        left = np.array([pair[0] for pair in joints.girdles()])
        across = (clip[:, right] - clip[:, left]).sum(axis=1)[:, [0, 2]]  # (T, 2): x and z
        across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        if self.config.turn == "clip":  # the mean, not a median of each coordinate, which would hang on the view
            across = np.broadcast_to(across.mean(axis=0), across.shape)
        length = np.maximum(np.linalg.norm(across, axis=1), 1e-12)
        cosine, sine = (across / length[:, None]).T[:, :, None]  # each (T, 1)
        turned = clip.copy()
        turned[:, :, 0] = clip[:, :, 0] * cosine + clip[:, :, 2] * sine
        turned[:, :, 2] = clip[:, :, 2] * cosine - clip[:, :, 0] * sine
        return turned


def moved(body: np.ndarray, lag: int) -> np.ndarray:
    """How far each joint of (T, J, 3) has moved in `lag` frames; since the clip's start, where that is nearer."""
    before = np.maximum(np.arange(len(body)) - lag, 0)
    return np.asarray(body - body[before])


def directions(body: np.ndarray, bones: tuple[tuple[int, int], ...]) -> np.ndarray:
    """The unit vector (T, bones, 3) of each bone (from, to) of a body (T, J, 3); zeros where it has no length."""
    ends = np.array(bones, dtype=np.int64).reshape(-1, 2)
    along = body[:, ends[:, 1]] - body[:, ends[:, 0]]
    return np.asarray(along / np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9))


def smoothed(clip: np.ndarray, deviation: float) -> np.ndarray:
    """A clip (T, ...) smoothed over time by a Gaussian of so many frames; at the ends by what there is of it."""
    if deviation <= 0.0 or len(clip) < 2:
        return clip
    apart = np.arange(len(clip))[:, None] - np.arange(len(clip))
    weights = np.exp(-0.5 * (apart / deviation) ** 2)
    return np.asarray(np.tensordot(weights / weights.sum(axis=1, keepdims=True), clip, axes=1))


def resample(clip: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The clip (T, ...) at `places` (T',), frame numbers that need not be whole, by linear interpolation."""
    places = np.clip(places, 0.0, len(clip) - 1.0)
    lower = np.minimum(places.astype(np.int64), max(len(clip) - 2, 0))
    share = (places - lower).reshape(-1, *[1] * (clip.ndim - 1))
    upper = np.minimum(lower + 1, len(clip) - 1)
    return np.asarray(clip[lower] * (1.0 - share) + clip[upper] * share)
