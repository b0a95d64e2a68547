"""CTC prefix beam search: against all paths there are, in any chunks, with words, models and lexicons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqkit.errors import ConfigError
from seqkit.heads.ctc_greedy import GreedySearch
from seqkit.heads.ctc_search import CTCHypothesis, CTCSearch
from seqkit.heads.lexicon import Lexicon
from seqkit.heads.ngram import NGram

Array = np.ndarray[Any, np.dtype[Any]]

CHARACTERS = ["<blank>", " ", "a", "b"]
PIECES = ["<blank>", "▁a", "b", "▁", "ab"]
PHONES = ["<blank>", "A", "B", "C"]
MODEL = NGram.estimate([["a", "b"], ["ab", "a"], ["ba", "ab", "a"], ["b"], ["aa", "b"]], order=3)
EXACT: dict[str, Any] = {"beam_size": 5000, "token_min_log_prob": -math.inf, "beam_threshold": math.inf}

EXTRAS: list[dict[str, Any]] = [
    {},
    {"word_bonus": 1.3, "unknown_log_prob": -1.5},
    {"hot_words": {"ab": 2.5, "a": -1.0}},
    {"hot_words": {"bab": 1.0, "abb": -1.0, "c": 0.5}},
]

# Name -> tokens, the space, spellings of words.
MODES: dict[str, tuple[list[str], int | None, dict[str, list[list[int]]] | None]] = {
    "free characters": (CHARACTERS, 1, None),
    "free pieces": (PIECES, None, None),
    "no words": (PHONES, None, None),
    "lexicon of characters": (
        CHARACTERS,
        1,
        {"a": [[2]], "ab": [[2, 3]], "aa": [[2, 2]], "bab": [[3, 2, 3]], "bb": [[3, 3]]},
    ),
    "lexicon of pieces": (PIECES, None, {"ab": [[1, 2], [3, 4]], "a": [[1]], "abb": [[1, 2, 2]], "b": [[3, 2]]}),
    # A spelling that begins as another ends, two spellings of one word, two words of one spelling.
    "pronunciations": (
        PHONES,
        None,
        {"a": [[1]], "ab": [[1, 2], [2, 1]], "b": [[2]], "ba": [[2, 1]], "c": [[2, 1, 2]]},
    ),
    "pronunciations with spaces": (PHONES, 3, {"a": [[1], [2, 1]], "b": [[1]], "ab": [[1, 2]]}),
}


def log_probs(frames: int, size: int, seed: int, *, impossible: float = 0.0, scale: float = 2.0) -> Array:
    """Random ones; some impossible, but never the blank."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(frames, size)) * scale
    logits[:, 1:][rng.random((frames, size - 1)) < impossible] = -np.inf
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)), dtype=np.float32)


def labellings(probs: Array, blank: int = 0) -> dict[tuple[int, ...], float]:
    """The log-probability of each labelling, from every path."""
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(probs.shape[1]), repeat=len(probs)):
        value = math.exp(math.fsum(float(row[token]) for row, token in zip(probs, path, strict=True)))
        ids = tuple(token for token, _ in itertools.groupby(path) if token != blank)
        totals[ids] = totals.get(ids, 0.0) + value
    return {ids: math.log(value) for ids, value in totals.items() if value > 0}


def readings(
    ids: Sequence[int], tokens: Sequence[str], space: int | None, spellings: Mapping[str, list[list[int]]] | None
) -> Iterator[tuple[str, ...]]:
    """Every way to read a labelling as words."""
    if spellings is None:
        text = "".join(" " if token == space else tokens[token] for token in ids)
        yield tuple((text if space is not None else text.replace("▁", " ")).split())
    elif space is not None:
        parts = [list(part) for is_space, part in itertools.groupby(ids, lambda token: token == space) if not is_space]
        yield from itertools.product(*([word for word, known in spellings.items() if part in known] for part in parts))
    elif not ids:
        yield ()
    else:
        for word, known in spellings.items():
            for spelling in known:
                if list(ids[: len(spelling)]) == spelling:
                    yield from ((word, *rest) for rest in readings(ids[len(spelling) :], tokens, space, spellings))


