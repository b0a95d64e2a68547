"""The house style of pictures: made without a display, written atomically, readable at a glance."""

from __future__ import annotations

import io
import itertools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkit.storage import disk_errors, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#a0aec0"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches with an array (rows, columns) of axes, independent of any display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG. A character that the font lacks shows as a box."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # one for each, and the box says it
        figure.savefig(buffer, format="png", dpi=130)
    write_bytes(path, buffer.getvalue())
    return path


def free_path(folder: Path, name: str, suffix: str = ".png") -> Path:
    """The first of name.png, name-2.png and so on that is not there; the folder is made where it is missing.

    Raises RunError where it cannot be made.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    names = (folder / f"{name}{'' if number == 1 else f'-{number}'}{suffix}" for number in itertools.count(1))
    return next(path for path in names if not path.exists())
