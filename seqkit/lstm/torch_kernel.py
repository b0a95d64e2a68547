"""The kernel `torch`: one layer by torch's own packed recurrence (cuDNN on CUDA), with torch's autograd.

It takes and gives what the op of `op.py` does, so that a layer can run either, and it is the peer that benchmarks
measure against. The vanilla RNN runs here alone.

Shapes: N real steps, T time steps, B rows of the state, A = batch_sizes[0] of them that have a step, I inputs,
H hidden, D directions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_layer(
    data: Tensor, batch_sizes: Tensor, weights: list[Tensor], h_0: Tensor, c_0: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer over a packed batch; float32 under autocast.

    Args:
        data: (N, I).
        batch_sizes: (T,) int64 on the CPU.
        weights: weight_ih (4H, I), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,) of each direction.
        h_0: (D, B, H) in sorted order.
        c_0: (D, B, H) in sorted order.

    Returns:
        output (N, D * H), h_n and c_n (D, B, H).
    """
    if data.shape[0] == 0:
        return _without_steps(data, weights, h_0), h_0.clone(), c_0.clone()
    active = int(batch_sizes[0])
    with torch.autocast(data.device.type, enabled=False):
        output, h_n, c_n = torch._VF.lstm(
            data.to(h_0.dtype),
            batch_sizes,
            (h_0[:, :active].contiguous(), c_0[:, :active].contiguous()),
            weights,
            True,  # has biases
            1,  # layers
            0.0,  # dropout
            torch.is_grad_enabled(),
            h_0.shape[0] == 2,
        )
    return output, torch.cat([h_n, h_0[:, active:]], 1), torch.cat([c_n, c_0[:, active:]], 1)


def rnn_layer(data: Tensor, batch_sizes: Tensor, weights: list[Tensor], h_0: Tensor) -> tuple[Tensor, Tensor]:
    """Run one layer of a vanilla RNN, h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), over a packed batch.

    Args:
        data: (N, I).
        batch_sizes: (T,) int64 on the CPU.
        weights: weight_ih (H, I), weight_hh (H, H), bias_ih (H,), bias_hh (H,) of each direction.
        h_0: (D, B, H) in sorted order.

    Returns:
        output (N, D * H) and h_n (D, B, H).
    """
    if data.shape[0] == 0:
        return _without_steps(data, weights, h_0), h_0.clone()
    active = int(batch_sizes[0])
    with torch.autocast(data.device.type, enabled=False):
        output, h_n = torch._VF.rnn_tanh(
            data.to(h_0.dtype),
            batch_sizes,
            h_0[:, :active].contiguous(),
            weights,
            True,
            1,
            0.0,
            torch.is_grad_enabled(),
            h_0.shape[0] == 2,
        )
    return output, torch.cat([h_n, h_0[:, active:]], 1)


def _without_steps(data: Tensor, weights: list[Tensor], h_0: Tensor) -> Tensor:
    """The output of a batch without steps, (0, D * H); data and weights get gradients of zero from it, not none."""
    joined = torch.stack([data.to(h_0.dtype).sum(), *(w.sum() for w in weights)]).sum()
    return h_0.new_zeros(0, h_0.shape[0] * h_0.shape[2]) + joined
