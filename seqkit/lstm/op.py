"""The LSTM layer as one operator of torch, `seqkit::lstm_layer`, with its gradient as a second one.

To autograd, `torch.compile` and `torch.export` a layer over a whole batch is one node; what runs inside is a kernel
chosen by name (`kernels.py`). Under autocast the operator casts its inputs to float32. `run_layer` calls it, or the
same functions without it where nobody looks on.

Shapes: N real steps, T time steps, B rows of the state, I inputs, H hidden, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import _get_current_dispatch_mode

from seqkit.lstm import kernels
from seqkit.lstm.saved import Saved


@torch.library.custom_op("seqkit::lstm_layer", mutates_args=())
def lstm_layer(
    data: Tensor,
    batch_sizes: Tensor,
    weights: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    kernel: str,
    save: bool,
    packed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run one layer, in one or both directions, over a packed batch.

    Args:
        data: (N, I) float32 or float64, in packed order.
        batch_sizes: (T,) int64 on the CPU.
        weights: of each direction weight_ih (4H, I), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,).
        h_0: (D, B, H), rows in sorted order; rows from batch_sizes[0] on have no steps.
        c_0: (D, B, H), likewise.
        kernel: "eager" (or another that `kernels.behind_op` knows).
        save: keep what backward needs; without it backward is an error.
        packed: the weights as the kernel has packed them ahead, if it does (`packed.py`); it then reads only these.

    Returns:
        output (N, D * H); h_n and c_n (D, B, H), the initial state where a row has no steps; and for backward, empty
        unless `save`, gates, cells and tanh(cells) in the kernel's own layout.
    """
    return _forward(data, batch_sizes, weights, h_0, c_0, kernel, save, packed)


