"""N-gram models: against probabilities worked out by hand, a slow reading of the definitions, and damaged files."""

from __future__ import annotations

import gzip
import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from seqkit.errors import DataError
from seqkit.heads.ngram import NGram

LN10 = math.log(10)
ARPA = """made by hand

\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-99\t<s>\t-0.25
-1.0\t</s>
-0.5\ta\t-0.125
-0.75 b -0.5
-2\t<unk>

\\2-grams:
-0.25\t<s> a\t-0.0625
-0.5\ta b\t0
-0.3\tb </s>
-0.4\ta a

\\3-grams:
-0.1\t<s> a b
-0.2\ta b </s>\t0

\\end\\
"""


def random_corpus(sentences: int, words: int, seed: int, longest: int = 8) -> list[list[str]]:
    """Words are drawn by Zipf's law, each likelier after some others."""
    rng = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(words)]
    corpus: list[list[str]] = []
    for _ in range(sentences):
        sentence: list[str] = []
        for _ in range(rng.randint(0, longest)):
            near = len(sentence[-1]) if sentence else 0
            sentence.append(rng.choices(vocabulary, [1 / (1 + (place + near) % words) for place in range(words)])[0])
        corpus.append(sentence)
    return corpus


@pytest.fixture
def by_hand(tmp_path: Path) -> NGram:
    path = tmp_path / "model.arpa"
    path.write_text(ARPA)
    return NGram.from_arpa(path)


def test_scores_of_a_model_written_by_hand(by_hand: NGram) -> None:
    assert by_hand.order == 3
    assert by_hand.words == {"a", "b", "</s>", "<unk>"}
    state = by_hand.start()
    assert state == ("<s>",)
    value, after = by_hand.score(state, "a")
    assert value == pytest.approx(-0.25 * LN10)
    assert by_hand.score(after, "b")[0] == pytest.approx(-0.1 * LN10)
    assert by_hand.score(after, "a")[0] == pytest.approx((-0.0625 - 0.4) * LN10)
    assert by_hand.score(state, "b")[0] == pytest.approx((-0.25 - 0.75) * LN10)
    assert by_hand.score(after, "no such word")[0] == pytest.approx((-0.0625 - 0.125 - 2) * LN10)
    assert by_hand.end(by_hand.score(after, "b")[1]) == pytest.approx(-0.2 * LN10)
    # "b" after nothing backs off from <s>; of "b", only the bigram with </s> is known.
    assert by_hand.sentence(["b"]) == pytest.approx((-0.25 - 0.75 - 0.3) * LN10)
    assert by_hand.sentence(["a", "b"]) == pytest.approx((-0.25 - 0.1 - 0.2) * LN10)
    expected = math.exp(-(by_hand.sentence(["a", "b"]) + by_hand.sentence([])) / 4)
    assert by_hand.perplexity([["a", "b"], []]) == pytest.approx(expected)
    assert "a" in by_hand
    assert "c" not in by_hand


def test_states_hold_only_what_the_model_knows(by_hand: NGram) -> None:
    state = by_hand.start()
    for word, expected in (("a", ("<s>", "a")), ("a", ("a",)), ("b", ("a", "b")), ("a", ("a",)), ("x", ())):
        state = by_hand.score(state, word)[1]
        assert state == expected


def slow_score(
    log_probs: dict[tuple[str, ...], float], weights: dict[tuple[str, ...], float], gram: Sequence[str]
) -> float:
    """The definition of back-off, over a whole history."""
    found = log_probs.get(tuple(gram))
    if found is not None:
        return found
    return weights.get(tuple(gram[:-1]), 0.0) + slow_score(log_probs, weights, gram[1:])


