"""Writing on: what may be drawn and how often, each prompt by itself, and the text that comes of it."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from seqkit.frontends.continuation import Continuation
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.heads import generation
from seqkit.heads.generation import Sampling, choose, generate
from seqkit.heads.texts import Score, write_texts
from seqkit.heads.windows import time_windows
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences


class Chain:
    """A language model of which everything is known: the next token hangs on the sum of all tokens before it."""

    def __init__(self, words: int, seed: int = 0, spread: float = 2.0) -> None:
        scores = torch.randn(17, words, generator=torch.Generator().manual_seed(seed))
        self.table = scores.mul(spread).log_softmax(1)

    def log_probs(self, ids: Sequence[int]) -> Tensor:
        """(V,) after some ids."""
        return self.table[sum(ids) % 17]

    def begin(self, read: Sequences) -> tuple[Tensor, LSTMState]:
        sums = torch.stack([ids.sum() for ids in read.unpack()])
        return self._at(sums.float())

    def advance(self, tokens: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        return self._at(state.hidden[0, :, 0] + tokens)

    def _at(self, sums: Tensor) -> tuple[Tensor, LSTMState]:
        held = sums.view(1, -1, 1)
        return self.table[sums.long() % 17], LSTMState(held, held)


def _never(row: int, ids: list[int]) -> bool:
    return False


def _prompts(*ids: Sequence[int]) -> Sequences:
    return Sequences.from_list([torch.tensor(part) for part in ids])


# What may be drawn ---------------------------------------------------------------------------------------------------


def _reference(log_probs: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution that is drawn from, word by word in plain words."""
    if sampling.temperature == 0:
        probs = np.zeros(len(log_probs))
        probs[int(np.argmax(log_probs))] = 1.0
        return probs
    scaled = np.exp(log_probs / sampling.temperature)
    scaled /= scaled.sum()
    ranked = sorted(range(len(scaled)), key=lambda word: (-scaled[word], word))[: sampling.top_k]
    total = sum(scaled[word] for word in ranked)
    kept, reached = [], 0.0
    for word in ranked:
        if reached >= sampling.top_p:
            break
        kept.append(word)
        reached += scaled[word] / total
    probs = np.zeros(len(scaled))
    probs[kept] = scaled[kept] / scaled[kept].sum()
    return probs


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 3, 100])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.4, 1e-9])
def test_shares_of_the_uniform_number_are_the_reference_distribution(
    temperature: float, top_k: int | None, top_p: float
) -> None:
    sampling = Sampling(1, temperature=temperature, top_k=top_k, top_p=top_p)
    count = 2000
    uniforms = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    for seed in range(5):
        log_probs = torch.randn(11, generator=torch.Generator().manual_seed(seed)).double().mul(2).log_softmax(0)
        drawn = choose(log_probs.expand(count, -1), uniforms, sampling)
        shares = torch.bincount(drawn, minlength=11).double() / count
        expected = _reference(log_probs.numpy(), sampling)
        np.testing.assert_allclose(shares.numpy(), expected, atol=1.5 / count)
        assert set(drawn.tolist()) <= set(np.flatnonzero(expected).tolist())


def test_equal_probabilities_go_by_id() -> None:
    log_probs = torch.tensor([[0.1, 0.3, 0.3, 0.3]], dtype=torch.float64).log()
    ends = torch.tensor([0.0, 0.999999], dtype=torch.float64)
    for sampling, words in (
        (Sampling(1, temperature=0), [1, 1]),
        (Sampling(1, top_k=2), [1, 2]),
        (Sampling(1, top_p=0.55), [1, 2]),
    ):
        assert choose(log_probs.expand(2, -1), ends, sampling).tolist() == words


@pytest.mark.parametrize("sampling", [Sampling(1), Sampling(1, temperature=1e-300), Sampling(1, top_k=3, top_p=0.99)])
def test_a_barred_token_is_not_drawn_at_either_end(sampling: Sampling) -> None:
    log_probs = torch.tensor([-math.inf, -1.0, -2.0, -math.inf, -1.5, -math.inf], dtype=torch.float64)
    uniforms = torch.tensor([0.0, 1e-300, 0.5, 1 - 2**-53], dtype=torch.float64)
    drawn = choose(log_probs.expand(4, -1), uniforms, sampling)
    assert set(drawn.tolist()) <= {1, 2, 4}


# Generation ----------------------------------------------------------------------------------------------------------


def test_texts_are_drawn_from_the_models_distribution() -> None:
    model = Chain(3)
    sampling = Sampling(2, samples=4000)
    (written,) = generate([model], _prompts([1, 2]), sampling, _never)
    counts = Counter(tuple(one.ids) for one in written)
    for pair in itertools.product(range(3), repeat=2):
        log_prob = float(model.log_probs([1, 2])[pair[0]] + model.log_probs([1, 2, pair[0]])[pair[1]])
        share = math.exp(log_prob)
        assert abs(counts[pair] / 4000 - share) < 4 * math.sqrt(share / 4000)
        for one in written:
            if tuple(one.ids) == pair:
                assert one.log_prob == pytest.approx(log_prob, rel=1e-5)
                break


