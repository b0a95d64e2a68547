"""The likeliest label of each step, repeats and blanks taken out: the search that looks at nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seqkit.heads.ctc import BLANK
from seqkit.heads.ctc_search import CTCHypothesis


@dataclass(frozen=True)
class GreedyState:
    """What the likeliest path has been so far."""

    ids: tuple[int, ...] = ()
    last: int = BLANK
    log_prob: float = 0.0
    """Of the path, which is one of many that spell the same."""


class GreedySearch:
    """Steps of log P (T', V) to labels."""

    def __init__(self, spell: Callable[[Sequence[int]], str]) -> None:
        self._spell = spell

    def start(self) -> GreedyState:
        """The state before the first step."""
        return GreedyState()

    def advance(self, state: GreedyState, log_probs: np.ndarray) -> GreedyState:
        """The state after the steps (T', V)."""
        if not len(log_probs):
            return state
        path = log_probs.argmax(axis=1)
        changed = np.diff(path, prepend=state.last) != 0
        ids = path[changed & (path != BLANK)].tolist()
        total = state.log_prob + float(log_probs.max(axis=1).sum(dtype=np.float64))
        return GreedyState((*state.ids, *ids), int(path[-1]), total)

    def finish(self, state: GreedyState, n_best: int = 1) -> list[CTCHypothesis]:
        """What was said if the utterance ends here; one hypothesis, however many are asked for."""
        return [self.best(state)]

    def best(self, state: GreedyState) -> CTCHypothesis:
        """What was said so far."""
        text = " ".join(self._spell(state.ids).split())
        return CTCHypothesis(
            ids=state.ids,
            text=text,
            words=tuple(text.split()),
            score=state.log_prob,
            ctc_log_prob=state.log_prob,
            lm_log_prob=0.0,
        )
