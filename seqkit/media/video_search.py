"""The frames of a video that are shown at some times, with as little decoding as that takes.

The timestamps of the packets tell which frames these are before anything is decoded. Decoding begins at the last key
frame before a wanted frame; what lies between is dropped, and frames on which no other builds are left out. Where a
container has no such timestamps (AVI with frames that change places, raw streams), all are decoded and counted.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from seqkit.errors import MediaError
from seqkit.media.video_clock import Timed
from seqkit.media.video_decoding import Shown, VideoTrack

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_AHEAD_BYTES, _AHEAD_PACKETS = 1 << 25, 4096  # that are read ahead of the decoder at most
_FAR = 4.0  # seconds; a wanted frame that is farther away is searched with the file's index
_SEARCHED = ("mov,", "matroska", "avi")  # containers that find a key frame by its time
_BEFORE = (0.0, 2.0, 20.0, 200.0, math.inf)  # seconds before a wanted frame where its key frame is searched
_LEAVES_OUT = {"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"}  # decoders that can leave such frames out
_MOST_FRAMES = 1 << 18  # that a file may be asked for, and one more for each byte


class Search:
    """Finds frames of a track from which nothing was read so far."""

    def __init__(self, track: VideoTrack) -> None:
        self._track = track
        self._early = track.clock.early
        # What was read and not decoded.
        self._waiting: deque[Timed] = deque()
        self._bytes = 0
        self._known: list[float] = []  # when frames are shown whose packets were read, in order
        self._reached = -math.inf  # all packets that follow are shown no earlier
        # What was decoded and not used.
        self._ready: deque[Shown] = deque()
        self._from = -math.inf  # the key frame with which the decoder began
        self._is_empty = False  # the decoder gave all that it held, and takes no more
        self._follows = True  # the next packet is the one after that which was decoded last
        kind = track.container.format.name
        self._searches = kind.startswith(_SEARCHED) and track.can_seek
        self._has_index = not kind.startswith("matroska")  # which has it at its end, and reads it when it is asked
        self._far = _FAR
        self._leaves_out = track.context.name in _LEAVES_OUT
        self._skip = "DEFAULT"

    def at(self, times: Iterable[float], *, beyond: bool) -> Iterator[Shown]:
        """For each time, in ascending order, the frame that is shown then; with the time that was asked for.

        Before the first frame that is the first one. After the end it is the last one, or, unless `beyond`, there are
        no more. Raises MediaError where there is none at all.
        """
        track = self._track
        found = track.counted(times, beyond=beyond) if track.clock.counts else self._at(times, beyond)
        number = -1
        for number, shown in enumerate(found):
            if number > _MOST_FRAMES + track.bytes:
                raise MediaError(f"{track.name} is damaged: its clock asks for more than {number} frames.")
            yield shown
        if number < 0:
            raise MediaError(f"{track.name} has no frame at the time that was asked for: it has {track.end:.2f} s.")

    def _at(self, times: Iterable[float], beyond: bool) -> Iterator[Shown]:
        any_found = False
        for time, later in itertools.pairwise(itertools.chain(times, (math.inf,))):
            self._go_near(time)
            self._read_to(time)
            wanted = self._shown_at(time)
            if wanted is not None and self._is_after_end(time) and not beyond:
                return
            frame = None if wanted is None else self._obtain(wanted, time, later)
            if frame is None:
                break
            any_found = True
            yield time, frame
        if not any_found:
            raise self._track.nothing()

    def _is_after_end(self, time: float) -> bool:
        return self._track.is_over and time >= self._track.end - self._early

    # Reading ---------------------------------------------------------------------------------------------------------

    def _read_to(self, time: float) -> None:
        """Read until it is known which frame is shown at `time`."""
        self._forget(time)
        while self._reached <= time + self._early:
            while self._is_full:
                self._send(-math.inf, None)
                self._tidy(time)
            timed = self._track.read()
            if timed is None:
                self._reached = math.inf
                return
            self._take(timed)
            if timed.is_key and timed.shown <= time + self._early:
                self._drop(len(self._waiting) - 1)

    @property
    def _is_full(self) -> bool:
        return self._bytes > _AHEAD_BYTES or len(self._waiting) > _AHEAD_PACKETS

    def _take(self, timed: Timed) -> None:
        self._waiting.append(timed)
        self._bytes += timed.packet.size
        if not timed.packet.is_discard:
            insort(self._known, timed.shown)
        if timed.decoded is not None:
            self._reached = max(self._reached, timed.decoded)

    def _forget(self, time: float) -> None:
        """Drop what lies before the last key frame that is shown at `time` or earlier."""
        for number in range(len(self._waiting) - 1, 0, -1):
            timed = self._waiting[number]
            if timed.is_key and timed.shown <= time + self._early:
                self._drop(number)
                return

    def _drop(self, count: int) -> None:
        """Drop the first `count` packets: what follows is a key frame, and nothing before it is wanted."""
        for _ in range(count):
            self._bytes -= self._waiting.popleft().packet.size
            self._follows = False

    def _shown_at(self, time: float) -> float | None:
        """When the frame begins that is shown at `time`; None where there is none at all."""
        place = bisect_right(self._known, time + self._early)
        del self._known[: max(0, place - 1)]
        return self._known[0] if self._known else None

    def _go_near(self, time: float) -> None:
        """If `time` is far ahead, go to the key frame before it with the container's index."""
        track = self._track
        if not self._searches or track.is_over or track.clock.is_mended:
            return
        reached = max(0.0, self._reached)
        if time - reached < self._far or not self._is_of_use(time):
            return
        for before in _BEFORE:
            landed = track.seek(time - before)
            is_found = landed is not None and landed.is_key and landed.shown <= time + self._early
            if is_found:
                break
        if landed is None or landed.shown <= reached:  # it led back, and what was decoded must be decoded again
            self._far *= 2
        self._waiting.clear()
        self._known.clear()
        self._bytes, self._reached = 0, -math.inf
        self._is_empty, self._follows, self._from = False, not is_found, -math.inf  # PyAV empties the decoder too
        if landed is not None:
            self._take(landed)

    def _is_of_use(self, time: float) -> bool:
        """Whether a search leads on, not back; where only the container knows that, it is tried."""
        index = self._track.stream.index_entries
        if not self._has_index or not len(index):
            return True
        number = index.search_timestamp(self._track.clock.ticks(time))
        return bool(number >= 0 and self._track.clock.seconds(index[number].timestamp) > self._reached)

    # Decoding --------------------------------------------------------------------------------------------------------

    def _obtain(self, wanted: float, time: float, later: float) -> VideoFrame | None:
        """The frame that begins at `wanted`; where it is broken the one before it, or else the one after it."""
        self._tidy(time)
        if self._ready and self._ready[0][0] >= wanted:
            return self._ready[0][1]
        left = next((n for n, timed in enumerate(self._waiting, 1) if timed.shown == wanted), 0)
        following, may_end = self._plan(wanted, later, left)
        while not self._ready or (self._ready[0][0] < wanted and len(self._ready) == 1):
            if left <= 0 and (may_end or (self._track.is_over and not self._waiting)):
                if not self._drain():
                    break
            else:
                self._send(wanted, following)
                left -= 1
            self._tidy(time)
        return self._ready[0][1] if self._ready else None

    def _tidy(self, time: float) -> None:
        """Keep, of the decoded frames that are shown at `time` or earlier, only the last."""
        while len(self._ready) > 1 and self._ready[1][0] <= time + self._early:
            self._ready.popleft()

    def _plan(self, wanted: float, later: float, left: int) -> tuple[float | None, bool]:
        """When the frame begins that is wanted next, at the time `later`, as far as that can be seen from here.

        And whether the decoder may end after the `left` packets up to `wanted`: it begins anew for the next one.
        """
        if later == math.inf:
            return math.inf, True
        while self._reached <= later + self._early and later - wanted < self._far and not self._is_full:
            timed = self._track.read()
            if timed is None:
                self._reached = math.inf
            else:
                self._take(timed)
        if self._reached <= later + self._early:
            return None, False
        following = self._known[max(0, bisect_right(self._known, later + self._early) - 1)]
        after = itertools.islice(self._waiting, left, None)
        return following, any(timed.is_key and wanted < timed.shown <= following for timed in after)

    def _send(self, wanted: float, following: float | None) -> None:
        """Give the decoder the next packet, whose frame is left out if it is neither `wanted` nor needed by others.

        `following` is the next one that is wanted after it; None where that is not known.
        """
        if not self._waiting:
            timed = self._track.read()
            if timed is None:
                self._reached = math.inf
                return
            self._take(timed)
        timed = self._waiting.popleft()
        self._bytes -= timed.packet.size
        if self._is_empty or not self._follows:
            if not timed.is_key:
                return
            self._track.context.flush_buffers()
            self._is_empty, self._follows, self._from = False, True, timed.shown
        if timed.shown < self._from:  # builds on frames before the key frame, and is not wanted
            return
        unwanted = timed.shown < wanted or (following is not None and wanted < timed.shown < following)
        skip = "NONREF" if unwanted and self._leaves_out else "DEFAULT"
        if skip != self._skip:
            self._track.context.skip_frame = self._skip = skip
        self._came_out(self._track.decode(timed))

    def _drain(self) -> bool:
        """Take what the decoder still holds. Returns False where that was done already."""
        if self._is_empty:
            return False
        self._is_empty = True
        self._came_out(self._track.decode(None))
        return True

    def _came_out(self, frames: list[Shown]) -> None:
        for time, frame in frames:
            if not self._ready or time > self._ready[-1][0]:
                self._ready.append((time, frame))
            else:
                self._track.faults.disordered += 1
