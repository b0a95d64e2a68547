"""Pooling: from a sequence of vectors to one vector per example.

Shapes: N real steps, B examples, T longest length, F features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from seqkit.sequences import Sequences

PoolName = Literal["last", "mean", "max", "attention"]


class Pooling(nn.Module):
    """Concatenates one or more pools of a sequence: `last`, `mean`, `max`, `attention`.

    `last` takes, with two directions, what each direction saw at its own end: the forward half of the last step and
    the backward half of the first. `attention` is a softmax over a learned score of each step, v tanh(W x), as in
    Yang et al. 2016. A sequence of length 0 pools to zeros.
    """

    def __init__(self, pools: tuple[PoolName, ...], features: int, *, bidirectional: bool) -> None:
        super().__init__()
        if not pools:
            raise ValueError("at least one pool is needed")
        self.pools = pools
        self.bidirectional = bidirectional
        self.output_size = len(pools) * features
        self.attention: nn.Module | None = None
        if "attention" in pools:
            self.attention = nn.Sequential(nn.Linear(features, features), nn.Tanh(), nn.Linear(features, 1, bias=False))

    def forward(self, x: Sequences) -> Tensor:
        """Pool (N, F) to (B, len(pools) * F)."""
        x_BTF = x.padded()
        lengths_B = x.lengths.to(x_BTF.device)
        if x_BTF.shape[1] == 0:
            return x_BTF.new_zeros(x_BTF.shape[0], self.output_size)
        beyond_BT = torch.arange(x_BTF.shape[1], device=x_BTF.device) >= lengths_B[:, None]
        pooled = [getattr(self, f"_{name}")(x, x_BTF, beyond_BT, lengths_B) for name in self.pools]
        return torch.cat(pooled, dim=1)

    def _last(self, _: Sequences, x_BTF: Tensor, beyond_BT: Tensor, lengths_B: Tensor) -> Tensor:
        rows_B = torch.arange(len(x_BTF), device=x_BTF.device)
        last_BF = x_BTF[rows_B, (lengths_B - 1).clamp(min=0)]
        if not self.bidirectional:
            return last_BF
        half = x_BTF.shape[2] // 2
        return torch.cat([last_BF[:, :half], x_BTF[:, 0, half:]], dim=1)

    def _mean(self, _: Sequences, x_BTF: Tensor, beyond_BT: Tensor, lengths_B: Tensor) -> Tensor:
        return x_BTF.sum(dim=1) / lengths_B.clamp(min=1)[:, None]

    def _max(self, _: Sequences, x_BTF: Tensor, beyond_BT: Tensor, lengths_B: Tensor) -> Tensor:
        highest_BF = x_BTF.masked_fill(beyond_BT[:, :, None], -torch.inf).max(dim=1).values
        return highest_BF.masked_fill((lengths_B == 0)[:, None], 0.0)

    def _attention(self, x: Sequences, x_BTF: Tensor, beyond_BT: Tensor, lengths_B: Tensor) -> Tensor:
        assert self.attention is not None
        scores_BT = x.map(self.attention).padded().squeeze(-1).masked_fill(beyond_BT, -torch.inf)
        # A row without steps has no softmax; its values are all zero, so any finite weights give its zeros.
        scores_BT = scores_BT.masked_fill((lengths_B == 0)[:, None], 0.0)
        return torch.einsum("bt,btf->bf", scores_BT.softmax(dim=1), x_BTF)
