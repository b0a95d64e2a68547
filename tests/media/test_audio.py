"""Reading, streaming and probing: how many samples, which ones, and where."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from seqkit.media import Audio, AudioInfo, probe_audio, read_audio, stream_audio
from tests.media.sounds import Kind, chirp, encode, pipe, shift, wav

EXACT = (
    Kind("wav", "pcm_s16le"),
    Kind("wav", "pcm_f32le"),
    Kind("wav", "pcm_alaw", 8000),
    Kind("wav", "pcm_mulaw", 8000),
    Kind("flac", "flac"),
    Kind("flac", "flac", 44100),
    Kind("mp3", "libmp3lame"),
    Kind("mp3", "libmp3lame", 44100),
    Kind("ogg", "libopus", 48000),
    Kind("ogg", "flac"),
    Kind("matroska", "libopus", 48000),
    Kind("matroska", "flac", 44100),
    Kind("matroska", "libmp3lame", 44100),
    Kind("aiff", "pcm_s16be"),
)
WITHIN_A_MILLISECOND = (
    Kind("ipod", "aac", 16000),
    Kind("ipod", "aac", 44100),
    Kind("mp4", "aac", 44100, {"movflags": "faststart"}),
    Kind("mp4", "aac", 48000, video=True),
    Kind("mp4", "libopus", 48000),
    Kind("mov", "aac", 44100),
)


def label(kind: Kind) -> str:
    return f"{kind.label}-{kind.rate}"


@pytest.mark.parametrize("count", [4999, 30011])
@pytest.mark.parametrize("kind", EXACT, ids=label)
def test_every_sample_is_there_and_in_its_place(kind: Kind, count: int) -> None:
    sound = chirp(count, kind.rate)
    found = read_audio(io.BytesIO(encode(kind, sound)))
    assert (found.sample_rate, len(found.samples), found.warnings) == (kind.rate, count, ())
    assert shift(sound, found.samples) == 0
    assert found.samples.dtype == np.float32


@pytest.mark.parametrize("count", [4999, 30011])
@pytest.mark.parametrize("kind", WITHIN_A_MILLISECOND, ids=label)
def test_mp4_is_exact_to_a_millisecond(kind: Kind, count: int) -> None:
    sound = chirp(count, kind.rate)
    found = read_audio(io.BytesIO(encode(kind, sound)))
    # FFmpeg writes the length of the last packet too, so its own files are exact.
    assert len(found.samples) == count
    assert abs(shift(sound, found.samples)) <= kind.rate / 1000
    assert found.warnings == ()


@pytest.mark.parametrize(
    "kind", [Kind("matroska", "aac", 44100), Kind("matroska", "aac", 44100, video=True)], ids=label
)
def test_aac_in_matroska_keeps_the_end_of_its_last_packet(kind: Kind) -> None:
    sound = chirp(30011, kind.rate)
    found = read_audio(io.BytesIO(encode(kind, sound)))
    assert 0 <= len(found.samples) - len(sound) < 1024 + 44  # timestamps are rounded to 1 ms
    assert abs(shift(sound, found.samples)) <= 44


def test_an_impulse_stays_where_it_is() -> None:
    sound = np.zeros(20000, np.float32)
    sound[12345] = 0.9
    for kind in (Kind("flac", "flac"), Kind("mp3", "libmp3lame"), Kind("ipod", "aac")):
        found = read_audio(io.BytesIO(encode(kind, sound))).samples
        assert abs(int(np.abs(found).argmax()) - 12345) <= 1, kind.label
    opus = read_audio(io.BytesIO(encode(Kind("ogg", "libopus", 16000), sound)), 16000).samples
    assert abs(int(np.abs(opus).argmax()) - 12345) <= 1


# The samples of WAV files --------------------------------------------------------------------------------------------


def integers(bits: int, shape: tuple[int, ...] = (1000,)) -> np.ndarray:
    top = 2 ** (bits - 1)
    values = np.random.default_rng(0).integers(-top, top, shape, dtype=np.int64)
    values.flat[:2] = (-top, top - 1)
    return values


def test_16_bit_samples_are_the_written_integers_over_32768() -> None:
    values = integers(16)
    found = read_audio(io.BytesIO(wav(values.astype("<i2"), 16000)))
    assert found.samples.tolist() == (values / 32768).tolist()


def test_other_widths_are_scaled_alike() -> None:
    for bits in (8, 24, 32, 64):
        values = integers(bits)
        if bits == 8:
            data = (values + 128).astype("u1")
        elif bits == 24:
            data = (values << 8).astype("<i4").view("u1").reshape(-1, 4)[:, 1:].reshape(-1)
        else:
            data = values.astype(f"<i{bits // 8}")
        found = read_audio(io.BytesIO(wav(data, 16000, bits=bits)))
        assert found.samples.tolist() == (values / 2.0 ** (bits - 1)).astype(np.float32).tolist(), bits


def test_float_samples_are_kept_also_beyond_one() -> None:
    values = np.random.default_rng(0).standard_normal(500) * 3
    for bits in (32, 64):
        data = values.astype(f"<f{bits // 8}")
        found = read_audio(io.BytesIO(wav(data, 16000, tag=3, bits=bits)))
        assert found.samples.tolist() == values.astype(np.float32).tolist()


def test_the_extensible_header_is_read() -> None:
    values = integers(24, (1000, 2))
    sound = (values / 2**23).astype(np.float64)
    data = encode(Kind("wav", "pcm_s24le", sample_format="s32"), sound.T)
    assert data[20:22] == b"\xfe\xff"  # WAVE_FORMAT_EXTENSIBLE
    found = read_audio(io.BytesIO(data))
    assert found.samples.tolist() == sound.mean(axis=1).astype(np.float32).tolist()


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_become_their_mean(channels: int) -> None:
    values = integers(16, (1000, channels))
    found = read_audio(io.BytesIO(wav(values.astype("<i2"), 16000)))
    assert found.samples.tolist() == (values.mean(axis=1) / 32768).astype(np.float32).tolist()
    planar = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 5000)).astype(np.float32)
    opposite = np.stack([planar[0], -planar[0]])
    assert np.abs(read_audio(io.BytesIO(encode(Kind("flac", "flac"), opposite))).samples).max() <= 1 / 32768


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 192000, 768000])
def test_rates_from_one_to_768_khz(rate: int) -> None:
    values = integers(16, (rate // 4,))
    data = wav(values.astype("<i2"), rate)
    assert len(read_audio(io.BytesIO(data)).samples) == len(values)
    found = read_audio(io.BytesIO(data), 16000)
    assert (found.sample_rate, len(found.samples)) == (16000, -(-len(values) * 16000 // rate))
    assert found.seconds == pytest.approx(0.25, abs=1e-3)


# Streams -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind("wav", "pcm_s16le", 44100), Kind("mp3", "libmp3lame", 22050)], ids=label)
def test_blocks_of_any_length_together_are_the_whole(kind: Kind) -> None:
    data = encode(kind, chirp(2 * kind.rate + 77, kind.rate))
    for rate in (None, 16000):
        whole = read_audio(io.BytesIO(data), rate)
        for seconds in (0.001, 0.1, 0.33, 1.0, 100.0):
            blocks = list(stream_audio(io.BytesIO(data), rate, seconds))
            size = round(seconds * whole.sample_rate)
            assert {len(block) for block in blocks[:-1]} <= {size}
            assert 0 < len(blocks[-1]) <= size
            assert np.array_equal(np.concatenate(blocks), whole.samples)


@pytest.mark.parametrize(
    "kind",
    [
        Kind("wav", "pcm_s16le"),
        Kind("flac", "flac"),
        Kind("mp3", "libmp3lame"),
        Kind("mp3", "libmp3lame", 44100),
        Kind("ogg", "libopus", 48000),
        Kind("matroska", "libopus", 48000),
        Kind("ipod", "aac", 44100, {"movflags": "faststart"}),
    ],
    ids=label,
)
def test_a_pipe_gives_what_the_file_gives(kind: Kind) -> None:
    data = encode(kind, chirp(40001, kind.rate))
    for most in (7, 100_000):
        piped, filed = read_audio(pipe(data, most), 16000), read_audio(io.BytesIO(data), 16000)
        assert np.array_equal(piped.samples, filed.samples)
        assert piped.warnings == ()


def test_a_file_object_is_read_from_where_it_stands_and_left_open() -> None:
    sound = integers(16).astype("<i2")
    file = io.BytesIO(b"four" + wav(sound, 16000))
    file.seek(4)
    assert len(read_audio(file).samples) == len(sound)
    assert not file.closed


def test_files_are_closed_even_if_nobody_reads_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(wav(np.zeros(16000 * 20, "<i2"), 16000))

    def is_open() -> bool:
        return any(os.path.realpath(link) == str(path.resolve()) for link in Path("/proc/self/fd").iterdir())

    with warnings.catch_warnings(record=True) as left_to_the_collector:
        warnings.simplefilter("always")
        blocks = stream_audio(path, 8000, 0.5)
        next(blocks)
        assert is_open()
        del blocks
        assert not is_open()
        read_audio(path)
        probe_audio(path)
        assert not is_open()
    assert left_to_the_collector == []


def test_memory_stays_bounded_however_long_the_sound_is(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    samples = 8000 * 1200  # twenty minutes: 77 MB of float32 at 16 kHz
    with path.open("wb") as file:
        file.write(wav(np.zeros(0, "<i2"), 8000)[:-4] + (2 * samples).to_bytes(4, "little"))
        file.truncate(44 + 2 * samples)
    program = (
        "import resource, sys; from seqkit.media import stream_audio\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "blocks = stream_audio(sys.argv[1], 16000, 1.0, warn=print); next(blocks); before = most()\n"
        "print(16000 + sum(len(block) for block in blocks), most() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == 2 * samples
    assert grown < 20_000  # KiB


# The beginning of a film ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["matroska", "mp4"])
@pytest.mark.parametrize("late", [0.02, 0.025, 0.5])
def test_sound_that_begins_after_the_picture_begins_with_silence(container: str, late: float) -> None:
    kind = Kind(container, "aac", 48000, video=True, late=late)
    sound = chirp(30000, 48000)
    found = read_audio(io.BytesIO(encode(kind, sound)))
    assert found.warnings == ()
    ends = 48 if container == "mp4" else 1024 + 48
    assert -48 <= len(found.samples) - len(sound) - late * 48000 <= ends
    assert shift(sound, found.samples, 30000) == pytest.approx(late * 48000, abs=48)


def test_sound_without_a_picture_begins_at_once() -> None:
    kind = Kind("matroska", "flac", 16000, late=0.5)
    assert len(read_audio(io.BytesIO(encode(kind, chirp(8000, 16000)))).samples) == 8000


# Headers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EXACT, ids=label)
def test_a_probe_knows_what_reading_gives(kind: Kind, tmp_path: Path) -> None:
    count = 20011
    path = tmp_path / f"sound.{kind.container}"
    path.write_bytes(encode(kind, np.stack([chirp(count, kind.rate)] * 2)))
    info = probe_audio(path)
    assert (info.path, info.container, info.sample_rate, info.channels) == (
        str(path),
        kind.container,
        kind.rate,
        2,
    )
    assert info.seconds == pytest.approx(count / kind.rate, abs=0.05)
    assert info.samples == (None if kind.container == "matroska" else count)


def test_a_probe_of_mp4_tells_seconds_alone(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    path.write_bytes(encode(Kind("ipod", "aac", 44100), chirp(44100, 44100)))
    info = probe_audio(path)
    assert info == AudioInfo(str(path), "m4a", "aac", 44100, 1, info.seconds, None)
    assert info.seconds == pytest.approx(1.0, abs=0.002)


def test_an_edit_list_ends_the_sound_where_packets_do_not_tell() -> None:
    """As other encoders write: every packet full, and only the edit list says how much of the last one is sound."""
    data = bytearray(encode(Kind("ipod", "aac", 44100), chirp(44100, 44100)))
    place = data.index(b"stts")
    entries = int.from_bytes(data[place + 8 : place + 12], "big")
    for number in range(entries):
        begin = place + 16 + 8 * number
        data[begin : begin + 4] = (1024).to_bytes(4, "big")
    found = read_audio(io.BytesIO(bytes(data)))
    assert abs(len(found.samples) - 44100) <= 44
    assert found.warnings == ()


def test_an_mp3_without_a_lame_header_is_not_said_to_be_exact() -> None:
    bare = encode(Kind("mp3", "libmp3lame", options={"write_xing": "0"}), chirp(30000, 16000))
    assert probe_audio(io.BytesIO(bare)).samples is None
    assert 0 < len(read_audio(io.BytesIO(bare)).samples) - 30000 < 3 * 1152
    assert read_audio(pipe(bare)).warnings == ()


def test_the_length_of_an_audio() -> None:
    assert Audio(np.zeros(24000, np.float32), 16000).seconds == 1.5
