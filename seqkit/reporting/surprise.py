"""Where a language model is surprised: token by token in a passage, by place and frequency, and line by line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from seqkit.reporting.figures import BLUE, GREY, new_figure, save_figure
from seqkit.storage import write_bytes

_COLUMNS, _ROWS = 100, 24
_MOST_LINES = 100
_LEAST_TOKENS = 5
_PLACES = 40
_FREQUENCIES = (1, 2, 10, 100, 1000)
_DARKEST = 6.0
"""Nats of the darkest shade."""
_SPACE, _LINE_END = "\N{MIDDLE DOT}", "\N{PILCROW SIGN}"


def save_passage(ids: Sequence[int], nats: np.ndarray, shown: Callable[[int], str], path: Path, *, title: str) -> Path:
    """Draw the beginning of a text (N,) with each token shaded by its nats (N,); `shown` is a token as it is written.

    The end of a line shows as a pilcrow, a space that a token begins with as a gap.
    """
    figure, axes = new_figure(11.0, 5.2)
    axis = axes[0, 0]
    colors = _colors(nats[: _COLUMNS * _ROWS])
    column = row = 0
    for token, color in zip(ids, colors, strict=False):
        written = shown(int(token))
        text = written.strip(" ") or _SPACE
        ends = text == "\n"
        text = _LINE_END if ends else text.replace("\n", _LINE_END)[:_COLUMNS]
        column += int(written.startswith(" ") and bool(written.strip()) and column > 0)
        if column + len(text) > _COLUMNS:
            column, row = 0, row + 1
        if row >= _ROWS:
            break
        axis.fill([column, column + len(text), column + len(text), column], [row, row, row + 1, row + 1], color=color)
        for place, character in enumerate(text):
            middle = (column + place + 0.5, row + 0.55)
            axis.text(*middle, character, ha="center", va="center", family="monospace", fontsize=8.5, parse_math=False)
        column, row = (0, row + 1) if ends else (column + len(text), row)
    axis.set(xlim=(0, _COLUMNS), ylim=(min(row + 1, _ROWS), 0), xticks=[], yticks=[])
    axis.set_title(f"{title}: the darker, the more surprising (white 0, dark {_DARKEST:g} nats and more)")
    axis.spines[:].set_visible(False)
    return save_figure(figure, path)


def _colors(nats: np.ndarray) -> np.ndarray:
    """A shade of orange (N, 3) for each number of nats."""
    share = np.clip(nats / _DARKEST, 0.0, 1.0)[:, None]
    return np.asarray(1.0 - share * (1.0 - np.array([0.96, 0.5, 0.2])))


def save_nats(ids: np.ndarray, nats: np.ndarray, ends: np.ndarray, path: Path, *, title: str) -> Path:
    """Draw the mean nats (N,) of a text's tokens by their place in the line, and by how often they stand in the text.

    `ends` (lines,) counts the tokens up to the end of each line.
    """
    figure, axes = new_figure(10.0, 3.6, 1, 2)
    by_place, by_frequency = axes[0]
    starts = np.concatenate([[0], ends[:-1]])
    place = np.arange(len(nats)) - np.repeat(starts, ends - starts)  # (N,)
    counts = np.bincount(place)[:_PLACES]
    means = np.bincount(place, weights=nats)[:_PLACES] / np.maximum(counts, 1)
    by_place.plot(np.arange(1, len(means) + 1), means, color=BLUE, marker="o", markersize=3)
    by_place.axhline(nats.mean(), color=GREY, linewidth=1)
    by_place.set(
        title=f"{title}: by place in the line", xlabel="token of the line", ylabel="nats a token", ylim=(0, None)
    )
    _, inverse, times = np.unique(ids, return_inverse=True, return_counts=True)
    group = np.searchsorted(_FREQUENCIES, times[inverse], side="right") - 1  # (N,)
    sizes = np.bincount(group, minlength=len(_FREQUENCIES))
    heights = np.bincount(group, weights=nats, minlength=len(_FREQUENCIES)) / np.maximum(sizes, 1)
    bars = by_frequency.bar(np.arange(len(sizes)), heights, color=BLUE)
    by_frequency.bar_label(bars, [f"{size / len(nats):.0%}" for size in sizes])
    by_frequency.axhline(nats.mean(), color=GREY, linewidth=1)
    names = ["once", "2-9", "10-99", "100-999", "1000+"]
    by_frequency.set_xticks(range(len(names)), names)
    by_frequency.set(title="by how often the token stands here", ylabel="nats a token")
    by_frequency.set_xlabel("times in the text; above the bar, the share of all tokens")
    return save_figure(figure, path)


def save_surprising_lines(
    ids: np.ndarray, nats: np.ndarray, ends: np.ndarray, decode: Callable[[np.ndarray], str], path: Path
) -> Path:
    """Write the lines with the most nats a token as TSV, the most surprising first; short lines only where all are.

    `ids` and `nats` are of (N,) tokens; `ends` (lines,) counts the tokens up to the end of each line.
    """
    starts = np.concatenate([[0], ends[:-1]])
    sizes = ends - starts
    totals = np.add.reduceat(nats, starts)
    means = np.where(sizes >= min(_LEAST_TOKENS, sizes.max()), totals / sizes, -np.inf)
    rows = ["line\tnats_per_token\ttokens\ttext"]
    for line in np.argsort(-means, kind="stable")[:_MOST_LINES]:
        if np.isfinite(means[line]):
            text = " ".join(decode(ids[starts[line] : ends[line]]).split())
            rows.append(f"{line + 1}\t{means[line]:.4f}\t{sizes[line]}\t{text}")
    write_bytes(path, ("\n".join(rows) + "\n").encode())
    return path
