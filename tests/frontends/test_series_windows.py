"""Parts in the order of time and windows as views; a leak that is planted is found."""

from __future__ import annotations

import numpy as np
import pytest

from seqkit.data.series import Series
from seqkit.errors import DataError, InputError
from seqkit.frontends.forecast_windows import ForecastFrontend, Places
from seqkit.frontends.series_windows import Parts, cut_parts, origins


def test_parts_of_etth1() -> None:
    parts = cut_parts(17420, train_rows=8640, validation_rows=2880, test_rows=2880, horizon=96)
    assert parts == Parts(range(8640), range(8640, 11520), range(11520, 14400))
    assert len(origins(parts.test, 336, 96)) == 2880 - 96 + 1


def test_shares_hold_a_horizon_at_least() -> None:
    assert cut_parts(100, horizon=28) == Parts(range(44), range(44, 72), range(72, 100))
    assert cut_parts(1000, horizon=28) == Parts(range(800), range(800, 900), range(900, 1000))
    assert cut_parts(100, validation_fraction=0.0, horizon=5) == Parts(range(90), range(90, 90), range(90, 100))


@pytest.mark.parametrize("settings", [{"horizon": 60}, {"train_rows": 95}, {"test_rows": 200}])
def test_rows_that_do_not_reach(settings: dict[str, int]) -> None:
    with pytest.raises(DataError, match="100 rows do not reach"):
        cut_parts(100, **settings)


@pytest.mark.parametrize(("length", "horizon", "stride"), [(1, 1, 1), (5, 3, 1), (5, 3, 4), (20, 1, 7), (30, 9, 1)])
def test_windows_are_views_of_the_right_rows(length: int, horizon: int, stride: int) -> None:
    values = np.arange(80.0).reshape(40, 2)
    series = Series("one", ("a", "b"), values, None, None, "one.csv")
    rows = range(10, 33)
    frontend = ForecastFrontend(horizon=horizon, input_length=length, season=1, each=False, calendar=False, mask=False)
    frontend.fit([series], [range(10)])
    encoded = frontend.encode(series, [range(10), rows])
    items = frontend.windows([encoded], [rows], stride)
    begins = origins(rows, length, horizon, stride)
    assert len(items) == len(begins) == len(range(max(10, length), 33 - horizon + 1, stride))
    for item, begin in zip(items, begins, strict=True):
        assert np.shares_memory(item["read"], encoded.targets)
        assert np.shares_memory(item["target"], encoded.targets)
        assert np.shares_memory(item["history"], values)
        np.testing.assert_array_equal(item["read"], encoded.targets[begin - length : begin])
        np.testing.assert_array_equal(item["actual"], values[begin : begin + horizon])
        assert rows.start <= begin
        assert begin + horizon <= rows.stop


def _series(values: np.ndarray) -> Series:
    return Series("one", ("a",), values[:, None], None, None, "one.csv")


def _frontend(**settings: bool) -> ForecastFrontend:
    chosen = {"each": False, "calendar": False, "mask": False, **settings}
    return ForecastFrontend(horizon=4, input_length=8, season=2, **chosen)


def _training(values: np.ndarray, parts: Parts) -> tuple[np.ndarray, ...]:
    """All that training sees of a series: its windows' numbers and what MASE divides by."""
    frontend = _frontend()
    series = _series(values)
    frontend.fit([series], [parts.train])
    encoded = frontend.encode(series, list(parts.named().values()))
    items = frontend.windows([encoded], [parts.train])
    return np.stack([item["read"] for item in items]), np.stack([item["target"] for item in items]), encoded.mase


@pytest.mark.parametrize("missing", [False, True])
def test_what_comes_later_changes_nothing_that_training_sees(missing: bool) -> None:
    """The planted leak: values of validation and test are changed out of recognition, right up to the border."""
    values = np.random.default_rng(0).standard_normal(60)
    parts = cut_parts(60, validation_rows=10, test_rows=10, horizon=4)
    if missing:
        values[38:42] = np.nan  # across the border between training and validation
    later = values.copy()
    later[parts.train.stop :] = 1e6
    for one, other in zip(_training(values, parts), _training(later, parts), strict=True):
        np.testing.assert_array_equal(one, other)
    leaking = Parts(range(parts.train.stop + 1), parts.validation, parts.test)  # the test can fail: one row too many
    assert not np.array_equal(_training(values, leaking)[0], _training(later, leaking)[0])


def test_validation_reads_back_and_is_not_read_by_training() -> None:
    values = np.arange(60.0)
    parts = cut_parts(60, validation_rows=10, test_rows=10, horizon=4)
    frontend, series = _frontend(), _series(values)
    frontend.fit([series], [parts.train])
    encoded = frontend.encode(series, list(parts.named().values()))
    training = frontend.windows([encoded], [parts.train])
    validation = frontend.windows([encoded], [parts.validation])
    assert max(float(item["actual"].max()) for item in training) == 39.0
    assert [len(item["history"]) for item in validation] == list(range(40, 47))
    assert Places(validation)[0] == "one.csv:42 (one)"


def test_chosen_windows_are_those_of_their_numbers() -> None:
    series = [_series(np.arange(30.0)), _series(100.0 + np.arange(20.0))]
    frontend = _frontend()
    frontend.fit(series, [range(30), range(20)])
    encoded = [frontend.encode(one, [range(len(one.values))]) for one in series]
    items = frontend.windows(encoded, [range(30), range(20)])
    picked = np.array([0, 3, 3, 18, 19, len(items) - 1])
    for one, index in zip(items.chosen(picked), picked.tolist(), strict=True):
        np.testing.assert_array_equal(one["actual"], items[index]["actual"])


def test_a_series_that_is_too_short_is_named() -> None:
    frontend = _frontend()
    frontend.fit([_series(np.arange(30.0))], [range(30)])
    with pytest.raises(InputError, match="series 'one' has 7 rows, and the run reads 8"):
        frontend.newest(_series(np.arange(7.0)))
    with pytest.raises(InputError, match="no value in its last 8"):
        frontend.newest(_series(np.full(9, np.nan)))


def test_missing_values_are_told_or_filled() -> None:
    values = np.arange(30.0)
    values[12] = values[19] = np.nan
    for mask in (False, True):
        frontend = _frontend(mask=mask)
        frontend.fit([_series(values)], [range(30)])
        encoded = frontend.encode(_series(values), [range(30)])
        inside, open_end = (frontend.windows([encoded], [range(begin, begin + 4)])[0]["read"] for begin in (16, 20))
        assert bool(np.isnan(inside[4, 0])) is bool(np.isnan(open_end[-1, 0])) is mask
        assert np.isnan(encoded.targets[12, 0])
        if not mask:
            assert inside[4, 0] == pytest.approx(0.5 * (inside[3, 0] + inside[5, 0]), abs=1e-6)
            assert open_end[-1, 0] == open_end[-2, 0]  # held: a line towards row 20 would tell of it
