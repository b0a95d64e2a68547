"""A forecast of one window, in the data's unit: what `predict` gives, and what metrics, files and pictures are made of.

Shapes: H steps ahead, D columns, P parameters of the output, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from seqkit.heads.forecast_outputs import Output


@dataclass(frozen=True)
class Forecast:
    """What is forecast for the H steps after a window."""

    output: Output
    parameters: np.ndarray
    """(H, D, P) float32, of the scaled values."""
    shift: np.ndarray
    """(D,) float64: what the scaling subtracted."""
    scale: np.ndarray
    """(D,) float64: what it then divided by."""

    @property
    def scaled_mean(self) -> np.ndarray:
        """(H, D) float64: the mean of the scaled values, as errors in units of the training part are measured."""
        return self.output.point(torch.from_numpy(self.parameters)).numpy().astype(np.float64)

    @property
    def mean(self) -> np.ndarray:
        """(H, D) float64: the mean, in the data's unit."""
        return np.asarray(self.scaled_mean * self.scale + self.shift)

    def quantiles(self, levels: Sequence[float]) -> np.ndarray | None:
        """(Q, H, D) float64: the quantiles at `levels`, in the data's unit; None where only a point is forecast."""
        found = self.output.quantiles(torch.from_numpy(self.parameters), levels)
        if found is None:
            return None
        return np.asarray(np.moveaxis(found.numpy().astype(np.float64), -1, 0) * self.scale + self.shift)