def test_greedy_follows_the_likeliest_token_and_log_prob_is_the_models_own() -> None:
    model = Chain(7)
    ids, log_prob = [3], 0.0
    for _ in range(9):
        after = model.log_probs(ids)
        log_prob += float(after.max())
        ids.append(int(after.argmax()))
    ((written,),) = generate([model], _prompts([3]), Sampling(9, temperature=0), _never)
    assert written.ids == ids[1:]
    assert written.log_prob == pytest.approx(log_prob, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 256])
def test_a_prompt_gets_the_same_texts_whatever_is_written_beside_it(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "ROWS", rows)
    model, sampling = Chain(9), Sampling(150, samples=3, seed=4)
    prompts = [[1], [2, 2, 5], [8, 1], [1, 1, 1, 1, 7], [3]]
    limits = {1: 3, 2: 40, 3: 1}

    def stop(row: int, ids: list[int]) -> bool:
        return len(ids) == limits.get(row, 1000)

    together = generate([model], _prompts(*prompts), sampling, stop)
    assert [len(samples) for samples in together] == [3] * 5
    for row, ids in enumerate(prompts):
        (alone,) = generate([model], _prompts(ids), sampling, lambda _, ids, row=row: stop(row, ids))  # type: ignore[misc]
        assert alone == together[row]
        assert [len(one.ids) for one in alone] == [min(150, limits.get(row, 1000))] * 3
    assert len({tuple(one.ids) for one in together[0]}) == 3


def test_the_seed_the_prompt_the_sample_and_the_position_decide() -> None:
    def draw(prompt: list[int], **options: int) -> list[list[int]]:
        (written,) = generate([Chain(50, spread=0)], _prompts(prompt), Sampling(12, **options), _never)
        return [one.ids for one in written]

    base = draw([1, 2])
    assert base == draw([1, 2])
    assert base == draw([1, 2], samples=3)[:1]
    assert base != draw([1, 2], seed=1)
    assert base != draw([2, 1])
    assert len(set(base[0])) > 4


def test_an_ensemble_averages_probabilities() -> None:
    one, other = Chain(3, seed=1), Chain(3, seed=2)
    (written,) = generate([one, other], _prompts([4]), Sampling(1, samples=4000), _never)
    counts = Counter(sample.ids[0] for sample in written)
    mean = (one.log_probs([4]).exp() + other.log_probs([4]).exp()) / 2
    for word in range(3):
        assert abs(counts[word] / 4000 - float(mean[word])) < 0.03
    assert written[0].log_prob == pytest.approx(math.log(float(mean[written[0].ids[0]])), rel=1e-5)


def test_barred_tokens_are_never_drawn_and_barred_first_ones_only_not_first() -> None:
    barred = torch.tensor([True, False, False, False])
    first = torch.tensor([[False, True, False, True], [False, False, False, False]])
    rows = generate(
        [Chain(4, spread=0)], _prompts([1], [2]), Sampling(20, samples=60), _never, barred=barred, barred_first=first
    )
    for row, starts in zip(rows, ({2}, {1, 2, 3}), strict=True):
        assert {sample.ids[0] for sample in row} == starts
        assert {token for sample in row for token in sample.ids[1:]} == {1, 2, 3}


# Text ----------------------------------------------------------------------------------------------------------------

TEXTS = ["the international cats sat on the mats and inter national"] * 20 + ["a cat in the hat ate a rat"] * 20


@cache
def _frontend(kind: str) -> TextFrontend:
    size = {"unigram": 24, "bpe": 40}.get(kind)
    return TextFrontend(TokenizerConfig.model_validate({"kind": kind, "eos": True, "vocab_size": size})).fit(TEXTS)


@pytest.mark.parametrize("kind", ["word", "char", "unigram", "bpe"])
@pytest.mark.parametrize("cut", range(1, 28))
def test_what_is_cut_from_a_text_is_put_back_as_it_was(kind: str, cut: int) -> None:
    """The ids behind any cut between tokens, read as a continuation, give the text again, letter by letter."""
    continuation = Continuation(_frontend(kind))
    text = "a cat in the hat\nthe international rat"
    front, back = text[:cut], text[cut:]
    if kind == "char":
        assert front + continuation.text(front, _ids(continuation, text)[cut:]) == text
        return
    whole, head = _ids(continuation, text), _ids(continuation, front)
    if whole[: len(head)] != head:
        return  # a cut within a token
    written = front + continuation.text(front, whole[len(head) :])
    assert written == text or (front.endswith("\n") and back and written == text)


def _ids(continuation: Continuation, text: str) -> list[int]:
    ids: list[int] = []
    for number, line in enumerate(continuation.lines(text)):
        ids += ([continuation.frontend.eos_id] if number else []) + line.tolist()
    return ids


