"""The kernel `eager`: one LSTM layer in PyTorch, with a backward through time written by hand.

What makes it fast is what is kept out of the loops over time. Forward, all input projections are one product before
the loop; the loop holds the recurrent product and the gates. Backward, the loop holds the gates' gradients and one
recurrent product; each weight's gradient is one product over all steps, after the loop. Both directions go through the
loop side by side: the second reads every sequence from its end, so that the two have the same `batch_sizes` and share
all elementwise work. Equations: `reference.py`; rows: `packing.py`; products: `products.py`.

Shapes: N real steps, T time steps, B rows of the state, A = batch_sizes[0] of them that have a step, b rows at one
step, I inputs, H hidden, D directions (1 or 2). Gates stand in torch.nn.LSTM's order: i, f, g (C~ in the equations), o.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqkit.lstm import products
from seqkit.lstm.packing import Packing
from seqkit.lstm.saved import Saved

BLOCK_ROWS = 256  # rows whose factors are prepared at a time in backward: few enough to stay in a core's cache


def saved_shapes(directions: int, steps: int, hidden: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of what forward saves."""
    return (directions, steps, 4 * hidden), (directions, steps, hidden), (directions, steps, hidden)


def forward(
    data: Tensor,
    batch_sizes: Tensor,
    weights: list[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    save: bool,
    packed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Saved | None]:
    """Run one layer over a packed batch.

    Args:
        data: (N, I) float32 or float64, contiguous, as all others.
        batch_sizes: (T,) int64 on the CPU.
        weights: weight_ih (4H, I), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,) of each direction.
        h_0: (D, B, H) in sorted order.
        c_0: (D, B, H) in sorted order.
        save: keep what backward needs.
        packed: always None: this kernel packs no weights ahead.

    Returns:
        output (N, D * H); h_n and c_n (D, B, H); what backward needs, if it was asked for.
    """
    directions, _, hidden = h_0.shape
    steps = data.shape[0]
    packing = Packing(batch_sizes, data.device)
    projected = []  # D of (N, 4H)
    for d in range(directions):
        weight_ih, _, bias_ih, bias_hh = weights[4 * d : 4 * d + 4]
        projected.append(products.linear(_reading(data, d, packing), weight_ih, bias_ih + bias_hh))
    # With one direction the gates are computed in place of the projection; two are brought side by side.
    gates = projected[0].unsqueeze(0) if directions == 1 else data.new_empty(directions, steps, 4 * hidden)
    saved = Saved(gates, data.new_empty(directions, steps, hidden), data.new_empty(directions, steps, hidden))
    outputs = data.new_empty(directions, steps, hidden)
    _forward_loop(projected, [weights[4 * d + 1] for d in range(directions)], h_0, c_0, packing, saved, outputs)
    if directions == 1:
        output = outputs[0]  # (N, H)
    else:
        output = data.new_empty(steps, 2 * hidden)
        output[:, :hidden] = outputs[0]
        output[:, hidden:] = outputs[1].index_select(0, packing.reversed_rows)
    return output, _final(outputs, h_0, packing), _final(saved.cells, c_0, packing), saved if save else None


def _forward_loop(
    projected: list[Tensor],
    weights_hh: list[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    packing: Packing,
    saved: Saved,
    outputs: Tensor,
) -> None:
    """Fill `saved` and `outputs` (D, N, H) step by step."""
    sizes, hidden = packing.sizes, h_0.shape[2]
    recurrent = [products.Recurrent(w, len(sizes)) for w in weights_hh]
    # Lists with one view for each step, made at once: slicing inside the loop would cost as much as the arithmetic.
    i_and_f, g, o = (_by_step(part, sizes) for part in torch.split(saved.gates, [2 * hidden, hidden, hidden], 2))
    i, f = (_by_step(part, sizes) for part in saved.gates[:, :, : 2 * hidden].chunk(2, 2))
    cells, tanh_cells, h = (_by_step(part, sizes) for part in (saved.cells, saved.tanh_cells, outputs))
    c_before = _before(c_0, cells, sizes)
    inputs = [_by_step(part, sizes, 0) for part in projected]
    gates = [_by_step(part, sizes, 0) for part in saved.gates]
    h_before = [_before(h_0[d], _by_step(outputs[d], sizes, 0), sizes, 0) for d in range(len(recurrent))]
    for t in range(len(sizes)):
        for d, weight in enumerate(recurrent):
            weight.add_product(inputs[d][t], h_before[d][t], out=gates[d][t])  # (b, 4H)
        i_and_f[t].sigmoid_()  # (D, b, 2H)
        g[t].tanh_()  # (D, b, H), as all below
        o[t].sigmoid_()
        torch.mul(f[t], c_before[t], out=cells[t])
        cells[t].addcmul_(i[t], g[t])
        torch.tanh(cells[t], out=tanh_cells[t])
        torch.mul(o[t], tanh_cells[t], out=h[t])


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
    """Run the layer backward through time.

    Args:
        grads: of output (N, D * H), h_n and c_n (D, B, H); None where nothing depends on it.
        data: and the others up to c_0, as `forward` had them.
        batch_sizes: as above.
        weights: as above.
        h_0: as above.
        c_0: as above.
        output: (N, D * H) as `forward` returned it.
        saved: as `forward` returned it.
        data_needs_grad: whether to compute the gradient of data, a sixth of the work of training.

    Returns:
        The gradients of data (or None), of the weights, of h_0 and of c_0.
    """
    directions, _, hidden = h_0.shape
    packing = Packing(batch_sizes, data.device)
    grad_h, grad_h_0, grad_c_0 = _incoming(grads, output, h_0, packing)
    grad_gates = torch.empty_like(saved.gates)  # (D, N, 4H) with respect to what enters the nonlinearities
    weights_hh = [weights[4 * d + 1] for d in range(directions)]
    _backward_loop(grad_gates, grad_h, grad_h_0, grad_c_0, c_0, weights_hh, packing, saved)
    grad_weights: list[Tensor] = []
    grad_data: Tensor | None = None
    for d in range(directions):
        grad_bias = grad_gates[d].sum(0)  # (4H,)
        rows = packing.previous_rows if d == 0 else packing.reversed_rows[packing.previous_rows]  # (N - A,)
        h = output[:, d * hidden : (d + 1) * hidden].index_select(0, rows)
        h_before = torch.cat([h_0[d, : packing.active], h])  # (N, H)
        grad_weights += [
            products.transposed_product(grad_gates[d], _reading(data, d, packing)),  # (4H, I)
            products.transposed_product(grad_gates[d], h_before),  # (4H, H)
            grad_bias,
            grad_bias.clone(),
        ]
        if data_needs_grad:
            grad_read = products.linear(grad_gates[d], weights[4 * d].t())  # (N, I)
            grad_data = grad_read if grad_data is None else grad_data.add_(_reading(grad_read, d, packing))
    return grad_data, grad_weights, grad_h_0, grad_c_0


def _incoming(
    grads: tuple[Tensor | None, Tensor | None, Tensor | None], output: Tensor, h_0: Tensor, packing: Packing
) -> tuple[Tensor, Tensor, Tensor]:
    """What reaches h_t from outside the loop (D, N, H), and the buffers (D, B, H) that end as gradients of h_0, c_0."""
    grad_output, grad_h_n, grad_c_n = grads
    directions, _, hidden = h_0.shape
    if grad_output is None:
        grad_h = output.new_zeros(directions, output.shape[0], hidden)
    else:
        grad_h = output.new_empty(directions, output.shape[0], hidden)
        grad_h[0] = grad_output[:, :hidden]
        if directions == 2:
            grad_h[1] = grad_output[:, hidden:].index_select(0, packing.reversed_rows)
    if grad_h_n is not None:
        grad_h.index_add_(1, packing.last_rows, grad_h_n[:, : packing.active])
    # A row without steps hands the gradient of its final state straight to its initial state.
    grad_h_0 = torch.zeros_like(h_0) if grad_h_n is None else grad_h_n.clone(memory_format=torch.contiguous_format)
    grad_c_0 = torch.zeros_like(h_0) if grad_c_n is None else grad_c_n.clone(memory_format=torch.contiguous_format)
    return grad_h, grad_h_0, grad_c_0


def _backward_loop(
    grad_gates: Tensor,
    grad_h: Tensor,
    grad_h_0: Tensor,
    grad_c_0: Tensor,
    c_0: Tensor,
    weights_hh: list[Tensor],
    packing: Packing,
    saved: Saved,
) -> None:
    """Fill `grad_gates` step by step from the last; carry the gradient of C_t in `grad_c_0`.

    With a' for what enters a gate's nonlinearity, each gradient is a product of one number known before the loop (a
    factor) and one that only the loop knows:

        dC_t += dh * [o (1 - tanh(C_t)^2)]          do' = dh * [tanh(C_t) o (1 - o)]
        di' = dC_t * [g i (1 - i)]                  df' = dC_t * [C_{t-1} f (1 - f)]
        dg' = dC_t * [i (1 - g^2)]                  dC_{t-1} = dC_t * f

    The factors of i, f, g, o stand in `grad_gates` until the loop multiplies them into gradients.
    """
    sizes, hidden = packing.sizes, grad_c_0.shape[2]
    recurrent = [products.Recurrent(w.t(), len(sizes)) for w in weights_hh]
    by_gate = grad_gates.view(*grad_gates.shape[:2], 4, hidden)  # (D, N, 4, H)
    grad_ifg = _by_step(by_gate[:, :, :3], sizes)
    grad_f, grad_o = _by_step(by_gate[:, :, 1], sizes), _by_step(by_gate[:, :, 3], sizes)
    f = _by_step(saved.gates[:, :, hidden : 2 * hidden], sizes)
    c_before = _before(c_0, _by_step(saved.cells, sizes), sizes)
    h_to_c = torch.empty_like(grad_h)  # (D, N, H) the factor of dh in dC_t
    dh, dh_to_dc = _by_step(grad_h, sizes), _by_step(h_to_c, sizes)
    grad_gates_of = [_by_step(part, sizes, 0) for part in grad_gates]
    # dh of step t for the rows that go on to t + 1
    dh_before = [_before(grad_h_0[d], _by_step(grad_h[d], sizes, 0), sizes, 0) for d in range(len(recurrent))]
    blocks = _blocks(sizes)
    for t in reversed(range(len(sizes))):
        if t in blocks:
            _factors(saved, grad_gates, h_to_c, *blocks[t])
        if t + 1 < len(sizes):
            for d, weight in enumerate(recurrent):
                weight.add_product(dh_before[d][t + 1], grad_gates_of[d][t + 1], out=dh_before[d][t + 1])
        dc = grad_c_0[:, : sizes[t]]  # (D, b, H), as all below
        dc.addcmul_(dh[t], dh_to_dc[t])
        grad_o[t].mul_(dh[t])
        _sigmoid_backward(c_before[t], f[t], grad_input=grad_f[t])
        grad_ifg[t].mul_(dc.unsqueeze(2))  # (D, b, 3, H)
        dc.mul_(f[t])
    if sizes:
        for d, weight in enumerate(recurrent):
            dh_before[d][0].copy_(weight.product(grad_gates_of[d][0]))


_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # grad * y * (1 - y), in one pass
_tanh_backward = torch.ops.aten.tanh_backward.grad_input  # grad * (1 - y^2)


def _factors(saved: Saved, factors: Tensor, h_to_c: Tensor, start: int, end: int) -> None:
    """Fill rows start to end of `factors` (D, N, 4H; that of f is left to the loop) and `h_to_c` (D, N, H)."""
    i, _, g, o = saved.gates[:, start:end].chunk(4, 2)  # (D, rows, H), as all below
    tanh_c = saved.tanh_cells[:, start:end]
    factor_i, _, factor_g, factor_o = factors[:, start:end].chunk(4, 2)
    _sigmoid_backward(g, i, grad_input=factor_i)
    _tanh_backward(i, g, grad_input=factor_g)
    _sigmoid_backward(tanh_c, o, grad_input=factor_o)
    _tanh_backward(o, tanh_c, grad_input=h_to_c[:, start:end])


def _blocks(sizes: list[int]) -> dict[int, tuple[int, int]]:
    """The steps cut into blocks of at least BLOCK_ROWS rows: {last step of a block: (its first row, its end row)}."""
    blocks, start, end = {}, 0, 0
    for t, size in enumerate(sizes):
        end += size
        if end - start >= BLOCK_ROWS or t + 1 == len(sizes):
            blocks[t] = (start, end)
            start = end
    return blocks


def _reading(rows: Tensor, direction: int, packing: Packing) -> Tensor:
    """Rows (N, ...) in the order that the direction reads them, or back from it: reversing is its own inverse."""
    return rows if direction == 0 else rows.index_select(0, packing.reversed_rows)


def _by_step(rows: Tensor, sizes: list[int], dim: int = 1) -> list[Tensor]:
    """Views of the rows of each time step."""
    return list(torch.split(rows, sizes, dim))


def _before(initial: Tensor, by_step: list[Tensor], sizes: list[int], dim: int = 1) -> list[Tensor]:
    """For each step, the state before it: the initial one, or that of the step before, of the rows that go on."""
    states = [initial, *by_step[:-1]] if sizes else []
    return [
        state if state.shape[dim] == size else state.narrow(dim, 0, size)
        for state, size in zip(states, sizes, strict=True)
    ]


def _final(states: Tensor, initial: Tensor, packing: Packing) -> Tensor:
    """The last state of each row (D, B, H): of a row without steps, the initial one."""
    last = states.index_select(1, packing.last_rows)  # (D, A, H)
    return torch.cat([last, initial[:, packing.active :]], 1)


def step(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Advance one direction by one step: x (B, I), h and c (B, H) -> the next h and c."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    gates = products.linear(x, weight_ih, bias_ih + bias_hh)  # (B, 4H)
    gates += products.linear(h, weight_hh)
    i, f, g, o = gates.chunk(4, 1)  # (B, H), as all below
    c = (f.sigmoid_() * c).addcmul_(i.sigmoid_(), g.tanh_())
    return o.sigmoid_() * c.tanh(), c
