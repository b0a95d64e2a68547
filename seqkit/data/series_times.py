"""Times as files write them, to datetime64: ISO 8601, other dates that can be read in one way, seconds, numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from seqkit.data.series_table import shorten
from seqkit.errors import DataError

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_ZONE = re.compile(r"(?<=\d)\s*(Z|[+-]\d{2}(?::?\d{2})?)$")
_CLOCK = re.compile(r"\d:\d{2}")
_ISO = re.compile(r"\d{4}([-/]\d{1,2}([-/]\d{1,2}([T ].*)?)?)?")
_QUARTER = re.compile(r"\d{4}[- ]?[Qq][1-4]")
_PARTS = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2\d{2,4}\b")
_ADVICE = "Write times as 2020-01-31 18:00."
_EARLIEST, _LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")


class TimeReader:
    """Reads the column of time block by block; how the first block writes its times is how all of them must.

    Numbers are years (1990), months (199001) or dates (19900131) where all of the first block are; else seconds since
    1970, or milliseconds, microseconds or nanoseconds, where they are that large; else numbers of steps. Texts are
    dates. All must be in one time zone, which is dropped: times are the clock's there.
    """

    def __init__(self, place: str, column: str) -> None:
        self.place, self.column = place, column
        self.kind = ""
        """"ISO8601", "quarter", "steps", "epoch", or a format of `strptime`; empty before the first block."""
        self.zone: str | None = None
        self._scale = 1.0

    def read(self, texts: Sequence[str], line: int) -> np.ndarray:
        """The times of rows from `line` on: (N,) datetime64[ns], or float64 for numbers of steps. Raises DataError."""
        cells = [text.strip() for text in texts]
        for row, cell in enumerate(cells):
            if not cell:
                raise DataError(f"{self.place}:{line + row}: no time in column '{self.column}'.", hint=_ADVICE)
        if not self.kind:
            self._find_kind(cells, line)
        if self.kind in ("steps", "epoch"):
            return self._numbers(cells, line)
        if self.kind == "quarter":
            dates = pd.Series(_quarters(cells), dtype="object")
            return self._checked(pd.to_datetime(dates, format="%Y-%m-%d", errors="coerce"), cells, line)
        clocks = pd.Series(self._without_zone(cells, line), dtype="object")
        return self._checked(pd.to_datetime(clocks, format=self.kind, errors="coerce"), cells, line)

    def _find_kind(self, cells: Sequence[str], line: int) -> None:
        first = cells[0]
        if _NUMBER.fullmatch(first):
            self.kind = self._kind_of_numbers(cells)
        elif _QUARTER.fullmatch(first):
            self.kind = "quarter"
        else:
            self.zone = _zone(first)
            clock = first if self.zone is None else _ZONE.sub("", first)
            self.kind = "ISO8601" if _ISO.fullmatch(clock) else self._written_format(clock, cells, line)

    def _kind_of_numbers(self, cells: Sequence[str]) -> str:
        """What the numbers of a block are. Those that are no date in some row are not dates in any."""
        for length, form in ((4, "%Y"), (6, "%Y%m"), (8, "%Y%m%d")):
            if all(len(cell) == length and cell.isdecimal() and 1800 <= int(cell[:4]) <= 2200 for cell in cells):
                parsed = pd.to_datetime(pd.Series(cells, dtype="object"), format=form, errors="coerce")
                if parsed.notna().all():
                    return form
        size = float(cells[0])
        for least, scale in ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e8, 1.0)):
            if size >= least:
                self._scale = scale
                return "epoch"
        return "steps"

    def _written_format(self, clock: str, cells: Sequence[str], line: int) -> str:
        """The format of a date that is not ISO, such as 31.12.2020. Raises DataError if it has two meanings."""
        day_first = False
        parts = _PARTS.match(clock)
        if parts is not None:
            found = [match for match in map(_PARTS.match, cells) if match is not None]
            days, months = (any(int(match[group]) > 12 for match in found) for group in (1, 3))
            if not days and not months and parts[2] != ".":
                raise DataError(
                    f"{self.place}:{line}: column '{self.column}' has '{shorten(cells[0])}', which can be read in two "
                    "ways.",
                    hint=_ADVICE,
                )
            day_first = days or (parts[2] == "." and not months)
            # A date whose parts can be told apart stands in for this one, which alone may not be.
            shown = ("31", "12") if day_first else ("12", "31")
            clock = f"{shown[0]}{parts[2]}{shown[1]}{clock[parts.end(3) :]}"
        form = guess_datetime_format(clock, dayfirst=day_first)
        if form is None:
            raise DataError(
                f"{self.place}:{line}: column '{self.column}' has '{shorten(cells[0])}', which is not a time.",
                hint=_ADVICE,
            )
        return str(form)

    def _without_zone(self, cells: Sequence[str], line: int) -> Sequence[str]:
        """The cells without their zone. Raises DataError where the zone is another than the first row's."""
        zones = [_zone(cell) for cell in cells]
        for row, zone in enumerate(zones):
            if zone != self.zone:
                raise DataError(
                    f"{self.place}:{line + row}: column '{self.column}' changes its time zone from "
                    f"{self.zone or 'none'} to {zone or 'none'} ('{shorten(cells[row])}').",
                    hint="Write all times in one zone, such as UTC.",
                )
        return cells if self.zone is None else [_ZONE.sub("", cell) for cell in cells]

    def _checked(self, found: pd.Series, cells: Sequence[str], line: int) -> np.ndarray:
        """As datetime64[ns]. Raises DataError for the first that could not be read or is too far away."""
        times = found.to_numpy().astype("datetime64[us]")  # (N,)
        lost = np.flatnonzero(np.isnat(times) | (times < _EARLIEST) | (times >= _LATEST))
        if len(lost):
            raise self._refusal(cells, int(lost[0]), line)
        return np.asarray(found.to_numpy().astype("datetime64[ns]"))

    def _numbers(self, cells: Sequence[str], line: int) -> np.ndarray:
        """Numbers of steps as float64, or seconds and the like as datetime64[ns]. Raises DataError."""
        numbers = np.full(len(cells), np.nan)  # (N,)
        for row, cell in enumerate(cells):
            if not _NUMBER.fullmatch(cell):
                raise self._refusal(cells, row, line)
            numbers[row] = float(cell)
        if self.kind == "steps":
            return numbers
        # Microseconds are what a float64 still tells apart in our time.
        micros = np.round(numbers * self._scale * 1e6)
        far = np.flatnonzero(np.abs(micros) > 9.2e15)
        if len(far):
            raise self._refusal(cells, int(far[0]), line)
        return np.asarray(micros.astype(np.int64).astype("datetime64[us]").astype("datetime64[ns]"))

    def _refusal(self, cells: Sequence[str], row: int, line: int) -> DataError:
        known = {
            "ISO8601": "a time such as 2020-01-31 18:00",
            "epoch": "a time in seconds",
            "steps": "the number of a step",
            "quarter": "a quarter such as 2020Q1",
        }
        expected = known.get(self.kind, f"a time written as {self.kind}")
        years = "" if self.kind == "steps" else " of the years 1678 to 2261"
        return DataError(
            f"{self.place}:{line + row}: column '{self.column}' has '{shorten(cells[row])}', which is not "
            f"{expected}{years}.",
            hint="Correct this cell, or name another column: data.time=COLUMN.",
        )


def _quarters(cells: Sequence[str]) -> list[str | None]:
    """The first day of each quarter; None for what is no quarter."""
    return [f"{cell[:4]}-{3 * int(cell[-1]) - 2:02d}-01" if _QUARTER.fullmatch(cell) else None for cell in cells]


def _zone(cell: str) -> str | None:
    """The zone that a time ends in, "+01:00"; None where it has none, as a date alone (2020-01-05)."""
    found = _ZONE.search(cell)
    if found is None or _CLOCK.search(cell[: found.start()]) is None:
        return None
    return "+00:00" if found[1] == "Z" else found[1]
