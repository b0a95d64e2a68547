"""Every kernel against float64 torch.nn.LSTM: outputs, final states and all gradients, over a grid of shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seqkit.lstm import LSTMLayer, LSTMState, StackedLSTM, reference
from seqkit.sequences import Sequences
from tests.lstm.numerics import BEHIND_OP, KERNELS, Shape, check_agreement, check_case, error, make, ours

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


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_layer_agrees_with_torch(shape: Shape, bidirectional: bool, kernel: str) -> None:
    check_agreement(shape, 1, bidirectional, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3]], ids=str)
def test_three_layers_agree_with_torch(shape: Shape, bidirectional: bool, kernel: str) -> None:
    check_agreement(shape, 3, bidirectional, kernel)


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_a_long_batch_keeps_its_accuracy(kernel: str) -> None:
    """Sums over ten thousand rows and more: the weights' gradients are cut into partial sums."""
    torch.manual_seed(2)
    lstm = nn.LSTM(24, 32)
    case = make([100 - n % 7 for n in range(128)], 24, lstm)
    check_case(lstm, case, kernel)


@pytest.mark.parametrize("kernel", BEHIND_OP)
@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_tiny_and_saturating_inputs_keep_their_accuracy(scale: float, kernel: str) -> None:
    torch.manual_seed(3)
    lstm = nn.LSTM(64, 48)
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.mul_(0 if weight.dim() == 1 else 1)
    case = make([20, 9, 15, 1], 64, lstm)
    case.values.mul_(scale)
    case.state = LSTMState(case.state.hidden * 0, case.state.cell * 0)
    check_case(lstm, case, kernel)


@pytest.mark.parametrize("kernel", BEHIND_OP)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_kernels_agree_with_the_written_equations(bidirectional: bool, kernel: str) -> None:
    torch.manual_seed(4)
    lengths = [4, 0, 1, 7]
    layer = LSTMLayer(5, 3, bidirectional, kernel="eager").double()
    rows = [torch.randn(n, 5, dtype=torch.float64) for n in lengths]
    state = LSTMState(*torch.randn(2, layer.directions, 4, 3, dtype=torch.float64))
    outputs, h_n, c_n = reference.layer(rows, layer.weights(), state.hidden, state.cell)
    wanted = torch.autograd.grad(torch.cat(outputs).square().sum() + c_n.sum() + h_n.sin().sum(), layer.weights())
    dtype, bound = (torch.float64, 1e-12) if kernel == "eager" else (torch.float32, 1e-6)
    layer, layer.kernel = layer.to(dtype), kernel
    initial = LSTMState(state.hidden.to(dtype), state.cell.to(dtype))
    got, final = layer(Sequences.from_list([row.to(dtype) for row in rows]), initial)
    assert error(torch.cat(got.unpack()), torch.cat(outputs)) <= bound
    assert error(final.hidden, h_n) <= bound
    assert error(final.cell, c_n) <= bound
    loss = got.data.square().sum() + final.cell.sum() + final.hidden.sin().sum()
    for ours_, theirs in zip(torch.autograd.grad(loss, layer.weights()), wanted, strict=True):
        assert error(ours_, theirs) <= bound


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


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_same_inputs_give_the_same_bits(kernel: str) -> None:
    torch.manual_seed(6)
    lstm = nn.LSTM(128, 128, 2, bidirectional=True)
    stack = StackedLSTM.from_torch(lstm, kernel=kernel)
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
