"""Where decoding of a video can begin so that every frame is what it is when all are decoded.

A file marks packets as key frames. In H.264 these may also be places where the picture is mended little by little over
the frames that follow (intra refresh, as cameras and live streams use it), and what is decoded from there is wrong at
first. So the packet itself is looked at: ITU-T H.264, 7.3.1, 7.4.1 and D.1.8; H.265, 7.4.2.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_LOOK = 1 << 16  # bytes at the beginning of a packet; what is said in front of its picture stands there
_AVC_SEI, _AVC_IDR, _RECOVERY = 6, 5, 6
_HEVC_FIRST_IRAP, _HEVC_LAST_IRAP = 16, 23


class Keys:
    """Tells which packets of a stream are clean beginnings."""

    def __init__(self, context: Any) -> None:
        self._codec: str = context.name
        head = bytes(context.extradata or b"")
        # With a header of the kind of MP4 each unit has its length before it, in so many bytes; else a start code.
        self._length = 0
        if self._codec == "h264" and len(head) > 6 and head[0] == 1:
            self._length = (head[4] & 3) + 1
        if self._codec == "hevc" and len(head) > 22 and (head[0] or head[1] or head[2] > 1):
            self._length = (head[21] & 3) + 1

    def is_clean(self, packet: Any) -> bool:
        """Whether decoding can begin with a packet."""
        if not packet.is_keyframe or self._codec not in ("h264", "hevc"):
            return bool(packet.is_keyframe)
        data = bytes(memoryview(packet)[:_LOOK])
        units = self._measured(data) if self._length else _marked(data)
        return any(map(self._is_beginning, units))

    def _is_beginning(self, unit: bytes) -> bool:
        if self._codec == "hevc":
            return _HEVC_FIRST_IRAP <= unit[0] >> 1 & 63 <= _HEVC_LAST_IRAP
        kind = unit[0] & 31
        return kind == _AVC_IDR or (kind == _AVC_SEI and _recovers_at_once(unit[1:]))

    def _measured(self, data: bytes) -> Iterator[bytes]:
        place = 0
        while place + self._length < len(data):
            size = int.from_bytes(data[place : place + self._length], "big")
            place += self._length
            if size:
                yield data[place : place + size]
            place += size


def _marked(data: bytes) -> Iterator[bytes]:
    """Units between start codes."""
    yield from (unit for unit in data.split(b"\0\0\1") if unit)


def _recovers_at_once(messages: bytes) -> bool:
    """Whether supplemental information says that all is right from this picture on: after 0 frames, coded as a 1."""
    place = 0
    while True:
        kind, place = _number(messages, place)
        size, place = _number(messages, place)
        if place >= len(messages):
            return False
        if kind == _RECOVERY:
            return bool(messages[place] & 128)
        place += size


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number, to which each byte of 255 adds and the first other one too; and where it ends."""
    value = 0
    while place < len(data):
        value, place = value + data[place], place + 1
        if data[place - 1] != 255:
            break
    return value, place
