"""Forecasts that need no learning, beside M4's published figures."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from seqkit.frontends.series_scaling import mase_scale
from seqkit.heads.forecast_scores import owa, scaled, symmetric
from seqkit.heads.naive import naive, naive2, seasonal_naive

DATA = Path(os.environ.get("SEQKIT_DATA", "nowhere")) / "m4_hourly"
NAN = float("nan")


def test_naive_holds_the_last_value_that_is_there() -> None:
    history = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, NAN]])
    np.testing.assert_array_equal(naive(history, 2), [[3.0, 6.0], [3.0, 6.0]])


def test_seasonal_naive_repeats_the_last_season() -> None:
    history = np.arange(7.0)[:, None]
    np.testing.assert_array_equal(seasonal_naive(history, 5, 3)[:, 0], [4.0, 5.0, 6.0, 4.0, 5.0])
    np.testing.assert_array_equal(seasonal_naive(history[:2], 3, 3)[:, 0], [1.0, 1.0, 1.0])  # no whole season
    history[5] = NAN
    np.testing.assert_array_equal(seasonal_naive(history, 3, 3)[:, 0], [4.0, 4.0, 6.0])


def test_naive2_puts_back_the_season_that_it_takes_out() -> None:
    pattern = np.array([0.5, 1.0, 1.5, 1.0])
    history = 10.0 * np.tile(pattern, 10)
    np.testing.assert_allclose(naive2(history, 6, 4), 10.0 * pattern[[0, 1, 2, 3, 0, 1]])
    line = np.arange(1.0, 9.0)  # too short for a season to be seen
    np.testing.assert_array_equal(naive2(line, 3, 4), [8.0, 8.0, 8.0])
    np.testing.assert_array_equal(naive2(np.full(40, 7.0), 2, 4), [7.0, 7.0])


def _rows(path: Path) -> dict[str, np.ndarray]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {row[0]: np.array([float(cell) for cell in row[1:] if cell]) for row in rows}


@pytest.mark.skipif(not DATA.is_dir(), reason="needs SEQKIT_DATA")
def test_published_figures_of_m4_hourly() -> None:
    """Makridakis et al. 2020: Naive2 has sMAPE 18.383 and MASE 2.395."""
    train, test = _rows(DATA / "Hourly-train.csv"), _rows(DATA / "Hourly-test.csv")
    smape, mase = np.zeros((2, 2)), np.zeros((2, 2))
    for name, history in train.items():
        actual, known = test[name][:, None], history[:, None]
        scale = mase_scale(known, 24)
        for index, forecast in enumerate((naive2(history, 48, 24)[:, None], seasonal_naive(known, 48, 24))):
            smape[index] += symmetric(actual, forecast)
            mase[index] += scaled(actual, forecast, scale)
    smapes, mases = smape[:, 0] / smape[:, 1], mase[:, 0] / mase[:, 1]
    assert smapes[0] == pytest.approx(18.383, abs=5e-4)
    assert mases[0] == pytest.approx(2.395, abs=5e-4)
    assert owa(smapes[1], mases[1], smapes[0], mases[0]) == pytest.approx(0.6275, abs=5e-4)
