"""Pictures of judged series: its columns with the anomalies marked, and the score with its threshold.

Shapes: T rows, D columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqkit.reporting.figures import BLUE, GREY, ORANGE, new_figure, save_figure

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
    figure, axes = new_figure(9.0, 1.4 + 1.3 * (len(shown) + 1), rows=len(shown) + 1)
    for axis, column in zip(axes[:, 0], shown, strict=False):
        axis.plot(*thinned(times, values[:, column]), color=GREY, linewidth=0.9)
        for span in spans:
            own = span.column == column
            axis.axvspan(
                times[span.start], times[span.stop - 1], color=ORANGE, alpha=0.45 if own else 0.12, linewidth=0.8
            )
        axis.set_title(columns[column], fontsize=9, loc="left", color=ORANGE if blamed[column] else "black")
    below = axes[-1, 0]
    below.plot(*thinned(times, scores), color=BLUE, linewidth=0.9)
    if threshold is not None and np.isfinite(threshold):
        below.axhline(threshold, color=ORANGE, linewidth=0.9, linestyle="--")
    if labels is not None and (labels > 0).any():
        marked = np.where(labels > 0, 0.0, np.nan)
        below.plot(times, marked, color="black", linewidth=3.0, solid_capstyle="butt")
    below.set_title("score, threshold" + (", labels (black)" if labels is not None else ""), fontsize=9, loc="left")
    for axis in axes[:, 0]:
        axis.tick_params(labelsize=8)
        axis.margins(x=0.01)
        axis.set_xlim(times[0], times[-1] if len(times) > 1 else None)
    left_out = len(columns) - len(shown)
    figure.suptitle(title + (f" (and {left_out} more columns)" if left_out else ""), fontsize=11)
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
