"""The sound of one video for another: its packets as they are, neither decoded nor coded again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from seqkit.media.containers import Opened, is_picture
from seqkit.media.packets import Packets


class SoundCopy:
    """Writes the sound of `opened` into PyAV's open output container, from the first frame of its video on.

    A container takes packets in the order of their times: so `until` is called before each frame is written, and
    `rest` after the last one.
    """

    def __init__(self, opened: Opened, container: Any) -> None:
        self._container = container
        self._packets: Iterator[Any] = iter(())
        self._held: Any = None  # a packet that is due later
        self.missing: str | None = None
        """Why sound that is there is not copied, as a clause that ends a sentence."""
        self.breaks = 0
        """Places where packets of the sound could not be read."""
        stream: Any = opened.container.streams.best("audio")
        if stream is None:
            return
        name = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
        if name not in container.supported_codecs:
            self.missing = f"its codec {name} cannot be in such a file"
            return
        pictures = [video for video in opened.container.streams.video if not is_picture(video)]
        first: Any = pictures[0] if pictures else stream
        self._begin = float((first.start_time or 0) * first.time_base)  # seconds, by the clock of the file that is read
        self._stream = container.add_stream_from_template(stream)
        self._packets = iter(Packets(opened, stream, self._broke))

    def _broke(self) -> None:
        self.breaks += 1

    def until(self, seconds: float) -> None:
        """Write the packets that begin before a time of the video."""
        while True:
            packet, self._held = self._held or next(self._packets, None), None
            if packet is None:
                return
            if packet.pts is None or packet.dts is None:
                continue  # nobody knows when it is heard
            early = round(self._begin / packet.time_base)
            if float(packet.dts * packet.time_base) - self._begin >= seconds:
                self._held = packet
                return
            if packet.pts >= early:  # what is heard before the first frame is left out
                packet.pts, packet.dts = packet.pts - early, packet.dts - early
                packet.stream = self._stream
                self._container.mux(packet)

    def rest(self) -> None:
        """Write all packets that are left."""
        self.until(math.inf)
