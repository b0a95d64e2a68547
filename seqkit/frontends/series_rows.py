"""Rows of a series as a network reads them that judges each row when it comes: scaled, and filled from the past alone.

Shapes: T rows, D columns.
"""

from __future__ import annotations

import numpy as np

from seqkit.frontends.series_scaling import Scaling

LIMIT = 1000.0
"""Spreads from the mean beyond which a value is no more unusual: it keeps every number finite."""


class RowReader:
    """Makes (T, D) values into (T, D) float32, or (T, 2 D) with a mask that says which values are real.

    Call `whole` for a whole series, or `step` for each of its rows: both give the same. A missing value is read as the
    last one before it; with none before it, as the mean.

    Args:
        scaling: of each column, from training rows.
        mask: add the mask.
    """

    def __init__(self, scaling: Scaling, *, mask: bool) -> None:
        self._scaling, self._mask = scaling, mask
        self._last = np.zeros(len(scaling.mean), dtype=np.float32)

    def step(self, row: np.ndarray) -> np.ndarray:
        """The next row (D,), NaN where a value is missing, as (D,) or (2 D,) float32."""
        scaled, real = self._scaled(row)
        self._last = np.where(real, scaled, self._last)
        return np.concatenate([self._last, real.astype(np.float32)]) if self._mask else self._last

    def whole(self, values: np.ndarray) -> np.ndarray:
        """A series (T, D), NaN where values are missing, as (T, D) or (T, 2 D) float32."""
        scaled, real = self._scaled(values)
        if not real.all():
            rows = np.where(real, np.arange(len(values))[:, None], -1)
            rows = np.maximum.accumulate(rows, axis=0)  # (T, D), the last row with a real value, -1 for none
            held = np.take_along_axis(scaled, np.maximum(rows, 0), axis=0)
            scaled = np.where(rows >= 0, held, self._last)
        return np.concatenate([scaled, real.astype(np.float32)], axis=1) if self._mask else scaled

    def _scaled(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        real = ~np.isnan(values)
        mean, scale = self._scaling.mean, self._scaling.scale
        scaled = np.clip((np.where(real, values, mean) - mean) / scale, -LIMIT, LIMIT)
        return scaled.astype(np.float32), real
