"""An utterance as a picture: what was heard, what the model made of each moment, and the words with their times.

Shapes: T frames of M mels, N steps (what the model puts out, often fewer than frames) of V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.reporting.figures import GREY, new_figure, save_figure
from seqkit.reporting.subtitles import TimedWord

LONGEST = 30.0
"""Seconds that are drawn."""
_LEAST = 0.05
"""The probability that a token must reach to be drawn."""
_INCHES = 1.0
"""Width of a second."""
_SLOT = 0.09
"""Inches that a character of a word takes."""


def save_utterance(
    path: Path,
    spectrogram: np.ndarray,
    posteriors: np.ndarray,
    tokens: Sequence[str],
    *,
    seconds_per_frame: float,
    seconds_per_step: float,
    title: str,
    words: Sequence[TimedWord] = (),
    blank: int = 0,
    seconds: float | None = None,
) -> Path:
    """Draw a log-mel `spectrogram` (T, M) above the probabilities (N, V) of tokens; returns `path`.

    `tokens` (V,) says how each is written. Of audio longer than 30 seconds the beginning is drawn, and the title says
    so. Tokens that never reach 5 % are left out; the blank is the grey line. Words have lines at their start and end.
    `seconds` is the length of the audio, where the arrays hold its beginning only.
    """
    drawn = max(len(spectrogram) * seconds_per_frame, len(posteriors) * seconds_per_step)
    seconds = drawn if seconds is None else max(drawn, seconds)
    if seconds > LONGEST:
        title = f"{title} (the first {LONGEST:g} of {seconds:.1f} seconds)"
        spectrogram = spectrogram[: round(LONGEST / seconds_per_frame)]
        posteriors = posteriors[: round(LONGEST / seconds_per_step)]
        words = [word for word in words if word.start < LONGEST]
        seconds = LONGEST
    width = max(8.0, seconds * _INCHES)
    figure, axes = new_figure(width + 1.0, 6.0, 2, 1)
    heard, made = axes[:, 0]
    _draw_spectrogram(heard, spectrogram, seconds_per_frame)
    _draw_posteriors(made, posteriors, tokens, seconds_per_step, blank)
    for axis, color in ((heard, "white"), (made, GREY)):
        axis.set_xlim(0.0, seconds or 1.0)
        places = {place for word in words for place in (word.start, word.end) if place <= seconds}
        for place in sorted(places):
            axis.axvline(place, color=color, linewidth=0.7, linestyle=":")
    _write_words(heard, words, seconds, width)
    figure.suptitle(title, parse_math=False)
    return save_figure(figure, path)


def _draw_spectrogram(axis: Any, spectrogram: np.ndarray, seconds_per_frame: float) -> None:
    if spectrogram.size:
        frames, mels = spectrogram.shape
        extent = (0.0, frames * seconds_per_frame, 0.0, mels)
        axis.imshow(spectrogram.T, origin="lower", aspect="auto", cmap="magma", extent=extent, interpolation="nearest")
    axis.set(ylabel="mel band")


def _draw_posteriors(
    axis: Any, posteriors: np.ndarray, tokens: Sequence[str], seconds_per_step: float, blank: int
) -> None:
    """A line for each token, with the token at the top of each of its peaks."""
    times = (np.arange(len(posteriors)) + 0.5) * seconds_per_step  # (N,)
    axis.plot(times, posteriors[:, blank], color=GREY, linewidth=0.6, zorder=1)
    drawn = [token for token in range(len(tokens)) if token != blank and (posteriors[:, token] >= _LEAST).any()]
    for token in drawn:
        values, color = posteriors[:, token], f"C{token % 10}"
        axis.plot(times, values, color=color, linewidth=1.1)
        for peak in _peaks(values):
            place = (times[peak], values[peak] + 0.015)
            name = tokens[token].replace(" ", "\N{OPEN BOX}")
            axis.text(*place, name, color=color, ha="center", va="bottom", fontsize=8, parse_math=False)
    axis.set(ylim=(0.0, 1.12), yticks=[0.0, 0.5, 1.0], ylabel="probability", xlabel="seconds")


def _peaks(values: np.ndarray) -> list[int]:
    """The highest step of each stretch (N,) that is drawn."""
    over = np.concatenate([[False], values >= _LEAST, [False]])
    edges = np.flatnonzero(over[1:] != over[:-1]).tolist()  # where a stretch begins, where it ends, and so on
    return [start + int(values[start:end].argmax()) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _write_words(axis: Any, words: Sequence[TimedWord], seconds: float, width: float) -> None:
    """Words above the picture, each over its time; at an angle where they would touch."""
    ends = [*(word.start for word in words[1:]), seconds]
    rooms = [(end - word.start) / (seconds or 1.0) * width for word, end in zip(words, ends, strict=False)]
    crowded = any(len(word.word) * _SLOT > room for word, room in zip(words, rooms, strict=True))
    style = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if crowded else {"ha": "center"}
    for word in words:
        middle = (word.start + min(word.end, seconds)) / 2
        place = {"transform": axis.get_xaxis_transform(), "va": "bottom", "fontsize": 9, "parse_math": False}
        axis.text(middle, 1.02, word.word, **place, **style)
