"""BLEU and chrF from sums over sentences, so that intervals and parts of a data set follow from the same numbers.

sacrebleu (Post 2018) counts and scores; here its counts are kept apart from its scores. It keeps them apart itself, for
its significance tests, in methods that its metrics share.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

BLEU_COUNTS = 10
"""Length of the output and of the reference, then matches and n-grams for n = 1 to 4."""
CHRF_COUNTS = 18
"""n-grams of the output and of the reference, and matches, for characters and n = 1 to 6."""
COUNTS = BLEU_COUNTS + CHRF_COUNTS


@cache
def _metrics() -> tuple[Any, Any]:
    """BLEU (Papineni et al. 2002; cased, 13a tokens) and chrF2 (Popovic 2015), as sacrebleu has them by default."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return BLEU(), CHRF()


def overlap_counts(output: str, reference: str) -> np.ndarray:
    """What a sentence adds to both scores: float64 (COUNTS,)."""
    counts = [metric._extract_corpus_statistics([output], [[reference]])[0] for metric in _metrics()]
    return np.array([*counts[0], *counts[1]], dtype=np.float64)


def overlap_scores(totals: np.ndarray) -> dict[str, float]:
    """BLEU and chrF, 0 to 100, of summed counts (COUNTS,)."""
    parts = {"bleu": totals[:BLEU_COUNTS], "chrf": totals[BLEU_COUNTS:COUNTS]}
    return {
        name: float(metric._compute_score_from_stats(part.tolist()).score)
        for metric, (name, part) in zip(_metrics(), parts.items(), strict=True)
    }


def sentence_chrf(output: str, reference: str) -> float:
    """chrF, 0 to 100, of one sentence."""
    return overlap_scores(overlap_counts(output, reference))["chrf"]


@cache
def signatures() -> dict[str, str]:
    """sacrebleu's signature of each score: what must agree for two figures to be compared."""
    made = {}
    for name, metric in zip(("bleu", "chrf"), _metrics(), strict=True):
        metric.corpus_score(["what it counts it"], [["knows then"]])  # the number of references is part of it
        made[name] = str(metric.get_signature())
    return made
