"""Video files and streams as RGB frames: probe, read those frames that a sampling wants, stream.

Everything that FFmpeg reads: MP4, AVI, Matroska, WebM, MPEG, GIF, ... A still picture is no video. Times are seconds
from the first frame. The frame at a time is the last one that is shown then or earlier, by the file's clock, which may
be 1.1 ms late (Matroska rounds its times). Frames are given as they are to be shown, turned and mirrored as the file
says; but pixels that are not square are not made so, and interlaced frames stay as they are.

Only the frames that are wanted are converted, and others are decoded only where the wanted ones build on them. What is
given does not depend on that, nor on the number of threads.
"""

from __future__ import annotations

import contextlib
import stat
import tempfile
import warnings as python_warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from seqkit.errors import MediaError
from seqkit.media.byte_reader import ByteReader
from seqkit.media.containers import Source, not_a_file, open_container
from seqkit.media.sampling import Sampling, Segments, Strided, Uniform, check_fps
from seqkit.media.video_decoding import Shown, VideoTrack
from seqkit.media.video_pixels import Fit, Shaper, orientation
from seqkit.media.video_search import Search

__all__ = [
    "Clip", "Fit", "Sampling", "Segments", "Strided", "Uniform", "VideoInfo",
    "probe_video", "read_clip", "stream_frames",
]  # fmt: skip

_MOST_BYTES = 4 << 30  # of the frames of one clip
_IN_MEMORY = 64 << 20  # bytes of a pipe that are kept in memory, before they go into a temporary file
_CHUNK = 1 << 16


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says about its video."""

    path: str
    """The file's name; 'the stream' for a stream without one."""
    container: str
    codec: str
    width: int
    """As it is shown: turned."""
    height: int
    rotation: int
    """Degrees clockwise by which frames are turned to be shown: 0, 90, 180 or 270."""
    fps: float | None
    """Frames a second, on average; None where the header does not say."""
    seconds: float | None
    """None where the header does not say."""
    frames: int | None
    """None where the header does not say."""


@dataclass(frozen=True)
class Clip:
    """Frames of a video."""

    frames: np.ndarray
    """(T, H, W, 3) uint8, RGB."""
    times: np.ndarray
    """(T,) float64, seconds from the beginning of the video: the times that were asked for."""
    seconds: float
    """Of the whole video; of what was read of it, where the header does not say."""
    warnings: tuple[str, ...] = ()
    """A sentence for each kind of fault that the file had: broken frames, a missing end."""


def probe_video(source: Source) -> VideoInfo:
    """Read the header of a file, or of a stream, which is used up by it, and its first frame, which knows what is up.

    Raises MediaError where there is no file, or no video in it.
    """
    with open_container(source) as opened:
        track = VideoTrack(opened)
        kinds = opened.container.format.name.split(",")
        suffix = Path(opened.name).suffix.lower().removeprefix(".")
        height, width, turns = track.context.height, track.context.width, 0
        for _, frame in track.every():
            turns, _ = orientation(frame)
            height, width = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
            break
        rate = track.stream.average_rate
        return VideoInfo(
            path=opened.name,
            container=suffix if suffix in kinds else kinds[0],
            codec=track.stream.codec_context.name,
            width=width,
            height=height,
            rotation=90 * turns,
            fps=float(rate) if rate else None,
            seconds=track.promise,
            frames=track.stream.frames or None,
        )


def read_clip(
    source: Source,
    sampling: Sampling,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    *,
    threads: int = 1,
) -> Clip:
    """Those frames of a file or stream that `sampling` wants, at `size` (height, width), or at its own for None.

    `fit` says how a picture of another shape is brought to that size: stretched, its centre cut out, or with black
    borders. `threads` is for the decoder; 0 takes as many as there are processors. To spread frames over a stream that
    cannot go back, its length must be known: it is copied to a temporary file first.

    Raises MediaError where there is no file, no video in it, nothing that can be decoded, or more than 4 GiB of frames
    are asked for. A file that is damaged or cut off gives what is there, and says so in `warnings`.
    """
    request = _Request(sampling, size, fit, threads)
    if isinstance(sampling, Strided):
        with open_container(source) as opened:
            return _clip(VideoTrack(opened, threads), request, None)
    with _rewindable(source) as (again, rewind):
        with open_container(again) as opened:
            track = VideoTrack(opened, threads)
            if track.promise is not None and not track.is_cut:
                return _clip(track, request, track.promise)
            seconds = track.measure()
        rewind()
        with open_container(again) as opened:
            return _clip(VideoTrack(opened, threads), request, seconds)


@dataclass(frozen=True)
class _Request:
    """What `read_clip` was asked for."""

    sampling: Sampling
    size: tuple[int, int] | None
    fit: Fit
    threads: int


