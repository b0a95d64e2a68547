"""Writing a video, frame by frame; its suffix says which codec.

Shapes: H and W, a frame's height and width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from seqkit.errors import MediaError
from seqkit.media.containers import open_container
from seqkit.media.copy_sound import SoundCopy
from seqkit.media.whole_file import whole_file, writing_errors

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LEAST_FPS, GREATEST_FPS = 0.01, 1000.0
"""Frame rates that are written, frames a second."""
MOST_PIXELS = 16_384
"""Of a side."""
_SMALL = 1 << 17  # pixels of a frame; a smaller one is coded by one thread: others would cost more than they bring
_CLOCK = 90_000  # ticks of a second for frames that have a time each
_MOST_TERM = 1001  # of a rate as a fraction: 30000/1001 is television's
_SMPTE170M = 6  # FFmpeg's number of the colour matrix that it converts with, which is told to players


@dataclass(frozen=True)
class _Format:
    """FFmpeg's names: the container with its options, the codec with its options."""

    container: str
    codec: str
    options: dict[str, str]
    container_options: dict[str, str] = field(default_factory=dict)
    any_time: bool = True
    """Whether frames may have a time each."""


# Without B-frames a packet is decoded when it is shown: else an mp4 whose frames have a time each ends too early.
_H264 = {"preset": "veryfast", "crf": "20", "bf": "0"}
_INDEX_FIRST = {"movflags": "+faststart"}  # so that it can be read as a stream
_FORMATS = {
    ".mp4": _Format("mp4", "libx264", _H264, _INDEX_FIRST),
    ".mkv": _Format("matroska", "libx264", _H264),
    ".mov": _Format("mov", "libx264", _H264, _INDEX_FIRST),
    ".webm": _Format("webm", "libvpx-vp9", {"crf": "28", "b": "0", "deadline": "good", "cpu-used": "4"}),
    ".avi": _Format("avi", "mpeg4", {"qmin": "2", "qmax": "4"}, any_time=False),
}
VIDEO_SUFFIXES = tuple(_FORMATS)
"""What can be written: H.264 in .mp4, .mkv and .mov, VP9 in .webm, MPEG-4 in .avi."""


