"""Times of series: how they are written, how far they are apart, and what is told where they break."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqkit.data.series import Series, Step, read_series
from seqkit.data.series_steps import find_step
from seqkit.data.series_times import TimeReader
from seqkit.errors import DataError


def read(tmp_path: Path, *times: str, regular: bool = True) -> Series:
    """A series with these times."""
    path = tmp_path / "s.csv"
    path.write_text("date;a\n" + "".join(f"{time};{row}\n" for row, time in enumerate(times)))
    [series] = read_series(path, time="date", regular=regular)
    return series


def told(tmp_path: Path, *times: str, regular: bool = True) -> str:
    """The error about these times, from the file's name on."""
    with pytest.raises(DataError) as caught:
        read(tmp_path, *times, regular=regular)
    return str(caught.value).replace(f"{tmp_path}/", "")


def local(start: str, count: int, step: str) -> list[pd.Timestamp]:
    """Times on a clock in Berlin."""
    return list(pd.date_range(start, periods=count, freq=step, tz="UTC").tz_convert("Europe/Berlin"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2020-01-31", "2020-02-01"], ["2020-01-31", "2020-02-01"]),
        (["2020-01-31T18:00:00.250", "2020-01-31 18:00:00.5"], ["2020-01-31T18:00:00.25", "2020-01-31T18:00:00.5"]),
        (["2020-01-31T18:00Z", "2020-01-31T19:00Z"], ["2020-01-31T18:00", "2020-01-31T19:00"]),
        (["2020-01-31T18:00+05:30", "2020-01-31T19:00+05:30"], ["2020-01-31T18:00", "2020-01-31T19:00"]),
        (["1990/1/1 0:00", "1990/1/2 0:00"], ["1990-01-01", "1990-01-02"]),
        (["01/12/2020", "01/13/2020"], ["2020-01-12", "2020-01-13"]),
        (["12/01/2020", "13/01/2020"], ["2020-01-12", "2020-01-13"]),
        (["01.02.2020 10:00", "01.02.2020 11:00"], ["2020-02-01T10:00", "2020-02-01T11:00"]),
        (["5 Jan 2020", "6 Jan 2020"], ["2020-01-05", "2020-01-06"]),
        (["2020Q3", "2020Q4"], ["2020-07-01", "2020-10-01"]),
        (["1990", "1991"], ["1990-01-01", "1991-01-01"]),
        (["199012", "199101"], ["1990-12-01", "1991-01-01"]),
        (["20200228", "20200229"], ["2020-02-28", "2020-02-29"]),
        (["1577836800", "1577836801.5"], ["2020-01-01", "2020-01-01T00:00:01.5"]),
        (["1577836800000", "1577836800500"], ["2020-01-01", "2020-01-01T00:00:00.5"]),
    ],
)
def test_times_are_read_as_they_are_meant(texts: list[str], expected: list[str]) -> None:
    found = TimeReader("s.csv", "date").read(texts, 2)
    assert found.dtype == np.dtype("datetime64[ns]")
    assert found.tolist() == np.array(expected, dtype="datetime64[ns]").tolist()


def test_small_numbers_are_steps(tmp_path: Path) -> None:
    assert read(tmp_path, "5", "6", "7").times is None
    assert "s.csv:4: column 'date' goes from 1 to 3, and most rows are 1 apart" in told(tmp_path, "0", "1", "3", "4")
    assert "s.csv:4: column 'date' has step 1 twice" in told(tmp_path, "0", "1", "1", "2")
    assert "s.csv:4: column 'date' has step 1 after 2" in told(tmp_path, "0", "2", "1", regular=False)


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        (("soon", "later"), "s.csv:2: column 'date' has 'soon', which is not a time."),
        (("2020-01-01", ""), "s.csv:3: no time in column 'date'."),
        (("2020-01-01", "2020-13-01"), "s.csv:3: column 'date' has '2020-13-01', which is not a time"),
        (("1500-01-01", "1500-01-02"), "s.csv:2: column 'date' has '1500-01-01', which is not a time"),
        (("01/02/2020", "02/02/2020"), "s.csv:2: column 'date' has '01/02/2020', which can be read in two ways."),
        (("13/01/2020", "01/14/2020"), "s.csv:3: column 'date' has '01/14/2020', which is not a time written as"),
        (("0", "x"), "s.csv:3: column 'date' has 'x', which is not the number of a step."),
        (("2020Q1", "2020Q5"), "s.csv:3: column 'date' has '2020Q5', which is not a quarter"),
        (
            ("2020-01-01", "2020-01-03", "2020-01-02"),
            "s.csv:4: column 'date' goes back in time, from 2020-01-03 to 2020-01-02.",
        ),
        (("2020-01-01", "2020-01-01"), "s.csv:3: column 'date' has 2020-01-01 twice, here and in the row before."),
        (
            ("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-06"),
            "s.csv:5: column 'date' goes from 2020-01-03 to 2020-01-06: 2 rows are missing, since a step is 1 day.",
        ),
        (
            ("2020-01-01", "2020-02-01", "2020-03-01", "2020-05-01"),
            "s.csv:5: column 'date' goes from 2020-03-01 to 2020-05-01: a row is missing, since a step is 1 month.",
        ),
        (
            ("2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00", "2020-01-01 02:07"),
            "s.csv:5: column 'date' goes from 2020-01-01 02:00 to 2020-01-01 02:07, which is not one step of 1 hour.",
        ),
        (
            ("2020-01-01 00:00", "2020-01-01 00:01", "2020-01-01 00:03", "2020-01-01 00:07"),
            "s.csv:4: column 'date' has no regular step: the most common, 1 minute, is between 1 of 3 pairs of rows",
        ),
    ],
)
def test_a_time_that_breaks_is_told_with_its_row(tmp_path: Path, times: tuple[str, ...], sentence: str) -> None:
    assert told(tmp_path, *times).startswith(sentence)


