"""Where the rows of a packed batch stand, worked out from `batch_sizes` alone: what a kernel needs beside its inputs.

Shapes: N real steps, T time steps, A = batch_sizes[0] sequences that have at least one step. Packed order is that of
`seqkit.sequences`: row r of step t belongs to the r-th longest sequence.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class Packing:
    """Index tensors of one packed batch, on `device`; each is computed when first asked for."""

    def __init__(self, batch_sizes: Tensor, device: torch.device) -> None:
        self.batch_sizes = batch_sizes  # (T,)
        self.sizes: list[int] = batch_sizes.tolist()
        self.active = self.sizes[0] if self.sizes else 0  # A
        self.device = device

    @cached_property
    def _starts(self) -> Tensor:  # (T,) the first row of each step
        return self.batch_sizes.cumsum(0) - self.batch_sizes

    @cached_property
    def _lengths(self) -> Tensor:  # (A,) longest first
        return (self.batch_sizes.unsqueeze(1) > torch.arange(self.active)).sum(0)

    @cached_property
    def _time(self) -> Tensor:  # (N,)
        return torch.repeat_interleave(self.batch_sizes)

    @cached_property
    def _rank(self) -> Tensor:  # (N,) the sequence of each row
        return torch.arange(self._time.numel()) - self._starts[self._time]

    @cached_property
    def last_rows(self) -> Tensor:
        """(A,) the row of each sequence's last step."""
        return (self._starts[self._lengths - 1] + torch.arange(self.active)).to(self.device)

    @cached_property
    def previous_rows(self) -> Tensor:
        """(N - A,) for each row after the first step, the row of the same sequence one step before."""
        time, rank = self._time[self.active :], self._rank[self.active :]
        return (self._starts[time - 1] + rank).to(self.device)

    @cached_property
    def reversed_rows(self) -> Tensor:
        """(N,) for each row, the row of the same sequence as far from its end; the permutation is its own inverse."""
        mirrored = self._lengths[self._rank] - 1 - self._time
        return (self._starts[mirrored] + self._rank).to(self.device)
