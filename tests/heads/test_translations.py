"""Answers of a translation model: what is found is scored as what is given, drawn alike in any batch, and aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqkit.frontends.embedding import TokenEmbedding
from seqkit.frontends.pair import PairFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.heads.beam import BeamSearch
from seqkit.heads.generation import Sampling
from seqkit.heads.translations import (
    Alignment,
    Limits,
    TargetScore,
    Translated,
    sample_translations,
    score_targets,
    search_translations,
)
from seqkit.heads.translator import Translator
from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences

SOURCES = ["one two three", "four", "two two five one six", "six unheard"]
TARGETS = ["eins zwei", "drei vier fünf", "sechs"]
LIMITS = Limits(1.0, 3)
FRONTENDS = {
    joint: PairFrontend(TokenizerConfig(kind="word", eos=True), joint=joint).fit(SOURCES[:3], TARGETS)
    for joint in (True, False)
}


@pytest.fixture(params=[True, False], ids=["joint", "separate"])
def frontend(request: pytest.FixtureRequest) -> PairFrontend:
    """A vocabulary of words, for both sides or one each."""
    return FRONTENDS[request.param]


@pytest.fixture(autouse=True)
def _without_gradients() -> Any:
    with torch.inference_mode():
        yield


def _model(frontend: PairFrontend, seed: int = 0, *, unknown: float = 3.0) -> Translator:
    """Untrained, in float64, and much inclined to write the unknown word."""
    torch.manual_seed(seed)
    source, target = (TokenEmbedding(side.vocab_size, 4, init_std=1.0) for side in (frontend.source, frontend.target))
    encoder, lowest, upper = StackedLSTM(4, 5, bidirectional=True), StackedLSTM(4, 6), StackedLSTM(16, 6)
    eos_id = frontend.target.eos_id
    model = Translator(source, target, encoder, lowest, upper, attention_size=5, start_id=eos_id).double().eval()
    model.softmax.bias[frontend.target.unk_id] = unknown
    return model


def _source(frontend: PairFrontend, texts: Sequence[str]) -> Sequences:
    eos_id = frontend.source.eos_id
    return Sequences.from_list([torch.tensor([*frontend.source.encode(text).tolist(), eos_id]) for text in texts])


def _scores(models: Sequence[Translator], frontend: PairFrontend, pairs: Sequence[tuple[str, str]]) -> Any:
    """What `score_targets` says of pairs of texts."""
    eos_id = frontend.target.eos_id
    targets = [[*frontend.target.encode(target).tolist(), eos_id] for _, target in pairs]
    read = Sequences.from_list([torch.tensor([eos_id, *ids[:-1]]) for ids in targets])
    flat = Sequences.from_list([torch.tensor(ids) for ids in targets]).data
    return score_targets(models, _source(frontend, [source for source, _ in pairs]), read, flat)


def _by_hand(model: Translator, frontend: PairFrontend, source: str, ids: list[int]) -> list[Tensor]:
    """The distribution (V,) before each of `ids`, token by token."""
    log_probs, state = model.begin(_source(frontend, [source]))
    rows = [log_probs[0]]
    for token in ids[:-1]:
        log_probs, state = model.advance(torch.tensor([token]), state)
        rows.append(log_probs[0])
    return rows


def _search(
    models: Sequence[Translator],
    frontend: PairFrontend,
    texts: Sequence[str] = SOURCES,
    limits: Limits = LIMITS,
    **how: Any,
) -> list[Translated]:
    return search_translations(models, _source(frontend, texts), frontend, BeamSearch(**how), limits)


def _sample(
    models: Sequence[Translator],
    frontend: PairFrontend,
    texts: Sequence[str] = SOURCES,
    limits: Limits = LIMITS,
    **how: Any,
) -> list[Translated]:
    sampling = Sampling(**{"length": 1000, "samples": 3, **how})
    return sample_translations(models, _source(frontend, texts), frontend, sampling, limits)


def _texts(answers: Sequence[Translated]) -> list[list[str]]:
    return [[one.text for one in answer.candidates] for answer in answers]


# Scores --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("way", ["search", "sample"])
def test_what_is_found_is_scored_as_the_same_text_given(frontend: PairFrontend, way: str, members: int) -> None:
    models = [_model(frontend, seed) for seed in range(members)]
    for model in models:
        model.softmax.bias[frontend.target.eos_id] += 2.0  # so that most come to an end
    limits = Limits(2.0, 10)
    if way == "search":
        answers = _search(models, frontend, limits=limits, beam_size=4, n_best=3)
    else:
        answers = _sample(models, frontend, limits=limits)
    found = [(text, one) for text, answer in zip(SOURCES, answers, strict=True) for one in answer.candidates]
    given = _scores(models, frontend, [(text, one.text) for text, one in found])
    compared = 0
    for (text, one), score in zip(found, given, strict=True):
        assert score.tokens == len(one.text.split()) + 1
        if score.tokens <= limits.of(_source(frontend, [text]))[0]:  # else it was cut off, and has no end
            assert one.log_prob == pytest.approx(score.log_prob, rel=1e-9)
            compared += 1
    assert compared > 6


@pytest.mark.parametrize("penalty", [0.0, 1.0, 0.6])
def test_candidates_stand_by_score_which_is_the_penalised_log_probability(
    frontend: PairFrontend, penalty: float
) -> None:
    model = _model(frontend)
    for answer in _search([model], frontend, beam_size=5, n_best=5, length_penalty=penalty):
        scores = [one.score for one in answer.candidates]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        for one in answer.candidates:
            tokens = len(one.text.split()) + 1
            cut = [one.log_prob / ((5 + length) / 6) ** penalty for length in (tokens, tokens - 1)]
            assert min(abs(one.score - value) for value in cut) < 1e-9
        assert answer.text == answer.candidates[0].text


def test_scores_of_an_ensemble_average_probabilities_token_by_token(frontend: PairFrontend) -> None:
    models = [_model(frontend, seed) for seed in range(3)]
    pairs = [("one two three", "eins zwei"), ("four", "drei vier fünf drei"), ("two", "unheard")]
    scores = _scores(models, frontend, pairs)
    for (source, target), score in zip(pairs, scores, strict=True):
        ids = [*frontend.target.encode(target).tolist(), frontend.target.eos_id]
        rows = [_by_hand(model, frontend, source, ids) for model in models]
        probs = [np.mean([row[time][token].exp().item() for row in rows]) for time, token in enumerate(ids)]
        assert score.log_prob == pytest.approx(float(np.log(probs).sum()), rel=1e-9)
        assert score.tokens == len(ids)
        assert score.perplexity == pytest.approx(math.exp(-score.log_prob / len(ids)))
    assert TargetScore(-1e9, 2).perplexity == math.exp(700)


# Ensembles -----------------------------------------------------------------------------------------------------------


def test_an_ensemble_of_a_model_with_itself_is_the_model(frontend: PairFrontend) -> None:
    model = _model(frontend)
    for one, other in (
        (_search([model], frontend, beam_size=3, n_best=3), _search([model] * 2, frontend, beam_size=3, n_best=3)),
        (_sample([model], frontend), _sample([model] * 2, frontend)),
    ):
        assert _texts(one) == _texts(other)
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_allclose(mine.alignment.weights, theirs.alignment.weights, atol=1e-6)
            logs = [[candidate.log_prob for candidate in answer.candidates] for answer in (mine, theirs)]
            assert logs[0] == pytest.approx(logs[1], rel=1e-9)


def test_a_second_model_has_a_say(frontend: PairFrontend) -> None:
    one, other = _model(frontend), _model(frontend, seed=5)
    both = _search([one, other], frontend)
    assert _texts(both) == _texts(_search([other, one], frontend))
    assert _texts(_search([one], frontend)) != _texts(_search([other], frontend))
    first, second = (_search([model], frontend) for model in (one, other))
    assert all(len({_texts(part)[row][0] for part in (both, first, second)}) >= 1 for row in range(len(SOURCES)))
    mean = _by_hand_weights([one, other], frontend, SOURCES[0], both[0])
    np.testing.assert_allclose(both[0].alignment.weights, mean, atol=1e-6)


def _by_hand_weights(models: Sequence[Translator], frontend: PairFrontend, source: str, answer: Translated) -> Any:
    """The mean over models of the weights (T, S) that attention has while it writes an answer."""
    ids = [frontend.target.eos_id, *frontend.target.encode(answer.text).tolist()]
    parts = [model(_source(frontend, [source]), Sequences.from_list([torch.tensor(ids)]))[1][0] for model in models]
    return torch.stack(parts).mean(0).numpy()


# Drawing -------------------------------------------------------------------------------------------------------------


def test_draws_are_the_seeds_and_the_sources_whatever_stands_beside_them(frontend: PairFrontend) -> None:
    model = _model(frontend)
    together = _texts(_sample([model], frontend))
    assert [_texts(_sample([model], frontend, [text]))[0] for text in SOURCES] == together
    assert _texts(_sample([model], frontend, SOURCES[::-1])) == together[::-1]
    assert _texts(_sample([model], frontend, samples=1)) == [texts[:1] for texts in together]
    assert _texts(_sample([model], frontend, seed=1)) != together
    assert any(len(set(texts)) > 1 for texts in together)


def test_draws_follow_the_models_probabilities() -> None:
    """The first word of many draws, with the unknown one and an end taken out."""
    frontend = FRONTENDS[False]
    model = _model(frontend)
    (answer,) = _sample([model], frontend, ["four"], samples=2000)
    first = [one.text.split()[0] for one in answer.candidates]
    probs = model.begin(_source(frontend, ["four"]))[0][0].exp()
    probs[[frontend.target.unk_id, frontend.target.eos_id]] = 0.0
    probs /= probs.sum()
    for word in ("eins", "zwei", "drei", "vier", "fünf", "sechs"):
        share = probs[frontend.target.encode(word)[0]].item()
        assert first.count(word) / 2000 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 2000) + 1e-9)


# What is never written, and how long a translation may be ------------------------------------------------------------


@pytest.mark.parametrize("way", ["search", "sample"])
def test_neither_the_unknown_word_nor_nothing_is_ever_written(frontend: PairFrontend, way: str) -> None:
    model = _model(frontend, unknown=12.0)
    model.softmax.bias[frontend.target.eos_id] = 12.0
    first = model.begin(_source(frontend, SOURCES))[0]
    assert set(first.argmax(1).tolist()) <= {frontend.target.unk_id, frontend.target.eos_id}
    answers = _search([model], frontend, beam_size=3, n_best=3) if way == "search" else _sample([model], frontend)
    texts = [text for part in _texts(answers) for text in part]
    assert all(text.strip() for text in texts)
    assert not any("<unk>" in text or "<eos>" in text for text in texts)
    assert all("<unk>" not in answer.alignment.target for answer in answers)


@pytest.mark.parametrize("way", ["search", "sample"])
def test_a_translation_that_does_not_end_is_cut_off_at_its_limit(frontend: PairFrontend, way: str) -> None:
    model = _model(frontend)
    model.softmax.bias[frontend.target.eos_id] = -1e3
    limits = Limits(1.5, 2)
    tokens = [len(text.split()) + 1 for text in SOURCES]
    expected = [math.ceil(1.5 * count) + 2 for count in tokens]
    assert limits.of(_source(frontend, SOURCES)) == expected
    how = _search if way == "search" else _sample
    answers = how([model], frontend, limits=limits)
    assert [len(answer.text.split()) for answer in answers] == expected
    for answer, most in zip(answers, expected, strict=True):
        (log_prob, ids) = answer.candidates[0].log_prob, frontend.target.encode(answer.text).tolist()
        source = SOURCES[expected.index(most)] if expected.count(most) == 1 else None
        if source is not None:
            rows = _by_hand(model, frontend, source, ids)
            assert log_prob == pytest.approx(sum(row[i].item() for row, i in zip(rows, ids, strict=True)), rel=1e-9)


def test_the_end_may_be_the_last_token_of_the_limit(frontend: PairFrontend) -> None:
    model = _model(frontend)
    model.softmax.bias[frontend.target.eos_id] = 1e3
    for answer in _search([model], frontend, limits=Limits(0.1, 1), beam_size=1):
        assert len(answer.text.split()) == 1


# Alignments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["search", "sample"])
def test_alignments_are_distributions_over_the_source_for_each_token_written(frontend: PairFrontend, way: str) -> None:
    models = [_model(frontend), _model(frontend, seed=1)]
    answers = _search(models, frontend) if way == "search" else _sample(models, frontend)
    for source, answer in zip(SOURCES, answers, strict=True):
        alignment = answer.alignment
        assert alignment.source == [*("<unk>" if word == "unheard" else word for word in source.split()), "<eos>"]
        assert alignment.target == [*answer.text.split(), "<eos>"]
        assert alignment.weights.shape == (len(alignment.target), len(alignment.source))
        assert alignment.weights.dtype == np.float32
        np.testing.assert_allclose(alignment.weights.sum(1), 1.0, atol=1e-6)
        np.testing.assert_allclose(alignment.weights, _by_hand_weights(models, frontend, source, answer), atol=1e-6)


def test_an_alignment_as_json_is_plain_numbers() -> None:
    alignment = Alignment(["a", "<eos>"], ["b"], np.array([[0.123456, 0.876544]], dtype=np.float64))
    assert alignment.to_json() == {"source": ["a", "<eos>"], "target": ["b"], "weights": [[0.1235, 0.8765]]}
