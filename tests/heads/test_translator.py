"""The translator: the whole target at once is the target token by token, and nothing stands in another's way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seqkit.frontends.embedding import TokenEmbedding
from seqkit.heads.translator import DecoderState, Translator
from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences

SOURCE_WORDS, WORDS, START = 9, 11, 1
PAIRS = [([3, 4, 5, 2], [6, 7, 2]), ([8], [10, 3, 4, 5, 9]), ([5, 5], [7]), ([2, 3, 4, 6, 7, 8], [4, 4])]
VARIANTS = [
    *({"attending": a, "layers": n, "residual": n > 1} for a in ("lowest", "highest", "both") for n in (1, 2, 3)),
    *({"attending": a, "layers": 2, "scoring": "additive", "tied": False} for a in ("lowest", "highest", "both")),
    {"layers": 3, "residual": False, "one_way": True},
    {"layers": 2, "residual": True, "encoder_layers": 2, "same": True},
]


def _translator(
    *,
    layers: int = 2,
    attending: Any = "lowest",
    encoder_layers: int = 1,
    one_way: bool = False,
    same: bool = False,
    noise: float = 0.0,
    stack: dict[str, Any] | None = None,
    **options: Any,
) -> Translator:
    """A small one, in float64."""
    torch.manual_seed(0)
    target = TokenEmbedding(WORDS, 4, init_std=1.0, word_dropout=noise, embedding_dropout=noise)
    source = target if same else TokenEmbedding(SOURCE_WORDS, 4, init_std=1.0, word_dropout=noise)
    more = stack or {}
    encoder = StackedLSTM(4, 3, encoder_layers, bidirectional=not one_way, **more)
    lowest = StackedLSTM(4, 5, **more)
    width = 5 + (encoder.output_size if attending != "highest" else 0)
    residual = options.get("residual", False)
    upper = StackedLSTM(width, 5, layers - 1, residual=residual, **more) if layers > 1 else None
    made = Translator(source, target, encoder, lowest, upper, **{
        "attending": attending, "attention_size": 6, "start_id": START, **options,
    })  # fmt: skip
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    return made.double().eval()


def _sources(*rows: list[int]) -> Sequences:
    return Sequences.from_list([torch.tensor(row, dtype=torch.int64) for row in rows])


def _read(targets: list[list[int]]) -> Sequences:
    """What is read: the sign of the start, and the targets but for their last token."""
    return _sources(*([START, *target[:-1]] for target in targets))


def _log_probs(model: Translator, source: list[list[int]], targets: list[list[int]]) -> list[Tensor]:
    """(T, V) of each pair, by the whole target at once, its softmax by hand."""
    features, _ = model(_sources(*source), _read(targets))
    scores = F.linear(features.data, model.softmax.weight, model.softmax.bias)
    return Sequences.unpack(features.replace(scores.log_softmax(1)))


def _stepped(model: Translator, source: list[list[int]], targets: list[list[int]]) -> list[Tensor]:
    """The same, token by token, a row leaving the batch when its target ends."""
    log_probs, state = model.begin(_sources(*source))
    rows: list[list[Tensor]] = [[] for _ in targets]
    active = list(range(len(targets)))
    for time in itertools.count():
        for place, row in enumerate(active):
            rows[row].append(log_probs[place])
        kept = [place for place, row in enumerate(active) if len(targets[row]) > time + 1]
        if not kept:
            return [torch.stack(row) for row in rows]
        active = [active[place] for place in kept]
        state = state.select(torch.tensor(kept))
        log_probs, state = model.advance(torch.tensor([targets[row][time] for row in active]), state)
    raise AssertionError


# One way and the other -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@torch.no_grad()
def test_the_whole_target_at_once_is_the_target_token_by_token(variant: dict[str, Any]) -> None:
    model = _translator(**variant)
    sources, targets = [pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS]
    whole, stepped = _log_probs(model, sources, targets), _stepped(model, sources, targets)
    for one, other in zip(whole, stepped, strict=True):
        torch.testing.assert_close(one, other)
    expected = sum(-rows[range(len(ids)), ids].sum() for rows, ids in zip(whole, targets, strict=True))
    flat = Sequences.from_list([torch.tensor(ids) for ids in targets]).data
    torch.testing.assert_close(model.nats_sum(_sources(*sources), _read(targets), flat), torch.as_tensor(expected))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@torch.no_grad()
def test_a_batch_is_each_pair_alone(variant: dict[str, Any]) -> None:
    model = _translator(**variant)
    together = _log_probs(model, [pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS])
    _, weights = model(_sources(*(pair[0] for pair in PAIRS)), _read([pair[1] for pair in PAIRS]))
    for row, (source, target) in enumerate(PAIRS):
        torch.testing.assert_close(together[row], _log_probs(model, [source], [target])[0])
        _, alone = model(_sources(source), _read([target]))
        torch.testing.assert_close(weights[row, : len(target), : len(source)], alone[0])
        assert weights[row, :, len(source) :].eq(0).all()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@torch.no_grad()
def test_a_word_changes_what_comes_after_it_and_nothing_before(variant: dict[str, Any]) -> None:
    model = _translator(**variant)
    target = [3, 4, 5, 6, 7]
    (before,) = _log_probs(model, [[2, 3, 4]], [target])
    for place in range(len(target) - 1):
        changed = [*target[:place], 9, *target[place + 1 :]]
        (after,) = _log_probs(model, [[2, 3, 4]], [changed])
        assert torch.equal(before[: place + 1], after[: place + 1])
        assert all((before[time] - after[time]).abs().max() > 1e-9 for time in range(place + 1, len(target)))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@torch.no_grad()
def test_every_word_of_the_source_counts_at_every_step(variant: dict[str, Any]) -> None:
    model = _translator(**variant)
    source, target = [2, 3, 4, 5], [3, 4, 5]
    (before,) = _log_probs(model, [source], [target])
    for place in range(len(source)):
        (after,) = _log_probs(model, [[*source[:place], 8, *source[place + 1 :]]], [target])
        assert (before - after).abs().amax(1).min() > 1e-7


# Gradients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_gradients_reach_every_parameter(variant: dict[str, Any]) -> None:
    model = _translator(**variant).train()
    sources, targets = [pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS]
    flat = Sequences.from_list([torch.tensor(ids) for ids in targets]).data
    model.nats_sum(_sources(*sources), _read(targets), flat, 0.1).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_gradient_is_the_difference_of_the_sum() -> None:
    """Each parameter moved along its gradient and back: the loss changes by the gradient's square."""
    model = _translator(layers=3, residual=True)
    sources, targets = [pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS]
    flat = Sequences.from_list([torch.tensor(ids) for ids in targets]).data

    def nats() -> Tensor:
        return model.nats_sum(_sources(*sources), _read(targets), flat, 0.2)

    nats().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        step = 1e-5 / parameter.grad.norm() * parameter.grad
        with torch.no_grad():
            parameter.add_(step)
            above = nats()
            parameter.sub_(2 * step)
            below = nats()
            parameter.add_(step)
        assert ((above - below) / 2e-5).item() == pytest.approx(parameter.grad.norm().item(), rel=1e-5), name


