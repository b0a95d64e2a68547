"""Raw samples from a pipe: bytes without a header, as they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from seqkit.errors import MediaError, nearest
from seqkit.media.byte_reader import ByteReader
from seqkit.media.containers import MOST_CHANNELS
from seqkit.media.resample import Resampler

_READ_BYTES = 1 << 16
_TYPES = {
    "u8": "u1",
    "s8": "i1",
    "s16le": "<i2",
    "s16be": ">i2",
    "s24le": "<i3",
    "s24be": ">i3",
    "s32le": "<i4",
    "s32be": ">i4",
    "f32le": "<f4",
    "f32be": ">f4",
    "f64le": "<f8",
    "f64be": ">f8",
}
PCM_FORMATS = tuple(_TYPES)
"""Sample formats of `raw_pcm`, by FFmpeg's names."""


def raw_pcm(
    file: BinaryIO, sample_rate: int, channels: int = 1, format: str = "s16le", *, to_rate: int | None = None
) -> Iterator[np.ndarray]:
    """Mono samples (N,) float32, the mean of the channels, as soon as their bytes arrive; N differs each time.

    `to_rate` resamples, with `Resampler`. Nothing waits for a full buffer where the file has `read1` (as
    `sys.stdin.buffer` has) or is unbuffered. Raises MediaError at once for settings that cannot be; while reading for
    a sample that is not a number; and after the last piece where the stream was empty or ends within a sample.
    """
    name = getattr(file, "name", None)
    reader = ByteReader(file, name if isinstance(name, str) else "the stream")
    if format not in _TYPES:
        raise MediaError(f"'{format}' is no format of raw samples.", hint=nearest(format, _TYPES))
    if not 1 <= channels <= MOST_CHANNELS:
        raise MediaError(f"raw samples cannot have {channels} channels; 1 to {MOST_CHANNELS} can be read.")
    resampler = Resampler(sample_rate, sample_rate if to_rate is None else to_rate)
    return _pieces(reader, resampler, channels, format)


def _pieces(reader: ByteReader, resampler: Resampler, channels: int, format: str) -> Iterator[np.ndarray]:
    width = channels * int(_TYPES[format][-1])
    rest, count = b"", 0
    while chunk := reader.read(_READ_BYTES):
        data = rest + chunk
        whole = len(data) - len(data) % width
        rest = data[whole:]
        samples = _mono(data[:whole], channels, format)
        bad = ~np.isfinite(samples)
        if bad.any():
            when = (count + int(bad.argmax())) / resampler.from_rate
            raise MediaError(f"{reader.name}: the sample at {when:.3f} s is not a number.", hint=f"Is it {format}?")
        count += len(samples)
        ready = resampler.push(samples)
        if len(ready):
            yield ready
    last = resampler.flush()
    if len(last):
        yield last
    reader.check()
    if not reader.count:
        raise MediaError(f"{reader.name} holds no sound: 0 bytes.")
    if rest:
        raise MediaError(
            f"{reader.name} ends within a sample: {len(rest)} of its {width} bytes are there, after "
            f"{count / resampler.from_rate:.2f} s of sound.",
            hint=f"Is it {format} with {channels} channel{'s' if channels > 1 else ''}?",
        )


def _mono(data: bytes, channels: int, format: str) -> np.ndarray:
    """The mean of the channels (N,) float32 of whole samples."""
    kind = _TYPES[format]
    if kind[1:] == "i3":  # numpy has no 24 bits: the upper three bytes of 32
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 1:] = parts if kind[0] == "<" else parts[:, ::-1]
        values, scale = wide.view("<i4")[:, 0], 2.0**31
    else:
        values = np.frombuffer(data, kind)
        scale = 1.0 if "f" in kind else 2.0 ** (8 * values.itemsize - 1)
    shift = 128 if format == "u8" else 0
    frames = (values.astype(np.float64) - shift).reshape(-1, channels)  # (N, C)
    mono: np.ndarray = (frames.mean(axis=1) / scale).astype(np.float32)
    return mono