def read_slowly(path: Path) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    probs, weights, length = {}, {}, 0
    for line in path.read_text().splitlines():
        if line.startswith("\\") and line.endswith("-grams:"):
            length = int(line[1 : line.index("-")])
        elif length and line and not line.startswith("\\"):
            fields = line.split()
            probs[tuple(fields[1 : length + 1])] = float(fields[0])
            if len(fields) > length + 1:
                weights[tuple(fields[1 : length + 1])] = float(fields[-1])
    return probs, weights


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_scores_are_what_the_definition_of_back_off_says(order: int, tmp_path: Path) -> None:
    corpus = random_corpus(60, 7, order)
    model = NGram.estimate(corpus, order=order)
    model.save_arpa(tmp_path / "model.arpa")
    probs, weights = read_slowly(tmp_path / "model.arpa")
    for sentence in random_corpus(40, 9, 99):  # with words that the model lacks
        state, history = model.start(), ["<s>"]
        for word in [*sentence, "</s>"]:
            history.append(word if (word,) in probs else "<unk>")
            value, state = model.score(state, word)
            assert len(state) < order
            assert value == pytest.approx(LN10 * slow_score(probs, weights, history[-order:]), abs=1e-12)


def test_pruned_models_keep_every_state_they_need(tmp_path: Path) -> None:
    # The trigram "x y z" is there though "y z" and "x y" are not.
    path = tmp_path / "pruned.arpa"
    path.write_text(
        "\\data\\\nngram 1=5\nngram 2=0\nngram 3=1\n\\1-grams:\n-9 <s>\n-1 </s>\n-1 x\n-1 y\n-1 z\n\\2-grams:\n"
        "\\3-grams:\n-0.125 x y z\n\\end\\\n"
    )
    model = NGram.from_arpa(path)
    state = model.start()
    for word in ("z", "x", "y"):
        state = model.score(state, word)[1]
    assert state == ("x", "y")
    assert model.score(state, "z")[0] == pytest.approx(-0.125 * LN10)
    assert model.score(state, "unheard-of")[0] == pytest.approx(-100 * LN10)


