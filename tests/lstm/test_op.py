"""The layer as an operator: gradients, schema, tracing, autocast, reuse of the graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seqkit.lstm import LSTMLayer, LSTMState, kernels
from seqkit.lstm.op import lstm_layer, run_layer
from seqkit.sequences import Sequences
from tests.lstm.numerics import BEHIND_OP, KERNELS, error


def arguments(lengths: list[int], directions: int, dtype: torch.dtype = torch.float64) -> tuple[Any, ...]:
    """(data, batch_sizes, weights, h_0, c_0), leaves that need gradients."""
    torch.manual_seed(0)
    inputs, hidden = 3, 2
    x = Sequences(torch.randn(sum(lengths), inputs, dtype=dtype), lengths)
    weights = [
        torch.randn(shape, dtype=dtype, requires_grad=True)
        for _ in range(directions)
        for shape in ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
    ]
    h_0, c_0 = (torch.randn(directions, len(lengths), hidden, dtype=dtype, requires_grad=True) for _ in range(2))
    return x.data.requires_grad_(), x.batch_sizes, weights, h_0, c_0


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("lengths", [[3, 1, 0, 3], [2], [0]], ids=str)
def test_gradcheck(lengths: list[int], directions: int) -> None:
    data, batch_sizes, weights, h_0, c_0 = arguments(lengths, directions)

    def run(data: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        output, h_n, c_n, *_ = lstm_layer(data, batch_sizes, list(weights), h_0, c_0, "eager", True)
        return output, h_n, c_n

    assert torch.autograd.gradcheck(run, (data, h_0, c_0, *weights))


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kernel", BEHIND_OP)
@pytest.mark.parametrize("save", [True, False])
def test_opcheck(directions: int, save: bool, kernel: str) -> None:
    data, batch_sizes, weights, h_0, c_0 = arguments([3, 1, 0, 3], directions, torch.float32)
    if not save:  # as the layer calls it: without a graph
        data, h_0, c_0 = (t.detach() for t in (data, h_0, c_0))
        weights = [w.detach() for w in weights]
    torch.library.opcheck(lstm_layer, (data, batch_sizes, weights, h_0, c_0, kernel, save))


@pytest.mark.parametrize("kernel", KERNELS)
def test_forward_forward_backward_backward(kernel: str) -> None:
    """Two passes of one layer are open at once; each goes backward with what it saved itself."""
    torch.manual_seed(1)
    layer = LSTMLayer(4, 5, True, kernel=kernel)
    first, second = (Sequences.from_list([torch.randn(n, 4) for n in lengths]) for lengths in ([3, 6], [8, 1, 2]))

    def loss(x: Sequences) -> Tensor:
        return layer(x)[0].data.square().sum()  # type: ignore[no-any-return]

    alone = [torch.autograd.grad(loss(x), layer.weights()) for x in (first, second)]
    losses = [loss(first), loss(second)]
    together = [torch.autograd.grad(each, layer.weights()) for each in losses]
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_the_graph_can_be_kept_and_run_again(kernel: str) -> None:
    torch.manual_seed(2)
    layer = LSTMLayer(4, 5, kernel=kernel)
    loss = layer(Sequences.from_list([torch.randn(4, 4), torch.randn(2, 4)]))[0].data.square().sum()
    once = torch.autograd.grad(loss, layer.weights(), retain_graph=True)
    for a, b in zip(once, torch.autograd.grad(loss, layer.weights()), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kernel", BEHIND_OP)
@pytest.mark.parametrize("part", ["output", "hidden", "cell"])
def test_a_loss_on_one_result_alone(part: str, kernel: str) -> None:
    """The other results' gradients are then absent, not zeros."""
    torch.manual_seed(3)
    grads = []
    layer = LSTMLayer(4, 5, True).double()
    rows = [torch.randn(n, 4, dtype=torch.float64) for n in (3, 0, 5)]
    dtype, bound = (torch.float64, 1e-12) if kernel == "eager" else (torch.float32, 1e-6)
    for layer.kernel, to in (("torch", torch.float64), (kernel, dtype)):
        layer.to(to)
        output, state = layer(Sequences.from_list([row.to(to) for row in rows]))
        loss = {"output": output.data, "hidden": state.hidden, "cell": state.cell}[part].square().sum()
        grads.append(torch.autograd.grad(loss, layer.weights()))
    for expected, got in zip(*grads, strict=True):
        assert error(got, expected) <= bound


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_without_saving_there_is_no_backward(kernel: str) -> None:
    data, batch_sizes, weights, h_0, c_0 = arguments([2, 1], 1, torch.float32)
    output, *_ = lstm_layer(data, batch_sizes, weights, h_0, c_0, kernel, False)
    with pytest.raises(ValueError, match="save=False"):
        output.sum().backward()


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_no_second_derivative(kernel: str) -> None:
    data, batch_sizes, weights, h_0, c_0 = arguments([2, 1], 1, torch.float32)
    output, *_ = lstm_layer(data, batch_sizes, weights, h_0, c_0, kernel, True)
    (grad,) = torch.autograd.grad(output.square().sum(), data, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        grad.sum().backward()


@pytest.mark.parametrize("kernel", KERNELS)
def test_float32_under_autocast(kernel: str) -> None:
    torch.manual_seed(5)
    layer = LSTMLayer(4, 5, kernel=kernel)
    x = Sequences.from_list([torch.randn(6, 4).bfloat16().float(), torch.randn(3, 4).bfloat16().float()])
    plain, state = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = x.replace(x.data.bfloat16().requires_grad_())
        cast, carried = layer(half)
    assert cast.data.dtype == carried.hidden.dtype == torch.float32
    assert torch.equal(cast.data, plain.data)
    assert torch.equal(carried.cell, state.cell)
    cast.data.sum().backward()
    assert half.data.grad is not None
    assert half.data.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_non_contiguous_inputs(kernel: str) -> None:
    torch.manual_seed(6)
    layer = LSTMLayer(4, 5, kernel=kernel)
    data, states = torch.randn(4, 7).t(), torch.randn(2, 5, 2, 1).permute(0, 3, 2, 1)
    weights = [w.detach().t().contiguous().t().requires_grad_() for w in layer.recurrent_weights()]

    def run(data: Tensor, h_0: Tensor, c_0: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        output, _ = layer(Sequences(data, [3, 4]), LSTMState(h_0, c_0), recurrent_weights=[weight])
        return output.data, *torch.autograd.grad(output.data.square().sum(), [weight, *layer.weights()[:1]])

    strided = run(data, states[0], states[1], weights[0])
    plain = run(
        data.contiguous(),
        states[0].contiguous(),
        states[1].contiguous(),
        weights[0].detach().contiguous().requires_grad_(),
    )
    for a, b in zip(strided, plain, strict=True):
        assert torch.equal(a, b)


class Reader(torch.nn.Module):
    def __init__(self, kernel: str) -> None:
        super().__init__()
        self.layer = LSTMLayer(4, 5, True, kernel=kernel)

    def forward(self, data: Tensor, batch_sizes: Tensor, h_0: Tensor, c_0: Tensor) -> Tensor:
        kernel = self.layer.kernel
        return lstm_layer(data, batch_sizes, self.layer.weights(), h_0, c_0, kernel, False)[0] * 2  # type: ignore[no-any-return]


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_export_sees_one_operator(kernel: str) -> None:
    reader = Reader(kernel)
    x = Sequences.from_list([torch.randn(3, 4), torch.randn(2, 4)])
    state = torch.randn(2, 2, 5)
    inputs = (x.data, x.batch_sizes, state, state)
    with torch.no_grad():
        program = torch.export.export(reader, inputs)
        assert torch.equal(program.module()(*inputs), reader(*inputs))
    assert "lstm_layer" in str(program.graph)


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_compile_traces_through_the_layer(kernel: str) -> None:
    data, batch_sizes, weights, h_0, c_0 = arguments([3, 1], 1, torch.float32)

    def loss(data: Tensor) -> Tensor:
        output: Tensor = lstm_layer(data * 2, batch_sizes, weights, h_0, c_0, kernel, True)[0]
        return output.square().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(data), loss(data))
    (got,), (expected,) = torch.autograd.grad(compiled(data), data), torch.autograd.grad(loss(data), data)
    assert torch.allclose(got, expected)


@pytest.mark.skipif(kernels.available("native") is not None, reason="the compiled CPU kernel is not built here")
def test_native_refuses_other_numbers_than_float32() -> None:
    data, batch_sizes, weights, h_0, c_0 = arguments([2, 1], 1, torch.float64)
    with pytest.raises(TypeError, match=r"a tensor is torch\.float64"):
        lstm_layer(data, batch_sizes, weights, h_0, c_0, "native", True)


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_past_the_operator_come_the_same_bits(kernel: str) -> None:
    data, batch_sizes, weights, h_0, c_0 = arguments([3, 1, 0, 3], 2, torch.float32)
    results = []
    for run in (lstm_layer, run_layer):
        output, h_n, c_n, *_ = run(data, batch_sizes, weights, h_0, c_0, kernel, True)
        loss = output.square().sum() + h_n.sin().sum() + c_n.cos().sum()
        results.append([output, h_n, c_n, *torch.autograd.grad(loss, (data, h_0, c_0, *weights))])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_no_second_derivative_of_a_layer(kernel: str) -> None:
    layer = LSTMLayer(3, 2, kernel=kernel)
    data = torch.randn(4, 3, requires_grad=True)
    loss = layer(Sequences(data, [3, 1]))[0].data.square().sum()
    (grad,) = torch.autograd.grad(loss, data, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()  # type: ignore[no-untyped-call]


def test_a_mode_that_looks_on_sees_the_operator() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Looking(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    with Looking(), torch.no_grad():  # type: ignore[no-untyped-call]
        LSTMLayer(3, 2, kernel="eager")(Sequences(torch.randn(4, 3), [3, 1]))
    assert any("seqkit.lstm_layer" in name for name in seen)


@pytest.mark.parametrize("kernel", BEHIND_OP)
def test_tensors_without_data_pass(kernel: str) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    data, batch_sizes, weights, h_0, c_0 = arguments([3, 1], 1, torch.float32)
    with FakeTensorMode() as mode, torch.no_grad():
        data, h_0, c_0, *weights = (mode.from_tensor(t) for t in (data, h_0, c_0, *weights))
        output, h_n, _ = run_layer(data, mode.from_tensor(batch_sizes), weights, h_0, c_0, kernel, False)
    assert output.shape == (4, 2)
    assert h_n.shape == (1, 2, 2)