def brute_force(
    probs: Array,
    tokens: Sequence[str],
    space: int | None,
    spellings: Mapping[str, list[list[int]]] | None,
    *,
    model: NGram | None = None,
    lm_weight: float = 0.5,
    word_bonus: float = 0.0,
    unknown_log_prob: float | None = None,
    hot_words: Mapping[str, float] | None = None,
) -> list[CTCHypothesis]:
    """The best labelling of each text, best first."""
    best: dict[str, CTCHypothesis] = {}
    hot = hot_words or {}
    if unknown_log_prob is None:
        lacking = 1 if model is None else sum(word not in model for word in spellings or {})
        unknown_log_prob = -10.0 if spellings is None else -math.log(max(1, lacking))
    for ids, value in labellings(probs).items():
        for words in readings(ids, tokens, space, spellings):
            spoken = 0.0
            if model is not None:
                unknown = [word for word in words if word not in model and hot.get(word, 0.0) <= 0]
                spoken = model.sentence(words) + unknown_log_prob * len(unknown)
            bonus = sum(word_bonus + hot.get(word, 0.0) for word in words)
            score, text = value + lm_weight * spoken + bonus, " ".join(words)
            if text not in best or score > best[text].score:
                best[text] = CTCHypothesis(ids, text, words, score, value, spoken)
    return sorted(best.values(), key=lambda found: -found.score)


def search_for(mode: str, **options: Any) -> CTCSearch:
    tokens, space, spellings = MODES[mode]
    lexicon = None if spellings is None else Lexicon(spellings)
    return CTCSearch(tokens, space=space, lexicon=lexicon, **options)


def decode(search: CTCSearch, probs: Array, n_best: int = 1) -> list[CTCHypothesis]:
    return search.finish(search.advance(search.start(), probs), n_best)


def same(found: list[CTCHypothesis], expected: list[CTCHypothesis]) -> None:
    """Equal within rounding; equally good ones in any order."""
    assert [each.score for each in found] == pytest.approx([each.score for each in expected], abs=1e-6)
    by_text = {each.text: each for each in found}
    assert len(by_text) == len(found)
    for each in expected:
        other = by_text[each.text]
        assert (other.ids, other.words) == (each.ids, each.words)
        assert other.ctc_log_prob == pytest.approx(each.ctc_log_prob, abs=1e-6)
        assert other.lm_log_prob == pytest.approx(each.lm_log_prob, abs=1e-9)
        assert other.score == pytest.approx(each.score, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", [None, MODEL], ids=["", "model"])
@pytest.mark.parametrize("extras", EXTRAS, ids=str)
def test_finds_what_all_paths_give(mode: str, model: NGram | None, extras: dict[str, Any]) -> None:
    tokens, space, spellings = MODES[mode]
    hot_words = {word: bonus for word, bonus in extras.get("hot_words", {}).items() if word in (spellings or [word])}
    extras = {"lm_weight": 0.7, **extras, "hot_words": hot_words}
    search = search_for(mode, language_model=model, **extras, **EXACT)
    for seed, frames in enumerate((1, 2, 4, 5)):
        probs = log_probs(frames, len(tokens), seed, impossible=0.25)
        expected = brute_force(probs, tokens, space, spellings, model=model, **extras)
        same(decode(search, probs, n_best=10_000), expected)
        assert decode(search, probs, n_best=2) == decode(search, probs, n_best=10_000)[:2]


@pytest.mark.parametrize("mode", MODES)
def test_a_small_beam_finds_the_best_of_a_clear_utterance(mode: str) -> None:
    # The default search, on posteriors as sharp as a trained model's, where the best is likely and leads by a nat.
    tokens, space, spellings = MODES[mode]
    search, compared = search_for(mode, language_model=MODEL), 0
    for seed in range(20):
        probs = log_probs(5, len(tokens), seed, scale=5.0)
        expected = brute_force(probs, tokens, space, spellings, model=MODEL)
        if len(expected) > 1 and expected[0].ctc_log_prob > -6 and expected[0].score - expected[1].score > 1:
            found = decode(search, probs)[0]
            assert (found.text, found.words) == (expected[0].text, expected[0].words)
            assert found.score == pytest.approx(expected[0].score, abs=0.05)
            compared += 1
    assert compared >= 5


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 30), max_size=6),
    beam_size=st.integers(1, 8),
    scale=st.sampled_from([1.0, 4.0, 12.0]),
)
def test_any_chunks_give_the_same_bits(mode: str, seed: int, cuts: list[int], beam_size: int, scale: float) -> None:
    tokens = MODES[mode][0]
    probs = log_probs(30, len(tokens), seed, impossible=0.1, scale=scale)
    search = search_for(mode, language_model=MODEL, beam_size=beam_size, hot_words={"ab": 1.0})
    state = search.start()
    for start, end in itertools.pairwise([0, *sorted(cuts), 30]):
        state = search.advance(state, probs[start:end])
        search.best(state)
    whole = search.advance(search.start(), probs)
    assert state.frames == whole.frames == 30
    assert search.finish(state, 5) == search.finish(whole, 5)
    assert search.best(state) == search.best(whole)


