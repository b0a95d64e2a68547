"""Forecasts that need no learning: what every forecast has to be better than.

Shapes: T rows known, D columns, H steps ahead.
"""

from __future__ import annotations

import numpy as np


def naive(history: np.ndarray, horizon: int) -> np.ndarray:
    """(T, D) -> (H, D): the last value that is there, held; NaN for a column that has none."""
    return np.repeat(_newest(history)[None], horizon, axis=0)


def seasonal_naive(history: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """(T, D) -> (H, D): the last season, repeated; where one of its values is missing, or there is no whole season, the
    last value before it."""
    if len(history) < season:
        return naive(history, horizon)
    held = _held(history[-2 * season :])[-season:]
    return held[np.arange(horizon) % season]


def naive2(history: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """(T,) -> (H,): naive on the series without its season, which is put back (M4's benchmark, Makridakis et al. 2020).

    The season is taken out by classical multiplicative decomposition, and only where the autocorrelation at its lag is
    significant at 90 %. All values must be there, and be positive for a season to be taken out.
    """
    if season < 2 or not _is_seasonal(history, season) or (history <= 0).any():
        return np.repeat(history[-1], horizon)
    indices = _seasonal_indices(history, season)
    adjusted = history / indices[np.arange(len(history)) % season]
    return np.asarray(adjusted[-1] * indices[(len(history) + np.arange(horizon)) % season])


def _is_seasonal(history: np.ndarray, season: int) -> bool:
    """M4's test: |r_m| above 1.645 times its standard error, which counts the autocorrelations at smaller lags."""
    if len(history) < 3 * season:
        return False
    centred = history - history.mean()
    power = float(centred @ centred)
    if power <= 0.0:
        return False
    correlations = np.array([float(centred[lag:] @ centred[:-lag]) / power for lag in range(1, season + 1)])
    limit = 1.645 * np.sqrt((1.0 + 2.0 * np.square(correlations[:-1]).sum()) / len(history))
    return bool(abs(correlations[-1]) > limit)


def _seasonal_indices(history: np.ndarray, season: int) -> np.ndarray:
    """(m,) the mean ratio of the values to a centred moving average, for each place in the season; their mean is 1."""
    kernel = np.ones(season) / season
    if season % 2 == 0:
        kernel = np.concatenate([[0.5], np.ones(season - 1), [0.5]]) / season
    trend = np.convolve(history, kernel, mode="valid")
    before = (len(kernel) - 1) // 2
    ratios = history[before : before + len(trend)] / trend
    places = (before + np.arange(len(trend))) % season
    means = np.array([ratios[places == place].mean() for place in range(season)])
    return np.asarray(means / means.mean())


def _newest(history: np.ndarray) -> np.ndarray:
    """(D,) the last value of each column."""
    return np.asarray(_held(history)[-1])


def _held(history: np.ndarray) -> np.ndarray:
    """(T, D) with each missing value replaced by the last one before it."""
    real = ~np.isnan(history)
    if real.all():
        return history
    rows = np.maximum.accumulate(np.where(real, np.arange(len(history))[:, None], 0), axis=0)
    return np.take_along_axis(history, rows, axis=0)
