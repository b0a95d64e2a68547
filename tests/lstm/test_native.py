"""The kernel `native`, on each instruction set.

Shapes off its vectors, threads and groups of rows, numbers that are none or too large, calls side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seqkit.errors import KernelError
from seqkit.lstm import LSTMLayer, StackedLSTM, eager, kernels
from seqkit.lstm.native import kernel as native
from seqkit.sequences import Sequences
from tests.lstm.numerics import Shape, check_agreement, dealt, error, make, needs_native, ours, peer

pytestmark = [needs_native, pytest.mark.usefixtures("instruction_set")]

# Sizes on both sides of 4, 8 and 16 lanes, of tiles of 6 rows and of chunks of 192 tokens; one input, one unit, one
# row, one step; rows without steps; more rows than a chunk has tokens.
SHAPES: list[Shape] = [
    ([1], 1, 16),
    ([9], 1, 3),
    ([1] * 7, 5, 4),
    ([0, 3, 7, 3], 17, 5),
    ([6, 2, 6], 3, 8),
    ([12, 0, 0, 5, 1], 8, 12),
    ([4, 5], 31, 17),
    ([20] * 13, 4, 33),
    ([1 + n % 3 for n in range(300)], 9, 20),
    ([70, 60, 70, 1, 0], 65, 48),
]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{len(shape[0])}x{max(shape[0])}-{shape[1]}-{shape[2]}")
def test_shapes_off_the_vectors_agree_with_torch(shape: Shape, bidirectional: bool) -> None:
    check_agreement(shape, 1, bidirectional, "native")


def test_it_computes_float32_only() -> None:
    layer = LSTMLayer(3, 2, kernel="native").double()
    with pytest.raises(
        KernelError, match=r"kernel 'native' cannot serve: it computes float32 on the CPU, not.*float64"
    ):
        layer(Sequences.from_list([torch.zeros(2, 3, dtype=torch.float64)]))
    with pytest.raises(KernelError, match="What can: auto, eager, torch"):
        kernels.choose("native", torch.device("cuda"), torch.float32)


def training_step(hidden: int, lengths: list[int], seed: int) -> Callable[[], list[Tensor]]:
    """A closure that runs one layer forward and backward and gives all results."""
    torch.manual_seed(seed)
    lstm = nn.LSTM(10, hidden, bidirectional=True)
    stack, case = StackedLSTM.from_torch(lstm, kernel="native"), make(lengths, 10, lstm, seed)
    return lambda: ours(stack, case, torch.float32)


THREADS = [(threads, row_groups) for threads in (1, 2, 3, 4) for row_groups in (0, 1, 2, 4)]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", [([5, 3, 0, 8, 1], 4, 3), ([25, 9, 30, 0, 28, 30, 1], 12, 70), ([2] * 200, 3, 33)])
def test_threads_and_groups_of_rows_agree_with_torch(shape: Shape, bidirectional: bool) -> None:
    """H = 3 makes one panel, so that some of the threads have none; 70 units make more than there are threads."""
    check_agreement(shape, 1, bidirectional, "native", THREADS)


@pytest.mark.parametrize("plan", [(2, 1), (2, 2), (4, 2)])
def test_several_threads_give_the_same_bits_each_time(plan: tuple[int, int]) -> None:
    step = training_step(70, [25, 9, 30, 0, 28, 30, 1], 1)
    with dealt(*plan):
        first = step()
        for _ in range(5):
            assert all(torch.equal(one, other) for one, other in zip(step(), first, strict=True))


@pytest.mark.parametrize("plan", [(2, 2), (4, 4), (4, 2)])
def test_groups_of_rows_keep_apart_where_nothing_is_saved(plan: tuple[int, int]) -> None:
    """Then the gates of a chunk take the place of the last one's, and rows change their places as others end."""
    torch.manual_seed(9)
    layer = LSTMLayer(3, 20, True, kernel="native").eval()
    x = Sequences.from_list([torch.randn(200 - 2 * n, 3) for n in range(90)])
    with torch.no_grad():
        expected = layer(x)[0].data
        with dealt(*plan):
            for _ in range(10):
                assert error(layer(x)[0].data, expected) <= 1e-6


def test_large_problems_take_several_threads_by_themselves() -> None:
    """Without `row_groups` small problems run on one thread; here the plan is the library's own."""
    check_agreement(([40 + n % 5 for n in range(30)], 64, 96), 1, True, "native", [(2, 0)])


