"""How well flags fit labels: F1, false alarm rate and missing alarm rate, over rows (Katser and Kozitsin 2020, SKAB).

Counts are summed over series before rates are taken, so that a long series counts for more, as SKAB's score does.
"""

from __future__ import annotations

import numpy as np

COUNTS = 4
"""Numbers of `flag_counts`."""


def flag_counts(flags: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """True and false positives, false and true negatives, float64, of flags (T,) bool against labels (T,).

    A row is labelled where its label is above 0; one whose label is NaN is not counted.
    """
    known = ~np.isnan(labels)
    labelled, flagged = labels[known] > 0, flags[known]
    return np.array(
        [
            (flagged & labelled).sum(),
            (flagged & ~labelled).sum(),
            (~flagged & labelled).sum(),
            (~flagged & ~labelled).sum(),
        ],
        dtype=np.float64,
    )


def flag_metrics(counts: np.ndarray) -> dict[str, float]:
    """F1 with its precision and recall, the false alarm rate FAR = FP / (FP + TN), and the missing alarm rate
    MAR = FN / (FN + TP), of `flag_counts`; what has nothing to divide by is left out.

    Beside F1 stands `f1_all_flagged`, that of flagging every row: with many labelled rows it is not low.
    """
    hits, false, missed, quiet = (float(count) for count in counts)
    found: dict[str, float] = {}
    if hits + missed > 0:
        found["f1"] = 2 * hits / (2 * hits + false + missed)
        found["precision"] = hits / (hits + false) if hits + false > 0 else 0.0
        found["recall"] = hits / (hits + missed)
        found["mar"] = missed / (hits + missed)
        found["f1_all_flagged"] = 2 * (hits + missed) / (2 * (hits + missed) + false + quiet)
    if false + quiet > 0:
        found["far"] = false / (false + quiet)
    return found
