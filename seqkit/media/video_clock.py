"""When the frames of a video are shown, by the clock of its file: seconds from the first frame."""

from __future__ import annotations

from typing import Any, NamedTuple

from seqkit.media.video_keys import Keys

GREATEST_GAP = 600.0
"""Seconds; after a longer gap the clock was set anew, and the video goes on without a pause."""
EARLY = 0.0011
"""Seconds; a frame counts as shown so much earlier than the file says: Matroska rounds all times to 1 ms."""
_BACK = 1.0  # seconds; a clock that goes back by more was set anew
_REORDER = 10.0  # seconds; no frame is shown so much before or after its decoding
_USUAL_RATE = 25.0


class Timed(NamedTuple):
    """A packet and its times in seconds."""

    packet: Any
    shown: float
    """When the frame in it is shown; where frames are counted, when some frame is."""
    decoded: float | None
    """When it is decoded: packets after it are shown no earlier. None where the file does not say."""
    end: float
    """When the frame is over."""
    is_key: bool
    """Decoding can begin with it."""


class Clock:
    """Gives packets their times, in the order of the file, and mends a clock that leaps. Ticks are the stream's."""

    def __init__(self, stream: Any, first: list[Any]) -> None:
        """`first` are the packets with which the file begins, which must be `read` all the same."""
        base, rate = stream.time_base, stream.average_rate or stream.guessed_rate
        self._numerator: int = 1 if base is None else base.numerator
        self._denominator: int = 1000 if base is None else base.denominator
        self.frame = 1 / float(rate) if rate else 1 / _USUAL_RATE
        """Seconds that a frame is shown, on average."""
        self.early = min(EARLY, self.frame / 4)
        self._most_reorder = _REORDER * self._denominator
        self._changes_places = bool(stream.codec_context.has_b_frames)
        is_avi = stream.container.format.name == "avi"  # has one timestamp a packet, and none for its frame
        self.counts = (
            any(packet.pts is None for packet in first)
            or (is_avi and self._changes_places)
            or (self._changes_places and all(packet.dts is None for packet in first))
        )
        """Whether frames are given their times in the order in which they come out of the decoder."""
        self._keys = Keys(stream.codec_context)
        self._origin = self._first_shown(first)
        self.jumps: list[float] = []
        """Seconds of each leap that was mended."""
        self._offset = 0
        self._last: int | None = None  # when the last packet is decoded
        self._length = 0  # of the last packet

    def _first_shown(self, first: list[Any]) -> int:
        """The timestamp of the first frame that is shown: not hidden by an edit list, not left of a cut before it."""
        times = [self._shown(packet) for packet in first if not packet.is_discard]
        known = [ticks for ticks in times if ticks is not None]
        key = next((self._shown(packet) for packet in first if packet.is_keyframe), None)
        if key is not None and not self.counts:
            known = [ticks for ticks in known if ticks >= key] or known
        return min(known, default=0)

    def _shown(self, packet: Any) -> int | None:
        """When the frame of a packet is shown, in ticks; None where the file does not say."""
        decoded: int | None = packet.dts
        shown: int | None = packet.pts
        if decoded is None and not self.counts:
            return shown
        far = None not in (shown, decoded) and abs(packet.pts - packet.dts) * self._numerator > self._most_reorder
        return decoded if shown is None or self.counts or far else shown

    def seconds(self, ticks: int) -> float:
        """Seconds of video at a reading of the clock."""
        return (ticks - self._origin) * self._numerator / self._denominator

    def ticks(self, seconds: float) -> int:
        """The reading of the clock, rounded down."""
        return int(seconds * self._denominator // self._numerator) + self._origin

    def lost(self) -> None:
        """The packet that is read next is not the one after the last."""
        self._last = None

    @property
    def is_mended(self) -> bool:
        """Whether the times are no longer those of the file."""
        return bool(self._offset)

    def read(self, packet: Any) -> Timed:
        """The times of a packet. Its timestamps become the mended ones, and with them its frame's."""
        one = self._denominator / self._numerator  # ticks of a second
        length = packet.duration or max(1, round(self.frame * one))
        decoded, shown = packet.dts, self._shown(packet)
        if decoded is None and not self._changes_places:
            decoded = shown
        if shown is None:
            decoded = shown = self._origin if self._last is None else self._last + self._length - self._offset
        if decoded is not None:
            self._mend(decoded, one)
            decoded += self._offset
            self._last, self._length = decoded, length
        shown += self._offset
        packet.pts, packet.dts = shown, decoded
        when = self.seconds(shown)
        seconds = packet.duration * self._numerator / self._denominator if packet.duration else self.frame
        over = when + min(seconds, GREATEST_GAP)
        when_decoded = None if decoded is None else self.seconds(decoded)
        return Timed(packet, when, when_decoded, over, self._keys.is_clean(packet))

    def _mend(self, decoded: int, one: float) -> None:
        """Follow a clock that was set anew."""
        if self._last is None:
            return
        step = (decoded + self._offset - self._last) / one
        if step < -_BACK or step > GREATEST_GAP:
            self.jumps.append(step)
            self._offset = self._last + self._length - decoded
