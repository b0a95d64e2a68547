"""One recurrent layer as a module: `LSTMLayer`, the public unit, and `RNNLayer`, the vanilla cell to compare it with.

Shapes: N real steps, B sequences, I inputs, H hidden, D directions (1 or 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from seqkit.lstm import eager, kernels, torch_kernel
from seqkit.lstm.init import initialise
from seqkit.lstm.op import observed, run_layer
from seqkit.lstm.packed import PackedWeights
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences


class RecurrentLayer(nn.Module):
    """What both cells share: parameters named and laid out as torch's, the order of rows, the checks.

    Args:
        input_size: I.
        hidden_size: H.
        bidirectional: read every sequence from its end too; outputs of the two directions stand side by side.
        kernel: "auto", or one of `kernels.NAMES`; see `kernels.py`.
        init: how weights are drawn, see `init.initialise`.
        forget_bias: initial bias of the forget gate, see `init.initialise`.

    Raises:
        ValueError: a size is less than 1, or kernel or init is unknown, or the kernel cannot serve here.
    """

    gates: ClassVar[int]  # blocks of H rows in a weight

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        kernel: str = "auto",
        *,
        init: str = "glorot",
        forget_bias: float | None = 1.0,
    ) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ValueError(f"input_size and hidden_size must be at least 1; they are {input_size}, {hidden_size}.")
        # Say now, not at the first batch, that a kernel cannot serve.
        kernels.choose(kernel, torch.device("cpu"), torch.float32)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.bidirectional, self.kernel = bidirectional, kernel
        rows = self.gates * hidden_size
        shapes = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        for suffix in self._suffixes():
            for name, shape in shapes.items():
                self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape)))
            initialise(self._weights_of(suffix), hidden_size, init, forget_bias)

    @property
    def directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    def _suffixes(self) -> list[str]:
        return ["_l0", "_l0_reverse"] if self.bidirectional else ["_l0"]

    def _weights_of(self, suffix: str) -> list[Tensor]:
        return [self.get_parameter(name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def weights(self) -> list[Tensor]:
        """The parameters in the op's order: four of each direction."""
        return [w for suffix in self._suffixes() for w in self._weights_of(suffix)]

    def recurrent_weights(self) -> list[Tensor]:
        """weight_hh of each direction, (gates * H, H)."""
        return self.weights()[1::4]

    def forward(
        self, x: Sequences, state: LSTMState | None = None, *, recurrent_weights: Sequence[Tensor] | None = None
    ) -> tuple[Sequences, LSTMState]:
        """Read the batch.

        Args:
            x: data (N, I) in the weights' dtype; under autocast in any floating dtype.
            state: (D, B, H), rows in the batch's order; None is zeros.
            recurrent_weights: used in place of each direction's weight_hh: where DropConnect comes in.

        Returns:
            Sequences of (N, D * H), and the state after each sequence's last step: its initial state where it has none.

        Raises:
            TypeError: dtypes do not fit.
            ValueError: shapes do not fit.
        """
        weights = self.weights()
        if recurrent_weights is not None:
            weights[1::4] = recurrent_weights
        self._check(x.data, x.batch_size, state, weights[0])
        if state is None:
            made = LSTMState.zeros(
                self.directions, x.batch_size, self.hidden_size, device=weights[0].device, dtype=weights[0].dtype
            )
            output, final = self._run(x.data, x.batch_sizes, weights, made)
        else:
            output, final = self._run(x.data, x.batch_sizes, weights, state.select(x.sorted_indices))
        return x.replace(output), final.select(x.unsorted_indices)

    def step(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Advance every row by one step, without a graph.

        Args:
            x: (B, I).
            state: (1, B, H); None is zeros.

        Returns:
            The output (B, H) and the state after the step.

        Raises:
            ValueError: the layer is bidirectional (it would need the future), or shapes do not fit.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional layer cannot advance step by step: it reads from the end too.")
        weights = self.weights()
        self._check(x, x.shape[0], state, weights[0])
        with torch.no_grad():
            if state is None:
                state = LSTMState.zeros(1, x.shape[0], self.hidden_size, device=x.device, dtype=weights[0].dtype)
            return self._step(x.to(weights[0].dtype), weights, state)

    def kernel_used(self) -> str:
        """The kernel that runs on the parameters' present device: what `kernel="auto"` came to."""
        weight = self.weights()[0]
        return kernels.choose(self.kernel, weight.device, weight.dtype)

    def describe(self) -> str:
        """The kernel used and the library that computes its products, for a log."""
        weight = self.weights()[0]
        return kernels.describe(self.kernel_used(), weight.device, weight.dtype)

    def extra_repr(self) -> str:
        """Sizes and kernel, for the module's printed form."""
        return f"{self.input_size}, {self.hidden_size}, bidirectional={self.bidirectional}, kernel={self.kernel}"

    def _run(
        self, data: Tensor, batch_sizes: Tensor, weights: list[Tensor], state: LSTMState
    ) -> tuple[Tensor, LSTMState]:
        """Packed data and state in sorted order -> output (N, D * H) and final state, likewise."""
        raise NotImplementedError

    def _step(self, x: Tensor, weights: list[Tensor], state: LSTMState) -> tuple[Tensor, LSTMState]:
        raise NotImplementedError

    def _check(self, data: Tensor, batch_size: int, state: LSTMState | None, weight: Tensor) -> None:
        """Raise if data (..., I) or state does not fit this layer."""
        if data.dim() != 2 or data.shape[1] != self.input_size:
            raise ValueError(f"the layer reads {self.input_size} features; its input has shape {tuple(data.shape)}.")
        if data.device != weight.device:
            raise ValueError(f"the input is on {data.device}, the layer's weights on {weight.device}.")
        if data.dtype != weight.dtype and not (
            data.is_floating_point() and torch.is_autocast_enabled(data.device.type)
        ):
            raise TypeError(f"the input is {data.dtype}, the layer's weights are {weight.dtype}.")
        expected = (self.directions, batch_size, self.hidden_size)
        if state is not None and (state.hidden.shape != expected or state.cell.shape != expected):
            raise ValueError(
                f"the state must be {expected} (directions, B, H); "
                f"hidden is {tuple(state.hidden.shape)}, cell {tuple(state.cell.shape)}."
            )


class LSTMLayer(RecurrentLayer):
    """One LSTM layer, in one or both directions, over a ragged batch; equations in `reference.py`.

    Arguments, inputs and outputs are those of `RecurrentLayer`. In eval(), and where no gradient is asked for, the
    native kernel's packed weights are kept until train() or a load; see `packed.py`.
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        kernel: str = "auto",
        *,
        init: str = "glorot",
        forget_bias: float | None = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size, bidirectional, kernel, init=init, forget_bias=forget_bias)
        self._packed = PackedWeights()

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode."""
        self._packed.drop()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed.drop()
        super()._load_from_state_dict(*args, **kwargs)

    def _run(
        self, data: Tensor, batch_sizes: Tensor, weights: list[Tensor], state: LSTMState
    ) -> tuple[Tensor, LSTMState]:
        kernel = kernels.choose(self.kernel, weights[0].device, weights[0].dtype)
        h_0, c_0 = state.hidden, state.cell
        if kernel == "torch":
            output, h_n, c_n = torch_kernel.lstm_layer(data, batch_sizes, weights, h_0, c_0)
        else:
            save = torch.is_grad_enabled() and any(t.requires_grad for t in (data, h_0, c_0, *weights))
            keeps = kernel == "native" and not (save or self.training or observed((data, *weights)))
            packed = self._packed.of([w.detach().contiguous() for w in weights]) if keeps else None
            output, h_n, c_n = run_layer(data, batch_sizes, weights, h_0, c_0, kernel, save, packed)
        return output, LSTMState(h_n, c_n)

    def _step(self, x: Tensor, weights: list[Tensor], state: LSTMState) -> tuple[Tensor, LSTMState]:
        h, c = eager.step(x, weights, state.hidden[0], state.cell[0])
        return h, LSTMState(h.unsqueeze(0), c.unsqueeze(0))


class RNNLayer(RecurrentLayer):
    """One layer of a vanilla RNN, h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh) (Elman 1990).

    It is here to be compared with the LSTM, behind the same interface; torch's own packed recurrence runs it. Its
    state's cell is zeros, and none of its gradients pass there.
    """

    gates = 1

    def _run(
        self, data: Tensor, batch_sizes: Tensor, weights: list[Tensor], state: LSTMState
    ) -> tuple[Tensor, LSTMState]:
        output, h_n = torch_kernel.rnn_layer(data, batch_sizes, weights, state.hidden)
        return output, LSTMState(h_n, torch.zeros_like(h_n))

    def _step(self, x: Tensor, weights: list[Tensor], state: LSTMState) -> tuple[Tensor, LSTMState]:
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        h = torch.addmm(bias_ih + bias_hh, x, weight_ih.t()).addmm_(state.hidden[0], weight_hh.t()).tanh_()
        return h, LSTMState(h.unsqueeze(0), torch.zeros_like(state.cell))

    def kernel_used(self) -> str:
        """Always torch's own."""
        return "torch"
