"""From label probabilities to words with times: segments, the search of each, and the alignment of what it found.

Shapes: T' steps, V labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from seqkit.data.items import Unusable
from seqkit.heads.ctc import BLANK, steps_needed
from seqkit.heads.ctc_align import WordTime, align, word_times
from seqkit.heads.ctc_search import NOTHING, CTCHypothesis
from seqkit.heads.segments import CutRule, Segmenter

_MOST_ALIGNED = 200_000_000
"""Steps times labels that an alignment's table may have."""


class Search(Protocol):
    """What looks for words: `seqkit.heads.ctc_search` has two."""

    def start(self) -> Any:
        """The state before the first step."""

    def advance(self, state: Any, log_probs: np.ndarray) -> Any:
        """The state after the steps (T', V)."""

    def finish(self, state: Any, n_best: int = 1) -> list[CTCHypothesis]:
        """What was said, likeliest first, if the utterance ends here."""

    def best(self, state: Any) -> CTCHypothesis:
        """The likeliest so far."""


@dataclass(frozen=True)
class Labels:
    """What the network's outputs stand for."""

    tokens: Sequence[str]
    """Text of each label; the blank's is not read."""
    space: int | None
    """The label of the space, where words are spelled with one; None where a word's first piece shows its beginning."""
    spell: Callable[[Sequence[int]], str]
    """The text of labels (L,)."""

    @property
    def silent(self) -> tuple[int, ...]:
        """Labels that are no speech."""
        return (BLANK,) if self.space is None else (BLANK, self.space)


@dataclass(frozen=True)
class Transcript:
    """What was said in a sound."""

    text: str
    words: tuple[WordTime, ...]
    """With times in seconds; none where none were asked for."""
    candidates: tuple[CTCHypothesis, ...]
    """The likeliest first; of a sound of several segments, the first few of each put together."""
    seconds: float
    """Length of the sound."""
    name: str = ""
    """What the sound is called."""
    log_prob: float | None = None
    """log P (nats) of the given words, where there are some."""
    trouble: str | None = None
    """What was wrong with the sound, in a sentence."""
    failed: bool = False
    """Whether nothing could be made of it."""
    heard: Heard | None = None
    """What a picture is drawn from, where one was asked for."""


@dataclass(frozen=True)
class Heard:
    """The beginning of a sound as the model had it: log-mel frames (T, M) and log P (T', V)."""

    frames: np.ndarray
    log_probs: np.ndarray


class Transcriber:
    """Finds words in label probabilities."""

    def __init__(self, search: Search, labels: Labels, step_seconds: float, *, n_best: int = 1) -> None:
        self.search, self.labels, self.step_seconds, self.n_best = search, labels, step_seconds, n_best

    def transcribe(
        self, pieces: Iterable[np.ndarray], seconds: Callable[[], float], *, timed: bool = True
    ) -> Transcript:
        """The words in log P (T', V) that come in pieces; `seconds` is asked at the end for the sound's length."""
        segments = [segment for _, segment in self.follow(pieces, timed=timed) if segment is not None]
        return self.joined(segments, seconds())

    def follow(
        self, pieces: Iterable[np.ndarray], *, timed: bool = False
    ) -> Iterator[tuple[CTCHypothesis, Segment | None]]:
        """After each piece the likeliest of the open segment, and each segment as it ends."""
        segmenter = Segmenter(CutRule.of(self.step_seconds), self.labels.silent)
        state, start, held = self.search.start(), 0, list[np.ndarray]()
        for piece in pieces:
            for part, ends in segmenter.push(piece):
                state = self.search.advance(state, part)
                held.append(part)
                if not ends:
                    continue
                segment = self._segment(np.concatenate(held), state, start, timed)
                yield segment.candidates[0], segment
                start += sum(len(part) for part in held)
                state, held = self.search.start(), []
            if held:
                yield self.search.best(state), None
        if held or start == 0:
            whole = np.concatenate(held) if held else np.zeros((0, len(self.labels.tokens)), dtype=np.float32)
            segment = self._segment(whole, state, start, timed)
            yield segment.candidates[0], segment

    def aligned(self, log_probs: np.ndarray, ids: Sequence[int], seconds: float) -> Transcript:
        """The times of given labels (L,) in log P (T', V) of a whole sound. Raises Unusable where they do not fit."""
        if len(log_probs) * len(ids) > _MOST_ALIGNED:
            raise Unusable(
                f"{len(ids)} labels and {seconds / 60:.0f} minutes are too much for one alignment; cut the file up"
            )
        if len(log_probs) < steps_needed(ids):
            raise Unusable(
                f"the given words have {len(ids)} labels, too many for {seconds:.2f} s of sound, which make "
                f"{len(log_probs)} steps; give what is said in this file"
            )
        words = self.times(log_probs, ids)
        return Transcript(" ".join(word.word for word in words), words, (), seconds)

    def joined(self, segments: Sequence[Segment], seconds: float) -> Transcript:
        """The transcript of consecutive segments."""
        text = " ".join(segment.candidates[0].text for segment in segments if segment.candidates[0].text)
        words = tuple(word for segment in segments for word in segment.words)
        if len(segments) == 1:
            return Transcript(text, words, tuple(segments[0].candidates), seconds)
        ranks = range(min(len(segment.candidates) for segment in segments))
        together = tuple(_chained([segment.candidates[rank] for segment in segments]) for rank in ranks)
        return Transcript(text, words, together, seconds)

    def _segment(self, log_probs: np.ndarray, state: Any, start: int, timed: bool) -> Segment:
        candidates = self.search.finish(state, self.n_best) or [NOTHING]
        words = self.times(log_probs, candidates[0].ids, start) if timed else ()
        return Segment(tuple(candidates), words, start * self.step_seconds)

    def times(self, log_probs: np.ndarray, ids: Sequence[int], start: int = 0) -> tuple[WordTime, ...]:
        """When each word of labels (L,) is said in log P (T', V), whose first step is step `start` of the sound.

        Raises Unusable where the labels do not fit into the steps.
        """
        spans = align(torch.from_numpy(log_probs), [int(token) for token in ids], BLANK)
        moved = [replace(span, start=span.start + start, end=span.end + start) for span in spans]
        labels = self.labels
        return tuple(word_times(moved, labels.tokens, self.step_seconds, space=labels.space, spell=labels.spell))


@dataclass(frozen=True)
class Segment:
    """A stretch of a sound."""

    candidates: tuple[CTCHypothesis, ...]
    words: tuple[WordTime, ...]
    start: float
    """Seconds."""


def _chained(parts: Sequence[CTCHypothesis]) -> CTCHypothesis:
    """What consecutive segments say, as one."""
    return CTCHypothesis(
        ids=tuple(token for part in parts for token in part.ids),
        text=" ".join(part.text for part in parts if part.text),
        words=tuple(word for part in parts for word in part.words),
        score=sum(part.score for part in parts),
        ctc_log_prob=sum(part.ctc_log_prob for part in parts),
        lm_log_prob=sum(part.lm_log_prob for part in parts),
    )
