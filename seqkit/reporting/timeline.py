"""A long recording's answers over time, as a picture: probabilities of classes, and the segments that they make.

Shapes: C cells of time, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.reporting.figures import GREY, new_figure, save_figure
from seqkit.reporting.subtitles import TimedLabel

MOST_CLASSES = 10
"""Classes with a colour and a line of their own: those that lead longest, then the likeliest."""
_LEAST = 0.05
"""The probability that a class must reach to have one."""
_NARROWEST, _WIDEST = 9.0, 24.0
"""Inches."""
_INCHES = 0.4
"""Width of a second, between these."""
_CHARACTER = 0.085
"""Inches that a character of a name takes."""
_LONGEST_NAME = 30


def save_timeline(
    segments: Sequence[TimedLabel],
    scores: np.ndarray,
    times: np.ndarray | Sequence[float],
    labels: Sequence[str],
    path: Path,
    title: str,
) -> Path:
    """Draw segments as coloured bars above the probabilities (C, K) of `labels` (K,) over time; returns `path`.

    `times` (C + 1,) are the seconds at which each cell begins, and where the last one ends. Ten classes at most have a
    line, and none that never reaches 5 %; the bars of all others are grey. A name is written into its bar where there
    is room.
    """
    times = np.asarray(times, dtype=np.float64)
    if scores.shape != (len(times) - 1, len(labels)):
        raise ValueError(f"scores {scores.shape} of {len(labels)} labels in {len(times) - 1} cells")
    first, last = (float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0)
    seconds = max(last - first, 1e-3)
    width = min(max(_NARROWEST, seconds * _INCHES), _WIDEST)
    figure, axes = new_figure(width + 2.0, 4.2, 2, 1)
    bars, lines = axes[:, 0]
    bars.get_gridspec().set_height_ratios([1, 4])
    shown = _shown(scores, times)
    colours = {labels[number]: f"C{place}" for place, number in enumerate(shown)}
    _draw_bars(bars, segments, colours, seconds, width)
    for place, number in enumerate(shown):
        lines.stairs(scores[:, number], times, color=f"C{place}", linewidth=1.4, label=_short(labels[number]))
    lines.set(ylim=(0.0, 1.03), yticks=[0.0, 0.5, 1.0], ylabel="probability", xlabel="seconds")
    for axis in (bars, lines):
        axis.set_xlim(first, first + seconds)
    if shown:
        legend = lines.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
    figure.suptitle(title, parse_math=False)
    return save_figure(figure, path)


def _shown(scores: np.ndarray, times: np.ndarray) -> list[int]:
    """The classes to draw, those that lead longest first."""
    if not len(scores):
        return []
    leads = np.zeros(scores.shape[1])
    np.add.at(leads, scores.argmax(axis=1), np.diff(times))  # seconds
    order = np.lexsort((-scores.max(axis=0), -leads))
    return [int(number) for number in order[:MOST_CLASSES] if leads[number] or scores[:, number].max() >= _LEAST]


def _draw_bars(
    axis: Any, segments: Sequence[TimedLabel], colours: dict[str, str], seconds: float, width: float
) -> None:
    for one in segments:
        axis.axvspan(one.start, one.end, facecolor=colours.get(one.label, GREY), edgecolor="white", linewidth=0.8)
        name = _short(one.label)
        if len(name) * _CHARACTER <= (one.end - one.start) / seconds * width:
            middle = {"ha": "center", "va": "center", "fontsize": 9, "color": "white", "parse_math": False}
            axis.text((one.start + one.end) / 2, 0.5, name, **middle)
    axis.set(ylim=(0.0, 1.0), yticks=[], xticks=[])
    axis.spines[["left", "bottom"]].set_visible(False)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
