"""Evaluation: a model and the items of a split in, predictions and metrics with bootstrap intervals out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqkit.data.batching import bucket_batches
from seqkit.data.items import Items
from seqkit.errors import DataError
from seqkit.recipe import DecodeConfig, Outcome, Recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

RESAMPLES = 1000
"""Bootstrap resamples of an interval (Efron and Tibshirani 1993, percentile method)."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of each item, in the split's order, and the statistics (N, S) of all examples."""

    outcomes: Sequence[Outcome]
    statistics: np.ndarray
    _metrics: Callable[[np.ndarray], dict[str, float]]

    def metrics(self) -> dict[str, float]:
        """The metrics over all examples."""
        return self._metrics(self.statistics.sum(axis=0))

    def intervals(self, *, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """A percentile bootstrap interval of each metric, resampling examples with replacement."""
        rng = np.random.default_rng(seed)
        count = len(self.statistics)
        resampled: dict[str, list[float]] = {}
        for _ in range(RESAMPLES):
            times = rng.multinomial(count, np.full(count, 1.0 / count))
            for name, value in self._metrics(times @ self.statistics).items():
                resampled.setdefault(name, []).append(value)
        tail = (1.0 - level) / 2.0
        return {
            name: (float(np.quantile(values, tail)), float(np.quantile(values, 1.0 - tail)))
            for name, values in resampled.items()
        }


def evaluate(
    recipe: Recipe[Any],
    models: Sequence[nn.Module],
    items: Items,
    *,
    device: torch.device,
    options: DecodeConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict every item once and score it. Raises DataError where there is no item to score.

    Several models are an ensemble. They are put into eval mode for the time, and back into the mode they were in.
    """
    predictions = predict(recipe, models, items, device=device, options=options, progress=progress)
    outcomes, statistics = [], []
    for place, item, prediction in zip(items.places, items.values, predictions, strict=True):
        added = recipe.statistics(item, prediction)
        if added is not None:
            outcomes.append(Outcome(place, item, prediction))
            statistics.append(np.atleast_2d(added))
    if not outcomes:
        raise DataError("There is no example to evaluate.", hint="See 'left out' in the description of the data.")
    return Evaluation(outcomes, np.concatenate(statistics), recipe.metrics)


def predict(
    recipe: Recipe[Any],
    models: Sequence[nn.Module],
    items: Items,
    *,
    device: torch.device,
    options: DecodeConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Any]:
    """The prediction of each item, in order; batches are filled by length, so that no time goes into padding."""
    training = recipe.config.training
    predictions: list[Any] = [None] * len(items)
    done = 0
    batches = bucket_batches(
        items.lengths,
        batch_tokens=training.batch_tokens * 2,  # no gradient is kept: a larger batch fits, and goes faster
        max_examples=training.batch_examples * 2,
        seed=0,
        epoch=0,
        shuffle=False,
    )
    with inference(models):
        for indices in batches:
            batch = recipe.collate([items.values[i] for i in indices]).to(device)
            for index, prediction in zip(indices, recipe.predict(models, batch, options), strict=True):
                predictions[index] = prediction
            done += len(indices)
            if progress is not None:
                progress(done, len(items))
    return predictions


@contextmanager
def inference(models: Sequence[nn.Module]) -> Iterator[None]:
    """Eval mode without gradients; afterwards the mode is what it was."""
    import torch

    modes = [model.training for model in models]
    try:
        for model in models:
            model.eval()
        with torch.inference_mode():
            yield
    finally:
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)


def result_record(
    run: str, split: str, evaluation: Evaluation, seconds: float, signatures: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The object that `seqkit eval --json` prints and results.json keeps; `signatures` as the recipe has them."""
    record = {
        "run": run,
        "split": split,
        "examples": len(evaluation.statistics),
        "metrics": evaluation.metrics(),
        "interval": {name: list(bounds) for name, bounds in evaluation.intervals().items()},
        "seconds": round(seconds, 3),
    }
    return {**record, "signatures": dict(signatures)} if signatures else record
