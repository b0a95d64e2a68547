"""What the kernels' tests share: cases, torch.nn.LSTM as the peer, and the error between two results."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqkit.lstm import LSTMState, StackedLSTM, kernels
from seqkit.lstm.native import kernel as native_kernel
from seqkit.sequences import Sequences

Shape = tuple[list[int], int, int]  # lengths, input size, hidden size

needs_native = pytest.mark.skipif(
    kernels.available("native") is not None, reason=f"kernel native: {kernels.available('native')}"
)
NATIVE = pytest.param("native", marks=needs_native)
BEHIND_OP = ["eager", NATIVE]
KERNELS = ["eager", "torch", NATIVE]


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
    """The same of our stack."""
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
    return [result.detach() for result in (output, h_n, c_n, *gradients)]


def error(got: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    got, expected = got.detach(), expected.detach().double()
    norm = float(expected.norm())
    difference = float((got.double() - expected).norm())
    return difference / norm if norm else difference


Plan = tuple[int, int]  # threads, row_groups; see `dealt`


def check_agreement(
    shape: Shape, layers: int, bidirectional: bool, kernel: str, plans: Sequence[Plan] = ((1, 0),)
) -> None:
    """Every result and gradient of a kernel against those of float64 torch.nn.LSTM with the same weights."""
    torch.manual_seed(1)
    lengths, inputs, hidden = shape
    lstm = nn.LSTM(inputs, hidden, layers, bidirectional=bidirectional)
    check_case(lstm, make(lengths, inputs, lstm), kernel, plans)


def check_case(lstm: nn.LSTM, case: Case, kernel: str, plans: Sequence[Plan] = ((1, 0),)) -> None:
    """In float32, at most twice the error that torch.nn.LSTM itself has there, or 2e-6; in float64, 1e-12."""
    stack = StackedLSTM.from_torch(lstm, kernel=kernel)
    names = ["output", "h_n", "c_n", "values", "h_0", "c_0", *(name for name, _ in stack.named_parameters())]
    exact, own = peer(lstm, case, torch.float64), peer(lstm, case, torch.float32)
    for plan in plans:
        with dealt(*plan):
            results = ours(stack, case, torch.float32)
        for name, got, theirs, expected in zip(names, results, own, exact, strict=True):
            assert error(got, expected) <= max(2e-6, 2 * error(theirs, expected)), (name, plan)
    if kernel != "native":
        for name, got, expected in zip(names, ours(stack, case, torch.float64), exact, strict=True):
            assert error(got, expected) <= 1e-12, name


@contextmanager
def dealt(threads: int, row_groups: int = 0) -> Iterator[None]:
    """Let torch have so many threads, and the native kernel deal rows to so many groups; 0: as it likes."""
    before, native_kernel.row_groups = (torch.get_num_threads(), native_kernel.row_groups), row_groups
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        native_kernel.row_groups = before[1]
