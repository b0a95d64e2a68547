"""Pairs of texts that are too long to train on, by themselves or beside each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from seqkit.data.splits import Split
from seqkit.errors import DataError


def within_limits(train: Split, max_characters: int | None, max_ratio: float | None) -> Split:
    """The pairs (columns "source" and "target") of which no side is too long; the rest is left out and counted.

    Args:
        train: the pairs.
        max_characters: most characters of a side; None for no limit.
        max_ratio: most times the characters of one side that the other may have; None for no limit.

    Raises:
        DataError: no pair is left.
    """
    pairs = zip(train.column("source"), train.column("target"), strict=True)
    reasons = [_over_limit(len(source), len(target), max_characters, max_ratio) for source, target in pairs]
    dropped = Counter(reason for reason in reasons if reason is not None)
    if not dropped:
        return train
    kept = [row for row, reason in enumerate(reasons) if reason is None]
    if not kept:
        hint = "Raise data.max_characters and data.max_ratio, or set them to null."
        raise DataError(f"{train.origin}: every pair has {' or '.join(dropped)}.", hint=hint)
    return replace(train, examples=train.examples.select(kept), left_out={**train.left_out, **dropped})


def _over_limit(source: int, target: int, max_characters: int | None, max_ratio: float | None) -> str | None:
    """Why a pair of so many characters is left out, if it is."""
    longer, shorter = max(source, target), min(source, target)
    if max_characters is not None and longer > max_characters:
        return f"a side of more than {max_characters} characters"
    if max_ratio is not None and longer > max_ratio * shorter:
        return f"one side more than {max_ratio:g} times as long as the other"
    return None
