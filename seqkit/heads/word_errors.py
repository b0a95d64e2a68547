"""Word and character error rates from sums over utterances, so that intervals follow from the same numbers.

jiwer counts: the fewest words to substitute, delete and insert so that a reference becomes the hypothesis (Levenshtein
1966). Texts are compared as they are written, case and punctuation too; only how words are spaced does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from jiwer import WordOutput

COUNTS = 8
"""Word substitutions, deletions, insertions and reference words; character edits and reference characters; whether the
words are all right, and 1."""

Kind = Literal["equal", "substitute", "delete", "insert"]


def error_counts(reference: str, hypothesis: str) -> np.ndarray:
    """What an utterance adds to the rates: float64 (COUNTS,). A space between two words is a character."""
    from jiwer import process_characters

    words = _compared(reference, hypothesis)
    reference, hypothesis = _spaced(reference), _spaced(hypothesis)
    characters = process_characters(reference, hypothesis)
    edits = characters.substitutions + characters.deletions + characters.insertions
    word_edits = (words.substitutions, words.deletions, words.insertions)
    return np.array(
        [*word_edits, len(words.references[0]), edits, len(reference), reference == hypothesis, 1], dtype=np.float64
    )


def error_rates(totals: np.ndarray) -> dict[str, float]:
    """Rates of summed counts (COUNTS,), as fractions; with many insertions they are above 1.

    `wer` is the sum of `substitutions`, `deletions` and `insertions`, each over the words of the references; `cer` is
    over their characters. References without any word count as one of one character: each inserted word is then an
    error of 1, and the rates are finite. `sentence_accuracy` is the share of utterances with every word right.
    """
    substitutions, deletions, insertions, words, edits, characters, exact, utterances = map(float, totals)
    words, characters = max(words, 1.0), max(characters, 1.0)
    return {
        "wer": (substitutions + deletions + insertions) / words,
        "cer": edits / characters,
        "substitutions": substitutions / words,
        "deletions": deletions / words,
        "insertions": insertions / words,
        "sentence_accuracy": exact / max(utterances, 1.0),
    }


def aligned(reference: str, hypothesis: str) -> list[tuple[Kind, str | None, str | None]]:
    """The words of both texts side by side, by one alignment with the fewest errors: (kind, reference, hypothesis).

    A word that was deleted has no counterpart in the hypothesis, one that was inserted none in the reference: None.
    """
    found = _compared(reference, hypothesis)
    (references,), (hypotheses,) = found.references, found.hypotheses
    pairs: list[tuple[Kind, str | None, str | None]] = []
    for chunk in found.alignments[0]:
        ours = references[chunk.ref_start_idx : chunk.ref_end_idx]
        theirs = hypotheses[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            pairs += [("delete", word, None) for word in ours]
        elif chunk.type == "insert":
            pairs += [("insert", None, word) for word in theirs]
        else:
            kind: Kind = "equal" if chunk.type == "equal" else "substitute"
            pairs += [(kind, *both) for both in zip(ours, theirs, strict=True)]
    return pairs


def _compared(reference: str, hypothesis: str) -> WordOutput:
    from jiwer import process_words

    return process_words(_spaced(reference), _spaced(hypothesis))


def _spaced(text: str) -> str:
    """Words with one space between them: jiwer takes a tab or the end of a line for a part of a word."""
    return " ".join(text.split())
