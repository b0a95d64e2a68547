"""What FFmpeg reads a file through: any binary file or stream of Python, counted, and safe to fail.

PyAV keeps an exception of a callback and may raise it from a later call, about another file. So nothing is raised
here while FFmpeg reads: it sees the end of the file, and `check` raises what happened.
"""

from __future__ import annotations

import errno
import io
from collections import deque
from typing import Any, BinaryIO

from seqkit.errors import MediaError

HEAD_BYTES = 1 << 16
"""How much of a file's beginning is kept, for what FFmpeg does not tell about it."""
_TAIL_CHUNKS = 4  # reads of 32 KiB; an Ogg page has at most 64 KiB


class ByteReader:
    """A binary file for `av.open`: reads what has arrived, and never waits for more than that."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """`file` is at the place where the sound or video begins; closing it is the caller's business."""
        self.name = name
        self.count = 0  # bytes read so far, those read twice counted twice
        self._file = file
        self._read = getattr(file, "read1", None) or file.read
        self._head, self._tail = bytearray(), deque[bytes](maxlen=_TAIL_CHUNKS)
        self._position = 0
        self._failure: BaseException | None = None
        self._begin, self.size = self._extent()

    def _extent(self) -> tuple[int, int | None]:
        """Where the file begins, and its bytes from there on; None where it cannot be searched, as a pipe."""
        try:
            if not self._file.seekable():
                return 0, None
            begin = self._file.tell()
            end = self._file.seek(0, io.SEEK_END)
            self._file.seek(begin)
        except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is an OSError
            return 0, None
        return begin, end - begin

    @property
    def total(self) -> int:
        """Bytes of the whole file, as far as they are known: its size, or what came out of a pipe until now."""
        return self.count if self.size is None else self.size

    @property
    def head(self) -> bytes:
        """The first bytes of the file, as many as were read of HEAD_BYTES."""
        return bytes(self._head)

    @property
    def tail(self) -> bytes:
        """The bytes that were read last."""
        return b"".join(self._tail)

    def check(self) -> None:
        """Raise what went wrong in a read: MediaError, or an interruption as it came."""
        failure, self._failure = self._failure, None
        if isinstance(failure, (OSError, ValueError, TypeError)):
            reason = getattr(failure, "strerror", None) or failure
            raise MediaError(f"{self.name} cannot be read: {reason}.") from failure
        if failure is not None:
            raise failure

    # What PyAV calls -------------------------------------------------------------------------------------------------

    def seekable(self) -> bool:
        """Whether FFmpeg may go back."""
        return self.size is not None

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end, and after a failure."""
        try:
            chunk = self._checked(self._read(size), size)
        except BaseException as failure:  # an interruption too: no exception may leave a callback of FFmpeg
            self._failure = self._failure or failure
            return b""
        if self._position == len(self._head) < HEAD_BYTES:
            self._head += chunk[: HEAD_BYTES - self._position]
        if chunk:
            self._tail.append(chunk)
        self.count += len(chunk)
        self._position += len(chunk)
        return chunk

    def _checked(self, chunk: Any, size: int) -> bytes:
        if chunk is None:
            raise BlockingIOError(errno.EAGAIN, "nothing has arrived yet; switch its non-blocking mode off")
        if isinstance(chunk, str):
            raise TypeError("it was opened as text; open it with mode 'rb'")
        data = bytes(chunk)
        if len(data) > size:
            raise ValueError(f"asked for {size} bytes, it gave {len(data)}")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; FFmpeg's own error code where there is no such place."""
        try:
            if whence == io.SEEK_SET:
                if offset < 0:
                    return -errno.EINVAL
                offset += self._begin
            self._position = self._file.seek(offset, whence) - self._begin
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL
        return self._position

    def tell(self) -> int:
        """The byte that is read next."""
        return self._position
