"""Items: the prepared examples of a split, what batches are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from seqkit.data.cache import Kept

Item = dict[str, Any]
"""One prepared example: numpy arrays, numbers and texts by name.

"trouble" is a sentence about a file that is damaged, where the example could be used all the same.
"""


class Unusable(Exception):  # noqa: N818 (a verdict on one example, not a fault)
    """Raised by a recipe's `prepare` for an example that is left out; the text is the reason, and is counted."""


class Broken(Unusable):
    """An example that is at fault itself: its file is missing or damaged, or its text does not fit.

    `reason` is counted, as that of every example that is left out; the text of the exception is a whole sentence, which
    is shown with the example's place.
    """

    def __init__(self, problem: str, reason: str = "broken") -> None:
        super().__init__(problem)
        self.reason = reason


@dataclass(frozen=True)
class Items:
    """Prepared examples, in order: `values[i]` has `lengths[i]` real steps and stands at `places[i]` in the data."""

    values: Sequence[Item]
    lengths: np.ndarray
    places: Sequence[str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    broken: Sequence[str] = ()
    """A sentence for each example that was left out because it is broken, with its place in front."""
    damaged: Sequence[str] = ()
    """A sentence for each example that is used although its file is damaged."""

    def __len__(self) -> int:
        return len(self.values)

    def first(self, count: int) -> Items:
        """The first `count` items, or all where there are fewer."""
        return replace(self, values=self.values[:count], lengths=self.lengths[:count], places=self.places[:count])


def attempt(prepare: Callable[[Mapping[str, Any]], Item], example: Mapping[str, Any]) -> Item | Unusable:
    """Prepare an example: the item, or the verdict that it is unusable."""
    try:
        return prepare(example)
    except Unusable as verdict:
        return verdict


def prepare_all(
    examples: Iterable[Mapping[str, Any]],
    prepare: Callable[[Mapping[str, Any]], Item],
    length: Callable[[Item], int],
    progress: Callable[[int, int], None] | None = None,
    kept: Kept | None = None,
) -> Items:
    """Prepare every example and keep the items in memory; unusable ones are left out and counted by reason, and those
    that are broken are named.

    `progress` is called with (done, total). `kept` is what earlier runs prepared (`opened_cache`). An example's `place`
    (file and line) is kept for messages.
    """
    values: list[Item] = []
    places: list[str] = []
    left_out: Counter[str] = Counter()
    broken: list[str] = []
    damaged: list[str] = []
    total = len(examples) if isinstance(examples, Sized) else 0
    outcomes: Iterator[tuple[Mapping[str, Any], Item | Unusable]]
    if kept is None:
        outcomes = ((example, attempt(prepare, example)) for example in examples)
    else:
        outcomes = kept.prepare(examples, prepare)
    for number, (example, outcome) in enumerate(outcomes, 1):
        place = str(example.get("place", number))
        if isinstance(outcome, Broken):
            left_out[outcome.reason] += 1
            broken.append(_placed(str(outcome), place))
        elif isinstance(outcome, Unusable):
            left_out[str(outcome)] += 1
        else:
            values.append(outcome)
            places.append(place)
            if "trouble" in outcome:
                damaged.append(_placed(outcome["trouble"], place))
        if progress is not None and number % 500 == 0:
            progress(number, total)
    lengths = np.fromiter((length(item) for item in values), dtype=np.int64, count=len(values))
    return Items(values, lengths, places, dict(left_out), broken, damaged)


def _placed(sentence: str, place: str) -> str:
    """A sentence about an example with its place in front; a file of a folder without a table is its own place."""
    return sentence if sentence.startswith((f"{place}: ", f"{place} ")) else f"{place}: {sentence}"
