"""Start vectors from co-occurrence, against counting by hand and a dense singular value decomposition."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from seqkit.frontends.cooccurrence import SMOOTHING, WINDOW, cooccurrence_vectors, count_pairs


def _rows(seed: int = 0, texts: int = 40, vocab_size: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = [0, 1, 2, *rng.integers(3, 20, size=texts)]
    return [rng.integers(0, vocab_size, size=n).astype(np.int32) for n in lengths]


def _count_by_hand(rows: list[np.ndarray], contexts: int) -> Counter[tuple[int, int]]:
    counts: Counter[tuple[int, int]] = Counter()
    for row in rows:
        for i, token in enumerate(row):
            for j, context in enumerate(row):
                near = 0 < abs(i - j) <= WINDOW
                if near and token != 0 and context != 0 and context < contexts:
                    counts[int(token), int(context)] += 1 / abs(i - j)  # type: ignore[assignment]
    return counts


@pytest.mark.parametrize("contexts", [30, 7])
def test_pairs_are_counted_within_texts_only(contexts: int) -> None:
    rows = _rows()
    tokens, found, counts = count_pairs(rows, contexts, unk_id=0)
    by_hand = _count_by_hand(rows, contexts)
    assert len(counts) == len(by_hand)
    for token, context, count in zip(tokens.tolist(), found.tolist(), counts.tolist(), strict=True):
        assert count == pytest.approx(by_hand[token, context])


def test_vectors_reproduce_the_information_matrix() -> None:
    """At full rank the vectors' inner products are those of U sqrt(S), whatever the signs of the factors."""
    vocab_size = 30
    rows = _rows()
    matrix = np.zeros((vocab_size, vocab_size))
    for (token, context), count in _count_by_hand(rows, vocab_size).items():
        matrix[token, context] = count
    of_context = matrix.sum(axis=0) ** SMOOTHING
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(matrix / (matrix.sum(axis=1, keepdims=True) * (of_context / of_context.sum())))
    positive = np.where(matrix > 0, np.maximum(information, 0.0), 0.0)
    left, values, _ = np.linalg.svd(positive)
    expected = left * np.sqrt(values)
    vectors = cooccurrence_vectors(rows, vocab_size, vocab_size, unk_id=0, std=0.2, seed=0).double().numpy()
    known = np.abs(positive).sum(axis=1) > 0
    gram, wanted = vectors[known] @ vectors[known].T, expected[known] @ expected[known].T
    np.testing.assert_allclose(gram / np.linalg.norm(gram), wanted / np.linalg.norm(wanted), atol=2e-3)
    assert vectors[known].std() == pytest.approx(0.2, rel=1e-3)


def test_tokens_in_the_same_places_get_like_vectors() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        noun, verb = rng.integers(1, 4), rng.integers(4, 7)
        rows.append(np.array([7, noun, 8, verb, 9], dtype=np.int32))
    vectors = torch.nn.functional.normalize(cooccurrence_vectors(rows, 10, 4, unk_id=0, std=1.0, seed=0), dim=1)
    alike, unlike = vectors[1:4] @ vectors[1:4].t(), vectors[1:4] @ vectors[4:7].t()
    assert alike.min() > unlike.max() + 0.3


def test_nothing_to_count_leaves_random_vectors_of_the_asked_size() -> None:
    vectors = cooccurrence_vectors([np.array([3], dtype=np.int32)], 50, 8, unk_id=0, std=0.2, seed=1)
    assert vectors.shape == (50, 8)
    assert vectors.std() == pytest.approx(0.2, rel=0.1)
    again = cooccurrence_vectors([], 50, 8, unk_id=0, std=0.2, seed=1)
    assert torch.equal(vectors, again)
