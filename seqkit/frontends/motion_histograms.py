"""A fixed descriptor of pictures: which way edges run and which way they move, cell by cell.

Edges are counted as in histograms of oriented gradients (Dalal and Triggs 2005). What moves is counted by the direction
of its normal flow, the part of the optical flow that one pixel tells: along the gradient of brightness, against the
sign of its change in time (Horn and Schunck 1981). Nothing is learned, so a few dozen clips are enough.

Shapes: N frames, H and W height and width, O orientations, R x S cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOUDNESS = 0.5
"""Root of the mean square of a feature, as an LSTM with fresh weights reads it well."""
_LEAST = 1e-6
_STILL = 1e-2  # of a whole histogram: less is noise


class MotionHistograms(nn.Module):
    """Brightness and its change (N, 2, H, W) to histograms (N, 2 * O * R * S) of edges and of motion, each cell's
    square root, so that a strong edge does not drown the others. The mean square of each half is `LOUDNESS` squared,
    less where all is still."""

    def __init__(self, cells: tuple[int, int], orientations: int = 8) -> None:
        super().__init__()
        self.cells, self.orientations = cells, orientations
        self.output_size = 2 * orientations * cells[0] * cells[1]

    def forward(self, pictures: Tensor) -> Tensor:
        """The histograms of each picture, computed alone."""
        grey, change = pictures[:, 0], pictures[:, 1]  # (N, H, W)
        padded = F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
        down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
        strength = torch.sqrt(across**2 + down**2 + _LEAST)
        angle = torch.atan2(down, across)
        edges = self._histogram(2 * angle, strength)  # an edge has no direction: half a turn is the same
        moving = torch.where(change > 0, angle + math.pi, angle)
        # Where brightness hardly differs, its change says nothing about a direction.
        certain = strength / (strength + strength.mean(dim=(1, 2), keepdim=True))
        motion = self._histogram(moving, change.abs() * certain)
        scale = LOUDNESS * math.sqrt(self.output_size / 2)
        return scale * torch.cat([_unit(edges), _unit(motion)], dim=1)

    def _histogram(self, angle: Tensor, weight: Tensor) -> Tensor:
        """Weights (N, H, W) by angle, shared between the two nearest orientations: (N, O * R * S)."""
        place = (angle / (2 * math.pi) * self.orientations) % self.orientations
        lower = place.floor()
        share = place - lower
        first = lower.long() % self.orientations
        counts = weight.new_zeros(len(weight), self.orientations, *weight.shape[1:])
        counts.scatter_(1, first[:, None], (weight * (1 - share))[:, None])
        counts.scatter_add_(1, ((first + 1) % self.orientations)[:, None], (weight * share)[:, None])
        return F.adaptive_avg_pool2d(counts, self.cells).flatten(1)


def _unit(histograms: Tensor) -> Tensor:
    """The square roots (N, D) of shares of the whole; of next to nothing, next to nothing."""
    return torch.sqrt(histograms / (histograms.sum(dim=1, keepdim=True) + _STILL))
