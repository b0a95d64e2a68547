"""Pictures of forecasts and of anomalies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqkit.reporting.anomalies import Span, save_anomalies, thinned
from seqkit.reporting.forecasts import Pictured, save_backtest, save_forecast


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        assert len(picture.convert("L").getcolors() or ()) > 10
        return picture.size


@pytest.mark.parametrize("columns", [1, 3, 9])
@pytest.mark.parametrize("timed", [False, True])
def test_a_forecast_has_a_panel_for_each_column(tmp_path: Path, columns: int, timed: bool) -> None:
    rng = np.random.default_rng(0)
    past, mean = rng.standard_normal((30, columns)), rng.standard_normal((10, columns))
    past[3] = np.nan
    times = np.datetime64("2024-01-01", "ns") + np.arange(40) * np.timedelta64(1, "h") if timed else np.arange(40)
    forecast = Pictured(
        past, mean, [f"c{i}" for i in range(columns)], times, [("80 %", mean - 1, mean + 1)], mean + 0.1
    )
    alone = Pictured(past[:, :1], mean[:, :1], ["c0"], times)
    height = _size(save_forecast(forecast, tmp_path / "a.png", title="a"))[1]
    single = _size(save_forecast(alone, tmp_path / "b.png", title="b"))[1]
    assert height - single == pytest.approx((min(columns, 6) - 1) * 1.7 * 130, abs=3)


def test_a_backtest(tmp_path: Path) -> None:
    errors = {"model": np.linspace(0.1, 0.5, 24), "naive": np.linspace(0.3, 0.9, 24)}
    _size(save_backtest(errors, tmp_path / "a.png", title="a", unit="error"))


@pytest.mark.parametrize("rows", [1, 50, 100_000])
def test_anomalies(tmp_path: Path, rows: int) -> None:
    values = np.zeros((rows, 8))
    scores = np.full(rows, np.nan)
    scores[-1] = 2.0
    labels = np.zeros(rows)
    labels[-1] = 1.0
    path = save_anomalies(
        tmp_path / "a.png",
        title="a",
        times=np.arange(rows),
        values=values,
        columns=[f"c{i}" for i in range(8)],
        scores=scores,
        threshold=1.0,
        spans=[Span(rows - 1, rows, 7)],
        labels=labels,
    )
    _size(path)


def test_thinning_keeps_every_spike() -> None:
    values = np.zeros(100_000)
    values[12_345], values[77_777], values[500] = 9.0, -8.0, np.nan
    times, found = thinned(np.arange(100_000), values)
    assert len(found) <= 2000
    assert found[times == 12_345].tolist() == [9.0]
    assert found[times == 77_777].tolist() == [-8.0]
    assert bool((np.diff(times) > 0).all())
    few = np.arange(5.0)
    assert thinned(few, few)[1] is few
