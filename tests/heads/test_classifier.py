"""Pooling, the classifier's loss and its metrics, each against a loop that spells the definition out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqkit.heads.classifier import (
    Classifier,
    class_weights,
    classification_loss,
    classification_metrics,
    classification_statistics,
    confusion_matrix,
)
from seqkit.heads.pooling import Pooling, PoolName
from seqkit.sequences import Sequences

POOLS: tuple[PoolName, ...] = ("last", "mean", "max", "attention")
LENGTHS = ([3, 0, 1, 7, 1, 0], [1], [0], [0, 0], [5, 5, 5], [2, 9, 4, 1])
FEATURES = 6


def _ragged(lengths: list[int], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, FEATURES, generator=generator, dtype=dtype) - 3.0 for length in lengths]


def _pool(name: PoolName, steps: Tensor, bidirectional: bool, pooling: Pooling) -> list[float]:
    """One pool of one sequence (T, F), by its definition."""
    rows: list[list[float]] = steps.tolist()
    if not rows:
        return [0.0] * FEATURES
    if name == "last":
        half = FEATURES // 2 if bidirectional else FEATURES
        return rows[-1][:half] + rows[0][half:]
    columns = list(zip(*rows, strict=True))
    if name == "mean":
        return [math.fsum(column) / len(rows) for column in columns]
    if name == "max":
        return [max(column) for column in columns]
    assert isinstance(pooling.attention, nn.Sequential)
    first, last = pooling.attention[0], pooling.attention[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        scores = [float(last.weight[0] @ torch.tanh(first.weight @ step + first.bias)) for step in steps]
    weights = [math.exp(score) for score in scores]
    shares = [weight / math.fsum(weights) for weight in weights]
    return [math.fsum(s * v for s, v in zip(shares, column, strict=True)) for column in columns]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", POOLS)
def test_each_pool_follows_its_definition(name: PoolName, bidirectional: bool, lengths: list[int]) -> None:
    torch.manual_seed(0)
    pooling = Pooling((name,), FEATURES, bidirectional=bidirectional).double()
    ragged = _ragged(lengths)
    found = pooling(Sequences.from_list(ragged))
    expected = torch.tensor([_pool(name, steps, bidirectional, pooling) for steps in ragged], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_several_pools_stand_side_by_side_in_the_order_named(lengths: list[int]) -> None:
    order: tuple[PoolName, ...] = ("attention", "max", "last", "mean")
    torch.manual_seed(1)
    pooling = Pooling(order, FEATURES, bidirectional=True).double()
    ragged = _ragged(lengths)
    found = pooling(Sequences.from_list(ragged))
    assert found.shape == (len(lengths), pooling.output_size) == (len(lengths), 4 * FEATURES)
    for place, name in enumerate(order):
        part = found[:, place * FEATURES : (place + 1) * FEATURES]
        expected = torch.tensor([_pool(name, steps, True, pooling) for steps in ragged], dtype=torch.float64)
        torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_batch_gives_what_each_sequence_gives_alone_and_padding_does_not_count(bidirectional: bool) -> None:
    torch.manual_seed(2)
    classifier = Classifier(FEATURES, 3, POOLS, bidirectional=bidirectional, dropout=0.5).eval()
    ragged = _ragged([3, 0, 1, 7, 1], dtype=torch.float32)
    together = classifier(Sequences.from_list(ragged))
    alone = torch.cat([classifier(Sequences.from_list([steps])) for steps in ragged])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    padded = torch.full((5, 9, FEATURES), torch.nan)
    for row, steps in enumerate(ragged):
        padded[row, : len(steps)] = steps
    from_padded = classifier(Sequences.from_padded(padded, torch.tensor([3, 0, 1, 7, 1])))
    torch.testing.assert_close(from_padded, together)


def test_gradients_reach_real_steps_only_and_are_those_of_each_sequence_alone() -> None:
    torch.manual_seed(3)
    pooling = Pooling(POOLS, FEATURES, bidirectional=True).double()
    lengths = [2, 0, 5]
    values = torch.randn(3, 5, FEATURES, dtype=torch.float64, requires_grad=True)
    pooling(Sequences.from_padded(values, lengths)).square().sum().backward()
    assert values.grad is not None
    for row, length in enumerate(lengths):
        assert values.grad[row, length:].abs().sum() == 0
        if length == 0:
            continue
        steps = values[row, :length].detach().requires_grad_()
        pooling(Sequences.from_list([steps])).square().sum().backward()
        assert steps.grad is not None
        torch.testing.assert_close(values.grad[row, :length], steps.grad)
    assert values.grad[2].abs().min() > 0


def test_no_pool_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one pool"):
        Pooling((), 4, bidirectional=False)


# Loss ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_weighted_smoothed_cross_entropy(weighted: bool, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(7, 5, generator=generator) * 4
    labels = torch.tensor([0, 4, 2, 2, 1, 3, 0])
    weights = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0, 1.5, 0.25]) if weighted else None
    total, count = classification_loss(logits, labels, weights=weights, label_smoothing=smoothing)
    expected = 0.0
    for row, label in enumerate(labels.tolist()):
        scores = [float(score) for score in logits[row]]
        norm = math.log(math.fsum(math.exp(score) for score in scores))
        for number, score in enumerate(scores):
            target = smoothing / 5 + (1 - smoothing if number == label else 0.0)
            expected -= (weights[row].item() if weights is not None else 1.0) * target * (score - norm)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert count.item() == pytest.approx(8.25 if weighted else 7.0)


def test_sums_and_counts_of_parts_add_up_to_the_whole() -> None:
    torch.manual_seed(5)
    logits, labels, weights = torch.randn(9, 4).double(), torch.randint(4, (9,)), torch.rand(9)
    whole = classification_loss(logits, labels, weights=weights, label_smoothing=0.1)
    parts = [
        classification_loss(logits[rows], labels[rows], weights=weights[rows], label_smoothing=0.1)
        for rows in (slice(0, 2), slice(2, 9))
    ]
    for place in (0, 1):
        torch.testing.assert_close(parts[0][place] + parts[1][place], whole[place])


# Metrics -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_metrics_follow_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, count = int(rng.integers(2, 6)), int(rng.integers(1, 40))
    labels = rng.integers(classes, size=count).tolist()
    log_probs = np.log(rng.dirichlet(np.ones(classes), size=count))
    totals = np.sum([classification_statistics(k, row) for k, row in zip(labels, log_probs, strict=True)], axis=0)
    predicted = [max(range(classes), key=lambda k, row=row: row[k]) for row in log_probs]  # type: ignore[misc]
    pairs = list(zip(labels, predicted, strict=True))

    matrix = confusion_matrix(totals)
    for true in range(classes):
        for guess in range(classes):
            assert matrix[true, guess] == pairs.count((true, guess))
    scores = []
    for label in range(classes):
        hits = sum(true == guess == label for true, guess in pairs)
        misses = sum(true == label != guess for true, guess in pairs)
        false_alarms = sum(guess == label != true for true, guess in pairs)
        if hits + misses + false_alarms:
            precision = hits / (hits + false_alarms) if hits + false_alarms else 0.0
            recall = hits / (hits + misses) if hits + misses else 0.0
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    metrics = classification_metrics(totals)
    assert metrics["accuracy"] == pytest.approx(sum(true == guess for true, guess in pairs) / count)
    assert metrics["macro_f1"] == pytest.approx(sum(scores) / len(scores))
    assert metrics["loss"] == pytest.approx(-sum(row[k] for k, row in zip(labels, log_probs, strict=True)) / count)


def test_metrics_of_nothing_are_an_error() -> None:
    with pytest.raises(ValueError, match="no example"):
        classification_metrics(np.zeros(5))


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_class_weights_have_mean_one_over_examples_and_the_ratio_asked_for(power: float) -> None:
    counts = np.array([900, 90, 10])
    weights = class_weights(counts, power)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0)
    for one in range(3):
        for other in range(3):
            assert weights[one] / weights[other] == pytest.approx((counts[other] / counts[one]) ** power)


def test_class_weights_leave_alone_at_power_zero_and_balance_at_one() -> None:
    counts = np.array([70, 20, 10])
    np.testing.assert_allclose(class_weights(counts, 0.0), 1.0)
    np.testing.assert_allclose(class_weights(counts, 1.0) * counts, counts.sum() / 3)
