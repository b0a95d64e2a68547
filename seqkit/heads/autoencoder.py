"""A sequence autoencoder: a window of rows is read into a short code, and written down again from it.

Trained on normal rows, it writes normal windows; of another one, what differs stands out (Malhotra et al. 2016,
"LSTM-based encoder-decoder for multi-sensor anomaly detection"; there the decoder reads what it wrote, here it reads
the code at each step, which keeps the steps of a window parallel over the batch and the errors from adding up).

Shapes: N real steps, B windows, W rows of a window, T rows of a series, D columns, C columns that are read besides.
"""

from __future__ import annotations

from collections import deque
from typing import cast

import torch
from torch import Tensor, nn

from seqkit.heads.detector import Detector, Stream
from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences

WINDOWS = 512
"""Windows that are read at once."""


class WindowAutoencoder(Detector):
    """LSTM encoder -> code -> LSTM decoder.

    The errors of a row are those of the window that ends with it: for each column the root of the mean square over
    the window's rows, so that each row has its errors as soon as it is there.

    Args:
        columns: D.
        encoder: reads (N, D + C); in one direction or both.
        decoder: reads the code at every step, forward.
        code_size: numbers of the code.
        window: W, at least 2.

    Raises:
        ValueError: sizes do not fit, or the decoder reads backward too.
    """

    def __init__(
        self, columns: int, encoder: StackedLSTM, decoder: StackedLSTM, *, code_size: int, window: int
    ) -> None:
        super().__init__(columns)
        if decoder.input_size != code_size:
            raise ValueError(f"the decoder reads {decoder.input_size} numbers, and the code has {code_size}.")
        if decoder.bidirectional:
            raise ValueError("the decoder writes forward only.")
        if window < 2:
            raise ValueError(f"a window has at least 2 rows, not {window}.")
        self.encoder, self.decoder = encoder, decoder
        self.window, self.context = window, window - 1
        self.code = nn.Linear(encoder.output_size, code_size)
        self.output = nn.Linear(decoder.output_size, columns)

    def forward(self, x: Sequences) -> Sequences:
        """Windows (N, D + C), written down again: (N, D)."""
        _, state = self.encoder(x)
        # The last layer's final state, of both directions: (B, directions * H).
        final = torch.cat(list(state.hidden[-self.encoder.directions :]), dim=1)
        code = torch.tanh(self.code(final))  # (B, code)
        written = cast(Sequences, self.decoder(x.replace(code[x.batch_index]))[0])
        return written.map(self.output)

    def training_errors(self, x: Sequences) -> tuple[Tensor, Tensor]:
        """Errors of every row of a window."""
        written = self(x)
        return x.data[:, : self.columns] - written.data, torch.arange(x.steps, device=x.data.device)

    def _window_errors(self, windows: Tensor) -> Tensor:
        """(B, W, D + C) -> (B, D)."""
        count, size, width = windows.shape
        x = Sequences(windows.transpose(0, 1).reshape(-1, width), torch.full((count,), size))
        errors = (x.data[:, : self.columns] - self(x).data).view(size, count, self.columns)
        return cast(Tensor, errors.square().mean(0).sqrt())

    def errors(self, series: Tensor) -> Tensor:
        """Errors (T, D), NaN in the first W - 1 rows."""
        found = series.new_full((len(series), self.columns), torch.nan)
        if len(series) < self.window:
            return found
        windows = series.unfold(0, self.window, 1).transpose(1, 2)  # (T - W + 1, W, D + C), a view
        for start in range(0, len(windows), WINDOWS):
            part = self._window_errors(windows[start : start + WINDOWS])
            found[self.context + start : self.context + start + len(part)] = part
        return found

    def stream(self) -> Stream:
        """A stream that keeps the last W rows."""
        return _WindowStream(self)


class _WindowStream(Stream):
    def __init__(self, network: WindowAutoencoder) -> None:
        self._network = network
        self._rows: deque[Tensor] = deque(maxlen=network.window)

    def step(self, row: Tensor) -> Tensor | None:
        self._rows.append(row)
        if len(self._rows) < self._network.window:
            return None
        window = torch.stack(list(self._rows)).unsqueeze(0)  # (1, W, D + C)
        return self._network._window_errors(window).squeeze(0)
