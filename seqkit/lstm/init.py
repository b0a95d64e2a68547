"""Initial weights of a recurrent layer. Each gate's block of a weight is a matrix of its own and drawn as one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

NAMES = ("glorot", "he", "orthogonal", "uniform")


def initialise(weights: list[Tensor], hidden_size: int, init: str, forget_bias: float | None) -> None:
    """Draw the weights of one direction in place, from torch's default generator.

    Args:
        weights: weight_ih (G * H, I), weight_hh (G * H, H), bias_ih (G * H,), bias_hh (G * H,); G = 4 gates (LSTM)
            or 1 (vanilla RNN).
        hidden_size: H.
        init: "glorot", uniform with variance 2 / (fan in + fan out) (Glorot and Bengio 2010); "he", normal with
            variance 2 / fan in (He et al. 2015); "orthogonal" (Saxe et al. 2014); "uniform", all numbers in
            [-1 / sqrt(H), 1 / sqrt(H)], torch.nn.LSTM's own. Biases are zero in the first three.
        forget_bias: the sum of the two forget gate biases at the start (Gers et al. 2000, Jozefowicz et al. 2015), kept
            in bias_ih; None leaves them as drawn. An RNN has no such gate.

    Raises:
        ValueError: init is none of the four names.
    """
    if init not in NAMES:
        raise ValueError(f"init must be one of {', '.join(NAMES)}; it is '{init}'.")
    with torch.no_grad():
        for weight in weights:
            if init == "uniform":
                nn.init.uniform_(weight, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))
            elif weight.dim() == 1:
                weight.zero_()
            else:
                for block in torch.split(weight, hidden_size):
                    _draw(block, init)
        if forget_bias is not None and weights[2].shape[0] == 4 * hidden_size:
            weights[2][hidden_size : 2 * hidden_size] = forget_bias
            weights[3][hidden_size : 2 * hidden_size] = 0.0


def _draw(block: Tensor, init: str) -> None:
    if init == "glorot":
        nn.init.xavier_uniform_(block)
    elif init == "he":
        nn.init.kaiming_normal_(block, nonlinearity="relu")
    else:
        nn.init.orthogonal_(block)
