"""Transcripts to look at: every utterance beside its reference, the errors word by word, and the words confused."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seqkit.reporting.figures import BLUE, GREY, ORANGE, new_figure, save_figure
from seqkit.storage import write_bytes

Pair = tuple[str, str | None, str | None]
"""A kind ("equal", "substitute", "delete" or "insert"), a word of the reference and one of the hypothesis."""
_Words = tuple[str | None, str | None]

_SHOWN = 200
"""Utterances whose errors are written out."""
_WIDTH = 100
"""Columns of a line of words."""
_GAP = "***"
_MARKS = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}
_MOST_DRAWN = 15
_LONGEST_WORD = 16


class TranscribedOutcome(Protocol):
    """An evaluated utterance: its item has a `text`, the reference, and its prediction a `text`."""

    @property
    def place(self) -> str: ...  # noqa: D102

    @property
    def item(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def prediction(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class _Utterance:
    place: str
    pairs: Sequence[Pair]

    @property
    def errors(self) -> int:
        return sum(kind != "equal" for kind, _, _ in self.pairs)

    @property
    def words(self) -> int:
        return sum(reference is not None for _, reference, _ in self.pairs)

    @property
    def rate(self) -> float:
        """The word error rate; an empty reference counts as one word."""
        return self.errors / max(self.words, 1)

    def text(self, side: int) -> str:
        """The words of the reference (1) or the hypothesis (2)."""
        return " ".join(pair[side] or "" for pair in self.pairs if pair[side] is not None)


def save_transcripts(
    outcomes: Sequence[TranscribedOutcome], align: Callable[[str, str], Iterable[Pair]], folder: Path, split: str
) -> list[Path]:
    """Write an evaluation's transcripts, the worst first; their errors side by side; and which words were confused.

    `align` lays the words of a reference and of a hypothesis side by side. Returns the paths of the table (columns
    place, wer, errors, words, reference and hypothesis), the errors, the table of words (columns kind, count, reference
    and hypothesis) and its picture.
    """
    utterances = [
        _Utterance(one.place, list(align(str(one.item["text"]), str(one.prediction.text)))) for one in outcomes
    ]
    utterances.sort(key=lambda one: (-one.rate, -one.errors))
    table, errors = folder / f"transcripts-{split}.tsv", folder / f"errors-{split}.txt"
    words, picture = folder / f"confused-words-{split}.tsv", folder / f"confused-words-{split}.png"
    rows = ["place\twer\terrors\twords\treference\thypothesis"]
    for one in utterances:
        rows.append(f"{one.place}\t{one.rate:.4f}\t{one.errors}\t{one.words}\t{one.text(1)}\t{one.text(2)}")
    write_bytes(table, ("\n".join(rows) + "\n").encode())
    write_bytes(errors, _errors(utterances).encode())
    counts = {
        kind: Counter(pair[1:] for one in utterances for pair in one.pairs if pair[0] == kind)
        for kind in ("substitute", "delete", "insert")
    }
    rows = ["kind\tcount\treference\thypothesis"]
    for kind, found in counts.items():
        rows += [f"{kind}\t{count}\t{pair[0] or ''}\t{pair[1] or ''}" for pair, count in _most(found)]
    write_bytes(words, ("\n".join(rows) + "\n").encode())
    return [table, errors, words, _save_picture(counts, picture, split)]


def _most(counts: Counter[_Words]) -> list[tuple[_Words, int]]:
    """The most frequent first; of equally frequent ones in the order of the alphabet, whatever order they came in."""
    return sorted(counts.items(), key=lambda entry: (-entry[1], [word or "" for word in entry[0]]))


# Errors, word by word ------------------------------------------------------------------------------------------------


def _errors(utterances: Sequence[_Utterance]) -> str:
    """Utterances with an error, reference above hypothesis, a mark under each error."""
    wrong = [one for one in utterances if one.errors]
    right = len(utterances) - len(wrong)
    lines = [
        f"{len(wrong)} of {len(utterances)} utterances have an error, the worst first; {right} have none.",
        f"S a word substituted, D deleted, I inserted; {_GAP} stands where the other side has a word.",
    ]
    for one in wrong[:_SHOWN]:
        lines += ["", f"{one.place}  wer {one.rate:.4f}: {one.errors} of {one.words} words"]
        lines += _side_by_side(one.pairs)
    if len(wrong) > _SHOWN:
        lines += ["", f"{len(wrong) - _SHOWN} more have an error; the table of transcripts has them all."]
    return "\n".join(lines) + "\n"


def _side_by_side(pairs: Sequence[Pair]) -> list[str]:
    """REF, HYP and marks, a column for each pair; cut into blocks of columns that a screen has room for."""
    blocks: list[list[list[str]]] = [[["REF:"], ["HYP:"], ["    "]]]
    used = 4
    for kind, reference, hypothesis in pairs:
        cells = [_GAP if reference is None else reference, _GAP if hypothesis is None else hypothesis, _MARKS[kind]]
        width = max(map(_columns, cells))
        if used + 1 + width > _WIDTH and len(blocks[-1][0]) > 1:
            blocks.append([["REF:"], ["HYP:"], ["    "]])
            used = 4
        for row, cell in zip(blocks[-1], cells, strict=True):
            row.append(cell + " " * (width - _columns(cell)))
        used += 1 + width
    lines = [" ".join(row).rstrip() for block in blocks for row in block]
    return [line for line in lines if line]


def _columns(text: str) -> int:
    """The columns that a text takes on a terminal: two for a wide character, none for a combining one."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(unicodedata.combining(one) != 0 for one in text)


# The picture ---------------------------------------------------------------------------------------------------------


def _save_picture(counts: dict[str, Counter[_Words]], path: Path, split: str) -> Path:
    """Draw the most frequent errors of each kind as bars."""
    titles = {"substitute": "taken for another", "delete": "left out", "insert": "put in"}
    colors = {"substitute": BLUE, "delete": ORANGE, "insert": GREY}
    drawn = {kind: _most(found)[:_MOST_DRAWN] for kind, found in counts.items()}
    rows = max(3, *(len(entries) for entries in drawn.values()))
    figure, axes = new_figure(13.0, 1.4 + 0.26 * rows, 1, 3)
    for axis, (kind, entries) in zip(axes[0], drawn.items(), strict=True):
        names = [
            " \N{RIGHTWARDS ARROW} ".join(_short(word) for word in pair if word is not None) for pair, _ in entries
        ]
        values = [count for _, count in entries]
        bars = axis.barh(range(len(entries)), values, color=colors[kind])
        axis.bar_label(bars, padding=2, fontsize=8)
        axis.set_yticks(range(len(entries)), names, parse_math=False, fontsize=9)
        axis.set(ylim=(rows - 0.5, -0.5), xlim=(0, 1.15 * max(values, default=1)), xticks=[])
        axis.set_title(f"{titles[kind]}: {counts[kind].total():,}")
        axis.spines["bottom"].set_visible(False)
        axis.tick_params(length=0)
    figure.suptitle(f"{split}: which words were confused, and how often")
    return save_figure(figure, path)


def _short(word: str) -> str:
    return word if len(word) <= _LONGEST_WORD else word[: _LONGEST_WORD - 1] + "\N{HORIZONTAL ELLIPSIS}"
