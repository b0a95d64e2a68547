"""Opening audio and video files, and saying in one sentence what is wrong with one that cannot be opened.

FFmpeg reads through `ByteReader` and may open nothing else: a playlist or a session description that calls itself a
sound file leads to no other file and to no network. PyAV keeps FFmpeg's own log silent; errors come as exceptions.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from seqkit.errors import MediaError
from seqkit.media.byte_reader import ByteReader

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

Source = str | Path | BinaryIO
"""A path, or a binary file or stream that is open for reading."""
LEAST_RATE, GREATEST_RATE = 1000, 3_072_000
"""Sample rates that are read, Hz."""
MOST_CHANNELS = 64
MOST_PIXELS = 16384
"""The longest side of a picture that is read."""
MOST_AREA = 1 << 26
"""Pixels of the largest picture that is read: 8192 x 8192."""
_MOST_MEMORY = 1 << 28

_OPTIONS = {"protocol_whitelist": "none"}  # FFmpeg opens no file and no address by itself


@dataclass(frozen=True)
class Opened:
    """An open container: PyAV's object, what it reads through, and what to call it in messages."""

    container: InputContainer
    reader: ByteReader
    name: str


def codec_errors() -> tuple[type[BaseException], ...]:
    """What PyAV raises on files that are damaged, or that want more than there is."""
    import av.error

    return (av.error.FFmpegError, OSError, ValueError, OverflowError, MemoryError, LookupError, NotImplementedError)


@contextlib.contextmanager
def open_container(source: Source) -> Iterator[Opened]:
    """Open a file for reading; closed again whatever happens, but for a file object of the caller's.

    Raises MediaError where there is no file, or none that FFmpeg can read.
    """
    import av

    _bound_memory()
    with _file(source) as (file, name):
        reader = ByteReader(file, name)
        try:
            # A tag in an unknown encoding is no reason to refuse the sound.
            container = av.open(reader, "r", options=_OPTIONS, metadata_errors="replace")
        except codec_errors() as error:
            reader.check()
            raise _unreadable(reader, error) from error
        try:
            reader.check()
            yield Opened(container, reader, name)
        finally:
            container.close()


@functools.cache
def _bound_memory() -> None:
    """Let FFmpeg allocate no more than _MOST_MEMORY bytes at once, whatever a header claims that it needs.

    PyAV does not offer this, so the function is called in the library that PyAV has loaded. Where it cannot be found
    there (Windows looks it up in another way), FFmpeg's own limit of 2 GiB stays.
    """
    import ctypes

    import av._core

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(_MOST_MEMORY))


@contextlib.contextmanager
def _file(source: Source) -> Iterator[tuple[BinaryIO, str]]:
    """The open file and its name. Raises MediaError where there is none."""
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "read"):
            raise not_a_file(source)
        name = getattr(source, "name", None)
        yield source, name if isinstance(name, str) else "the stream"
        return
    with _open(Path(source)) as file:
        yield file, str(source)


def not_a_file(source: object) -> MediaError:
    """The error about what cannot be read at all."""
    return MediaError(f"{source!r} is neither a path nor a binary file.")


