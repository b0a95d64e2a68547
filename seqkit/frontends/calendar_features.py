"""When a row is: hour, day and month as numbers that a network can read (as in Zhou et al. 2021, Informer)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

CalendarName = Literal["minute", "hour", "weekday", "day", "month"]
CALENDAR: tuple[CalendarName, ...] = get_args(CalendarName)
"""The features, from the finest."""
_SPANS = {"minute": 60, "hour": 24, "weekday": 7, "day": 31, "month": 12}


def calendar_features(times: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(T,) datetime64 -> (T, 2 C) float32: sine and cosine of where in its span each of the C named features is."""
    if not names:
        return np.zeros((len(times), 0), dtype=np.float32)
    angles = np.stack([2.0 * np.pi * _values(times, name) / _SPANS[name] for name in names], axis=1)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def varying(times: np.ndarray) -> tuple[str, ...]:
    """The features that are not the same at all of the times (T,), in `CALENDAR`'s order."""
    return tuple(name for name in CALENDAR if len(times) and np.ptp(_values(times, name)) > 0)


def _values(times: np.ndarray, name: str) -> np.ndarray:
    """One feature of each time from 0; minutes and hours with their fractions."""
    days = times.astype("datetime64[D]")
    if name == "weekday":
        return np.asarray((days.astype(np.int64) + 3) % 7)  # 1970-01-01 was a Thursday
    months = times.astype("datetime64[M]")
    if name == "month":
        return np.asarray(months.astype(np.int64) % 12)
    if name == "day":
        return np.asarray((days - months.astype("datetime64[D]")).astype(np.int64))
    seconds = (times.astype("datetime64[s]") - days.astype("datetime64[s]")).astype(np.float64)
    return np.asarray(seconds / 3600.0 if name == "hour" else seconds / 60.0 % 60.0)
