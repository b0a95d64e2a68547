"""Learning curves: loss, validation metrics, gradient norm and learning rate over the steps of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.reporting.figures import BLUE, GREY, ORANGE, new_figure, save_figure


def save_curves(log: Sequence[Mapping[str, Any]], path: Path, *, metric: str) -> Path:
    """Draw the lines of a metrics log as a PNG; `metric` names the validation metric that chose the weights."""
    train = [line for line in log if line["kind"] == "train"]
    validation = [line for line in log if line["kind"] == "validation"]
    figure, axes = new_figure(10, 6.5, 2, 2)
    (loss, score), (norm, rate) = axes
    steps = np.array([line["step"] for line in train])
    losses = np.array([line["loss"] for line in train])
    loss.plot(steps, losses, color=GREY, linewidth=0.6, label="train, each step")
    loss.plot(steps, _smooth(losses), color=BLUE, label="train, smoothed")
    if validation and "loss" in validation[0]:
        loss.plot(*_series(validation, "loss"), color=ORANGE, marker="o", markersize=3, label="validation")
    loss.set(title="Loss", xlabel="step")
    loss.legend(frameon=False)
    if validation:
        score.plot(*_series(validation, metric), color=ORANGE, marker="o", markersize=3)
    score.set(title=f"Validation {metric}" if validation else "No validation part", xlabel="step")
    norm.plot(steps, [line["grad_norm"] for line in train], color=GREY, linewidth=0.6)
    norm.set(title="Gradient norm before clipping", xlabel="step", yscale="log")
    rate.plot(steps, [line["learning_rate"] for line in train], color=BLUE)
    rate.set(title="Learning rate", xlabel="step")
    return save_figure(figure, path)


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    return [line["step"] for line in lines], [line[name] for line in lines]


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over about a fiftieth of the curve, with a window that shrinks towards the ends."""
    half = max(1, len(values) // 100)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))
