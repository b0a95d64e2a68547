"""Damaged files that can be used: the rest of the sound, in its place, and a warning."""

from __future__ import annotations

import io
import warnings
from typing import Any

import av
import numpy as np
import pytest

from seqkit.media import read_audio, stream_audio
from seqkit.media.timeline import Timeline
from tests.media.sounds import Kind, chirp, encode, pipe, shift, wav

RATE = 16000


def without_packets(data: bytes, container: str, lost: range) -> bytes:
    """The same file with some packets left out; the others keep their timestamps."""
    out = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(out, "w", format=container) as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for number, packet in enumerate(source.demux(source.streams.audio[0])):
            if packet.dts is not None and number not in lost:
                packet.stream = stream
                target.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        Kind("mp3", "libmp3lame", RATE),
        Kind("flac", "flac", RATE),
        Kind("mp4", "aac", RATE),
        Kind("mp4", "libmp3lame", RATE),
    ],
    ids=lambda kind: kind.label,
)
def test_noise_in_the_middle_leaves_the_rest_in_its_place(kind: Kind) -> None:
    sound = chirp(5 * RATE, RATE)
    data = bytearray(encode(kind, sound))
    middle = len(data) // 2
    data[middle : middle + 120] = np.random.default_rng(0).bytes(120)
    found = read_audio(io.BytesIO(bytes(data))).samples
    assert read_audio(io.BytesIO(bytes(data))).warnings
    lost = 3 * 576 if kind.container == "mp3" else 0  # an mp3 file has no clock that would tell of lost packets
    assert abs(len(found) - len(sound)) <= lost
    assert shift(sound[: 2 * RATE], found[: 2 * RATE]) == 0
    assert -lost <= shift(sound[3 * RATE :], found[3 * RATE :]) <= 0


def test_a_broken_packet_is_counted_and_silence_stands_in_for_it() -> None:
    sound = chirp(3 * RATE, RATE)
    whole = encode(Kind("ipod", "aac", RATE, {"movflags": "faststart"}), sound)
    with av.open(io.BytesIO(whole), "r") as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(audio=0) if p.size and p.pos is not None]
    place, size, pts = packets[20]
    data = whole[:place] + b"\xff" * size + whole[place + size :]
    clean, found = read_audio(io.BytesIO(whole)), read_audio(io.BytesIO(data))
    assert pts is not None
    when = f"{pts / RATE:.2f}"
    assert found.warnings == (
        f"the stream: 1 packet from {when} s on could not be decoded; silence stands in for 0.06 s.",
    )
    assert len(found.samples) == len(clean.samples)
    assert not found.samples[pts : pts + 1024].any()
    assert np.array_equal(found.samples[pts + 3 * 1024 :], clean.samples[pts + 3 * 1024 :])


def test_a_flipped_bit_in_flac_becomes_silence_and_not_noise() -> None:
    data = bytearray(encode(Kind("flac", "flac"), chirp(5 * RATE, RATE)))
    clean = read_audio(io.BytesIO(bytes(data))).samples
    for place in np.linspace(0.25, 0.8, 7):
        damaged = bytearray(data)
        damaged[int(place * len(data))] ^= 4
        found = read_audio(io.BytesIO(bytes(damaged)))
        changed = found.samples != clean
        assert found.warnings
        assert 0 < changed.sum() <= 2 * 1152
        assert not found.samples[changed].any()


def test_a_packet_without_bytes_does_not_end_the_sound() -> None:
    out, sound = io.BytesIO(), chirp(96000, 48000)
    whole = encode(Kind("matroska", "libopus", 48000), sound)
    with av.open(io.BytesIO(whole), "r") as source, av.open(out, "w", format="nut") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for number, packet in enumerate(source.demux(source.streams.audio[0])):
            if packet.dts is None:
                continue
            empty: Any = av.Packet(b"")
            empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
            chosen: Any = empty if number == 20 else packet
            chosen.stream = stream
            target.mux(chosen)
    found = read_audio(io.BytesIO(out.getvalue()))
    assert found.warnings == ("the stream: 0.02 s at 0.39 s are missing; silence stands in for them.",)
    assert abs(shift(sound[48000:], found.samples[48000:])) <= 48


