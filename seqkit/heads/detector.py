"""Networks that say how far each row of a series is from what was to be expected; one of them expects the next row.

A detector is trained on normal rows alone: what it cannot foretell, or write down again (`seqkit.heads.autoencoder`),
is unusual. Its errors become scores and flags in `seqkit.heads.anomaly_scores`.

Shapes: N real steps, B series, T rows, D columns, C columns that are read besides (masks), H hidden.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from seqkit.lstm import StackedLSTM
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

PIECE = 8192
"""Rows of a long series that are read at once; the state is carried from one piece to the next."""


class Stream(abc.ABC):
    """One series that comes row by row."""

    @abc.abstractmethod
    def step(self, row: Tensor) -> Tensor | None:
        """The errors (D,) of a row (D + C,), or None while there were too few rows before it."""


class Detector(nn.Module, abc.ABC):
    """Errors of each row and column.

    Args:
        columns: D, the columns that are judged; further ones are read, and not judged.
    """

    context: int
    """Rows before a row without which it has no errors."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    @abc.abstractmethod
    def training_errors(self, x: Sequences) -> tuple[Tensor, Tensor]:
        """Errors (M, D) of windows (N, D + C), and which packed rows (M,) they belong to."""

    @abc.abstractmethod
    def errors(self, series: Tensor) -> Tensor:
        """Errors (T, D) of one series (T, D + C), NaN in the first `context` rows. Each hangs on rows up to its own."""

    @abc.abstractmethod
    def stream(self) -> Stream:
        """A new stream: `step` says of each row what `errors` says of it in the whole series."""


class StepForecaster(Detector):
    """Expects the next row: an LSTM reads the rows so far, and a linear layer says what comes.

    The error is what came less what was expected (Malhotra et al. 2015).

    Args:
        columns: D.
        lstm: reads (N, D + C), forward only.
        change: expect a change of the row that was read, which is a good guess for slow series; else a level.
        dropout: on what the LSTM says.

    Raises:
        ValueError: the LSTM reads backward too, or reads fewer than D columns.
    """

    context = 1

    def __init__(self, columns: int, lstm: StackedLSTM, *, change: bool = True, dropout: float = 0.0) -> None:
        super().__init__(columns)
        if lstm.bidirectional:
            raise ValueError("a forecaster reads forward only: it would read the row that it should expect.")
        if lstm.input_size < columns:
            raise ValueError(f"the LSTM reads {lstm.input_size} columns, and {columns} are to be expected.")
        self.lstm, self.change = lstm, change
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(lstm.output_size, columns)
        if change:
            nn.init.zeros_(self.output.weight)  # at first, no change
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Sequences, state: LSTMState | None = None) -> tuple[Sequences, LSTMState]:
        """What is expected after each row: (N, D), and the LSTM's state."""
        read, state = self.lstm(x, state)
        return read.map(lambda data: self._expected(data, x.data)), state

    def _expected(self, read: Tensor, rows: Tensor) -> Tensor:
        expected = cast(Tensor, self.output(self.dropout(read)))
        return expected + rows[:, : self.columns] if self.change else expected

    def training_errors(self, x: Sequences) -> tuple[Tensor, Tensor]:
        """Errors of every row of a window but its first."""
        expected, _ = self(x)
        # In packed order, the rows of step t are the first rows of those of step t - 1: shift by one step.
        later = (x.time_index > 0).nonzero().squeeze(1)  # (M,)
        sizes = x.batch_sizes.to(x.data.device)
        before = later - sizes[x.time_index[later] - 1]  # (M,)
        return x.data[later, : self.columns] - expected.data[before], later

    def errors(self, series: Tensor) -> Tensor:
        """Errors (T, D), NaN in the first row; the state is carried through the series."""
        found = series.new_full((len(series), self.columns), torch.nan)
        state: LSTMState | None = None
        for start in range(0, len(series) - 1, PIECE):
            piece = series[start : min(start + PIECE, len(series) - 1)]  # (P, D + C)
            expected, state = self(Sequences.from_list([piece]), state)
            end = start + len(piece) + 1
            found[start + 1 : end] = series[start + 1 : end, : self.columns] - expected.data
        return found

    def stream(self) -> Stream:
        """A stream that carries the LSTM's state."""
        return _ForecastStream(self)


class _ForecastStream(Stream):
    def __init__(self, network: StepForecaster) -> None:
        self._network = network
        self._state: LSTMState | None = None
        self._expected: Tensor | None = None

    def step(self, row: Tensor) -> Tensor | None:
        network = self._network
        error = None if self._expected is None else row[: network.columns] - self._expected
        read, self._state = network.lstm.step(row.unsqueeze(0), self._state)
        self._expected = network._expected(read, row.unsqueeze(0)).squeeze(0)
        return error


class Detectors(nn.Module):
    """Detectors of S series: one for all of them, or each its own.

    Args:
        networks: one, or S.
    """

    def __init__(self, networks: Sequence[Detector]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def of(self, series: int) -> Detector:
        """The network of a series, by its number."""
        return cast(Detector, self.networks[series if len(self.networks) > 1 else 0])

    def loss(self, x: Sequences, series: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The sum of squared errors of windows, and how many there are.

        Args:
            x: (N, D + C), B windows.
            series: (B,) int64 on the CPU, whose window each is.
            real: (N, D) bool, the values that were measured: only they count; None for all.
        """
        if len(self.networks) == 1:
            return _squares(self.of(0), x, real)
        windows, masks = x.unpack(), None if real is None else x.replace(real).unpack()
        total, count = x.data.new_zeros(()), x.data.new_zeros(())
        for number in sorted(set(series.tolist())):
            own = (series == number).nonzero().squeeze(1).tolist()
            part = Sequences.from_list([windows[row] for row in own])
            own_real = None if masks is None else Sequences.from_list([masks[row] for row in own]).data
            squares, terms = _squares(self.of(number), part, own_real)
            total, count = total + squares, count + terms
        return total, count


def _squares(network: Detector, x: Sequences, real: Tensor | None) -> tuple[Tensor, Tensor]:
    errors, rows = network.training_errors(x)
    squares = errors.square()
    if real is not None:
        kept = real[rows]
        return squares.masked_fill(~kept, 0.0).sum(), kept.sum().to(squares.dtype)
    return squares.sum(), squares.new_tensor(float(squares.numel()))
