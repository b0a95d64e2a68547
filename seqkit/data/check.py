"""Before training: are the labels sound, does anything stand twice, and what is in the data at all?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from seqkit.data.splits import PLACE, Split
from seqkit.errors import DataError, nearest
from seqkit.reporting.tables import DataReport, Duplicates, SplitReport

__all__ = ["DataReport", "Duplicates", "SplitReport", "check_labels", "describe"]

# From here on one label is so frequent that accuracy says little.
_IMBALANCE = 10
# More labels than this in a column suggest that it holds texts or numbers, not classes.
_MANY_LABELS = 1000
_SAMPLES = 3


def describe(
    splits: Mapping[str, Split],
    lengths: Mapping[str, Sequence[int] | np.ndarray],
    *,
    key_column: str | None,
    label_column: str | None = None,
    unit: str = "tokens",
    broken: Sequence[str] = (),
    damaged: Sequence[str] = (),
) -> DataReport:
    """Describe the parts and check them against each other.

    `lengths` holds, for each part, the real steps of its prepared examples in `unit`; `key_column` tells by its value
    (without surrounding whitespace) whether two examples are the same, None not at all; `broken` and `damaged` are the
    sentences of `Items`.
    """
    reports = {
        name: SplitReport(
            split.origin, len(split), _summary(lengths.get(name, ())), _counts(split, label_column), split.left_out
        )
        for name, split in splits.items()
    }
    duplicates = _duplicates(splits, key_column) if key_column is not None else []
    warnings = [*_label_warnings(reports), *map(_duplicate_warning, duplicates)]
    return DataReport(unit, reports, duplicates, warnings, list(broken), list(damaged))


def check_labels(splits: Mapping[str, Split], label_column: str, *, known: Iterable[str] = ()) -> None:
    """Raises DataError if there are fewer than two labels, or another part has a label that training never sees.

    `known` are labels that other parts may have all the same, e.g. coarser ones.
    """
    seen = set(splits["train"].column(label_column))
    if len(seen) < 2:
        hint = f"Check the column that '{label_column}' is read from."
        raise DataError(f"{splits['train'].origin}: every training example has the label '{min(seen)}'.", hint=hint)
    allowed = seen | set(known)
    for name, split in splits.items():
        for label, place in zip(split.column(label_column), split.column(PLACE), strict=True):
            if label not in allowed:
                raise DataError(
                    f"{place}: the label '{label}' of the {name} part stands in no training example.",
                    hint=f"{nearest(label, allowed)} Correct it, or add training examples with it.",
                )


def _summary(lengths: Sequence[int] | np.ndarray) -> dict[str, float]:
    steps = np.asarray(lengths, dtype=np.int64)
    if steps.size == 0:
        return {}
    median, p95 = np.percentile(steps, [50, 95])
    return {
        "min": int(steps.min()),
        "median": float(median),
        "p95": float(p95),
        "max": int(steps.max()),
        "sum": int(steps.sum()),
    }


def _counts(split: Split, label_column: str | None) -> dict[str, int]:
    return dict(sorted(Counter(split.column(label_column)).items())) if label_column is not None else {}


def _duplicates(splits: Mapping[str, Split], column: str) -> list[Duplicates]:
    """What stands twice in train, and what stands in two parts."""
    keys = {name: [value.strip() for value in split.column(column)] for name, split in splits.items()}
    places = {name: split.column(PLACE) for name, split in splits.items()}
    first = {name: _first_rows(values) for name, values in keys.items()}
    found = []
    for one, other in [("train", "train"), *combinations(splits, 2)]:
        pairs = [(first[one][key], row) for row, key in enumerate(keys[other]) if key in first[one]]
        if one == other:
            pairs = [(earlier, row) for earlier, row in pairs if earlier != row]
        if pairs:
            samples = [(places[one][earlier], places[other][row]) for earlier, row in pairs[:_SAMPLES]]
            found.append(Duplicates(one, other, len(pairs), samples))
    return found


def _first_rows(values: Sequence[str]) -> dict[str, int]:
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        first.setdefault(value, row)
    return first


def _label_warnings(reports: Mapping[str, SplitReport]) -> list[str]:
    counts = reports["train"].labels
    if not counts:
        return []
    rare, frequent = min(counts, key=lambda label: counts[label]), max(counts, key=lambda label: counts[label])
    warnings = []
    if counts[frequent] >= _IMBALANCE * counts[rare]:
        warnings.append(
            f"train has {counts[frequent]:,} examples of '{frequent}' and {counts[rare]:,} of '{rare}': "
            "look at macro F1 rather than accuracy, or weigh the labels."
        )
    if len(counts) > _MANY_LABELS:
        warnings.append(f"train has {len(counts):,} different labels: is this the right column?")
    return warnings


def _duplicate_warning(found: Duplicates) -> str:
    where = f"e.g. {found.places[0][1]} and {found.places[0][0]}"
    if found.first == found.second:
        return f"{found.count:,} examples of {found.first} repeat an earlier one ({where})."
    return f"{found.count:,} examples of {found.second} stand in {found.first} too ({where})."
