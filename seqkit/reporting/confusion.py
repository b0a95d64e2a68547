"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqkit.reporting.figures import new_figure, save_figure

_LARGEST_WITH_NUMBERS = 20


def save_confusion(matrix: np.ndarray, labels: Sequence[str], path: Path, *, title: str) -> Path:
    """Draw counts (K, K), rows true and columns predicted, shaded by the share of the row."""
    count = len(labels)
    side = min(3.0 + 0.55 * count, 16.0)
    figure, axes = new_figure(side + 1.0, side)
    axis = axes[0, 0]
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    axis.set(xticks=range(count), yticks=range(count), xlabel="predicted", ylabel="true", title=title)
    axis.set_xticklabels(labels, rotation=45 if count > 4 else 0, ha="right" if count > 4 else "center")
    axis.set_yticklabels(labels)
    if count <= _LARGEST_WITH_NUMBERS:
        for row in range(count):
            for column in range(count):
                color = "white" if share[row, column] > 0.5 else "black"
                axis.text(column, row, f"{int(matrix[row, column])}", ha="center", va="center", color=color)
    figure.colorbar(image, ax=axis, label="share of the true class", shrink=0.8)
    return save_figure(figure, path)
