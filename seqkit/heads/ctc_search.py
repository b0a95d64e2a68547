"""Prefix beam search for CTC: the likeliest labellings of an utterance, frame by frame as it comes.

The model gives, for each frame, log-probabilities of tokens and of the blank. A labelling's probability is the sum over
all paths that spell it (Graves et al. 2006); the search (Graves 2006; Hannun et al. 2014) holds prefixes of labellings,
each with the probability of the paths that end in a blank, and of those that end in its last token. At each frame a
prefix stays as it is (by a blank, or by its last token again) or is extended by a token; a token that repeats the last
one needs a blank between. Prefixes that come out equal are one, and their probabilities are added. Then the best stay,
by log-probability and what their words are worth: `seqkit.heads.ctc_prefixes`.

    score = log P(labelling | frames) + lm_weight * log P(words, </s>) + word_bonus * words + bonuses of hot words

Three things are left out for speed, and none of them where its limit is infinite: tokens that are unlikely in a frame
are not tried as extensions; prefixes that are far behind the best leave the beam; and of a frame that is a blank for
all but `1 - BLANK_ONLY`, only the blank is read.

Each frame is read by itself, in double precision, so that the same frames in other chunks give the same bits.
Shapes: T frames, V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappush, heappushpop
from operator import itemgetter
from typing import Any

import numpy as np

from seqkit.heads.ctc_prefixes import Ending, FreeWords, LexiconWords, Prefix, Words, WordScores
from seqkit.heads.lexicon import Lexicon
from seqkit.heads.ngram import NGram

BLANK_ONLY = 0.999
"""Of a frame whose blank is likelier than this, the rest is not read; unless `token_min_log_prob` is -inf."""
UNKNOWN = -10.0
"""log P(word | <unk>) of any word there may be: one of some twenty thousand."""
_ROUNDING = 1e-3
"""How far above 0 a log-probability may be by rounding."""

_Array = np.ndarray[Any, np.dtype[Any]]
_Scored = tuple[float, Prefix, float, float]  # a score, and an entry
_Entry = tuple[Prefix, float, float]  # and the log-probabilities of the paths that end in a blank, and in its token


@dataclass(frozen=True)
class CTCHypothesis:
    """One labelling that was found, and its words."""

    ids: tuple[int, ...]
    """The labelling: tokens without blanks."""
    text: str
    """The words with spaces between them."""
    words: tuple[str, ...]
    """Its words."""
    score: float
    """What hypotheses are ranked by."""
    ctc_log_prob: float
    """The log-probability of the labelling, of the paths that the beam held; nats."""
    lm_log_prob: float
    """The log-probability of the words, `unknown_log_prob` included, and of the end where it has come; nats, not
    weighted; 0 without a language model."""


NOTHING = CTCHypothesis((), "", (), -math.inf, -math.inf, 0.0)
"""What stands for a hypothesis where none is possible."""


@dataclass(frozen=True)
class SearchState:
    """Where a search stands; never changed, so that one can go on from it in several ways."""

    frames: int
    """How many were read."""
    beam: tuple[_Entry, ...]
    """Prefixes, the best first; none where a lexicon allows nothing that is possible."""


class CTCSearch:
    """Prefix beam search over tokens, free or bound to a lexicon, with a language model of words and hot words."""

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        blank: int = 0,
        space: int | None,
        beam_size: int = 16,
        lexicon: Lexicon | None = None,
        language_model: NGram | None = None,
        lm_weight: float = 0.5,
        word_bonus: float = 0.0,
        unknown_log_prob: float | None = None,
        token_min_log_prob: float = -8.0,
        beam_threshold: float = 16.0,
        hot_words: Mapping[str, float] | None = None,
    ) -> None:
        """Tell what is looked for, and how.

        Args:
            tokens: (V,) the text of each token; that of the blank is never used.
            blank: the id of the blank.
            space: the id of the token that stands between words; None for pieces that begin a word with '▁', and for a
                lexicon whose words follow one another without a token between.
            beam_size: most prefixes to hold, at least 1.
            lexicon: write its words only; None for any tokens.
            language_model: of words.
            lm_weight: what its log-probabilities count, >= 0.
            word_bonus: added for each word; above 0 makes up for what a language model takes from long texts.
            unknown_log_prob: log P(word | <unk>) of each word that the language model does not have, <= 0. Without it
                a free search would rather write one unknown word than several known ones. None takes `UNKNOWN` for a
                free search, and the words of the lexicon that the model lacks as equally likely. Hot words with a
                bonus above 0 are expected, so they have 0.
            token_min_log_prob: extend by tokens that are at most so much less likely than the frame's likeliest, in
                nats, <= 0; -inf for all.
            beam_threshold: hold prefixes that are at most so far behind the best, in nats, >= 0; inf for all.
            hot_words: word -> what is added for each time it is said, in nats. With a lexicon it must have them.

        Raises:
            ValueError: one of the values is outside its range.
            ConfigError: hot words that can never be written.
        """
        size = len(tokens)
        _check_range("blank", blank, 0 <= blank < size, f"0 to {size - 1}")
        if space is not None:
            _check_range("space", space, 0 <= space < size and space != blank, f"0 to {size - 1}, and not the blank")
        _check_range("beam_size", beam_size, beam_size >= 1, "at least 1")
        _check_range("lm_weight", lm_weight, 0 <= lm_weight < math.inf, "a number >= 0")
        _check_range("word_bonus", word_bonus, math.isfinite(word_bonus), "a number")
        unknown = _unknown_log_prob(lexicon, language_model) if unknown_log_prob is None else unknown_log_prob
        _check_range("unknown_log_prob", unknown, -math.inf < unknown <= 0, "a number <= 0")
        _check_range("token_min_log_prob", token_min_log_prob, token_min_log_prob <= 0, "at most 0")
        _check_range("beam_threshold", beam_threshold, beam_threshold >= 0, "at least 0")
        scores = WordScores(language_model, lm_weight, word_bonus, unknown, hot_words)
        self._words: Words
        if lexicon is None:
            self._words = FreeWords(scores, tokens, blank, space)
            self._unusable = np.zeros(size, dtype=bool)
        else:
            self._words = LexiconWords(scores, lexicon, size, blank, space)
            self._unusable = np.ones(size, dtype=bool)
            self._unusable[[*lexicon.tokens, blank, *([] if space is None else [space])]] = False
        self._scores, self._size, self._blank, self._beam_size = scores, size, blank, beam_size
        self._token_min, self._threshold = token_min_log_prob, beam_threshold

    def start(self) -> SearchState:
        """Before the first frame."""
        return SearchState(0, ((self._words.begin(), 0.0, -math.inf),))

    def advance(self, state: SearchState, log_probs: _Array) -> SearchState:
        """Read frames: log_probs (T, V), T >= 0. The same frames in any chunks give the same bits.

        Raises ValueError for another shape, for NaN or what is no log-probability, and for a frame in which all tokens
        are impossible.
        """
        rows = checked(log_probs, self._size, state.frames)
        rows[:, self._unusable] = -math.inf
        likely = (rows >= rows.max(axis=1, keepdims=True) + self._token_min) & (rows > -math.inf)
        likely[:, self._blank] = False
        silent = (rows[:, self._blank] > math.log(BLANK_ONLY)) & (self._token_min > -math.inf)
        frames, ids = np.nonzero(likely)
        bounds, tokens = np.searchsorted(frames, np.arange(len(rows) + 1)).tolist(), ids.tolist()
        beam: Sequence[_Entry] = state.beam
        for frame, (row, is_silent) in enumerate(zip(rows.tolist(), silent.tolist(), strict=True)):
            if is_silent:
                beam = self._silence(beam, row[self._blank])
            else:
                chosen = tokens[bounds[frame] : bounds[frame + 1]]
                beam = self._read(beam, row, sorted(chosen, key=row.__getitem__, reverse=True))
        return SearchState(state.frames + len(rows), tuple(beam))

    def finish(self, state: SearchState, n_best: int = 1) -> list[CTCHypothesis]:
        """The best labellings of what was read, with different texts, the best first; fewer where the beam has fewer.

        With a lexicon, prefixes that end amid a word are dropped. Where there are no others, their last word is: the
        hypothesis then has the words before, and the log-probability of the prefix. Nothing is returned only where the
        frames make all that the lexicon allows impossible.
        """
        if n_best < 1:
            raise ValueError(f"n_best is {n_best}, must be at least 1")
        found = [
            self._hypothesis(prefix, log_add(blank, label), self._scores.close(ending))
            for prefix, blank, label in state.beam
            for ending in self._words.endings(prefix)
        ]
        if not found:
            found = [self._without_last(*entry) for entry in state.beam]
        found.sort(key=lambda hypothesis: -hypothesis.score)
        distinct: dict[str, CTCHypothesis] = {}
        for hypothesis in found:
            distinct.setdefault(hypothesis.text, hypothesis)
        return list(distinct.values())[:n_best]

    def best(self, state: SearchState) -> CTCHypothesis:
        """The best that there is so far, for showing while the utterance goes on.

        A word under way is shown (with a lexicon, where it is a whole word), but the scores are those of the words that
        are decided, and of no end. Where nothing is possible: no words, and a score of -inf.
        """
        if not state.beam:
            return CTCHypothesis((), "", (), -math.inf, -math.inf, 0.0)
        prefix, blank, label = state.beam[0]
        word = self._words.under_way(prefix)
        ending = Ending(word, prefix.lm_state, prefix.lm_log_prob, prefix.worth)
        return self._hypothesis(prefix, log_add(blank, label), ending)

    def _silence(self, beam: Sequence[_Entry], silence: float) -> list[_Entry]:
        """Read a frame that is a blank: the order stays, so nothing has to be compared."""
        return [(prefix, log_add(blank, label) + silence, -math.inf) for prefix, blank, label in beam]

    def _read(self, beam: Sequence[_Entry], row: list[float], tokens: list[int]) -> list[_Entry]:
        """Read a frame (V,), and extend by `tokens`; by all where nothing else is possible."""
        found = self._extend(beam, row, tokens)
        if not found:
            every = [token for token, value in enumerate(row) if value > -math.inf and token != self._blank]
            found = self._extend(beam, row, every) if len(every) > len(tokens) else found
        found.sort(key=itemgetter(0), reverse=True)  # stable: of equal ones the first in the beam
        del found[self._beam_size :]
        least = found[0][0] - self._threshold if found else 0.0
        kept = [(prefix, blank, label) for score, prefix, blank, label in found if score >= least]
        alive = {id(prefix) for prefix, _, _ in kept}
        for prefix, _, _ in beam:
            if id(prefix) not in alive:
                prefix.grown = None
        return kept

    def _extend(self, beam: Sequence[_Entry], row: list[float], tokens: list[int]) -> list[_Scored]:
        """What stays as it is and what it becomes, with scores; less what cannot stay in the beam."""
        totals = [log_add(blank, label) for _, blank, label in beam]
        places = {prefix.key: place for place, (prefix, _, _) in enumerate(beam)}
        found = self._stay(beam, row, totals, places)
        # What is below the beam's last, or too far behind its first, of those found so far is not looked at further.
        best = sorted(score for score, _, _, _ in found)  # a heap, the least first
        least = best[-1] - self._threshold if best else -math.inf
        gain, size = self._scores.most_gain, self._beam_size
        for (prefix, blank, _), total in zip(beam, totals, strict=True):
            grown, worth, last = prefix.grown, prefix.worth, prefix.token
            if grown is None:
                grown = prefix.grown = {}
            for token in tokens:
                written = (blank if token == last else total) + row[token]
                if written == -math.inf or written + worth + gain < least:
                    continue
                children = grown.get(token)
                if children is None:
                    children = grown[token] = self._words.grow(prefix, token)
                for child in children:
                    score = written + child.rank
                    if score < least or child.key in places:
                        continue
                    found.append((score, child, -math.inf, written))
                    if len(best) < size:
                        heappush(best, score)
                    else:
                        heappushpop(best, score)
                    if len(best) == size:
                        least = max(least, best[0])
        return found

    def _stay(
        self, beam: Sequence[_Entry], row: list[float], totals: list[float], places: dict[int, int]
    ) -> list[_Scored]:
        """What stays as it is: by a blank, by its last token again, or as what another in the beam becomes."""
        silence = row[self._blank]
        found: list[_Scored] = []
        for (prefix, _, label), total in zip(beam, totals, strict=True):
            again = row[prefix.token]
            written = label + again
            place = places.get(prefix.parent_key)
            if place is not None:
                parent, blank, _ = beam[place]
                written = log_add(written, (blank if parent.token == prefix.token else totals[place]) + again)
            total += silence
            score = log_add(total, written) + prefix.rank
            if score > -math.inf:
                found.append((score, prefix, total, written))
        return found

    def _hypothesis(self, prefix: Prefix, log_prob: float, ending: Ending) -> CTCHypothesis:
        """What a prefix says, if it ends like this."""
        steps = list(prefix.trace())
        words = [step.word for step in reversed(steps) if step.word is not None]
        if ending.word is not None:
            words.append(ending.word)
        ids = tuple(step.token for step in reversed(steps))
        return CTCHypothesis(ids, " ".join(words), tuple(words), log_prob + ending.worth, log_prob, ending.lm_log_prob)

    def _without_last(self, prefix: Prefix, blank: float, label: float) -> CTCHypothesis:
        """What a prefix says without its last word, which is not whole."""
        ending = self._scores.close(Ending(None, prefix.lm_state, prefix.lm_log_prob, prefix.worth))
        whole = self._hypothesis(prefix, log_add(blank, label), ending)
        return replace(whole, ids=whole.ids[: len(whole.ids) - self._words.unfinished(prefix)])


def checked(log_probs: _Array, size: int, before: int = 0) -> _Array:
    """A copy of log_probs (T, V) in float64; `before` frames were read before these, and V must be `size`.

    Raises ValueError: see `CTCSearch.advance`.
    """
    given = np.asarray(log_probs)
    if given.ndim != 2 or given.shape[1] != size:
        raise ValueError(f"log_probs have the shape {given.shape}, must be (frames, {size})")
    rows = given.astype(np.float64)
    impossible = (rows == -math.inf).all(axis=1)
    wrong = (~(rows <= _ROUNDING)).any(axis=1) | impossible
    if wrong.any():
        frame = int(wrong.argmax())
        fault = f"{rows[frame].max():.6g}, which is not the log of a probability"
        fault = "NaN" if np.isnan(rows[frame]).any() else fault
        fault = "no token that is possible" if impossible[frame] else fault
        raise ValueError(f"log_probs of frame {before + frame} have {fault}")
    return rows


def log_add(a: float, b: float) -> float:
    """The log of the sum of what a and b are the logs of."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def _unknown_log_prob(lexicon: Lexicon | None, model: NGram | None) -> float:
    """The log-probability that <unk> is one word of those that it may be."""
    if lexicon is None or model is None:
        return UNKNOWN
    return -math.log(max(1, sum(word not in model for word in lexicon.words)))


def _check_range(name: str, value: float, right: bool, wanted: str) -> None:
    """Raise ValueError where a value is not `right`; NaN never is."""
    if not right:
        raise ValueError(f"{name} is {value}, must be {wanted}")