def test_a_change_of_the_time_zone_is_told(tmp_path: Path) -> None:
    offsets = [time.isoformat() for time in local("2020-10-24 22:00", 6, "h")]
    for regular in (True, False):
        message = told(tmp_path, *offsets, regular=regular)
        assert message.startswith("s.csv:5: column 'date' changes its time zone from +02:00 to +01:00")
    assert "changes its time zone from none to +00:00" in told(tmp_path, "2020-01-01T00:00", "2020-01-01T01:00Z")


@pytest.mark.parametrize("minutes", [15, 60])
def test_a_local_clock_that_is_set_forward_or_back_is_told(tmp_path: Path, minutes: int) -> None:
    rows = 12 * 60 // minutes
    autumn, spring = (
        [time.strftime("%Y-%m-%d %H:%M") for time in local(start, rows, f"{minutes}min")]
        for start in ("2020-10-24 20:00", "2020-03-28 20:00")
    )
    assert "the clock goes back an hour, as at the end of summer time" in told(tmp_path, *autumn)
    assert "skips an hour" in told(tmp_path, *spring)
    winter = [time.replace("2020-03-29", "2020-01-29").replace("2020-03-28", "2020-01-28") for time in spring]
    assert "missing" in told(tmp_path, *winter)


def test_where_no_step_is_asked_for_only_the_order_counts(tmp_path: Path) -> None:
    times = ("2020-01-01 00:00", "2020-01-01 00:01", "2020-01-01 00:01", "2020-01-01 00:07")
    series = read(tmp_path, *times, regular=False)
    assert (series.step, series.notes) == (None, ())
    back = read(tmp_path, *times, "2020-01-01 00:02", regular=False)
    assert len(back.notes) == 1
    assert "s.csv:6: column 'date' goes back in time, from 2020-01-01 00:07 to 2020-01-01 00:02" in back.notes[0]
    assert "goes back in time" in told(tmp_path, *times, "2019-12-31 23:00", regular=False)
    assert str(read(tmp_path, "2020-01-01", "2020-01-02", regular=False).step) == "1 day"


@pytest.mark.parametrize(
    ("frequency", "start", "name"),
    [
        ("250ms", "2020-01-01", "0.25 seconds"),
        ("10min", "2020-02-28 23:30", "10 minutes"),
        ("h", "2020-01-01", "1 hour"),
        ("D", "2020-02-01", "1 day"),
        ("W-TUE", "2020-01-01", "1 week"),
        ("B", "2020-01-02", "1 business day"),
        ("MS", "2020-01-01", "1 month"),
        ("ME", "2020-01-01 12:00", "1 month end"),
        ("QS", "2020-01-01", "3 months"),
        ("QE", "2020-01-01", "3 month ends"),
        ("YS", "2020-01-01", "12 months"),
    ],
)
def test_a_step_goes_on_as_pandas_does(frequency: str, start: str, name: str) -> None:
    times = pd.date_range(start, periods=60, freq=frequency).to_numpy().astype("datetime64[ns]")
    step = find_step(times[:30])
    assert step is not None
    assert str(step) == name
    assert Step.parse(name) == step
    assert np.array_equal(step.after(times[29], 30), times[30:])
    assert np.array_equal(step.between(times), np.ones(59))
    assert (
        np.isclose(step.seconds, float(np.mean(np.diff(times).astype(float))) / 1e9, rtol=0.05)
        or name == "1 business day"
    )


def test_the_day_of_a_month_is_kept_where_there_is_one() -> None:
    found = Step("months", 1).after(np.datetime64("2020-01-31T06:00"), 3)
    assert found.tolist() == np.array(["2020-02-29T06", "2020-03-31T06", "2020-04-30T06"], "datetime64[ns]").tolist()


@pytest.mark.parametrize("name", ["", "hour", "0 hours", "1 fortnight", "-1 day"])
def test_a_text_that_is_no_step_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no step"):
        Step.parse(name)
