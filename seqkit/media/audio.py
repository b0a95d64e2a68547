"""Sound files and streams as mono samples: probe, read, stream.

Everything that FFmpeg reads: WAV (all widths, float, A-law, mu-law), FLAC, MP3, Ogg, Opus, M4A, the sound of MP4,
Matroska and WebM, at 1 kHz to 3 MHz, with 1 to 64 channels, whose mean is taken.

How exact: the samples of WAV, FLAC, MP3 with a LAME header and Opus are the encoder's own, none more and none less;
AAC and Opus in MP4 are within 1 ms. A container that does not tell what its encoder added keeps it: MP3 without a LAME
header or in AVI, raw AAC and AAC in MPEG-TS (up to 2048 samples at the beginning, one packet at the end), AAC in
Matroska (one packet at the end).

Times are the file's: where its clock leaves a gap of 15 ms to 10 minutes, there is silence; at the beginning too, where
the sound of a video starts after its picture.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqkit.errors import MediaError
from seqkit.media.containers import Source, check_rate, open_container, sound_of
from seqkit.media.decoding import Track
from seqkit.media.pcm import raw_pcm
from seqkit.media.promises import promised
from seqkit.media.resample import Resampler

__all__ = ["Audio", "AudioInfo", "probe_audio", "raw_pcm", "read_audio", "stream_audio"]

_READ_SECONDS = 10.0
_GATHERED = 4096  # samples that are resampled at once


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says about its sound."""

    path: str
    """The file's name; 'the stream' for a stream without one."""
    container: str
    codec: str
    sample_rate: int
    """Hz; of Opus always 48000."""
    channels: int
    seconds: float | None
    """None where the header does not say; an estimate where `samples` is None."""
    samples: int | None
    """Samples of a channel, where the container tells them exactly."""


@dataclass(frozen=True)
class Audio:
    """A sound: samples (N,) float32, mono, in [-1, 1] (float files may go beyond)."""

    samples: np.ndarray
    sample_rate: int
    """Hz."""
    warnings: tuple[str, ...] = ()
    """A sentence for each kind of fault that the file had: broken packets, gaps, a missing end."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.sample_rate


def probe_audio(source: Source) -> AudioInfo:
    """Read the header of a file, or of a stream, which is used up by it.

    Raises MediaError where there is no file, or no sound in it.
    """
    with open_container(source) as opened:
        stream = sound_of(opened)
        promise = promised(opened.container, stream, opened.reader)
        kinds = opened.container.format.name.split(",")
        suffix = Path(opened.name).suffix.lower().removeprefix(".")
        return AudioInfo(
            path=opened.name,
            container=suffix if suffix in kinds else kinds[0],
            codec=stream.codec_context.name,
            sample_rate=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
            seconds=promise.seconds,
            samples=promise.samples,
        )


def read_audio(source: Source, sample_rate: int | None = None) -> Audio:
    """The whole sound of a file or stream, at `sample_rate` Hz, or at the file's own rate for None.

    Raises MediaError where there is no file, no sound in it, or nothing that can be decoded. A file that is damaged or
    cut off gives what is there, and says so in `warnings`.
    """
    with open_container(source) as opened:
        track = Track(opened)
        target = _target(track, sample_rate)
        blocks = list(_blocks(track, target, _READ_SECONDS))
    return Audio(np.concatenate(blocks), target, track.warnings())


def stream_audio(
    source: Source,
    sample_rate: int | None,
    block_seconds: float = 1.0,
    *,
    warn: Callable[[str], None] | None = None,
) -> Iterator[np.ndarray]:
    """The sound of a file or stream in blocks (N,) float32 of `block_seconds`, the last one shorter; None: own rate.

    Memory stays bounded however long it is, and the blocks together are what `read_audio` gives, bit for bit. `warn`
    is called at the end with each sentence that `Audio.warnings` would hold; by default it is a Python warning. The
    file is opened with the first block, and closed with the last or when the iterator is dropped. Raises MediaError.
    """
    if sample_rate is not None:
        check_rate(sample_rate, "the wanted rate")
    if not block_seconds > 0:
        raise ValueError(f"block_seconds={block_seconds} is not a length")
    return _streamed(source, sample_rate, block_seconds, warn or _python_warning)


def _python_warning(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def _streamed(
    source: Source, sample_rate: int | None, block_seconds: float, warn: Callable[[str], None]
) -> Iterator[np.ndarray]:
    with open_container(source) as opened:
        track = Track(opened)
        yield from _blocks(track, _target(track, sample_rate), block_seconds)
    for message in track.warnings():
        warn(message)


def _target(track: Track, sample_rate: int | None) -> int:
    """The rate to give samples at."""
    if sample_rate is None:
        return track.sample_rate
    check_rate(sample_rate, "the wanted rate")
    return sample_rate


def _blocks(track: Track, target: int, block_seconds: float) -> Iterator[np.ndarray]:
    """Blocks of equal length at `target` Hz, the last one shorter."""
    size = max(1, round(block_seconds * target))
    kept: list[np.ndarray] = []
    count = 0
    for samples in _resampled(track, target):
        kept.append(samples)
        count += len(samples)
        if count >= size:
            joined = np.concatenate(kept)
            whole = count - count % size
            for begin in range(0, whole, size):
                yield joined[begin : begin + size]
            kept, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(kept)


def _resampled(track: Track, target: int) -> Iterator[np.ndarray]:
    """The pieces of a track at one rate, even where its own changes."""
    resampler: Resampler | None = None
    for samples, rate in _gathered(track):
        if resampler is None or resampler.from_rate != rate:
            if resampler is not None:
                yield resampler.flush()
            resampler = Resampler(rate, target)
        yield resampler.push(samples)
    if resampler is None:
        raise MediaError(f"{track.name} holds no sound: 0 samples.")
    yield resampler.flush()


def _gathered(track: Track) -> Iterator[tuple[np.ndarray, int]]:
    """The pieces of a track, small ones joined: a WAV file comes in packets of 500 samples."""
    kept: list[np.ndarray] = []
    count = last = 0
    for samples, rate in track.pieces():
        if kept and (count >= _GATHERED or rate != last):
            yield np.concatenate(kept), last
            kept, count = [], 0
        kept.append(samples)
        count, last = count + len(samples), rate
    if kept:
        yield np.concatenate(kept), last
