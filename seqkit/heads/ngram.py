"""N-gram language models: how likely a word is after the few words before it.

With back-off (Katz 1987), which is the form of an ARPA file whatever the probabilities were estimated with: the
probability of a word after a context is the model's own where it has that n-gram, and else the context's back-off
weight times the probability after the context less its first word. Probabilities are held as log10, as in the files,
and given in nats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seqkit.errors import DataError
from seqkit.heads.arpa import read_arpa, write_arpa
from seqkit.heads.kneser_ney import BEGIN, END, UNKNOWN, Gram, kneser_ney

MISSING_UNKNOWN = -100.0
"""The log10 probability of <unk> in a model that has none (KenLM's)."""
_REMEMBERED = 1 << 19
"""Most scores that are remembered; then all are forgotten."""
_NATS = math.log(10.0)


class NGram:
    """A language model of words, or of whatever else stands in a row.

    A state is what the model still knows of the words before: a tuple of them, the longest that can matter. Words that
    the model does not have are scored as <unk>.

    Attributes:
        order: words of the longest n-gram.
        words: what can be written: all words, </s> and <unk>, but not <s>.
    """

    def __init__(self, log_probs: Mapping[Gram, float], back_offs: Mapping[Gram, float]) -> None:
        """From log10 probabilities of n-grams and log10 back-off weights; a missing weight is 0.

        Raises ValueError where <s> or </s> is missing.
        """
        for edge in (BEGIN, END):
            if (edge,) not in log_probs:
                raise ValueError(f"the language model has no {edge}")
        self._log_probs = {(UNKNOWN,): MISSING_UNKNOWN, **log_probs}
        self._back_offs = {gram: weight for gram, weight in back_offs.items() if weight}
        self.order = max(map(len, log_probs))
        self.words = frozenset(gram[0] for gram in self._log_probs if len(gram) == 1) - {BEGIN}
        # Another context than these has no n-gram and no weight, so that all there is to know is in the shorter one.
        self._contexts = set(self._back_offs)
        for gram in self._log_probs:
            context = gram[:-1]
            while context and context not in self._contexts:
                self._contexts.add(context)
                context = context[:-1]
        self._memo: dict[tuple[Gram, str], tuple[float, Gram]] = {}

    @classmethod
    def from_arpa(cls, path: Path) -> NGram:
        """Read an ARPA file, plain or .gz. Raises DataError, with file and line, for what is not one."""
        path = Path(path)
        log_probs, back_offs = read_arpa(path)
        try:
            return cls(log_probs, back_offs)
        except ValueError as error:
            raise DataError(f"{path}: {error} among its 1-grams.") from error

    @classmethod
    def estimate(cls, sentences: Iterable[Sequence[str]], order: int = 3) -> NGram:
        """Estimate a model by interpolated modified Kneser-Ney: see `seqkit.heads.kneser_ney`.

        Args:
            sentences: the words of each; one without words counts as said. <unk> may stand for rare words.
            order: words of the longest n-grams; fewer where no sentence is that long.

        Raises:
            DataError: no words at all, or a word that is empty, has spaces, or is <s> or </s>.
        """
        return cls(*kneser_ney(sentences, order))

    def save_arpa(self, path: Path) -> None:
        """Write an ARPA file (.gz is packed), which gives the same scores when it is read. RunError: disk refuses."""
        write_arpa(Path(path), self._log_probs, self._back_offs)

    def __contains__(self, word: str) -> bool:
        """Whether the model has this word itself."""
        return word in self.words

    def start(self) -> Gram:
        """The state before the first word of a sentence."""
        return self._trim((BEGIN,))

    def score(self, state: Gram, word: str) -> tuple[float, Gram]:
        """The log-probability of a word after a state, in nats, and the state after it."""
        found = self._memo.get((state, word))
        if found is None:
            if len(self._memo) >= _REMEMBERED:
                self._memo.clear()
            found = self._memo[state, word] = self._look_up(state, word)
        return found

    def end(self, state: Gram) -> float:
        """The log-probability, in nats, that the sentence ends here."""
        return self.score(state, END)[0]

    def sentence(self, words: Iterable[str]) -> float:
        """The log-probability of a whole sentence with its end, in nats."""
        state, total = self.start(), 0.0
        for word in words:
            log_prob, state = self.score(state, word)
            total += log_prob
        return total + self.end(state)

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """The inverse of the mean probability (geometric) of each word and each end; words it lacks count as <unk>.

        Raises DataError where there are no sentences.
        """
        total, count = 0.0, 0
        for sentence in sentences:
            total += self.sentence(sentence)
            count += len(sentence) + 1
        if not count:
            raise DataError("There are no sentences to take the perplexity of.")
        return math.exp(-total / count)

    def _look_up(self, state: Gram, word: str) -> tuple[float, Gram]:
        word = word if word in self.words or word == BEGIN else UNKNOWN
        back_off = 0.0
        for begin in range(len(state) + 1):
            context = state[begin:]
            log_prob = self._log_probs.get((*context, word))
            if log_prob is not None:
                break
            back_off += self._back_offs.get(context, 0.0)
        else:
            raise AssertionError("every word has a 1-gram")
        return (log_prob + back_off) * _NATS, self._trim((*state, word))

    def _trim(self, words: Gram) -> Gram:
        """The longest end of `words` that is a context of the model."""
        for begin in range(max(0, len(words) - self.order + 1), len(words)):
            if words[begin:] in self._contexts:
                return words[begin:]
        return ()
