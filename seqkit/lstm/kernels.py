"""The kernels that can run a layer: which of them can serve, and which `auto` takes.

    eager   PyTorch with a backward through time written by hand (`eager.py`); any device, no compiler
    torch   torch's own `torch._VF.lstm` on packed input (`torch_kernel.py`): cuDNN on CUDA
    native  C++ for the CPU, behind the same op as `eager`

`eager` and `native` stand behind the op of `op.py`; `torch` brings its own autograd and stands beside it.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from seqkit.errors import KernelError
from seqkit.lstm import eager
from seqkit.lstm.native import kernel as native
from seqkit.lstm.native import library
from seqkit.lstm.products import describe as describe_products
from seqkit.lstm.saved import Saved

NAMES = ("native", "eager", "torch")


class OpKernel(Protocol):
    """What a kernel behind the op provides; `eager.py` says what goes in and comes out."""

    def saved_shapes(self, directions: int, steps: int, hidden: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of what forward saves."""
        ...

    def forward(
        self,
        data: Tensor,
        batch_sizes: Tensor,
        weights: list[Tensor],
        h_0: Tensor,
        c_0: Tensor,
        save: bool,
        packed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Saved | None]:
        """One layer over a packed batch."""
        ...

    def backward(
        self,
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
        """Its gradients."""
        ...


def behind_op(name: str) -> OpKernel:
    """The kernel behind the op that is called `name`."""
    if name == "eager":
        return eager
    if name == "native":
        return native
    raise ValueError(f"no kernel '{name}' stands behind the LSTM's op; 'eager' and 'native' do.")


def available(name: str) -> str | None:
    """None if the kernel called `name` can serve here, else the reason why not and what to do.

    Raises:
        ValueError: no kernel has that name.
        ConfigError: SEQKIT_INSTRUCTION_SET asks for a part of native that cannot serve here.
    """
    if name not in NAMES:
        raise ValueError(f"there is no kernel '{name}'; there are auto, {', '.join(NAMES)}.")
    if name == "native":
        try:
            library.load()
        except KernelError as error:
            return str(error)
    return None


def choose(name: str, device: torch.device, dtype: torch.dtype) -> str:
    """The kernel that runs when `name` is asked for.

    `auto` takes torch on CUDA, native for float32 on the CPU where it is built, and eager elsewhere.

    Raises:
        TypeError: dtype is neither float32 nor float64.
        ValueError: no kernel has that name.
        KernelError: the one asked for cannot serve here.
        ConfigError: SEQKIT_INSTRUCTION_SET asks for a part of native that cannot serve here, with "auto" too.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"the LSTM runs in float32 or float64, not in {dtype}; under autocast it casts to float32.")
    suits_native = device.type == "cpu" and dtype == torch.float32
    if name == "auto":
        if device.type == "cuda":
            return "torch"
        return "native" if suits_native and available("native") is None else "eager"
    reason = available(name)
    if reason is None and name == "native" and not suits_native:
        reason = f"it computes float32 on the CPU, not {dtype} on {device.type}."
    if reason is not None:
        serving = [other for other in NAMES if available(other) is None and other != name]
        raise KernelError(f"kernel '{name}' cannot serve: {reason}", hint=f"What can: auto, {', '.join(serving)}.")
    return name


def describe(name: str, device: torch.device, dtype: torch.dtype) -> str:
    """One phrase for a log: the kernel and the library that computes its products."""
    if name == "torch":
        return "torch (cuDNN)" if device.type == "cuda" else "torch"
    if name == "native":
        return f"native ({library.load().instruction_set})"
    return f"{name} ({describe_products(device, dtype)})"
