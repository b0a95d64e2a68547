"""Heads over clips: a clip in a batch is what it is alone, and the weights of the steps are what the formula says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from seqkit.heads.clips import ClipModel, PooledHead, StepHead, mean_log_probs
from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences

LENGTHS = [5, 1, 9, 3]


def _model(kind: str, *, growth: float = 1.0) -> ClipModel:
    torch.manual_seed(0)
    lstm = StackedLSTM(6, 8, 2, bidirectional=kind == "pool")
    head: PooledHead | StepHead
    if kind == "pool":
        head = PooledHead(16, 4, ("max", "mean"), bidirectional=True, dropout=0.5)
    else:
        head = StepHead(8, 4, growth=growth, dropout=0.5)
    encoder = nn.Identity()
    return ClipModel(encoder, lstm, head).eval()


def _clips() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(length, 6) for length in LENGTHS]


@pytest.mark.parametrize("kind", ["pool", "steps"])
def test_a_clip_in_a_batch_is_what_it_is_alone(kind: str) -> None:
    model, clips, labels = _model(kind), _clips(), torch.tensor([0, 3, 1, 2])
    together = model.log_probs(Sequences.from_list(clips))
    losses = model.head.losses(model(Sequences.from_list(clips))[0], labels, 0.1)
    for row, clip in enumerate(clips):
        alone = Sequences.from_list([clip])
        torch.testing.assert_close(model.log_probs(alone)[0], together[row], rtol=1e-5, atol=1e-6)
        own = model.head.losses(model(alone)[0], labels[row : row + 1], 0.1)
        torch.testing.assert_close(own[0], losses[row], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together.exp().sum(dim=1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("growth", [0.0, 1.0, 2.5])
def test_the_loss_of_steps_grows_towards_the_end(growth: float) -> None:
    model, clips, labels = _model("steps", growth=growth), _clips(), torch.tensor([0, 3, 1, 2])
    assert isinstance(model.head, StepHead)
    output = model(Sequences.from_list(clips))[0]
    losses = model.head.losses(output, labels, 0.0)
    log_probs = model.head.log_probs(output)
    for row, scores in enumerate(model.head.scores(output).unpack()):
        total = len(scores)
        shares = [(t / total) ** growth for t in range(1, total + 1)]
        steps = scores.detach().double().log_softmax(dim=1)
        expected = -sum(w * float(s[labels[row]]) for w, s in zip(shares, steps, strict=True)) / sum(shares)
        assert float(losses[row]) == pytest.approx(expected, rel=1e-5)
        mean = sum(w * s.exp() for w, s in zip(shares, steps, strict=True)) / sum(shares)
        torch.testing.assert_close(log_probs[row], torch.as_tensor(mean).log(), rtol=1e-6, atol=1e-8)


def test_views_of_a_clip_are_averaged() -> None:
    probs = torch.tensor([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]], dtype=torch.float64)
    mean = mean_log_probs(probs.log(), torch.tensor([0, 0, 1]), 2)
    torch.testing.assert_close(mean.exp(), torch.tensor([[0.4, 0.6], [0.5, 0.5]], dtype=torch.float64))
    assert float(mean[0, 0]) == pytest.approx(math.log(0.4))


def test_a_state_that_is_carried_gives_the_same_outputs() -> None:
    model, clip = _model("steps"), _clips()[2]
    whole, last = model(Sequences.from_list([clip]))
    first, state = model(Sequences.from_list([clip[:4]]))
    second, state = model(Sequences.from_list([clip[4:]]), state)
    torch.testing.assert_close(torch.cat([first.data, second.data]), whole.data, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state.hidden, last.hidden, rtol=1e-5, atol=1e-6)
