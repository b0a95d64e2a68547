"""Short made-up tales that need a memory: an honest small task for the demo of language modelling.

A small grammar tells them from a fixed seed. The name, the trade, the tool and the place that a tale begins with come
back lines later, as "she" or "he" does; a verb agrees with its noun over the nouns between them, and where one clause
stands in another, verbs come in the reverse order of their nouns. Counts of neighbouring words cannot know any of that.

Every choice is an even one among a few, and every tale can be told in one way only: so the probability of the text
under the grammar is known, and with it the least loss that any model can have on average.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

Choice = TypeVar("Choice")

TALES = {"train": 2000, "validation": 200, "test": 200}
_SEED = 1997

_NAMES = [
    *((name, "she") for name in ("anna", "clara", "edith", "greta", "maud", "vera")),
    *((name, "he") for name in ("conrad", "emil", "hugo", "leon", "martin", "otto")),
]
_TOOLS = {
    "baker": "shovel",
    "carpenter": "saw",
    "fisher": "net",
    "miller": "sack",
    "smith": "hammer",
    "tailor": "needle",
}
_PLACES = ["bridge", "church", "harbour", "inn", "market", "school"]
# Singular and plural.
_NOUNS = [
    *(("barrel", "barrels"), ("boat", "boats"), ("candle", "candles"), ("cart", "carts"), ("cat", "cats")),
    *(("child", "children"), ("door", "doors"), ("goose", "geese"), ("horse", "horses"), ("key", "keys")),
    *(("lamp", "lamps"), ("mouse", "mice")),
]
_BE = ("is", "are")
_VERBS = [("sees", "see"), ("knows", "know"), ("finds", "find"), ("hears", "hear"), ("follows", "follow")]
_ADJECTIVES = ["old", "small", "lost", "new", "slow", "grey"]
_BETWEEN = ["near", "behind", "beside"]


class _Teller:
    """Tells tales, and adds up what every choice costs in nats."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.nats = 0.0

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of the choices. Only `random()` is promised to give the same numbers in every version of Python."""
        self.nats += math.log(len(choices))
        return choices[int(self._rng.random() * len(choices))]

    def tale(self) -> list[str]:
        """The lines of a tale, and the blank one after it."""
        name, pronoun = self.pick(_NAMES)
        trade, place = self.pick(list(_TOOLS)), self.pick(_PLACES)
        lines = [f"one day {name} the {trade} walks to the {place}"]
        for _ in range(self.pick([1, 2, 3, 4])):
            kind = self.pick(["tool", "call", "scene", "clause"])
            if kind == "tool":
                lines.append(f"there {pronoun} takes the {_TOOLS[trade]} of a {trade}")
            elif kind == "call":
                lines.append(f"{name} calls the {self._noun(1)} to the {place}")
            elif kind == "scene":
                lines.append(f"{name} sees that {self._scene()}")
            else:
                lines.append(f"{pronoun} knows that {self._clause()}")
        return [*lines, f"so ends the tale of {name} the {trade}", ""]

    def _noun(self, number: int) -> str:
        return self.pick(_NOUNS)[number]

    def _scene(self) -> str:
        """A noun, up to two others of any number behind it, and the verb that agrees with the first."""
        number = self.pick([0, 1])
        words = ["the", self._noun(number)]
        for _ in range(self.pick([0, 1, 2])):
            words += [self.pick(_BETWEEN), "the", self._noun(self.pick([0, 1]))]
        return " ".join([*words, _BE[number], self.pick(_ADJECTIVES)])

    def _clause(self) -> str:
        """One or two clauses within a sentence: the verbs come in the reverse order of their nouns."""
        numbers = [self.pick([0, 1]) for _ in range(self.pick([2, 3]))]
        nouns = " that ".join(f"the {self._noun(number)}" for number in numbers)
        verbs = " ".join(self.pick(_VERBS)[number] for number in reversed(numbers[1:]))
        return f"{nouns} {verbs} {_BE[numbers[0]]} {self.pick(_ADJECTIVES)}"


def demo_tales() -> dict[str, list[dict[str, str]]]:
    """The corpus: {part: rows}, each row with "text", a line (lower-case words, one space between).

    Parts: train 2,000, validation 200 and test 200 tales, a blank line after each. It is the same on every call.
    """
    return {part: [{"text": line} for line in lines] for part, (lines, _) in _told().items()}


def least_loss() -> dict[str, float]:
    """What each part costs under the grammar that made it, in nats a token (words, and the end of each line).

    No model does better on average, though one may on a part.
    """
    return {part: nats / sum(len(line.split()) + 1 for line in lines) for part, (lines, nats) in _told().items()}


@cache
def _told() -> dict[str, tuple[list[str], float]]:
    """The lines of each part and their nats."""
    teller = _Teller(_SEED)
    told = {}
    for part, tales in TALES.items():
        before = teller.nats
        lines = [line for _ in range(tales) for line in teller.tale()]
        told[part] = (lines, teller.nats - before)
    return told
