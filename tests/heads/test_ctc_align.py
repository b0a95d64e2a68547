"""Forced alignment against all alignments there are, and the words that labels spell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from seqkit.data.items import Unusable
from seqkit.heads.ctc_align import TokenSpan, WordTime, align, word_times

CHARACTERS = ["<blank>", " ", *"abcdefghijklmnopqrstuvwxyz"]
PIECES = ["<blank>", "\u2581", "\u2581the", "\u2581c", "at", "s", "\u2581a"]


def _log_probs(steps: int, labels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2.0 * torch.randn(steps, labels, generator=generator)).log_softmax(dim=-1)


def _paths(ids: Sequence[int], steps: int, labels: int, blank: int) -> Iterator[tuple[int, ...]]:
    """Every path of a label a step that spells `ids`."""
    for path in itertools.product(range(labels), repeat=steps):
        if [label for label, _ in itertools.groupby(path) if label != blank] == list(ids):
            yield path


def _spans(path: Sequence[int], blank: int) -> list[tuple[int, int, int]]:
    spans, start = [], 0
    for label, group in itertools.groupby(path):
        size = len(list(group))
        if label != blank:
            spans.append((label, start, start + size))
        start += size
    return spans


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 0], [1, 0, 0], [0, 1, 1, 0]])
def test_the_likeliest_of_all_paths_is_found(labels: list[int], blank: int, seed: int) -> None:
    ids = [label if label < blank else label + 1 for label in labels]  # 0 and 1 for the two that are no blank
    log_probs = _log_probs(6, 3, seed)
    best = max(_paths(ids, 6, 3, blank), key=lambda path: sum(float(log_probs[t, v]) for t, v in enumerate(path)))
    spans = align(log_probs, ids, blank)
    assert [(span.id, span.start, span.end) for span in spans] == _spans(best, blank)
    for span in spans:
        assert span.score == pytest.approx(float(log_probs[span.start : span.end, span.id].mean()), abs=1e-6)


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_labels_that_fill_every_step_are_aligned_and_one_more_is_refused(steps: int) -> None:
    ids = [1, 1, 2, 3, 1][: steps - 1]  # a repeat needs a blank between
    spans = align(_log_probs(steps, 4, 0), ids)
    assert [span.start for span in spans] == [0, 2, 3, 4][: len(ids)]
    with pytest.raises(
        Unusable, match=rf"{len(ids)} labels need {steps} steps to be aligned, and there are {steps - 1}"
    ):
        align(_log_probs(steps - 1, 4, 0), ids)


def test_nothing_to_align_and_nothing_to_align_it_with() -> None:
    assert align(_log_probs(5, 3, 0), []) == []
    assert align(torch.empty(0, 3), []) == []
    assert word_times([], CHARACTERS, 0.04, space=1) == []
    with pytest.raises(Unusable, match="1 labels need 1 steps to be aligned, and there are 0"):
        align(torch.empty(0, 3), [1])


@pytest.mark.parametrize("ids", [[0], [1, 0], [3], [-1]])
def test_what_is_no_label_is_refused(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="from 0 to 2 without the blank 0"):
        align(_log_probs(5, 3, 0), ids)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_labels_without_any_probability_are_still_placed_in_order(dtype: torch.dtype) -> None:
    log_probs = torch.full((6, 4), -math.inf, dtype=dtype)
    log_probs[:, 0] = 0.0
    spans = align(log_probs, [1, 2, 2, 3])
    assert [span.id for span in spans] == [1, 2, 2, 3]
    words = word_times(spans, CHARACTERS, 0.04, space=1)
    assert all(0.0 < word.confidence <= 1.0 for word in words)


def test_ten_thousand_steps_are_aligned_to_the_step() -> None:
    """Sums over long audio lose nothing of what decides."""
    steps = 10_000
    log_probs = torch.full((steps, 3), -12.0)
    log_probs[:, 0] = -1e-5
    places = list(range(7, steps, 50))
    log_probs[places, 1] = -0.6
    log_probs[places, 0] = -0.6001
    spans = align(log_probs, [1] * len(places))
    assert [span.start for span in spans] == places


# Words ---------------------------------------------------------------------------------------------------------------


def _characters(text: str, ends: Sequence[tuple[int, int]]) -> list[TokenSpan]:
    return [TokenSpan(CHARACTERS.index(character), *place, -0.1) for character, place in zip(text, ends, strict=True)]


def test_words_stand_between_spaces_wherever_these_are() -> None:
    spans = _characters(" ab  c ", [(0, 1), (2, 3), (5, 7), (8, 9), (10, 11), (12, 13), (14, 20)])
    words = word_times(spans, CHARACTERS, 0.04, space=1)
    assert [(word.word, word.start, word.end) for word in words] == [("ab", 0.08, 0.28), ("c", 0.48, 0.52)]


def test_words_begin_with_a_piece_that_says_so() -> None:
    ids = [4, 5, 2, 3, 4, 5, 1, 5, 1, 6]
    spans = [TokenSpan(one, 2 * number, 2 * number + 1, -0.1) for number, one in enumerate(ids)]
    words = word_times(spans, PIECES, 0.1)
    assert [(word.word, word.start, word.end) for word in words] == [
        ("ats", 0.0, 0.3),
        ("the", 0.4, 0.5),
        ("cats", 0.6, 1.1),
        ("s", 1.4, 1.5),
        ("a", 1.8, 1.9),
    ]


def test_ids_may_be_spelled_by_the_tokenizer() -> None:
    spans = [TokenSpan(one, one, one + 1, 0.0) for one in (2, 4, 6)]
    words = word_times(spans, PIECES, 0.1, spell=lambda ids: f" {'-'.join(map(str, ids))}")
    assert [word.word for word in words] == ["2-4", "6"]


def test_confidence_is_the_mean_of_a_words_steps() -> None:
    spans = [TokenSpan(2, 0, 3, math.log(0.5)), TokenSpan(3, 3, 4, math.log(0.25)), TokenSpan(1, 4, 9, math.log(0.01))]
    (word,) = word_times(spans, CHARACTERS, 0.04, space=1)
    assert word.confidence == pytest.approx((0.5**3 * 0.25) ** 0.25)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("seconds", [0.0101, 1 / 30, 0.0004])
def test_times_are_milliseconds_in_order_within_the_audio(seed: int, seconds: float) -> None:
    text = "ab a  bb a b aab"
    duration = 39.5 * seconds  # a convolution may look beyond the end
    spans = align(_log_probs(40, len(CHARACTERS), seed), [CHARACTERS.index(one) for one in text])
    words = word_times(spans, CHARACTERS, seconds, space=1, duration=duration)
    assert [word.word for word in words] == text.split()
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times == [round(time, 3) for time in times]
    assert 0.0 <= times[0] <= times[-1] <= duration
    assert all(isinstance(word, WordTime) and 0.0 < word.confidence <= 1.0 for word in words)
