"""Writing sound files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from seqkit.errors import MediaError
from seqkit.media import probe_audio, read_audio, write_audio
from seqkit.media.write import AUDIO_SUFFIXES
from tests.media.sounds import chirp, shift


def test_wav_and_flac_hold_the_rounded_samples(tmp_path: Path) -> None:
    sound = np.concatenate([chirp(5000, 16000), [1.5, -1.5, 1.0, -1.0, 0.4 / 32768, 0.6 / 32768]]).astype(np.float32)
    expected = np.clip(np.rint(sound.astype(np.float64) * 32768), -32768, 32767)
    write_audio(tmp_path / "x.wav", sound, 16000)
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        written = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert written.tolist() == expected.tolist()
    write_audio(str(tmp_path / "x.flac"), sound, 16000)
    assert read_audio(tmp_path / "x.flac").samples.tolist() == (expected / 32768).tolist()


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 16001])
def test_what_was_written_is_read_again(suffix: str, rate: int, tmp_path: Path) -> None:
    sound = chirp(rate + 11, rate)
    path = tmp_path / f"x{suffix}"
    write_audio(path, sound, rate)
    found = read_audio(path, rate)
    assert found.warnings == ()
    assert abs(len(found.samples) - len(sound)) <= max(1, rate / 1000 if suffix == ".m4a" else 1)
    assert abs(shift(sound, found.samples)) <= 1
    length = min(len(sound), len(found.samples))
    inner = slice(rate // 8, length - rate // 8)
    assert np.corrcoef(sound[inner], found.samples[inner])[0, 1] > 0.98


def test_a_codec_gets_a_rate_that_it_knows(tmp_path: Path) -> None:
    write_audio(tmp_path / "x.mp3", chirp(20000, 17000), 17000)
    assert probe_audio(tmp_path / "x.mp3").sample_rate == 22050
    write_audio(tmp_path / "x.m4a", chirp(200000, 192000), 192000)
    assert probe_audio(tmp_path / "x.m4a").sample_rate == 96000


def test_a_file_that_is_there_stays_unless_it_may_go(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"mine")
    with pytest.raises(MediaError, match=r"x\.wav exists already\. Give another name"):
        write_audio(path, chirp(100, 16000), 16000)
    assert path.read_bytes() == b"mine"
    write_audio(path, chirp(100, 16000), 16000, overwrite=True)
    assert len(read_audio(path).samples) == 100


@pytest.mark.parametrize(
    ("samples", "rate", "name", "said"),
    [
        (np.zeros(10), 16000, "x.xyz", "sound cannot be written as '.xyz'. Known: .wav, .flac"),
        (np.zeros(10), 16000, "x", "sound cannot be written as ''"),
        (np.zeros(10), 10, "x.wav", "a sample rate of 10 Hz"),
        (np.zeros(0), 16000, "x.wav", "there is no sound to write"),
        (np.zeros((2, 10)), 16000, "x.wav", "samples of shape (2, 10) are not mono"),
        (np.array([0, np.nan]), 16000, "x.wav", "sample 1 is nan"),
        (np.zeros(10), 16000, "no/x.wav", "cannot be written: No such file"),
        (np.zeros(10), 2_000_001, "x.flac", "cannot be written"),
    ],
)
def test_what_cannot_be_written(samples: np.ndarray, rate: int, name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        write_audio(tmp_path / name, samples, rate)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.flac"
    write_audio(path, chirp(1000, 16000), 16000)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MediaError, match=r"x\.flac cannot be written: No space left on device"):
        write_audio(path, chirp(2000, 16000), 16000, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.flac"]
