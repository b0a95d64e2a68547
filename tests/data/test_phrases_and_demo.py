"""Phrases must not give held-out texts away; the demo corpus must be the small honest task that it claims to be."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import pytest

from seqkit.data import demo_tales as tales
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


# Tales ---------------------------------------------------------------------------------------------------------------


def _tokens(part: str) -> list[str]:
    return [word for row in tales.demo_tales()[part] for word in [*row["text"].split(), "\n"]]


def _ngram_loss(order: int, part: str, discount: float = 0.75) -> float:
    """Nats a token of an interpolated n-gram model with absolute discounting, counted on the training part."""
    train, text = _tokens("train"), ["\n"] * order + _tokens(part)
    counts: list[dict[tuple[str, ...], Counter[str]]] = [defaultdict(Counter) for _ in range(order)]
    for place, word in enumerate(train):
        for size in range(min(order, place + 1)):
            counts[size][tuple(train[place - size : place])][word] += 1
    total = 0.0
    for place in range(order, len(text)):
        probability = 1.0 / len(counts[0][()])
        for size in range(order):
            seen = counts[size].get(tuple(text[place - size : place]))
            if seen is not None:
                rest = discount * len(seen) * probability
                probability = (max(seen[text[place]] - discount, 0.0) + rest) / seen.total()
        total -= math.log(probability)
    return total / (len(text) - order)


def test_the_tales_are_the_same_each_time_and_a_tale_ends_with_a_blank_line() -> None:
    corpus = tales.demo_tales()
    assert corpus == tales.demo_tales()
    for part, count in tales.TALES.items():
        lines = [row["text"] for row in corpus[part]]
        assert lines.count("") == count
        assert sum(line.startswith("one day ") for line in lines) == count
        assert lines[-1] == ""
    words = {part: set(_tokens(part)) for part in corpus}
    assert words["validation"] | words["test"] <= words["train"]
    assert len(words["train"]) < 120


def test_in_a_tale_names_trades_and_places_come_back_and_verbs_agree() -> None:
    plural = {form: number for forms in tales._NOUNS for number, form in enumerate(forms)}
    verbs = {form: number for forms in tales._VERBS for number, form in enumerate(forms)}
    text = "\n".join(row["text"] for row in tales.demo_tales()["test"])
    scenes = clauses = 0
    for tale in text.strip().split("\n\n"):
        first, *body, last = [line.split() for line in tale.split("\n")]
        name, trade, place = first[2], first[4], first[8]
        assert last == f"so ends the tale of {name} the {trade}".split()
        for line in body:
            assert line[0] in ("there", "she", "he", name)
            assert "calls" not in line or line[-1] == place
            if "that" not in line:
                continue
            rest = line[line.index("that") + 1 :]
            be = rest.index("is" if "is" in rest else "are")
            nouns = [plural[word] for word in rest[:be] if word in plural]
            assert (rest[be] == "are") == bool(nouns[0])
            inner = [verbs[word] for word in rest[:be] if word in verbs]
            scenes, clauses = scenes + (not inner), clauses + bool(inner)
            assert not inner or inner == nouns[:0:-1]
    assert min(scenes, clauses) > 50


def test_the_tales_cost_what_the_grammar_says_and_counts_of_neighbours_do_not_get_there() -> None:
    """By hand: the choices of one tale; then an n-gram model, whose loss is far above the least possible."""
    teller = tales._Teller(0)
    lines = teller.tale()
    body = lines[1:-2]
    nats = math.log(12) + math.log(6) + math.log(6) + math.log(4)  # name, trade, place, lines
    for line in body:
        words = line.split()
        nats += math.log(4)
        nouns = sum(word in {form for forms in tales._NOUNS for form in forms} for word in words)
        nats += nouns * math.log(12)
        if "sees" in words[:2]:
            nats += nouns * math.log(2) + math.log(3) + (nouns - 1) * math.log(3) + math.log(6)
        elif "knows" in words[:2]:
            nats += nouns * math.log(2) + math.log(2) + (nouns - 1) * math.log(5) + math.log(6)
    assert teller.nats == pytest.approx(nats)
    least = tales.least_loss()["test"]
    assert 0.55 < least < 0.65
    trigram, best = _ngram_loss(3, "test"), min(_ngram_loss(order, "test") for order in (4, 5))
    assert trigram > 1.0
    assert best > least + 0.3
