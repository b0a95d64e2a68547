"""Beam search: against all texts there are, against a slow search in plain Python, and what it asks the model for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqkit.heads import beam
from seqkit.heads.beam import BeamSearch, Hypothesis, beam_search, best_extensions
from seqkit.sequences import Sequences

EOS = 0
STATES = 499


@dataclass(frozen=True)
class Place:
    """Where in its table a `Walk` stands, (R,)."""

    at: Tensor

    def select(self, indices: Tensor) -> Place:
        return Place(self.at[indices])


class Walk:
    """A model of which everything is known: all that was read and written leads to a row of a random table.

    `levels` draws log-probabilities from so many values only, so that there are equal ones; some are -inf.
    """

    def __init__(
        self, words: int, seed: int = 0, *, levels: int | None = None, dtype: torch.dtype = torch.float64
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(STATES, words, generator=generator, dtype=torch.float64).mul(2).log_softmax(1)
        if levels is not None:
            self.table = torch.randint(levels, (STATES, words), generator=generator).double().mul(-0.25) - 0.25
            self.table[torch.rand(STATES, words, generator=generator) < 0.1] = -math.inf
        self.table = self.table.to(dtype)
        self.asked: list[int] = []  # rows of each call of `advance`

    def log_probs(self, source: Sequence[int], ids: Sequence[int]) -> list[float]:
        at = sum(source)
        for token in ids:
            at = self._next(at, token)
        return self.table[at % STATES].tolist()

    def begin(self, read: Sequences) -> tuple[Tensor, Place]:
        return self._answer(torch.stack([ids.sum() for ids in read.unpack()]))

    def advance(self, tokens: Tensor, state: Place) -> tuple[Tensor, Place]:
        self.asked.append(len(tokens))
        assert len(tokens) == len(state.at)
        return self._answer(self._next(state.at, tokens))

    def _next(self, at: Any, token: Any) -> Any:
        return (at * 31 + token * 7 + 3) % STATES

    def _answer(self, at: Tensor) -> tuple[Tensor, Place]:
        return self.table[at % STATES], Place(at)


class Mean:
    """Two models as one, by the mean of their probabilities."""

    def __init__(self, one: Walk, other: Walk) -> None:
        self.one, self.other = one, other

    def begin(self, read: Sequences) -> tuple[Tensor, Place]:
        return self._mean(self.one.begin(read), self.other.begin(read))

    def advance(self, tokens: Tensor, state: Place) -> tuple[Tensor, Place]:
        return self._mean(self.one.advance(tokens, state), self.other.advance(tokens, state))

    def _mean(self, one: tuple[Tensor, Place], other: tuple[Tensor, Place]) -> tuple[Tensor, Place]:
        return ((one[0].exp() + other[0].exp()) / 2).log(), one[1]


def _read(sources: Sequence[Sequence[int]]) -> Sequences:
    return Sequences.from_list([torch.tensor(ids) for ids in sources])


def _mask(words: int, *ids: int) -> Tensor:
    return torch.isin(torch.arange(words), torch.tensor(ids, dtype=torch.int64))


def _score(log_prob: float, length: int, alpha: float) -> float:
    return float(log_prob / ((5 + length) / 6) ** alpha)


def _same(found: Sequence[Hypothesis], expected: Sequence[Hypothesis]) -> None:
    assert [(one.ids, one.ended) for one in found] == [(one.ids, one.ended) for one in expected]
    for name in ("log_prob", "score"):
        values = [getattr(one, name) for one in found], [getattr(one, name) for one in expected]
        np.testing.assert_allclose(*values, rtol=1e-9)


def _slowly(
    model: Walk, source: Sequence[int], search: BeamSearch, limit: int, barred: Sequence[int], first: Sequence[int]
) -> list[Hypothesis]:
    """The search in lists, token by token; it always runs to the end."""
    live: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[Hypothesis] = []
    for step in range(1, limit + 1):
        extensions = []
        for rank, (ids, total) in enumerate(live):
            for token, log_prob in enumerate(model.log_probs(source, ids)):
                if token in barred or (step == 1 and token in first) or log_prob == -math.inf:
                    continue
                extensions.append((-(total + log_prob), rank, token, ids))
        live, kept = [], sorted(extensions)[: search.beam_size - len(finished)]
        for negative, _, token, ids in kept:
            score = _score(-negative, step, search.length_penalty)
            if token == EOS:
                finished.append(Hypothesis(ids, -negative, score, True))
            elif step == limit:
                finished.append(Hypothesis([*ids, token], -negative, score, False))
            else:
                live.append(([*ids, token], -negative))
    return sorted(finished, key=lambda one: -one.score)[: search.n_best]


SOURCES = [[3], [1, 4, 1], [5, 9], [2, 6, 5, 3, 5], [8], [11, 2]]
LIMITS = [4, 1, 7, 3, 12, 5]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("n_best", [1, 7])
@pytest.mark.parametrize("barred", [(), (2,)])
def test_a_wide_beam_finds_the_best_of_all_texts(alpha: float, n_best: int, barred: tuple[int, ...]) -> None:
    words, model, limits = 4, Walk(4, seed=n_best), [4, 1, 2, 3, 4, 3]
    search = BeamSearch(beam_size=150, n_best=n_best, length_penalty=alpha)  # there are 121 texts of up to 4 tokens
    found = beam_search(
        [model],
        _read(SOURCES),
        search,
        eos_id=EOS,
        max_lengths=limits,
        barred=_mask(words, *barred),
        barred_first=_mask(words, EOS),
    )
    for source, limit, best in zip(SOURCES, limits, found, strict=True):
        every = []
        for length in range(1, limit + 1):
            for ids in itertools.product(range(words), repeat=length):
                ended = ids[-1] == EOS
                if EOS in ids[:-1] or ids[0] == EOS or set(ids) & set(barred) or not (ended or length == limit):
                    continue
                log_prob = sum(model.log_probs(source, ids[:at])[token] for at, token in enumerate(ids))
                text = list(ids[:-1] if ended else ids)
                every.append(Hypothesis(text, log_prob, _score(log_prob, length, alpha), ended))
        every.sort(key=lambda one: -one.score)
        _same(best, every[:n_best])


@pytest.mark.parametrize("beam_size", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("levels", [None, 2, 3, 8])
def test_it_is_the_search_in_plain_python(beam_size: int, levels: int | None) -> None:
    """The plain search never stops early, so this shows too that stopping loses nothing."""
    for seed, alpha in itertools.product(range(6), (0.0, 0.7, 1.0, 2.0)):
        words = 3 + seed
        model = Walk(words, seed, levels=levels)
        search = BeamSearch(beam_size, n_best=1 + seed % beam_size, length_penalty=alpha)
        barred, first = [(), (2,), (1, 2)][seed % 3], [(EOS,), ()][seed % 2]
        found = beam_search(
            [model],
            _read(SOURCES),
            search,
            eos_id=EOS,
            max_lengths=LIMITS,
            barred=_mask(words, *barred) if barred else None,
            barred_first=_mask(words, *first) if first else None,
        )
        for source, limit, best in zip(SOURCES, LIMITS, found, strict=True):
            _same(best, _slowly(model, source, search, limit, barred, first))


def test_a_beam_of_one_is_greedy() -> None:
    model = Walk(9, seed=5, dtype=torch.float32)
    found = beam_search([model], _read(SOURCES), BeamSearch(1), eos_id=EOS, max_lengths=LIMITS)
    for source, limit, (best,) in zip(SOURCES, LIMITS, found, strict=True):
        ids: list[int] = []
        total = 0.0
        while len(ids) < limit and EOS not in ids:
            after = model.log_probs(source, ids)
            total += max(after)
            ids.append(after.index(max(after)))
        assert best.ended == (ids[-1] == EOS)
        assert best.ids == [token for token in ids if token != EOS]
        assert best.log_prob == pytest.approx(total, rel=1e-12)
    assert len({best.ended for (best,) in found}) == 2


@pytest.mark.parametrize("rows", [1, 9, 512])
def test_a_source_is_searched_as_if_it_were_alone(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same number of rows too: what is finished leaves the batch."""
    monkeypatch.setattr(beam, "ROWS", rows)
    model, search = Walk(6, seed=2), BeamSearch(4, n_best=2)
    together = beam_search([model], _read(SOURCES), search, eos_id=EOS, max_lengths=LIMITS)
    alone, asked = [], []
    for source, limit in zip(SOURCES, LIMITS, strict=True):
        single = Walk(6, seed=2)
        alone += beam_search([single], _read([source]), search, eos_id=EOS, max_lengths=[limit])
        asked.append(single.asked)
    assert together == alone
    at_once = max(1, rows // 4)
    groups = [asked[start : start + at_once] for start in range(0, len(asked), at_once)]
    assert model.asked == [sum(step) for group in groups for step in itertools.zip_longest(*group, fillvalue=0)]
    assert len({len(part) for part in asked}) > 1


def _fixed(rows: Sequence[Sequence[float]]) -> Walk:
    """A model of which row t says how likely the token after t others is, whichever they are."""

    class Fixed(Walk):
        def _next(self, at: Any, token: Any) -> Any:
            return at + 1

    model = Fixed(len(rows[0]))
    model.table = torch.tensor(rows, dtype=torch.float64).log()
    return model


def test_a_finished_hypothesis_keeps_its_slot_and_leaves_its_row() -> None:
    model = _fixed([[0.5, 0.3, 0.2], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4]])
    (found,) = beam_search(
        [model], _read([[0]]), BeamSearch(3, n_best=3, length_penalty=0.0), eos_id=EOS, max_lengths=[3]
    )
    assert model.asked == [2, 2]
    assert [(one.ids, one.ended) for one in found] == [([], True), ([1, 1, 1], False), ([1, 1, 2], False)]
    np.testing.assert_allclose([math.exp(one.log_prob) for one in found], [0.5, 0.075, 0.06])
    assert [one.score for one in found] == [one.log_prob for one in found]


