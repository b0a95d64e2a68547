"""Raw samples as they arrive."""

from __future__ import annotations

import io
import os
import sys
import threading

import numpy as np
import pytest

from seqkit.errors import MediaError
from seqkit.media import Resampler, raw_pcm
from seqkit.media.pcm import PCM_FORMATS
from tests.media.sounds import pipe

VALUES = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])


def as_bytes(name: str, values: np.ndarray) -> bytes:
    """The samples in a format, by an independent way: Python's integers and numpy's floats."""
    order = "little" if not name.endswith("be") else "big"
    bits = int("".join(filter(str.isdigit, name)))
    if name[0] == "f":
        return values.astype(f"{'<' if order == 'little' else '>'}f{bits // 8}").tobytes()
    shift = 1 << (bits - 1) if name[0] == "u" else 0
    integers = [int(value * 2 ** (bits - 1)) + shift for value in values]
    return b"".join(i.to_bytes(bits // 8, order, signed=name[0] == "s") for i in integers)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PCM_FORMATS)
@pytest.mark.parametrize("most", [1, 5, 1000])
def test_every_format_in_any_chunks(name: str, most: int) -> None:
    data = as_bytes(name, VALUES)
    found = np.concatenate(list(raw_pcm(pipe(data, most), 16000, format=name)))
    assert found.dtype == np.float32
    assert found.tolist() == VALUES.tolist()


def test_channels_become_their_mean() -> None:
    values = np.random.default_rng(0).integers(-32768, 32768, (500, 3))
    found = np.concatenate(list(raw_pcm(pipe(values.astype("<i2").tobytes(), 7), 16000, 3)))
    assert found.tolist() == (values.mean(axis=1) / 32768).astype(np.float32).tolist()


def test_nothing_waits_for_more_than_has_arrived() -> None:
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as file, os.fdopen(sending, "wb", buffering=0) as source:
        rescue = threading.Timer(5.0, source.close)  # one who waits for more gets the end, and the test fails
        rescue.start()
        pieces = raw_pcm(file, 16000)
        source.write(b"\x00\x40\x00")
        assert next(pieces).tolist() == [0.5]
        source.write(b"\xc0\x00\x20")
        assert next(pieces).tolist() == [-0.5, 0.25]
        rescue.cancel()
        source.close()
        assert list(pieces) == []


def test_a_rate_can_be_wanted() -> None:
    sound = np.random.default_rng(0).standard_normal(5000).astype("<f4")
    resampler = Resampler(44100, 16000)
    expected = np.concatenate([resampler.push(sound), resampler.flush()])
    found = np.concatenate(list(raw_pcm(pipe(sound.tobytes(), 333), 44100, format="f32le", to_rate=16000)))
    assert np.array_equal(found, expected)


def test_a_piece_of_a_sample_at_the_end_is_told_after_all_the_rest() -> None:
    pieces = raw_pcm(pipe(b"\x00\x40\x00\x20\x01", 2), 8000)
    assert [next(pieces).tolist(), next(pieces).tolist()] == [[0.5], [0.25]]
    with pytest.raises(MediaError) as caught:
        next(pieces)
    assert str(caught.value) == (
        "the stream ends within a sample: 1 of its 2 bytes are there, after 0.00 s of sound. "
        "Is it s16le with 1 channel?"
    )


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(MediaError, match=r"'s16' is no format of raw samples\. Did you mean 's16"):
        raw_pcm(io.BytesIO(), 16000, format="s16")
    with pytest.raises(MediaError, match="cannot have 0 channels"):
        raw_pcm(io.BytesIO(), 16000, 0)
    with pytest.raises(MediaError, match="a sample rate of 10 Hz"):
        raw_pcm(io.BytesIO(), 10)
    with pytest.raises(MediaError, match="the stream holds no sound: 0 bytes"):
        list(raw_pcm(io.BytesIO(), 16000))
    bad = np.array([0, np.nan], "<f4").tobytes()
    with pytest.raises(MediaError, match=r"the sample at 0\.001 s is not a number\. Is it f32le\?"):
        list(raw_pcm(io.BytesIO(bad), 1000, format="f32le"))
    with pytest.raises(MediaError, match="it was opened as text"):
        list(raw_pcm(io.StringIO("text"), 16000))  # type: ignore[arg-type]


def test_standard_input_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin(io.BytesIO):
        name = "<stdin>"

    monkeypatch.setattr(sys, "stdin", Stdin())
    with pytest.raises(MediaError, match="<stdin> holds no sound"):
        list(raw_pcm(sys.stdin, 16000))  # type: ignore[arg-type]
