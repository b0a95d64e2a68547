"""Missing values: drawn as straight lines between their neighbours, part by part, so that none is known early."""

from __future__ import annotations

from collections.abc import Iterable

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


def interpolated_parts(values: np.ndarray, parts: Iterable[range]) -> np.ndarray:
    """(T, D) filled so that no value of a part comes from a later part: each is filled with what stands up to its end.

    Rows beyond the last part are filled last.
    """
    if not np.isnan(values).any():
        return values
    filled = values.copy()
    stops = sorted({rows.stop for rows in parts if len(rows)} | {len(values)})
    start = 0
    for stop in stops:
        filled[start:stop] = interpolated(np.concatenate([filled[:start], values[start:stop]]))[start:]
        start = stop
    return filled


def missing(values: np.ndarray) -> int:
    """How many values of (T, D) are missing."""
    return int(np.isnan(values).sum())
