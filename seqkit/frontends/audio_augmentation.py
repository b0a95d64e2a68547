"""Random variations of a log-mel spectrogram: another speed, another vocal tract, noise, masks.

All of it works on frames, not on samples, so that frames can be kept between epochs and runs: playing a sound faster
squeezes its frames in time and moves its frequencies up, and both are interpolations. Every choice comes from the
generator that is given.

Shapes: T frames, M mel bands.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from seqkit.config import Config
from seqkit.frontends.filterbank import FilterbankConfig, mel_warp


class AudioAugmentConfig(Config):
    """What training does to sounds, anew in each epoch."""

    speed: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Play at a speed between 1 - this and 1 + this (Ko et al. 2015): tempo and pitch change together."""
    tempo: float = Field(default=0.0, ge=0.0, lt=1.0)
    """As speed, the frequencies staying what they are."""
    vocal_tract: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Scale the frequencies between 1 - this and 1 + this, time staying what it is (Jaitly and Hinton 2013)."""
    gain_db: float = Field(default=0.0, ge=0.0)
    """Louder or softer by up to so many decibels; nothing where frames are normalised by utterance."""
    noise: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the utterances that noise is added to."""
    noise_db: tuple[float, float] = (5.0, 30.0)
    """Least and greatest signal-to-noise ratio of that noise, decibels; its spectrum tilts at random."""
    time_masks: int = Field(default=0, ge=0)
    """Stretches of time that are blanked out (SpecAugment, Park et al. 2019)."""
    time_mask_ms: float = Field(default=400.0, gt=0.0)
    """Longest such stretch, milliseconds."""
    time_mask_share: float = Field(default=0.15, gt=0.0, le=1.0)
    """Longest such stretch, as a share of the utterance."""
    frequency_masks: int = Field(default=0, ge=0)
    """Stretches of mel bands that are blanked out."""
    frequency_mask_bands: int = Field(default=15, ge=1)
    """Widest such stretch, in bands."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.noise_db[0] > self.noise_db[1]:
            raise ValueError(f"noise_db goes from the least to the greatest ratio; it is {list(self.noise_db)}")
        return self


def augment(
    frames: np.ndarray,
    config: AudioAugmentConfig,
    bank: FilterbankConfig,
    rng: np.random.Generator,
    least: int = 1,
) -> np.ndarray:
    """A variation of log-mel frames (T, M); of `least` frames at least, where there are as many."""
    if not len(frames):
        return frames
    speed, tempo, tract = (1.0 + rng.uniform(-r, r) for r in (config.speed, config.tempo, config.vocal_tract))
    total = max(round(len(frames) / (speed * tempo)), min(least, len(frames)))
    if total != len(frames):
        frames = stretch(frames, total)
    if speed * tract != 1.0:
        lower, share = mel_warp(bank, speed * tract)
        frames = frames[:, lower] * (1 - share) + frames[:, lower + 1] * share
    if config.noise and rng.random() < config.noise:
        frames = add_noise(frames, rng.uniform(*config.noise_db), rng)
    if config.gain_db:
        frames = frames + np.float32(rng.uniform(-config.gain_db, config.gain_db) * np.log(10.0) / 10.0)
    if config.time_masks or config.frequency_masks:
        frames = mask(frames, config, bank, rng)
    return frames


def stretch(frames: np.ndarray, total: int) -> np.ndarray:
    """The frames (T, M) as `total` frames over the same time, by linear interpolation."""
    if len(frames) < 2 or total < 1:
        return frames[:total] if total <= len(frames) else np.repeat(frames, total, axis=0)[:total]
    places = (np.arange(total) + 0.5) * (len(frames) / total) - 0.5
    places = np.clip(places, 0.0, len(frames) - 1.0)
    lower = np.minimum(places.astype(np.int64), len(frames) - 2)
    share = (places - lower).astype(np.float32)[:, None]
    stretched: np.ndarray = frames[lower] * (1 - share) + frames[lower + 1] * share
    return stretched


def add_noise(frames: np.ndarray, ratio_db: float, rng: np.random.Generator) -> np.ndarray:
    """Frames (T, M) with stationary noise of a random tilt, `ratio_db` decibels below the signal's mean power."""
    power = np.exp(frames)
    bands = frames.shape[1]
    tilt = np.exp(rng.normal(0.0, 1.5) * np.linspace(-1.0, 1.0, bands)) * np.exp(rng.normal(0.0, 0.3, bands))
    level = power.mean() * 10.0 ** (-ratio_db / 10.0) / tilt.mean()
    # The power of noise in a band of several transform bins spreads like a gamma variable around its mean.
    noise = level * tilt * rng.gamma(4.0, 0.25, frames.shape)
    noisy: np.ndarray = np.log(power + noise).astype(np.float32)
    return noisy


def mask(
    frames: np.ndarray, config: AudioAugmentConfig, bank: FilterbankConfig, rng: np.random.Generator
) -> np.ndarray:
    """Frames (T, M) with stretches of time and of bands set to each band's mean over the utterance."""
    blank = frames.mean(axis=0)  # (M,)
    masked = frames.copy()
    widest = min(config.time_mask_ms / 1000 / bank.frame_seconds, config.time_mask_share * len(frames))
    for _ in range(config.time_masks):
        width = int(rng.integers(0, int(widest) + 1))
        start = int(rng.integers(0, len(frames) - width + 1))
        masked[start : start + width] = blank
    for _ in range(config.frequency_masks):
        width = int(rng.integers(0, min(config.frequency_mask_bands, frames.shape[1]) + 1))
        start = int(rng.integers(0, frames.shape[1] - width + 1))
        masked[:, start : start + width] = blank[start : start + width]
    return masked