# State ---------------------------------------------------------------------------------------------------------------

SELECTIONS = [[0, 1, 2, 3], [3, 1, 0, 2], [2, 2, 0, 2], [1], [3, 3, 3], [0, 2, 0, 2, 0, 2], [1, 3, 1]]


@pytest.mark.parametrize("attending", ["lowest", "highest", "both"])
@pytest.mark.parametrize("indices", SELECTIONS, ids=str)
@torch.no_grad()
def test_chosen_rows_go_on_as_they_would_have(attending: str, indices: list[int]) -> None:
    """Sources are let go when half of them are; what follows is the same to the last choice of a chain of choices."""
    model = _translator(attending=attending)
    sources = [pair[0] for pair in PAIRS]
    _, state = model.begin(_sources(*sources))
    chosen = state.select(torch.tensor(indices))
    assert chosen.memories[0].batch_size == (len(set(indices)) if 2 * len(set(indices)) <= 4 else 4)
    owners: list[int] = list(indices)
    written: list[list[int]] = [[] for _ in indices]
    for time in range(3):
        tokens = [(7 * row + 3 * time + owners[row]) % WORDS for row in range(len(owners))]
        written = [[*ids, token] for ids, token in zip(written, tokens, strict=True)]
        log_probs, chosen = model.advance(torch.tensor(tokens), chosen)
        for row, owner in enumerate(owners):
            alone = _log_probs(model, [sources[owner]], [[*written[row], 0]])[0][-1]
            torch.testing.assert_close(log_probs[row], alone)
        again = [row for row in range(len(owners)) if row != time] or [0]  # one more row leaves at each step
        chosen = chosen.select(torch.tensor(again))
        owners, written = [owners[row] for row in again], [written[row] for row in again]


@torch.no_grad()
def test_a_chosen_state_leaves_the_other_as_it_was() -> None:
    model = _translator()
    _, state = model.begin(_sources([2, 3], [4]))
    copy = DecoderState(state.lstm, state.memories, state.owners.clone())
    first, _ = model.advance(torch.tensor([3, 4]), state)
    model.advance(torch.tensor([5, 5, 5]), state.select(torch.tensor([1, 1, 1])))
    again, _ = model.advance(torch.tensor([3, 4]), copy)
    assert torch.equal(first, again)


# Dropout -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_dropout_is_for_training_alone() -> None:
    noisy: dict[str, Any] = {
        "noise": 0.4,
        "stack": {"locked_dropout": 0.4, "weight_dropout": 0.4, "dropout": 0.4},
        "dropout": 0.4,
    }
    model, plain = _translator(encoder_layers=2, layers=3, **noisy), _translator(encoder_layers=2, layers=3)
    sources, targets = [pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS]
    for one, other in zip(_log_probs(model, sources, targets), _log_probs(plain, sources, targets), strict=True):
        assert torch.equal(one, other)
    model.train()
    once, again = _log_probs(model, sources, targets), _log_probs(model, sources, targets)
    assert not any(torch.equal(one, other) for one, other in zip(once, again, strict=True))


@torch.no_grad()
def test_dropout_of_a_feature_is_one_mask_for_a_target() -> None:
    model = _translator(dropout=0.5).train()
    features, _ = model(_sources([2, 3], [4]), _read([[5] * 6, [3] * 4]))
    masks = [part.ne(0) for part in features.unpack()]
    assert all(torch.equal(mask, mask[:1].expand_as(mask)) for mask in masks)
    assert 0 < sum(int(mask[0].sum()) for mask in masks) < 8


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        _translator().begin(_sources([2], []))
