"""Interpolated modified Kneser-Ney: n-gram probabilities out of sentences (Chen and Goodman 1998, section 4.1.6).

Sentences are padded with one <s> and one </s>. The counts a(g) of the longest n-grams are how often they stand in the
text; those of shorter ones are how many different words stand before them, but for n-grams that begin with <s>, before
which nothing stands, and which are counted as they are. With c a context, w a word, and c' the context less its first
word,

    p(w | c) = (a(cw) - D(a(cw))) / a(c.) + g(c) p(w | c'),    g(c) = sum over cw of D(a(cw)) / a(c.)

and p(w | ) = ... + g() / V, where the V words are those of the text, </s> and <unk>. The discounts of n-grams counted
once, twice, and three times or more are, for each length by itself, with n_i n-grams counted i times,

    Y = n_1 / (n_1 + 2 n_2),  D(1) = 1 - 2 Y n_2 / n_1,  D(2) = 2 - 3 Y n_3 / n_2,  D(3+) = 3 - 4 Y n_4 / n_3.

Little text does not have these numbers: where n_1, n_2, n_3 or n_4 is 0, or some D(i) does not lie in (0, i], the
discounts of that length are `FALLBACK`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from seqkit.errors import DataError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of n-grams counted once, twice and more often, where the text is too small to tell (those of KenLM)."""
NEVER = -99.0
"""The log10 probability of <s>, which is never written: the convention of ARPA files."""

Gram = tuple[str, ...]


def kneser_ney(sentences: Iterable[Sequence[str]], order: int) -> tuple[dict[Gram, float], dict[Gram, float]]:
    """The log10 probabilities of n-grams, and the log10 back-off weights g of contexts.

    N-grams are at most `order` words long, and no longer than the longest sentence with its <s> and </s>.

    Raises:
        DataError: no words at all, or a word that cannot be one.
        ValueError: an order below 1.
    """
    if order < 1:
        raise ValueError(f"order is {order}, must be at least 1")
    counts = adjusted_counts(sentences, order)
    words = {word for (word,) in counts[0]} if counts else set()
    if not words - {END}:
        raise DataError("The corpus of the language model has no words.", hint="Give it at least one sentence.")
    uniform = 1.0 / len(words | {END, UNKNOWN})
    probs: dict[Gram, float] = {}
    back_offs: dict[Gram, float] = {}
    for grams in counts:
        discounts = discounts_of(grams)
        totals, left = _contexts(grams, discounts)
        for gram, count in grams.items():
            context = gram[:-1]
            lower = probs[gram[1:]] if context else uniform
            discounted = count - discounts[min(count, 3) - 1]
            probs[gram] = (discounted + left[context] * lower) / totals[context]
        back_offs.update({context: left[context] / total for context, total in totals.items()})
    probs.setdefault((UNKNOWN,), back_offs.pop(()) * uniform)
    log_probs = {gram: min(math.log10(prob), 0.0) for gram, prob in probs.items()}
    log_probs[(BEGIN,)] = NEVER
    return log_probs, {context: math.log10(weight) for context, weight in back_offs.items()}


def adjusted_counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    """What n-grams count for, those of one word first; the unigram <s> is left out."""
    longest: Counter[Gram] = Counter()
    begins: list[Counter[Gram]] = [Counter() for _ in range(order)]  # at [k - 1], the k-grams that begin with <s>
    known: set[str] = set()
    for sentence in sentences:
        _check(sentence, known)
        padded = [BEGIN, *sentence, END]
        longest.update(zip(*(padded[start:] for start in range(order)), strict=False))
        for length in range(2, min(order, len(padded) + 1)):
            begins[length - 1][tuple(padded[:length])] += 1
    longest.pop((BEGIN,), None)
    counts = [longest]
    for length in reversed(range(1, order)):
        shorter = Counter(gram[1:] for gram in counts[0])
        shorter.update(begins[length - 1])
        counts.insert(0, shorter)
    return [grams for grams in counts if grams]


def _check(sentence: Sequence[str], known: set[str]) -> None:
    """Raise DataError for a word that a language model cannot have; `known` are words that were looked at before."""
    for word in sentence:
        if word in known:
            continue
        if word in (BEGIN, END):
            raise DataError(f"A sentence of the corpus has the word {word}, which stands for the sentence's edge.")
        if not word or word.split() != [word]:
            raise DataError(f"A sentence of the corpus has the word {word!r}: words are not empty, and have no spaces.")
        known.add(word)


def discounts_of(grams: Mapping[Gram, int]) -> tuple[float, float, float]:
    """The discounts D(1), D(2), D(3+) of the n-grams of one length."""
    numbers = Counter(grams.values())
    n1, n2, n3, n4 = (numbers[count] for count in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < discount <= most for most, discount in enumerate(found, start=1)) else FALLBACK


def _contexts(
    grams: Mapping[Gram, int], discounts: tuple[float, float, float]
) -> tuple[dict[Gram, int], dict[Gram, float]]:
    """Of each context: what its n-grams count for together, and what the discounts take of it."""
    totals: defaultdict[Gram, int] = defaultdict(int)
    left: defaultdict[Gram, float] = defaultdict(float)
    for gram, count in grams.items():
        context = gram[:-1]
        totals[context] += count
        left[context] += discounts[min(count, 3) - 1]
    return totals, left
