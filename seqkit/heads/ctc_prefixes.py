"""What the search of `seqkit.heads.ctc_search` writes: beginnings of labellings, and what their words are worth.

A labelling is what a path through the frames spells once repeats and blanks are gone. It is written token by token, in
one of two ways:

- `FreeWords`: any token may follow any other. Words end at the space token, or, where there is none, before a token
  that begins with '▁' (a sentencepiece). Spaces at the edges, or several in a row, make no words.
- `LexiconWords`: only words of the lexicon, with one or more space tokens between them (and any at the edges); or one
  right after the other, where there is no space token. A prefix then also says which words it has: the same tokens
  may be different words.

A word is decided when what follows it is written, or at the end. It is worth `lm_weight` times its log-probability,
and `word_bonus`, and its bonus as a hot word. A word that the language model does not have is one of all those that
<unk> stands for: P(word) = P(<unk>) P(word | <unk>), the second of which the search is told (`unknown_log_prob`).

So that the beam does not lose a word that will be worth something (or keep one that will cost much) before it is
decided, a word under way has a credit: a hot word's bonus, as much of it as is written; and the best that the language
model says, out of context, of any word that it can still become (look-ahead: Steinbiss et al. 1994), which without a
lexicon may be an unknown one. A credit counts in the beam alone, never in a score that is returned.
"""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from seqkit.errors import ConfigError
from seqkit.heads.kneser_ney import END, UNKNOWN, Gram
from seqkit.heads.lexicon import ROOT, Lexicon
from seqkit.heads.ngram import NGram

WORD_BEGIN = "▁"
"""What a sentencepiece that begins a word begins with."""
_PRIME = (1 << 127) - 1
_BASE = 0x2F0A6B3C9D17E84B5A61F3D20C8E97B5  # any number far from 0 and from _PRIME


class Prefix:
    """The beginning of a labelling, and of its words; linked to the one that it was extended from. Not to be changed.

    Attributes:
        key: equal for equal prefixes: their tokens and words as digits of a number, modulo a prime. Two different ones
            of n tokens have the same with a chance of about n / 2**127.
        parent: what it was extended from, None for the empty one.
        token: its last token, the blank for the empty one.
        word: the word that was decided when `token` was written, if any.
        node: where the word under way stands in the lexicon.
        partial: the letters of the word under way, without a lexicon.
        lm_state: of the decided words.
        lm_log_prob: of the decided words, in nats.
        worth: of the decided words, all that is not acoustic: weighted language model and bonuses.
        rank: `worth` and the credit of the word under way.
        grown: token -> prefixes that it becomes; what was looked for so far, and forgotten when it leaves the beam.
    """

    __slots__ = (
        "grown",
        "key",
        "lm_log_prob",
        "lm_state",
        "node",
        "parent",
        "parent_key",
        "partial",
        "rank",
        "token",
        "word",
        "worth",
    )

    def __init__(
        self, parent: Prefix | None, token: int, digit: int, ending: Ending, node: int, partial: str, credit: float
    ) -> None:
        self.parent_key: int = -1 if parent is None else parent.key
        self.key: int = 1 if parent is None else (parent.key * _BASE + digit) % _PRIME
        self.parent, self.token = parent, token
        self.word, self.lm_state, self.lm_log_prob, self.worth = ending
        self.node, self.partial = node, partial
        self.rank = self.worth + credit
        self.grown: dict[int, tuple[Prefix, ...]] | None = None

    def trace(self) -> Iterator[Prefix]:
        """This one and those before it, without the empty one: the last one first."""
        prefix = self
        while prefix.parent is not None:
            yield prefix
            prefix = prefix.parent


class Ending(NamedTuple):
    """A prefix's words, if the one under way ends here; the fields are those of `Prefix`."""

    word: str | None
    lm_state: Gram
    lm_log_prob: float
    worth: float


