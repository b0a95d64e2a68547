"""Start vectors for an embedding, from the training texts alone: which tokens stand near each other.

Positive pointwise mutual information of tokens and their neighbours, factored by a truncated singular value
decomposition (Levy et al. 2015, with their settings: contexts smoothed by 0.75, neighbours weighted by 1 / distance,
singular values to the power 0.5). A recurrent network that starts from them knows synonyms before its first step;
on a few tens of thousands of labelled texts that is worth more than any of the usual sizes and rates.

Shapes: V tokens of the vocabulary, C of them as contexts, E the size of a vector, P pairs that occur.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

WINDOW = 5
CONTEXTS = 10_000
SMOOTHING = 0.75
POWER_ITERATIONS = 3
OVERSAMPLING = 20


def cooccurrence_vectors(
    rows: Iterable[np.ndarray], vocab_size: int, size: int, *, unk_id: int, std: float, seed: int
) -> Tensor:
    """Vectors (V, E) float32 of standard deviation `std`, from the ids (L,) of each training text.

    `size` is E. Tokens without a neighbour that tells anything, and dimensions beyond the rank, are left random.
    """
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(vocab_size, size, generator=generator) * std  # (V, E)
    tokens, contexts, counts = count_pairs(rows, min(vocab_size, CONTEXTS), unk_id)
    if not len(counts):
        return vectors
    matrix, transposed = _ppmi(tokens, contexts, counts, vocab_size)
    rank = min(size, *matrix.shape)
    left, values = _factors(matrix, transposed, rank, generator)
    scaled = left * values.sqrt()  # (V, rank)
    known = torch.zeros(vocab_size, dtype=torch.bool)
    known[matrix.indices()[0]] = True  # the rows of the others are zero but for rounding
    vectors[known, :rank] = scaled[known] * (std / scaled[known].std())
    return vectors


def count_pairs(rows: Iterable[np.ndarray], contexts: int, unk_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (P,), contexts (P,) and weighted counts (P,) of the pairs within WINDOW steps of each other in a text.

    Only ids below `contexts`, the most frequent ones of a vocabulary sorted by frequency, count as contexts.
    """
    gap = np.full(WINDOW, unk_id, dtype=np.int64)  # between texts, so that no pair spans two
    stream = np.concatenate([part for row in rows for part in (row.astype(np.int64), gap)] or [gap])
    keys, weights = [], []
    for distance in range(1, WINDOW + 1):
        for token, context in ((stream[:-distance], stream[distance:]), (stream[distance:], stream[:-distance])):
            counted = (token != unk_id) & (context != unk_id) & (context < contexts)
            found, times = np.unique(token[counted] * contexts + context[counted], return_counts=True)
            keys.append(found)
            weights.append(times / distance)
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    counts = np.bincount(place, np.concatenate(weights), len(pairs))
    return pairs // contexts, pairs % contexts, counts


def _ppmi(tokens: np.ndarray, contexts: np.ndarray, counts: np.ndarray, vocab_size: int) -> tuple[Tensor, Tensor]:
    """The sparse matrix (V, C) of max(0, log P(t, c) / (P(t) P(c))), and its transpose."""
    of_token = np.bincount(tokens, counts)  # (V,)
    of_context = np.bincount(contexts, counts) ** SMOOTHING  # (C,)
    of_context /= of_context.sum()
    information = np.log(counts / (of_token[tokens] * of_context[contexts]))  # (P,)
    positive = information > 0
    index = torch.from_numpy(np.stack([tokens[positive], contexts[positive]]))  # (2, P)
    values = torch.from_numpy(information[positive]).float()
    shape = (vocab_size, len(of_context))
    matrix = torch.sparse_coo_tensor(index, values, shape, check_invariants=True).coalesce()
    return matrix, matrix.t().coalesce()


def _factors(matrix: Tensor, transposed: Tensor, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The left singular vectors (V, rank) and singular values (rank,), by randomised subspace iteration.

    Halko, Martinsson and Tropp 2011, algorithm 4.4.
    """
    columns = min(rank + OVERSAMPLING, *matrix.shape)
    basis = torch.randn(matrix.shape[1], columns, generator=generator)  # (C, columns)
    for _ in range(POWER_ITERATIONS):
        basis = torch.linalg.qr(transposed @ (matrix @ basis))[0]
    left, values, _ = torch.linalg.svd(matrix @ basis, full_matrices=False)
    return left[:, :rank], values[:rank]
