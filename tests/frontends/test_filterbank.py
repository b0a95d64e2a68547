"""Log-mel frames against torchaudio's own, and pieces against the whole."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch
import torchaudio

from seqkit.frontends.filterbank import FLOOR, FilterbankConfig, FilterbankStream, log_mel, mel_warp, num_frames

CONFIGS = [
    FilterbankConfig(),
    FilterbankConfig(sample_rate=8000, mels=23, preemphasis=0.0),
    FilterbankConfig(sample_rate=22050, window_ms=46.4, hop_ms=11.6, mels=40, low_hz=60, high_hz=8000),
]


def sound(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values: np.ndarray = rng.normal(0, 0.1, samples).astype(np.float32)
    return values


@pytest.mark.parametrize("config", CONFIGS)
def test_as_torchaudio_computes_it(config: FilterbankConfig) -> None:
    """torchaudio's transform, given frames without mean and with pre-emphasis, which it does not do itself."""
    samples = sound(7321)
    n_fft = 1 << (config.window - 1).bit_length()
    mel = torchaudio.transforms.MelSpectrogram(
        config.sample_rate,
        n_fft=n_fft,
        win_length=config.window,
        hop_length=n_fft,
        f_min=config.low_hz,
        f_max=config.top_hz,
        n_mels=config.mels,
        window_fn=lambda size: torch.hann_window(size, periodic=False),
        center=False,
    )
    frames = torch.from_numpy(samples).unfold(0, config.window, config.hop)
    expected = []
    for frame in frames:
        frame = frame - frame.mean()
        previous = torch.cat([frame[:1], frame[:-1]])
        frame = frame - config.preemphasis * previous
        left = (n_fft - config.window) // 2  # torch.stft centres a short window in the transform
        padded = torch.nn.functional.pad(frame, (left, n_fft - config.window - left))
        expected.append(torch.log(mel(padded)[:, 0] + FLOOR))
    np.testing.assert_allclose(log_mel(samples, config), torch.stack(expected).numpy(), atol=2e-4)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [1, 7, 160, 1000, 100_000])
def test_pieces_are_the_whole(config: FilterbankConfig, size: int) -> None:
    samples = sound(3000 if size == 1 else 20_000)
    stream = FilterbankStream(config)
    pieces = [stream.push(samples[start : start + size]) for start in range(0, len(samples), size)]
    whole = log_mel(samples, config)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)
    assert len(whole) == num_frames(len(samples), config)


def test_longer_than_a_block() -> None:
    config = FilterbankConfig()
    samples = sound(16000 * 31)
    whole = log_mel(samples, config)
    assert len(whole) == num_frames(len(samples), config) == 3098
    np.testing.assert_allclose(whole[2999:3002], log_mel(samples[2999 * 160 : 3001 * 160 + 400], config), atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_too_short_for_a_frame(samples: int) -> None:
    assert log_mel(sound(samples), FilterbankConfig()).shape == (0, 80)


def test_silence_is_finite() -> None:
    frames = log_mel(np.zeros(1000, dtype=np.float32), FilterbankConfig())
    np.testing.assert_allclose(frames, np.log(FLOOR), atol=1e-5)


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.15])
def test_warp_moves_a_tone(factor: float) -> None:
    """A tone of 1000 Hz, warped, lies in the bands of a tone of factor * 1000 Hz."""
    config = FilterbankConfig(preemphasis=0.0)
    time = np.arange(4000) / config.sample_rate
    tone, moved = (
        log_mel(np.sin(2 * np.pi * hertz * time).astype(np.float32), config)[0] for hertz in (1000.0, 1000.0 * factor)
    )
    lower, share = mel_warp(config, factor)
    warped = tone[lower] * (1 - share) + tone[lower + 1] * share
    assert abs(int(warped.argmax()) - int(moved.argmax())) <= 1
    if factor == 1.0:
        np.testing.assert_allclose(warped, tone, atol=1e-3)


@pytest.mark.parametrize(
    ("values", "named"),
    [({"low_hz": 9000.0}, "low_hz"), ({"high_hz": 9000.0}, "8000"), ({"window_ms": 5.0}, "gaps")],
)
def test_settings_that_do_not_fit(values: dict[str, float], named: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=named):
        FilterbankConfig(**values)  # type: ignore[arg-type]