class WordScores:
    """What words are worth; the arguments are those of `CTCSearch`. Raises ConfigError for what is no hot word."""

    def __init__(
        self,
        model: NGram | None,
        lm_weight: float,
        word_bonus: float,
        unknown_log_prob: float,
        hot_words: Mapping[str, float] | None,
    ) -> None:
        self.model, self.lm_weight, self.word_bonus = model, lm_weight, word_bonus
        self.unknown_log_prob = unknown_log_prob
        self.hot_words = dict(hot_words or {})
        problems = [f"hot_words: {word!r} is not one word." for word in self.hot_words if word.split() != [word]]
        problems += [
            f"hot_words: the bonus of '{word}' is {bonus}, must be a number."
            for word, bonus in self.hot_words.items()
            if not math.isfinite(bonus)
        ]
        if problems:
            raise ConfigError(problems)
        most_hot = max([0.0, *self.hot_words.values()])
        self.most_gain = max(0.0, word_bonus) + 2 * most_hot
        """The most that a token can add to a prefix's `worth` and have as its credit."""

    def start(self) -> Ending:
        """No words yet."""
        return Ending(None, () if self.model is None else self.model.start(), 0.0, 0.0)

    def then(self, prefix: Prefix, word: str) -> Ending:
        """The words of `prefix`, and one more."""
        worth = prefix.worth + self.word_bonus + self.hot_words.get(word, 0.0)
        if self.model is None:
            return Ending(word, prefix.lm_state, 0.0, worth)
        log_prob, state = self._score(self.model, prefix.lm_state, word)
        return Ending(word, state, prefix.lm_log_prob + log_prob, worth + self.lm_weight * log_prob)

    def expected(self, word: str) -> float:
        """What the model's log-probability of a word out of context counts."""
        return 0.0 if self.model is None else self.lm_weight * self._score(self.model, (), word)[0]

    def _score(self, model: NGram, state: Gram, word: str) -> tuple[float, Gram]:
        log_prob, after = model.score(state, word)
        known = word in model or self.hot_words.get(word, 0.0) > 0
        return log_prob if known else log_prob + self.unknown_log_prob, after

    def close(self, ending: Ending) -> Ending:
        """The same words, and the end of the sentence."""
        if self.model is None:
            return ending
        log_prob = self.model.end(ending.lm_state)
        return ending._replace(
            lm_log_prob=ending.lm_log_prob + log_prob, worth=ending.worth + self.lm_weight * log_prob
        )


class Words(ABC):
    """How labellings are written."""

    def __init__(self, scores: WordScores, size: int, blank: int) -> None:
        self.scores, self._size, self._blank = scores, size, blank

    def begin(self) -> Prefix:
        """The empty prefix."""
        return Prefix(None, self._blank, 0, self.scores.start(), ROOT, "", 0.0)

    @abstractmethod
    def grow(self, prefix: Prefix, token: int) -> tuple[Prefix, ...]:
        """What `prefix` becomes with one more token (no blank); nothing where it must not follow."""

    @abstractmethod
    def endings(self, prefix: Prefix) -> tuple[Ending, ...]:
        """Its words, if the one under way ends here: one for each word that it can be; none if it is no whole word."""

    @abstractmethod
    def unfinished(self, prefix: Prefix) -> int:
        """How many of its tokens are of the word under way."""

    @abstractmethod
    def under_way(self, prefix: Prefix) -> str | None:
        """The word under way as far as it can be told, None where there is none."""


class FreeWords(Words):
    """Any tokens."""

    def __init__(self, scores: WordScores, tokens: Sequence[str], blank: int, space: int | None) -> None:
        super().__init__(scores, len(tokens), blank)
        self._ends_word = [token.startswith(WORD_BEGIN) if space is None else False for token in tokens]
        self._texts = list(tokens)
        if space is None:
            self._texts = [token.removeprefix(WORD_BEGIN) for token in tokens]
            wrong = [token for token in self._texts if WORD_BEGIN in token]
            if wrong:
                raise ValueError(f"tokens: '{wrong[0]}' has {WORD_BEGIN} behind its beginning")
        else:
            self._ends_word[space], self._texts[space] = True, ""
        self._hot: dict[str, float] = {}  # the beginnings of hot words, and their credits
        for word, bonus in scores.hot_words.items():
            for length in range(1, len(word) + 1) if bonus > 0 else ():
                credit = bonus * length / len(word)
                self._hot[word[:length]] = max(credit, self._hot.get(word[:length], 0.0))
        self._expected: dict[str, float] = {}  # the beginnings of the model's words, and the best of the words
        self._unknown = 0.0
        if scores.model is not None:
            self._unknown = scores.expected(UNKNOWN) + scores.lm_weight * scores.unknown_log_prob
            known = (scores.model.words | set(scores.hot_words)) - {END, UNKNOWN}
            chances = sorted((scores.expected(word), word) for word in known)
            for chance, word in chances:  # the best last, so that it stays
                chance = max(chance, self._unknown)
                self._expected.update((word[:length], chance) for length in range(1, len(word) + 1))

    def _credit(self, partial: str) -> float:
        if not partial:
            return 0.0
        return self._hot.get(partial, 0.0) + self._expected.get(partial, self._unknown)

    def grow(self, prefix: Prefix, token: int) -> tuple[Prefix, ...]:
        """See `Words`."""
        if self._ends_word[token]:
            (ending,) = self.endings(prefix)
            partial = self._texts[token]
        else:
            ending = Ending(None, prefix.lm_state, prefix.lm_log_prob, prefix.worth)
            partial = prefix.partial + self._texts[token]
        return (Prefix(prefix, token, token + 1, ending, ROOT, partial, self._credit(partial)),)

    def endings(self, prefix: Prefix) -> tuple[Ending, ...]:
        """See `Words`."""
        if prefix.partial:
            return (self.scores.then(prefix, prefix.partial),)
        return (Ending(None, prefix.lm_state, prefix.lm_log_prob, prefix.worth),)

    def unfinished(self, prefix: Prefix) -> int:
        """See `Words`; any letters are a word, so none."""
        return 0

    def under_way(self, prefix: Prefix) -> str | None:
        """See `Words`."""
        return prefix.partial or None


