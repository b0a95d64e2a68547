"""The regular step of a series: a fixed time, a number of months, or working days; how it is found in times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

_UNITS = (("week", 7 * 86_400), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_NS = 1_000_000_000
_MONTH = 365.2425 / 12 * 86_400  # seconds, on average


@dataclass(frozen=True)
class Step:
    """How far a row is from the next one. `str(step)` is a name such as "1 hour"; `Step.parse` reads it again."""

    kind: Literal["fixed", "months", "month ends", "business days"]
    """`months` keeps the day of the month, `month ends` its last day; `business days` are Monday to Friday."""
    size: int
    """Nanoseconds of a fixed step; months; or working days."""

    @classmethod
    def fixed(cls, duration: np.timedelta64) -> Step:
        """A step of the same time always."""
        return cls("fixed", int(duration.astype("timedelta64[ns]").astype(np.int64)))

    @classmethod
    def parse(cls, name: str) -> Step:
        """The step of that name, as `str(step)` writes it. Raises ValueError for another text."""
        found = re.fullmatch(
            r"(\d+(?:\.\d+)?) (week|day|hour|minute|second|month end|month|business day)s?", name.strip()
        )
        if found is None or float(found[1]) <= 0:
            raise ValueError(f"'{name}' is no step, such as '1 hour' or '3 months'")
        seconds = dict(_UNITS).get(found[2])
        if seconds is not None:
            return cls("fixed", round(float(found[1]) * seconds * _NS))
        kinds: dict[str, Literal["months", "month ends", "business days"]] = {
            "month": "months",
            "month end": "month ends",
            "business day": "business days",
        }
        return cls(kinds[found[2]], int(found[1]))

    @property
    def seconds(self) -> float:
        """Its length in seconds; of months on average, of working days between two of one week."""
        if self.kind == "fixed":
            return self.size / _NS
        return self.size * (86_400.0 if self.kind == "business days" else _MONTH)

    def after(self, time: np.datetime64, count: int) -> np.ndarray:
        """The `count` times that follow `time`: (count,) datetime64[ns]."""
        start = time.astype("datetime64[ns]")
        ahead = np.arange(1, count + 1, dtype=np.int64) * self.size  # (count,)
        if self.kind == "fixed":
            return np.asarray(start + ahead.astype("timedelta64[ns]"))
        day = start.astype("datetime64[D]")
        within = start - day.astype("datetime64[ns]")  # time of day
        if self.kind == "business days":
            days = np.busday_offset(day, ahead, roll="backward")
        else:
            month = day.astype("datetime64[M]") + ahead.astype("timedelta64[M]")  # (count,)
            last = (month + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
            same = month.astype("datetime64[D]") + (day - day.astype("datetime64[M]").astype("datetime64[D]"))
            days = last if self.kind == "month ends" else np.minimum(same, last)
        return np.asarray(days.astype("datetime64[ns]") + within)

    def between(self, times: np.ndarray) -> np.ndarray:
        """How many steps each time of (T,) is after the one before it: (T - 1,), NaN where that is no whole number."""
        if self.kind == "fixed":
            gaps = np.diff(times.astype("datetime64[ns]")).astype(np.int64)
            whole = gaps // self.size
            return np.where(gaps == whole * self.size, whole.astype(np.float64), np.nan)
        days = times.astype("datetime64[D]")
        within = times - days.astype("datetime64[ns]")
        fits = within == within[0]
        if self.kind == "business days":
            gaps = np.asarray(np.busday_count(days[:-1], days[1:]), dtype=np.int64)
            fits &= np.is_busday(days)
        else:
            gaps = np.diff(days.astype("datetime64[M]").astype(np.int64)).astype(np.int64)
            fits &= month_ends(days) if self.kind == "month ends" else days_of_month(days) == days_of_month(days[:1])
        whole = gaps // self.size
        return np.where((gaps == whole * self.size) & fits[1:] & fits[:-1], whole.astype(np.float64), np.nan)

    def __str__(self) -> str:
        if self.kind != "fixed":
            word = self.kind.removesuffix("s")
            return f"{self.size} {word}{'s' if self.size > 1 else ''}"
        for word, seconds in _UNITS:
            if self.size % (seconds * _NS) == 0:
                count = self.size // (seconds * _NS)
                return f"{count} {word}{'s' if count > 1 else ''}"
        # A fraction of a second is written exactly, so that it can be read again.
        return f"{self.size / _NS:.9f}".rstrip("0") + " seconds"


def find_step(times: np.ndarray) -> Step | None:
    """The step that most rows of (T,) datetime64[ns] are apart; None for less than two rows or no row after another.

    Times on the same day of each month (or its last) are steps of months, times that only miss weekends are steps
    of working days, and of all others the most common distance is the step.
    """
    gaps = np.diff(times.astype("datetime64[ns]")).astype(np.int64)
    forward = gaps[gaps > 0]
    if not len(forward):
        return None
    days = times.astype("datetime64[D]")
    months = np.diff(days.astype("datetime64[M]").astype(np.int64))
    months = months[months > 0]
    day = 86_400 * _NS
    if np.median(forward) >= 28 * day and len(months):
        if bool((days_of_month(days) == days_of_month(days[:1])).all()):
            return Step("months", _most_common(months))
        if bool(month_ends(days).all()):
            return Step("month ends", _most_common(months))
    common = _most_common(forward)
    if common == day and bool(np.is_busday(days).all()) and len(times) > 5:
        return Step("business days", 1)
    return Step("fixed", common)


def days_of_month(days: np.ndarray) -> np.ndarray:
    """The day of the month, from 0, of (T,) datetime64[D]."""
    return np.asarray((days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64))


def month_ends(days: np.ndarray) -> np.ndarray:
    """Whether each of (T,) datetime64[D] is the last day of a month."""
    return np.asarray(days_of_month(days + np.timedelta64(1, "D")) == 0)


def _most_common(gaps: np.ndarray) -> int:
    """The most common of (N,) whole numbers; the smaller one of two that are as common."""
    values, counts = np.unique(gaps, return_counts=True)
    return int(values[counts.argmax()])
