"""Clips of pictures, in video files, as the action recipe sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from seqkit.data.items import Unusable
from seqkit.frontends.clips import RawClip
from seqkit.frontends.frame_encoder import FrameEncoder, FrameEncoderConfig, load_encoder
from seqkit.frontends.video import VideoConfig, VideoFrontend
from seqkit.frontends.video_augmentation import VideoAugmentConfig, augment_video
from seqkit.media.video import Strided, Uniform, probe_video, read_clip, stream_frames
from seqkit.sequences import Sequences
from seqkit.storage import save_tensors

ENCODER_FILE = "encoder.safetensors"
VIDEO_FILES = (*(".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".gif", ".ts"),)
"""What is taken out of a folder."""


class VideoClips:
    """Pictures (T, H, W, 3) uint8 are the raw frames, normalised ones (T, C, H, W) the network's input.

    Where the network that reads pictures is frozen, a raw frame is what it makes of the picture (D,): that is computed
    once, and pictures are not varied.
    """

    suffixes: tuple[str, ...] = VIDEO_FILES

    def __init__(self, config: VideoConfig, augmentation: VideoAugmentConfig, encoder: FrameEncoderConfig) -> None:
        self.config, self.augmentation, self.encoding = config, augmentation, encoder
        self.frontend = VideoFrontend(config)
        self._pretrained = False  # whether the encoder begins with the weights that its configuration names
        self._frozen: FrameEncoder | None = None

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.config.rate

    @property
    def context(self) -> int | None:
        """As the front-end says."""
        return 0 if self.encoding.frozen else self.frontend.context

    @property
    def feature_size(self) -> int:
        """Features of a frame, once they are made of its picture."""
        return (self._frozen or FrameEncoder(self.encoding, self.frontend.channels, pretrained=False)).output_size

    def seconds(self, source: str) -> float | None:
        """How long a video is, as its header says. Raises MediaError."""
        return probe_video(source).seconds

    def read(self, source: str, seconds: float | None = None) -> RawClip:
        """Pictures (T, H, W, 3), or frozen features (T, D). Raises MediaError, Unusable."""
        limit = self.config.max_seconds
        if seconds is None and limit is not None:
            whole = self.seconds(source)
            if whole is not None and whole > limit:
                raise Unusable(f"longer than {limit:g} s (video.max_seconds)")
            seconds = limit
        clip = read_clip(source, Strided(self.rate, seconds=seconds), self.config.size, self.config.fit)
        return RawClip(self._kept(clip.frames), clip.seconds, clip.warnings[0] if clip.warnings else None)

    def stream(self, source: str, warn: Callable[[str], None]) -> Iterator[np.ndarray]:
        """Pictures (H, W, 3), or frozen features (D,), one by one. Raises MediaError."""
        for _, frame in stream_frames(source, self.rate, self.config.size, self.config.fit, warn=warn):
            yield self._kept(frame[None])[0]

    def _kept(self, pictures: np.ndarray) -> np.ndarray:
        if self._frozen is None:
            return pictures
        with torch.no_grad():
            features = self._frozen(Sequences.from_list([self.frontend.features(pictures)]))
        return np.asarray(features.data.numpy())

    def augment(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Another crop, light and pace; of frozen features none."""
        return frames if self.encoding.frozen else augment_video(frames, self.augmentation, rng)

    def mirrored(self, frames: np.ndarray) -> np.ndarray:
        """The pictures, left for right."""
        return np.ascontiguousarray(frames[:, :, ::-1])

    def features(self, frames: np.ndarray) -> Tensor:
        """Input (T, C, H, W), or frozen features (T, D)."""
        return torch.from_numpy(frames) if self.encoding.frozen else self.frontend.features(frames)

    def encoder(self) -> nn.Module:
        """What reads pictures; nothing where its features are given."""
        if self.encoding.frozen:
            return nn.Identity()
        channels, size = self.frontend.channels, self.config.size
        return FrameEncoder(self.encoding, channels, pretrained=self._pretrained, size=size)

    def pictures(self, source: str, count: int) -> np.ndarray | None:
        """Frames (T, H, W, 3), spread over the clip, as they are seen. Raises MediaError."""
        return read_clip(source, Uniform(count), self.config.size, self.config.fit).frames

    def fit(self, clips: Iterable[np.ndarray]) -> Self:
        """Take the statistics of the pictures; then take up the frozen network."""
        self._pretrained = True
        self.frontend.fit(clips)
        if self.encoding.frozen:
            self._frozen = FrameEncoder(self.encoding, self.frontend.channels, size=self.config.size).eval()
        return self

    def save(self, folder: Path) -> None:
        """Write the statistics, and the frozen network."""
        self.frontend.save(folder)
        if self._frozen is not None:
            save_tensors(folder / ENCODER_FILE, self._frozen.state_dict())

    def load(self, folder: Path) -> Self:
        """Read the statistics, and the frozen network."""
        self.frontend = VideoFrontend.load(folder, self.config)
        if self.encoding.frozen:
            self._frozen = FrameEncoder(self.encoding, self.frontend.channels, pretrained=False).eval()
            load_encoder(folder / ENCODER_FILE, self._frozen)
        return self