Inputs = tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor]  # data, batch_sizes, weights, h_0, c_0


def random_inputs(lengths: list[int], inputs: int, hidden: int, directions: int, seed: int) -> Inputs:
    """In float64, with numbers that float32 holds exactly."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).double()

    shapes = ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
    weights = [normal(*shape).mul(hidden**-0.5).float().double() for _ in range(directions) for shape in shapes]
    states = [normal(directions, len(lengths), hidden) for _ in range(2)]
    x = Sequences(normal(sum(lengths), inputs), lengths)
    return x.data, x.batch_sizes, weights, states[0], states[1]


def single(value: Any) -> Any:
    """In float32, whatever lies in lists or tuples too."""
    if isinstance(value, Tensor) and value.dtype == torch.float64:
        return value.float()
    return type(value)(single(v) for v in value) if isinstance(value, (list, tuple)) else value


def all_results(kernel: Any, arguments: Inputs, grads: tuple[Tensor | None, ...], wants_data: bool) -> list[Tensor]:
    """What forward and backward of a kernel give, called as the op calls them."""
    output, h_n, c_n, saved = kernel.forward(*arguments, True)
    unsaved = kernel.forward(*arguments, False)
    assert unsaved[3] is None
    for one, other in zip((output, h_n, c_n), unsaved[:3], strict=True):
        assert torch.equal(one, other)
    grad_data, grad_weights, *grad_states = kernel.backward(grads, *arguments, output, saved, wants_data)
    assert (grad_data is None) != wants_data
    return [output, h_n, c_n, *([grad_data] if wants_data else []), *grad_weights, *grad_states]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 7), max_size=9),
    inputs=st.integers(1, 40),
    hidden=st.integers(1, 40),
    directions=st.integers(1, 2),
    threads=st.integers(1, 4),
    row_groups=st.integers(0, 4),
    given_grads=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    wants_data=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_shape_gives_what_float64_gives(
    lengths: list[int],
    inputs: int,
    hidden: int,
    directions: int,
    threads: int,
    row_groups: int,
    given_grads: tuple[bool, bool, bool],
    wants_data: bool,
    seed: int,
) -> None:
    arguments = random_inputs(lengths, inputs, hidden, directions, seed)
    like = (torch.empty(sum(lengths), directions * hidden), arguments[3], arguments[4])
    generator = torch.Generator().manual_seed(seed + 1)
    grads = tuple(
        torch.randn(t.shape, generator=generator).double() if asked else None
        for t, asked in zip(like, given_grads, strict=True)
    )
    expected = all_results(eager, arguments, grads, wants_data)
    with dealt(threads, row_groups):
        got = all_results(native, single(arguments), single(grads), wants_data)
    for one, other in zip(got, expected, strict=True):
        # Sums can cancel to almost nothing, so a part of the bound is absolute.
        assert (one.double() - other).norm() <= 2e-6 * (1 + other.norm())


@pytest.mark.parametrize("where", ["values", "h_0", "c_0"])
@pytest.mark.parametrize("hidden", [5, 16])
def test_a_nan_stays_in_its_row(hidden: int, where: str) -> None:
    """And reaches all that float64 torch.nn.LSTM says it reaches, of gradients too."""
    torch.manual_seed(2)
    lstm = nn.LSTM(3, hidden, bidirectional=True)
    case = make([6, 4, 6, 2], 3, lstm)
    clean = ours(StackedLSTM.from_torch(lstm, kernel="native"), case, torch.float32)
    {"values": case.values[0, 2], "h_0": case.state.hidden[0, 0], "c_0": case.state.cell[0, 0]}[where][1] = torch.nan
    expected = peer(lstm, case, torch.float64)
    got = ours(StackedLSTM.from_torch(lstm, kernel="native"), case, torch.float32)
    names = ["output", "h_n", "c_n", "values", "h_0", "c_0", *dict(lstm.named_parameters())]
    for name, one, other in zip(names, got, expected, strict=True):
        assert torch.equal(one.isnan(), other.isnan()), name
    assert got[0][0, 2:, :hidden].isnan().all() or where == "c_0"  # one unit's cell is one unit's output
    assert got[0][0, 5, :hidden].isnan().all()
    for one, before in zip(got[:6], clean[:6], strict=True):
        rows = 0 if one is got[0] or one is got[3] else 1  # (B, T, ...) or (D, B, H)
        others = torch.tensor([1, 2, 3])
        assert torch.equal(one.index_select(rows, others), before.index_select(rows, others))


@pytest.mark.parametrize("number", [torch.inf, -torch.inf])
@pytest.mark.parametrize("hidden", [5, 16])
def test_infinite_inputs_saturate(hidden: int, number: float) -> None:
    """Also in gradients, those of the infinite inputs' own weights apart, which are 0 times infinity."""
    torch.manual_seed(3)
    lstm = nn.LSTM(3, hidden)
    case = make([6, 4, 6, 2], 3, lstm)
    case.values[0, 2, 1] = number
    case.values[3, 0, 0] = number
    expected = peer(lstm, case, torch.float64)
    got = ours(StackedLSTM.from_torch(lstm, kernel="native"), case, torch.float32)
    assert not any(one.isnan().any() for one in expected[:6])
    for name, one, other in zip(["output", "h_n", "c_n", "values", "h_0", "c_0"], got, expected, strict=False):
        assert error(one, other) <= 2e-6, name
    for name, one, other in zip(["weight_hh", "bias_ih", "bias_hh"], got[7:], expected[7:], strict=True):
        assert error(one, other) <= 2e-6, name


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_inputs_saturate(scale: float) -> None:
    torch.manual_seed(4)
    lstm = nn.LSTM(20, 19)
    case = make([9, 5, 7, 1], 20, lstm)
    case.values.mul_(scale)
    exact, own = peer(lstm, case, torch.float64), peer(lstm, case, torch.float32)
    got = ours(StackedLSTM.from_torch(lstm, kernel="native"), case, torch.float32)
    for one, theirs, expected in zip(got[:6], own, exact, strict=False):
        # Where all gates are saturated a gradient of exactly 0 may come out as the square of float32's rounding.
        assert (one.double() - expected).norm() <= max(2e-6, 2 * error(theirs, expected)) * expected.norm() + 1e-12
    for one, theirs, expected in zip(got[6:], own[6:], exact[6:], strict=True):
        assert one.isfinite().all()
        if scale == 1e4:
            assert error(one, expected) <= max(2e-6, 2 * error(theirs, expected))


