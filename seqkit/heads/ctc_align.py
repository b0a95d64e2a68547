"""Where known labels stand in time: forced alignment by CTC, and words with times from it.

torchaudio finds the likeliest path through the log-probabilities that spells the labels (Kuerzinger et al. 2020); it
stands here and nowhere else. Shapes: T steps, V labels with the blank, L labels to align.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqkit.data.items import Unusable
from seqkit.heads.ctc import BLANK, steps_needed

_FLOOR = -700.0
"""Log-probabilities below are taken for this one, so that every path has a score; exp of it is still above 0."""
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Begins a sentencepiece that begins a word."""


@dataclass(frozen=True)
class TokenSpan:
    """A label of an alignment: it stands in the steps `start` to `end` (exclusive), with a mean log-probability."""

    id: int
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class WordTime:
    """A word, its start and end in seconds, and in (0, 1] how sure the model is of it."""

    word: str
    start: float
    end: float
    confidence: float


def align(log_probs: Tensor, ids: Sequence[int], blank: int = BLANK) -> list[TokenSpan]:
    """Where each of `ids` (L,) stands on the likeliest path through `log_probs` (T, V), in order.

    Raises Unusable where the labels cannot be emitted in T steps, and ValueError for an id that is the blank or none of
    the V labels.
    """
    if not ids:
        return []
    steps, labels = log_probs.shape
    needed = steps_needed(ids)
    if steps < needed:
        raise Unusable(f"{len(ids)} labels need {needed} steps to be aligned, and there are {steps}")
    if blank in ids or min(ids) < 0 or max(ids) >= labels:
        raise ValueError(f"ids from 0 to {labels - 1} without the blank {blank} can be aligned; these are {list(ids)}")
    return _forced(log_probs.detach().to("cpu", torch.float64).clamp(min=_FLOOR), ids, blank)


def _forced(log_probs: Tensor, ids: Sequence[int], blank: int) -> list[TokenSpan]:
    """torchaudio's alignment of (T, V) float64, which takes a batch of one."""
    from torchaudio.functional import forced_align, merge_tokens

    path, scores = forced_align(log_probs[None].contiguous(), torch.tensor([list(ids)]), blank=blank)  # (1, T) each
    spans = merge_tokens(path[0], scores[0], blank=blank)
    return [TokenSpan(span.token, span.start, span.end, span.score) for span in spans]


def word_times(
    spans: Sequence[TokenSpan],
    tokens: Sequence[str],
    seconds_per_step: float,
    *,
    space: int | None = None,
    spell: Callable[[Sequence[int]], str] | None = None,
    duration: float | None = None,
) -> list[WordTime]:
    """The words that aligned labels spell, with their times.

    Words stand between labels `space`, or, with None, begin with a sentencepiece that has the sign for a space in front
    (and with the first one, whatever it is). `tokens` (V,) says how each label is written; `spell` makes a word of its
    ids where that is more than joining them (pieces of bytes). Times are whole milliseconds, do not overlap, and end
    with the audio's `duration` in seconds, where it is given. A word's confidence is the geometric mean of the
    probabilities of the steps that it was read from; what stands between words has no part in it.
    """
    end = math.inf if duration is None else math.floor(duration * 1000 + 1e-6) / 1000
    words = []
    for group in _grouped(spans, tokens, space):
        ids = [span.id for span in group]
        word = spell(ids) if spell is not None else "".join(tokens[one] for one in ids)
        word = word.replace(_SPACE, " ").strip() if space is None else word
        steps = [span.end - span.start for span in group]
        score = sum(span.score * size for span, size in zip(group, steps, strict=True)) / sum(steps)
        start, stop = (min(round(place * seconds_per_step, 3), end) for place in (group[0].start, group[-1].end))
        words.append(WordTime(word, start, stop, math.exp(min(score, 0.0))))
    return words


def _grouped(spans: Sequence[TokenSpan], tokens: Sequence[str], space: int | None) -> list[list[TokenSpan]]:
    """The spans of each word. A space, and a piece that is nothing but the sign for one, belongs to none."""
    groups: list[list[TokenSpan]] = [[]]
    for span in spans:
        piece = tokens[span.id]
        between = span.id == space if space is not None else piece == _SPACE
        if between or (space is None and piece.startswith(_SPACE)):
            groups.append([])
        if not between:
            groups[-1].append(span)
    return [group for group in groups if group]
