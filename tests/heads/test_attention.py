"""Attention against the papers' formulas, worked out one query, source and step at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from seqkit.heads.attention import Attention, Memory, Scoring
from seqkit.sequences import Sequences

SCORINGS: list[Scoring] = ["multiplicative", "additive"]
LENGTHS = [[1], [4], [3, 1, 5], [2, 2], [1, 1, 1], [1, 6, 4, 2]]
SIZES = [(3, 4, 2), (1, 1, 1), (5, 2, 7)]  # Q, F, A
DOUBLE: dict[str, Any] = {"dtype": torch.float64}


def _attention(scoring: Scoring, sizes: tuple[int, int, int]) -> Attention:
    torch.manual_seed(0)
    attention = Attention(*sizes, scoring).double()
    if attention.query.bias is not None:
        torch.nn.init.normal_(attention.query.bias)
    return attention


def _batch(lengths: list[int], features: int) -> Sequences:
    return Sequences.from_list([torch.randn(length, features, **DOUBLE) for length in lengths])


@torch.no_grad()
def _reference(attention: Attention, query: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """One query (Q,) of one source (S, F): context (F,) and weights (S,), in plain words."""
    scores = []
    for step in source:
        if attention.scoring == "multiplicative":
            general = attention.query.weight.t() @ attention.key.weight  # (Q, F), the W of q^T W h
            score = query @ general @ step / math.sqrt(len(attention.query.weight))
        else:
            assert attention.score is not None
            inner = attention.query.weight @ query + attention.query.bias + attention.key.weight @ step
            score = (attention.score * inner.tanh()).sum()
        scores.append(float(score))
    exps = [math.exp(score - max(scores)) for score in scores]
    weights = torch.tensor([exp / sum(exps) for exp in exps], **DOUBLE)
    context = torch.zeros(source.shape[1], **DOUBLE)
    for weight, step in zip(weights, source, strict=True):
        context += weight * step
    return context, weights


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_contexts_and_weights_are_those_of_the_formulas(
    scoring: Scoring, sizes: tuple[int, int, int], lengths: list[int]
) -> None:
    attention = _attention(scoring, sizes)
    source = _batch(lengths, sizes[1])
    queries = torch.randn(len(lengths), 3, sizes[0], **DOUBLE)
    contexts, weights = attention(queries, attention.remember(source))
    assert contexts.shape == (len(lengths), 3, sizes[1])
    assert weights.shape == (len(lengths), 3, max(lengths))
    for row, steps in enumerate(source.unpack()):
        for time in range(3):
            context, share = _reference(attention, queries[row, time], steps)
            torch.testing.assert_close(contexts[row, time], context)
            torch.testing.assert_close(weights[row, time, : len(steps)], share)
    assert weights.masked_select(~source.mask().unsqueeze(1)).eq(0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones_like(weights[..., 0]))


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize(("lengths", "targets"), [([3, 1, 5], [2, 4, 1]), ([2], [3]), ([1, 4], [0, 3]), ([1], [1])])
def test_a_ragged_batch_is_each_sentence_alone(scoring: Scoring, lengths: list[int], targets: list[int]) -> None:
    attention = _attention(scoring, (3, 4, 5))
    source, queries = _batch(lengths, 4), _batch(targets, 3)
    contexts, weights = attention.ragged(queries, attention.remember(source))
    for row, (part, query, context) in enumerate(
        zip(source.unpack(), queries.unpack(), contexts.unpack(), strict=True)
    ):
        alone, share = attention(query.unsqueeze(0), attention.remember(Sequences.from_list([part])))
        torch.testing.assert_close(context, alone[0])
        torch.testing.assert_close(weights[row, : len(query), : len(part)], share[0])


OWNERS = [[0, 1, 2], [2, 0, 1, 0, 2, 2], [1], [0, 0, 0], [2, 2, 1, 1, 2], [0, 1, 0, 1, 0, 2, 0]]


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("owners", OWNERS, ids=str)
def test_a_row_asks_its_owner_whatever_stands_beside_it(scoring: Scoring, owners: list[int]) -> None:
    attention = _attention(scoring, (3, 4, 5))
    source = _batch([3, 1, 5], 4)
    memory, queries = attention.remember(source), torch.randn(len(owners), 3, **DOUBLE)
    contexts, weights = attention.rows(queries, memory, torch.tensor(owners))
    for row, owner in enumerate(owners):
        steps = source.unpack()[owner]
        context, share = _reference(attention, queries[row], steps)
        torch.testing.assert_close(contexts[row], context)
        torch.testing.assert_close(weights[row, : len(steps)], share)
        assert weights[row, len(steps) :].eq(0).all()


@pytest.mark.parametrize("scoring", SCORINGS)
def test_no_rows_give_no_contexts(scoring: Scoring) -> None:
    attention = _attention(scoring, (3, 4, 5))
    memory = attention.remember(_batch([3, 1], 4))
    contexts, weights = attention.rows(torch.zeros(0, 3, **DOUBLE), memory, torch.zeros(0, dtype=torch.int64))
    assert contexts.shape == (0, 4)
    assert weights.shape == (0, 3)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_gradients_are_the_differences(scoring: Scoring) -> None:
    attention = _attention(scoring, (2, 3, 2))
    names, parameters = zip(*attention.named_parameters(), strict=True)
    values = torch.randn(4, 3, requires_grad=True, **DOUBLE)
    queries = torch.randn(5, 2, requires_grad=True, **DOUBLE)

    def contexts(values: Tensor, queries: Tensor, *weights: Tensor) -> Tensor:
        given = dict(zip(names, weights, strict=True))
        arguments = (Sequences(values, [3, 1]), Sequences(queries, [2, 3]))
        result: Tensor = torch.func.functional_call(
            _Whole(attention), {f"of.{k}": v for k, v in given.items()}, arguments
        )
        return result

    assert torch.autograd.gradcheck(contexts, (values, queries, *parameters))


class _Whole(torch.nn.Module):
    """From sources and queries to contexts."""

    def __init__(self, of: Attention) -> None:
        super().__init__()
        self.of = of

    def forward(self, source: Sequences, queries: Sequences) -> Tensor:
        return self.of.ragged(queries, self.of.remember(source))[0].data


def test_chosen_sources_stay_as_they_were() -> None:
    attention = _attention("multiplicative", (3, 4, 5))
    memory = attention.remember(_batch([3, 1, 5], 4))
    chosen = memory.select(torch.tensor([2, 0, 2]))
    assert chosen.batch_size == 3
    assert isinstance(chosen, Memory)
    for part in ("values", "keys", "mask"):
        assert torch.equal(getattr(chosen, part), getattr(memory, part)[[2, 0, 2]])


@pytest.mark.parametrize("lengths", [[0], [3, 0, 2]], ids=str)
def test_a_source_without_a_step_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one step"):
        _attention("multiplicative", (3, 4, 5)).remember(_batch(lengths, 4))
