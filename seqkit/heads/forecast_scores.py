"""How good forecasts are: sums and counts over values, so that they add up over windows and series.

Shapes: T rows known, D columns, H steps ahead, Q levels. A value that is missing from the truth counts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def absolute(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """(2,): sum of absolute errors, and values."""
    return _sum(np.abs(actual - forecast))


def squared(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """(2,): sum of squared errors, and values."""
    return _sum(np.square(actual - forecast))


def symmetric(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """(2,): sum of `200 |y - f| / (|y| + |f|)`, M4's sMAPE in percent, and values; 0 where both are 0."""
    size = np.abs(actual) + np.abs(forecast)
    return _sum(200.0 * np.abs(actual - forecast) / np.where(size == 0.0, 1.0, size))


def scaled(actual: np.ndarray, forecast: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(2,): sum of absolute errors over the scale (D,) of MASE, and values; columns without a scale count nothing."""
    return _sum(np.abs(actual - forecast) / scale)


def crps_quantiles(actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """(2,): sum of the continuous ranked probability score and values, from quantiles (Q, H, D).

    The score is twice the pinball loss, integrated over all levels (Gneiting and Ranjan 2011): here by the mean over
    the levels that are there, so that only figures with the same levels compare.
    """
    level = np.asarray(levels, dtype=np.float64).reshape(-1, *[1] * actual.ndim)
    errors = actual - quantiles
    return _sum(2.0 * np.maximum(level * errors, (level - 1.0) * errors).mean(axis=0))


def covered(actual: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(2,): values between the ends of their band, ends included, and values."""
    inside = ((actual >= low) & (actual <= high)).astype(np.float64)
    return _sum(np.where(np.isnan(actual), np.nan, inside))


def owa(smape: float, mase: float, naive2_smape: float, naive2_mase: float) -> float:
    """M4's overall weighted average: the mean of sMAPE and MASE, each over that of Naive2 (Makridakis et al. 2020)."""
    return 0.5 * (smape / naive2_smape + mase / naive2_mase)


def _sum(values: np.ndarray) -> np.ndarray:
    real = ~np.isnan(values)
    return np.array([np.where(real, values, 0.0).sum(), real.sum()], dtype=np.float64)
