"""The library called as `kernel.py` calls it, but with guards around every buffer.

It writes its outputs, all of them, and nothing else; what it reads it has been given or has written itself.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from seqkit.lstm import eager
from seqkit.lstm.native import library
from seqkit.sequences import Sequences
from tests.lstm.numerics import error, needs_native

pytestmark = [needs_native, pytest.mark.usefixtures("instruction_set")]

GUARD = 256  # floats on either side
PATTERN = 0x7FC5AFE1  # a NaN whose payload no computation makes


@dataclass
class Fenced:
    """Buffers inside larger ones full of the pattern."""

    whole: list[Tensor] = field(default_factory=list)  # int32
    parts: list[Tensor] = field(default_factory=list)  # float32 views of their middles

    def buffer(self, *shape: int) -> Tensor:
        size = torch.Size(shape).numel()
        # An odd offset: no address is that of a whole vector.
        whole = torch.full((size + 2 * GUARD + 1,), PATTERN, dtype=torch.int32)
        self.whole.append(whole)
        self.parts.append(whole[GUARD + 1 : GUARD + 1 + size].view(torch.float32).view(shape))
        return self.parts[-1]

    def check(self) -> None:
        for whole, part in zip(self.whole, self.parts, strict=True):
            assert (whole[: GUARD + 1] == PATTERN).all(), f"written before a buffer of {tuple(part.shape)}"
            assert (whole[GUARD + 1 + part.numel() :] == PATTERN).all(), f"written behind one of {tuple(part.shape)}"


def written(part: Tensor) -> bool:
    return not bool((part.contiguous().view(torch.int32) == PATTERN).any())


@dataclass
class Problem:
    lengths: list[int]
    inputs: int
    hidden: int
    directions: int
    threads: int
    row_groups: int

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        x = Sequences(torch.randn(sum(self.lengths), self.inputs), self.lengths)
        shapes = (
            (4 * self.hidden, self.inputs),
            (4 * self.hidden, self.hidden),
            (4 * self.hidden,),
            (4 * self.hidden,),
        )
        self.states = (self.directions, len(self.lengths), self.hidden)
        self.outputs = (sum(self.lengths), self.directions * self.hidden)
        self.data, self.batch_sizes = x.data, x.batch_sizes
        self.weights = [torch.randn(shape) * self.hidden**-0.5 for _ in range(self.directions) for shape in shapes]
        self.h_0, self.c_0, self.grad_h_n, self.grad_c_n = torch.randn(4, *self.states)
        self.grad_output = torch.randn(self.outputs)

    def struct(self) -> library.Problem:
        sizes = self.outputs[0], len(self.batch_sizes), self.states[1], self.inputs, self.hidden, self.directions
        return library.Problem(*sizes, self.threads, self.row_groups, self.batch_sizes.data_ptr())

    def given(self) -> list[Tensor]:
        states = [self.h_0, self.c_0, self.grad_h_n, self.grad_c_n]
        return [self.data, self.batch_sizes, *self.weights, *states, self.grad_output]


def run_forward(problem: Problem, fenced: Fenced, save: bool, packed: Tensor | None) -> list[Tensor]:
    """output, h_n and c_n, and where asked for gates and cells."""
    lib = library.load()
    sizes = lib.sizes(problem.struct())
    results = [fenced.buffer(*shape) for shape in (problem.outputs, problem.states, problem.states)]
    saved = [fenced.buffer(sizes.gates), fenced.buffer(sizes.cells)] if save else []
    workspace = fenced.buffer(sizes.forward_workspace + (0 if packed is not None else sizes.packed))
    weights = library.pointers(problem.weights)
    before = [problem.data.data_ptr(), ctypes.addressof(weights), None if packed is None else packed.data_ptr()]
    states = [problem.h_0.data_ptr(), problem.c_0.data_ptr()]
    after = [t.data_ptr() for t in results] + ([t.data_ptr() for t in saved] if save else [None, None])
    call = library.Forward(problem.struct(), *before, *states, *after, workspace.data_ptr())
    lib.calls.seqkit_forward(ctypes.byref(call))
    return [*results, *saved]


def run_backward(problem: Problem, fenced: Fenced, forward: list[Tensor], wants_data: bool) -> list[Tensor]:
    """grad_data, where asked for, the weights' gradients, grad_h_0 and grad_c_0."""
    lib = library.load()
    output, _, _, gates, cells = forward
    grad_data = [fenced.buffer(*problem.data.shape)] if wants_data else []
    grad_weights = [fenced.buffer(*w.shape) for w in problem.weights]
    grad_states = [fenced.buffer(*problem.states) for _ in range(2)]
    workspace = fenced.buffer(lib.sizes(problem.struct()).backward_workspace)
    weights, grad_pointers = library.pointers(problem.weights), library.pointers(grad_weights)
    incoming = [t.data_ptr() for t in (problem.grad_output, problem.grad_h_n, problem.grad_c_n)]
    had = [problem.data.data_ptr(), ctypes.addressof(weights), problem.h_0.data_ptr(), problem.c_0.data_ptr()]
    left = [output.data_ptr(), gates.data_ptr(), cells.data_ptr()]
    outgoing = [grad_data[0].data_ptr() if wants_data else None, ctypes.addressof(grad_pointers)]
    ends = [*(t.data_ptr() for t in grad_states), workspace.data_ptr()]
    call = library.Backward(problem.struct(), *incoming, *had, *left, *outgoing, *ends)
    lib.calls.seqkit_backward(ctypes.byref(call))
    return [*grad_data, *grad_weights, *grad_states]


