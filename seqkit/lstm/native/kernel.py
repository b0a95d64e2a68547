"""The kernel `native`: one LSTM layer in C++, forward and backward through time, for float32 on the CPU.

This file hands tensors to the library (`library.py`); the computation is in `src/`, to be read from `src/layout.h` on.
All memory that a call uses is allocated by the call, so that calls can overlap in any order and on any thread.

Shapes: N real steps, T time steps, B rows of the state, I inputs, H hidden, D directions (1 or 2).
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from seqkit.lstm.native.library import Backward, Forward, Problem, Sizes, load, pointers
from seqkit.lstm.saved import Saved

# Groups that the rows are dealt to; 0 lets the library choose. Tests and the benchmark set it.
row_groups = 0


def _problem(steps: int, batch_sizes: Tensor | None, inputs: int, state: tuple[int, ...]) -> Problem:
    directions, rows, hidden = state
    return Problem(
        steps=steps,
        time=0 if batch_sizes is None else batch_sizes.numel(),
        rows=rows,
        inputs=inputs,
        hidden=hidden,
        directions=directions,
        threads=torch.get_num_threads(),
        row_groups=row_groups,
        batch_sizes=None if batch_sizes is None else batch_sizes.data_ptr(),
    )


def saved_shapes(directions: int, steps: int, hidden: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of what forward saves: gates and cells in the library's own layout, and no tanh of the cells."""
    problem = _problem(1, None, 1, (1, 1, hidden))
    padded = load().sizes(problem).cells  # H rounded up to whole vectors
    return (directions, steps * 4 * padded), (directions, steps * padded), (0,)


def forward(
    data: Tensor,
    batch_sizes: Tensor,
    weights: list[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    save: bool,
    packed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Saved | None]:
    """Run one layer over a packed batch; arguments and results are those of `eager.forward`.

    Args:
        data: (N, I) float32, contiguous, as all others.
        batch_sizes: (T,) int64 on the CPU.
        weights: weight_ih (4H, I), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,) of each direction.
        h_0: (D, B, H) in sorted order.
        c_0: (D, B, H) in sorted order.
        save: keep what backward needs.
        packed: what `pack` made of these weights; without it, they are packed for this call.

    Returns:
        output (N, D * H); h_n and c_n (D, B, H); what backward needs, if it was asked for.

    Raises:
        TypeError: a tensor is not float32 on the CPU.
    """
    _check(data, h_0, c_0, *weights)
    library, (directions, _, hidden) = load(), h_0.shape
    steps, inputs = data.shape
    problem = _problem(steps, batch_sizes, inputs, tuple(h_0.shape))
    sizes = library.sizes(problem)
    output = data.new_empty(steps, directions * hidden)
    h_n, c_n = torch.empty_like(h_0), torch.empty_like(c_0)
    saved = _saved(data, directions, steps, hidden) if save else None
    workspace = data.new_empty(sizes.forward_workspace + (sizes.packed if packed is None else 0))
    call = Forward(
        problem,
        data.data_ptr(),
        ctypes.addressof(weight_pointers := pointers(weights)),
        None if packed is None else packed.data_ptr(),
        h_0.data_ptr(),
        c_0.data_ptr(),
        output.data_ptr(),
        h_n.data_ptr(),
        c_n.data_ptr(),
        None if saved is None else saved.gates.data_ptr(),
        None if saved is None else saved.cells.data_ptr(),
        workspace.data_ptr(),
    )
    library.calls.seqkit_forward(ctypes.byref(call))
    del weight_pointers  # the call needed it alive
    return output, h_n, c_n, saved


def _check(*tensors: Tensor) -> None:
    """Raise TypeError unless all are float32 on the CPU: the library would read other bits as such."""
    for tensor in tensors:
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            found = f"{tensor.dtype} on {tensor.device}"
            raise TypeError(f"the kernel 'native' computes float32 on the CPU; a tensor is {found}.")


def _saved(like: Tensor, directions: int, steps: int, hidden: int) -> Saved:
    gates, cells, tanh_cells = (like.new_empty(shape) for shape in saved_shapes(directions, steps, hidden))
    return Saved(gates, cells, tanh_cells)


def backward(
    grads: tuple[Tensor | None, Tensor | None, Tensor | None],
    data: Tensor,
    batch_sizes: Tensor,
    weights: list[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    output: Tensor,
    saved: Saved,
    data_needs_grad: bool,
) -> tuple[Tensor | None, list[Tensor], Tensor, Tensor]:
    """Run the layer backward through time; arguments and results are those of `eager.backward`."""
    _check(data, h_0, c_0, *weights, *(grad for grad in grads if grad is not None))
    library = load()
    steps, inputs = data.shape
    problem = _problem(steps, batch_sizes, inputs, tuple(h_0.shape))
    sizes: Sizes = library.sizes(problem)
    incoming = [None if grad is None else grad.contiguous() for grad in grads]
    grad_data = torch.empty_like(data) if data_needs_grad else None
    grad_weights = [torch.empty_like(w) for w in weights]
    grad_h_0, grad_c_0 = torch.empty_like(h_0), torch.empty_like(c_0)
    workspace = data.new_empty(sizes.backward_workspace)
    weight_pointers, grad_pointers = pointers(weights), pointers(grad_weights)
    call = Backward(
        problem,
        *(None if grad is None else grad.data_ptr() for grad in incoming),
        data.data_ptr(),
        ctypes.addressof(weight_pointers),
        h_0.data_ptr(),
        c_0.data_ptr(),
        output.data_ptr(),
        saved.gates.data_ptr(),
        saved.cells.data_ptr(),
        None if grad_data is None else grad_data.data_ptr(),
        ctypes.addressof(grad_pointers),
        grad_h_0.data_ptr(),
        grad_c_0.data_ptr(),
        workspace.data_ptr(),
    )
    library.calls.seqkit_backward(ctypes.byref(call))
    return grad_data, grad_weights, grad_h_0, grad_c_0


def pack(weights: list[Tensor]) -> Tensor:
    """The weights of a layer as `forward` reads them."""
    library, problem = load(), _problem_of(weights)
    packed = weights[0].new_empty(library.sizes(problem).packed)
    library.calls.seqkit_pack(ctypes.byref(problem), pointers(weights), ctypes.c_void_p(packed.data_ptr()))
    return packed


def fingerprint(weights: list[Tensor]) -> int:
    """64 bits that change when a value of the weights does."""
    return load().fingerprint(_problem_of(weights), weights)


def _problem_of(weights: list[Tensor]) -> Problem:
    return _problem(0, None, weights[0].shape[1], (len(weights) // 4, 0, weights[1].shape[1]))
