"""The softmax over a vocabulary, against torch's own cross-entropy and adaptive softmax with copied weights."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from seqkit.heads import softmax
from seqkit.heads.softmax import VocabularySoftmax, softmax_nats_sum

SHAPES = [(0, 3, 4), (1, 1, 2), (1, 5, 7), (6, 4, 9), (23, 8, 31)]
CUTOFFS = [(4,), (3, 5), (1, 2, 29), (30,)]


@pytest.fixture(params=[1, 4, 1000], autouse=True)
def block_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of every kind: each row by itself, several with a rest, all at once."""
    monkeypatch.setattr(softmax, "BLOCK_ROWS", request.param)


def _numbers(rows: int, features: int, words: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    x = torch.randn(rows, features, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(words, features, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(words, dtype=torch.float64, requires_grad=True)
    return x, weight, bias, torch.randint(words, (rows,))


def _leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


# The full softmax ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "features", "words"), SHAPES)
def test_sum_and_gradients_are_those_of_cross_entropy(rows: int, features: int, words: int) -> None:
    x, weight, bias, targets = _numbers(rows, features, words)
    theirs = _leaves(x, weight, bias)
    total = softmax_nats_sum(x, weight, bias, targets)
    expected = F.cross_entropy(F.linear(*theirs), targets, reduction="sum")
    torch.testing.assert_close(total, expected)
    ours = grad(total * 0.7, (x, weight, bias))
    for one, other in zip(ours, grad(expected * 0.7, theirs), strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_are_the_differences_of_the_sum() -> None:
    x, weight, bias, targets = _numbers(6, 3, 5)
    assert torch.autograd.gradcheck(lambda x, w, b: softmax_nats_sum(x, w, b, targets), (x, weight, bias))


def test_ties_and_scores_beyond_exp_give_finite_nats() -> None:
    x = torch.ones(3, 1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(4, dtype=torch.float64)
    even = softmax_nats_sum(x, torch.zeros(4, 1, dtype=torch.float64), bias, torch.tensor([0, 1, 3]))
    assert even.item() == pytest.approx(3 * math.log(4))
    weight = torch.tensor([[1e4], [1e4], [-1e4], [0.0]], dtype=torch.float64, requires_grad=True)
    huge = softmax_nats_sum(x, weight, bias, torch.tensor([0, 1, 2]))
    assert huge.item() == pytest.approx(3 * math.log(2) + 2e4)
    (slope,) = grad(huge, [weight])
    assert slope[:, 0].tolist() == pytest.approx([0.5, 0.5, -1.0, 0.0])


def test_a_tied_weight_gets_the_gradient_of_both_its_uses() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(9, 4, dtype=torch.float64))
    head = VocabularySoftmax(9, 4, tied=weight).double()
    assert head.weight is weight
    read, targets = torch.tensor([1, 2, 2, 8]), torch.tensor([2, 2, 8, 0])
    ours = head.nats_sum(F.embedding(read, weight), targets)
    theirs = F.cross_entropy(F.embedding(read, weight) @ weight.t(), targets, reduction="sum")
    torch.testing.assert_close(grad(ours, [weight]), grad(theirs, [weight]))


@pytest.mark.parametrize("cutoffs", [(), (7, 15)])
def test_under_bfloat16_the_sum_and_gradients_stay_close(cutoffs: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = VocabularySoftmax(31, 16, cutoffs)
    x, targets = torch.randn(50, 16), torch.randint(31, (50,))
    found = []
    for enabled in (False, True):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            total = head.nats_sum(leaf, targets)
        assert total.dtype == torch.float32
        found.append([total.detach(), *grad(total, [leaf, head.weight])])
    exact, rounded = found
    torch.testing.assert_close(rounded[0], exact[0], rtol=2e-3, atol=0)
    assert rounded[0] != exact[0]
    for one, other in zip(exact[1:], rounded[1:], strict=True):
        assert (one - other).norm() < 0.02 * one.norm()


# The adaptive softmax ------------------------------------------------------------------------------------------------


def _pair(
    words: int, features: int, cutoffs: tuple[int, ...]
) -> tuple[VocabularySoftmax, nn.AdaptiveLogSoftmaxWithLoss]:
    """Ours and torch's with the same weights; torch's projections of the clusters are the identity."""
    torch.manual_seed(0)
    ours = VocabularySoftmax(words, features, cutoffs).double()
    nn.init.normal_(ours.bias)
    # torch's clusters have no biases: ours are zero where they would be compared.
    theirs = nn.AdaptiveLogSoftmaxWithLoss(features, words, list(cutoffs), div_value=1.0, head_bias=True).double()
    assert ours.cluster_weight is not None
    assert ours.cluster_bias is not None
    with torch.no_grad():
        ours.bias[cutoffs[0] :] = 0.0
        nn.init.normal_(ours.cluster_bias)
        theirs.head.weight.copy_(torch.cat([ours.weight[: cutoffs[0]], ours.cluster_weight]))
        theirs.head.bias.copy_(torch.cat([ours.bias[: cutoffs[0]], ours.cluster_bias]))
        for (low, high), tail in zip(itertools.pairwise([*cutoffs, words]), theirs.tail, strict=True):
            tail.get_parameter("0.weight").copy_(torch.eye(features))
            tail.get_parameter("1.weight").copy_(ours.weight[low:high])
    return ours, theirs


@pytest.mark.parametrize("cutoffs", CUTOFFS)
@pytest.mark.parametrize("rows", [1, 2, 40])
def test_it_is_torchs_adaptive_softmax(cutoffs: tuple[int, ...], rows: int) -> None:
    ours, theirs = _pair(31, 6, cutoffs)
    x, targets = torch.randn(rows, 6, dtype=torch.float64), torch.randint(31, (rows,))
    mine, other = _leaves(x, x)
    total = ours.nats_sum(mine, targets)
    expected = -theirs(other, targets).output
    torch.testing.assert_close(total, expected.sum())
    torch.testing.assert_close(ours.nats(x, targets), expected)
    torch.testing.assert_close(ours.log_probs(x), theirs.log_prob(x))
    assert ours.cluster_weight is not None
    slope, slope_words, slope_clusters = grad(total, [mine, ours.weight, ours.cluster_weight])
    other_slope, other_words = grad(expected.sum(), [other, theirs.head.weight])
    torch.testing.assert_close(slope, other_slope)
    torch.testing.assert_close(torch.cat([slope_words[: cutoffs[0]], slope_clusters]), other_words)


@pytest.mark.parametrize("cutoffs", [(), *CUTOFFS])
def test_nats_sum_nats_and_log_probs_agree_and_probabilities_sum_to_one(cutoffs: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    head = VocabularySoftmax(31, 6, cutoffs).double()
    nn.init.normal_(head.bias)
    x = torch.randn(31, 6, dtype=torch.float64)
    targets = torch.arange(31)
    log_probs = head.log_probs(x)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(31, dtype=torch.float64))
    nats = head.nats(x, targets)
    torch.testing.assert_close(nats, -log_probs.gather(1, targets.unsqueeze(1)).squeeze(1))
    torch.testing.assert_close(head.nats_sum(x, targets), nats.sum())
    assert not nats.requires_grad


@pytest.mark.parametrize("cutoffs", [(), (4,), (3, 5)])
@pytest.mark.parametrize("words", [[], [0], [8], [8, 7, 6, 8], [3, 4, 3]], ids=str)
def test_all_targets_in_one_cluster_none_or_one(cutoffs: tuple[int, ...], words: list[int]) -> None:
    torch.manual_seed(0)
    head = VocabularySoftmax(9, 3, cutoffs).double()
    x = torch.randn(len(words), 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor(words, dtype=torch.int64)
    total = head.nats_sum(x, targets)
    (slope,) = grad(total, [head.weight])
    reference = -head.log_probs(x).gather(1, targets.unsqueeze(1)).sum()
    assert total.item() == pytest.approx(reference.item())
    assert head.nats(x, targets).shape == (len(words),)
    # A cluster without a target is not touched: its words get no gradient.
    for low, high in itertools.pairwise(head.bounds[1:]):
        if not any(low <= word < high for word in words):
            assert slope[low:high].abs().sum() == 0


@pytest.mark.parametrize("cutoffs", [(0,), (9,), (5, 5), (5, 3), (-1,)])
def test_cutoffs_must_ascend_within_the_vocabulary(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cutoffs must ascend between 0 and 9"):
        VocabularySoftmax(9, 3, cutoffs)


def test_a_tied_weight_must_fit() -> None:
    with pytest.raises(ValueError, match="tied weight must be"):
        VocabularySoftmax(9, 3, tied=nn.Parameter(torch.zeros(9, 4)))


# Label smoothing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 0.99])
@pytest.mark.parametrize(("rows", "features", "words"), SHAPES)
def test_smoothed_sum_and_gradients_are_those_of_cross_entropy(
    rows: int, features: int, words: int, smoothing: float
) -> None:
    x, weight, bias, targets = _numbers(rows, features, words)
    theirs = _leaves(x, weight, bias)
    total = softmax_nats_sum(x, weight, bias, targets, smoothing)
    expected = F.cross_entropy(F.linear(*theirs), targets, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(total, expected)
    ours = grad(total * 0.7, (x, weight, bias))
    for one, other in zip(ours, grad(expected * 0.7, theirs), strict=True):
        torch.testing.assert_close(one, other)


def test_smoothed_gradients_are_the_differences_of_the_sum() -> None:
    x, weight, bias, targets = _numbers(6, 3, 5)
    assert torch.autograd.gradcheck(lambda x, w, b: softmax_nats_sum(x, w, b, targets, 0.3), (x, weight, bias))


def test_a_tied_weight_is_smoothed_in_both_its_uses() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(9, 4, dtype=torch.float64))
    head = VocabularySoftmax(9, 4, tied=weight).double()
    nn.init.normal_(head.bias)
    read, targets = torch.tensor([1, 2, 2, 8]), torch.tensor([2, 2, 8, 0])
    ours = head.nats_sum(F.embedding(read, weight), targets, 0.2)
    scores = F.linear(F.embedding(read, weight), weight, head.bias)
    theirs = F.cross_entropy(scores, targets, reduction="sum", label_smoothing=0.2)
    for one, other in zip(grad(ours, [weight, head.bias]), grad(theirs, [weight, head.bias]), strict=True):
        torch.testing.assert_close(one, other)


def test_under_bfloat16_the_smoothed_sum_and_gradients_stay_close() -> None:
    torch.manual_seed(0)
    head = VocabularySoftmax(31, 16)
    x, targets = torch.randn(50, 16), torch.randint(31, (50,))
    leaf, other = _leaves(x, x)
    with torch.autocast("cpu", torch.bfloat16):
        total = head.nats_sum(leaf, targets, 0.1)
    assert total.dtype == torch.float32
    expected = F.cross_entropy(F.linear(other, head.weight, head.bias), targets, reduction="sum", label_smoothing=0.1)
    torch.testing.assert_close(total, expected, rtol=2e-3, atol=0)
    assert total != expected
    ours = grad(total, [leaf, head.weight, head.bias])
    for one, exact in zip(ours, grad(expected, [other, head.weight, head.bias]), strict=True):
        assert (one - exact).norm() < 0.02 * exact.norm()


def test_an_adaptive_softmax_is_not_smoothed() -> None:
    head = VocabularySoftmax(9, 3, (4,))
    x, targets = torch.randn(2, 3), torch.tensor([1, 8])
    with pytest.raises(ValueError, match="adaptive softmax"):
        head.nats_sum(x, targets, 0.1)
    assert head.nats_sum(x, targets, 0.0).item() == pytest.approx(head.nats(x, targets).sum().item(), rel=1e-5)