def test_a_piece_may_carry_on_the_last_word_but_not_after_a_space() -> None:
    continuation = Continuation(_frontend("unigram"))
    frontend = continuation.frontend
    (national,) = [i for i in range(2, frontend.vocab_size) if frontend.decode([i]) == "national"]
    (cat,) = [i for i in range(2, frontend.vocab_size) if frontend.decode([i]) == "cat"]
    assert continuation.text("an inter", [national, cat]) == "national cat"
    assert continuation.text("an inter ", [cat, national]) == "catnational"
    assert continuation.text("an inter\n", [cat, cat]) == "cat cat"
    barred = continuation.barred_first("an inter ")
    assert barred is not None
    assert barred[national]
    assert not barred[cat]
    assert not barred[:2].any()
    for prompt in ("an inter", "", " ", "an inter\n"):
        assert continuation.barred_first(prompt) is None
    assert Continuation(_frontend("word")).barred_first("an inter ") is None


def test_unknown_words_and_characters_are_named_once_and_in_order() -> None:
    words = Continuation(_frontend("word"))
    assert words.unknown("the zebra sat\non a zebra ate <unk> kiwi") == ["zebra", "kiwi"]
    characters = Continuation(_frontend("char"))
    assert characters.unknown("ROME☃:\nthe R") == ["R", "O", "M", "E", "☃", ":"]
    assert Continuation(_frontend("unigram")).unknown("the ☃ cat") == ["☃"]


class Fixed:
    """Writes given tokens, whatever it reads."""

    def __init__(self, ids: Sequence[int], words: int) -> None:
        self.rows = torch.full((len(ids), words), -50.0)
        self.rows[torch.arange(len(ids)), torch.tensor(ids)] = 0.0

    def begin(self, read: Sequences) -> tuple[Tensor, LSTMState]:
        zeros = torch.zeros(1, read.batch_size, 1)
        return self.rows[:1].expand(read.batch_size, -1), LSTMState(zeros, zeros)

    def advance(self, tokens: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        at = state.hidden + 1
        return self.rows[at[0, :, 0].long()], LSTMState(at, at)


@pytest.mark.parametrize(
    ("written", "one_line", "stop", "text", "tokens"),
    [
        ("the hat\na rat sat", False, None, " the hat\na rat sat", 6),
        ("the hat\na rat sat", True, None, " the hat", 3),
        ("the hat\na rat sat", False, "rat", " the hat\na ", 5),
        ("the hat\na rat sat", False, "hat\na", " the ", 4),
        ("the hat\na rat sat", True, "rat", " the hat", 3),
        ("the hat\na rat sat", False, "zebra", " the hat\na rat sat", 6),
        ("the hat\na rat sat", False, " t", "", 1),
    ],
)
def test_writing_stops_where_it_is_told_to(
    written: str, one_line: bool, stop: str | None, text: str, tokens: int
) -> None:
    continuation = Continuation(_frontend("word"))
    ids = _ids(continuation, written)
    model = Fixed(ids, continuation.frontend.vocab_size)
    ((found,),) = write_texts(
        [model], _prompts([1, 5]), ["a"], continuation, Sampling(len(ids)), one_line=one_line, stop=stop
    )
    assert found["continuation"] == text
    assert found["text"] == "a" + text
    assert found["tokens"] == tokens
    assert found["log_prob"] == pytest.approx(0.0, abs=1e-12)


def test_the_unknown_token_is_not_written_even_where_it_is_the_likeliest() -> None:
    continuation = Continuation(_frontend("word"))
    model = Fixed([0, 0, 0], continuation.frontend.vocab_size)
    ((found,),) = write_texts([model], _prompts([1]), ["a"], continuation, Sampling(3), one_line=False)
    assert "<unk>" not in found["text"]
    assert found["log_prob"] == pytest.approx(-150.0)


def test_perplexity_of_the_least_likely_text_is_still_a_number() -> None:
    assert Score("a", -math.log(8), 3).perplexity == pytest.approx(2.0)
    assert math.isfinite(Score("a", -1e9, 1).perplexity)


# Windows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[5], [3, 0, 7, 7, 1], [1, 1], [2, 9, 4, 9]])
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_windows_hold_each_sequence_in_order(lengths: list[int], steps: int) -> None:
    batch = Sequences.from_list([torch.arange(100 * row, 100 * row + size) for row, size in enumerate(lengths)])
    seen: list[list[int]] = [[] for _ in lengths]
    data = []
    for window, rows in time_windows(batch, steps):
        assert window.max_length <= steps
        torch.testing.assert_close(window.data, batch.data[rows])
        for row, part in zip(batch.sorted_indices.tolist(), window.unpack(), strict=True):
            seen[row] += part.tolist()
        data.append(window.data)
    assert seen == [part.tolist() for part in batch.unpack()]
    assert torch.equal(torch.cat(data), batch.data)


def test_a_window_needs_a_step() -> None:
    with pytest.raises(ValueError, match="at least 1 step"):
        next(time_windows(_prompts([1]), 0))
