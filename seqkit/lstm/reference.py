"""The LSTM's equations, once, in plain PyTorch: to be read, and to test the kernels against. Slow; differentiable.

For each step, with x_t the input, h and C the states, and [h, x] two vectors side by side (Hochreiter and Schmidhuber
1997, with the forget gate of Gers et al. 2000):

    f   = sigmoid(W_f [h, x] + b_f)      forget gate
    i   = sigmoid(W_i [h, x] + b_i)      input gate
    C~  = tanh(W_C [h, x] + b_C)         candidate
    C_t = f * C_{t-1} + i * C~           cell state
    o   = sigmoid(W_o [h, x] + b_o)      output gate
    h_t = o * tanh(C_t)                  output

Parameters are laid out as torch.nn.LSTM's: the rows of a weight are those of W_i, W_f, W_C, W_o in that order, the
columns for x and for h stand in two matrices, weight_ih and weight_hh, and each has a bias.

Shapes: B sequences, T_b steps of sequence b, I inputs, H hidden, D directions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell(x_t: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One step.

    Args:
        x_t: (I,) or (B, I).
        h: h_{t-1}, (H,) or (B, H).
        c: C_{t-1}, likewise.
        weights: weight_ih (4H, I), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,).

    Returns:
        h_t and C_t.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    pre_i, pre_f, pre_c, pre_o = (x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh).chunk(4, -1)
    f = torch.sigmoid(pre_f)
    i = torch.sigmoid(pre_i)
    candidate = torch.tanh(pre_c)  # C~
    c_t = f * c + i * candidate
    o = torch.sigmoid(pre_o)
    h_t = o * torch.tanh(c_t)
    return h_t, c_t


def layer(
    sequences: list[Tensor], weights: list[Tensor], h_0: Tensor, c_0: Tensor
) -> tuple[list[Tensor], Tensor, Tensor]:
    """One layer over a ragged batch, each sequence by itself.

    Args:
        sequences: B tensors (T_b, I); T_b may be 0.
        weights: four of each direction, as `cell` takes them; eight make the layer bidirectional.
        h_0: (D, B, H).
        c_0: (D, B, H).

    Returns:
        B outputs (T_b, D * H); h_n and c_n (D, B, H), the state after the last step that each direction reads.
    """
    directions, batch, hidden = h_0.shape
    outputs, h_n, c_n = [], [], []
    for b in range(batch):
        columns = []
        for d in range(directions):
            h, c = h_0[d, b], c_0[d, b]  # (H,)
            steps = list(sequences[b]) if d == 0 else list(sequences[b].flip(0))
            read = []
            for x_t in steps:
                h, c = cell(x_t, h, c, weights[4 * d : 4 * d + 4])
                read.append(h)
            columns.append(torch.stack(read if d == 0 else read[::-1]) if read else h.new_zeros(0, hidden))
            h_n.append(h)
            c_n.append(c)
        outputs.append(torch.cat(columns, 1))  # (T_b, D * H)

    def by_direction(states: list[Tensor]) -> Tensor:
        return torch.stack(states).view(batch, directions, hidden).transpose(0, 1)

    return outputs, by_direction(h_n), by_direction(c_n)
