"""Panels of a picture of series, one below another over one axis of time.

Shapes: T rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqkit.reporting.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_NAME = 80
"""Characters of a name that a picture has room for."""


def new_panels(height: float, rows: int) -> tuple[Figure, list[Axes]]:
    """A figure of nine inches by `height` with so many panels; all have the last one's axis of time."""
    figure, axes = new_figure(9.0, height, rows=rows)
    panels: list[Axes] = list(axes[:, 0])
    for axis in panels:
        axis.tick_params(labelsize=8)
        axis.margins(x=0.01)
    for axis in panels[:-1]:
        axis.sharex(panels[-1])
        axis.tick_params(labelbottom=False)
    return figure, panels


def draw_values(axis: Axes, times: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """A line through values (T,), interrupted where they are NaN; a value between two gaps is a dot."""
    axis.plot(times, values, **style)
    real = np.isfinite(values)
    beside = np.concatenate([[False], real, [False]])
    alone = real & ~beside[:-2] & ~beside[2:]
    if alone.any():
        axis.plot(times[alone], values[alone], color=style.get("color"), linestyle="", marker=".", markersize=4)


def draw_spans(
    axis: Axes,
    times: np.ndarray,
    spans: Sequence[tuple[int, int]],
    *,
    low: float = 0.0,
    high: float = 1.0,
    **style: Any,
) -> None:
    """Shade rows `start` to `stop` (exclusive) between two shares of the height; a single row is a thin line.

    To be called after the first line of the panel, which says what its axis counts.
    """
    if not spans:
        return
    numbers = axis.xaxis.convert_units(times)  # type: ignore[no-untyped-call]
    place = np.asarray(numbers, dtype=np.float64)
    bars = [(place[start], place[stop - 1] - place[start]) for start, stop in spans]
    # One collection: thousands of single patches take seconds.
    axis.broken_barh(bars, (low, high - low), transform=axis.get_xaxis_transform(), **style)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First row and row after the last of each stretch of (T,) flags that are set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def short_name(name: str) -> str:
    """A name on one line, cut off where a picture has no room for it."""
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def write_names(figure: Figure, panels: Sequence[Axes], times: np.ndarray, title: str, left_out: int) -> None:
    """Write the title, with how many columns are left out, and name the axis of time below the last panel."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    more = f" (and {left_out} more column{'s' if left_out > 1 else ''})" if left_out else ""
    figure.suptitle(short_name(title) + more, fontsize=11, parse_math=False)
    axis = panels[-1].xaxis
    if np.issubdtype(times.dtype, np.datetime64):
        locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
        axis.set_major_locator(locator)
        # It names the day once, not at every tick.
        axis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axis.get_offset_text().set_fontsize(8)
    else:
        axis.set_major_locator(MaxNLocator(integer=True))
        panels[-1].set_xlabel("row", fontsize=9)
    for panel in panels[:-1]:
        panel.xaxis.get_offset_text().set_visible(False)
