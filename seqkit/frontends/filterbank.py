"""Log-mel spectrograms, of whole sounds and of sounds that arrive in pieces.

A frame covers its own samples and nothing else: no padding at the ends, no look-ahead. So what a stream gives is what
the whole file gives, whatever the pieces. torchaudio stands behind it, here and nowhere else.

Shapes: S samples, T frames, M mel bands.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from seqkit.config import Config

if TYPE_CHECKING:
    import torch

FLOOR = 1e-6
"""Added to the power in each band before the logarithm, for samples in [-1, 1]: above 16-bit rounding, below speech."""
_BLOCK = 3000  # frames that are transformed at once: 30 s, so that memory does not grow with the file


class FilterbankConfig(Config):
    """From samples to log-mel frames."""

    sample_rate: int = Field(default=16000, ge=4000, le=96000)
    """Samples a second; sounds of another rate are resampled."""
    window_ms: float = Field(default=25.0, gt=0.0)
    """Length of a frame (Hann window), milliseconds."""
    hop_ms: float = Field(default=10.0, gt=0.0)
    """From one frame to the next, milliseconds."""
    mels: int = Field(default=80, ge=4)
    """Mel bands."""
    low_hz: float = Field(default=20.0, ge=0.0)
    """Lower edge of the lowest band."""
    high_hz: float | None = Field(default=None, gt=0.0)
    """Upper edge of the highest band; null for half the sample rate."""
    preemphasis: float = Field(default=0.97, ge=0.0, lt=1.0)
    """Subtract so much of each sample's predecessor in the frame, which lifts high frequencies; 0 does not."""

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return max(1, round(self.sample_rate * self.window_ms / 1000))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return max(1, round(self.sample_rate * self.hop_ms / 1000))

    @property
    def top_hz(self) -> float:
        """Upper edge of the highest band."""
        return self.sample_rate / 2 if self.high_hz is None else self.high_hz

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.sample_rate

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise ValueError(
                f"bands reach from low_hz={self.low_hz:g} to {self.top_hz:g} Hz; at {self.sample_rate} samples a "
                f"second they can reach from 0 to {self.sample_rate / 2:g}"
            )
        if self.window < self.hop:
            raise ValueError(f"window_ms={self.window_ms:g} leaves gaps between frames {self.hop_ms:g} ms apart")
        return self


def num_frames(samples: int, config: FilterbankConfig) -> int:
    """Frames of so many samples: those that fit whole."""
    return 0 if samples < config.window else 1 + (samples - config.window) // config.hop


def log_mel(samples: np.ndarray, config: FilterbankConfig) -> np.ndarray:
    """The natural logarithm of the power in each mel band: (S,) float32 in [-1, 1] to (T, M) float32."""
    total = num_frames(len(samples), config)
    if total == 0:
        return np.zeros((0, config.mels), dtype=np.float32)
    blocks = []
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        blocks.append(_frames(samples[start * config.hop : (stop - 1) * config.hop + config.window], config))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


class FilterbankStream:
    """The frames of a sound that arrives in pieces; together they are those of `log_mel`."""

    def __init__(self, config: FilterbankConfig) -> None:
        self.config = config
        self._waiting = np.zeros(0, dtype=np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take samples (S,) and give the frames (T, M) that are whole by now."""
        held = np.concatenate([self._waiting, samples.astype(np.float32, copy=False)])
        frames = log_mel(held, self.config)
        self._waiting = held[len(frames) * self.config.hop :]
        return frames


def mel_warp(config: FilterbankConfig, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Where each band looks after all frequencies are multiplied by `factor`: lower band (M,) int64, share of the next.

    That is what a faster playback does to frequencies, and roughly what a shorter vocal tract does (Jaitly and Hinton
    2013).
    """
    low, top = _mel(config.low_hz), _mel(config.top_hz)
    step = (top - low) / (config.mels + 1)
    centres = _hertz(low + step * np.arange(1, config.mels + 1))
    places = np.clip((_mel(centres / factor) - low) / step - 1.0, 0.0, config.mels - 1.0)
    lower = np.minimum(places.astype(np.int64), config.mels - 2)
    return lower, (places - lower).astype(np.float32)


def _mel(hertz: Any) -> Any:
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def _hertz(mel: Any) -> Any:
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0)


@functools.lru_cache(maxsize=8)
def _transform(
    sample_rate: int, window: int, mels: int, low: float, top: float
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The window (window,), the bands' weights (bins, M) and the size of the transform."""
    import torch
    import torchaudio

    n_fft = 1 << (window - 1).bit_length()
    weights = torchaudio.functional.melscale_fbanks(
        n_fft // 2 + 1, f_min=low, f_max=top, n_mels=mels, sample_rate=sample_rate, norm=None, mel_scale="htk"
    )
    return torch.hann_window(window, periodic=False), weights, n_fft


def _frames(samples: np.ndarray, config: FilterbankConfig) -> np.ndarray:
    import torch

    hann, weights, n_fft = _transform(config.sample_rate, config.window, config.mels, config.low_hz, config.top_hz)
    frames = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).unfold(0, config.window, config.hop)
    frames = frames - frames.mean(dim=1, keepdim=True)  # (T, window)
    if config.preemphasis:
        # Within the frame, as Kaldi does, so that a frame hangs on no sample before it.
        frames = torch.cat(
            [frames[:, :1] * (1 - config.preemphasis), frames[:, 1:] - config.preemphasis * frames[:, :-1]], dim=1
        )
    power = torch.fft.rfft(frames * hann, n=n_fft).abs().square()  # (T, bins)
    result: np.ndarray = torch.log(power @ weights + FLOOR).numpy()  # (T, M)
    return result
