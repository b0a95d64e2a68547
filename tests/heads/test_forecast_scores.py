"""Scores of forecasts, beside their definitions; a missing value counts nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seqkit.frontends.series_scaling import mase_scale
from seqkit.heads.forecast_scores import absolute, covered, crps_quantiles, scaled, squared, symmetric

NAN = float("nan")
ACTUAL = np.array([[1.0, NAN], [0.0, -2.0]])
FORECAST = np.array([[2.0, 5.0], [0.0, 2.0]])


def test_sums_and_counts_leave_out_what_is_missing() -> None:
    np.testing.assert_allclose(absolute(ACTUAL, FORECAST), [1.0 + 0.0 + 4.0, 3])
    np.testing.assert_allclose(squared(ACTUAL, FORECAST), [1.0 + 0.0 + 16.0, 3])
    np.testing.assert_allclose(symmetric(ACTUAL, FORECAST), [200.0 / 3.0 + 0.0 + 200.0, 3])
    np.testing.assert_allclose(scaled(ACTUAL, FORECAST, np.array([0.5, 4.0])), [2.0 + 0.0 + 1.0, 3])
    np.testing.assert_allclose(scaled(ACTUAL, FORECAST, np.array([NAN, 4.0])), [1.0, 1])
    np.testing.assert_allclose(covered(ACTUAL, FORECAST - 1.0, FORECAST), [2.0, 3])


def test_the_scale_of_mase() -> None:
    history = np.array([[1.0], [5.0], [2.0], [NAN], [4.0], [9.0]])
    assert mase_scale(history, 2)[0] == pytest.approx((1.0 + 2.0) / 2)  # |2 - 1|, |4 - 2|; the others miss a value
    assert np.isnan(mase_scale(history, 6)[0])
    assert np.isnan(mase_scale(np.full((9, 1), 3.0), 2)[0])


def test_crps_of_many_quantiles_is_that_of_the_distribution() -> None:
    """CRPS of a Gaussian in closed form (Gneiting and Raftery 2007, equation 21)."""
    levels = ((np.arange(2000) + 0.5) / 2000).tolist()
    actual = np.array([[0.3], [2.5]])
    quantiles = np.broadcast_to(stats.norm(1.0, 2.0).ppf(levels)[:, None, None], (2000, 2, 1))
    z = (actual - 1.0) / 2.0
    exact = 2.0 * (z * (2.0 * stats.norm.cdf(z) - 1.0) + 2.0 * stats.norm.pdf(z) - 1.0 / np.sqrt(np.pi))
    total, count = crps_quantiles(actual, quantiles, levels)
    assert count == 2
    assert total == pytest.approx(exact.sum(), rel=2e-3)
