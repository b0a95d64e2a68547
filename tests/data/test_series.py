"""Series of CSV files: what is read, and what is told where a cell or a line is wrong."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqkit.data.series import Series, read_series
from seqkit.errors import DataError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file "sales.csv"."""

    def written(text: str) -> Path:
        path = tmp_path / "sales.csv"
        path.write_bytes(text.encode())
        return path

    return written


def daily(*cells: object, name: str = "sales") -> str:
    """A column of days and one of cells."""
    days = pd.date_range("2020-01-01", periods=len(cells)).strftime("%Y-%m-%d")
    return f"date,{name}\n" + "".join(f"{day},{cell}\n" for day, cell in zip(days, cells, strict=True))


def told(path: Path, **settings: object) -> str:
    """The error that a file raises, without the folder."""
    with pytest.raises(DataError) as caught:
        read_series(path, **settings)  # type: ignore[arg-type]
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_column_of_numbers_is_a_series(write: Write) -> None:
    [series] = read_series(write("date,shop,sales,note\n2020-01-01,a,1.5,x\n2020-01-02,b,-2,y\n"), time="date")
    assert (series.name, series.columns, series.others) == ("sales", ("sales",), ("shop", "note"))
    assert series.values.dtype == np.float64
    assert series.values.tolist() == [[1.5], [-2.0]]
    assert series.times is not None
    assert series.times.tolist() == pd.to_datetime(["2020-01-01", "2020-01-02"]).to_numpy("datetime64[ns]").tolist()
    assert str(series.step) == "1 day"
    assert series.where(1).endswith("sales.csv:3")


def test_targets_come_in_the_order_asked_for_and_labels_apart(write: Write) -> None:
    path = write("t;a;b;bad\n0;1;2;0\n1;3;4;1\n")
    [series] = read_series(path, time="t", target=["b", "a"], labels=["bad"])
    assert series.columns == ("b", "a")
    assert series.values.tolist() == [[2.0, 1.0], [4.0, 3.0]]
    assert series.labels["bad"].tolist() == [0.0, 1.0]
    [series] = read_series(path, labels=["bad"])
    assert series.columns == ("t", "a", "b")
    assert (series.times, series.step) == (None, None)


def test_empty_cells_and_their_like_are_missing(write: Write) -> None:
    [series] = read_series(write(daily(1, "", "NaN", "NA", "null", "#N/A", "NAN", " 6 ")), time="date")
    assert np.isnan(series.values[1:7]).all()
    assert series.values[[0, 7], 0].tolist() == [1.0, 6.0]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_marks_of_other_programs_are_no_part_of_a_cell(tmp_path: Path, separator: str) -> None:
    text = '\ufeff"date","big, sales; all"\r\n"2020-01-01","1"\r\n"2020-01-02","2"\r\n\r\n'
    path = tmp_path / "shop.csv.gz"
    path.write_bytes(gzip.compress(text.replace('","', f'"{separator}"').encode()))
    [series] = read_series(path, time="date")
    assert (series.name, series.columns, len(series.values)) == ("shop", ("big, sales; all",), 2)


def test_numbers_are_read_to_the_last_bit(write: Write) -> None:
    texts = [repr(float(value)) for value in np.random.default_rng(3).normal(size=500) * 1e-3]
    [series] = read_series(write("a\n" + "\n".join(texts)))
    assert series.values[:, 0].tolist() == [float(text) for text in texts]


def test_a_column_tells_series_apart_whatever_the_order_of_rows(write: Write) -> None:
    rows = [
        f"2020-01-0{day},{shop},{day}{shop == 'b':d}\n" for day in (1, 2, 3) for shop in "ba" if (day, shop) != (3, "a")
    ]
    b, a = read_series(write("date,shop,sales\n" + "".join(rows)), time="date", series="shop")
    assert (b.name, b.values[:, 0].tolist()) == ("b", [11.0, 21.0, 31.0])
    assert (a.name, a.values[:, 0].tolist()) == ("a", [10.0, 20.0])
    assert [a.line(row) for row in range(2)] == [3, 5]
    assert a.first_line == 3


def test_series_below_each_other_are_views_of_one_table(write: Write) -> None:
    rows = "".join(f"{day},{shop},{day}\n" for shop in "ab" for day in range(5))
    a, b = read_series(write("t,shop,sales\n" + rows), time="t", series="shop")
    assert not a.values.flags.owndata
    assert b.where(0).endswith(":7")