def test_a_state_can_be_gone_on_from_in_several_ways() -> None:
    search = search_for("free characters", language_model=MODEL, beam_size=4)
    probs, other = log_probs(12, 4, 1), log_probs(9, 4, 2)
    middle = search.advance(search.start(), probs)
    first = search.finish(search.advance(middle, other), 4)
    search.advance(search.advance(middle, probs), other)
    assert search.finish(search.advance(middle, other), 4) == first
    assert search.finish(middle, 4) == decode(search, probs, 4)


@pytest.mark.parametrize("mode", MODES)
def test_no_frames_and_silence_say_nothing(mode: str) -> None:
    tokens = MODES[mode][0]
    search = search_for(mode, language_model=MODEL)
    silence = np.full((50, len(tokens)), -np.inf, dtype=np.float32)
    silence[:, 0] = 0.0
    for probs in (silence[:0], silence):
        (found,) = decode(search, probs, n_best=5)
        spoken = MODEL.sentence([])
        assert found == CTCHypothesis((), "", (), 0.5 * spoken, 0.0, spoken)
        assert search.best(search.advance(search.start(), probs)).text == ""


def path_probs(path: Sequence[int], size: int, peak: float = 0.98) -> Array:
    probs = np.full((len(path), size), (1 - peak) / (size - 1))
    probs[np.arange(len(path)), path] = peak
    return np.asarray(np.log(probs), dtype=np.float32)


def test_a_letter_twice_needs_a_blank_between() -> None:
    tokens = ["-", " ", "h", "e", "l", "o"]
    search = CTCSearch(tokens, space=1)
    assert decode(search, path_probs([2, 3, 4, 4, 5], 6))[0].text == "helo"
    assert decode(search, path_probs([2, 3, 4, 0, 4, 5], 6))[0].text == "hello"
    bound = CTCSearch(
        tokens, space=1, lexicon=Lexicon.from_words(["hello"], lambda word: list(map(tokens.index, word)))
    )
    assert decode(bound, path_probs([2, 2, 3, 4, 0, 4, 5], 6))[0].text == "hello"


def test_a_token_that_is_in_no_word_does_not_end_the_search() -> None:
    tokens = ["-", " ", "a", "b", "q"]
    search = CTCSearch(tokens, space=1, lexicon=Lexicon({"ab": [[2, 3]]}))
    found = decode(search, path_probs([2, 4, 4, 3], 5, peak=0.9999))
    assert found[0].text == "ab"
    # What is likely beside it is what is likely at all: it must not be pruned against it.
    probs = path_probs([2, 4], 5)
    probs[1] = np.log([1e-12, 1e-12, 1e-12, 1e-5, 1 - 2e-5])
    assert decode(search, probs)[0].text == "ab"
    # Where nothing else is possible there, nothing is possible at all.
    probs = path_probs([2, 4, 3], 5)
    probs[1] = [-np.inf, -np.inf, -np.inf, -np.inf, 0.0]
    state = search.advance(search.start(), probs)
    assert search.finish(state) == []
    assert search.best(state) == CTCHypothesis((), "", (), -math.inf, -math.inf, 0.0)
    assert search.finish(search.advance(state, probs)) == []


