"""Files that cannot be read: one clear sentence each, and nothing else."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.errors import InputError, MediaError
from seqkit.media import decoding, probe_audio, read_audio, stream_audio
from tests.media.sounds import Kind, Pipe, chirp, encode, pipe, silent_film, wav

SOUND = (chirp(16000, 16000) * 32767).astype("<i2")


def refused(source: Any, rate: int | None = 16000) -> str:
    """The sentence that all three ways of reading refuse a file with; a file object is read once."""
    with pytest.raises(MediaError) as caught:
        read_audio(source, rate)
    if isinstance(source, Path):
        with pytest.raises(MediaError) as again:
            list(stream_audio(source, rate))
        assert str(again.value) == str(caught.value)
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_path_that_leads_to_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.wav") == f"{tmp_path}/no.wav does not exist. Check the spelling."
    assert refused(tmp_path) == f"{tmp_path} is a folder. Name a file in it."
    assert "cannot be opened" in refused(Path("a\0b.wav"))
    (tmp_path / "empty.wav").touch()
    assert refused(tmp_path / "empty.wav") == f"{tmp_path}/empty.wav is empty: it has 0 bytes."
    assert "cannot be opened" in refused(tmp_path / "empty.wav" / "within.wav")
    with pytest.raises(MediaError, match="does not exist"):
        probe_audio(tmp_path / "no.wav")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(SOUND, 16000))
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything

        def forbid(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "open", forbid)
    assert refused(path) == f"{path} may not be read: Permission denied. Mend its permissions."


@pytest.mark.parametrize(
    "content",
    [
        b"hello world\n" * 200,
        bytes(5000),
        b"#EXTM3U\n#EXTINF:10,\n/etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        np.random.default_rng(0).bytes(3000),
    ],
    ids=["text", "zeros", "playlist", "list-of-files", "session", "noise"],
)
def test_what_is_no_media_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    assert refused(tmp_path / "x.wav").startswith(f"{tmp_path}/x.wav is no audio or video file that can be read.")


def test_a_video_without_sound(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(silent_film())
    assert refused(tmp_path / "film.mkv") == f"{tmp_path}/film.mkv is a video without sound."


def test_a_sound_of_no_samples() -> None:
    assert refused(io.BytesIO(wav(SOUND[:0], 16000))) == "the stream holds no sound: 0 samples."
    assert refused(pipe(b"")) == "the stream is empty: it has 0 bytes."


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("bits", [32, 64])
def test_samples_that_are_no_numbers(value: float, bits: int, tmp_path: Path) -> None:
    samples = np.zeros(16000)
    samples[8000] = value
    (tmp_path / "x.wav").write_bytes(wav(samples.astype(f"<f{bits // 8}"), 16000, tag=3, bits=bits))
    assert refused(tmp_path / "x.wav").startswith(f"{tmp_path}/x.wav: the sample at 0.500 s is {np.float32(value):g}")


@pytest.mark.filterwarnings("error")
def test_infinities_of_two_channels_that_cancel_out() -> None:
    samples = np.zeros((100, 2), "<f4")
    samples[50] = (np.inf, -np.inf)
    assert "is nan" in refused(io.BytesIO(wav(samples, 16000, tag=3, bits=32)))


@pytest.mark.parametrize("rate", [1, 100, 999, 4_000_000, 2**32 - 1])
def test_rates_that_no_sound_has(rate: int) -> None:
    said = refused(io.BytesIO(wav(SOUND, rate)), None)
    assert said.startswith("the stream")
    assert f"a sample rate of {rate} Hz cannot be used" in said or "no audio or video file" in said


def test_a_wanted_rate_that_no_sound_has() -> None:
    with pytest.raises(MediaError, match="the wanted rate: a sample rate of 1 Hz"):
        read_audio(io.BytesIO(wav(SOUND, 16000)), 1)
    with pytest.raises(MediaError, match="the wanted rate: a sample rate of 0 Hz"):
        stream_audio(io.BytesIO(wav(SOUND, 16000)), 0)
    with pytest.raises(ValueError, match="block_seconds"):
        stream_audio(io.BytesIO(wav(SOUND, 16000)), 16000, 0)


def test_an_mp4_whose_index_comes_last_cannot_be_a_stream() -> None:
    data = encode(Kind("mp4", "pcm_s16be", 48000), np.random.default_rng(0).uniform(-1, 1, 48000 * 8))
    assert data.index(b"moov") > len(data) // 2
    assert "has its index at the end, and a stream cannot go back" in refused(pipe(data, 100_000))
    assert len(read_audio(io.BytesIO(data)).samples) == 48000 * 8


def test_an_mp4_that_lost_its_index() -> None:
    data = encode(Kind("ipod", "aac", 44100), chirp(44100, 44100))
    assert "its index is damaged or missing" in refused(io.BytesIO(data[: len(data) // 2]))


def test_file_objects_that_do_not_behave(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(SOUND, 16000))
    with path.open("r", encoding="latin-1") as text:
        assert "it was opened as text" in refused(text)

    class Failing(Pipe):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    assert refused(Failing(b"")) == "the stream cannot be read: Input/output error."

    class NotReady(Pipe):
        def read(self, size: int = -1) -> Any:
            return None

    assert "nothing has arrived yet" in refused(NotReady(b""))

    class Generous(Pipe):
        def read(self, size: int = -1) -> bytes:
            return bytes(size + 1)

    assert "asked for" in refused(Generous(b""))
    assert "neither a path nor a binary file" in refused(17)


def test_a_failure_in_the_middle_is_told_and_an_interruption_passes() -> None:
    class Breaking(Pipe):
        left = 20

        def __init__(self, content: bytes, error: BaseException) -> None:
            super().__init__(content)
            self.error = error

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise self.error
            return super().read(size)

    data = wav(SOUND, 16000)
    with pytest.raises(MediaError, match="the stream cannot be read: Stale file handle"):
        read_audio(Breaking(data, OSError(116, "Stale file handle")))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        read_audio(Breaking(data, KeyboardInterrupt()))  # type: ignore[arg-type]
    assert len(read_audio(io.BytesIO(data)).samples) == len(SOUND)  # the failure is not told to the next one


def test_more_sound_than_the_bytes_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Kind("flac", "flac"), np.zeros(16000 * 60))
    assert len(read_audio(io.BytesIO(data)).samples) == 16000 * 60
    monkeypatch.setattr(decoding, "_SAMPLES", 16000)
    monkeypatch.setattr(decoding, "_SAMPLES_A_BYTE", 10)
    for source in (io.BytesIO(data), pipe(data)):
        assert "is damaged: its" in refused(source)


def test_a_header_that_claims_gigabytes_gets_none() -> None:
    """A text of 2 GB in a LIST chunk: FFmpeg would ask for them before it looks whether they are there."""
    resource = pytest.importorskip("resource")
    data = bytearray(encode(Kind("wav", "pcm_s16le"), chirp(8000, 16000)))
    place = data.index(b"LIST")
    data[place + 4 : place + 8] = (0x7F000000).to_bytes(4, "little")
    data[place + 16 : place + 20] = (0x70000000).to_bytes(4, "little")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(io.BytesIO(bytes(data)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_ffmpeg_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encode(Kind("mp3", "libmp3lame"), chirp(30000, 16000)))
    data[2000:2500] = np.random.default_rng(0).bytes(500)
    assert read_audio(io.BytesIO(bytes(data))).warnings
    refused(io.BytesIO(b"RIFF1234WAVEfmt rubbish"))
    assert capfd.readouterr() == ("", "")
