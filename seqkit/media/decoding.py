"""From packets to mono samples: what is broken is left out and counted, what is missing becomes silence.

A damaged file may claim anything. So the sound that comes out is bounded by the bytes that went in, and memory by one
packet. FFmpeg removes an encoder's delay where the container tells of it; the padding at the end of an mp4 file, and
of an mp3 stream that cannot be searched, is removed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from seqkit.errors import MediaError
from seqkit.media.containers import (
    GREATEST_RATE,
    LEAST_RATE,
    MOST_CHANNELS,
    Opened,
    codec_errors,
    is_picture,
    sound_of,
    without_index,
)
from seqkit.media.faults import SoundFaults
from seqkit.media.packets import Packets
from seqkit.media.promises import ends_early, promised
from seqkit.media.timeline import GREATEST_GAP, Timeline

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet

_SAMPLES, _SAMPLES_A_BYTE = 1 << 24, 1000
_LARGEST = 1e9  # a sample beyond it is no sound, and its power may be infinite in float32
_MS = 1000
_FEW = 0.05  # seconds; less than it is told in samples

_SCALES = {
    "u8": (np.uint8, 1 / 128),
    "s16": (np.int16, 1 / 32768),
    "s32": (np.int32, 1 / 2**31),
    "s64": (np.int64, 1 / 2**63),
    "flt": (np.float32, 1.0),
    "dbl": (np.float64, 1.0),
}


class Track:
    """The sound of an opened file. Read `pieces` to their end, then ask for `warnings`."""

    def __init__(self, opened: Opened) -> None:
        """Raises MediaError where the file has no sound that can be read."""
        self.name, self._reader, self._container = opened.name, opened.reader, opened.container
        self._stream = sound_of(opened)
        self.sample_rate = self._stream.codec_context.sample_rate
        self.kind = self._container.format.name
        self.is_mp4 = self.kind.startswith("mov,")
        self.codec = self._stream.codec_context.name
        self.promise = promised(self._container, self._stream, self._reader)
        self.seconds = 0.0  # given so far
        self._samples = 0
        self._late = 0  # samples of silence before the first sound
        self._padding = 0  # samples of the last piece that lie after the end of its packet
        self._heard = 0.0  # seconds decoded so far
        self._faults = SoundFaults()
        self._packets = Packets(opened, self._stream, lambda: self._faults.broke(self._heard))
        base = self._stream.time_base
        self._base = None if base is None else (base.numerator, base.denominator)
        self._stream.codec_context.thread_count = 1
        if self.codec == "flac":  # else a damaged frame is decoded to noise
            self._stream.codec_context.options = {"err_detect": "crccheck+explode"}

    def pieces(self) -> Iterator[tuple[np.ndarray, int]]:
        """Samples (N,) float32 in [-1, 1], the mean of the channels, and their rate in Hz, which may change.

        Raises MediaError where nothing can be decoded, a sample is not a number, or there is too much of it.
        """
        for samples, rate in self._without_padding(self._decoded()):
            self._samples += len(samples)
            self.seconds += len(samples) / rate
            self._check_amount(self._samples)
            if len(samples):
                yield samples, rate
        if not self._samples:
            raise self._nothing()

    # From packets to samples -----------------------------------------------------------------------------------------

    def _decoded(self) -> Iterator[tuple[np.ndarray, int]]:
        """The samples of all frames, with silence where the clock says that some are missing."""
        timeline = None
        for frame, packet in self._frames():
            samples = self._mono(frame)
            if samples is None:
                self._faults.broke(self._heard)
                continue
            rate = frame.sample_rate
            position = self._position(frame.pts, rate)
            if timeline is None:
                timeline = Timeline(rate)
                self._late = self._lateness(position, rate)
                yield from _silence(self._late, rate)
                self._heard = self._late / rate
            elif timeline.sample_rate != rate:
                self._faults.rates.append(f"from {timeline.sample_rate} to {rate} Hz at {self._heard:.2f} s")
                timeline = Timeline(rate)
            silence, leap = timeline.place(position, len(samples))
            if leap:
                self._faults.jumps.append(leap)
            if silence:
                self._faults.missed(self._heard, silence / rate)
            self._check_amount(self._samples + silence)
            yield from _silence(silence, rate)
            if self.is_mp4:
                self._padding = self._after_packet(position, len(samples), packet, rate)
            self._heard += (silence + len(samples)) / rate
            yield samples, rate

    def _frames(self) -> Iterator[tuple[AudioFrame, Packet[AudioStream] | None]]:
        for packet in self._packets:
            yield from ((frame, packet) for frame in self._decode(packet))
        yield from ((frame, None) for frame in self._decode(None))

    def _decode(self, packet: Packet[AudioStream] | None) -> list[AudioFrame]:
        """The frames of a packet; None for what the decoder still holds."""
        try:
            return self._stream.codec_context.decode(packet)
        except codec_errors():
            if packet is not None:
                self._faults.broke(self._heard)
            return []

    def _mono(self, frame: AudioFrame) -> np.ndarray | None:
        """The mean of the channels (N,) float32; None for a frame that is broken.

        Raises MediaError for a sample that is not a number, where the file itself says so.
        """
        channels, count, name = frame.layout.nb_channels, frame.samples, frame.format.name
        kind, scale = _SCALES[name.removesuffix("p")]
        planes: tuple[Any, ...] = frame.planes
        if not (1 <= channels <= MOST_CHANNELS and LEAST_RATE <= frame.sample_rate <= GREATEST_RATE):
            return None
        if frame.format.is_planar:
            data = np.stack([np.frombuffer(plane, kind, count) for plane in planes[:channels]])  # (C, N)
        else:
            data = np.frombuffer(planes[0], kind, count * channels).reshape(count, channels).T  # (C, N)
        if name.startswith("u8"):
            data = data.astype(np.int16) - 128
        with np.errstate(over="ignore", invalid="ignore"):  # what that gives is found below
            # One channel is exact in float32; several are added in float64.
            mean = data[0] if channels == 1 else data.mean(axis=0, dtype=np.float64)
            mono: np.ndarray = mean.astype(np.float32)
        if kind not in (np.float32, np.float64):
            mono *= np.float32(scale)
            return mono
        bad = ~(np.abs(mono) < _LARGEST)
        if not bad.any():
            return mono
        if not self.codec.startswith("pcm_"):
            return None
        first = int(bad.argmax())
        raise MediaError(
            f"{self.name}: the sample at {self._heard + first / frame.sample_rate:.3f} s is {mono[first]:g}: no sound.",
            hint="Write the file again from its source.",
        )

    def _position(self, timestamp: int | None, rate: int) -> int | None:
        """A timestamp of the file as a count of samples."""
        if timestamp is None or self._base is None:
            return None
        numerator, denominator = self._base
        return (2 * timestamp * numerator * rate + denominator) // (2 * denominator)

    # Beginning and end -----------------------------------------------------------------------------------------------

    def _lateness(self, position: int | None, rate: int) -> int:
        """How many samples after the beginning of the picture the sound begins, where there is a picture."""
        start = self._container.start_time
        if position is None or start is None or all(map(is_picture, self._container.streams.video)):
            return 0
        late = position - start * rate // 1_000_000
        return late if 0 < late <= GREATEST_GAP * rate else 0

    def _without_padding(self, pieces: Iterator[tuple[np.ndarray, int]]) -> Iterator[tuple[np.ndarray, int]]:
        """Cut what an encoder added at the end, where only the container's tables tell of it."""
        if self.kind == "mp3" and self._reader.size is None and self.promise.samples is not None:
            left = self.promise.samples
            for samples, rate in pieces:
                yield samples[: max(0, left)], rate
                left -= len(samples)
        elif self.is_mp4:
            held, total = None, 0
            for piece in pieces:
                if held is not None:
                    yield held
                held, total = piece, total + len(piece[0])
            if held is not None:
                samples, rate = held
                yield samples[: max(0, len(samples) - self._surplus(total, len(samples), rate))], rate
        else:
            yield from pieces

    def _after_packet(self, position: int | None, count: int, packet: Packet[AudioStream] | None, rate: int) -> int:
        """How many of `count` samples at `position` lie after the end of the packet that they came from."""
        if packet is None or packet.pts is None or not packet.duration or position is None:
            return 0
        end = self._position(packet.pts + packet.duration, rate)
        return 0 if end is None else min(count, max(0, position + count - end))

    def _surplus(self, total: int, last: int, rate: int) -> int:
        """How many of the last samples are padding: after the end of their packet, or of the track's edit list."""
        surplus = min(self._padding, last)
        if self.promise.seconds is not None:
            beyond = total - self._late - surplus - round(self.promise.seconds * rate)
            # An edit list is rounded to 1 ms; and it may not be believed beyond the last packet.
            if rate // _MS < beyond <= last - surplus:
                surplus += beyond
        return surplus

    # What to tell ----------------------------------------------------------------------------------------------------

    def _check_amount(self, samples: int) -> None:
        if samples > _SAMPLES + _SAMPLES_A_BYTE * self._reader.total:
            raise MediaError(
                f"{self.name} is damaged: its {self._reader.total} bytes give more than {self.seconds:.0f} s of sound."
            )

    def _nothing(self) -> MediaError:
        if self._reader.size is None and self.is_mp4:
            return without_index(self._reader)
        if self._faults.broken:
            return MediaError(f"{self.name}: nothing of its sound could be decoded.", hint="It is damaged.")
        return MediaError(f"{self.name} holds no sound: 0 samples.")

    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of fault that the file had, after `pieces` came to their end."""
        missing = self._missing()
        said = self._faults.sentences() + ([missing] if missing else [])
        return tuple(f"{self.name}: {sentence}" for sentence in said)

    def _missing(self) -> str | None:
        """A sentence about a file that holds less than it should."""
        promise = self.promise
        if promise.samples is not None and self._samples < promise.samples and not self._faults.rates:
            if promise.samples - self._samples < _FEW * self.sample_rate:
                return f"only {self._samples} of the {promise.samples} samples that it promises are there."
            return f"only {self.seconds:.2f} s of the {promise.seconds:.2f} s that it promises are there."
        if promise.least_seconds is not None and self.seconds < promise.least_seconds:
            return f"only {self.seconds:.2f} s of the {promise.seconds:.2f} s that it promises are there."
        if (self.is_mp4 and self._packets.last_is_cut) or ends_early(self.kind, self._reader):
            return f"it ends early, after {self.seconds:.2f} s: it was cut off."
        return None


def _silence(count: int, rate: int) -> Iterator[tuple[np.ndarray, int]]:
    """Silence of `count` samples, in pieces of a second."""
    for begin in range(0, count, rate):
        yield np.zeros(min(rate, count - begin), np.float32), rate