def test_frames_that_allow_one_token_only() -> None:
    probs = np.full((4, 4), -np.inf, dtype=np.float32)
    probs[np.arange(4), [2, 2, 1, 3]] = 0.0
    assert decode(search_for("free characters"), probs, 9) == [
        CTCHypothesis((2, 1, 3), "a b", ("a", "b"), 0.0, 0.0, 0.0)
    ]
    # A lexicon that has to go where the pruned tokens are: only "b" is likely, and "a" must come first.
    spelled = CTCSearch(CHARACTERS, space=1, lexicon=Lexicon({"ab": [[2, 3]]}))
    probs = np.log(np.array([[0, 0, 1e-6, 1], [0, 0, 0, 1]]) + 1e-300)
    probs[probs < -100] = -np.inf
    assert decode(spelled, probs)[0].text == "ab"


def test_a_word_cut_off_by_the_end_is_left_out() -> None:
    search = CTCSearch(CHARACTERS, space=1, lexicon=Lexicon({"a": [[2]], "abba": [[2, 3, 3, 2]]}), language_model=MODEL)
    probs = path_probs([2, 1, 2, 3], 4)
    assert decode(search, probs)[0].text == "a a"  # whole, and less likely than "a ab"
    probs = np.where(probs < -1, -np.inf, 0.0)
    state = search.advance(search.start(), probs)
    (found,) = search.finish(state)
    assert (found.ids, found.words, found.ctc_log_prob) == ((2, 1), ("a",), 0.0)
    assert found.lm_log_prob == pytest.approx(MODEL.sentence(["a"]))


def test_a_word_cut_off_is_left_out_where_words_follow_one_another() -> None:
    search = CTCSearch(PHONES, space=None, lexicon=Lexicon({"a": [[1], [2, 1]], "abc": [[2, 3, 1]]}))
    for path, ids in (([1, 2], (1,)), ([2, 1, 2, 3], (2, 1)), ([2, 3], ())):
        (found,) = decode(search, np.where(path_probs(path, 4) < -1, -np.inf, 0.0))
        assert found == CTCHypothesis(ids, "a" if ids else "", ("a",) if ids else (), 0.0, 0.0, 0.0)


def test_what_is_shown_while_it_goes_on() -> None:
    free = CTCSearch(CHARACTERS, space=1, language_model=MODEL)
    probs = path_probs([2, 3, 1, 3], 4)
    shown = free.best(free.advance(free.start(), probs))
    assert (shown.text, shown.words, shown.ids) == ("ab b", ("ab", "b"), (2, 3, 1, 3))
    assert shown.lm_log_prob == pytest.approx(MODEL.score(MODEL.start(), "ab")[0])  # "b" may yet go on
    bound = CTCSearch(CHARACTERS, space=1, lexicon=Lexicon({"ab": [[2, 3]], "bab": [[3, 2, 3]]}))
    texts = [bound.best(bound.advance(bound.start(), probs[:frames])).text for frames in range(5)]
    assert texts == ["", "", "ab", "ab", "ab"]


def test_a_beam_of_one_and_no_pruning_at_all() -> None:
    probs = log_probs(40, 4, 3, scale=8.0)
    search = GreedySearch(lambda ids: "")
    likeliest = search.best(search.advance(search.start(), probs))
    assert decode(CTCSearch(CHARACTERS, space=1, beam_size=1), probs)[0].ids == likeliest.ids


@pytest.mark.parametrize("mode", MODES)
def test_no_prefix_is_in_the_beam_twice(mode: str) -> None:
    search = search_for(mode, beam_size=60)
    state = search.advance(search.start(), log_probs(15, len(MODES[mode][0]), 4))
    assert len(state.beam) > 20
    assert len({prefix.key for prefix, _, _ in state.beam}) == len(state.beam)
    writings = {tuple((step.token, step.word, step.node) for step in prefix.trace()) for prefix, _, _ in state.beam}
    assert len(writings) == len(state.beam)


def test_a_small_beam_holds_the_best_of_a_big_one() -> None:
    # One frame: whatever is skipped for speed, the beam is the best extensions there are.
    probs = log_probs(1, 29, 6, scale=1.0)
    tokens = ["-", " ", *"abcdefghijklmnopqrstuvwxyz'"]
    middle = CTCSearch(tokens, space=1, beam_size=12, language_model=MODEL, word_bonus=8.0, hot_words={"ab": 1.0})
    state = middle.advance(middle.start(), log_probs(6, 29, 7, scale=1.0))
    wide = CTCSearch(tokens, space=1, language_model=MODEL, word_bonus=8.0, hot_words={"ab": 1.0}, **EXACT)
    keys = [prefix.key for prefix, _, _ in wide.advance(state, probs).beam]
    assert len(keys) > 100
    assert [prefix.key for prefix, _, _ in middle.advance(state, probs).beam] == keys[:12]


