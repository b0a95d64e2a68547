"""From the packets of a video to its frames and their times; what is broken is left out and counted."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from seqkit.errors import MediaError
from seqkit.media.containers import MOST_AREA, Opened, codec_errors, is_mp4, video_of, without_index
from seqkit.media.faults import PictureFaults
from seqkit.media.packets import Packets
from seqkit.media.promises import ends_early, video_seconds
from seqkit.media.video_clock import Clock, Timed

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_FIRST = 32  # packets that are read before the clock is known; no codec reorders more
_LESS = 0.25  # seconds that a file may be shorter than its header says

Shown = tuple[float, "VideoFrame"]
"""Seconds from the beginning of the video, and a frame."""


class VideoTrack:
    """The picture of an opened file, packet by packet or frame by frame."""

    def __init__(self, opened: Opened, threads: int = 1) -> None:
        """`threads` of the decoder; 0: as many as there are processors. Raises MediaError where there is no video."""
        from av.stream import Discard

        self.name, self._reader = opened.name, opened.reader
        self.container: Any = opened.container
        self.stream: Any = video_of(opened)
        for other in self.container.streams:
            if other is not self.stream:
                other.discard = Discard.all
        self.context: Any = self.stream.codec_context
        self.context.thread_type, self.context.thread_count = "AUTO", threads
        self.context.options = {"max_pixels": str(MOST_AREA)}  # a damaged file may claim any size in its middle
        self.promise = video_seconds(self.container, self.stream)
        """The seconds that the header tells."""
        self.faults = PictureFaults()
        self.end = 0.0
        """Seconds; when the last frame is over of those that were read."""
        self.is_over = False
        """The file was read to its end."""
        self._now = 0.0  # the time of the packet that was decoded last
        self._packets = Packets(opened, self.stream, lambda: self.faults.broke(self._now))
        self._reading: Any = iter(self._packets)
        self._first = deque(itertools.islice(self._reading, _FIRST))
        self.clock = Clock(self.stream, list(self._first))
        self._turns: list[float] = []  # a heap: where frames are counted, the times of those that are in the decoder

    @property
    def bytes(self) -> int:
        """Bytes of the file, or what came out of a pipe until now."""
        return self._reader.total

    @property
    def can_seek(self) -> bool:
        """Whether the file can be read from any place."""
        return self._reader.seekable()

    # Packets ---------------------------------------------------------------------------------------------------------

    def read(self) -> Timed | None:
        """The next packet; None at the end."""
        packet = self._first.popleft() if self._first else next(self._reading, None)
        if packet is None:
            self.is_over = True
            return None
        timed = self.clock.read(packet)
        if not packet.is_discard:
            self.end = max(self.end, timed.end)
        return timed

    def seek(self, seconds: float) -> Timed | None:
        """Go to a key frame at or before `seconds`, if the container finds one, and read it; None at the end."""
        self._first.clear()
        self._reading.close()
        try:
            self.container.seek(self.clock.ticks(max(0.0, seconds)), stream=self.stream)
        except codec_errors():
            self._reader.check()  # where it stands now, reading goes on
        self._reading = iter(self._packets)
        self.clock.lost()
        self.is_over = False
        return self.read()

    def measure(self) -> float:
        """How many seconds the video has: all packets are read, none is decoded."""
        while self.read() is not None:
            pass
        return self.end

    # Frames ----------------------------------------------------------------------------------------------------------

    def decode(self, timed: Timed | None) -> list[Shown]:
        """The frames that come out of the decoder for a packet; None for those that it still holds."""
        if timed is not None:
            self._now = max(0.0, timed.shown)
            if self.clock.counts:
                heapq.heappush(self._turns, timed.shown)
        try:
            frames = self.context.decode(None if timed is None else timed.packet)
        except codec_errors():
            self._reader.check()
            if timed is not None:
                self.faults.broke(self._now)
                if timed.shown in self._turns:
                    self._turns.remove(timed.shown)
                    heapq.heapify(self._turns)
            return []
        shown = [(self._time(frame), frame) for frame in frames]
        for time, frame in shown:
            if frame.is_corrupt:
                self.faults.broke(max(0.0, time))
        return [(time, frame) for time, frame in shown if not frame.is_corrupt]

    def _time(self, frame: VideoFrame) -> float:
        if self.clock.counts:
            return heapq.heappop(self._turns) if self._turns else self._now + self.clock.frame
        return self._now if frame.pts is None else self.clock.seconds(frame.pts)

    def every(self) -> Iterator[Shown]:
        """All frames, in order, at ascending times. Raises MediaError where there is none."""
        last = -math.inf
        while True:
            timed = self.read()
            for time, frame in self.decode(timed):
                if time > last:
                    last = time
                    yield time, frame
                else:
                    self.faults.disordered += 1
            if timed is None:
                break
        if last == -math.inf:
            raise self.nothing()

    def counted(self, times: Iterable[float], *, beyond: bool) -> Iterator[Shown]:
        """As `Search.at`, by decoding all frames up to the last one that is wanted."""
        frames = self.every()
        current, following = next(frames), next(frames, None)
        for time in times:
            while following is not None and following[0] <= time + self.clock.early:
                current, following = following, next(frames, None)
            if following is None and not beyond and time >= current[0] + self.clock.frame - self.clock.early:
                return
            yield time, current[1]

    # What to tell ----------------------------------------------------------------------------------------------------

    def nothing(self) -> MediaError:
        """The error about a file without a frame."""
        if self._reader.size is None and is_mp4(self._reader):
            return without_index(self._reader)
        if self.faults.broken:
            return MediaError(f"{self.name}: nothing of its picture could be decoded.", hint="It is damaged.")
        return MediaError(f"{self.name} holds no video: 0 frames.")

    @property
    def is_cut(self) -> bool:
        """Whether the file lacks bytes that its header or index promises, as far as that can be known."""
        if self._reader.size is None and not self.is_over:
            return False
        if is_mp4(self._reader) and len(self.stream.index_entries):
            last = self.stream.index_entries[-1]
            return self._packets.last_is_cut or bool(last.pos + last.size > self._reader.total)
        return ends_early(self.container.format.name, self._reader)

    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of fault that the file had, as far as it was read."""
        seconds = self.promise
        self.faults.jumps = self.clock.jumps
        said = self.faults.sentences()
        if self.is_over and seconds is not None and self.end < seconds - max(_LESS, 3 * self.clock.frame):
            said.append(f"only {self.end:.2f} s of the {seconds:.2f} s that it promises are there.")
        elif self.is_cut:
            said.append(f"it ends early{f', after {self.end:.2f} s' if self.is_over else ''}: it was cut off.")
        return tuple(f"{self.name}: {sentence}" for sentence in said)
