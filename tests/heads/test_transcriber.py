"""Segments, greedy search and transcripts: in pieces as in one, cut where the rule says, with times that fit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from seqkit.data.items import Unusable
from seqkit.heads.ctc_greedy import GreedySearch
from seqkit.heads.segments import CutRule, Segmenter
from seqkit.heads.transcriber import Labels, Transcriber, Transcript

TOKENS = ["<blank>", " ", "A", "B", "C"]
LABELS = Labels(TOKENS, 1, lambda ids: "".join(TOKENS[i] for i in ids))
RULE = CutRule(least=10, pause=4, long=20, most=30)


def steps_of(path: str) -> np.ndarray:
    """log P (T', 5) that is nearly certain of one label a step: `_` for the blank."""
    ids = [0 if sign == "_" else TOKENS.index(sign) for sign in path]
    probabilities = np.full((len(ids), len(TOKENS)), 0.002, dtype=np.float32)
    probabilities[np.arange(len(ids)), ids] = 1 - 0.002 * (len(TOKENS) - 1)
    return np.log(probabilities)


def cuts(path: str, size: int) -> list[int]:
    segmenter, log_probs, found, place = Segmenter(RULE, (0, 1)), steps_of(path), [], 0
    for start in range(0, len(log_probs), size):
        for part, ends in segmenter.push(log_probs[start : start + size]):
            place += len(part)
            if ends:
                found.append(place)
    assert place == len(path)
    return found


def expected_cuts(path: str) -> list[int]:
    """The rule, said once more: by looking at the whole path at every step."""
    found, start = [], 0
    for step in range(1, len(path) + 1):
        here = path[start:step]
        gap = len(here) - len(here.rstrip("_ "))
        enough = gap >= (1 if len(here) >= RULE.long else RULE.pause)
        if len(here) >= RULE.most or (len(here) >= RULE.least and enough):
            found.append(step)
            start = step
    return found


PATHS = ["", "_", "A_B", "AB__C" * 3 + "____" + "CBA", "ABC" * 30, "A" * 15 + "_" + "A" * 10 + "_" + "B" * 12, "_" * 70]


@pytest.mark.parametrize("path", [*PATHS, "".join(np.random.default_rng(0).choice(list("AB_ _"), 500))])
@pytest.mark.parametrize("size", [1, 3, 11, 1000])
def test_cuts(path: str, size: int) -> None:
    assert cuts(path, size) == expected_cuts(path)


@pytest.mark.parametrize("path", ["", "__", "A", "AA_A", "_AB  C__C_", "ABCABC"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_greedy_is_the_definition(path: str, size: int) -> None:
    search, log_probs = GreedySearch(LABELS.spell), steps_of(path)
    state = search.start()
    for start in range(0, len(log_probs), size):
        state = search.advance(state, log_probs[start : start + size])
    (found,) = search.finish(state, 5)
    spelled = "".join(sign for sign, _ in itertools.groupby(path) if sign != "_")
    assert "".join(TOKENS[i] for i in found.ids) == spelled
    assert found.text == " ".join(spelled.split())
    assert found.score == pytest.approx(float(log_probs.max(axis=1).sum()) if len(path) else 0.0, abs=1e-4)
    assert search.best(state) == found


def heard(path: str, size: int, timed: bool = True) -> Transcript:
    log_probs = steps_of(path)
    pieces = [log_probs[start : start + size] for start in range(0, len(log_probs), size)]
    transcriber = Transcriber(GreedySearch(LABELS.spell), LABELS, 1.0)  # 10 s at least, so 10 steps
    return transcriber.transcribe(pieces, lambda: float(len(path)), timed=timed)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_transcript_of_several_segments(size: int) -> None:
    path = "__AB_ _C____" + "__BB__ AC___" + "______AAC"
    found = heard(path, size)
    assert found.text == "AB C B AC AC"
    assert [word.word for word in found.words] == found.text.split()
    assert [(word.start, word.end) for word in found.words] == [(2, 4), (7, 8), (14, 16), (19, 21), (30, 33)]
    assert found.seconds == len(path)
    assert all(0.9 < word.confidence <= 1 for word in found.words)
    assert len(found.candidates) == 1
    assert found.candidates[0].text == found.text


def test_without_times() -> None:
    assert heard("AB_ _C", 3, timed=False).words == ()


@pytest.mark.parametrize("path", ["", "____"])
def test_nothing_is_said(path: str) -> None:
    found = heard(path, 2)
    assert (found.text, found.words) == ("", ())
    assert len(found.candidates) == 1


def test_what_is_open_shows_before_it_ends() -> None:
    transcriber = Transcriber(GreedySearch(LABELS.spell), LABELS, 1.0)
    pieces = [steps_of(part) for part in ("A", "B", "_________", "C")]
    got = [(best.text, segment is not None) for best, segment in transcriber.follow(pieces)]
    assert got == [("A", False), ("AB", False), ("AB", True), ("", False), ("C", False), ("C", True)]


def test_given_words() -> None:
    transcriber = Transcriber(GreedySearch(LABELS.spell), LABELS, 0.5)
    found = transcriber.aligned(steps_of("__AB__ _C_"), [2, 3, 1, 4], 5.0)
    assert [(word.word, word.start, word.end) for word in found.words] == [("AB", 1.0, 2.0), ("C", 4.0, 4.5)]
    with pytest.raises(Unusable, match="4 labels, too many for"):
        transcriber.aligned(steps_of("__"), [2, 3, 1, 4], 5.0)