def kneser_ney_by_the_book(corpus: Sequence[Sequence[str]], order: int, word: str, context: tuple[str, ...]) -> float:
    """Chen and Goodman's equations, read off the page: everything is counted again for each probability."""
    padded = [["<s>", *sentence, "</s>"] for sentence in corpus]
    vocabulary = {word for sentence in corpus for word in sentence} | {"</s>", "<unk>"}

    def occurrences(length: int) -> Counter[tuple[str, ...]]:
        return Counter(
            tuple(text[start : start + length]) for text in padded for start in range(len(text) - length + 1)
        )

    def count(length: int) -> dict[tuple[str, ...], int]:
        raw = occurrences(length)
        if length == order:
            return {gram: number for gram, number in raw.items() if gram != ("<s>",)}
        longer = occurrences(length + 1)
        return {
            gram: raw[gram] if gram[0] == "<s>" else len({other[0] for other in longer if other[1:] == gram})
            for gram in raw
            if gram != ("<s>",)
        }

    def discount(counts: dict[tuple[str, ...], int], number: int) -> float:
        n = [0, *(sum(value == times for value in counts.values()) for times in (1, 2, 3, 4))]
        if 0 in n[1:]:
            return (0.5, 1.0, 1.5)[min(number, 3) - 1]
        y = n[1] / (n[1] + 2 * n[2])
        values = [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
        if any(not 0 < value <= i + 1 for i, value in enumerate(values)):
            values = [0.5, 1.0, 1.5]
        return values[min(number, 3) - 1]

    def prob(word: str, context: tuple[str, ...]) -> float:
        counts = count(len(context) + 1)
        lower = prob(word, context[1:]) if context else 1 / len(vocabulary)
        followers = {gram: number for gram, number in counts.items() if gram[:-1] == context}
        total = sum(followers.values())
        if not total:
            return lower
        own = followers.get((*context, word), 0)
        kept = own - discount(counts, own) if own else 0.0
        return kept / total + sum(discount(counts, number) for number in followers.values()) / total * lower

    return prob(word, context)


@pytest.mark.parametrize(("sentences", "words", "order"), [(1, 3, 3), (6, 4, 2), (25, 6, 3), (60, 12, 3), (40, 5, 1)])
def test_estimates_are_the_equations(sentences: int, words: int, order: int) -> None:
    corpus = [["w0", "w1"], *random_corpus(sentences, words, sentences)]
    model = NGram.estimate(corpus, order=order)
    rng = random.Random(0)
    histories = [("<s>", *sentence)[: rng.randint(1, 4)] for sentence in rng.sample(corpus, min(len(corpus), 6))]
    for history in [*histories, ("w1", "w1", "w1")]:
        context = history[-(order - 1) :] if order > 1 else ()
        for word in sorted(model.words)[:6]:
            expected = kneser_ney_by_the_book(corpus, order, word, context)
            assert math.exp(model.score(context, word)[0]) == pytest.approx(expected, rel=1e-9)


def test_both_kinds_of_discount_are_met() -> None:
    from seqkit.heads.kneser_ney import FALLBACK, adjusted_counts, discounts_of

    told = [discounts_of(grams) != FALLBACK for grams in adjusted_counts(random_corpus(60, 12, 60), 3)]
    assert True in told
    assert discounts_of({("a",): 1, ("b",): 3}) == FALLBACK
    assert discounts_of({(str(place),): number for place, number in enumerate([1, 1, 1, 1, 2, 2, 3])}) == FALLBACK
    # n_1 = 4, n_2 = 2, n_3 = 1, n_4 = 1: Y = 1/2.
    counts: dict[tuple[str, ...], int] = {
        (str(place),): number for place, number in enumerate([1, 1, 1, 1, 2, 2, 3, 4, 9])
    }
    assert discounts_of(counts) == pytest.approx((0.5, 2 - 3 * 0.5 / 2, 3 - 4 * 0.5))
    # n_3 > n_2: D(2) would be below 0.
    assert discounts_of({(str(place),): number for place, number in enumerate([1, 2, 3, 3, 3, 3, 4])}) == FALLBACK


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("sentences", [1, 3, 80])
def test_probabilities_of_all_words_sum_to_one(order: int, sentences: int) -> None:
    corpus = [["w0", "w2"], *random_corpus(sentences, 6, sentences)]
    model = NGram.estimate(corpus, order=order)
    words = sorted(model.words - {"</s>"})
    contexts = [
        (),
        *((word,) for word in words),
        *itertools.product(["<s>", *words], words),
        ("w1", "<unk>", "w0", "w2"),
    ]
    for context in contexts:
        assert math.fsum(math.exp(model.score(context, word)[0]) for word in model.words) == pytest.approx(1, abs=1e-9)


def test_a_corpus_of_one_sentence() -> None:
    model = NGram.estimate([["yes"]], order=5)
    assert model.order == 3  # <s> yes </s>
    assert model.words == {"yes", "</s>", "<unk>"}
    assert model.sentence(["yes"]) > model.sentence([]) > model.sentence(["no", "no"]) > -math.inf


def test_estimates_prefer_what_was_said_and_unknown_words_can_be_counted() -> None:
    corpus = [["call", "me", "back"], ["call", "me", "now"], ["<unk>", "me"], ["i", "call"]] * 3
    model = NGram.estimate(corpus)
    assert model.perplexity(corpus) < 4
    assert model.sentence(["call", "me"]) > model.sentence(["me", "call"])
    assert model.sentence(["never", "me"]) == model.sentence(["<unk>", "me"])


@pytest.mark.parametrize("corpus", [[], [[]], [[], []]])
def test_no_words_are_an_error(corpus: list[list[str]]) -> None:
    with pytest.raises(DataError, match="no words"):
        NGram.estimate(corpus)


@pytest.mark.parametrize("word", ["<s>", "</s>", "", "new york", "tab\t"])
def test_words_that_cannot_be_words_are_errors(word: str) -> None:
    with pytest.raises(DataError, match="A sentence of the corpus"):
        NGram.estimate([["fine", word]])


def test_an_order_below_one_and_no_sentences_to_judge() -> None:
    with pytest.raises(ValueError, match="order is 0"):
        NGram.estimate([["a"]], order=0)
    with pytest.raises(DataError, match="no sentences"):
        NGram.estimate([["a"]]).perplexity([])


@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
def test_a_file_gives_the_same_scores_to_the_bit(name: str, tmp_path: Path) -> None:
    corpus = [*random_corpus(50, 9, 1), ["naïve", "日本"]]
    model = NGram.estimate(corpus)
    path = tmp_path / name
    model.save_arpa(path)
    again = NGram.from_arpa(path)
    assert again.order == model.order
    assert [again.sentence(each) for each in corpus] == [model.sentence(each) for each in corpus]
    first = path.read_bytes()
    assert (first[:2] == b"\x1f\x8b") == name.endswith(".gz")
    again.save_arpa(path)
    assert path.read_bytes() == first


def test_the_memory_of_scores_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqkit.heads.ngram._REMEMBERED", 4)
    corpus = random_corpus(30, 9, 2)
    model, other = NGram.estimate(corpus), NGram.estimate(corpus)
    assert [model.sentence(each) for each in corpus] == [other.sentence(each) for each in corpus]
    assert len(model._memo) <= 4


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("\\data\\", "data", r"model.arpa: no line '\\data\\'"),
        ("ngram 2=4", "ngram 2=3", r":21: the section '\\2-grams:' ends here with 4 n-grams.*says 3"),
        ("ngram 2=4", "ngram 2=x", r":5: 'ngram 2=...' must stand here, not 'ngram 2=x'"),
        ("ngram 2=4\n", "", r":5: 'ngram 2=...' must stand here, not 'ngram 3=2'"),
        ("ngram 1=5\nngram 2=4\nngram 3=2\n", "", r":5: no line 'ngram 1=...'"),
        ("\\2-grams:", "\\3-grams:", r":15: the section '\\2-grams:' must begin here, not '\\3-grams:'"),
        ("\\3-grams:\n-0.1\t<s> a b\n-0.2\ta b </s>\t0\n", "", r":22: the section '\\3-grams:' must begin here"),
        ("\\end\\\n", "", r"model.arpa: ends without '\\end\\'"),
        ("\\end\\", "\\4-grams:", r":25: '\\end\\' must stand here"),
        ("-0.5\ta\t", "-0.5x\ta\t", r":11: '-0.5x' is no number"),
        ("-0.5\ta\t", "nan\ta\t", r":11: 'nan' is no number"),
        ("\t-0.125", "\tinf", r":11: 'inf' is no number"),
        ("-0.5\ta\t", "0.5\ta\t", r":11: the log-probability 0.5 is above 0"),
        ("-0.4\ta a", "-0.4\ta", r":19: .*2 words.*found 2 fields"),
        ("-0.4\ta a", "-0.4\ta b", r":19: the n-gram 'a b' stands here again"),
        ("-0.4\ta a", "-0.4\ta c", r":19: the word 'c' is not among the 1-grams"),
        ("</s>\t0", "</s>\t-1", r":23: n-grams of the last section have no back-off weight"),
        ("-1.0\t</s>", "-1.0\tend", r":18: the word '</s>' is not among the 1-grams"),
    ],
)
def test_damaged_files_are_errors_with_their_line(old: str, new: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    assert ARPA.count(old) >= 1
    path.write_text(ARPA.replace(old, new, 1))
    with pytest.raises(DataError, match=fault) as caught:
        NGram.from_arpa(path)
    assert str(path) in caught.value.message


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.arpa: No such file"):
        NGram.from_arpa(tmp_path / "gone.arpa")
    cut = tmp_path / "cut.arpa.gz"
    cut.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(DataError, match="damaged gzip file"):
        NGram.from_arpa(cut)
    latin = tmp_path / "latin.arpa"
    latin.write_bytes(ARPA.replace("-0.75 b", "-0.75 é").encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.arpa:12: .*not UTF-8"):
        NGram.from_arpa(latin)
    no_end = tmp_path / "no_end.arpa"
    no_end.write_text("\\data\\\nngram 1=2\n\\1-grams:\n-1 <s>\n-1 a\n\\end\\\n")
    with pytest.raises(DataError, match=r"no_end.arpa: the language model has no </s> among its 1-grams"):
        NGram.from_arpa(no_end)
