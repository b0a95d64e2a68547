"""The summary of several runs: mean, spread and extremes of each metric, as values, as a table and as a picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqkit.reporting.figures import BLUE, GREY, ORANGE, new_figure, save_figure

FORMAT = 1
"""Version of summary.json."""
_GROUP_LENGTH = 30
_ROWS_NAMED = 60
"""Runs whose names a picture shows; with more they could not be read."""


@dataclass(frozen=True)
class RunFigures:
    """One run of several."""

    name: str
    """Its folder in the parent folder."""
    seed: int
    """Its seed."""
    group: str | None = None
    """The group that it was not trained on, where groups were held out."""
    examples: int | None = None
    """Examples that it was measured on; None where it is not done."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metric -> value; empty where it is not done."""
    trained: bool = False
    """Whether it is trained, though there may be nothing that it was measured on."""
    failed: str | None = None
    """Why it failed, where it did."""


@dataclass(frozen=True)
class Spread:
    """One metric over runs."""

    runs: int
    mean: float
    std: float | None
    """Sample standard deviation (division by n - 1); None for a single run."""
    min: float
    max: float


@dataclass(frozen=True)
class Summary:
    """Several runs, measured on their part `split`."""

    split: str
    runs: Sequence[RunFigures]

    @property
    def spreads(self) -> dict[str, Spread]:
        """Each metric that all finished runs have, over these runs."""
        done = [run.metrics for run in self.runs if run.metrics]
        names = [name for name in (done[0] if done else {}) if all(name in metrics for metrics in done)]
        return {name: spread([metrics[name] for metrics in done]) for name in names}

    @property
    def failed(self) -> dict[str, str]:
        """Name -> reason of the runs that failed."""
        return {run.name: run.failed for run in self.runs if run.failed is not None}

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values."""
        metrics = {name: asdict(values) for name, values in self.spreads.items()}
        return {
            "format": FORMAT,
            "split": self.split,
            "metrics": metrics,
            "std": "sample standard deviation over runs, n - 1",
            "runs": [asdict(run) for run in self.runs],
        }


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation (n - 1), least and largest of one value or more."""
    # The exact sums of `statistics` do not know infinity, which a metric (a perplexity) can be.
    finite = all(math.isfinite(value) for value in values)
    mean = statistics.fmean(values) if finite else sum(values) / len(values)
    std = (statistics.stdev(values) if finite else math.nan) if len(values) > 1 else None
    return Spread(len(values), mean, std, min(values), max(values))


def summary_table(summary: Summary) -> str:
    """The summary as lines of text: a row for each run, then mean, standard deviation, least and largest."""
    spreads = summary.spreads
    groups = any(run.group is not None for run in summary.runs)
    rows = [["run", *(["group"] if groups else []), "examples", *spreads]]
    for run in summary.runs:
        own = [run.name, *([" ".join(str(run.group).split())[:_GROUP_LENGTH]] if groups else [])]
        if run.metrics:
            rows.append([*own, str(run.examples), *(f"{run.metrics[name]:.4f}" for name in spreads)])
        else:
            state = "trained" if run.trained else "not trained"
            rows.append([*own, state if run.failed is None else "failed", *["-"] * len(spreads)])
    for title in ("mean", "std", "min", "max"):
        values = [getattr(values, title) for values in spreads.values()]
        blank = [""] * (2 if groups else 1)
        rows.append([title, *blank, *("-" if value is None else f"{value:.4f}" for value in values)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    texts = 2 if groups else 1  # columns on the left; figures are on the right
    lines = [
        "  ".join(
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    done = sum(1 for run in summary.runs if run.metrics)
    title = f"{_part(summary)}, {done} of {len(summary.runs)} runs; std: sample standard deviation over runs (n - 1)"
    reasons = [f"{name} failed: {reason}" for name, reason in summary.failed.items()]
    return "\n".join([title, *lines, *reasons])


def _part(summary: Summary) -> str:
    """What was measured, in words."""
    groups = any(run.group is not None for run in summary.runs)
    return f"{summary.split} (the group that a run was not trained on)" if groups else summary.split


def save_summary(summary: Summary, path: Path) -> Path | None:
    """Draw a dot for each run, the mean and one standard deviation to both sides, a panel for each metric, as a PNG.

    Returns the path; None where no run is done, so that there is nothing to draw.
    """
    spreads = summary.spreads
    if not spreads:
        return None
    runs = [run for run in summary.runs if run.metrics]
    named = len(runs) <= _ROWS_NAMED
    height = 1.4 + 0.24 * min(len(runs), _ROWS_NAMED)
    figure, axes = new_figure(1.5 + 2.6 * len(spreads), height, 1, len(spreads))
    rows = list(range(len(runs), 0, -1))  # the first run on top
    for panel, (axis, (name, values)) in enumerate(zip(axes[0], spreads.items(), strict=True)):
        if values.std is not None and math.isfinite(values.std):
            axis.axvspan(values.mean - values.std, values.mean + values.std, color=GREY, alpha=0.3, linewidth=0)
        axis.axvline(values.mean, color=ORANGE, linewidth=1.2)
        axis.plot([run.metrics[name] for run in runs], rows, "o", color=BLUE, markersize=5)
        around = "" if values.std is None else f" ± {values.std:.4f}"
        axis.set(title=f"{name}\n{values.mean:.4f}{around}", ylim=(0.4, len(runs) + 0.6))
        axis.title.set_fontsize(10)
        axis.set_yticks(rows if named else [], [run.name for run in runs] if named and panel == 0 else None)
        if panel > 0 or not named:
            axis.tick_params(left=False, labelleft=False)
    figure.supxlabel(f"{_part(summary)}: a dot a run; line and band: mean ± sample standard deviation", fontsize=8)
    return save_figure(figure, path)
