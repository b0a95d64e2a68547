"""StackedLSTM: layers one above the other, and what stands between them (dropout of three kinds, residual connections).

Shapes: N real steps, B sequences, I inputs, H hidden, D directions, L layers.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.lstm.dropout import locked_dropout
from seqkit.lstm.layer import LSTMLayer, RecurrentLayer, RNNLayer
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

CELLS: dict[str, type[RecurrentLayer]] = {"lstm": LSTMLayer, "rnn": RNNLayer}


class StackedLSTM(nn.Module):
    """L recurrent layers over a ragged batch.

    Args:
        input_size: I, features of one step.
        hidden_size: H, units of each layer and direction.
        num_layers: L.
        bidirectional: every layer reads in both directions; D = 2.
        dropout: probability, on the output of every layer but the last, drawn anew for each step.
        locked_dropout: probability, on the input of every layer, the first one's too: one mask for each sequence and
            feature, the same at all its steps (Gal and Ghahramani 2016).
        weight_dropout: probability, on weight_hh: one mask for a forward pass (DropConnect; Merity et al. 2018).
        residual: add a layer's input to its output where the two have the same width (the first layer's may not).
        forget_bias: initial bias of the forget gate; None leaves it as drawn.
        init: "glorot", "he", "orthogonal" or "uniform" (torch.nn.LSTM's); see `init.py`.
        cell: "lstm", or "rnn" for the vanilla RNN.
        kernel: "auto", "eager", "torch" or "native"; see `kernels.py`.

    Raises:
        ValueError: a size is less than 1, a probability is outside [0, 1), or a name is unknown or cannot serve here.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        *,
        locked_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        residual: bool = False,
        forget_bias: float | None = 1.0,
        init: str = "glorot",
        cell: str = "lstm",
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"a stack needs at least 1 layer; num_layers is {num_layers}.")
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}; it is '{cell}'.")
        for name, p in (("dropout", dropout), ("locked_dropout", locked_dropout), ("weight_dropout", weight_dropout)):
            if not 0.0 <= p < 1.0:
                raise ValueError(f"{name} is a probability in [0, 1); it is {p}.")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.residual, self.cell = bidirectional, residual, cell
        self.dropout, self.locked_dropout, self.weight_dropout = dropout, locked_dropout, weight_dropout
        widths = [input_size] + [self.output_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            CELLS[cell](width, hidden_size, bidirectional, kernel, init=init, forget_bias=forget_bias)
            for width in widths
        )

    @property
    def directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """D * H, the width of the output."""
        return self.directions * self.hidden_size

    def _layers(self) -> list[RecurrentLayer]:
        return [cast(RecurrentLayer, layer) for layer in self.layers]

    def forward(self, x: Sequences, state: LSTMState | None = None) -> tuple[Sequences, LSTMState]:
        """Read the batch, layer by layer.

        Args:
            x: data (N, I).
            state: (L * D, B, H), rows in the batch's order, as this returns it; None is zeros.

        Returns:
            Sequences of (N, D * H), and the state after each sequence's last step.

        Raises:
            TypeError: dtypes do not fit.
            ValueError: shapes do not fit.
        """
        self._check(state)
        finals = []
        for n, layer in enumerate(self._layers()):
            read = locked_dropout(x, self.locked_dropout, self.training)
            output, final = layer(read, self._part(state, n), recurrent_weights=self._dropped(layer))
            finals.append(final)
            x = self._residual(x, output)
            if n + 1 < self.num_layers and self.dropout > 0.0:
                x = x.replace(F.dropout(x.data, self.dropout, self.training))
        return x, LSTMState.stack(finals)

    def step(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Advance every row by one step, without a graph and without dropout: what decoding and streaming do.

        Args:
            x: (B, I).
            state: (L, B, H); None is zeros.

        Returns:
            The output (B, H) and the state after the step.

        Raises:
            ValueError: the stack is bidirectional, or shapes do not fit.
        """
        self._check(state)
        finals = []
        for n, layer in enumerate(self._layers()):
            output, final = layer.step(x, self._part(state, n))
            finals.append(final)
            x = output + x if self.residual and output.shape == x.shape else output
        return x, LSTMState.stack(finals)

    def _check(self, state: LSTMState | None) -> None:
        layers = self.num_layers * self.directions
        if state is not None and state.hidden.shape[0] != layers:
            raise ValueError(f"the state must hold {layers} layers and directions; it holds {state.hidden.shape[0]}.")

    def _part(self, state: LSTMState | None, layer: int) -> LSTMState | None:
        return None if state is None else state.layers(layer * self.directions, self.directions)

    def _residual(self, x: Sequences, output: Sequences) -> Sequences:
        if self.residual and output.data.shape == x.data.shape:
            return output.replace(output.data + x.data)
        return output

    def _dropped(self, layer: RecurrentLayer) -> list[Tensor] | None:
        """DropConnect: each direction's weight_hh with some of its numbers dropped for this pass."""
        if not self.training or self.weight_dropout == 0.0:
            return None
        return [F.dropout(w, self.weight_dropout) for w in layer.recurrent_weights()]

    def kernel_used(self) -> str:
        """The kernel that runs on the parameters' present device: what `kernel="auto"` came to."""
        return self._layers()[0].kernel_used()

    def describe(self) -> str:
        """The kernel used and the library that computes its products, for a log."""
        return self._layers()[0].describe()

    # ---- to and from torch.nn.LSTM ----

    @classmethod
    def from_torch(cls, torch_lstm: nn.LSTM, kernel: str = "auto") -> StackedLSTM:
        """A stack with the sizes, dropout and weights (copied) of a torch.nn.LSTM, on its device, in its dtype.

        Raises:
            ValueError: it has projections or no biases, which this stack does not know.
        """
        if torch_lstm.proj_size or not torch_lstm.bias:
            raise ValueError("a torch.nn.LSTM with proj_size, or with bias=False, has no counterpart here.")
        made = cls(
            torch_lstm.input_size,
            torch_lstm.hidden_size,
            torch_lstm.num_layers,
            torch_lstm.bidirectional,
            torch_lstm.dropout,
            init="uniform",
            kernel=kernel,
        ).to(cast(Tensor, torch_lstm.weight_ih_l0))
        with torch.no_grad():
            for ours, theirs in zip(made._all_weights(), _weights_of(torch_lstm), strict=True):
                ours.copy_(theirs)
        return made.train(torch_lstm.training)

    def to_torch(self) -> nn.LSTM:
        """A torch.nn.LSTM (time first, its default) that computes the same, with the weights copied.

        Raises:
            ValueError: an option is set that torch.nn.LSTM does not have.
        """
        foreign = {
            "locked_dropout": self.locked_dropout > 0.0,
            "weight_dropout": self.weight_dropout > 0.0,
            "residual": self.residual,
            "cell='rnn'": self.cell != "lstm",
        }
        if any(foreign.values()):
            names = ", ".join(name for name, is_set in foreign.items() if is_set)
            raise ValueError(f"torch.nn.LSTM has no counterpart of {names}.")
        made = nn.LSTM(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            dropout=self.dropout,
            bidirectional=self.bidirectional,
        ).to(self._all_weights()[0])
        with torch.no_grad():
            for ours, theirs in zip(self._all_weights(), _weights_of(made), strict=True):
                theirs.copy_(ours)
        return made.train(self.training)

    def _all_weights(self) -> list[Tensor]:
        return [w for layer in self._layers() for w in layer.weights()]


def _weights_of(torch_lstm: nn.LSTM) -> list[Tensor]:
    """Its weights in the order in which layers and directions hold ours."""
    return [w for group in torch_lstm.all_weights for w in group]
