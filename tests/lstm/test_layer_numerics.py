"""Every kernel against float64 torch.nn.LSTM: outputs, final states and all gradients, over a grid of shapes."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqkit.lstm import LSTMLayer, LSTMState, StackedLSTM, reference
from seqkit.sequences import Sequences

KERNELS = ("eager", "torch")
# lengths, input size, hidden size: zero-length rows, single steps, one row, ties, sizes on both sides of the
# thresholds in products.py
SHAPES = [
    ([3, 5, 0, 1, 5], 7, 6),
    ([1], 1, 1),
    ([0, 1, 0], 3, 2),
    ([40, 1, 17, 33, 40, 2, 25, 0], 33, 65),
    ([30 + n % 11 for n in range(32)], 128, 128),
    ([6, 5], 300, 200),
]


@dataclass
class Case:
    lengths: list[int]
    values: Tensor  # (B, T, I)
    state: LSTMState
    grad_output: Tensor  # (B, T, D * H)
    grad_hidden: Tensor  # (L * D, B, H)
    grad_cell: Tensor


def make(lengths: list[int], inputs: int, lstm: nn.LSTM, seed: int = 0) -> Case:
    generator = torch.Generator().manual_seed(seed)
    directions = 2 if lstm.bidirectional else 1

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    states = (lstm.num_layers * directions, len(lengths), lstm.hidden_size)
    grid = (len(lengths), max(lengths))
    return Case(
        lengths,
        normal(*grid, inputs),
        LSTMState(normal(*states), normal(*states)),
        normal(*grid, directions * lstm.hidden_size),
        normal(*states),
        normal(*states),
    )


def peer(lstm: nn.LSTM, case: Case, dtype: torch.dtype) -> list[Tensor]:
    """Outputs and gradients of torch.nn.LSTM: rows that have steps are packed, the others keep their state."""
    lstm = copy.deepcopy(lstm).to(dtype)
    values = case.values.to(dtype).requires_grad_()
    h_0, c_0 = (s.to(dtype).requires_grad_() for s in (case.state.hidden, case.state.cell))
    some = torch.tensor([b for b, n in enumerate(case.lengths) if n])
    packed = pack_padded_sequence(
        values[some], torch.tensor(case.lengths)[some], batch_first=True, enforce_sorted=False
    )
    result, (h_some, c_some) = lstm(packed, (h_0[:, some], c_0[:, some]))
    padded, _ = pad_packed_sequence(result, batch_first=True, total_length=values.shape[1])
    output = torch.zeros_like(case.grad_output, dtype=dtype).index_copy(0, some, padded)
    h_n, c_n = h_0.index_copy(1, some, h_some), c_0.index_copy(1, some, c_some)
    return with_gradients(case, output, h_n, c_n, [values, h_0, c_0, *lstm.parameters()])


def ours(stack: StackedLSTM, case: Case, dtype: torch.dtype) -> list[Tensor]:
    stack = copy.deepcopy(stack).to(dtype)
    values = case.values.to(dtype).requires_grad_()
    h_0, c_0 = (s.to(dtype).requires_grad_() for s in (case.state.hidden, case.state.cell))
    output, state = stack(Sequences.from_padded(values, case.lengths), LSTMState(h_0, c_0))
    parameters = [w for layer in stack.layers for w in layer.parameters()]
    return with_gradients(case, output.padded(), state.hidden, state.cell, [values, h_0, c_0, *parameters])


def with_gradients(case: Case, output: Tensor, h_n: Tensor, c_n: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    mask = torch.arange(output.shape[1]) < torch.tensor(case.lengths).unsqueeze(1)
    grads = [case.grad_output * mask.unsqueeze(2), case.grad_hidden, case.grad_cell]
    gradients = torch.autograd.grad([output, h_n, c_n], leaves, [g.to(output.dtype) for g in grads])
    return [output, h_n, c_n, *gradients]


def error(got: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    got, expected = got.detach(), expected.detach().double()
    norm = float(expected.norm())
    difference = float((got.double() - expected).norm())
    return difference / norm if norm else difference


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_layer_agrees_with_torch(shape: tuple[list[int], int, int], bidirectional: bool, kernel: str) -> None:
    check_agreement(shape, 1, bidirectional, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3]], ids=str)
def test_three_layers_agree_with_torch(shape: tuple[list[int], int, int], bidirectional: bool, kernel: str) -> None:
    check_agreement(shape, 3, bidirectional, kernel)


def check_agreement(shape: tuple[list[int], int, int], layers: int, bidirectional: bool, kernel: str) -> None:
    torch.manual_seed(1)
    lengths, inputs, hidden = shape
    lstm = nn.LSTM(inputs, hidden, layers, bidirectional=bidirectional)
    stack = StackedLSTM.from_torch(lstm, kernel=kernel)
    case = make(lengths, inputs, lstm)
    exact = peer(lstm, case, torch.float64)
    own = peer(lstm, case, torch.float32)
    names = ["output", "h_n", "c_n", "values", "h_0", "c_0", *(name for name, _ in stack.named_parameters())]
    for name, got32, got64, theirs, expected in zip(
        names, ours(stack, case, torch.float32), ours(stack, case, torch.float64), own, exact, strict=True
    ):
        assert error(got64, expected) <= 1e-12, name
        assert error(got32, expected) <= max(2e-6, 2 * error(theirs, expected)), name


def test_a_long_batch_keeps_its_accuracy() -> None:
    """Sums over ten thousand rows and more: the weights' gradients are cut into partial sums."""
    torch.manual_seed(2)
    lstm = nn.LSTM(24, 32)
    case = make([100 - n % 7 for n in range(128)], 24, lstm)
    exact, own = peer(lstm, case, torch.float64), peer(lstm, case, torch.float32)
    got = ours(StackedLSTM.from_torch(lstm, kernel="eager"), case, torch.float32)
    for ours_, theirs, expected in zip(got, own, exact, strict=True):
        assert error(ours_, expected) <= max(2e-6, 2 * error(theirs, expected))


