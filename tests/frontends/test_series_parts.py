"""Scaling, filling, calendar and season of series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqkit.data.series_steps import Step
from seqkit.errors import RunError
from seqkit.frontends.calendar_features import calendar_features, varying
from seqkit.frontends.series_filling import interpolated, missing
from seqkit.frontends.series_scaling import Scaler, Scaling, constant_columns
from seqkit.frontends.series_season import default_season

NAN = float("nan")


def test_scaling_is_mean_and_deviation_and_is_undone() -> None:
    values = np.random.default_rng(0).normal(5.0, 3.0, (50, 2))
    values[3, 1] = NAN
    scaling = Scaling.of(values)
    np.testing.assert_allclose(scaling.mean, np.nanmean(values, axis=0))
    np.testing.assert_allclose(scaling.scale, np.nanstd(values, axis=0))
    np.testing.assert_allclose(scaling.inverse(scaling.transform(values)), values, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.0, 1e9, NAN])
def test_a_constant_column_keeps_its_size(value: float) -> None:
    scaling = Scaling.of(np.full((10, 1), value))
    assert scaling.scale.tolist() == [1.0]
    assert constant_columns(np.full((10, 1), value), ["a"]) == ([] if np.isnan(value) else ["a"])


def test_a_scaler_is_kept_and_scales_new_series_by_what_is_known(tmp_path: Path) -> None:
    train = {"a": np.arange(10.0)[:, None], "b": 100.0 * np.arange(10.0)[:, None]}
    for each in (True, False):
        scaler = Scaler(each=each)
        scaler.fit(train)
        scaler.save(tmp_path)
        again = Scaler.load(tmp_path, 1)
        known = np.array([[2.0], [4.0]])
        for name in ("a", "b", "new"):
            one, other = scaler.scaling(name, known), again.scaling(name, known)
            np.testing.assert_array_equal(one.mean, other.mean)
            np.testing.assert_array_equal(one.scale, other.scale)
        assert scaler.scaling("new", known).mean[0] == pytest.approx(3.0 if each else 50.5 * 4.5)
    with pytest.raises(RunError, match="does not have 2 columns"):
        Scaler.load(tmp_path, 2)


def test_gaps_are_filled_on_a_line_and_held_at_the_ends() -> None:
    values = np.array([[NAN], [1.0], [NAN], [NAN], [4.0], [NAN]])
    np.testing.assert_allclose(interpolated(values)[:, 0], [1.0, 1.0, 2.0, 3.0, 4.0, 4.0])
    assert missing(values) == 4
    assert np.isnan(values[0, 0])  # the values themselves stay
    nothing = np.full((3, 1), NAN)
    assert np.isnan(interpolated(nothing)).all()


def test_the_calendar_goes_round() -> None:
    times = np.array(["2024-01-01T00:00", "2024-01-01T12:00", "2024-12-31T18:00"], dtype="datetime64[ns]")
    found = calendar_features(times, ("hour", "weekday"))
    np.testing.assert_allclose(found[:, 0], [0.0, 0.0, -1.0], atol=1e-6)  # sine of the hour
    np.testing.assert_allclose(found[:, 2], [1.0, -1.0, 0.0], atol=1e-6)  # cosine of it
    np.testing.assert_allclose(found[0, 1], 0.0, atol=1e-6)  # a Monday
    np.testing.assert_allclose(found[2, 1], np.sin(2 * np.pi / 7), atol=1e-6)  # a Tuesday
    assert varying(times) == ("hour", "weekday", "day", "month")
    assert varying(times[:1]) == ()


@pytest.mark.parametrize(
    ("step", "season"), [("1 hour", 24), ("1 day", 7), ("1 week", 52), ("1 month", 12), ("3 months", 4), ("7 hours", 1)]
)
def test_seasons(step: str, season: int) -> None:
    assert default_season(Step.parse(step)) == season
    assert default_season(None) == 1
