"""Word and character error rates, against an edit distance written out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from seqkit.heads.word_errors import COUNTS, aligned, error_counts, error_rates

WORDS = ["a", "b", "ab", "It's", "it's", "über", "u\u0308ber", "猫", "3,000", "a"]
PAIRS = [
    ("", ""),
    ("", "a b"),
    ("a b", ""),
    (" \t\n", "a"),
    ("a", "\u2028 "),
    ("a b", "a b"),
    ("  a   b ", "a\tb\n"),
    ("a b c", "b c a"),
    ("the cat sat", "The cat sat."),
    ("猫 が いる", "猫がいる"),
]


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance by the table of all prefixes."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            swapped = table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, swapped)
    return table[-1][-1]


def _random_pairs(seed: int, count: int = 60) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        reference = [rng.choice(WORDS) for _ in range(rng.randint(0, 12))]
        hypothesis = [rng.choice(WORDS) if rng.random() < 0.3 else word for word in reference if rng.random() < 0.8]
        hypothesis += [rng.choice(WORDS) for _ in range(rng.randint(0, 2))]
        pairs.append((" ".join(reference), rng.choice(("  ", " ")).join(hypothesis)))
    return pairs


@pytest.mark.parametrize(("reference", "hypothesis"), [*PAIRS, *_random_pairs(0)])
def test_counts_are_those_of_the_edit_distance(reference: str, hypothesis: str) -> None:
    ours, theirs = reference.split(), hypothesis.split()
    counts = error_counts(reference, hypothesis)
    assert counts.shape == (COUNTS,)
    assert counts.dtype == np.float64
    substitutions, deletions, insertions, words, edits, characters, exact, one = counts
    assert substitutions + deletions + insertions == _distance(ours, theirs)
    assert insertions - deletions == len(theirs) - len(ours)
    assert words == len(ours)
    assert edits == _distance(" ".join(ours), " ".join(theirs))
    assert characters == len(" ".join(ours))
    assert exact == (ours == theirs)
    assert one == 1


def test_rates_are_of_the_whole_and_not_a_mean_of_rates() -> None:
    pairs = [*PAIRS, *_random_pairs(1)]
    rates = error_rates(np.sum([error_counts(*pair) for pair in pairs], axis=0))
    split = [(reference.split(), hypothesis.split()) for reference, hypothesis in pairs]
    words = sum(len(reference) for reference, _ in split)
    assert rates["wer"] == pytest.approx(sum(_distance(*pair) for pair in split) / words)
    assert rates["wer"] == pytest.approx(rates["substitutions"] + rates["deletions"] + rates["insertions"])
    joined = [(" ".join(reference), " ".join(hypothesis)) for reference, hypothesis in split]
    characters = sum(len(reference) for reference, _ in joined)
    assert rates["cer"] == pytest.approx(sum(_distance(*pair) for pair in joined) / characters)
    assert rates["sentence_accuracy"] == pytest.approx(sum(a == b for a, b in split) / len(split))


def test_each_kind_of_error_has_its_rate() -> None:
    rates = error_rates(error_counts("a b c", "a x c d") + error_counts("a b", "a") + error_counts("a b c", "a b c"))
    assert rates == pytest.approx(
        {
            "wer": 3 / 8,
            "cer": (1 + 2 + 2) / (5 + 3 + 5),
            "substitutions": 1 / 8,
            "deletions": 1 / 8,
            "insertions": 1 / 8,
            "sentence_accuracy": 1 / 3,
        }
    )


def test_without_a_word_in_the_references_rates_are_finite() -> None:
    nothing = error_rates(error_counts("", ""))
    assert nothing == {
        "wer": 0.0,
        "cer": 0.0,
        "substitutions": 0.0,
        "deletions": 0.0,
        "insertions": 0.0,
        "sentence_accuracy": 1.0,
    }
    invented = error_rates(error_counts("", "a bc") + error_counts(" ", ""))
    assert (invented["wer"], invented["insertions"], invented["cer"]) == (2.0, 2.0, 4.0)
    assert invented["sentence_accuracy"] == 0.5
    assert all(np.isfinite(list(error_rates(np.zeros(COUNTS)).values())))


@pytest.mark.parametrize(("reference", "hypothesis"), [*PAIRS, *_random_pairs(2)])
def test_an_alignment_holds_both_texts_and_the_fewest_errors(reference: str, hypothesis: str) -> None:
    pairs = aligned(reference, hypothesis)
    assert [word for _, word, _ in pairs if word is not None] == reference.split()
    assert [word for _, _, word in pairs if word is not None] == hypothesis.split()
    for kind, ours, theirs in pairs:
        expected = "insert" if ours is None else "delete" if theirs is None else "substitute"
        assert kind == ("equal" if ours == theirs else expected)
    assert sum(kind != "equal" for kind, _, _ in pairs) == _distance(reference.split(), hypothesis.split())
    kinds = [sum(kind == name for kind, _, _ in pairs) for name in ("substitute", "delete", "insert")]
    assert kinds == error_counts(reference, hypothesis)[:3].tolist()
