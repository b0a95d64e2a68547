"""The matrix products of the eager kernel, each through the fastest library that is present.

On the CPU, float32 products go to oneDNN, called directly; elsewhere (CUDA, float64, a torch without oneDNN) to torch's
own `addmm`. Both compute in true float32. Measured on one Zen 5 core, GFLOP/s for x (M, K) @ w (G, K)^T:

    K, G         M     addmm (MKL)   oneDNN, plain w   oneDNN, w packed
    128, 512     4     33            17                23
    128, 512     64    83            123               136
    512, 2048    4     31            45                97
    512, 2048    32    63            128               163
    512, 2048    2000  76            179               193

So a product below a million multiply-adds stays with addmm, and weights that a loop uses again and again are packed
first, which takes 0.1 ms (128, 512) to 0.5 ms (512, 2048), three times that if the weight is transposed.

Shapes: M rows, K inputs, G outputs.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

SMALL = 1 << 20  # multiply-adds below which oneDNN's overhead of about 20 microseconds a call costs more than it wins
PACK_STEPS = 16  # steps that a weight must meet before packing it pays
SUM_ROWS = 4096  # rows summed in one go by `transposed_product`; longer running sums in float32 lose accuracy


@cache
def has_onednn() -> bool:
    """Whether this torch can be asked for a oneDNN product of plain CPU tensors."""
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def describe(device: torch.device, dtype: torch.dtype) -> str:
    """The library that large products of this device and dtype go to, for logs."""
    return "oneDNN" if _serves(device, dtype) else "torch.addmm"


def _serves(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" and dtype == torch.float32 and has_onednn()


def _onednn(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, w, bias, "none", [], "")
    return product


def _serves_low(x: Tensor) -> bool:
    """Whether oneDNN takes a bfloat16 product too. It wins where no operand is to be transposed first.

    Measured on one Zen 5 core, milliseconds for (960, 256) by (8000, 256): x w^T 9.6, torch 11.9; y^T x 10.0, torch
    19.3; y w, whose second operand it transposes, 18.7, torch 14.8.
    """
    return x.device.type == "cpu" and x.dtype == torch.bfloat16 and has_onednn()


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (M, K) @ w (G, K)^T + bias (G,) -> (M, G)."""
    serves = _serves(x.device, x.dtype) or (w.is_contiguous() and _serves_low(x))
    if serves and x.shape[0] * w.numel() >= SMALL:
        return _onednn(x, w, bias)
    return torch.nn.functional.linear(x, w, bias)


class Recurrent:
    """A weight (G, K) that a loop multiplies with at every step; packed for oneDNN where that pays.

    Args:
        w: (G, K), any strides.
        steps: how many steps there will be.
    """

    def __init__(self, w: Tensor, steps: int) -> None:
        self.w_t = w.t()  # (K, G)
        self.w = w
        self.onednn = _serves(w.device, w.dtype)
        if self.onednn and steps >= PACK_STEPS and w.numel() >= SMALL // 32:
            self.w = torch.ops.mkldnn._reorder_linear_weight(w, None)
        self.least_rows = -(-SMALL // w.numel())

    def product(self, x: Tensor) -> Tensor:
        """x (M, K) @ w^T -> (M, G)."""
        if self.onednn and x.shape[0] >= self.least_rows:
            return _onednn(x, self.w)
        return torch.mm(x, self.w_t)

    def add_product(self, base: Tensor, x: Tensor, out: Tensor) -> None:
        """base (M, G) + x (M, K) @ w^T, written to `out` (M, G), which may be `base`."""
        if self.onednn and x.shape[0] >= self.least_rows:
            torch.add(base, _onednn(x, self.w), out=out)
        else:
            torch.addmm(base, x, self.w_t, out=out)


def transposed_product(y: Tensor, x: Tensor) -> Tensor:
    """y (M, G)^T @ x (M, K) -> (G, K): the gradient of a weight, as one product over all rows."""
    if not (_serves(x.device, x.dtype) or _serves_low(x)) or y.numel() * x.shape[1] < SMALL:
        return torch.mm(y.t(), x)
    # oneDNN copies a transposed first operand: x^T @ y, with the smaller one first, is 5 to 20 % faster than y^T @ x.
    total = _onednn(x[:SUM_ROWS].t(), y[:SUM_ROWS].t())  # (K, G)
    for start in range(SUM_ROWS, x.shape[0], SUM_ROWS):
        total += _onednn(x[start : start + SUM_ROWS].t(), y[start : start + SUM_ROWS].t())
    return total.t().contiguous()
