"""Pairs that are too long to train on: left out and counted, at the bound and beyond it."""

from __future__ import annotations

import datasets
import pytest

from seqkit.data.limits import within_limits
from seqkit.data.splits import Split
from seqkit.errors import DataError

LONG, UNEVEN = "a side of more than 8 characters", "one side more than 2 times as long as the other"


def _split(*sizes: tuple[int, int], left_out: dict[str, int] | None = None) -> Split:
    """Pairs of so many characters."""
    rows = {
        "source": ["é" * source for source, _ in sizes],
        "target": ["猫" * target for _, target in sizes],
        "place": [f"train.csv:{number}" for number in range(2, len(sizes) + 2)],
    }
    return Split(datasets.Dataset.from_dict(rows), left_out or {}, "train.csv")


def _sizes(split: Split) -> list[tuple[int, int]]:
    return [(len(row["source"]), len(row["target"])) for row in split]


def test_pairs_beyond_a_limit_are_left_out_and_counted() -> None:
    split = _split((8, 8), (9, 8), (4, 9), (2, 4), (2, 5), (5, 2), (8, 1), (9, 1), left_out={"no target": 3})
    kept = within_limits(split, 8, 2.0)
    assert _sizes(kept) == [(8, 8), (2, 4)]
    assert kept.column("place") == ["train.csv:2", "train.csv:5"]
    assert kept.left_out == {"no target": 3, LONG: 3, UNEVEN: 3}
    assert kept.origin == "train.csv"
    assert split.left_out == {"no target": 3}


@pytest.mark.parametrize(
    ("most", "ratio", "expected"),
    [
        (None, None, [(1, 9), (9, 9), (0, 3), (0, 0), (30, 20)]),
        (9, None, [(1, 9), (9, 9), (0, 3), (0, 0)]),
        (None, 1.5, [(9, 9), (0, 0), (30, 20)]),
        (None, 9.0, [(1, 9), (9, 9), (0, 0), (30, 20)]),
    ],
)
def test_each_limit_can_be_left_off(most: int | None, ratio: float | None, expected: list[tuple[int, int]]) -> None:
    split = _split((1, 9), (9, 9), (0, 3), (0, 0), (30, 20))
    assert _sizes(within_limits(split, most, ratio)) == expected


def test_nothing_to_leave_out_changes_nothing() -> None:
    split = _split((3, 4), (4, 3), left_out={"no target": 1})
    assert within_limits(split, 4, 1.4) is split


@pytest.mark.parametrize(("sizes", "reason"), [([(9, 9), (1, 9)], LONG), ([(1, 3), (3, 1)], UNEVEN)])
def test_no_pair_left_is_a_clear_error(sizes: list[tuple[int, int]], reason: str) -> None:
    with pytest.raises(DataError, match=f"train.csv: every pair has {reason}") as caught:
        within_limits(_split(*sizes), 8, 2.0)
    assert "data.max_characters and data.max_ratio" in str(caught.value.hint)
