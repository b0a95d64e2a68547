"""Subtitles: timed words cut into cues that can be read, or labelled segments as a cue each, as SRT or WebVTT."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Format = Literal["srt", "vtt"]

PAUSE = 0.6
"""Seconds of silence that end a cue."""
LINE = 42
"""Characters of a line; only a longer word has more."""
LONGEST, SHORTEST = 7.0, 0.7
"""Seconds that a cue stands at most; and at least, where the next one leaves room."""


class TimedWord(Protocol):
    """A word with its start and end in seconds."""

    @property
    def word(self) -> str: ...  # noqa: D102

    @property
    def start(self) -> float: ...  # noqa: D102

    @property
    def end(self) -> float: ...  # noqa: D102


class TimedLabel(Protocol):
    """A label with the start and end of its segment in seconds."""

    @property
    def label(self) -> str: ...  # noqa: D102

    @property
    def start(self) -> float: ...  # noqa: D102

    @property
    def end(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class _Cue:
    """What is shown from one time to another."""

    lines: Sequence[str]
    start: float
    end: float


def subtitles(words: Sequence[TimedWord], format: Format) -> str:
    """Words, in order, as the text of a subtitle file: "" (SRT) or a header alone (WebVTT) where there is none.

    A cue ends at a pause, where two lines are full, or where it would stand too long. The line is broken where both
    halves are of one length.
    """
    cues = []
    groups = _groups([word for word in words if word.word.strip()])
    next_starts = [*(group[0].start for group in groups[1:]), math.inf]
    for group, next_start in zip(groups, next_starts, strict=False):
        start = group[0].start
        end = min(max(group[-1].end, start + SHORTEST), start + LONGEST)
        end = min(end, next_start) if next_start > start else end
        cues.append(_Cue(_broken([_flat(word.word) for word in group]), start, end))
    return _written(cues, format)


def segment_subtitles(segments: Sequence[TimedLabel], format: Format) -> str:
    """Labelled segments as the text of a subtitle file, one cue each, as long as the segment is."""
    cues = [_Cue([_flat(one.label)], one.start, one.end) for one in segments if one.label.strip()]
    return _written(cues, format)


def _groups(words: Sequence[TimedWord]) -> list[list[TimedWord]]:
    """The words of each cue."""
    groups: list[list[TimedWord]] = []
    for word in words:
        group = groups[-1] if groups else []
        fits = bool(group) and _fit([*(_flat(one.word) for one in group), _flat(word.word)])
        if fits and word.start - group[-1].end < PAUSE and word.end - group[0].start <= LONGEST:
            group.append(word)
        else:
            groups.append([word])
    return groups


def _flat(text: str) -> str:
    """A text on one line: an empty line within would end its cue."""
    return " ".join(text.split())


def _fit(words: Sequence[str]) -> bool:
    """Whether words fit on two lines. A word that is longer than a line has a cue of its own."""
    return all(len(line) <= LINE for line in _broken(words))


def _broken(words: Sequence[str]) -> list[str]:
    """Words on one line, or else on two whose longer one is as short as can be."""
    whole = " ".join(words)
    if len(whole) <= LINE or len(words) == 1:
        return [whole]
    halves = [[" ".join(words[:place]), " ".join(words[place:])] for place in range(1, len(words))]
    return min(halves, key=lambda lines: max(map(len, lines)))


def _written(cues: Sequence[_Cue], format: Format) -> str:
    parts = ["WEBVTT"] if format == "vtt" else []
    for number, cue in enumerate(cues, 1):
        start = round(cue.start * 1000)
        end = max(round(cue.end * 1000), start + 1)  # a cue of no length is not valid
        times = f"{_timestamp(start, format)} --> {_timestamp(end, format)}"
        if format == "vtt":
            # "-->" must not stand in a text, so that > is escaped with & and <.
            parts.append("\n".join([times, *(html.escape(line, quote=False) for line in cue.lines)]))
        else:
            parts.append("\n".join([str(number), times, *cue.lines]))
    return "\n\n".join(parts) + "\n" if parts else ""


def _timestamp(milliseconds: int, format: Format) -> str:
    """HH:MM:SS,mmm (SRT) or HH:MM:SS.mmm (WebVTT)."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{',' if format == 'srt' else '.'}{rest:03}"
