"""The season that a step in time suggests: what seasonal-naive repeats where nothing else is said."""

from __future__ import annotations

import numpy as np

_SEASONS = {1: 60, 60: 1440, 300: 288, 600: 144, 900: 96, 1800: 48, 3600: 24, 86400: 7, 7 * 86400: 52}
"""Seconds of a step -> steps of its season: a minute's is the day's 1,440, an hour's 24, a day's the week's 7."""
_MONTHS = {1: 12, 3: 4, 12: 1}


def default_season(step: np.timedelta64 | None) -> int:
    """Steps of the season of a step in time (in seconds or finer, or in months or years); 1, no season, where there is
    no step, or one that suggests none."""
    if step is None:
        return 1
    unit = np.datetime_data(step)[0]
    if unit in ("M", "Y"):
        return _MONTHS.get(int(step.astype("timedelta64[M]").astype(np.int64)), 1)
    seconds = float(step / np.timedelta64(1, "s"))
    return _SEASONS.get(int(seconds), 1) if seconds == int(seconds) else 1
