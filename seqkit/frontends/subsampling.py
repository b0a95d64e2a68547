"""Fewer, richer frames before the LSTM: neighbours stacked, or convolutions with strides.

Both keep to a receptive field that they state, so that a stream can be cut into pieces that overlap by it.

Shapes: B sounds, T frames, T' = ceil(T / stride) steps, M mel bands, F features.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.config import Config
from seqkit.sequences import Sequences


class SubsamplingConfig(Config):
    """From frames to the LSTM's steps."""

    kind: Literal["stack", "conv"] = "stack"
    """Put neighbouring frames side by side (Sak et al. 2015), or convolve over time and bands (Amodei et al. 2016)."""
    stride: int = Field(default=3, ge=1)
    """Frames a step; for `conv` 1, 2 or 4."""
    context: int = Field(default=2, ge=0)
    """Frames before and after its own that a step of `stack` sees too."""
    channels: int = Field(default=32, ge=1)
    """Channels of a convolution."""


class Subsampling(nn.Module):
    """What both have in common."""

    stride: int
    """Frames a step."""
    reach: int
    """A step k sees no frame before k * stride - reach, and none from (k + 1) * stride + reach on."""
    output_size: int
    """F."""

    def forward(self, frames: Sequences) -> Sequences:
        """Frames (N, M) to steps (N', F), of ceil(T / stride) steps each; beyond its ends a sound is zero."""
        lengths = -(-frames.lengths // self.stride)
        if frames.steps == 0:
            return Sequences(frames.data.new_zeros(0, self.output_size), lengths)
        return Sequences.from_padded(self._steps(frames), lengths)

    def _steps(self, frames: Sequences) -> Tensor:
        raise NotImplementedError


class FrameStacking(Subsampling):
    """A step is `stride` frames side by side, with `context` more on each side."""

    def __init__(self, mels: int, stride: int, context: int) -> None:
        super().__init__()
        self.stride, self.reach = stride, context
        self.output_size = mels * (stride + 2 * context)

    def _steps(self, frames: Sequences) -> Tensor:
        padded = frames.padded()  # (B, T, M)
        short = -padded.shape[1] % self.stride
        padded = F.pad(padded, (0, 0, self.reach, self.reach + short))
        windows = padded.unfold(1, self.stride + 2 * self.reach, self.stride)  # (B, T', M, width)
        return windows.transpose(2, 3).flatten(2)  # (B, T', width * M)


class ConvSubsampling(Subsampling):
    """Two convolutions of 3 x 3 over time and bands, each with ReLU; those that halve time halve the bands too."""

    def __init__(self, mels: int, stride: int, channels: int) -> None:
        super().__init__()
        if stride not in (1, 2, 4):
            raise ValueError(f"convolutions halve time once, twice or never: stride 1, 2 or 4, not {stride}")
        strides = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[stride]
        self.stride = stride
        self.reach = 1 + strides[0]  # one frame for the first convolution, one step of its output for the second
        self.convolutions = nn.ModuleList()
        bands, read = mels, 1
        for step in strides:
            self.convolutions.append(nn.Conv2d(read, channels, 3, stride=(step, 2), padding=1))
            bands, read = -(-bands // 2), channels
        self.output_size = channels * bands

    def _steps(self, frames: Sequences) -> Tensor:
        values, lengths = frames.padded().unsqueeze(1), frames.lengths  # (B, 1, T, M)
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d)
            values = F.relu(convolution(values))  # (B, C, T', M')
            lengths = -(-lengths // convolution.stride[0])
            real = torch.arange(values.shape[2]) < lengths.unsqueeze(1)  # (B, T')
            values = values * real.to(values.device)[:, None, :, None]  # what is beyond an end stays zero
        return values.transpose(1, 2).flatten(2)  # (B, T', C * M')


def build_subsampling(config: SubsamplingConfig, mels: int) -> FrameStacking | ConvSubsampling:
    """The module that a configuration asks for. Raises ValueError for a stride that convolutions do not have."""
    if config.kind == "stack":
        return FrameStacking(mels, config.stride, config.context)
    return ConvSubsampling(mels, config.stride, config.channels)
