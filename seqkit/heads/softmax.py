"""The softmax over a vocabulary, for heads that predict the next token: full, or adaptive for large vocabularies.

Training needs each target's negative log-probability and the gradients, not the distribution. `softmax_nats` computes
them block by block, so that the (N, V) scores of a batch never stand in memory at once.

Shapes: N real steps, E features, V words, C clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.lstm import products

BLOCK_ROWS = 1024
"""Rows whose scores stand in memory at once; with fewer, adding up the weight's gradient costs as much as it saves."""
ROW_MULTIPLE = 128
"""A block is filled up to a multiple of so many rows, so that ragged batches ask for buffers of few sizes only."""


class _SoftmaxNats(torch.autograd.Function):
    """-log softmax(x W^T + b)[target] of each row, and all gradients of their sum, in one pass over blocks of rows.

    What flows back must be the same number for every row, as it is below a sum: the gradients are worked out going
    forward, while a block's probabilities are at hand, and scaled by that number going back.

    With smoothing e the target is not one word but 1 - e of it and e / V of every word (Szegedy et al. 2016). The
    second part is the same in every row: what it adds to the sum and to the gradients follows from the sum of the
    weight's rows and that of the features, and no more is done with the (n, V) scores than without it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        keep = any(ctx.needs_input_grad[:3])
        dtype = _product_dtype(x)
        low_x, low_weight, low_bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        total = x.new_zeros(())
        grad_x, grad_weight, grad_bias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
        for start in range(0, len(x), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            target = targets[rows].unsqueeze(1)  # (n, 1)
            count = len(target)
            x_block = F.pad(low_x[rows], (0, 0, 0, -count % ROW_MULTIPLE))  # (m, E), m >= n
            scores = products.linear(x_block, low_weight, low_bias)  # (m, V)
            probs = F.softmax(scores, dim=1, dtype=x.dtype)
            # The greatest probability is 1 / V at least, so its logarithm is exact where that of a target's may not be.
            normaliser = scores[:count].amax(1).to(x.dtype) - probs[:count].amax(1).log()  # (n,)
            total += normaliser.sum() - (1 - smoothing) * scores[:count].gather(1, target).to(x.dtype).sum()
            if keep:
                probs[count:] = 0.0
                probs[:count].scatter_add_(1, target, torch.full_like(target, smoothing - 1, dtype=x.dtype))
                grad_bias += probs.sum(0)
                grad_scores = probs.to(dtype)
                grad_x[rows] = products.linear(grad_scores, low_weight.t())[:count]
                grad_weight += products.transposed_product(grad_scores, x_block)
        if smoothing:
            share, weight_sum, x_sum = smoothing / len(weight), weight.sum(0), x.sum(0)  # (E,), (E,)
            total -= share * ((x_sum * weight_sum).sum() + len(x) * bias.sum())
            grad_x -= share * weight_sum
            grad_weight -= share * x_sum
            grad_bias -= share * len(x)
        ctx.save_for_backward(grad_x, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        grad_x, grad_weight, grad_bias = ctx.saved_tensors
        return grad * grad_x, grad * grad_weight, grad * grad_bias, None, None


def _product_dtype(x: Tensor) -> torch.dtype:
    """What products are computed in: autocast's type where it is on, else that of the features."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def softmax_nats_sum(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The sum over rows of -log softmax(x W^T + b)[target], a scalar; differentiable once, in x, weight and bias.

    Args:
        x: (N, E) floating. Under autocast products are computed in its type, and the softmax in the weight's.
        weight: (V, E).
        bias: (V,).
        targets: (N,) int64, each in [0, V).
        smoothing: share of the target that is spread over all V words, in [0, 1).
    """
    total: Tensor = _SoftmaxNats.apply(x.to(weight.dtype), weight, bias, targets, smoothing)
    return total


class VocabularySoftmax(nn.Module):
    """Probabilities of V words from features (N, E), with a weight of its own or a tied one.

    With `cutoffs` it is adaptive (Grave et al. 2017): words [0, cutoffs[0]) and one sign for each cluster share the
    first softmax, and the words [cutoffs[i], cutoffs[i + 1]) of a cluster have a softmax of their own, worked out only
    where it is needed. So ids must stand by falling frequency. Features are not made narrower for rare words, which
    would not go with tied weights.

    Args:
        vocab_size: V.
        features: E.
        cutoffs: ascending, each in (0, V); none for a full softmax.
        tied: the embedding's weight (V, E), which is then the output's too (Press and Wolf 2017).

    Raises:
        ValueError: cutoffs are not ascending within (0, V), or the tied weight has another shape.
    """

    def __init__(
        self, vocab_size: int, features: int, cutoffs: Sequence[int] = (), *, tied: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        self.bounds = [0, *cutoffs, vocab_size]
        if any(low >= high for low, high in pairwise(self.bounds)):
            raise ValueError(f"cutoffs must ascend between 0 and {vocab_size}; they are {list(cutoffs)}.")
        if tied is not None and tied.shape != (vocab_size, features):
            raise ValueError(f"the tied weight must be {(vocab_size, features)}; it is {tuple(tied.shape)}.")
        self.weight = tied if tied is not None else nn.Parameter(torch.empty(vocab_size, features))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.clusters = len(self.bounds) - 2  # C
        self.cluster_weight = nn.Parameter(torch.empty(self.clusters, features)) if self.clusters else None
        self.cluster_bias = nn.Parameter(torch.zeros(self.clusters)) if self.clusters else None
        for drawn in (None if tied is not None else self.weight, self.cluster_weight):
            if drawn is not None:
                nn.init.uniform_(drawn, -(features**-0.5), features**-0.5)

    def nats_sum(self, x: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """The sum of -log p(target) over rows: x (N, E), targets (N,) int64 -> a scalar with a graph.

        `smoothing` in [0, 1) is the share of the target that is spread over all words (Szegedy et al. 2016). Raises
        ValueError for it where the softmax is adaptive.
        """
        if smoothing and self.clusters:
            raise ValueError("an adaptive softmax has no whole distribution to smooth towards")
        weights, biases = self._parts()
        cluster = self._cluster(targets)  # (N,)
        first = torch.where(cluster == 0, targets, self.bounds[1] + cluster - 1)
        total = softmax_nats_sum(x, weights[0], biases[0], first, smoothing)
        for number in range(1, self.clusters + 1):
            rows = (cluster == number).nonzero().squeeze(1)
            if len(rows):
                within = targets[rows] - self.bounds[number]
                total = total + softmax_nats_sum(x[rows], weights[number], biases[number], within)
        return total

    @torch.no_grad()
    def nats(self, x: Tensor, targets: Tensor) -> Tensor:
        """-log p(target) of each row, without a graph: x (N, E), targets (N,) int64 -> (N,), in the weight's dtype."""
        weights, biases = self._parts()
        x = x.to(weights[0].dtype)
        cluster = self._cluster(targets)
        first = torch.where(cluster == 0, targets, self.bounds[1] + cluster - 1)
        nats = _row_nats(x, weights[0], biases[0], first)
        for number in range(1, self.clusters + 1):
            rows = (cluster == number).nonzero().squeeze(1)
            within = targets[rows] - self.bounds[number]
            nats[rows] += _row_nats(x[rows], weights[number], biases[number], within)
        return nats

    @torch.no_grad()
    def log_probs(self, x: Tensor) -> Tensor:
        """The whole distribution of each row, without a graph: x (N, E) -> (N, V), in the weight's dtype."""
        weights, biases = self._parts()
        x = x.to(weights[0].dtype)
        first = F.log_softmax(products.linear(x, weights[0], biases[0]), dim=1)  # (N, cutoffs[0] + C)
        parts = [first[:, : self.bounds[1]]]
        for number in range(1, self.clusters + 1):
            within = F.log_softmax(products.linear(x, weights[number], biases[number]), dim=1)
            parts.append(within + first[:, self.bounds[1] + number - 1].unsqueeze(1))
        return torch.cat(parts, dim=1)

    def _cluster(self, targets: Tensor) -> Tensor:
        """0 for a word of the first softmax, else the number of its cluster."""
        cutoffs = torch.tensor(self.bounds[1:-1], device=targets.device)
        return torch.bucketize(targets, cutoffs, right=True)

    def _parts(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases of the first softmax (with the clusters' signs) and of each cluster."""
        if self.cluster_weight is None or self.cluster_bias is None:
            return [self.weight], [self.bias]
        sizes = [high - low for low, high in pairwise(self.bounds)]
        weights, biases = list(torch.split(self.weight, sizes)), list(torch.split(self.bias, sizes))
        weights[0] = torch.cat([weights[0], self.cluster_weight])
        biases[0] = torch.cat([biases[0], self.cluster_bias])
        return weights, biases


def _row_nats(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(x W^T + b)[target] of each row (N,), block by block."""
    nats = x.new_empty(len(x))
    for start in range(0, len(x), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        log_probs = F.log_softmax(products.linear(x[rows], weight, bias), dim=1)  # (n, V)
        nats[rows] = -log_probs.gather(1, targets[rows].unsqueeze(1)).squeeze(1)
    return nats
