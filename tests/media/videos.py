"""Videos for the tests of the media room, written by PyAV itself and not by the code under test.

Every frame tells its own number: dark and light bars across the picture are its bits, so that it can be read again from
any codec at any size.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

os.environ.setdefault("SVT_LOG", "0")  # the encoder of AV1 writes to stderr
BITS = 10
_CLOCK = 1000  # ticks of a second, for frames


@dataclass(frozen=True)
class Film:
    """How a video is written: FFmpeg's names, the picture and the clock."""

    container: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    size: tuple[int, int] = (48, 80)
    """Height and width."""
    fps: int = 25
    start: float = 0.0
    """Seconds; when the first frame is shown."""
    container_options: dict[str, str] = field(default_factory=dict)
    sound: bool = False

    @property
    def label(self) -> str:
        return f"{self.codec}-in-{self.container}"


def bars(number: int, size: tuple[int, int] = (48, 80)) -> np.ndarray:
    """A picture (H, W, 3) uint8: bit n of `number` is bar n from the left; the top third is dark."""
    height, width = size
    bits = np.array([number >> n & 1 for n in range(BITS)], np.uint8)
    row = np.where(bits[np.arange(width) * BITS // width] > 0, 220, 40).astype(np.uint8)  # (W,)
    picture = np.repeat(row[None, :, None], height, 0).repeat(3, 2)
    picture[: height // 3] = 16
    return np.ascontiguousarray(picture)


def number_of(picture: np.ndarray) -> int:
    """The number that `bars` wrote into a picture (H, W, 3)."""
    height, width = picture.shape[:2]
    row = picture[height // 2 : height * 5 // 6].mean(axis=(0, 2))  # (W,)
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return sum(1 << n for n, value in enumerate(row[centres]) if value > 128)


def film(kind: Film, count: int, times: list[float] | None = None) -> bytes:
    """A video of `count` frames, shown at `times` seconds, or at equal distances."""
    shown = [n / kind.fps for n in range(count)] if times is None else times
    return encode(kind, [bars(n, kind.size) for n in range(count)], [kind.start + t for t in shown])


def encode(kind: Film, pictures: list[np.ndarray], times: list[float], form: str = "rgb24") -> bytes:
    """A video of pictures of any format that FFmpeg knows, shown at `times` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        with av.open(str(path), "w", format=kind.container, options=kind.container_options) as container:
            stream: Any = container.add_stream(kind.codec, rate=kind.fps, options=dict(kind.options))
            stream.height, stream.width = kind.size
            stream.pix_fmt = kind.pixels
            exact = kind.container not in ("avi", "h264", "mjpeg") and not kind.codec.startswith("mpeg")
            stream.codec_context.time_base = Fraction(1, _CLOCK if exact else kind.fps)
            base = stream.codec_context.time_base
            sound: Any = container.add_stream("aac", rate=16000, layout="mono") if kind.sound else None
            packets = []
            for picture, time in zip(pictures, times, strict=True):
                frame = VideoFrame.from_ndarray(picture, format=form)
                frame.pts, frame.time_base = round(time / base), base
                packets += stream.encode(frame)
            packets += stream.encode(None)
            if sound is not None:
                packets += _quiet(sound, times[-1])
            for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
                container.mux(packet)
        return path.read_bytes()


def _quiet(stream: Any, seconds: float) -> list[Any]:
    """Packets of silence of that length."""
    from av.audio.frame import AudioFrame

    packets = []
    for begin in range(0, round(16000 * seconds), 1024):
        frame = AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, begin, Fraction(1, 16000)
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))
