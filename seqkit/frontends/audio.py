"""The audio front-end: a sound file becomes log-mel frames, normalised by what the training part was like.

Shapes: S samples, T frames, M mel bands.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field

from seqkit.config import Config
from seqkit.errors import DataError, RunError
from seqkit.frontends.filterbank import FilterbankConfig, log_mel
from seqkit.storage import read_json, write_json

if TYPE_CHECKING:
    from seqkit.media.audio import Audio

STATISTICS_FILE = "audio.json"
_LEAST_DEVIATION = 1e-2  # of a band that never changes: what divides by it stays finite


class AudioConfig(Config):
    """From sound files to normalised frames."""

    filterbank: FilterbankConfig = FilterbankConfig()
    """The spectrogram."""
    normalize: Literal["global", "utterance"] = "utterance"
    """Each band gets mean 0 and variance 1 over the training part, or over each utterance; a stream needs `global`."""
    fit_utterances: int = Field(default=500, ge=1)
    """Utterances, drawn from the training part, that `global` mean and variance are taken from."""


class AudioFrontend:
    """Sounds to frames (T, M) float32. Fit it or load it first; then it does not change."""

    def __init__(self, config: AudioConfig) -> None:
        self.config = config
        self.mean = np.zeros(config.filterbank.mels, dtype=np.float32)  # (M,)
        self.deviation = np.ones(config.filterbank.mels, dtype=np.float32)  # (M,)

    @property
    def bank(self) -> FilterbankConfig:
        """The spectrogram's settings."""
        return self.config.filterbank

    def fit(self, frames: Iterable[np.ndarray]) -> Self:
        """Take mean and variance of each band from log-mel frames (T, M) of training utterances.

        Raises DataError where there is no frame.
        """
        count, total, squares = 0, np.zeros(self.bank.mels), np.zeros(self.bank.mels)
        for one in frames:
            wide = one.astype(np.float64)
            count, total, squares = count + len(wide), total + wide.sum(axis=0), squares + (wide**2).sum(axis=0)
        if count == 0:
            raise DataError("No training utterance that could be read has a frame.", hint="Check the column of files.")
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0.0)
        self.mean = mean.astype(np.float32)
        self.deviation = np.maximum(np.sqrt(variance), _LEAST_DEVIATION).astype(np.float32)
        return self

    def read(self, source: Any) -> Audio:
        """The samples of a file at the front-end's rate. Raises MediaError."""
        from seqkit.media.audio import read_audio

        return read_audio(source, self.bank.sample_rate)

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """Log-mel frames (T, M), not yet normalised, of samples (S,)."""
        return log_mel(samples, self.bank)

    def normalize(self, frames: np.ndarray) -> np.ndarray:
        """Frames (T, M) of mean 0 and variance 1, over the training part or over themselves."""
        if self.config.normalize == "global" or not len(frames):
            return (frames - self.mean) / self.deviation
        deviation = np.maximum(frames.std(axis=0), _LEAST_DEVIATION)
        normalized: np.ndarray = (frames - frames.mean(axis=0)) / deviation
        return normalized.astype(np.float32, copy=False)

    def seconds(self, frames: int) -> float:
        """How long so many frames are."""
        return frames * self.bank.frame_seconds

    def save(self, folder: Path) -> None:
        """Write the statistics into an existing folder."""
        write_json(folder / STATISTICS_FILE, {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()})

    @classmethod
    def load(cls, folder: Path, config: AudioConfig) -> Self:
        """Read what `save` wrote. Raises RunError where it does not fit the configuration."""
        loaded = cls(config)
        stored = read_json(folder / STATISTICS_FILE)
        for name in ("mean", "deviation"):
            values = np.array(stored.get(name, []), dtype=np.float32)
            if values.shape != (config.filterbank.mels,):
                raise RunError(
                    f"{folder / STATISTICS_FILE}: '{name}' should hold {config.filterbank.mels} numbers.",
                    hint="The run is damaged.",
                )
            setattr(loaded, name, values)
        return loaded
