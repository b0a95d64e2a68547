"""torchaudio's search behind our hypotheses: against all paths, and against our own search."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from seqkit.errors import ConfigError
from seqkit.heads.ctc_flashlight import FlashlightSearch
from seqkit.heads.ctc_search import CTCSearch
from seqkit.heads.lexicon import Lexicon
from seqkit.heads.ngram import NGram

Array = np.ndarray[Any, np.dtype[Any]]

TOKENS = ["<blank>", " ", "a", "b"]
MODEL = NGram.estimate([["a", "b"], ["ab", "a"], ["ba", "ab", "a"], ["b"], ["aa", "b"]], order=3)
WIDE: dict[str, Any] = {"beam_size": 500, "beam_threshold": 200.0}
SPELLINGS = {"a": [[2]], "ab": [[2, 3]], "aa": [[2, 2]], "ba": [[3, 2]]}


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("flashlight.lib.text.decoder", reason="flashlight-text is not installed")


def log_probs(frames: int, size: int, seed: int, path: Sequence[int] = ()) -> Array:
    """Random ones, with a likely token at each frame of `path`."""
    logits = np.random.default_rng(seed).normal(size=(frames, size)) * 2
    logits[np.arange(len(path)), list(path)] += 5
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)), dtype=np.float32)


def labellings(probs: Array) -> Iterator[tuple[tuple[int, ...], float]]:
    """The labelling and the probability of each path."""
    for path in itertools.product(range(probs.shape[1]), repeat=len(probs)):
        value = math.exp(math.fsum(float(row[token]) for row, token in zip(probs, path, strict=True)))
        yield tuple(token for token, _ in itertools.groupby(path) if token != 0), value


def spoken(ids: Sequence[int]) -> str | None:
    """The words of a labelling of characters, None where it has others than those of the lexicon."""
    words = "".join(TOKENS[token] for token in ids).split()
    return " ".join(words) if all(word in SPELLINGS for word in words) else None


@pytest.mark.parametrize(("model", "bonus"), [(None, 0.0), (MODEL, 0.0), (MODEL, 1.5)])
def test_with_a_lexicon_it_adds_all_labellings_of_the_same_words(model: NGram | None, bonus: float) -> None:
    search = FlashlightSearch(
        TOKENS, space=1, lexicon=Lexicon(SPELLINGS), language_model=model, lm_weight=0.7, word_bonus=bonus, **WIDE
    )
    for seed in range(3):
        probs = log_probs(5, 4, seed)
        totals: dict[str, float] = {}
        for ids, value in labellings(probs):
            text = spoken(ids)
            if text is not None:
                totals[text] = totals.get(text, 0.0) + value
        scores = {}
        for text, value in totals.items():
            words = text.split()
            part = 0.0 if model is None else model.sentence(words)
            scores[text] = math.log(value) + 0.7 * part + bonus * len(words)
        found = search.decode(probs, 6)
        assert [each.text for each in found] == sorted(scores, key=lambda text: -scores[text])[:6]
        for each in found:
            assert each.score == pytest.approx(scores[each.text], abs=1e-4)
            assert each.ctc_log_prob == pytest.approx(math.log(totals[each.text]), abs=1e-4)
            assert spoken(each.ids) == each.text


@pytest.mark.parametrize("model", [None, MODEL])
def test_it_finds_what_our_search_finds(model: NGram | None) -> None:
    options: dict[str, Any] = {"space": 1, "lexicon": Lexicon(SPELLINGS), "language_model": model, "word_bonus": 0.5}
    theirs, ours = FlashlightSearch(TOKENS, **options), CTCSearch(TOKENS, beam_size=50, **options)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        letters = " ".join(rng.choice(list(SPELLINGS), 8)).replace("aa", "a-a")
        path = ["- ab".index(letter) for letter in letters for _ in range(2)]
        probs = log_probs(len(path), 4, seed, path)
        expected = ours.finish(ours.advance(ours.start(), probs))[0]
        found = theirs.decode(probs)[0]
        assert (found.words, found.text) == (expected.words, expected.text)
        assert expected.score - 1e-3 < found.score < expected.score + 1.0
        assert found.lm_log_prob == pytest.approx(expected.lm_log_prob)


@pytest.mark.parametrize("model", [None, NGram.estimate([list("ab|a"), list("b|b"), list("ba")])])
def test_without_a_lexicon_the_language_model_is_one_of_tokens(model: NGram | None) -> None:
    search = FlashlightSearch(TOKENS, space=1, language_model=model, lm_weight=0.7, **WIDE)
    for seed in range(3):
        probs = log_probs(5, 4, seed)
        scores: dict[tuple[int, ...], float] = {}
        for ids, value in labellings(probs):
            scores[ids] = scores.get(ids, 0.0) + value
        for ids, value in scores.items():
            part = 0.0 if model is None else model.sentence(["-|ab"[token] for token in ids])
            scores[ids] = math.log(value) + 0.7 * part
        found = search.decode(probs)[0]
        assert found.ids == max(scores, key=lambda ids: scores[ids])
        assert found.score == pytest.approx(scores[found.ids], abs=1e-4)
        assert found.words == tuple("".join(TOKENS[token] for token in found.ids).split())


def test_no_frames_and_impossible_tokens() -> None:
    for lexicon in (Lexicon(SPELLINGS), None):
        search = FlashlightSearch(TOKENS, space=1, lexicon=lexicon)
        assert search.decode(np.zeros((0, 4), dtype=np.float32))[0].text == ""
        probs = np.full((3, 4), -np.inf, dtype=np.float32)
        probs[np.arange(3), [2, 1, 2]] = 0.0
        assert search.decode(probs)[0].text == "a a"
    with pytest.raises(ValueError, match="NaN"):
        search.decode(np.full((2, 4), np.nan))


def test_what_it_cannot_do_is_an_error() -> None:
    with pytest.raises(ConfigError, match="only with a lexicon"):
        FlashlightSearch(TOKENS, space=1, word_bonus=1.0)
    with pytest.raises(ConfigError, match="needs a space token"):
        FlashlightSearch(TOKENS, space=None, lexicon=Lexicon(SPELLINGS))
    with pytest.raises(ConfigError, match="2 to 6 words; the model has 1"):
        FlashlightSearch(TOKENS, space=1, lexicon=Lexicon(SPELLINGS), language_model=NGram.estimate([["a"]], order=1))
    with pytest.raises(ValueError, match="more than once"):
        FlashlightSearch(["-", " ", "a", "a"], space=1)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchaudio.models.decoder as decoder

    monkeypatch.delitem(decoder.__dict__, "ctc_decoder", raising=False)
    monkeypatch.delitem(sys.modules, "torchaudio.models.decoder._ctc_decoder", raising=False)
    monkeypatch.delattr(decoder, "_ctc_decoder", raising=False)
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder", None)
    with pytest.raises(ConfigError, match=r"pip install 'seqkit\[flashlight\]'"):
        FlashlightSearch(TOKENS, space=1)
