"""Pictures of forecasts: the past, what is forecast and how sure that is; and errors by how far ahead they are.

Shapes: T rows of the past, H steps ahead, D columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqkit.reporting.figures import BLUE, GREY, ORANGE, new_figure, save_figure
from seqkit.reporting.panels import draw_values, new_panels, short_name, write_names

PANELS = 6
"""Columns that a picture shows; further ones are only counted."""
_MOST_DOTS = 60
"""Steps ahead that have a dot each; more would be a thick line."""


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
    figure, panels = new_panels(1.4 + 1.7 * shown, shown)
    known = len(forecast.past)
    # The lines ahead begin at the newest value, so that past and forecast hang together.
    ahead = forecast.times[known - 1 :]
    for index, axis in enumerate(panels):
        begin = forecast.past[-1:, index]
        past = {"color": GREY, "linewidth": 1.2, "label": "past"}
        draw_values(axis, forecast.times[:known], forecast.past[:, index], **past)
        for number, (name, low, high) in enumerate(forecast.bands):
            lower, upper = (np.concatenate([begin, band[:, index]]) for band in (low, high))
            axis.fill_between(ahead, lower, upper, color=BLUE, alpha=0.15 + 0.12 * number, linewidth=0, label=name)
        mean = np.concatenate([begin, forecast.mean[:, index]])
        draw_values(axis, ahead, mean, color=BLUE, linewidth=1.6, label="forecast")
        if forecast.truth is not None:
            truth = np.concatenate([begin, forecast.truth[:, index]])
            draw_values(axis, ahead, truth, color=ORANGE, linewidth=1.0, label="truth")
        axis.set_title(short_name(forecast.columns[index]), fontsize=9, loc="left", parse_math=False)
    write_names(figure, panels, forecast.times, title, len(forecast.columns) - shown)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, frameon=False, loc="outside lower left", ncols=len(names))
    return save_figure(figure, path)


def save_backtest(errors: Mapping[str, np.ndarray], path: Path, *, title: str, unit: str) -> Path:
    """The mean error (H,) of each method, by how many steps ahead it is."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(7.0, 3.6)
    axis = axes[0, 0]
    colours = [BLUE, ORANGE, GREY]
    for number, (name, values) in enumerate(errors.items()):
        steps = np.arange(1, len(values) + 1)
        marker = "o" if len(values) <= _MOST_DOTS else ""
        axis.plot(steps, values, color=colours[number % 3], linewidth=1.6, label=name, marker=marker, markersize=3)
    axis.set_xlabel("steps ahead")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel(unit, parse_math=False)
    # Room above, and a common origin: a method that is half as wrong is half as high.
    axis.set_ylim(0.0, max([float(np.nanmax(one, initial=0.0)) for one in errors.values()], default=0.0) * 1.05 or 1.0)
    axis.set_title(short_name(title), fontsize=11, parse_math=False)
    axis.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save_figure(figure, path)
