"""A media file that appears under its name when it is whole, and until then leaves what stood there as it was."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqkit.errors import MediaError
from seqkit.media.containers import codec_errors

_TEMPORARY = ".partial-"


class _File(io.FileIO):
    """A file without a buffer of its own: what was written can be read elsewhere at once, as some containers need."""

    def write(self, data: Any) -> int:
        """Write all bytes, where the system may take a part of them only."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            left = left[super().write(left) :]
        return size


@contextlib.contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn what an encoder or the disk refuses in the body into a MediaError that names the file."""
    try:
        yield
    except codec_errors() as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{path} cannot be written: {reason}.") from error


@contextlib.contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[io.FileIO]:
    """A file to write into, which gets its name, flushed to the disk, when the body ends; it is gone if the body fails.

    Raises MediaError for a file that is there already unless `overwrite`, and where the disk refuses. What the body
    raises passes as it is.
    """
    if path.exists() and not overwrite:
        raise MediaError(f"{path} exists already.", hint="Give another name, or take it away first.")
    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    with writing_errors(path):
        file = _File(temporary, "wb")
    try:
        with file:
            yield file
            with writing_errors(path):
                os.fsync(file.fileno())
        with writing_errors(path):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