class VideoWriter:
    """Writes frames (H, W, 3) uint8, RGB, to a file that appears under its name when it is whole.

    Use it as a context manager; if the body fails, no file is left. Colours are kept at half the resolution (4:2:0):
    that is what every player can show. It takes an even width and height, so a frame of an odd one gets one more
    column or row, a copy of its last. Memory does not grow with the number of frames.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        size: tuple[int, int],
        *,
        overwrite: bool = False,
        sound: str | Path | None = None,
    ) -> None:
        """`size` is (H, W); `fps` the frames a second, where frames are added without a time.

        `sound` names a video whose sound is copied, as it is; where that cannot be, `warnings` says so at the end.

        Raises MediaError for a suffix, rate or size that cannot be written, for an encoder that this FFmpeg lacks,
        and for a file that is there already unless `overwrite`.
        """
        self.path, self.size = Path(path), size
        wanted = _FORMATS.get(self.path.suffix.lower())
        if wanted is None:
            raise MediaError(
                f"{self.path}: a video cannot be written as '{self.path.suffix}'.",
                hint=f"Known: {', '.join(_FORMATS)}.",
            )
        if not LEAST_FPS <= fps <= GREATEST_FPS:
            raise MediaError(
                f"{self.path}: {fps:g} frames a second cannot be written; it must be {LEAST_FPS:g} to {GREATEST_FPS:g}."
            )
        if not all(1 <= side <= MOST_PIXELS for side in size):
            raise MediaError(
                f"{self.path}: a frame of {_named(size)} pixels cannot be written; a side has 1 to {MOST_PIXELS:,}."
            )
        _check_encoder(wanted.codec, self.path)
        self._format, self._rate = wanted, Fraction(fps).limit_denominator(_MOST_TERM)
        self._base = 1 / self._rate  # seconds of a tick
        self._overwrite, self._stack = overwrite, contextlib.ExitStack()
        self._timed: bool | None = None  # whether frames have a time each, known when the first one comes
        self._container: Any = None
        self._stream: Any = None
        self._sound_file, self._sound = sound, cast("SoundCopy | None", None)
        self._last = -1  # tick of the frame before
        self.frames = 0
        """Added so far."""
        self.warnings: list[str] = []
        """After the last frame: a sentence for each thing that the file lacks."""

    def __enter__(self) -> VideoWriter:
        self._file = self._stack.enter_context(whole_file(self.path, overwrite=self._overwrite))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:  # gives the file its name, or removes it
            if error is not None:
                self._abandon()
                self._stack.__exit__(kind, error, trace)
            elif self._container is None:
                raise MediaError(f"{self.path}: there is no video to write: 0 frames.")
            else:
                with writing_errors(self.path):
                    try:
                        self._finish()
                    finally:
                        self._container.close()

    def add(self, frame: np.ndarray, time: float | None = None) -> None:
        """Append a frame (H, W, 3) uint8, shown at `time` seconds; all frames have a time, or none has.

        Raises MediaError for a frame of another shape or type, a time that is not after the one before, and where the
        encoder or the disk refuses.
        """
        self._check(frame)
        if self._container is None:
            self._timed = time is not None
            with writing_errors(self.path):
                self._open()
        elif self._timed != (time is not None):
            raise MediaError(
                f"{self.path}: frame {self.frames} has {'no' if self._timed else 'a'} time, unlike others."
            )
        tick = self.frames if time is None else self._tick(time)
        with writing_errors(self.path):
            if self._sound is not None:
                self._sound.until(float(tick * self._base))
            self._container.mux(self._stream.encode(self._coded(frame, tick)))
        self._last, self.frames = tick, self.frames + 1

    # From the first frame on -----------------------------------------------------------------------------------------

    def _open(self) -> None:
        import av

        wanted = self._format
        if self._timed:
            if not wanted.any_time:
                raise MediaError(
                    f"{self.path}: frames of an {self.path.suffix} have one rate, not a time each.",
                    hint="Write .mp4, .mkv, .mov or .webm.",
                )
            self._base = Fraction(1, _CLOCK)
        self._container = av.open(
            self._file, "w", format=wanted.container, container_options=dict(wanted.container_options)
        )
        stream: Any = self._container.add_stream(wanted.codec, rate=self._rate, options=dict(wanted.options))  # type: ignore[call-overload,unused-ignore]
        height, width = (side + side % 2 for side in self.size)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        context = stream.codec_context
        context.time_base, context.colorspace = self._base, _SMPTE170M
        context.thread_count = 1 if height * width <= _SMALL else 0
        self._stream = stream
        if self._sound_file is not None:
            opened = self._stack.enter_context(open_container(self._sound_file))
            self._sound = SoundCopy(opened, self._container)

    def _finish(self) -> None:
        """Write what the encoder still holds, and the rest of the sound."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.rest()
            if self._sound.missing is not None:
                self.warnings.append(f"{self.path} has no sound: {self._sound.missing}.")
            if self._sound.breaks:
                self.warnings.append(f"{self.path}: the sound of {self._sound_file} is damaged, and parts are missing.")

    def _tick(self, time: float) -> int:
        tick = round(time * _CLOCK) if 0 <= time < 1e9 else -1
        if tick <= self._last:
            before = f"after {self._last / _CLOCK:g}, the time before" if self.frames else "0 or more"
            raise MediaError(f"{self.path}: frame {self.frames} is shown at {time:g} s, which is not {before}.")
        return tick

    def _coded(self, frame: np.ndarray, tick: int) -> VideoFrame:
        """The frame as the encoder takes it."""
        from av.video.frame import VideoFrame

        height, width = self.size
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        coded = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(format="yuv420p")
        coded.pts, coded.time_base = tick, self._base
        return coded

    def _check(self, frame: np.ndarray) -> None:
        place = f"{self.path}: frame {self.frames}"
        if frame.dtype != np.uint8:
            raise MediaError(f"{place} holds {frame.dtype}; uint8 from 0 to 255 is expected.")
        if frame.ndim != 3 or frame.shape[2] != 3:
            raise MediaError(f"{place} has the shape {frame.shape}; (height, width, 3) is expected.")
        if frame.shape[:2] != self.size:
            raise MediaError(f"{place} has {_named(frame.shape[:2])} pixels, and the video {_named(self.size)}.")

    def _abandon(self) -> None:
        if self._container is not None:
            with contextlib.suppress(MediaError), writing_errors(self.path):  # another error is on its way
                self._container.close()


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, overwrite: bool = False) -> None:
    """Write frames (H, W, 3) uint8, all of the first one's size, at `fps` frames a second.

    They may come from a generator: a few at a time are held. Raises MediaError as `VideoWriter` does, and where there
    is no frame.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise MediaError(f"{path}: there is no video to write: 0 frames.")
    shape = (*np.shape(first), 1, 1)  # one that is no picture is refused when it is added
    with VideoWriter(path, fps, (shape[0], shape[1]), overwrite=overwrite) as writer:
        writer.add(first)
        for frame in remaining:
            writer.add(frame)


def takes_times(path: str | Path) -> bool:
    """Whether frames of a video with that suffix may have a time each; those of an .avi have one rate."""
    wanted = _FORMATS.get(Path(path).suffix.lower())
    return wanted is None or wanted.any_time


def _check_encoder(codec: str, path: Path) -> None:
    """Raise MediaError where this FFmpeg was built without an encoder."""
    import av
    from av.codec.codec import UnknownCodecError

    try:
        av.Codec(codec, "w")
    except UnknownCodecError as error:
        others = ", ".join(suffix for suffix, known in _FORMATS.items() if known.codec != codec)
        raise MediaError(
            f"{path}: the encoder {codec} is not in the FFmpeg that PyAV was built with.",
            hint=f"Install PyAV's own wheel (pip install --force-reinstall av), or write another kind: {others}.",
        ) from error


def _named(size: tuple[int, ...]) -> str:
    """Width x height, as people write it."""
    return f"{size[1]} x {size[0]}"