def expected(problem: Problem, wants_data: bool) -> list[Tensor]:
    """What eager gives in float64: output, h_n, c_n and the gradients."""
    data, batch_sizes, *rest = [t.double() if t.is_floating_point() else t for t in problem.given()]
    weights = rest[: len(problem.weights)]
    h_0, c_0, grad_h_n, grad_c_n, grad_output = rest[len(problem.weights) :]
    output, h_n, c_n, saved = eager.forward(data, batch_sizes, weights, h_0, c_0, True)
    assert saved is not None
    grad_data, grad_weights, *grad_states = eager.backward(
        (grad_output, grad_h_n, grad_c_n), data, batch_sizes, weights, h_0, c_0, output, saved, wants_data
    )
    return [output, h_n, c_n, *([] if grad_data is None else [grad_data]), *grad_weights, *grad_states]


SIZES = [
    ([1], 1, 1),
    ([4, 0, 6, 1], 5, 3),
    ([9] * 13, 17, 16),
    ([40, 40, 33, 0, 2], 19, 37),
    ([1 + n % 2 for n in range(210)], 3, 9),
    ([0, 0], 2, 3),
]


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{len(size[0])}x{max(size[0])}-{size[1]}-{size[2]}")
def test_nothing_is_written_outside(size: tuple[list[int], int, int], directions: int) -> None:
    """Workspaces hold NaNs before, so that a number read before it is written shows in the results."""
    for threads in (1, 2, 3, 4):
        for row_groups in (0, 1, 2, 4):
            problem = Problem(*size, directions, threads, row_groups)
            before = [t.clone() for t in problem.given()]
            wants_data = (threads + row_groups) % 2 == 1
            fenced = Fenced()
            forward = run_forward(problem, fenced, True, None)
            backward = run_backward(problem, fenced, forward, wants_data)
            results = [*forward[:3], *backward]
            for got, wanted in zip(results, expected(problem, wants_data), strict=True):
                assert error(got, wanted) <= 2e-5
            without = run_forward(problem, fenced, False, None)
            for got, one in zip(without, forward[:3], strict=True):
                assert torch.equal(got, one)
            fenced.check()
            assert all(written(part) for part in (*forward, *backward, *without))
            assert all(torch.equal(t, was) for t, was in zip(problem.given(), before, strict=True))


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("size", SIZES[:4], ids=lambda size: f"{len(size[0])}x{max(size[0])}-{size[1]}-{size[2]}")
def test_weights_packed_ahead_give_the_same_bits(size: tuple[list[int], int, int], directions: int) -> None:
    lib = library.load()
    for threads in (1, 2, 3):
        problem = Problem(*size, directions, threads, 0)
        fenced = Fenced()
        packed = fenced.buffer(lib.sizes(problem.struct()).packed)
        pointers = library.pointers(problem.weights)
        lib.calls.seqkit_pack(ctypes.byref(problem.struct()), pointers, ctypes.c_void_p(packed.data_ptr()))
        assert written(packed)
        kept = packed.clone()
        ahead, within = (run_forward(problem, fenced, False, given) for given in (packed, None))
        assert all(torch.equal(one, other) for one, other in zip(ahead, within, strict=True))
        assert torch.equal(packed, kept)
        fenced.check()
