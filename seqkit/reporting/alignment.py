"""Translations to look at: where the attention went for each word, and the outputs beside their references."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seqkit.reporting.figures import new_figure, save_figure
from seqkit.storage import disk_errors, write_bytes

_SHOWN = 4
"""Sentences of an evaluation that are drawn."""
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_MOST_TOKENS = 60
"""Tokens of a side that a picture has room for; what is beyond is cut off."""


class AlignmentLike(Protocol):
    """Tokens of a source (S) and a target (T), and the attention's weights (T, S)."""

    @property
    def source(self) -> list[str]: ...  # noqa: D102

    @property
    def target(self) -> list[str]: ...  # noqa: D102

    @property
    def weights(self) -> np.ndarray: ...  # noqa: D102


class TranslatedOutcome(Protocol):
    """An evaluated pair: its item has a `source` and a `target`, its prediction a `text` and an `alignment`."""

    @property
    def place(self) -> str: ...  # noqa: D102

    @property
    def item(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def prediction(self) -> Any: ...  # noqa: D102


def save_alignment(alignment: AlignmentLike, folder: Path) -> Path:
    """Draw where the attention went: a row for each token written, a column for each token of the source.

    The folder is made where it is missing, and the picture has the first free name of alignment-1.png, alignment-2.png
    and so on. Raises RunError where it cannot be written.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    names = (folder / f"alignment-{number}.png" for number in itertools.count(1))
    path = next(path for path in names if not path.exists())
    source, target = _shown(alignment.source), _shown(alignment.target)
    figure, axes = new_figure(1.6 + 0.32 * len(source), 1.4 + 0.27 * len(target))
    _draw(axes[0, 0], source, target, alignment.weights)
    return save_figure(figure, path)


def save_alignments(alignments: Sequence[AlignmentLike], path: Path, *, title: str) -> Path:
    """Draw several in one picture, two in a row."""
    rows = (len(alignments) + 1) // 2
    tokens = max(max(len(one.source), len(one.target)) for one in alignments)
    side = 1.6 + 0.3 * min(tokens, _MOST_TOKENS)
    figure, axes = new_figure(2 * side, rows * side + 0.4, rows, 2)
    for axis in axes.flat[len(alignments) :]:
        axis.set_axis_off()
    for axis, one in zip(axes.flat, alignments, strict=False):
        _draw(axis, _shown(one.source), _shown(one.target), one.weights)
    figure.suptitle(title)
    return save_figure(figure, path)


def _draw(axis: Any, source: Sequence[str], target: Sequence[str], weights: np.ndarray) -> None:
    axis.imshow(weights[: len(target), : len(source)], cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axis.set_xticks(range(len(source)), source, rotation=60, ha="left", rotation_mode="anchor", parse_math=False)
    axis.set_yticks(range(len(target)), target, parse_math=False)
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelsize=9)


def _shown(tokens: Sequence[str]) -> list[str]:
    """Tokens as they are read: a piece that goes on with a word has a hyphen in front, the end is a sign."""
    pieces = any(token.startswith(_SPACE) for token in tokens)
    shown = []
    for token in tokens[:_MOST_TOKENS]:
        text = token.removeprefix(_SPACE) or " "
        goes_on = pieces and not token.startswith(_SPACE) and token != "<eos>"
        shown.append("\N{BULLET}" if token == "<eos>" else f"-{text}" if goes_on else text)
    return shown


def save_translations(
    outcomes: Sequence[TranslatedOutcome], score: Callable[[str, str], float], folder: Path, split: str
) -> list[Path]:
    """Write an evaluation's attention pictures, of sentences of middle length, and its translations, the worst first.

    `score` compares a translation with its reference. The table has the columns place, score, source, reference and
    translation.
    """
    by_length = sorted(outcomes, key=lambda outcome: len(outcome.prediction.alignment.source))
    middle = by_length[max(0, len(by_length) // 2 - _SHOWN // 2) :][:_SHOWN]
    title = f"{split}: where the model looked in the source (above) for each word that it wrote (left)"
    picture = save_alignments(
        [outcome.prediction.alignment for outcome in middle], folder / f"attention-{split}.png", title=title
    )
    scored = []
    for outcome in outcomes:
        target, text = outcome.item["target"], outcome.prediction.text
        worth = score(text, target)
        cells = (" ".join(cell.split()) for cell in (outcome.item["source"], target, text))
        scored.append((worth, "\t".join([outcome.place, f"{worth:.1f}", *cells])))
    scored.sort(key=lambda pair: pair[0])
    lines = ["place\tscore\tsource\treference\ttranslation", *(line for _, line in scored)]
    table = folder / f"translations-{split}.tsv"
    write_bytes(table, ("\n".join(lines) + "\n").encode())
    return [picture, table]
