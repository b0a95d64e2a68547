"""A sound in pieces gives the label probabilities of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.frontends.audio import AudioConfig, AudioFrontend
from seqkit.frontends.filterbank import FilterbankConfig, FilterbankStream
from seqkit.frontends.subsampling import SubsamplingConfig, build_subsampling
from seqkit.heads.ctc import AcousticModel
from seqkit.heads.sound_stream import LabelStream, streamed_log_probs, whole_log_probs
from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences

BANK = FilterbankConfig(mels=8)
WINDOWS = {"window_seconds": 30.0, "overlap_seconds": 3.0}
SUBSAMPLINGS = [
    SubsamplingConfig(kind="stack", stride=3, context=2),
    SubsamplingConfig(kind="stack", stride=2, context=5),
    SubsamplingConfig(kind="conv", stride=2, channels=4),
    SubsamplingConfig(kind="conv", stride=4, channels=4),
]


def model(subsampling: SubsamplingConfig, bidirectional: bool, seed: int = 0) -> AcousticModel:
    torch.manual_seed(seed)
    front = build_subsampling(subsampling, BANK.mels)
    return AcousticModel(front, StackedLSTM(front.output_size, 16, 2, bidirectional), 7).eval()


def sound(seconds: float) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(0).normal(0, 0.1, round(16000 * seconds)).astype(np.float32)
    return values


def blocks(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def whole(models: list[AcousticModel], frontend: AudioFrontend, samples: np.ndarray) -> np.ndarray:
    frames = torch.from_numpy(frontend.normalize(frontend.frames(samples)))
    return whole_log_probs(models, Sequences.from_list([frames]))[0]


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [37, 1600, 7777, 10**6])
@pytest.mark.parametrize("ensemble", [1, 2])
@torch.inference_mode()
def test_stream_is_the_whole(subsampling: SubsamplingConfig, size: int, ensemble: int) -> None:
    models = [model(subsampling, False, seed) for seed in range(ensemble)]
    frontend = AudioFrontend(AudioConfig(filterbank=BANK, normalize="global"))
    frontend.mean += 3.0
    samples = sound(0.3 if size == 37 else 1.3)
    got = np.concatenate(list(streamed_log_probs(models, frontend, blocks(samples, size), **WINDOWS)))
    np.testing.assert_allclose(got, whole(models, frontend, samples), atol=1e-4)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@torch.inference_mode()
def test_labels_come_as_soon_as_their_frames_are_there(subsampling: SubsamplingConfig) -> None:
    network, bank = model(subsampling, False), FilterbankStream(BANK)
    stream, frames, steps = LabelStream([network], BANK.mels), 0, 0
    for block in blocks(sound(1.0), 1600):
        arrived = bank.push(block)
        frames += len(arrived)
        steps += len(stream.push(arrived))
        sampling = network.subsampling
        assert steps == max(0, (frames - sampling.reach) // sampling.stride)
        assert len(stream._frames) <= 2 * sampling.reach + 2 * sampling.stride  # and nothing else is kept


@torch.inference_mode()
def test_windows_of_a_short_sound_are_the_whole() -> None:
    frontend = AudioFrontend(AudioConfig(filterbank=BANK))
    network, samples = model(SUBSAMPLINGS[0], True), sound(2.0)
    got = np.concatenate(list(streamed_log_probs([network], frontend, blocks(samples, 1000), **WINDOWS)))
    np.testing.assert_allclose(got, whole([network], frontend, samples), atol=1e-5)


@pytest.mark.parametrize("size", [999, 50_000])
@pytest.mark.parametrize("seconds", [2.0, 2.51, 4.0])
@torch.inference_mode()
def test_windows_overlap_and_leave_nothing_out(size: int, seconds: float) -> None:
    """With statistics of the training part, a window's middle is nearly what the whole gives; so is the number."""
    frontend = AudioFrontend(AudioConfig(filterbank=BANK, normalize="global"))
    network, samples = model(SUBSAMPLINGS[0], True), sound(seconds)
    pieces = streamed_log_probs([network], frontend, blocks(samples, size), window_seconds=1.0, overlap_seconds=0.5)
    got, expected = np.concatenate(list(pieces)), whole([network], frontend, samples)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=0.02)
    without = streamed_log_probs([network], frontend, blocks(samples, size), window_seconds=1.0, overlap_seconds=0.0)
    assert np.abs(np.concatenate(list(without))[: len(expected)] - expected).max() > 0.02


@torch.inference_mode()
def test_no_sound_at_all() -> None:
    frontend = AudioFrontend(AudioConfig(filterbank=BANK, normalize="global"))
    for network in (model(SUBSAMPLINGS[0], False), model(SUBSAMPLINGS[0], True)):
        assert sum(map(len, streamed_log_probs([network], frontend, [np.zeros(0, dtype=np.float32)], **WINDOWS))) == 0


def test_both_directions_cannot_follow() -> None:
    with pytest.raises(ValueError, match="both directions"):
        LabelStream([model(SUBSAMPLINGS[0], True)], BANK.mels)
