"""Rows of a growing CSV: each as it comes, and what is told where one is wrong or the stream breaks off."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from seqkit.data.series import Series, StreamReader, read_series
from seqkit.errors import DataError


def reader(*target: str, time: str | None = "date") -> StreamReader:
    return StreamReader(time=time, target=target or ("a",))


def usable(text: bytes, problems: list[str], *target: str) -> list[int]:
    """The lines that can be used; the others are told."""
    rows = reader(*target).rows(io.BytesIO(text), lambda error: problems.append(str(error)))
    return [line for line, _, _ in rows]


def test_a_stream_gives_what_the_file_gives(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(40, 2))
    rows = [f"2020-01-01 {n // 60:02d}:{n % 60:02d},{a!r},x,{b!r}" for n, (a, b) in enumerate(numbers.tolist())]
    text = "\ufeffdate,a,note,b\r\n" + "\r\n".join(rows).replace(repr(float(numbers[7, 1])), "") + "\r\n"
    path = tmp_path / "s.csv"
    path.write_bytes(text.encode())
    [series] = read_series(path, time="date", target=["b", "a"])
    stream = reader("b", "a")
    found = list(stream.rows(io.BytesIO(text.encode())))
    assert np.array_equal(np.stack([values for _, _, values in found]), series.values, equal_nan=True)
    assert series.times is not None
    assert [time for _, time, _ in found] == list(series.times)
    assert [line for line, _, _ in found] == [series.line(row) for row in range(40)]
    assert stream.others == ("note",)


def test_a_row_comes_before_the_next_one_is_written() -> None:
    into, out = os.pipe()
    with os.fdopen(into, "rb") as stream, os.fdopen(out, "wb", buffering=0) as writer:
        rows = reader().rows(stream)
        for number in range(3):
            writer.write(b"date,a\n2020-01-01,0\n" if number == 0 else f"2020-01-0{number + 1},{number}\n".encode())
            _, _, values = next(rows)
            assert values.tolist() == [number]


def test_a_stream_without_times_numbers_its_lines() -> None:
    rows = list(reader(time=None).rows(io.BytesIO(b"a\n1\n2\n")))
    assert [(line, time, values.tolist()) for line, time, values in rows] == [(2, None, [1.0]), (3, None, [2.0])]


def test_an_end_in_the_middle_of_a_line_is_told_after_what_could_be_used() -> None:
    text = b"date,a\n2020-01-01,1\n2020-01-02,25"
    problems: list[str] = []
    assert usable(text, problems) == [2]
    assert len(problems) == 1
    assert problems[0].startswith("stdin:3: the stream ends in the middle of this line, which is not used.")
    rows = reader().rows(io.BytesIO(text))
    assert next(rows)[0] == 2
    with pytest.raises(DataError, match="middle of this line"):
        next(rows)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (b"2020-01-02,x", "stdin:3: column 'a' has 'x', not a number."),
        (b"2020-01-02,inf", "stdin:3: column 'a' has 'inf', which is infinite."),
        (b"2020-01-02,1e300", "stdin:3: column 'a' has '1e300', which is too large to learn from."),
        ("2020-01-02,\u0661".encode(), "stdin:3: column 'a' has '\u0661', not a number."),
        (b"2020-01-02", "stdin:3: 1 cell where the header names 2 columns"),
        (b"soon,2", "stdin:3: column 'date' has 'soon', which is not a time"),
        (b"2019-01-02,2", "stdin:3: column 'date' goes back in time, from 2020-01-01 to 2019-01-02."),
        (b"2020-01-02,\xff", "stdin:3: this line is not UTF-8."),
        (b"2020-01-02T00:00+01:00,2", "stdin:3: column 'date' changes its time zone from none to +01:00"),
    ],
)
def test_a_bad_row_is_told_and_the_stream_goes_on(row: bytes, sentence: str) -> None:
    problems: list[str] = []
    assert usable(b"date,a\n2020-01-01,1\n" + row + b"\n2020-01-03,3\n", problems) == [2, 4]
    assert len(problems) == 1
    assert problems[0].startswith(sentence)


def test_a_clock_that_is_set_back_stops_no_stream() -> None:
    assert usable(b"date,a\n2020-10-25T02:55,1\n2020-10-25T02:00,2\n", []) == [2, 3]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "stdin: nothing came."),
        (b"date,b\n2020-01-01,1\n", "stdin:1: the first line does not name 'a', only 'date', 'b'."),
        (b"date,a,a\n", "stdin:1: there are two columns 'a'."),
        (b"date,a", "stdin:1: the stream ends in the middle of this line"),
    ],
)
def test_a_stream_without_a_header_that_fits_is_refused(text: bytes, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        usable(text, [])
    assert caught.value.message.startswith(sentence.split(". ")[0])


def logged(tmp_path: Path) -> Series:
    """A series whose file names a column that is not read before the one that is."""
    (tmp_path / "log.csv").write_text("date,note,a\n2020-01-01,x,1\n2020-01-02,x,2\n")
    return read_series(tmp_path / "log.csv", time="date", target=["a"])[0]


def test_a_stream_may_begin_with_a_row_as_tail_gives_it(tmp_path: Path) -> None:
    stream = StreamReader(time="date", target=["a"], header=logged(tmp_path).header)
    rows = list(stream.rows(io.BytesIO(b"2020-01-03,x,3\n2020-01-04,x,\n")))
    assert [(line, str(time)[:10]) for line, time, _ in rows] == [(1, "2020-01-03"), (2, "2020-01-04")]
    assert np.array_equal(np.concatenate([values for _, _, values in rows]), [3.0, np.nan], equal_nan=True)
    assert stream.headerless
    assert stream.others == ("note",)


def test_a_header_is_not_taken_for_a_row(tmp_path: Path) -> None:
    header = logged(tmp_path).header
    stream = StreamReader(time="date", target=["a"], header=header)
    rows = list(stream.rows(io.BytesIO(b"a,note,date\n3,x,2020-01-03\n")))
    assert [(line, values.tolist()) for line, _, values in rows] == [(2, [3.0])]
    assert not stream.headerless
    for text in (b"day,note,b\n2020-01-03,x,3\n", b"2020-01-03,3\n"):
        with pytest.raises(DataError, match="first line does not name 'date', 'a'"):
            list(StreamReader(time="date", target=["a"], header=header).rows(io.BytesIO(text)))


def test_names_that_are_numbers_are_names() -> None:
    stream = StreamReader(time="date", target=["0"], header=("date", "0", "note"))
    rows = list(stream.rows(io.BytesIO(b"date,0,note\n2020-01-03,3,x\n")))
    assert [(line, values.tolist()) for line, _, values in rows] == [(2, [3.0])]
    assert not stream.headerless


def test_an_empty_line_of_a_single_column_is_a_missing_value(tmp_path: Path) -> None:
    text = b"a\n1\n\n\n4\n\n"
    (tmp_path / "one.csv").write_bytes(text)
    [series] = read_series(tmp_path / "one.csv", target=["a"])
    rows = list(reader(time=None).rows(io.BytesIO(text)))
    assert [line for line, _, _ in rows] == [2, 3, 4, 5]
    assert np.array_equal(np.stack([values for _, _, values in rows]), series.values, equal_nan=True)