@pytest.mark.parametrize(("alpha", "steps"), [(0.0, 1), (1.0, 1), (1.2, 2), (2.0, 11)])
def test_a_search_stops_when_nothing_better_can_come(alpha: float, steps: int) -> None:
    """The first text that ends has ln 0.9 / (7 / 6) ** a; what is live after n more steps gets, at most 100 tokens
    long, n ln 0.1 / 17.5 ** a: worse from n = 0.05, 0.69, 1.18 and 10.3 on."""
    model = _fixed([[0.0, 1.0], *[[0.9, 0.1]] * 100])
    search = BeamSearch(200, length_penalty=alpha)
    ((best,),) = beam_search([model], _read([[0]]), search, eos_id=EOS, max_lengths=[100])
    assert best.ids == [1]
    assert len(model.asked) == steps


def test_texts_of_no_probability_are_not_found() -> None:
    model = _fixed([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    (found,) = beam_search([model], _read([[0]]), BeamSearch(5, n_best=5), eos_id=EOS, max_lengths=[3])
    assert sorted(one.ids for one in found) == [[], [1]]
    nothing = _mask(3, 0, 1, 2)
    assert beam_search([model], _read([[0]]), BeamSearch(5), eos_id=EOS, max_lengths=[3], barred=nothing) == [[]]


def test_an_ensemble_is_searched_by_the_mean_of_its_probabilities() -> None:
    one, other = Walk(5, seed=1), Walk(5, seed=2)
    search = BeamSearch(3, n_best=3)
    found = beam_search([one, other], _read(SOURCES), search, eos_id=EOS, max_lengths=LIMITS)
    expected = beam_search([Mean(one, other)], _read(SOURCES), search, eos_id=EOS, max_lengths=LIMITS)
    single = beam_search([one], _read(SOURCES), search, eos_id=EOS, max_lengths=LIMITS)
    for source, best in enumerate(found):
        _same(best, expected[source])
    assert [best[0].ids for best in found] != [best[0].ids for best in single]


def test_the_models_answers_are_left_as_they_are() -> None:
    model = _fixed([[0.2, 0.5, 0.3]] * 4)
    before = model.table.clone()
    model.begin = lambda read: (model.table[:1], Place(torch.zeros(1, dtype=torch.int64)))  # type: ignore[method-assign]
    beam_search([model], _read([[0]]), BeamSearch(2), eos_id=EOS, max_lengths=[3], barred=_mask(3, 1))
    assert torch.equal(model.table, before)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_best_extensions_are_those_of_a_full_sort(size: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(size)
    for beam_size, levels in itertools.product((1, 7), (2, 40, 10**6)):
        rows = np.array([[0, 1, 2, -1], [3, -1, 4, -1], [-1, 5, -1, -1]])
        log_probs = torch.from_numpy(rng.integers(levels, size=(6, size)) / -levels).to(dtype)
        log_probs[torch.from_numpy(rng.random((6, size)) < 0.2)] = -math.inf
        log_probs[1, -1] = 0.0  # the best there is, at the very end
        totals = -rng.integers(3, size=6) / 2.0
        found, ranks, ids = best_extensions(log_probs, rows, totals, beam_size)
        for source in range(3):
            every = [
                (-(totals[row] + float(log_probs[row, token])), rank, token)
                for rank, row in enumerate(rows[source])
                for token in range(size)
                if row >= 0 and log_probs[row, token] > -math.inf
            ]
            expected = sorted(every)[:beam_size]
            count = len(expected)
            assert list(zip(-found[source], ranks[source], ids[source], strict=True))[:count] == expected
            assert (found[source, count:] == -math.inf).all()


def test_what_is_asked_for_must_make_sense() -> None:
    for values in (
        {"beam_size": 0},
        {"n_best": 0},
        {"n_best": 6},
        {"length_penalty": -0.1},
        {"length_penalty": math.nan},
    ):
        with pytest.raises(ValueError, match=next(iter(values))):
            replace(BeamSearch(), **values)
    model, read = Walk(3), _read([[1], [2]])

    def search(**changed: Any) -> None:
        options: dict[str, Any] = {"eos_id": EOS, "max_lengths": [2, 2], **changed}
        beam_search(options.pop("models", [model]), read, BeamSearch(), **options)

    for options, message in (
        ({"max_lengths": [3]}, "1 max_lengths for 2"),
        ({"max_lengths": [3, 0]}, "at least 1, not 0"),
        ({"models": []}, "needs a model"),
        ({"eos_id": 3}, "eos_id is 3"),
        ({"barred": _mask(4)}, "mask of 3"),
        ({"barred_first": _mask(4).view(2, 2)}, "mask of 3"),
    ):
        with pytest.raises(ValueError, match=message):
            search(**options)
    model.table[:, 1] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        search()


def test_no_sources_have_no_hypotheses() -> None:
    empty = Sequences(torch.zeros(0, dtype=torch.int64), [])
    assert beam_search([Walk(3)], empty, BeamSearch(), eos_id=EOS, max_lengths=[]) == []