def test_a_row_can_be_a_series(write: Write) -> None:
    text = '"id","V1","V2","V3"\n"H1","1","2",""\nH2,,3,4\nH3,5,,7\n'
    found = read_series(write(text), layout="rows")
    assert [series.name for series in found] == ["H1", "H2", "H3"]
    assert found[0].values.tolist() == [[1.0], [2.0]]
    assert found[1].values.tolist() == [[3.0], [4.0]]
    assert np.array_equal(found[2].values, [[5.0], [np.nan], [7.0]], equal_nan=True)
    assert found[2].where(2).endswith(":4")
    named = read_series(write("a,shop,b\n1,x,2\n"), layout="rows", series="shop", target=["sales"])
    assert (named[0].name, named[0].columns, named[0].values.tolist()) == ("x", ("sales",), [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "sales.csv: the file is empty."),
        ("date,sales\n", "sales.csv: there are no rows below the header."),
        ("date,a,a\n2020-01-01,1,2\n", "sales.csv:1: there are two columns 'a'."),
        ("1.5,2\n3,4\n", "sales.csv:1: the first line holds numbers ('1.5'), not the names of columns."),
        (daily(1, 2, "many"), "sales.csv:4: column 'sales' has 'many', not a number."),
        (daily(1, '"1,234"'), "sales.csv:3: column 'sales' has '1,234', not a number. Write decimals with a point"),
        (daily("inf", 2), "sales.csv:2: column 'sales' has 'inf', which is infinite."),
        (daily(1, "-1e999"), "sales.csv:3: column 'sales' has '-1e999', which is infinite."),
        (daily("x", "y"), "sales.csv: no column holds numbers."),
        (daily("", ""), "sales.csv:2: the series has no value in column 'sales'."),
        (daily(1), "sales.csv:2: the series has one row, and needs at least 2."),
        (daily(1, 2) + "2020-01", "sales.csv:4: 1 cell where the header names 2 columns ('2020-01')."),
        (daily(1, 2) + "2020-01-03,3,4\n", "sales.csv:4: 3 cells where the header names 2 columns"),
        (daily(1, 2) + "\n2020-01-03,3\n", "sales.csv:4: an empty line among the rows."),
        (daily(1, 2) + '2020-01-03,"3\n', "sales.csv:4: a quoted cell does not end as it should"),
        (daily(1, "-1e38"), "sales.csv:3: column 'sales' has '-1e38', which is too large to learn from."),
        (daily(1, "+nan"), "sales.csv:3: column 'sales' has '+nan', not a number. Leave the cell empty"),
        (daily(1, "\x1b[31m"), r"sales.csv:3: column 'sales' has '\x1b[31m', not a number."),
        (daily(1) + "\x1b[31m,2\n", r"sales.csv:3: column 'date' has '\x1b[31m', which is not a time"),
        (daily(1, "\u0661\u0662"), "sales.csv:3: column 'sales' has '\u0661\u0662', not a number."),
        (daily(1, 2).replace("\n", "\r"), "sales.csv:1: the lines end in a carriage return only"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(write: Write, text: str, sentence: str) -> None:
    assert told(write(text), time="date" if text.startswith("date") else None).startswith(sentence)


def test_a_column_that_is_not_there_is_told_with_its_likes(write: Write) -> None:
    path = write(daily(1, 2))
    assert told(path, time="date", target=["sale"]).startswith(
        "sales.csv: there is no column 'sale'. Did you mean 'sales'?"
    )
    assert "no column 'day'" in told(path, time="day")
    assert "no column 'shop'" in told(path, series="shop")
    assert "cannot be data.target too" in told(path, time="date", target=["date"])
    assert "column 'sales' is asked for twice" in told(path, time="date", target=["sales", "sales"])
    assert "column 'sales' is asked for twice" in told(path, time="date", target=["sales"], labels=["sales"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,V1\nH1,x\n", "sales.csv:2: column 'V1' has 'x', not a number."),
        ("id,V1\nH1,inf\n", "sales.csv:2: column 'V1' has 'inf', which is infinite."),
        ("id,V1\nH1,\n", "sales.csv:2: series 'H1' has no value."),
        ("id,V1,V2\nH1,1,2\nH1,1,2\n", "sales.csv:3: there is a series 'H1' already, on line 2."),
        ("id,V1\n,1\n", "sales.csv:2: the series has no name in column 'id'."),
        ("id,V1,V2\nH1,1,\n", "sales.csv:2: series 'H1' has one row, and needs at least 2."),
    ],
)
def test_a_wrong_row_of_a_series_is_told(write: Write, text: str, sentence: str) -> None:
    assert told(write(text), layout="rows").startswith(sentence)


def test_one_bad_series_does_not_hide_the_good_ones(write: Write) -> None:
    text = "t,shop,sales\n0,a,1\n1,a,2\n0,b,1\n0,c,1\n1,c,2\n3,c,4\n"
    problems: list[DataError] = []
    [a] = read_series(write(text), time="t", series="shop", problems=problems)
    assert a.name == "a"
    assert len(problems) == 2
    assert "series 'b' has one row" in str(problems[0])
    assert "sales.csv:7: column 't' of series 'c' goes from 1 to 3" in str(problems[1])
    assert told(write(text.replace("1,a,2\n", "")), time="t", series="shop", problems=[]).startswith(
        "sales.csv:2: series 'a'"
    )


def test_a_row_is_enough_where_none_need_follow(write: Write) -> None:
    [series] = read_series(write(daily(1)), time="date", regular=False)
    assert (len(series.values), series.step) == (1, None)


def test_faults_past_the_first_block_have_their_line(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqkit.data.series_table._ROWS", 3)
    [series] = read_series(write(daily(*range(10))), time="date")
    assert series.values[:, 0].tolist() == list(range(10))
    assert told(write(daily(*range(7), "x")), time="date").startswith("sales.csv:9: column 'sales' has 'x'")
    assert told(write(daily(*range(7)) + "soon,1\n"), time="date").startswith("sales.csv:9: column 'date' has 'soon'")


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("a,größe\n1,2\n".encode("latin1"))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a\n" + b"1\n" * 9000)[:-20])
    assert "latin.csv:1: byte 5 of the line (0xf6) is not UTF-8" in told(tmp_path / "latin.csv")
    assert "damaged gzip file" in told(tmp_path / "cut.csv.gz")
    assert "No such file" in told(tmp_path / "none.csv")


def test_memory_grows_with_the_numbers_not_with_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqkit.data.series_table._ROWS", 2_000)
    path = tmp_path / "long.csv"
    peaks = []
    for rows in (10_000, 50_000):
        path.write_text("t,a,b\n" + "".join(f"{row},{row + 0.123456789},{row - 0.123456789}\n" for row in range(rows)))
        tracemalloc.start()
        read_series(path, time="t")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A row is 24 bytes of numbers, its text more than 80.
    assert (peaks[1] - peaks[0]) / 40_000 < 70


def benchmark(name: str) -> Path:
    """A benchmark's folder."""
    folder = Path(os.environ.get("SEQKIT_DATA", "nowhere")) / name
    if not folder.is_dir():
        pytest.skip(f"needs {name} in SEQKIT_DATA")
    return folder


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("ett/ETTh1.csv", "1 hour"),
        ("exchange_rate/exchange_rate.csv", "1 day"),
        ("ili/national_illness.csv", "1 week"),
    ],
)
def test_benchmarks_of_forecasting_are_read_as_pandas_reads_them(name: str, step: str) -> None:
    path = benchmark(name.split("/")[0]).parent / name
    [series] = read_series(path, time="date")
    expected = pd.read_csv(path, parse_dates=["date"])
    assert series.times is not None
    assert np.array_equal(series.times, expected["date"].to_numpy().astype("datetime64[ns]"))
    np.testing.assert_array_equal(series.values, expected.drop(columns="date").to_numpy(dtype=np.float64))
    assert str(series.step) == step


def test_m4_holds_414_series() -> None:
    folder = benchmark("m4_hourly")
    train, later = (read_series(folder / f"Hourly-{part}.csv", layout="rows") for part in ("train", "test"))
    assert len(train) == len(later) == 414
    assert sum(len(series.values) for series in train) == 353_500
    assert {len(series.values) for series in later} == {48}


def test_benchmarks_of_anomalies_are_read_as_they_came() -> None:
    def count(found: list[Series]) -> int:
        return sum(len(series.values) for series in found)

    skab, nab = benchmark("skab"), benchmark("nab")
    rows = anomalous = 0
    for path in skab.glob("valve1/*.csv"):
        found = read_series(path, time="datetime", labels=["anomaly", "changepoint"], regular=False)
        rows += count(found)
        anomalous += int(found[0].labels["anomaly"].sum())
    assert (rows, anomalous) == (18_160, 6_309)
    files = [read_series(path, time="timestamp", regular=False) for path in nab.glob("data/*/*.csv")]
    assert (len(files), sum(map(count, files))) == (58, 365_558)
