"""Labelled phrases as extra training examples, without those that would give held-out texts away.

A treebank labels the phrases of its sentences. Where sentences are held out of training, their phrases must be too:
a phrase stays only if it does not stand in a held-out text, or stands in a training text as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from seqkit.errors import DataError

if TYPE_CHECKING:
    from seqkit.data.splits import Split

Tokens = tuple[str, ...]


def within(phrases: Sequence[str], train_texts: Iterable[str], heldout_texts: Iterable[str]) -> list[int]:
    """The rows of `phrases` that training may see: all but the spans of held-out texts that are in no training text.

    A span is a run of whole tokens (what stands between whitespace).
    """
    tokens = [tuple(phrase.split()) for phrase in phrases]
    at_risk = _spans(heldout_texts, set(tokens))
    seen = _spans(train_texts, at_risk)
    return [row for row, phrase in enumerate(tokens) if phrase not in at_risk or phrase in seen]


def add_phrases(train: Split, phrases: Split, *heldout: Split, column: str = "text") -> Split:
    """The training part with the phrases that no held-out part alone has.

    Both parts have the same columns, `column` with the text. A phrase that is a whole training text is there already,
    and left out. Raises DataError if no phrase is left.
    """
    import datasets

    texts = train.column(column)
    known = {tuple(text.split()) for text in texts}
    rows = phrases.column(column)
    allowed = within(rows, texts, [text for part in heldout for text in part.column(column)])
    kept = [row for row in allowed if tuple(rows[row].split()) not in known]
    if not kept:
        raise DataError(f"{phrases.origin}: no phrase can be added to the training part.", hint="Check data.phrases.")
    names = phrases.examples.column_names
    joined = datasets.concatenate_datasets([train.examples.select_columns(names), phrases.examples.select(kept)])
    left_out = Counter(train.left_out)
    for reason, count in phrases.left_out.items():
        left_out[f"phrase: {reason}"] += count
    left_out["phrase: stands in held-out texts only"] += len(rows) - len(allowed)
    left_out["phrase: is a training text itself"] += len(allowed) - len(kept)
    origin = f"{train.origin}, and {len(kept)} phrases of {phrases.origin}"
    return replace(train, examples=joined, left_out={name: n for name, n in left_out.items() if n}, origin=origin)


def _spans(texts: Iterable[str], wanted: set[Tokens]) -> set[Tokens]:
    """Which of the `wanted` runs of tokens stand in any of the texts."""
    sizes = sorted({len(phrase) for phrase in wanted})
    found: set[Tokens] = set()
    for text in texts:
        tokens = tuple(text.split())
        for size in sizes:
            if size > len(tokens):
                break
            for start in range(len(tokens) - size + 1):
                span = tokens[start : start + size]
                if span in wanted:
                    found.add(span)
    return found