def _forward(
    data: Tensor,
    batch_sizes: Tensor,
    weights: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    kernel: str,
    save: bool,
    packed: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    output, h_n, c_n, saved = kernels.behind_op(kernel).forward(
        data.contiguous(),
        batch_sizes,
        [w.contiguous() for w in weights],
        h_0.contiguous(),
        c_0.contiguous(),
        save,
        packed,
    )
    if saved is None:
        return output, h_n, c_n, data.new_empty(0), data.new_empty(0), data.new_empty(0)
    return output, h_n, c_n, saved.gates, saved.cells, saved.tanh_cells


@lstm_layer.register_fake
def _(
    data: Tensor,
    batch_sizes: Tensor,
    weights: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    kernel: str,
    save: bool,
    packed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    (directions, rows, hidden), steps = h_0.shape, data.shape[0]
    output = data.new_empty(steps, directions * hidden)
    h_n, c_n = data.new_empty(directions, rows, hidden), data.new_empty(directions, rows, hidden)
    if not save:
        return output, h_n, c_n, data.new_empty(0), data.new_empty(0), data.new_empty(0)
    shapes = kernels.behind_op(kernel).saved_shapes(directions, steps, hidden)
    gates, cells, tanh_cells = (data.new_empty(shape) for shape in shapes)
    return output, h_n, c_n, gates, cells, tanh_cells


@torch.library.custom_op("seqkit::lstm_layer_backward", mutates_args=())
def lstm_layer_backward(
    grad_output: Tensor | None,
    grad_h_n: Tensor | None,
    grad_c_n: Tensor | None,
    data: Tensor,
    batch_sizes: Tensor,
    weights: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    output: Tensor,
    gates: Tensor,
    cells: Tensor,
    tanh_cells: Tensor,
    kernel: str,
    data_needs_grad: bool,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """The gradients of `lstm_layer` with respect to data (empty unless asked for), weights, h_0 and c_0.

    Args:
        grad_output: (N, D * H), or None where nothing depends on the output; so are the next two.
        grad_h_n: (D, B, H).
        grad_c_n: (D, B, H).
        data: this and the others up to c_0, as `lstm_layer` had them.
        batch_sizes: as above.
        weights: as above.
        h_0: as above.
        c_0: as above.
        output: this and the next three, as `lstm_layer` gave them.
        gates: as above.
        cells: as above.
        tanh_cells: as above.
        kernel: the one that ran forward.
        data_needs_grad: whether to compute the gradient of data.
    """
    return _backward(
        (grad_output, grad_h_n, grad_c_n),
        (data, batch_sizes, h_0, c_0, output, gates, cells, tanh_cells, *weights),
        kernel,
        data_needs_grad,
    )


def _backward(
    grads: tuple[Tensor | None, Tensor | None, Tensor | None],
    saved: Sequence[Tensor],
    kernel: str,
    data_needs_grad: bool,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """The gradients; `saved` holds what `_save` kept, in its order."""
    data, batch_sizes, h_0, c_0, output, gates, cells, tanh_cells, *weights = saved
    grad_data, grad_weights, grad_h_0, grad_c_0 = kernels.behind_op(kernel).backward(
        grads,
        data.contiguous(),
        batch_sizes,
        [w.contiguous() for w in weights],
        h_0.contiguous(),
        c_0.contiguous(),
        output,
        Saved(gates, cells, tanh_cells),
        data_needs_grad,
    )
    return data.new_empty(0) if grad_data is None else grad_data, grad_weights, grad_h_0, grad_c_0


@lstm_layer_backward.register_fake
def _(
    grad_output: Tensor | None,
    grad_h_n: Tensor | None,
    grad_c_n: Tensor | None,
    data: Tensor,
    batch_sizes: Tensor,
    weights: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    output: Tensor,
    gates: Tensor,
    cells: Tensor,
    tanh_cells: Tensor,
    kernel: str,
    data_needs_grad: bool,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    grad_data = data.new_empty(data.shape) if data_needs_grad else data.new_empty(0)
    return grad_data, [w.new_empty(w.shape) for w in weights], h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    data, batch_sizes, weights, h_0, c_0, kernel, save, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.kernel, ctx.save = kernel, save
    if save:
        result, _, _, gates, cells, tanh_cells = output
        ctx.save_for_backward(data, batch_sizes, h_0, c_0, result, gates, cells, tanh_cells, *weights)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[3:])
    _save(ctx, inputs, output)


def _backward_of_op(
    ctx: Any, grad_output: Tensor | None, grad_h_n: Tensor | None, grad_c_n: Tensor | None, *_: Tensor | None
) -> tuple[Any, ...]:
    if not ctx.save:
        raise ValueError("seqkit::lstm_layer ran with save=False, so it cannot go backward.")
    data, batch_sizes, h_0, c_0, result, gates, cells, tanh_cells, *weights = ctx.saved_tensors
    data_needs_grad = ctx.needs_input_grad[0]
    grad_data, grad_weights, grad_h_0, grad_c_0 = lstm_layer_backward(
        grad_output,
        grad_h_n,
        grad_c_n,
        data,
        batch_sizes,
        weights,
        h_0,
        c_0,
        result,
        gates,
        cells,
        tanh_cells,
        ctx.kernel,
        data_needs_grad,
    )
    return grad_data if data_needs_grad else None, None, grad_weights, grad_h_0, grad_c_0, None, None, None


lstm_layer.register_autograd(_backward_of_op, setup_context=_setup_context)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast("seqkit::lstm_layer", _device, torch.float32)


class _Layer(torch.autograd.Function):
    """The operator's forward and backward, without the operator."""

    @staticmethod
    def forward(
        ctx: Any, data: Tensor, batch_sizes: Tensor, h_0: Tensor, c_0: Tensor, kernel: str, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        results = _forward(data, batch_sizes, weights, h_0, c_0, kernel, True, None)
        _save(ctx, (data, batch_sizes, weights, h_0, c_0, kernel, True, None), results)
        return results[:3]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        data_needs_grad = ctx.needs_input_grad[0]
        grad_data, grad_weights, grad_h_0, grad_c_0 = _backward(
            (grads[0], grads[1], grads[2]), ctx.saved_tensors, ctx.kernel, data_needs_grad
        )
        return grad_data if data_needs_grad else None, None, grad_h_0, grad_c_0, None, *grad_weights


def observed(tensors: Sequence[Tensor]) -> bool:
    """Whether something looks on that must see operators and may hold no data: compilation, a mode, a subclass."""
    return (
        torch.compiler.is_compiling()
        or _get_current_dispatch_mode() is not None
        or any(type(tensor) not in (Tensor, nn.Parameter) for tensor in tensors)
    )


def run_layer(
    data: Tensor,
    batch_sizes: Tensor,
    weights: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    kernel: str,
    save: bool,
    packed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """output, h_n and c_n of `lstm_layer`, whose arguments these are.

    The operator's way through torch's dispatcher is Python, and costs 0.6 ms for a forward and a backward pass, 7 % of
    them at 32 rows of 50 steps with 256 units. It is taken where something looks on: compilation and export, autocast,
    a mode or a subclass of tensors. Else the same functions are called by a plain autograd function.
    """
    if observed((data, h_0, c_0, *weights)) or torch.is_autocast_enabled(data.device.type):
        return lstm_layer(data, batch_sizes, weights, h_0, c_0, kernel, save, packed)[:3]  # type: ignore[no-any-return]
    if save:
        return _Layer.apply(data, batch_sizes, h_0, c_0, kernel, *weights)  # type: ignore[no-any-return]
    return _forward(data, batch_sizes, weights, h_0, c_0, kernel, False, packed)[:3]