def test_tokens_are_pruned_by_what_the_frame_has_and_silence_by_itself() -> None:
    flat = np.full((1, 200), -math.log(200))
    search = CTCSearch([str(token) for token in range(200)], space=None, token_min_log_prob=-1.0, beam_size=500)
    assert len(search.advance(search.start(), flat).beam) == 200
    flat[0, 0] += 2.0
    assert len(search.advance(search.start(), flat - 0.1).beam) == 1
    silence = np.log(np.array([[0.9995, 0.0001, 0.0001, 0.0003]]))
    for least, expected in ((-9.0, 1), (-math.inf, 4)):
        search = CTCSearch(CHARACTERS, space=1, token_min_log_prob=least)
        assert len(search.advance(search.start(), silence).beam) == expected


def test_a_beam_holds_no_more_than_its_size_and_its_threshold() -> None:
    probs = log_probs(30, 4, 5, scale=1.0)
    search = CTCSearch(CHARACTERS, space=1, beam_size=7)
    assert len(search.advance(search.start(), probs).beam) == 7
    narrow = CTCSearch(CHARACTERS, space=1, beam_size=500, beam_threshold=1.0)
    beam = narrow.advance(narrow.start(), probs).beam
    totals = [np.logaddexp(blank, label) for _, blank, label in beam]
    assert len(beam) > 1
    assert max(totals) - min(totals) <= 1.0
    assert len({prefix.key for prefix, _, _ in beam}) == len(beam)


def test_the_language_model_chooses_between_words_that_sound_alike() -> None:
    model = NGram.estimate([["give", "two"], ["me", "too"], ["give", "two"], ["me", "too"]], order=2)
    lexicon = Lexicon({"give": [[2]], "me": [[3]], "two": [[4]], "too": [[4]]})
    search = CTCSearch(["-", "|", "G", "M", "T"], space=1, lexicon=lexicon, language_model=model)
    assert decode(search, path_probs([2, 1, 4], 5))[0].words == ("give", "two")
    assert decode(search, path_probs([3, 1, 4], 5))[0].words == ("me", "too")


@pytest.mark.parametrize("bound", [True, False])
def test_the_language_model_looks_ahead_of_a_word_under_way(bound: bool) -> None:
    # A beam of one takes a letter that sounds a little worse, since the model knows what it will become.
    tokens = ["-", " ", "a", "b", "c"]
    model = NGram.estimate([["ba"]] * 20 + [["ca"]], order=1)
    probs = path_probs([4, 2], 5, peak=0.5)
    probs[0, 3] = math.log(0.3)
    lexicon = Lexicon({"ca": [[4, 2]], "ba": [[3, 2]]}) if bound else None
    for weight, expected in ((0.0, "ca"), (1.0, "ba")):
        search = CTCSearch(tokens, space=1, beam_size=1, lexicon=lexicon, language_model=model, lm_weight=weight)
        assert decode(search, probs)[0].text == expected


def test_hot_words_win_where_they_nearly_fit_and_cost_nothing_elsewhere() -> None:
    tokens = ["-", " ", *"abcdefghijklmnopqrstuvwxyz"]
    spell = [tokens.index(letter) for letter in "cat"]
    probs = path_probs(spell, len(tokens), peak=0.6)
    probs[0, tokens.index("b")] = math.log(0.3)
    search = CTCSearch(tokens, space=1, hot_words={"bat": 3.0}, beam_size=2)
    assert decode(search, probs)[0].text == "bat"
    assert decode(CTCSearch(tokens, space=1, beam_size=2), probs)[0].text == "cat"
    # What the beginning of a hot word lends is given back when another word comes of it.
    probs = path_probs([tokens.index(letter) for letter in "bad"], len(tokens), peak=0.9)
    found = decode(search, probs)[0]
    assert found.text == "bad"
    assert found.score == found.ctc_log_prob