def _clip(track: VideoTrack, request: _Request, seconds: float | None) -> Clip:
    """The clip from a track that nothing was read of; `seconds` is its length, which `Strided` does without."""
    sampling = request.sampling
    shaper = Shaper(track.name, request.size, request.fit)
    if isinstance(sampling, Strided):
        shown, repeat = Search(track).at(sampling.times(), beyond=False), True
    else:
        shown, repeat = Search(track).at(sampling.times(seconds or 0.0), beyond=True), sampling.repeat
    frames, times = _gather(shown, shaper, repeat)
    track.faults.sizes = shaper.changes
    if seconds is None:
        seconds = track.end if track.is_over or track.promise is None else track.promise
    return Clip(_stacked(frames), np.array(times, np.float64), seconds, track.warnings())


def stream_frames(
    source: Source,
    fps: float | None,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    *,
    threads: int = 1,
    warn: Callable[[str], None] | None = None,
) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a file or stream one by one: (seconds, (H, W, 3) uint8), `fps` of them a second, or all for None.

    They are what `read_clip` with `Strided(fps)` gives, bit for bit; with None, each comes with the time at which it
    begins. Memory stays bounded however long the video is. A frame that is given twice is the same array, which cannot
    be written to. `warn` is called at the end with each sentence that `Clip.warnings` would hold; by default it is a
    Python warning. The file is opened with the first frame, and closed with the last or when the iterator is dropped.
    Raises MediaError.
    """
    if fps is not None:
        check_fps(fps)
    return _streamed(source, fps, size, fit, threads, warn or _python_warning)


def _python_warning(message: str) -> None:
    python_warnings.warn(message, stacklevel=2)


def _streamed(
    source: Source,
    fps: float | None,
    size: tuple[int, int] | None,
    fit: Fit,
    threads: int,
    warn: Callable[[str], None],
) -> Iterator[tuple[float, np.ndarray]]:
    with open_container(source) as opened:
        track = VideoTrack(opened, threads)
        shaper = Shaper(track.name, size, fit)
        shown = track.every() if fps is None else Search(track).at(Strided(fps).times(), beyond=False)
        for time, pixels, _ in _shaped(shown, shaper):
            yield time, pixels
        track.faults.sizes = shaper.changes
        said = track.warnings()
    for message in said:
        warn(message)


def _shaped(shown: Iterator[Shown], shaper: Shaper) -> Iterator[tuple[float, np.ndarray, bool]]:
    """Times, pixels, and whether they are those of a new frame; each frame is converted once."""
    last, pixels = None, np.zeros(0, np.uint8)
    for time, frame in shown:
        is_new = frame is not last
        if is_new:
            last, pixels = frame, shaper(frame, time)
            pixels.flags.writeable = False
        yield time, pixels, is_new


def _gather(shown: Iterator[Shown], shaper: Shaper, repeat: bool) -> tuple[list[np.ndarray], list[float]]:
    """The pixels and times of a clip."""
    frames: list[np.ndarray] = []
    times: list[float] = []
    for time, pixels, is_new in _shaped(shown, shaper):
        if is_new or repeat:
            frames.append(pixels)
            times.append(time)
            if len(frames) * pixels.nbytes > _MOST_BYTES:
                raise MediaError(
                    f"{shaper.name}: a clip of more than {len(frames)} frames of {pixels.shape[1]} x {pixels.shape[0]} "
                    f"is too large.",
                    hint="Ask for fewer or smaller frames, or stream them.",
                )
    return frames, times


def _stacked(frames: list[np.ndarray]) -> np.ndarray:
    """Frames (T, H, W, 3); those of the list are given up one by one, so that memory does not double."""
    out = np.empty((len(frames), *frames[0].shape), np.uint8)
    for number in range(len(frames) - 1, -1, -1):
        out[number] = frames.pop()
    return out


@contextlib.contextmanager
def _rewindable(source: Source) -> Iterator[tuple[Source, Callable[[], object]]]:
    """The source, or a temporary copy of one that cannot go back; and how to go back to its beginning."""
    if isinstance(source, (str, Path)):
        with contextlib.suppress(OSError, ValueError):  # opening it says what is wrong
            if stat.S_ISFIFO(Path(source).stat().st_mode):
                with Path(source).open("rb") as pipe, _rewindable(pipe) as copied:
                    yield copied
                return
        yield source, lambda: None
        return
    if not hasattr(source, "read"):
        raise not_a_file(source)
    reader = ByteReader(source, "the stream")
    if reader.seekable():
        begin = source.tell()
        yield source, lambda: source.seek(begin)
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
        while chunk := reader.read(_CHUNK):
            copy.write(chunk)
        reader.check()
        copy.seek(0)
        yield cast(BinaryIO, copy), lambda: copy.seek(0)
