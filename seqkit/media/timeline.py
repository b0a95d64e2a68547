"""Where a container's clock says that sound is missing: how much silence stands in for it.

Timestamps are often rounded, to 1 ms in Matroska, and a recorder's clock is never quite the sound card's. So silence
is put in only where one packet begins well after the one before it ended, and never more of it than the sound lags
behind the clock by then. What comes early or overlaps is kept as it is.
"""

from __future__ import annotations

LEAST_GAP = 0.015
"""Seconds; a shorter gap is jitter. A packet that was lost leaves 20 ms or more in the usual codecs."""
GREATEST_GAP = 600.0
"""Seconds; a longer gap is a clock that was set anew, and is not filled."""
_OVERLAP = 1.0  # seconds; a clock that goes back by more was set anew


class Timeline:
    """The sound that was given so far, against the clock of the file. Positions and counts are samples."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._origin: int | None = None  # the clock's reading at the first sample
        self._end: int | None = None  # where the last packet ended, by the clock
        self._given = 0  # sound and silence since the origin

    def place(self, position: int | None, count: int) -> tuple[int, float]:
        """Take a packet of `count` samples that begins at `position`, or, for None, where the one before ended.

        Returns the samples of silence to put before it, and the seconds of a leap of the clock, which is not filled.
        """
        silence, leap = 0, 0.0
        if position is not None:
            if self._origin is None or self._end is None:
                self._origin, self._end = position - self._given, position
            gap = position - self._end
            lag = position - self._origin - self._given
            if gap > GREATEST_GAP * self.sample_rate or lag < -_OVERLAP * self.sample_rate:
                leap = max(0, gap) / self.sample_rate
                self._origin = position - self._given
            elif min(gap, lag) > LEAST_GAP * self.sample_rate:
                silence = min(gap, lag)
            self._end = position
        if self._end is not None:
            self._end += count
        self._given += silence + count
        return silence, leap
