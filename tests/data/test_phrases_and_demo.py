"""Phrases must not give held-out texts away; the demo corpus must be the small honest task that it claims to be."""

from __future__ import annotations

from collections import Counter

import pytest

from seqkit.data.demo_reviews import SIZES, demo_reviews
from seqkit.data.phrases import add_phrases, within
from seqkit.data.splits import Split, make_split
from seqkit.errors import DataError

TRAIN = ["a very good film .", "not bad"]
HELDOUT = ["a dull film .", "very bad"]


def split(texts: list[str], label: str = "1") -> Split:
    places = [f"p:{row}" for row in range(len(texts))]
    return make_split({"text": texts, "label": [label] * len(texts)}, places, origin="p")


def test_a_phrase_of_held_out_texts_alone_is_dropped() -> None:
    phrases = ["film .", "dull film .", "very", "very bad", "bad", "good", "from elsewhere", "a dull", "ull film"]
    kept = [phrases[row] for row in within(phrases, TRAIN, HELDOUT)]
    assert kept == ["film .", "very", "bad", "good", "from elsewhere", "ull film"]


def test_phrases_join_the_training_part() -> None:
    joined = add_phrases(split(TRAIN), split(["good", "not bad", "dull"]), split(HELDOUT))
    assert joined.column("text") == [*TRAIN, "good"]
    assert joined.left_out == {"phrase: stands in held-out texts only": 1, "phrase: is a training text itself": 1}
    with pytest.raises(DataError, match="no phrase can be added"):
        add_phrases(split(TRAIN), split(["dull"]), split(HELDOUT))


def test_the_demo_corpus_is_the_same_each_time_and_balanced() -> None:
    corpus = demo_reviews()
    assert corpus == demo_reviews()
    assert {name: len(rows) for name, rows in corpus.items()} == SIZES
    for rows in corpus.values():
        assert set(Counter(row["label"] for row in rows).values()) == {len(rows) // 2}


def test_the_demo_parts_share_no_review_and_test_has_words_of_its_own() -> None:
    corpus = demo_reviews()
    texts = [row["text"] for rows in corpus.values() for row in rows]
    assert len(set(texts)) == len(texts)
    words = {name: {word for row in rows for word in row["text"].split()} for name, rows in corpus.items()}
    assert {"novel", "chapter"} <= words["test"] - words["train"]
    assert not words["validation"] - words["train"]
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[0] >= 5
    assert lengths[-1] <= 40
