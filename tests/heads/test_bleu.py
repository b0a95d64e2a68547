"""BLEU and chrF from sums over sentences, against sacrebleu's own scores of the whole text."""

from __future__ import annotations

import random

import numpy as np
import pytest
import sacrebleu

from seqkit.heads.bleu import COUNTS, overlap_counts, overlap_scores, sentence_chrf, signatures

TEXT = "the cat , sat on a mat . It's 3,000 co-op über 猫 ( big ) & “x” Mat"
WORDS = TEXT.split()


def _sentences(seed: int, count: int = 40) -> tuple[list[str], list[str]]:
    """References, and outputs that are now the same, now near, now something else, now nothing."""
    rng = random.Random(seed)
    outputs, references = [], []
    for number in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(1, 15))]
        references.append(" ".join(words))
        kept = [word for word in words if rng.random() < 0.8]
        outputs.append([" ".join(words), " ".join(kept), "nothing alike", "", " ".join(words[::-1])][number % 5])
    return outputs, references


def _scores(outputs: list[str], references: list[str]) -> dict[str, float]:
    pairs = zip(outputs, references, strict=True)
    return overlap_scores(np.sum([overlap_counts(*pair) for pair in pairs], axis=0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_sums_over_sentences_are_the_scores_of_the_whole(seed: int, count: int) -> None:
    outputs, references = _sentences(seed, count)
    ours = _scores(outputs, references)
    assert ours["bleu"] == pytest.approx(sacrebleu.corpus_bleu(outputs, [references]).score, abs=1e-9)
    assert ours["chrf"] == pytest.approx(sacrebleu.corpus_chrf(outputs, [references]).score, abs=1e-9)
    assert count < 40 or 5 < ours["bleu"] < 95


@pytest.mark.parametrize(
    ("outputs", "references"),
    [
        (["", ""], ["the cat", "a mat"]),
        (["nothing alike"], ["the cat sat on the mat ."]),
        (["cat"], ["cat"]),
        (["the cat sat on the mat"], ["the cat sat on the mat"]),
        (["The Cat"], ["the cat"]),
        (["the the the the the"], ["the cat"]),
        (["a"], [""]),
    ],
)
def test_texts_without_a_match_and_short_ones_score_as_they_do_there(outputs: list[str], references: list[str]) -> None:
    ours = _scores(outputs, references)
    assert ours["bleu"] == pytest.approx(sacrebleu.corpus_bleu(outputs, [references]).score, abs=1e-9)
    assert ours["chrf"] == pytest.approx(sacrebleu.corpus_chrf(outputs, [references]).score, abs=1e-9)


def test_counts_are_numbers_that_add_up() -> None:
    one, other = overlap_counts("the cat sat", "the cat"), overlap_counts("", "a mat")
    assert one.shape == other.shape == (COUNTS,)
    assert one.dtype == np.float64
    assert one[:4].tolist() == [3, 2, 2, 1]  # lengths, then matches of 1-grams and 2-grams
    doubled = overlap_scores(2 * one)
    assert doubled == pytest.approx(overlap_scores(one))


def test_a_sentences_chrf_is_sacrebleus() -> None:
    for output, reference in zip(*_sentences(7, 10), strict=True):
        whole = sacrebleu.corpus_chrf([output], [[reference]]).score
        assert sentence_chrf(output, reference) == pytest.approx(whole, abs=1e-9)


def test_signatures_say_how_it_was_counted() -> None:
    made = signatures()
    assert set(made) == {"bleu", "chrf"}
    assert {"nrefs:1", "case:mixed", "tok:13a", "smooth:exp"} <= set(made["bleu"].split("|"))
    assert {"nrefs:1", "case:mixed", "nc:6", "nw:0"} <= set(made["chrf"].split("|"))
    assert all(f"version:{sacrebleu.__version__}" in signature.split("|") for signature in made.values())
