"""Clips as rows of a picture, a few frames each: what a classifier of videos got wrong, at a glance.

Shapes: T frames of H x W pixels; clips may have frames of other sizes than their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.reporting.figures import GREY, new_figure, save_figure

MOST_ROWS = 40
"""More are never drawn: the picture would be too large to look at."""
_HEIGHT = 96  # pixels of a frame in the picture
_NARROWEST, _WIDEST = 24, 240
_GAP = 4
_PER_INCH = 90
_LONGEST = 60
"""Characters of a place and of a label that are written."""


@dataclass(frozen=True)
class ClipAnswer:
    """A clip, what is in it, and what a model says."""

    frames: np.ndarray
    """(T, H, W, 3) uint8."""
    place: str
    """Where it comes from: a file, or a row of a table."""
    label: str
    predicted: str
    probability: float
    """Of the predicted label."""


def save_contact_sheet(
    rows: Iterable[ClipAnswer], path: Path, *, title: str = "", most: int = 20, frames: int = 8
) -> Path:
    """Draw clips, the most confident answer first, with `frames` frames each from first to last; returns `path`.

    Of more than `most` clips (at most 40) the title says how many are left out. Shorter clips show all their frames.
    """
    ordered = sorted(rows, key=lambda row: -row.probability)
    shown = ordered[: max(1, min(most, MOST_ROWS))]
    if len(ordered) > len(shown):
        title = f"{title} ({len(shown)} of {len(ordered):,})".strip()
    strips = [_strip(row.frames, frames) for row in shown]
    width = max(480, *(strip.shape[1] for strip in strips)) if strips else 480
    figure, axes = new_figure(width / _PER_INCH + 0.3, 0.6 + 1.45 * max(1, len(shown)), max(1, len(shown)), 1)
    if not shown:
        axes[0, 0].axis("off")
        axes[0, 0].text(0.5, 0.5, "no clip to show", ha="center", va="center", color=GREY)
    for axis, row, strip in zip(axes[:, 0], shown, strips, strict=False):
        _draw(axis, row, strip, width)
    figure.suptitle(title, parse_math=False)
    return save_figure(figure, path)


def _draw(axis: Any, row: ClipAnswer, strip: np.ndarray, width: int) -> None:
    axis.axis("off")
    axis.imshow(np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255))
    said = f"{_short(row.label)}, taken for {_short(row.predicted)} ({row.probability:.0%})"
    if row.label == row.predicted:
        said = f"{_short(row.label)} ({row.probability:.0%})"
    axis.set_title(f"{_short(row.place, end=True)}\n{said}", fontsize=8, loc="left", parse_math=False)


def _strip(frames: np.ndarray, count: int) -> np.ndarray:
    """A few frames side by side (height, width, 3) uint8, white between them; of no frame, white."""
    if not frames.size:
        return np.full((_HEIGHT, _HEIGHT, 3), 255, np.uint8)
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    height, width = frames.shape[1:3]
    shown = int(np.clip(round(width * _HEIGHT / height), _NARROWEST, _WIDEST))
    gap = np.full((_HEIGHT, _GAP, 3), 255, np.uint8)
    parts = [part for frame in frames[chosen] for part in (_resized(frame, shown), gap)]
    return np.concatenate(parts[:-1], axis=1)


def _resized(frame: np.ndarray, width: int) -> np.ndarray:
    """A frame (H, W, 3) with `_HEIGHT` x `width` pixels: the mean of what falls into one, or the nearest."""
    for axis, size in ((0, _HEIGHT), (1, width)):
        length = frame.shape[axis]
        borders = np.arange(size) * length // size
        if length > size:
            sums = np.add.reduceat(frame.astype(np.float32), borders, axis=axis)
            counts = np.diff([*borders.tolist(), length])
            frame = np.rint(sums / counts.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))).astype(np.uint8)
        else:
            frame = frame.take(borders, axis=axis)
    return frame


def _short(text: str, *, end: bool = False) -> str:
    """A text on one line; where it is long its end is left out, or, of a place, its beginning."""
    text = " ".join(text.split())
    if len(text) <= _LONGEST:
        return text
    return f"…{text[1 - _LONGEST :]}" if end else f"{text[: _LONGEST - 1]}…"