@pytest.mark.parametrize("threads", [1, 2])
def test_two_python_threads_at_once_give_the_bits_that_each_gives_alone(threads: int) -> None:
    with dealt(threads, row_groups=1):
        steps = [training_step(48, [30, 20, 30], 5), training_step(70, [9] * 20, 6)]
        alone = [step() for step in steps]
        together: list[list[list[Tensor]]] = [[], []]
        start = threading.Barrier(2)

        def work(n: int) -> None:
            torch.set_num_threads(threads)
            start.wait()
            together[n].extend(steps[n]() for _ in range(10))

        workers = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for expected, runs in zip(alone, together, strict=True):
        assert len(runs) == 10
        for run in runs:
            assert all(torch.equal(one, other) for one, other in zip(run, expected, strict=True))


def test_batches_in_turn_give_the_bits_that_each_gives_alone() -> None:
    """Three forwards of two layers are open while backwards of others run."""
    torch.manual_seed(7)
    layers = [LSTMLayer(6, hidden, True, kernel="native") for hidden in (20, 33)]
    batches = [Sequences.from_list([torch.randn(n, 6) for n in lengths]) for lengths in ([9, 4], [1, 0, 12], [5] * 8)]

    def forward(layer: LSTMLayer, x: Sequences) -> Tensor:
        output, state = layer(x)
        loss: Tensor = output.data.square().sum() + state.cell.sum() + state.hidden.sum()
        return loss

    def gradients(layer: LSTMLayer, loss: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss, layer.weights())

    pairs = [(layer, x) for layer in layers for x in batches]
    with dealt(2, row_groups=1):
        alone = [gradients(layer, forward(layer, x)) for layer, x in pairs]
        losses = [forward(layer, x) for layer, x in pairs[:3]]
        together = []
        for n, (layer, _) in enumerate(pairs):
            together.append(gradients(layer, losses[n]))
            if n + 3 < len(pairs):
                losses.append(forward(*pairs[n + 3]))
    for expected, got in zip(alone, together, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
