"""Missing values: counted, and drawn as straight lines between their neighbours."""

from __future__ import annotations

import numpy as np


def interpolated(values: np.ndarray) -> np.ndarray:
    """(T, D) with every NaN filled: on the line between its neighbours in the column, at the ends held.

    A column without any value stays as it is.
    """
    if not np.isnan(values).any():
        return values
    filled = values.copy()
    rows = np.arange(len(values))
    for column in filled.T:
        real = ~np.isnan(column)
        if real.any() and not real.all():
            column[~real] = np.interp(rows[~real], rows[real], column[real])
    return filled


def missing(values: np.ndarray) -> int:
    """How many values of (T, D) are missing."""
    return int(np.isnan(values).sum())
