"""Pictures of judged series: its columns with the anomalies marked, and the score with its threshold.

Shapes: T rows, D columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqkit.reporting.figures import BLUE, GREY, ORANGE, save_figure
from seqkit.reporting.panels import draw_spans, draw_values, new_panels, runs, short_name, write_names

PANELS = 6
"""Columns that a picture shows, those that are blamed first; further ones are only counted."""
POINTS = 2000
"""Points of a line: a longer series shows the least and the greatest value of each stretch, so that spikes stay."""


@dataclass(frozen=True)
class Span:
    """Rows `start` to `stop` (exclusive) that are flagged, and the column that deviates most there."""

    start: int
    stop: int
    column: int


def save_anomalies(
    path: Path,
    *,
    title: str,
    times: np.ndarray,
    values: np.ndarray,
    columns: Sequence[str],
    scores: np.ndarray,
    threshold: float | None,
    spans: Sequence[Span],
    labels: np.ndarray | None = None,
) -> Path:
    """Draw a series: times (T,) datetime64 or numbers of rows, values (T, D), scores (T,), NaN where there is none.

    Flagged spans are shaded, darkest in the panel of the column that deviates most; labels (T,), above 0 where a row is
    anomalous, are a black line below the score.
    """
    blamed = np.bincount([span.column for span in spans], minlength=len(columns))
    shown = np.sort(np.argsort(-blamed, kind="stable")[:PANELS]).tolist()
    figure, panels = new_panels(1.4 + 1.2 * (len(shown) + 1), len(shown) + 1)
    for axis, column in zip(panels, shown, strict=False):
        draw_values(axis, *thinned(times, values[:, column]), color=GREY, linewidth=0.9)
        for own, alpha in ((False, 0.12), (True, 0.45)):
            marked = [(span.start, span.stop) for span in spans if (span.column == column) == own]
            draw_spans(axis, times, marked, color=ORANGE, alpha=alpha, linewidth=0.8)
        name = short_name(columns[column])
        colour = ORANGE if blamed[column] else "black"
        axis.set_title(name, fontsize=9, loc="left", color=colour, parse_math=False)
    below = panels[-1]
    draw_values(below, *thinned(times, scores), color=BLUE, linewidth=0.9)
    if threshold is not None and np.isfinite(threshold):
        below.axhline(threshold, color=ORANGE, linewidth=0.9, linestyle="--")
    if labels is not None:
        draw_spans(below, times, runs(labels > 0), low=0.0, high=0.04, color="black", linewidth=0.8)
    below.set_title("score, threshold" + (", labels (black)" if labels is not None else ""), fontsize=9, loc="left")
    if len(times) > 1:
        below.set_xlim(times[0], times[-1])
    write_names(figure, panels, times, title, len(columns) - len(shown))
    return save_figure(figure, path)


def thinned(times: np.ndarray, values: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """A line of (T,) values with about so many points: of each stretch the least and the greatest, in their order."""
    if len(values) <= points:
        return times, values
    edges = np.linspace(0, len(values), points // 2 + 1).astype(np.int64)
    kept: list[int] = []
    for start, stop in itertools.pairwise(edges.tolist()):
        piece = values[start:stop]
        if np.isnan(piece).all():
            kept.append(start)
        else:
            kept.extend(sorted({start + int(np.nanargmin(piece)), start + int(np.nanargmax(piece))}))
    return times[kept], values[kept]
