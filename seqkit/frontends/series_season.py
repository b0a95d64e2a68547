"""The season that a step in time suggests: what seasonal-naive repeats where nothing else is said."""

from __future__ import annotations

from seqkit.data.series_steps import Step

_SEASONS = {1: 60, 60: 1440, 300: 288, 600: 144, 900: 96, 1800: 48, 3600: 24, 86400: 7, 7 * 86400: 52}
"""Seconds of a step -> steps of its season: a minute's is the day's 1,440, an hour's 24, a day's the week's 7."""
_MONTHS = {1: 12, 3: 4}


def default_season(step: Step | None) -> int:
    """Steps of the season of a step; 1, which is none, where there is no step, or one that suggests none."""
    if step is None:
        return 1
    if step.kind == "business days":
        return 5
    if step.kind != "fixed":
        return _MONTHS.get(step.size, 1)
    return _SEASONS.get(int(step.seconds), 1) if step.seconds == int(step.seconds) else 1
