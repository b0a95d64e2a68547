"""The resampler: the same bits in any chunking, the right length, and the right signal."""

from __future__ import annotations

import numpy as np
import pytest

from seqkit.errors import MediaError
from seqkit.media import Resampler

PAIRS = (
    (44100, 16000),
    (48000, 16000),
    (8000, 16000),
    (16000, 44100),
    (11025, 16000),
    (44101, 16000),  # nothing in common: 16000 phases
    (768000, 16000),
    (1000, 16000),
    (12001, 8001),
)


def whole(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate([resampler.push(samples), resampler.flush()])


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_any_chunking_gives_the_same_bits(from_rate: int, to_rate: int) -> None:
    rng = np.random.default_rng(from_rate)
    for count in (1, 2501):
        samples = rng.standard_normal(count).astype(np.float32)
        expected = whole(samples, from_rate, to_rate)
        assert len(expected) == -(-count * to_rate // from_rate) == Resampler(from_rate, to_rate).length(count)
        for longest in (1, 3000):
            resampler, pieces, place = Resampler(from_rate, to_rate), [], 0
            while place < count:
                length = int(rng.integers(0, longest + 1))
                pieces.append(resampler.push(samples[place : place + length]))
                place += length
            assert np.array_equal(np.concatenate([*pieces, resampler.flush()]), expected)


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_a_tone_becomes_the_same_tone(from_rate: int, to_rate: int) -> None:
    hertz = 0.3 * min(from_rate, to_rate)
    tone = np.sin(2 * np.pi * hertz * np.arange(from_rate // 2) / from_rate).astype(np.float32)
    found = whole(tone, from_rate, to_rate)
    ideal = np.sin(2 * np.pi * hertz * np.arange(len(found)) / to_rate)
    inner = slice(len(found) // 4, -len(found) // 4)
    assert np.abs(found - ideal)[inner].max() < 1e-4


def test_what_a_lower_rate_cannot_hold_is_removed() -> None:
    tone = np.sin(2 * np.pi * 11000 * np.arange(44100) / 44100).astype(np.float32)
    assert np.abs(whole(tone, 44100, 16000)[500:-500]).max() < 1e-4


def test_it_is_a_filter_with_silence_around_the_sound() -> None:
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(2000).astype(np.float32)
    padded = np.concatenate([np.zeros(441 * 3, np.float32), sound, np.zeros(441, np.float32)])
    found = whole(padded, 44100, 16000)
    assert np.allclose(found[480 : 480 + 726], whole(sound, 44100, 16000), atol=1e-6)


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_samples_come_no_later_than_said(from_rate: int, to_rate: int) -> None:
    resampler = Resampler(from_rate, to_rate)
    samples = np.random.default_rng(0).standard_normal(from_rate // 8).astype(np.float32)
    step, given = max(1, from_rate // 5000), 0
    for begin in range(0, len(samples) - step, step):
        given += len(resampler.push(samples[begin : begin + step]))
        assert (begin + step) / from_rate - given / to_rate <= resampler.delay_seconds


def test_equal_rates_hand_the_samples_through() -> None:
    resampler = Resampler(16000, 16000)
    samples = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert np.array_equal(resampler.push(samples), samples)
    assert len(resampler.flush()) == 0
    assert resampler.delay_seconds == 0


def test_after_a_flush_it_is_as_new() -> None:
    resampler = Resampler(8000, 16000)
    assert len(resampler.flush()) == 0
    sound = np.random.default_rng(0).standard_normal(300).astype(np.float32)
    first = np.concatenate([resampler.push(sound), resampler.flush()])
    assert np.array_equal(np.concatenate([resampler.push(sound), resampler.flush()]), first)


def test_wrong_rates_and_shapes_are_told() -> None:
    for pair in ((999, 16000), (16000, 1), (16000, 10**7)):
        with pytest.raises(MediaError, match="sample rate of"):
            Resampler(*pair)
    with pytest.raises(ValueError, match="one dimension"):
        Resampler(8000, 16000).push(np.zeros((2, 3), np.float32))
