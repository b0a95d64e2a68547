"""Short made-up reviews in which word order decides: an honest small task for the demo of text classification.

A small grammar writes them from a fixed seed. The clauses carry a polarity, plainly or through a negation ("not
tedious at all"); where two clauses disagree, the one that the conjunction puts in front decides ("X, but Y" and
"although X, Y" mean Y, "Y, although X" does too). Sentences without an opinion stand around them. So words alone do not
suffice. A sentence stands in one part only, and the test part has things and phrasings of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")

SIZES = {"train": 2400, "validation": 400, "test": 400}
LABELS = {1: "positive", -1: "negative"}
_SEED = 1997

_ADJECTIVES = {
    1: [
        *("good", "great", "lovely", "charming", "brilliant", "superb", "clever", "fresh", "delightful", "pleasant"),
        *("excellent", "wonderful", "gripping", "warm", "elegant", "reliable", "impressive", "splendid"),
    ],
    -1: [
        *("bad", "awful", "dull", "boring", "tedious", "poor", "weak", "clumsy", "dreadful", "unpleasant"),
        *("terrible", "horrible", "tiresome", "cold", "ugly", "shoddy", "disappointing", "mediocre"),
    ],
}
_VERBS = {
    1: ["loved", "enjoyed", "admired", "adored", "recommended"],
    -1: ["hated", "disliked", "regretted", "loathed", "resented"],
}
_VERB_STEMS = {
    1: ["love", "enjoy", "admire", "adore", "recommend"],
    -1: ["hate", "dislike", "regret", "loathe", "resent"],
}
_INTENSIFIERS = ["", "", "", "very ", "really ", "quite ", "truly ", "utterly ", "rather "]

_DOMAINS: list[tuple[str, list[str], list[str]]] = [
    (
        "film",
        ["film", "plot", "acting", "ending", "script", "soundtrack", "cast", "dialogue"],
        ["we saw it on a monday", "it runs for two hours", "my sister chose it", "the hall was half full"],
    ),
    (
        "restaurant",
        ["food", "soup", "service", "menu", "waiter", "dessert", "wine", "kitchen"],
        ["we sat by the window", "our table was for four", "they open at noon", "we ordered the fish"],
    ),
    (
        "hotel",
        ["hotel", "room", "breakfast", "staff", "view", "bed", "lobby", "pool"],
        ["we stayed for three nights", "it is near the station", "our floor was the second", "we came by train"],
    ),
    (
        "phone",
        ["phone", "screen", "camera", "battery", "keyboard", "speaker", "design", "display"],
        ["i bought it in may", "it came in a small box", "mine is the black one", "it replaced my old one"],
    ),
]
_TEST_DOMAIN: tuple[str, list[str], list[str]] = (
    "book",
    ["book", "novel", "chapter", "prose", "narrator", "cover", "translation", "story"],
    ["i read it on a train", "it has four hundred pages", "a friend lent it to me", "it is the third of a series"],
)
_TEST_SHARE = 0.3  # of the test part's reviews are about the domain that training never sees

# {n}: thing, {i}: intensifier, {a}: adjective of the clause's polarity, {o}: of the opposite one; {v} {w}: verbs.
_PLAIN = [
    "the {n} was {i}{a}",
    "the {n} is {i}{a}",
    "i found the {n} {i}{a}",
    "they have a {a} {n}",
    "i {v} the {n}",
    "everyone {v} the {n}",
    "the {n} turned out {i}{a}",
]
_NEGATED = [
    "the {n} was not {i}{o}",
    "the {n} was not {o} at all",
    "the {n} is never {o}",
    "the {n} was far from {o}",
    "i did not {w} the {n}",
    "nobody could call the {n} {o}",
    "the {n} was anything but {o}",
    "i do not think the {n} was {o}",
]
_REVERSED = [
    "i expected a {o} {n} and got a {a} one",
    "people say the {n} is {o} , which is wrong",
    "the {n} is less {o} than they say and rather {a}",
]
_TEST_PLAIN = ["for me the {n} was {i}{a}", "the {n} seemed {i}{a} to us"]
_TEST_NEGATED = ["for me the {n} was not {o}", "we did not {w} the {n} at all"]
# The clause that decides is {y}; {x} says the opposite.
_CONTRASTS = [
    "{x} , but {y}",
    "{x} , yet {y}",
    "although {x} , {y}",
    "{y} , although {x}",
    "{x} ; still , {y}",
    "{y} , even if {x}",
]


def demo_reviews() -> dict[str, list[dict[str, str]]]:
    """The corpus: {part: rows}, each row with "text" (lower-case words, one space between) and "label".

    Parts: train 2,400, validation 400 and test 400 reviews, half of them positive. It is the same on every call.
    """
    rng = random.Random(_SEED)
    seen: set[str] = set()
    return {name: _part(rng, size, seen, test=name == "test") for name, size in SIZES.items()}


def _part(rng: random.Random, size: int, seen: set[str], *, test: bool) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    while len(rows) < size:
        polarity = 1 if len(rows) % 2 == 0 else -1
        text = _review(rng, polarity, test=test)
        if text not in seen:
            seen.add(text)
            rows.append({"text": text, "label": LABELS[polarity]})
    for last in range(size - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        rows[last], rows[other] = rows[other], rows[last]
    return rows


def _review(rng: random.Random, polarity: int, *, test: bool) -> str:
    """One or two sentences with an opinion, with up to two neutral ones around them."""
    _, things, fillers = _TEST_DOMAIN if test and rng.random() < _TEST_SHARE else _pick(rng, _DOMAINS)
    if rng.random() < 0.22:
        reason, verdict = _clause(rng, -polarity, things, test=test), _clause(rng, polarity, things, test=test)
        opinion = _pick(rng, _CONTRASTS).format(x=reason, y=verdict)
    else:
        opinion = _clause(rng, polarity, things, test=test)
    sentences = [opinion]
    if rng.random() < 0.6:
        sentences.insert(0, _pick(rng, fillers))
    if rng.random() < 0.5:
        sentences.append(_pick(rng, [filler for filler in fillers if filler not in sentences]))
    return re.sub(r"\ba (?=[aeiou])", "an ", " . ".join(sentences) + " .")


def _clause(rng: random.Random, polarity: int, things: Sequence[str], *, test: bool) -> str:
    """One clause of the given polarity: said plainly (three in four), through a negation, or against an expectation."""
    draw = rng.random()
    if draw < 0.75:
        frames = _PLAIN + (_TEST_PLAIN if test else [])
    elif draw < 0.95:
        frames = _NEGATED + (_TEST_NEGATED if test else [])
    else:
        frames = _REVERSED
    return _pick(rng, frames).format(
        n=_pick(rng, things),
        i=_pick(rng, _INTENSIFIERS),
        a=_pick(rng, _ADJECTIVES[polarity]),
        o=_pick(rng, _ADJECTIVES[-polarity]),
        v=_pick(rng, _VERBS[polarity]),
        w=_pick(rng, _VERB_STEMS[-polarity]),
    )


def _pick(rng: random.Random, choices: Sequence[Choice]) -> Choice:
    """One of the choices. Only `random()` is promised to give the same numbers in every version of Python."""
    return choices[int(rng.random() * len(choices))]
