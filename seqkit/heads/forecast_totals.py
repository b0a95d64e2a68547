"""The figures of a backtest: of the forecasts, and beside them always of naive and seasonal-naive ones.

Shapes: H steps ahead, D columns, S statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqkit.data.items import Item
from seqkit.heads.forecast import Forecast
from seqkit.heads.forecast_scores import absolute, covered, crps_quantiles, owa, scaled, squared, symmetric
from seqkit.heads.forecast_table import PAST, bands_of
from seqkit.heads.naive import naive, naive2, seasonal_naive
from seqkit.reporting.forecasts import Pictured, save_backtest, save_forecast

if TYPE_CHECKING:
    from seqkit.recipe import Outcome

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Levels that CRPS is computed over."""
BAND = (0.1, 0.9)
"""The band whose coverage is measured: it should hold 80 % of what comes."""
MEASURES = ("mse", "mae", "smape", "mase")
METHODS = ("", "naive_", "seasonal_naive_")


class ForecastTotals:
    """Statistics of windows, and the metrics of their sums.

    A statistic is a sum and a count: of each measure for each method, of CRPS, of coverage, and with `owa` of Naive2's
    sMAPE and MASE.
    """

    lower_is_better = frozenset(
        {"loss", "crps", "owa", "seasonal_naive_owa"} | {method + name for method in METHODS for name in MEASURES}
    )

    def __init__(self, *, owa: bool) -> None:
        self._owa = owa
        self._baselines: dict[tuple[str, int], np.ndarray] = {}

    def of(self, item: Item, forecast: Forecast, season: int) -> np.ndarray:
        """(S,) of a window."""
        actual = item["actual"]
        own = self._measured(item, forecast.scaled_mean, forecast.mean)
        key = (item["series"].name, len(item["history"]))
        if key not in self._baselines:  # they stay the same from epoch to epoch
            self._baselines[key] = self._baseline(item, season)
        quantiles = forecast.quantiles(LEVELS)
        sure = np.zeros(4)
        if quantiles is not None:
            scale = forecast.scale
            low, high = quantiles[LEVELS.index(BAND[0])], quantiles[LEVELS.index(BAND[1])]
            sure = np.concatenate(
                [crps_quantiles(actual / scale, quantiles / scale, LEVELS), covered(actual, low, high)]
            )
        return np.concatenate([own, sure, self._baselines[key]])

    def _measured(self, item: Item, scaled_forecast: np.ndarray, forecast: np.ndarray) -> np.ndarray:
        """(8,): MSE and MAE of scaled values, sMAPE and MASE."""
        actual, target = item["actual"], item["target"].astype(np.float64)
        return np.concatenate(
            [
                squared(target, scaled_forecast),
                absolute(target, scaled_forecast),
                symmetric(actual, forecast),
                scaled(actual, forecast, item["mase"]),
            ]
        )

    def _baseline(self, item: Item, season: int) -> np.ndarray:
        history, horizon = item["history"], len(item["actual"])
        found = []
        for forecast in (naive(history, horizon), seasonal_naive(history, horizon, season)):
            found.append(self._measured(item, (forecast - item["scaling"].mean) / item["scaling"].scale, forecast))
        if self._owa:
            forecast = np.stack([naive2(column, horizon, season) for column in history.T], axis=1)
            found.append(
                np.concatenate([symmetric(item["actual"], forecast), scaled(item["actual"], forecast, item["mase"])])
            )
        return np.concatenate(found)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """The metrics of a sum (S,) of statistics; those that nothing counted for are left out."""
        pairs = totals.reshape(-1, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = pairs[:, 0] / pairs[:, 1]
        names = [*MEASURES, "crps", "coverage_80", *(method + name for method in METHODS[1:] for name in MEASURES)]
        found = dict(zip(names, means[: len(names)].tolist(), strict=True))
        if self._owa:
            base = means[len(names) :]
            for method in ("", "seasonal_naive_"):
                found[f"{method}owa"] = owa(found[f"{method}smape"], found[f"{method}mase"], base[0], base[1])
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def draw(self, outcome: Outcome, path: Path) -> Path:
        """A forecast beside what came."""
        item, forecast = outcome.item, outcome.prediction
        horizon = len(forecast.mean)
        past = item["history"][-PAST * horizon :]
        known = len(item["history"])
        axis = np.arange(known - len(past), known + horizon) + 1
        columns = item["series"].columns
        picture = Pictured(
            past, forecast.mean, columns, axis, bands_of(forecast, (0.1, 0.25, 0.75, 0.9)), item["actual"]
        )
        return save_forecast(picture, path, title=outcome.place)

    def backtest(self, outcomes: Sequence[Outcome], path: Path, season: int, title: str) -> Path:
        """The mean absolute error, scaled, by how far ahead it is."""
        sums: dict[str, np.ndarray] = {}
        counts = 0.0
        for outcome in outcomes:
            item, target = outcome.item, outcome.item["target"].astype(np.float64)
            mean, scale = item["scaling"].mean, item["scaling"].scale
            history, horizon = item["history"], len(target)
            forecasts = {
                "model": outcome.prediction.scaled_mean,
                "naive": (naive(history, horizon) - mean) / scale,
                "seasonal naive": (seasonal_naive(history, horizon, season) - mean) / scale,
            }
            real = ~np.isnan(target)
            for name, forecast in forecasts.items():
                errors = np.where(real, np.abs(target - forecast), 0.0).sum(1)
                sums[name] = sums.get(name, 0.0) + errors
            counts = counts + real.sum(1)
        errors_by_step = {name: total / np.maximum(counts, 1) for name, total in sums.items()}
        return save_backtest(errors_by_step, path, title=title, unit="mean absolute error (deviations)")
