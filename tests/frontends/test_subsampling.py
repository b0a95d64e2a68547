"""Subsampling: a batch row by row, the steps that it says it makes, and the reach that it states."""

from __future__ import annotations

import pytest
import torch

from seqkit.frontends.subsampling import ConvSubsampling, FrameStacking, SubsamplingConfig, build_subsampling
from seqkit.sequences import Sequences

MELS = 6
BOTH = [
    SubsamplingConfig(kind="stack", stride=3, context=2),
    SubsamplingConfig(kind="stack", stride=1, context=0),
    SubsamplingConfig(kind="stack", stride=4, context=5),
    SubsamplingConfig(kind="conv", stride=1, channels=3),
    SubsamplingConfig(kind="conv", stride=2, channels=3),
    SubsamplingConfig(kind="conv", stride=4, channels=3),
]


def made(config: SubsamplingConfig) -> FrameStacking | ConvSubsampling:
    torch.manual_seed(0)
    return build_subsampling(config, MELS)


@pytest.mark.parametrize("config", BOTH)
@pytest.mark.parametrize("lengths", [[7], [1, 12, 5], [0, 3], [8, 8, 1, 0]])
def test_batch_is_each_alone(config: SubsamplingConfig, lengths: list[int]) -> None:
    module = made(config)
    sounds = [torch.randn(length, MELS) for length in lengths]
    together = module(Sequences.from_list(sounds))
    assert together.lengths.tolist() == [-(-length // config.stride) for length in lengths]
    assert together.data.shape[1] == module.output_size
    for one, steps in zip(sounds, together.unpack(), strict=True):
        alone = module(Sequences.from_list([one])).data
        torch.testing.assert_close(steps, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", BOTH)
def test_reach(config: SubsamplingConfig) -> None:
    """A frame changes the steps within reach of it, and no others."""
    module, frames = made(config), 40
    sound = torch.randn(frames, MELS)
    before = module(Sequences.from_list([sound])).data
    for changed in range(frames):
        other = sound.clone()
        other[changed] += 1.0
        after = module(Sequences.from_list([other])).data
        moved = (after != before).any(dim=1).nonzero().flatten().tolist()
        assert moved
        for step in moved:
            start, stop = step * module.stride - module.reach, (step + 1) * module.stride + module.reach
            assert start <= changed < stop


def test_stacked_frames_stand_in_order() -> None:
    module = FrameStacking(1, stride=2, context=1)
    steps = module(Sequences.from_list([torch.arange(1.0, 6.0)[:, None]])).data
    assert steps.tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 0, 0]]


def test_a_stride_that_convolutions_do_not_have() -> None:
    with pytest.raises(ValueError, match="stride 1, 2 or 4, not 3"):
        build_subsampling(SubsamplingConfig(kind="conv", stride=3), MELS)


def test_an_empty_batch_row() -> None:
    module = made(BOTH[0])
    assert module(Sequences.from_list([torch.zeros(0, MELS)])).steps == 0
