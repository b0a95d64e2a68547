"""Attention: what a decoder looks up in the steps that an encoder wrote.

Shapes: B sources, S steps of the longest one, T steps of the longest target, N real target steps, R rows that are
decoded side by side, Q query features, F features of a source step, A attention units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from seqkit.sequences import Sequences

Scoring = Literal["multiplicative", "additive"]


@dataclass(frozen=True)
class Memory:
    """Encoded sources, padded.

    Attributes:
        values: (B, S, F), what the encoder wrote; zero beyond a source's end.
        keys: (B, S, A), what queries are compared with.
        mask: (B, S) bool, True where there is a real step; each source has one at least.
    """

    values: Tensor
    keys: Tensor
    mask: Tensor

    @property
    def batch_size(self) -> int:
        """B."""
        return self.mask.shape[0]

    def select(self, indices: Tensor) -> Memory:
        """The sources named by `indices` (B',) int64."""
        return Memory(*(part.index_select(0, indices) for part in (self.values, self.keys, self.mask)))


class Attention(nn.Module):
    """One head of attention over a source, from queries (B, T, Q) to contexts (B, T, F).

    Args:
        query_size: Q.
        value_size: F.
        size: A.
        scoring: "multiplicative" compares by q^T W k / sqrt(A) (Luong et al. 2015, "general", scaled as Vaswani et al.
            2017 do), "additive" by v^T tanh(W q + U k) (Bahdanau et al. 2015), which takes S * A tanh a target step.
    """

    def __init__(self, query_size: int, value_size: int, size: int, scoring: Scoring = "multiplicative") -> None:
        super().__init__()
        self.scoring = scoring
        self.query = nn.Linear(query_size, size, bias=scoring == "additive")
        self.key = nn.Linear(value_size, size, bias=False)
        self.score = nn.Parameter(torch.empty(size)) if scoring == "additive" else None
        for linear in (self.query, self.key):
            nn.init.xavier_uniform_(linear.weight)
        if self.score is not None:
            nn.init.uniform_(self.score, -(size**-0.5), size**-0.5)

    def remember(self, source: Sequences) -> Memory:
        """Sources (N, F) as a memory; raises ValueError where one has no step."""
        if source.batch_size and int(source.lengths.min()) < 1:
            raise ValueError("attention needs at least one step of each source")
        return Memory(source.padded(), source.map(self.key).padded(), source.mask())

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Queries (B, T, Q), row b asking source b: contexts (B, T, F) and weights (B, T, S) that sum to 1."""
        projected = self.query(queries)  # (B, T, A)
        if self.score is None:
            # The scale is put on the smaller factor.
            scores = torch.bmm(projected / math.sqrt(projected.shape[2]), memory.keys.transpose(1, 2))  # (B, T, S)
        else:
            hidden = torch.tanh(projected.unsqueeze(2) + memory.keys.unsqueeze(1))  # (B, T, S, A)
            scores = hidden @ self.score
        weights = scores.masked_fill(~memory.mask.unsqueeze(1), -math.inf).softmax(dim=2)
        return torch.bmm(weights, memory.values), weights

    def ragged(self, queries: Sequences, memory: Memory) -> tuple[Sequences, Tensor]:
        """Queries (N, Q) of a batch of targets: contexts (N, F), and weights (B, T, S), of use at real steps only."""
        contexts, weights = self(queries.padded(), memory)
        places = queries.batch_index * queries.max_length + queries.time_index  # (N,) in the flattened grid
        return queries.replace(contexts.flatten(0, 1).index_select(0, places)), weights

    def rows(self, queries: Tensor, memory: Memory, owners: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (R, Q), row r asking source owners[r] (R,): contexts (R, F) and weights (R, S).

        The rows of a source are put side by side, so that its keys are read once for all of them and never copied.
        """
        order = owners.argsort(stable=True)
        counts = torch.bincount(owners, minlength=memory.batch_size)  # (B,)
        slots = torch.empty_like(owners)
        slots[order] = torch.arange(len(owners), device=owners.device) - (counts.cumsum(0) - counts)[owners[order]]
        widest = int(counts.max()) if len(owners) else 0
        grid = queries.new_zeros(memory.batch_size, widest, queries.shape[1])
        grid[owners, slots] = queries
        contexts, weights = self(grid, memory)
        return contexts[owners, slots], weights[owners, slots]
