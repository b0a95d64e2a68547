"""Which examples go into a part that is cut from another: drawn by a key alone, by group or by label where asked, or
taken from the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CUT = 3
"""What the generator is for; `seqkit.data.batching` has the others."""


def cut(
    size: int,
    wanted: int,
    *,
    key: tuple[int, int],
    groups: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> tuple[list[int], list[int]]:
    """Cut about `wanted` of `size` examples off; returns the indices of those that stay and of those that go, in order.

    `key` is (seed, which cut). With `groups`, equal values stay on one side (an empty one is a group of its own), and
    whole groups go until `wanted` is reached. With `labels`, each label goes in its own share, and the last example
    of a label stays.
    """
    rng = np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=(_CUT, key[1])))
    if groups is not None:
        taken = _by_group(groups, wanted, rng)
    elif labels is not None:
        taken = _by_label(labels, wanted, rng)
    else:
        taken = set(rng.permutation(size)[:wanted].tolist())
    return [i for i in range(size) if i not in taken], sorted(taken)


def cut_tail(sizes: Sequence[int], shares: Sequence[float]) -> list[int] | None:
    """Where consecutive parts begin that are cut off the end of a corpus: one index for each of `shares`, in order.

    `sizes` are the examples' sizes, e.g. in characters, and a part's share is one of their sum. A part begins at the
    boundary of examples that is nearest to its share. Every part, and what is left before them, has an example at
    least; None where there are too few.
    """
    if len(sizes) <= len(shares):
        return None
    before = np.concatenate([[0], np.cumsum(sizes)])  # (examples + 1,): the size of all that stands before a boundary
    starts: list[int] = []
    for number in range(len(shares)):
        nearest = int(np.argmin(np.abs(before - before[-1] * (1.0 - sum(shares[number:])))))
        low = 1 if not starts else starts[-1] + 1
        starts.append(min(max(nearest, low), len(sizes) - (len(shares) - number)))
    return starts


def hold_out(
    values: Sequence[str], value: str, groups: Sequence[str] | None = None
) -> tuple[list[int], list[int], list[int]]:
    """Hold the examples with one of the `values` out: the indices of the others, of these, and of those in neither.

    With `groups`, whose equal values must not be on both sides (an empty one is a group of its own), the third list has
    the examples with another value that share a group with a held-out one; without, it is empty.
    """
    taken = [index for index, own in enumerate(values) if own == value]
    apart = {groups[index].strip() for index in taken} - {""} if groups is not None else set()
    kept: list[int] = []
    shared: list[int] = []
    for index, own in enumerate(values):
        if own != value:
            (shared if groups is not None and groups[index].strip() in apart else kept).append(index)
    return kept, taken, shared


def _by_group(groups: Sequence[str], wanted: int, rng: np.random.Generator) -> set[int]:
    members: dict[object, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group.strip() or index, []).append(index)
    names = list(members)
    taken: set[int] = set()
    for position in rng.permutation(len(names)).tolist():
        if len(taken) >= wanted:
            break
        taken.update(members[names[position]])
    return taken


def _by_label(labels: Sequence[str], wanted: int, rng: np.random.Generator) -> set[int]:
    members: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    taken: set[int] = set()
    due = 0.0  # what is due by now, carried from label to label, so that rounding does not add up
    for label in sorted(members):
        own = members[label]
        due += wanted * len(own) / len(labels)
        count = min(max(0, round(due) - len(taken)), len(own) - 1)
        taken.update(own[i] for i in rng.permutation(len(own))[:count].tolist())
    return taken
