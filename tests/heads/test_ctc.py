"""The CTC loss against a sum over all paths, and row by row."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from seqkit.heads.ctc import BLANK, ctc_loss, given_log_prob, steps_needed
from seqkit.sequences import Sequences


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label != BLANK)


def all_paths(scores: Tensor, target: list[int]) -> float:
    """-log of the sum over every path that spells the target."""
    log_probs = scores.double().log_softmax(dim=-1)
    total = 0.0
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        if collapsed(path) == tuple(target):
            total += math.exp(sum(float(log_probs[step, label]) for step, label in enumerate(path)))
    return -math.log(total)


@pytest.mark.parametrize("target", [[], [1], [1, 2], [2, 2], [1, 2, 1]])
@pytest.mark.parametrize("steps", [3, 5])
def test_sum_over_all_paths(target: list[int], steps: int) -> None:
    scores = torch.randn(steps, 3, generator=torch.Generator().manual_seed(steps))
    nats, count = ctc_loss(Sequences.from_list([scores]), [torch.tensor(target, dtype=torch.int64)])
    assert float(nats) == pytest.approx(all_paths(scores, target), abs=1e-4)
    assert int(count) == len(target)
    assert -given_log_prob(scores.log_softmax(dim=-1).numpy(), target) == pytest.approx(float(nats), abs=1e-4)


def test_a_batch_is_the_sum_of_its_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(steps, 5, generator=generator) for steps in (9, 3, 12)]
    targets = [torch.tensor(ids) for ids in ([1, 2, 2], [4], [3, 1, 4, 4, 4])]
    alone = [ctc_loss(Sequences.from_list([row]), [target]) for row, target in zip(rows, targets, strict=True)]
    nats, count = ctc_loss(Sequences.from_list(rows), targets)
    assert float(nats) == pytest.approx(sum(float(one) for one, _ in alone), rel=1e-5)
    assert int(count) == 9


def test_what_cannot_be_emitted_is_left_out() -> None:
    rows = [torch.randn(4, 3), torch.randn(2, 3, requires_grad=True)]
    targets = [torch.tensor([1, 2]), torch.tensor([1, 1])]
    nats, count = ctc_loss(Sequences.from_list(rows), targets)
    alone, _ = ctc_loss(Sequences.from_list(rows[:1]), targets[:1])
    assert float(nats) == pytest.approx(float(alone))
    assert int(count) == 2
    nothing, none = ctc_loss(Sequences.from_list(rows[1:]), targets[1:])
    assert (float(nothing), int(none)) == (0.0, 0)
    nothing.backward()  # type: ignore[no-untyped-call]  # a batch without any is a step without gradient, not an error
    assert rows[1].grad is not None
    assert not rows[1].grad.any()
    assert given_log_prob(rows[1].detach().numpy(), [1, 1]) == -math.inf


@pytest.mark.parametrize(("ids", "needed"), [([], 0), ([1], 1), ([1, 1], 3), ([1, 2, 2, 2, 1], 7)])
def test_steps_needed(ids: list[int], needed: int) -> None:
    assert steps_needed(ids) == needed
