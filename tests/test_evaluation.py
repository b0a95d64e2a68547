"""Evaluation: every example once and in order, and intervals that mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from seqkit.data.items import Items
from seqkit.errors import DataError
from seqkit.evaluation import Evaluation, evaluate, inference, predict, result_record
from seqkit.recipe import Outcome, Recipe

CPU = torch.device("cpu")


def _hits(hits: np.ndarray) -> Evaluation:
    """An evaluation with one metric, the share of hits."""
    outcomes = [Outcome(str(number), {}, None) for number in range(len(hits))]
    statistics = np.stack([hits.astype(np.float64), np.ones(len(hits))], axis=1)
    return Evaluation(outcomes, statistics, lambda totals: {"accuracy": float(totals[0] / totals[1])})


@pytest.mark.parametrize(("count", "share"), [(400, 0.7), (1000, 0.5), (200, 0.9)])
def test_the_interval_is_that_of_the_binomial_distribution(count: int, share: float) -> None:
    """Resampling hits and misses draws from Binomial(n, p): the normal approximation is close for these."""
    evaluation = _hits(np.arange(count) < share * count)
    low, high = evaluation.intervals()["accuracy"]
    deviation = math.sqrt(share * (1 - share) / count)
    assert evaluation.metrics()["accuracy"] == pytest.approx(share)
    assert low == pytest.approx(share - 1.96 * deviation, abs=0.4 * deviation)
    assert high == pytest.approx(share + 1.96 * deviation, abs=0.4 * deviation)


def test_the_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        low, high = _hits(rng.random(80) < 0.6).intervals()["accuracy"]
        covered += low <= 0.6 <= high
    assert 0.85 <= covered / 60 <= 1.0


def test_the_interval_is_deterministic_keyed_by_the_seed_and_widens_with_the_level() -> None:
    evaluation = _hits(np.random.default_rng(0).random(97))
    assert evaluation.intervals() == evaluation.intervals()
    assert evaluation.intervals(seed=1) != evaluation.intervals()
    narrow, wide = evaluation.intervals(level=0.5)["accuracy"], evaluation.intervals(level=0.99)["accuracy"]
    assert wide[0] < narrow[0] < evaluation.metrics()["accuracy"] < narrow[1] < wide[1]


def test_where_all_examples_agree_the_interval_is_a_point() -> None:
    assert _hits(np.ones(30)).intervals()["accuracy"] == (1.0, 1.0)


def _shuffled(recipe: Recipe[Any]) -> tuple[Items, torch.nn.Module]:
    recipe.fit(recipe.load_data()["train"])
    torch.manual_seed(0)
    return recipe.items(recipe.load_data()["validation"]), recipe.build_model()


def test_predictions_stand_in_the_order_of_the_items_whatever_the_batches(toy: Callable[..., Recipe[Any]]) -> None:
    whole, small = toy(), toy({"training.batch_examples": "3"})
    items, model = _shuffled(whole)
    # Lengths that differ make the batches take the items out of their order.
    mixed = replace(items, lengths=np.random.default_rng(0).permutation(len(items)) + 1)
    expected = [predict(whole, [model], Items([v], np.array([4]), [p]), device=CPU)[0] for v, p in _pairs(items)]
    for recipe in (whole, small):
        assert predict(recipe, [model], mixed, device=CPU) == pytest.approx(expected)
    outcomes = evaluate(small, [model], mixed, device=CPU).outcomes
    assert [outcome.place for outcome in outcomes] == list(items.places)
    assert [outcome.prediction for outcome in outcomes] == pytest.approx(expected)


def _pairs(items: Items) -> list[tuple[Any, str]]:
    return list(zip(items.values, items.places, strict=True))


def test_metrics_are_those_of_the_predictions(toy: Callable[..., Recipe[Any]]) -> None:
    recipe = toy()
    items, model = _shuffled(recipe)
    metrics = evaluate(recipe, [model], items, device=CPU).metrics()
    predictions = predict(recipe, [model], items, device=CPU)
    hits = [(p > 0.5) == bool(value["sign"]) for p, value in zip(predictions, items.values, strict=True)]
    assert metrics["accuracy"] == pytest.approx(sum(hits) / len(hits))


def test_progress_counts_every_item(toy: Callable[..., Recipe[Any]]) -> None:
    recipe = toy({"training.batch_examples": "3"})
    items, model = _shuffled(recipe)
    seen: list[tuple[int, int]] = []
    evaluate(recipe, [model], items, device=CPU, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_nothing_to_evaluate_is_an_error(toy: Callable[..., Recipe[Any]]) -> None:
    recipe = toy()
    _, model = _shuffled(recipe)
    with pytest.raises(DataError, match="no example"):
        evaluate(recipe, [model], Items([], np.zeros(0, dtype=np.int64), []), device=CPU)


def test_models_are_put_into_eval_mode_for_the_time_and_back_even_after_an_error() -> None:
    models = [torch.nn.Dropout(0.5).train(), torch.nn.Dropout(0.5).eval()]

    def fail() -> None:
        assert [model.training for model in models] == [False, False]
        assert torch.is_inference_mode_enabled()
        raise RuntimeError("oh")

    with pytest.raises(RuntimeError, match="oh"), inference(models):
        fail()
    assert [model.training for model in models] == [True, False]
    assert not torch.is_inference_mode_enabled()


def test_the_record_holds_plain_values() -> None:
    record = result_record("runs/a", "test", _hits(np.arange(10) < 5), 1.23456)
    assert list(record) == ["run", "split", "examples", "metrics", "interval", "seconds"]
    assert record["examples"] == 10
    assert record["metrics"] == {"accuracy": 0.5}
    assert record["seconds"] == 1.235
    low, high = record["interval"]["accuracy"]
    assert type(low) is type(high) is float
