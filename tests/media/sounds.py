"""Sounds and files for the tests of the media room, written by PyAV itself and not by the code under test."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

_TYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}


@dataclass(frozen=True)
class Kind:
    """How a file is written: FFmpeg's names, and the rate of the sound in it."""

    container: str
    codec: str
    rate: int = 16000
    options: dict[str, str] = field(default_factory=dict)
    sample_format: str = ""  # the codec's first one
    video: bool = False
    late: float = 0.0  # seconds that the sound begins after the picture

    @property
    def label(self) -> str:
        return f"{self.codec}-in-{self.container}{'-with-video' if self.video else ''}"


def chirp(count: int, rate: int) -> np.ndarray:
    """A tone that rises from 200 Hz to 0.3 of the rate, so that it is like itself at one shift only."""
    time = np.arange(count) / rate
    slope = (0.3 * rate - 200) / (2 * count / rate)
    return (0.5 * np.sin(2 * np.pi * (200 * time + slope * time**2))).astype(np.float32)


def encode(kind: Kind, samples: np.ndarray) -> bytes:
    """A file with samples (N,) or (channels, N) in [-1, 1], or of the integers that `sample_format` says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        channels = np.atleast_2d(samples)
        with av.open(str(path), "w", format=kind.container, options=kind.options) as container:
            video: Any = container.add_stream("mpeg4", rate=25) if kind.video else None
            stream: Any = container.add_stream(cast(Any, kind.codec), rate=kind.rate)
            stream.layout = {1: "mono", 2: "stereo"}.get(len(channels), f"{len(channels)}C")
            stream.format = kind.sample_format or stream.codec_context.codec.audio_formats[0].name
            stream.codec_context.open()
            packets = _pictures(video, 1 + 25 * channels.shape[1] // kind.rate) if kind.video else []
            for frame in _frames(kind, stream.codec_context, channels):
                packets += stream.encode(frame)
            packets += stream.encode(None)
            for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
                container.mux(packet)
        return path.read_bytes()


def _frames(kind: Kind, context: Any, channels: np.ndarray) -> list[AudioFrame]:
    size, frames = context.frame_size or 1000, []
    name = context.format.name
    data = _as(name.removesuffix("p"), channels)
    for begin in range(0, data.shape[1], size):
        block = data[:, begin : begin + size]
        planes = block if context.format.is_planar else block.T.reshape(1, -1)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(planes), format=name, layout=context.layout.name)
        frame.sample_rate, frame.time_base = kind.rate, Fraction(1, kind.rate)
        frame.pts = begin + round(kind.late * kind.rate)
        frames.append(frame)
    return frames


def _as(name: str, channels: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as another type; those that have it already stay as they are."""
    kind = np.dtype(_TYPES[name])
    if channels.dtype == kind or kind.kind == "f":
        return channels.astype(kind)
    if name == "u8":
        return np.asarray(np.clip(np.rint(channels * 128) + 128, 0, 255), kind)
    top = 2.0 ** (8 * kind.itemsize - 1)
    whole: np.ndarray = np.clip(np.rint(channels.astype(np.float64) * top), -top, top - 1).astype(kind)
    return whole


def _pictures(stream: Any, count: int) -> list[Any]:
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    packets = []
    for number in range(count):
        picture = np.full((32, 32, 3), number % 256, np.uint8)
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))


def silent_film() -> bytes:
    """A video without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        container.mux(_pictures(container.add_stream("mpeg4", rate=25), 5))
    return file.getvalue()


def wav(samples: np.ndarray, rate: int, *, tag: int = 1, bits: int = 16) -> bytes:
    """A WAV file made by hand from the bytes of samples (N,) or (N, channels)."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = samples.tobytes()
    width = channels * bits // 8
    head = b"fmt " + (16).to_bytes(4, "little") + tag.to_bytes(2, "little") + channels.to_bytes(2, "little")
    head += rate.to_bytes(4, "little") + (rate * width % 2**32).to_bytes(4, "little") + width.to_bytes(2, "little")
    head += bits.to_bytes(2, "little") + b"data" + len(data).to_bytes(4, "little")
    return b"RIFF" + (4 + len(head) + len(data)).to_bytes(4, "little") + b"WAVE" + head + data


class Pipe(io.RawIOBase):
    """Bytes as from a pipe: no way back, and a read gives at most `most` of them."""

    def __init__(self, content: bytes, most: int = 1000) -> None:
        self._content = io.BytesIO(content)
        self._most = most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._content.read(self._most if size < 0 else min(size, self._most))


def pipe(content: bytes, most: int = 1000) -> BinaryIO:
    """`Pipe`, as the type that readers ask for."""
    return cast(BinaryIO, Pipe(content, most))


def shift(reference: np.ndarray, found: np.ndarray, most: int = 2000) -> int:
    """By how many samples `found` comes later than `reference`: the place of the greatest correlation."""
    size = 1 << int(np.ceil(np.log2(len(reference) + len(found))))
    product = np.fft.rfft(found, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(product, size)
    return int(np.argmax(np.concatenate([correlation[-most:], correlation[:most]]))) - most
