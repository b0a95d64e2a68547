"""The packets of one stream of a file: what cannot be read is counted, and the next one tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from seqkit.errors import MediaError
from seqkit.media.containers import Opened, codec_errors

_PACKETS = 10_000  # and one for each byte
_FAILURES = 16  # reads that fail one after another before the file is given up


class Packets:
    """Reads the packets of a stream, which is PyAV's sound or video stream of `opened`."""

    def __init__(self, opened: Opened, stream: Any, broke: Callable[[], None]) -> None:
        """`broke` is called once for each place where packets could not be read."""
        self._opened, self._stream, self._broke = opened, stream, broke
        self._count = 0
        self.last_is_cut = False
        """The last packet has fewer bytes than it should."""

    def __iter__(self) -> Iterator[Any]:
        """The packets from where the file stands on; none without bytes, which would end a decoder's work.

        Raises MediaError where the file claims more than it can hold.
        """
        failures, reader, name = 0, self._opened.reader, self._opened.name
        while failures < _FAILURES:
            demuxed: Any = self._opened.container.demux(self._stream)
            try:
                for packet in demuxed:
                    reader.check()
                    self._count += 1
                    if self._count > _PACKETS + max(reader.total, reader.count):
                        raise MediaError(f"{name} is damaged: it claims more packets than it has bytes.")
                    if packet.size:
                        failures = 0
                        self.last_is_cut = packet.is_corrupt
                        yield packet
                break
            except codec_errors() as error:
                reader.check()
                if isinstance(error, MemoryError):
                    raise MediaError(f"{name} is damaged: it asks for more memory than there is.") from error
                if not failures:
                    self._broke()
                failures += 1
            finally:
                demuxed.close()
        reader.check()
