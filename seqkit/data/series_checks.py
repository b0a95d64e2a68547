"""Whether the rows of a series are enough, in the order of time, and one step apart; the row where they are not."""

from __future__ import annotations

import numpy as np

from seqkit.data.series_layouts import Rows
from seqkit.data.series_steps import Step, find_step
from seqkit.errors import DataError

CLOCK = np.timedelta64(1, "h").astype("timedelta64[ns]")
"""By how much clocks are set back at the end of summer time."""
_ORDER = "Sort the rows by time; if the file holds several series, name the column that says which: data.series=COLUMN."
_ZONE = "Write all times in one time zone that knows no summer time, such as UTC."


def check_series(rows: Rows, *, regular: bool, least: int) -> tuple[Step | None, tuple[str, ...]]:
    """The step of a series, and what is odd about it and can yet be used.

    The step is None where steps are numbered, or where there is no regular one and none is demanded. If not `regular`,
    rows may share a time, and the clock may go back by up to an hour: the order of the rows counts. Raises DataError
    for too few rows, a column without values, times out of order and, if `regular`, times that are
    twice there, missing, or not one step after the other.
    """
    count = len(rows.values)
    if count < least:
        have = "one row" if count == 1 else f"{count} rows"
        raise DataError(
            f"{rows.where(0)}: {_whose(rows)} {have}, and needs at least {least}.", hint="Give a longer series."
        )
    empty = np.isnan(rows.values).all(axis=0)  # (D,)
    if empty.any():
        name = rows.columns[int(empty.argmax())]
        raise DataError(
            f"{rows.where(0)}: {_whose(rows)} no value in column '{name}'.",
            hint="Leave the column out: data.target=COLUMN,COLUMN.",
        )
    if rows.times is None or count < 2:
        return None, ()
    if rows.times.dtype.kind != "M":
        _check_numbers(rows, rows.times, regular)
        return None, ()
    notes = _check_order(rows, rows.times, regular)
    step = None if notes else find_step(rows.times)
    if step is None:
        return None, notes
    ahead = step.between(rows.times)  # (T - 1,)
    breaks = np.flatnonzero(ahead != 1)
    if regular and len(breaks):
        raise _broken(rows, rows.times, step, ahead, breaks)
    return (None if len(breaks) else step), ()


def _check_numbers(rows: Rows, numbers: np.ndarray, regular: bool) -> None:
    """Numbers of steps. Raises DataError."""
    gaps = np.diff(numbers)
    back = np.flatnonzero(gaps <= 0 if regular else gaps < 0)
    if len(back):
        row = int(back[0]) + 1
        what = "twice" if gaps[row - 1] == 0 else f"after {numbers[row - 1]:g}"
        raise DataError(f"{_at(rows, row)} has step {numbers[row]:g} {what}.", hint=_ORDER)
    sizes, counts = np.unique(gaps, return_counts=True)
    step = float(sizes[counts.argmax()])
    breaks = np.flatnonzero(~np.isclose(gaps, step, rtol=1e-6))
    if regular and len(breaks):
        row = int(breaks[0]) + 1
        raise DataError(
            f"{_at(rows, row)} goes from {numbers[row - 1]:g} to {numbers[row]:g}, and most rows are {step:g} apart.",
            hint="Add the missing rows; cells whose value is not known stay empty.",
        )


def _check_order(rows: Rows, times: np.ndarray, regular: bool) -> tuple[str, ...]:
    """Whether times go on. Returns what was odd. Raises DataError."""
    gaps = np.diff(times)
    zero = np.timedelta64(0, "ns")
    notes = []
    for row in (np.flatnonzero(gaps <= zero if regular else gaps < zero) + 1).tolist():
        before, now = times[row - 1], times[row]
        goes = f"{_at(rows, row)} goes back in time, from {show(before)} to {show(now)}"
        if not regular and before - now <= CLOCK:
            notes.append(f"{goes}; the order of the rows counts.")
            continue
        # The hour that comes twice at the end of summer time: the clock goes back by an hour less one step.
        usual = np.median(gaps[gaps > zero]) if (gaps > zero).any() else zero
        if _may_change_clock(before) and gaps[row - 1] == usual - CLOCK:
            raise DataError(
                f"{_at(rows, row)} has {show(now)} after {show(before)}: the clock goes back an hour, as at the end of "
                "summer time.",
                hint=_ZONE,
            )
        if before == now:
            raise DataError(f"{_at(rows, row)} has {show(now)} twice, here and in the row before.", hint=_ORDER)
        raise DataError(f"{goes}.", hint=_ORDER)
    return tuple(notes)


def _broken(rows: Rows, times: np.ndarray, step: Step, ahead: np.ndarray, breaks: np.ndarray) -> DataError:
    """The error for times of which some are not one step after the one before."""
    row = int(breaks[0]) + 1
    before, now = times[row - 1], times[row]
    more = f" ({len(breaks) - 1} more rows are like this)" if len(breaks) > 1 else ""
    if len(breaks) > len(ahead) / 2:
        return DataError(
            f"{_at(rows, row)} has no regular step: the most common, {step}, is between {len(ahead) - len(breaks)} of "
            f"{len(ahead)} pairs of rows, and not from {show(before)} to {show(now)}.",
            hint="Bring the series to a regular step first, for example to means of an hour.",
        )
    jump = f"from {show(before)} to {show(now)}"
    if step.kind == "fixed" and _may_change_clock(before) and now - before == np.timedelta64(step.size, "ns") + CLOCK:
        return DataError(
            f"{_at(rows, row)} skips an hour, {jump}, as at the beginning of summer time{more}.", hint=_ZONE
        )
    missing = ahead[row - 1] - 1
    if missing > 0:
        lack = "a row is missing" if missing == 1 else f"{missing:.0f} rows are missing"
        return DataError(
            f"{_at(rows, row)} goes {jump}: {lack}, since a step is {step}{more}.",
            hint="Add a row for each step; cells whose value is not known stay empty.",
        )
    return DataError(
        f"{_at(rows, row)} goes {jump}, which is not one step of {step}{more}.", hint="Correct the time of this row."
    )


def show(time: np.datetime64) -> str:
    """A time as one reads it: without the clock at midnight, and without seconds or fractions that are zero."""
    whole = time == time.astype("datetime64[s]")
    text = str(np.datetime_as_string(time, unit="s") if whole else np.datetime_as_string(time).rstrip("0"))
    date, _, clock = text.partition("T")
    return date if clock == "00:00:00" else f"{date} {clock.removesuffix(':00')}"


def _may_change_clock(time: np.datetime64) -> bool:
    """Whether clocks change on this day in most countries that change them: a Sunday of spring or autumn, at night."""
    day = time.astype("datetime64[D]")
    weekday = (int(day.astype(np.int64)) + 3) % 7  # 0 is a Monday
    month = int(day.astype("datetime64[M]").astype(np.int64)) % 12 + 1
    hour = int((time - day.astype("datetime64[ns]")) // CLOCK)
    return weekday == 6 and month in (3, 4, 9, 10, 11) and hour <= 4


def _at(rows: Rows, row: int) -> str:
    """Where a time stands, as the beginning of a sentence."""
    which = f" of series '{rows.name}'" if rows.several else ""
    return f"{rows.where(row)}: column '{rows.time_column}'{which}"


def _whose(rows: Rows) -> str:
    return f"series '{rows.name}' has" if rows.several else "the series has"