def test_partial_credit_keeps_a_hot_word_in_the_beam() -> None:
    # At the first letter "b" is behind by more than the threshold; the word's bonus would make up for it at its end.
    tokens = ["-", " ", "a", "b", "c"]
    probs = path_probs([4, 2], 5, peak=0.9)
    probs[0, 3] = math.log(0.005)
    plain = decode(CTCSearch(tokens, space=1, beam_threshold=4.0), probs, 9)
    assert not any(each.text == "ba" for each in plain)
    assert decode(CTCSearch(tokens, space=1, beam_threshold=4.0, hot_words={"ba": 9.0}), probs)[0].text == "ba"
    lexicon = Lexicon({"ca": [[4, 2]], "ba": [[3, 2]]})
    bound = CTCSearch(tokens, space=1, beam_threshold=4.0, hot_words={"ba": 9.0}, lexicon=lexicon)
    assert decode(bound, probs)[0].text == "ba"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([math.nan, 0, 0, 0], "frame 3 have NaN"),
        ([-math.inf] * 4, "frame 3 have no token that is possible"),
        ([2.5, -1, -1, -1], "frame 3 have 2.5, which is not the log of a probability"),
        ([math.inf, -1, -1, -1], "frame 3 have inf"),
    ],
)
def test_what_is_no_log_probability_is_an_error(row: list[float], fault: str) -> None:
    search = search_for("free characters")
    state = search.advance(search.start(), log_probs(2, 4, 0))
    probs = log_probs(4, 4, 0)
    probs[1] = row
    with pytest.raises(ValueError, match=fault):
        search.advance(state, probs)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (1, 2, 4)])
def test_another_shape_is_an_error(shape: tuple[int, ...]) -> None:
    search = search_for("free characters")
    with pytest.raises(ValueError, match="shape"):
        search.advance(search.start(), np.full(shape, -1.0))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"blank": 4}, "blank"),
        ({"space": 0}, "space"),
        ({"lm_weight": -1.0}, "lm_weight"),
        ({"lm_weight": math.nan}, "lm_weight"),
        ({"word_bonus": math.inf}, "word_bonus"),
        ({"unknown_log_prob": 0.5}, "unknown_log_prob"),
        ({"token_min_log_prob": 1.0}, "token_min_log_prob"),
        ({"beam_threshold": -1.0}, "beam_threshold"),
        ({"lexicon": Lexicon({"a": [[1]]})}, "spells words with the space, token 1"),
        ({"lexicon": Lexicon({"a": [[2, 4]]})}, "spells with token 4, but there are 4"),
    ],
)
def test_values_out_of_range_are_errors(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        CTCSearch(CHARACTERS, **{"space": 1, **options})


def test_hot_words_that_cannot_be_written_are_errors() -> None:
    with pytest.raises(ConfigError) as caught:
        CTCSearch(CHARACTERS, space=1, hot_words={"new york": 1.0, "": 1.0, "x": math.nan, "fine": 1.0})
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError, match=r"'abbb' is not in the lexicon.*Did you mean 'abba'"):
        CTCSearch(CHARACTERS, space=1, hot_words={"abbb": 1.0}, lexicon=Lexicon({"abba": [[2, 3]]}))
    with pytest.raises(ValueError, match="behind its beginning"):
        CTCSearch(["-", "a▁b"], space=None)


def test_a_long_stream_needs_no_recursion_and_lets_go_of_its_memory() -> None:
    search = CTCSearch(CHARACTERS, space=1, beam_size=2)
    chunk = path_probs([2, 0, 3, 1] * 500, 4, peak=0.9999)
    state = search.start()
    for _ in range(20):
        state = search.advance(state, chunk)
    prefix, cached = state.beam[0][0], 0
    for step in prefix.trace():
        cached += step.grown is not None
    assert cached <= 3  # what has left the beam remembers nothing
    assert len(search.best(state).words) == 10_000
    del state, prefix, step


def test_silent_frames_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    search = CTCSearch(CHARACTERS, space=1, language_model=MODEL)
    state = search.advance(search.start(), log_probs(20, 4, 0))
    before = search.finish(state, 99)
    monkeypatch.setattr(CTCSearch, "_extend", None)  # cannot be called
    silence = path_probs([0] * 30, 4, peak=0.9995)
    after = search.finish(search.advance(state, silence), 99)
    assert [each.text for each in after] == [each.text for each in before]
    for one, other in zip(after, before, strict=True):
        assert one.score == pytest.approx(other.score + float(silence[:, 0].astype(np.float64).sum()))
