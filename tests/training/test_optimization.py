"""Optimizers, learning-rate schedules and averaged weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seqkit.settings import TrainingConfig
from seqkit.training.optimization import AveragedWeights, Schedule, build_optimizer


def test_schedules() -> None:
    assert _rates() == [1.0] * 10
    assert _rates(schedule="linear")[5] == pytest.approx(0.5)
    assert _rates(schedule="cosine")[5] == pytest.approx(0.5)
    assert _rates(schedule="cosine", final_learning_rate=0.2)[5] == pytest.approx(0.6)
    warm = _rates(warmup_steps=4)
    assert warm[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    plateau = Schedule(TrainingConfig(learning_rate=1.0, schedule="plateau", plateau_patience=1, plateau_factor=0.5))
    for improved in (True, False, False):
        plateau.evaluated(improved)
    assert plateau.learning_rate(9, 0.9) == 0.5


def _rates(steps: int = 10, **settings: Any) -> list[float]:
    schedule = Schedule(TrainingConfig(learning_rate=1.0, **settings))
    return [schedule.learning_rate(step, step / steps) for step in range(steps)]


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_optimizers_spare_biases_and_embeddings(name: str) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 2))
    optimizer = build_optimizer(model, TrainingConfig(optimizer=name, weight_decay=0.1))  # type: ignore[arg-type]
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decay[id(p)] for p in model.parameters()] == [0.0, 0.1, 0.0]


def test_moving_average_follows_its_formula() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = AveragedWeights(model, 0.5)
    model.weight.data.fill_(1.0)
    average.update()  # decay (1 + 0) / (10 + 0)
    assert average.average[0].item() == pytest.approx(0.9)
    average.swap()
    assert model.weight.item() == pytest.approx(0.9)
    average.swap()
    assert model.weight.item() == 1.0


def test_mean_of_all_steps_from_where_it_begins() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    average = AveragedWeights(model, None)
    seen = []
    for step in range(6):
        model.weight.data.fill_(float(step * step))
        if step == 3:
            average.begin()
        average.update()
        if step >= 3:
            seen.append(float(step * step))
        average.swap()
        expected = sum(seen) / len(seen) if seen else float(step * step)
        torch.testing.assert_close(model.weight.data, torch.full((1, 2), expected))
        average.swap()
        torch.testing.assert_close(model.weight.data, torch.full((1, 2), float(step * step)))


def test_two_ways_of_averaging_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="ema_decay and average_patience"):
        TrainingConfig(ema_decay=0.9, average_patience=1)
