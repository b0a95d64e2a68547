"""Subtitles: what is in them can be read back, in time, in order, in lines that fit."""

from __future__ import annotations

import html
import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import pytest

from seqkit.reporting.subtitles import LINE, LONGEST, PAUSE, SHORTEST, Format, segment_subtitles, subtitles

FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Word:
    """A word in time."""

    word: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """A label in time."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Cue:
    """What a player shows."""

    start: float
    end: float
    lines: list[str]


def _seconds(stamp: str, format: Format) -> float:
    mark = "," if format == "srt" else r"\."
    found = re.fullmatch(rf"(\d\d+):([0-5]\d):([0-5]\d){mark}(\d\d\d)", stamp)
    assert found, stamp
    hours, minutes, seconds, rest = map(int, found.groups())
    return 3600 * hours + 60 * minutes + seconds + rest / 1000


def _read(text: str, format: Format) -> list[Cue]:
    """Read a file as its format says: blocks with an empty line between."""
    assert text == "" or (text.endswith("\n") and not text.endswith("\n\n"))
    blocks = [block.split("\n") for block in text.removesuffix("\n").split("\n\n")] if text else []
    if format == "vtt":
        assert blocks.pop(0) == ["WEBVTT"]
    cues = []
    for number, block in enumerate(blocks, 1):
        if format == "srt":
            assert block.pop(0) == str(number)
        times, *lines = block
        start, end = (_seconds(stamp, format) for stamp in times.split(" --> "))
        assert start < end
        assert lines
        assert all(lines)
        cues.append(Cue(start, end, [html.unescape(line) if format == "vtt" else line for line in lines]))
    return cues


def _words(text: str, *, start: float = 0.0, each: float = 0.3, gap: float = 0.1) -> list[Word]:
    starts = [start + number * (each + gap) for number in range(len(text.split()))]
    return [Word(word, begin, begin + each) for word, begin in zip(text.split(), starts, strict=True)]


def _speech(seed: int) -> list[Word]:
    """Words of all lengths, at all speeds, with pauses."""
    rng = random.Random(seed)
    words, now = [], rng.random() * 5000
    for _ in range(200):
        now += rng.choice((0.0, 0.05, 0.2, 0.59, 0.61, 3.0))
        length = rng.choice((1, 2, 4, 8, 12, 50)) if rng.random() < 0.2 else rng.randint(1, 9)
        end = now + rng.choice((0.02, 0.1, 0.4, 1.0))
        words.append(Word("x" * length, now, end))
        now = end
    return words


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("seed", range(6))
def test_cues_hold_every_word_in_its_time_and_can_be_read(seed: int, format: Format) -> None:
    words = _speech(seed)
    cues = _read(subtitles(words, format), format)
    assert " ".join(" ".join(cue.lines) for cue in cues).split() == [word.word for word in words]
    rest = list(words)
    for cue, following in zip(cues, [*cues[1:], None], strict=True):
        inside = [rest.pop(0) for _ in " ".join(cue.lines).split()]
        assert cue.start == pytest.approx(inside[0].start, abs=6e-4)
        assert cue.end >= inside[-1].end - 6e-4
        assert cue.end - cue.start <= LONGEST + 2e-3
        assert len(cue.lines) <= 2
        assert all(len(line) <= LINE or " " not in line for line in cue.lines)
        assert all(b.start - a.end < PAUSE for a, b in itertools.pairwise(inside))
        if following is not None:
            assert cue.end <= following.start
        if following is None or following.start - cue.start > SHORTEST:
            assert cue.end - cue.start >= SHORTEST - 2e-3
    assert len(cues) < len(words) / 2


@pytest.mark.parametrize(("format", "nothing"), [("srt", ""), ("vtt", "WEBVTT\n")])
def test_without_a_word_there_is_no_cue(format: Format, nothing: str) -> None:
    assert subtitles([], format) == nothing
    assert subtitles([Word(" ", 0.0, 1.0)], format) == nothing
    assert segment_subtitles([], format) == nothing
    assert segment_subtitles([Segment("", 0.0, 1.0)], format) == nothing


def test_files_are_as_players_expect_them() -> None:
    words = [Word("hello", 0.5, 0.9), Word("you", 1.0, 1.4), Word("there", 3661.25, 3662.0)]
    assert subtitles(words, "srt") == (
        "1\n00:00:00,500 --> 00:00:01,400\nhello you\n\n2\n01:01:01,250 --> 01:01:02,000\nthere\n"
    )
    assert subtitles(words, "vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.400\nhello you\n\n01:01:01.250 --> 01:01:02.000\nthere\n"
    )


def test_times_are_rounded_before_they_are_divided() -> None:
    """59.9996 seconds are a minute, and no 60 seconds."""
    text = subtitles([Word("a", 59.9996, 3599.99951), Word("b", 360_000.0, 360_001.0)], "srt")
    assert "00:01:00,000 --> 00:01:07,000" in text
    assert "100:00:00,000 --> 100:00:01,000" in text


@pytest.mark.parametrize(("gap", "count"), [(PAUSE - 0.01, 1), (PAUSE + 0.01, 2)])
def test_a_pause_ends_a_cue(gap: float, count: int) -> None:
    assert len(_read(subtitles(_words("a b", gap=gap), "srt"), "srt")) == count


def test_a_line_is_broken_in_the_middle() -> None:
    (cue,) = _read(subtitles(_words("one two three four five six seven eight nine ten"), "srt"), "srt")
    assert cue.lines == ["one two three four five", "six seven eight nine ten"]
    (short,) = _read(subtitles(_words("one two three four five six seven eight n"), "srt"), "srt")
    assert short.lines == ["one two three four five six seven eight n"]


def test_a_short_word_stands_longer_where_there_is_room() -> None:
    words = [Word("a", 0.0, 0.1), Word("b", 0.7 + 0.1, 0.9), Word("c", 5.0, 5.1)]
    cues = _read(subtitles(words, "srt"), "srt")
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 0.7), (0.8, 1.5), (5.0, 5.7)]
    crowded = [Word("x" * LINE, 0.0, 0.1), Word("y" * LINE, 0.2, 0.3), Word("z" * LINE, 0.4, 0.5)]
    cues = _read(subtitles(crowded, "srt"), "srt")
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 0.4), (0.4, 1.1)]


@pytest.mark.parametrize(
    "write",
    [
        lambda text: subtitles([Word(text, 0.0, 1.0)], "vtt"),
        lambda text: segment_subtitles([Segment(text, 0.0, 1.0)], "vtt"),
    ],
)
def test_signs_that_mean_something_to_a_player_are_escaped(write: object) -> None:
    assert callable(write)
    text = write('<b>R&D --> x</b> &amp; "q"')
    assert '&lt;b&gt;R&amp;D --&gt; x&lt;/b&gt; &amp;amp; "q"' in text
    assert text.count("-->") == 1


def test_an_empty_line_in_a_text_does_not_end_its_cue() -> None:
    for format in FORMATS:
        (cue,) = _read(segment_subtitles([Segment("a\n\nb\r\n", 0.0, 1.0)], format), format)
        assert cue.lines == ["a b"]


@pytest.mark.parametrize("format", FORMATS)
def test_segments_are_a_cue_each_as_long_as_they_are(format: Format) -> None:
    """Long ones, short ones, and ones at the same time: two things can go on at once."""
    segments: Sequence[Segment] = [
        Segment("jump", 0.0, 20.0),
        Segment("jump", 20.0, 20.1),
        Segment("wave hands " * 9, 5.5, 6.0),
        Segment("rest", 30.0, 30.0),
    ]
    cues = _read(segment_subtitles(segments, format), format)
    assert [cue.lines for cue in cues] == [["jump"], ["jump"], [("wave hands " * 9).strip()], ["rest"]]
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 20.0), (20.0, 20.1), (5.5, 6.0), (30.0, 30.001)]