def _open(path: Path) -> BinaryIO:
    """Open a path, unbuffered. Raises MediaError where that cannot be."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{path} is a folder.", hint="Name a file in it.")
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            raise MediaError(f"{path} is empty: it has 0 bytes.")
        return cast(BinaryIO, path.open("rb", buffering=0))
    except FileNotFoundError:
        raise MediaError(f"{path} does not exist.", hint="Check the spelling.") from None
    except PermissionError as error:
        raise MediaError(f"{path} may not be read: {error.strerror}.", hint="Mend its permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise MediaError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}.") from error


def _unreadable(reader: ByteReader, error: BaseException) -> MediaError:
    """Why a container could not be opened."""
    if not reader.count:
        return MediaError(f"{reader.name} is empty: it has 0 bytes.")
    if is_mp4(reader):
        return without_index(reader)
    if isinstance(error, MemoryError):
        return MediaError(f"{reader.name} asks for more memory than there is.", hint="Its header is damaged.")
    return MediaError(
        f"{reader.name} is no audio or video file that can be read.", hint="It is damaged, or of another kind."
    )


def is_mp4(reader: ByteReader) -> bool:
    """Whether the file is of the mp4 family, which keeps an index of all packets in one place."""
    return reader.head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")


def without_index(reader: ByteReader) -> MediaError:
    """The error about an mp4 or m4a file whose index cannot be had."""
    if reader.size is None:
        return MediaError(
            f"{reader.name} has its index at the end, and a stream cannot go back from there.",
            hint="Give it as a file, or write it with the index first (ffmpeg -movflags +faststart).",
        )
    return MediaError(f"{reader.name} cannot be read: its index is damaged or missing.", hint="Was it cut off?")


def sound_of(opened: Opened) -> AudioStream:
    """The sound track: where there are several, the one that FFmpeg and players take.

    Raises MediaError where there is none, or one that nothing here can decode.
    """
    from av.audio.stream import AudioStream

    container, name = opened.container, opened.name
    best = container.streams.best("audio") if container.streams.audio else None
    if not isinstance(best, AudioStream):
        if container.streams.audio:
            raise MediaError(f"{name} holds sound, but no decoder is known for it.")
        if any(not is_picture(stream) for stream in container.streams.video):
            raise MediaError(f"{name} is a video without sound.")
        raise MediaError(f"{name} holds no sound.")
    context = best.codec_context
    if context is None:
        raise MediaError(f"{name} holds sound, but no decoder is known for it.")
    check_rate(context.sample_rate, name)
    if not 1 <= context.channels <= MOST_CHANNELS:
        raise MediaError(f"{name} says that it has {context.channels} channels; 1 to {MOST_CHANNELS} can be read.")
    return best


def video_of(opened: Opened) -> VideoStream:
    """The video track: where there are several, the one that FFmpeg and players take; never the cover of an album.

    Raises MediaError where there is none, a still picture, or one that nothing here can decode.
    """
    container, name = opened.container, opened.name
    tracks = [stream for stream in container.streams.video if not is_picture(stream)]
    if not tracks:
        if container.streams.video:
            raise MediaError(f"{name} holds no video, only a cover picture.")
        raise MediaError(f"{name} holds no video{', only sound' if container.streams.audio else ''}.")
    if container.format.name.endswith("_pipe") or container.format.name == "image2":
        raise MediaError(f"{name} is a still picture, not a video.")
    best = container.streams.best("video")
    chosen = next((stream for stream in tracks if stream is best), tracks[0])
    if chosen.codec_context is None:
        raise MediaError(f"{name} holds a video, but no decoder is known for it.")
    check_sides(chosen.codec_context.height, chosen.codec_context.width, name)
    return chosen


def check_sides(height: int, width: int, name: str) -> None:
    """Raise MediaError where a picture has no size, or one that nothing here can hold."""
    if not (1 <= height <= MOST_PIXELS and 1 <= width <= MOST_PIXELS):
        raise MediaError(f"{name}: a picture of {width} x {height} cannot be used; a side has 1 to {MOST_PIXELS}.")
    if height * width > MOST_AREA:
        raise MediaError(
            f"{name}: a picture of {width} x {height} cannot be used; it has more than {MOST_AREA} pixels."
        )


def is_picture(stream: object) -> bool:
    """Whether a video stream is the cover of an album, not a video."""
    from av.stream import Disposition

    return bool(getattr(stream, "disposition", Disposition(0)) & Disposition.attached_pic)


def check_rate(rate: int, name: str) -> None:
    """Raise MediaError where a sample rate is none that sound can have."""
    if not LEAST_RATE <= rate <= GREATEST_RATE:
        raise MediaError(
            f"{name}: a sample rate of {rate} Hz cannot be used; it must be {LEAST_RATE} to {GREATEST_RATE}."
        )
