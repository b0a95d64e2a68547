"""Writing a sound file; its suffix says which codec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from seqkit.errors import MediaError
from seqkit.media.containers import check_rate
from seqkit.media.resample import Resampler
from seqkit.media.whole_file import whole_file, writing_errors

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

_BLOCK = 4096  # samples of a frame, for codecs that take any number


@dataclass(frozen=True)
class _Format:
    """FFmpeg's names: the container, the codec, and the samples that it takes."""

    container: str
    codec: str
    samples: str


_FORMATS = {
    ".wav": _Format("wav", "pcm_s16le", "s16"),
    ".flac": _Format("flac", "flac", "s16"),
    ".mp3": _Format("mp3", "libmp3lame", "fltp"),
    ".ogg": _Format("ogg", "libopus", "flt"),
    ".opus": _Format("opus", "libopus", "flt"),
    ".m4a": _Format("ipod", "aac", "fltp"),
}
AUDIO_SUFFIXES = tuple(_FORMATS)
"""What `write_audio` can write."""


def write_audio(path: str | Path, samples: np.ndarray, sample_rate: int, *, overwrite: bool = False) -> None:
    """Write mono samples (N,) in [-1, 1] at `sample_rate` Hz: .wav and .flac (16 bits), .mp3, .ogg, .opus, .m4a.

    16 bits are round(32768 x), clipped. A codec that does not know the rate gets the next higher one that it knows.
    The file appears under its name when it is whole. Raises MediaError for samples or a suffix that cannot be
    written, for a file that is there already unless `overwrite`, and where the disk refuses.
    """
    path = Path(path)
    wanted = _FORMATS.get(path.suffix.lower())
    if wanted is None:
        known = ", ".join(_FORMATS)
        raise MediaError(f"{path}: sound cannot be written as '{path.suffix}'.", hint=f"Known: {known}.")
    check_rate(sample_rate, str(path))
    checked = _checked(samples, path)
    with whole_file(path, overwrite=overwrite) as file, writing_errors(path):
        _encode(file, wanted, checked, sample_rate)


def _checked(samples: np.ndarray, path: Path) -> np.ndarray:
    """The samples (N,) as float32. Raises MediaError where they are no sound."""
    checked = np.asarray(samples, dtype=np.float32)
    if checked.ndim != 1:
        raise MediaError(f"{path}: samples of shape {checked.shape} are not mono.", hint="One dimension is expected.")
    if not len(checked):
        raise MediaError(f"{path}: there is no sound to write: 0 samples.")
    if not np.isfinite(checked).all():
        first = int((~np.isfinite(checked)).argmax())
        raise MediaError(f"{path}: sample {first} is {checked[first]}, which cannot be written.")
    return checked


def _encode(file: BinaryIO, wanted: _Format, samples: np.ndarray, sample_rate: int) -> None:
    import av

    known = av.Codec(wanted.codec, "w").audio_rates
    rate = sample_rate
    if known and sample_rate not in known:
        rate = min((r for r in known if r > sample_rate), default=max(known))
        resampler = Resampler(sample_rate, rate)
        samples = np.concatenate([resampler.push(samples), resampler.flush()])
    with av.open(file, "w", format=wanted.container) as container:
        stream: Any = container.add_stream(wanted.codec, rate=rate, layout="mono", format=wanted.samples)
        stream.codec_context.open()
        for frame in _frames(samples, stream.codec_context.frame_size or _BLOCK, wanted.samples, rate):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _frames(samples: np.ndarray, size: int, kind: str, rate: int) -> Iterator[AudioFrame]:
    """Frames of `size` samples, the last one shorter."""
    from av.audio.frame import AudioFrame

    for begin in range(0, len(samples), size):
        block = samples[begin : begin + size]
        if kind == "s16":
            block = np.clip(np.rint(block.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(block[None]), format=kind, layout="mono")
        frame.sample_rate, frame.pts = rate, begin
        yield frame
