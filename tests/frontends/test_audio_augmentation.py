"""Variations of frames: what each does, that it hangs on its generator alone, and that it keeps what must stay."""

from __future__ import annotations

import numpy as np
import pytest

from seqkit.frontends.audio_augmentation import AudioAugmentConfig, add_noise, augment, mask, stretch
from seqkit.frontends.filterbank import FilterbankConfig, log_mel

BANK = FilterbankConfig()
ALL = AudioAugmentConfig(speed=0.1, tempo=0.1, vocal_tract=0.1, gain_db=6, noise=1.0, time_masks=2, frequency_masks=2)


def frames(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return log_mel(rng.normal(0, 0.1, round(16000 * seconds)).astype(np.float32), BANK)


def test_nothing_is_asked_for() -> None:
    sound = frames()
    np.testing.assert_array_equal(augment(sound, AudioAugmentConfig(), BANK, np.random.default_rng(0)), sound)


def test_the_generator_is_all_it_hangs_on() -> None:
    sound = frames()
    first, again, other = (augment(sound, ALL, BANK, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    np.testing.assert_array_equal(sound, frames())  # the item itself is as it was


def test_speed_is_that_of_the_samples() -> None:
    """Frames played faster look like those of samples that were played faster."""
    time = np.arange(32000) / 16000
    tone = sum(np.sin(2 * np.pi * f * time) for f in (400.0, 1100.0, 2300.0)).astype(np.float32) * 0.1  # type: ignore[union-attr]
    noise = np.random.default_rng(0).normal(0, 0.01, tone.shape).astype(np.float32)
    factor = 1.1
    faster = np.interp(np.arange(0, len(tone), factor), np.arange(len(tone)), tone + noise).astype(np.float32)
    expected = log_mel(faster, BANK).mean(axis=0)
    config = AudioAugmentConfig(speed=0.1)

    class Fixed:
        def uniform(self, low: float, high: float) -> float:
            return high

    got = augment(log_mel(tone + noise, BANK), config, BANK, Fixed())  # type: ignore[arg-type]
    assert abs(len(got) - num(len(faster))) <= 2
    # Tones that move are what differs: without the warp the greatest difference is several times as large.
    assert np.abs(got.mean(axis=0) - expected)[5:70].mean() < 0.5
    assert np.abs(log_mel(tone + noise, BANK).mean(axis=0) - expected)[5:70].mean() > 0.7


def num(samples: int) -> int:
    return 1 + (samples - 400) // 160


def test_speech_keeps_the_frames_that_its_text_needs() -> None:
    config, sound = AudioAugmentConfig(speed=0.5), frames(0.5)
    for seed in range(20):
        assert len(augment(sound, config, BANK, np.random.default_rng(seed), least=len(sound))) >= len(sound)


@pytest.mark.parametrize("total", [1, 5, 49, 50, 51, 120])
def test_stretch(total: int) -> None:
    ramp = np.linspace(0, 1, 50, dtype=np.float32)[:, None] * np.ones((1, 3), dtype=np.float32)
    got = stretch(ramp, total)
    assert got.shape == (total, 3)
    assert (np.diff(got[:, 0]) >= 0).all()
    np.testing.assert_allclose(got.mean(), 0.5, atol=0.02)


@pytest.mark.parametrize("length", [0, 1])
def test_hardly_a_sound(length: int) -> None:
    short = frames()[:length]
    for seed in range(5):
        assert len(augment(short, ALL, BANK, np.random.default_rng(seed))) == length


@pytest.mark.parametrize("ratio", [0.0, 10.0, 30.0])
def test_noise_has_the_power_that_was_asked_for(ratio: float) -> None:
    sound = frames(5.0)
    added = np.exp(add_noise(sound, ratio, np.random.default_rng(0))) - np.exp(sound)
    assert 10 * np.log10(np.exp(sound).mean() / added.mean()) == pytest.approx(ratio, abs=0.5)


def test_masks_are_bounded_and_set_to_the_mean() -> None:
    config = AudioAugmentConfig(
        time_masks=1, time_mask_ms=200, time_mask_share=1.0, frequency_masks=1, frequency_mask_bands=7
    )
    sound = frames(2.0)
    widths = []
    for seed in range(50):
        masked = mask(sound, config, BANK, np.random.default_rng(seed))
        changed = masked != sound
        rows, bands = changed.all(axis=1), changed.all(axis=0)
        widths.append((int(rows.sum()), int(bands.sum())))
        np.testing.assert_allclose(masked[changed], np.broadcast_to(sound.mean(axis=0), sound.shape)[changed])
    assert max(rows for rows, _ in widths) <= 20
    assert max(rows for rows, _ in widths) >= 15
    assert max(bands for _, bands in widths) in (6, 7)
