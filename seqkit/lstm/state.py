"""The state that an LSTM carries from one call to the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LSTMState:
    """Hidden and cell state of a layer or a stack, rows in the batch's own order.

    Attributes:
        hidden: h, (layers * directions, B, H), as torch.nn.LSTM's h_n.
        cell: C, (layers * directions, B, H), as torch.nn.LSTM's c_n. A vanilla RNN has none: there it is zeros.
    """

    hidden: Tensor
    cell: Tensor

    @staticmethod
    def zeros(layers: int, batch_size: int, hidden_size: int, *, device: torch.device, dtype: torch.dtype) -> LSTMState:
        """The state before the first step: zeros of (layers, batch_size, hidden_size), layers counting directions."""
        shape = (layers, batch_size, hidden_size)
        return LSTMState(torch.zeros(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype))

    def select(self, indices: Tensor) -> LSTMState:
        """The rows named by `indices` (B',) int64, repeats allowed: what a beam search keeps."""
        return LSTMState(self.hidden.index_select(1, indices), self.cell.index_select(1, indices))

    def detach(self) -> LSTMState:
        """The same values without their history: where truncated backpropagation through time ends."""
        return LSTMState(self.hidden.detach(), self.cell.detach())

    def reset(self, mask: Tensor) -> LSTMState:
        """Zeros in the rows where `mask` (B,) bool is True: where a new document starts."""
        at = mask.unsqueeze(-1)  # (B, 1)
        return LSTMState(self.hidden.masked_fill(at, 0.0), self.cell.masked_fill(at, 0.0))

    def to(self, device: torch.device | str) -> LSTMState:
        """The same state on `device`."""
        return LSTMState(self.hidden.to(device), self.cell.to(device))

    def layers(self, start: int, count: int) -> LSTMState:
        """`count` layers (directions counted) from `start` on."""
        return LSTMState(self.hidden.narrow(0, start, count), self.cell.narrow(0, start, count))

    @staticmethod
    def stack(states: list[LSTMState]) -> LSTMState:
        """The states of several layers as one, in order."""
        if len(states) == 1:
            return states[0]
        return LSTMState(torch.cat([s.hidden for s in states]), torch.cat([s.cell for s in states]))