def test_packets_that_a_container_lost_become_silence() -> None:
    sound = chirp(96000, 48000)
    data = without_packets(encode(Kind("matroska", "libopus", 48000), sound), "matroska", range(30, 40))
    found = read_audio(io.BytesIO(data), 48000)
    assert found.warnings == ("the stream: 0.20 s at 0.59 s are missing; silence stands in for them.",)
    assert len(found.samples) == pytest.approx(96000, abs=48)
    assert np.count_nonzero(found.samples[29000:37000]) == 0
    assert abs(shift(sound[60000:], found.samples[60000:])) <= 48


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Kind("wav", "pcm_s16le"), "it ends early, after"),
        (Kind("aiff", "pcm_s16be"), "of the 3.00 s that it promises are there"),
        (Kind("flac", "flac"), "of the 3.00 s that it promises are there"),
        (Kind("mp3", "libmp3lame"), "of the 3.00 s that it promises are there"),
        (Kind("ogg", "libopus", 48000), "it ends early, after"),
        (Kind("ogg", "flac"), "it ends early, after"),
        (Kind("mp4", "aac", options={"movflags": "faststart"}), "of the 3.00 s that it promises are there"),
        (Kind("matroska", "aac", 44100), "that it promises are there"),
    ],
    ids=lambda value: value.label if isinstance(value, Kind) else "",
)
def test_a_file_that_was_cut_off_gives_what_is_there(kind: Kind, said: str) -> None:
    sound = chirp(3 * kind.rate, kind.rate)
    data = encode(kind, sound)
    cut = data[: len(data) * 7 // 10]
    for source in (io.BytesIO(cut), pipe(cut)):
        found = read_audio(source)
        assert any(said in warning for warning in found.warnings), found.warnings
        count = len(found.samples)
        assert 0.3 * len(sound) < count < 0.8 * len(sound)
        assert np.corrcoef(found.samples, sound[:count])[0, 1] > 0.95
    assert read_audio(io.BytesIO(data)).warnings == ()


def test_a_single_missing_byte_is_told() -> None:
    data = wav((chirp(1000, RATE) * 30000).astype("<i2"), RATE)
    assert read_audio(io.BytesIO(data[:-1])).warnings == (
        "the stream: only 999 of the 1000 samples that it promises are there.",
    )
    unsized = data[:4] + b"\xff\xff\xff\xff" + data[8:40] + b"\xff\xff\xff\xff" + data[44:]
    assert read_audio(pipe(unsized)).warnings == ()  # as a recorder writes into a pipe


def test_a_stream_tells_at_its_end() -> None:
    data = encode(Kind("flac", "flac"), chirp(3 * RATE, RATE))[:-1000]
    said: list[str] = []
    assert sum(len(block) for block in stream_audio(io.BytesIO(data), RATE, warn=said.append))
    assert tuple(said) == read_audio(io.BytesIO(data)).warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(stream_audio(io.BytesIO(data), RATE))
    assert [str(one.message) for one in caught] == said


def test_a_rate_that_changes_within_a_file() -> None:
    bare = {"write_xing": "0", "id3v2_version": "0"}
    one = encode(Kind("mp3", "libmp3lame", 16000, bare), chirp(3 * 16000, 16000))
    other = encode(Kind("mp3", "libmp3lame", 24000, bare), chirp(3 * 24000, 24000))
    found = read_audio(io.BytesIO(one + one + other))
    assert any("the sample rate changes from 16000 to 24000 Hz at 6." in warning for warning in found.warnings)
    assert found.sample_rate == 16000
    assert found.seconds == pytest.approx(9.0, abs=0.4)


# The clock -----------------------------------------------------------------------------------------------------------


def silences(positions: list[int | None], count: int = 320) -> list[int]:
    timeline = Timeline(16000)
    return [timeline.place(position, count)[0] for position in positions]


def test_a_gap_becomes_silence_and_jitter_does_not() -> None:
    assert silences([0, 320, 640]) == [0, 0, 0]
    assert silences([5000, 5320, 6000, 6320]) == [0, 0, 360, 0]
    assert silences([0, 330, 630, 970, 1270]) == [0, 0, 0, 0, 0]  # 10 samples early or late
    assert silences([0, 320, 100, 720]) == [0, 0, 0, 0]  # an overlap, then a gap: the sound does not lag
    assert silences([None, None, 1000]) == [0, 0, 0]


def test_a_clock_that_is_too_fast_makes_no_silence() -> None:
    assert silences([round(n * 320 * 1.01) for n in range(2000)]) == [0] * 2000


def test_jitter_adds_up_to_no_more_than_the_sound_lags() -> None:
    positions: list[int | None] = [n * 320 + (0, 300)[n % 2] for n in range(100)]
    assert sum(silences(positions)) <= 300


def test_a_clock_that_leaps_is_followed() -> None:
    timeline = Timeline(16000)
    assert timeline.place(0, 320) == (0, 0.0)
    silence, leap = timeline.place(320 + 16000 * 3600, 320)
    assert (silence, leap) == (0, 3600.0)
    assert timeline.place(640 + 16000 * 3600, 320) == (0, 0.0)
    assert timeline.place(100, 320) == (0, 0.0)  # and back
    assert timeline.place(420 + 800, 320) == (800, 0.0)