@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_tiny_and_saturating_inputs_keep_their_accuracy(scale: float) -> None:
    torch.manual_seed(3)
    lstm = nn.LSTM(64, 48)
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.mul_(0 if weight.dim() == 1 else 1)
    case = make([20, 9, 15, 1], 64, lstm)
    case.values.mul_(scale)
    case.state = LSTMState(case.state.hidden * 0, case.state.cell * 0)
    exact, own = peer(lstm, case, torch.float64), peer(lstm, case, torch.float32)
    got = ours(StackedLSTM.from_torch(lstm, kernel="eager"), case, torch.float32)
    for ours_, theirs, expected in zip(got, own, exact, strict=True):
        assert error(ours_, expected) <= max(2e-6, 2 * error(theirs, expected))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_kernels_agree_with_the_written_equations(bidirectional: bool) -> None:
    torch.manual_seed(4)
    lengths = [4, 0, 1, 7]
    layer = LSTMLayer(5, 3, bidirectional, kernel="eager").double()
    rows = [torch.randn(n, 5, dtype=torch.float64) for n in lengths]
    state = LSTMState(*torch.randn(2, layer.directions, 4, 3, dtype=torch.float64))
    outputs, h_n, c_n = reference.layer(rows, layer.weights(), state.hidden, state.cell)
    got, final = layer(Sequences.from_list(rows), state)
    assert error(torch.cat(got.unpack()), torch.cat(outputs)) <= 1e-12
    assert error(final.hidden, h_n) <= 1e-12
    assert error(final.cell, c_n) <= 1e-12
    wanted = torch.autograd.grad(torch.cat(outputs).square().sum() + c_n.sum() + h_n.sin().sum(), layer.weights())
    loss = got.data.square().sum() + final.cell.sum() + final.hidden.sin().sum()
    for ours_, theirs in zip(torch.autograd.grad(loss, layer.weights()), wanted, strict=True):
        assert error(ours_, theirs) <= 1e-12


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_ragged_batch_gives_what_each_row_gives_alone(kernel: str) -> None:
    torch.manual_seed(5)
    lstm = StackedLSTM(6, 8, 2, bidirectional=True, kernel=kernel)
    rows = [torch.randn(n, 6) for n in (9, 0, 4, 1, 9)]
    together, state = lstm(Sequences.from_list(rows))
    for b, (row, got) in enumerate(zip(rows, together.unpack(), strict=True)):
        alone, own = lstm(Sequences.from_list([row]))
        assert torch.allclose(got, alone.data, atol=1e-6)
        assert torch.allclose(state.hidden[:, b], own.hidden[:, 0], atol=1e-6)
        assert torch.allclose(state.cell[:, b], own.cell[:, 0], atol=1e-6)


def test_same_inputs_give_the_same_bits() -> None:
    torch.manual_seed(6)
    lstm = nn.LSTM(128, 128, 2, bidirectional=True)
    stack = StackedLSTM.from_torch(lstm, kernel="eager")
    case = make([20 + n % 9 for n in range(24)], 128, lstm)
    first = ours(stack, case, torch.float32)
    for _ in range(2):
        for one, other in zip(first, ours(stack, case, torch.float32), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lengths", [[0, 0], []], ids=str)
def test_a_batch_without_steps(lengths: list[int], kernel: str) -> None:
    layer = LSTMLayer(3, 2, True, kernel=kernel)
    data = torch.zeros(0, 3, requires_grad=True)
    state = LSTMState(*torch.randn(2, 2, len(lengths), 2))
    output, final = layer(Sequences(data, lengths), state)
    assert output.data.shape == (0, 4)
    assert torch.equal(final.hidden, state.hidden)
    assert torch.equal(final.cell, state.cell)
    (output.data.sum() + final.hidden.sum()).backward()
    assert data.grad is not None
    for weight in layer.parameters():
        assert weight.grad is not None
        assert not weight.grad.any()
