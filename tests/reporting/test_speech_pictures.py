"""The picture of an utterance: what is drawn where, of short and long and no audio."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.reporting.speech import LONGEST, save_utterance

TOKENS = ["<blank>", " ", "a", "b", "$x$"]


@dataclass(frozen=True)
class Word:
    """A word in time."""

    word: str
    start: float
    end: float


def _posteriors(steps: int) -> np.ndarray:
    """Nearly all blank; "a" has two peaks, " " one, "b" and "$x$" none worth drawing."""
    posteriors = np.full((steps, len(TOKENS)), 0.01)
    for step, token, value in [(2, 2, 0.9), (3, 2, 0.6), (7, 2, 0.5), (5, 1, 0.06)]:
        posteriors[step % steps, token] = value
    posteriors[:, 3] = 0.049
    posteriors[:, 0] = 1.0 - posteriors[:, 1:].sum(axis=1)
    return posteriors


def _save(path: Path, seconds: float, words: list[Word], title: str = "talk.wav") -> Path:
    spectrogram = np.random.default_rng(0).normal(size=(round(seconds * 100), 20))
    posteriors = _posteriors(round(seconds * 25))
    return save_utterance(
        path,
        spectrogram,
        posteriors,
        TOKENS,
        seconds_per_frame=0.01,
        seconds_per_step=0.04,
        title=title,
        words=words,
    )


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, kept instead."""
    kept: list[Any] = []

    def save(figure: Any, path: Path) -> Path:
        kept.append(figure)
        return path

    monkeypatch.setattr("seqkit.reporting.speech.save_figure", save)
    return kept


def _texts(axis: Any) -> list[tuple[str, float, float]]:
    return [(text.get_text(), *(round(place, 3) for place in text.get_position())) for text in axis.texts]


def test_tokens_are_written_at_their_peaks_and_unlikely_ones_left_out(tmp_path: Path, figures: list[Any]) -> None:
    _save(tmp_path / "one.png", 1.0, [])
    _, made = figures[0].axes
    assert sorted(_texts(made)) == [("a", 0.1, 0.915), ("a", 0.3, 0.515), ("\N{OPEN BOX}", 0.22, 0.075)]
    blank, space, a = (line.get_ydata() for line in made.lines)
    np.testing.assert_array_equal(blank, _posteriors(25)[:, 0])
    np.testing.assert_array_equal(space, _posteriors(25)[:, 1])
    np.testing.assert_array_equal(a, _posteriors(25)[:, 2])
    assert made.lines[0].get_xdata()[0] == pytest.approx(0.02)


def test_words_have_their_name_and_lines_at_both_ends(tmp_path: Path, figures: list[Any]) -> None:
    _save(tmp_path / "one.png", 2.0, [Word("a", 0.1, 0.5), Word("$x$", 0.5, 1.2)])
    heard, made = figures[0].axes
    assert _texts(heard) == [("a", 0.3, 1.02), ("$x$", 0.85, 1.02)]
    for axis in (heard, made):
        lines = sorted(line.get_xdata()[0] for line in axis.lines if len(line.get_xdata()) == 2)
        assert lines == [0.1, 0.5, 1.2]
        assert axis.get_xlim() == (0.0, 2.0)
    (image,) = heard.images
    assert image.get_extent() == [0.0, 2.0, 0.0, 20.0]
    assert image.get_array().shape == (20, 200)


def test_crowded_words_stand_at_an_angle(tmp_path: Path, figures: list[Any]) -> None:
    words = [Word("extraordinarily", n / 4, n / 4 + 0.2) for n in range(8)]
    _save(tmp_path / "one.png", 2.0, words)
    _save(tmp_path / "two.png", 2.0, [Word("a", 0.1, 0.5), Word("b", 1.0, 1.2)])
    assert [{text.get_rotation() for text in figure.axes[0].texts} for figure in figures] == [{45.0}, {0.0}]


def test_of_long_audio_the_beginning_is_drawn_and_the_title_says_so(tmp_path: Path, figures: list[Any]) -> None:
    words = [Word("first", 1.0, 2.0), Word("over", 29.5, 30.5), Word("late", 31.0, 32.0)]
    _save(tmp_path / "one.png", 42.5, words, title="$talk$.wav")
    _save(tmp_path / "two.png", LONGEST, words[:1])
    long, short = figures
    assert long.get_suptitle() == "$talk$.wav (the first 30 of 42.5 seconds)"
    assert short.get_suptitle() == "talk.wav"
    heard, made = long.axes
    assert heard.get_xlim() == (0.0, LONGEST)
    assert heard.images[0].get_array().shape == (20, 3000)
    assert len(made.lines[0].get_xdata()) == 750
    assert [text for text, *_ in _texts(heard)] == ["first", "over"]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("title", ["talk.wav", "$x^{$.wav", "猫 🙂.wav"])
def test_a_picture_is_the_same_each_time(tmp_path: Path, title: str) -> None:
    words = [Word("$x^{$", 0.1, 0.5), Word("猫", 0.6, 0.7)]
    first = _save(tmp_path / "one.png", 1.5, words, title=title).read_bytes()
    assert first.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", first[16:24])
    assert 1000 < width < 1500
    assert 500 < height < 1000
    assert _save(tmp_path / "two.png", 1.5, words, title=title).read_bytes() == first


def test_no_audio_is_drawn_too(tmp_path: Path) -> None:
    nothing = save_utterance(
        tmp_path / "one.png",
        np.zeros((0, 20)),
        np.zeros((0, len(TOKENS))),
        TOKENS,
        seconds_per_frame=0.01,
        seconds_per_step=0.04,
        title="empty.wav",
    )
    assert nothing.stat().st_size > 1000


def test_of_the_beginning_of_long_audio_later_words_are_left_out(tmp_path: Path, figures: list[Any]) -> None:
    save_utterance(
        tmp_path / "one.png",
        np.zeros((round(LONGEST * 100), 20)),
        _posteriors(round(LONGEST * 25)),
        TOKENS,
        seconds_per_frame=0.01,
        seconds_per_step=0.04,
        title="talk.wav",
        words=[Word("in", 1.0, 1.5), Word("out", 100.0, 101.0)],
        seconds=120.0,
    )
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["in"]
    assert "of 120.0 seconds" in figures[0].get_suptitle()
