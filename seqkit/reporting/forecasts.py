"""Pictures of forecasts: the past, what is forecast and how sure that is; and errors by how far ahead they are.

Shapes: T rows of the past, H steps ahead, D columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqkit.reporting.figures import BLUE, GREY, ORANGE, new_figure, save_figure

PANELS = 6
"""Columns that a picture shows; further ones are only counted."""


@dataclass(frozen=True)
class Pictured:
    """One forecast, in the data's unit."""

    past: np.ndarray
    """(T, D), NaN where missing."""
    mean: np.ndarray
    """(H, D)."""
    columns: Sequence[str]
    """D names."""
    times: np.ndarray
    """(T + H,): datetime64, or the numbers of the rows."""
    bands: Sequence[tuple[str, np.ndarray, np.ndarray]] = ()
    """Name, lower and upper end (H, D) of each band, the widest first."""
    truth: np.ndarray | None = None
    """(H, D), where it is known."""


def save_forecast(forecast: Pictured, path: Path, *, title: str) -> Path:
    """A panel for each column: the past, the mean ahead, its bands, and what came, where that is known."""
    shown = min(len(forecast.columns), PANELS)
    figure, axes = new_figure(9.0, 1.2 + 1.9 * shown, rows=shown)
    known = len(forecast.past)
    # The lines ahead begin at the newest value, so that past and forecast hang together.
    ahead = forecast.times[known - 1 :]
    for index, axis in enumerate(axes[:, 0][:shown]):
        begin = forecast.past[-1:, index]
        axis.plot(forecast.times[:known], forecast.past[:, index], color=GREY, linewidth=1.2, label="past")
        for number, (name, low, high) in enumerate(forecast.bands):
            ends = [np.concatenate([begin, band[:, index]]) for band in (low, high)]
            axis.fill_between(ahead, *ends, color=BLUE, alpha=0.15 + 0.12 * number, linewidth=0, label=name)
        if forecast.truth is not None:
            axis.plot(
                ahead, np.concatenate([begin, forecast.truth[:, index]]), color=ORANGE, linewidth=1.2, label="truth"
            )
        axis.plot(ahead, np.concatenate([begin, forecast.mean[:, index]]), color=BLUE, linewidth=1.6, label="forecast")
        axis.set_title(forecast.columns[index], fontsize=9, loc="left")
        axis.margins(x=0.01)
    left_out = len(forecast.columns) - shown
    figure.suptitle(title + (f" (and {left_out} more columns)" if left_out else ""), fontsize=11)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="upper left", ncols=4)
    for axis in axes[:, 0]:
        axis.tick_params(labelsize=8)
    if np.issubdtype(forecast.times.dtype, np.datetime64):
        _concise(axes[:, 0])
    else:
        axes[-1, 0].set_xlabel("row")
    return save_figure(figure, path)


def save_backtest(errors: Mapping[str, np.ndarray], path: Path, *, title: str, unit: str) -> Path:
    """The mean error (H,) of each method, by how many steps ahead it is."""
    figure, axes = new_figure(7.0, 3.6)
    axis = axes[0, 0]
    colours = [BLUE, ORANGE, GREY]
    for number, (name, values) in enumerate(errors.items()):
        steps = np.arange(1, len(values) + 1)
        axis.plot(steps, values, color=colours[number % 3], linewidth=1.6, label=name, marker="o", markersize=2)
    axis.set_xlabel("steps ahead")
    axis.set_ylabel(unit)
    axis.set_ylim(bottom=0.0)
    axis.set_title(title, fontsize=11)
    axis.legend(fontsize=9, frameon=False)
    return save_figure(figure, path)


def _concise(axes: Sequence[object]) -> None:
    """Time axes that name the day once, not at every tick."""
    from matplotlib.axes import Axes
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for axis in axes:
        assert isinstance(axis, Axes)
        locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
