"""What a container promises, beyond what FFmpeg tells: how many samples, how long, and whether it is whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqkit.media.byte_reader import ByteReader

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_COUNTED = {"wav", "w64", "flac", "aiff", "caf", "au"}  # with a codec without loss, the header counts the samples
_TABLE_SECONDS = 0.1  # a table of packets is as exact as a packet is long
_SIZE_UNKNOWN = 0x7FFFF000  # from here on, a RIFF header that says too much was written to a pipe


@dataclass(frozen=True)
class Promise:
    """Samples and seconds of the sound as the container tells them, each None where it does not."""

    samples: int | None
    """Exact, of one channel."""
    seconds: float | None
    """Exact where `samples` is known; else rounded or estimated."""
    least_seconds: float | None = None
    """What a whole file has at least, where `samples` is not known."""


def promised(container: InputContainer, stream: AudioStream, reader: ByteReader) -> Promise:
    """What the header of an opened file says about its sound."""
    kind = container.format.name
    samples = _samples(kind, stream, reader)
    if samples is not None:
        return Promise(samples, samples / stream.codec_context.sample_rate)
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
        return Promise(None, seconds, seconds - _TABLE_SECONDS if kind.startswith("mov,") else None)
    seconds_tag = _matroska_seconds(container, stream)
    if seconds_tag is not None:
        return Promise(None, seconds_tag, seconds_tag - _TABLE_SECONDS)
    whole = container.duration
    return Promise(None, None if whole is None else whole / 1_000_000)


def _samples(kind: str, stream: AudioStream, reader: ByteReader) -> int | None:
    """The samples of a channel, where the header tells them exactly."""
    codec = stream.codec_context.name
    if stream.duration is None or stream.time_base is None:
        return lame_samples(reader.head) if kind == "mp3" else None
    samples = round(stream.duration * stream.time_base * stream.codec_context.sample_rate)
    # An mp3 file with a LAME header begins after the encoder's delay; one without has its length estimated.
    if _is_counted(kind, codec) or (kind == "mp3" and stream.start_time):
        return samples
    if kind == "ogg" and codec in ("opus", "vorbis", "flac"):
        return max(0, samples - _pre_skip(codec, stream))
    return None


def video_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """The length of a video, where the header knows it; None where FFmpeg only guesses it."""
    kind = container.format.name
    base = stream.time_base
    # A file in fragments counts no frames, and tells of its first fragment only.
    if kind == "avi" or (kind.startswith("mov,") and stream.frames):
        return float(stream.duration * base) if stream.duration and stream.duration > 0 and base is not None else None
    seconds = _matroska_seconds(container, stream)
    if seconds is not None and base is not None:
        seconds -= float((stream.start_time or 0) * base)  # Matroska tells the end, not the length
    return seconds if seconds is not None and seconds > 0 else None


def _matroska_seconds(container: InputContainer, stream: AudioStream | VideoStream) -> float | None:
    """The length of a track of a Matroska file: its tag DURATION, 00:00:01.500000000; or the file's, if it is alone."""
    if not container.format.name.startswith("matroska"):
        return None
    found = re.fullmatch(r"(\d{2,4}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)", stream.metadata.get("DURATION", ""))
    if found:
        return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
    whole = container.duration
    return whole / 1_000_000 if whole is not None and len(container.streams) == 1 else None


def _is_counted(kind: str, codec: str) -> bool:
    return kind in _COUNTED and (codec.startswith("pcm_") or codec in ("flac", "alac"))


def _pre_skip(codec: str, stream: AudioStream) -> int:
    """Samples at the beginning of an Opus stream that are not played: RFC 7845, 5.1."""
    header = stream.codec_context.extradata or b""
    return int.from_bytes(header[10:12], "little") if codec == "opus" else 0


def ends_early(kind: str, reader: ByteReader) -> bool:
    """Whether a file that was read to its end lacks bytes that it promised, or the mark of its end."""
    head = reader.head
    if kind == "ogg":
        page = reader.tail.rfind(b"OggS")
        return page >= 0 and not _is_last_page(reader.tail[page:])
    end = _promised_end(head)
    return end is not None and reader.total < end


def _is_last_page(page: bytes) -> bool:
    """Whether an Ogg page has the mark of the last one, and is whole: RFC 3533, 6."""
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _promised_end(head: bytes) -> int | None:
    """The length in bytes of a RIFF, AIFF or Matroska file, by its header; None where it does not say."""
    if head[:4] in (b"RIFF", b"FORM"):
        size = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        return size + 8 if 0 < size < _SIZE_UNKNOWN else None
    if head[:4] == b"\x1a\x45\xdf\xa3":  # EBML header, then the segment, which holds all the rest: RFC 8794, 9559
        header, place = _ebml_size(head, 4)
        segment = place + (header or 0)
        if head[segment : segment + 4] == b"\x18\x53\x80\x67":
            length, place = _ebml_size(head, segment + 4)
            return None if length is None else place + length
    return None


def _ebml_size(data: bytes, place: int) -> tuple[int | None, int]:
    """A length of 1 to 8 bytes, and where it ends; None for one that is unknown: RFC 8794, 4."""
    first = data[place] if place < len(data) else 0
    width = 9 - first.bit_length()
    value = int.from_bytes(data[place : place + width], "big") & ((1 << 7 * width) - 1)
    unknown = width > 8 or value == (1 << 7 * width) - 1
    return (None if unknown else value), place + width


def lame_samples(head: bytes) -> int | None:
    """The samples of an mp3 file by its LAME header, which FFmpeg does not use in a stream that cannot be searched."""
    place = 0
    if head[:3] == b"ID3" and len(head) > 10:
        place = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = head[place : place + 256]
    tag = max(frame.find(b"Xing"), frame.find(b"Info"))
    if tag < 0 or len(frame) < tag + 144:
        return None
    flags = int.from_bytes(frame[tag + 4 : tag + 8], "big")
    # What may stand there: number of frames, of bytes, table of contents, quality. Then the encoder's own part.
    encoder = tag + 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    if not flags & 1 or frame[encoder : encoder + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return None
    frames = int.from_bytes(frame[tag + 8 : tag + 12], "big")
    delay, padding = divmod(int.from_bytes(frame[encoder + 21 : encoder + 24], "big"), 1 << 12)
    per_frame = 1152 if frame[1] & 0x18 == 0x18 else 576  # MPEG-1, or 2 and 2.5
    samples = frames * per_frame - delay - padding
    return samples if samples > 0 else None