class LexiconWords(Words):
    """The words of a lexicon. Raises ValueError for spellings that cannot be written, ConfigError for hot words."""

    def __init__(self, scores: WordScores, lexicon: Lexicon, size: int, blank: int, space: int | None) -> None:
        super().__init__(scores, size, blank)
        if max(lexicon.tokens) >= size:
            raise ValueError(f"the lexicon spells with token {max(lexicon.tokens)}, but there are {size} tokens")
        for name, token in (("blank", blank), ("space", space)):
            if token in lexicon.tokens:
                raise ValueError(f"the lexicon spells words with the {name}, token {token}")
        self._lexicon, self._space = lexicon, space
        known = {word: number for number, word in enumerate(lexicon.words)}
        problems = [
            f"hot_words: '{word}' is not in the lexicon, so it can never be written.{_close(word, known)}"
            for word in scores.hot_words
            if word not in known
        ]
        if problems:
            raise ConfigError(problems)
        self._credits = [0.0] * len(lexicon.children)
        for word, bonus in scores.hot_words.items():
            for spelling in lexicon.spellings[known[word]] if bonus > 0 else ():
                for length, node in enumerate(lexicon.path(spelling), start=1):
                    self._credits[node] = max(self._credits[node], bonus * length / len(spelling))
        if scores.model is not None:
            smeared = lexicon.smear([scores.expected(word) for word in lexicon.words])
            self._credits = [credit + chance for credit, chance in zip(self._credits, smeared, strict=True)]

    def grow(self, prefix: Prefix, token: int) -> tuple[Prefix, ...]:
        """See `Words`."""
        node = prefix.node
        if token == self._space:
            return tuple(self._decided(prefix, token, ROOT, 0.0))
        grown: list[Prefix] = []
        child = self._lexicon.children[node].get(token)
        if child is not None:
            same = Ending(None, prefix.lm_state, prefix.lm_log_prob, prefix.worth)
            grown.append(Prefix(prefix, token, token + 1, same, child, "", self._credits[child]))
        if self._space is None and node != ROOT:
            first = self._lexicon.children[ROOT].get(token)
            if first is not None:
                grown += self._decided(prefix, token, first, self._credits[first])
        return tuple(grown)

    def _decided(self, prefix: Prefix, token: int, node: int, credit: float) -> Iterator[Prefix]:
        """The word under way has ended, and `token` leads to `node`."""
        numbers = self._lexicon.ends[prefix.node]  # none at the root
        for place, ending in enumerate(self.endings(prefix)):
            choice = numbers[place] + 1 if numbers else 0
            yield Prefix(prefix, token, token + 1 + choice * self._size, ending, node, "", credit)

    def endings(self, prefix: Prefix) -> tuple[Ending, ...]:
        """See `Words`."""
        if prefix.node == ROOT:
            return (Ending(None, prefix.lm_state, prefix.lm_log_prob, prefix.worth),)
        words = self._lexicon.words
        return tuple(self.scores.then(prefix, words[number]) for number in self._lexicon.ends[prefix.node])

    def unfinished(self, prefix: Prefix) -> int:
        """See `Words`."""
        count = 0
        for step in prefix.trace():
            if step.node == ROOT:
                break
            count += 1
            if step.word is not None:  # decided as the first token of the word under way was written
                break
        return count

    def under_way(self, prefix: Prefix) -> str | None:
        """See `Words`; the likeliest of several words."""
        return max(self.endings(prefix), key=lambda ending: ending.worth).word if self.endings(prefix) else None


def _close(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean '{found[0]}'?" if found else ""
