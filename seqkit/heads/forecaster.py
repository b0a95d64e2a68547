"""The network of forecasting: windows of the past in, parameters of every value to come out.

The past is normalised window by window, cut into segments of some rows each and read by the stacked LSTM, a segment a
step, which keeps the recurrence short (Lin et al. 2023, SegRNN, arXiv:2308.11200). What comes is written in segments
too: all at once, each from the final state and a vector for its place (`direct`), or one after the other, each read
before the next is written (`autoregressive`).

Shapes: B windows, L rows read, H rows to come, D columns, C calendar features, P parameters of the output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqkit.heads.forecast_outputs import Output
from seqkit.lstm import StackedLSTM
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

Normalization = Literal["none", "last", "revin"]
DecoderName = Literal["direct", "autoregressive"]
ChannelMode = Literal["independent", "joint"]

_EPSILON = 1e-5


class WindowNorm(nn.Module):
    """Takes the level out of a window, and puts it back into the forecast.

    `last` subtracts the newest value; `revin` subtracts the mean, divides by the deviation, and has a gain and a bias
    for each column that are learned (Kim et al. 2022, reversible instance normalisation); `none` changes nothing.
    """

    def __init__(self, columns: int, kind: Normalization) -> None:
        super().__init__()
        self.kind = kind
        if kind == "revin":
            self.log_gain = nn.Parameter(torch.zeros(columns))  # positive, so that it can be undone
            self.bias = nn.Parameter(torch.zeros(columns))

    def forward(self, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Windows (B, L, D), and which values are real (B, L, D) bool -> normalised (0 where none is), shift and scale
        (B, 1, D) such that `normalised * scale + shift` is the window."""
        count = real.sum(dim=1, keepdim=True)
        x = torch.where(real, x, 0.0)  # NaN would spoil the gradients, even of what is not taken
        if self.kind == "none":
            shift = torch.zeros_like(x[:, :1])
            scale = torch.ones_like(shift)
        elif self.kind == "last":
            rows = torch.arange(1, x.shape[1] + 1, device=x.device).view(1, -1, 1)
            newest = (rows * real).amax(dim=1, keepdim=True)  # 0 where the window has no value at all
            shift = torch.where(newest > 0, x.gather(1, (newest - 1).clamp(min=0)), 0.0)
            scale = torch.ones_like(shift)
        else:
            mean = x.sum(1, keepdim=True) / count.clamp(min=1)
            variance = torch.where(real, x - mean, 0.0).square().sum(1, keepdim=True) / count.clamp(min=1)
            scale = (variance + _EPSILON).sqrt() * torch.exp(-self.log_gain)
            shift = mean - self.bias * scale
        return torch.where(real, (x - shift) / scale, 0.0), shift, scale


class Forecaster(nn.Module):
    """Windows -> segments -> stacked LSTM -> segments -> parameters.

    Args:
        columns: D.
        input_length: L.
        horizon: H.
        output: what is said of each value.
        lstm: arguments of `StackedLSTM`; it reads forward.
        segment: rows of a segment, at most L; the oldest rows are left out where L is no multiple of it.
        normalization: see `WindowNorm`.
        decoder: "direct" or "autoregressive".
        channels: "independent" reads each column as a series of its own, with the same weights; "joint" reads a row as
            a whole.
        linear: add a linear map of each column's window to its forecast (Zeng et al. 2023), which starts at zero.
        dropout: probability, before the output.
        calendar: C, features of the time of each row.
        mask: read which values are real.

    Raises:
        ValueError: the segment is longer than the window.
    """

    def __init__(
        self,
        columns: int,
        input_length: int,
        horizon: int,
        output: Output,
        *,
        lstm: Mapping[str, Any],
        segment: int = 24,
        normalization: Normalization = "last",
        decoder: DecoderName = "direct",
        channels: ChannelMode = "independent",
        linear: bool = False,
        dropout: float = 0.0,
        calendar: int = 0,
        mask: bool = False,
    ) -> None:
        super().__init__()
        if segment > input_length:
            raise ValueError(f"a segment of {segment} rows is longer than the window of {input_length}.")
        self.columns, self.horizon, self.output = columns, horizon, output
        self.segment, self.read, self.written = segment, input_length // segment, math.ceil(horizon / segment)
        self.groups = columns if channels == "independent" else 1
        self.width = columns // self.groups  # columns of a group, read together
        self.masked, self.direct = mask, decoder == "direct"
        self.norm = WindowNorm(columns, normalization)
        hidden = int(lstm["hidden_size"])
        self.embed = nn.Linear(segment * (self.width * (2 if mask else 1) + calendar), hidden)
        self.lstm = StackedLSTM(hidden, **lstm)
        if self.direct:
            self.places = nn.Parameter(0.1 * torch.randn(self.written, hidden))
            self.names = nn.Parameter(0.1 * torch.randn(self.groups, hidden))
            self.ahead = nn.Linear(segment * calendar, hidden, bias=False) if calendar else None
        self.dropout = nn.Dropout(dropout)
        self.write = nn.Linear(hidden, segment * self.width * output.parameters)
        self.linear = nn.Linear(self.read * segment, horizon) if linear else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, *, real: Tensor | None = None, calendar: Tensor | None = None) -> Tensor:
        """Forecast what comes after each window.

        Args:
            x: (B, L, D) float32; NaN where a value is missing, unless `real` says so.
            real: (B, L, D) bool, the values that are there; by default those that are no NaN.
            calendar: (B, L + H, C) float32, where the network reads one.

        Returns:
            (B, H, D, P) parameters of the values to come, in the unit of `x`.
        """
        real = ~torch.isnan(x) if real is None else real
        values, shift, scale = self.norm(x, real)
        kept = self.read * self.segment
        values, real = values[:, -kept:], real[:, -kept:]
        past = self._segments(values, real.to(values.dtype), None if calendar is None else calendar[:, : x.shape[1]])
        come = None if calendar is None else self._ahead(calendar[:, x.shape[1] :])
        steps, rows = past.shape[:2]
        read, state = self.lstm(self._even(torch.relu(self.embed(past))))
        if self.direct:
            raw = self._all_at_once(state, len(x), come)
        else:
            newest = read.data.view(steps, rows, -1)[-1]
            raw = self._one_by_one(newest, state, come)
        raw = self._columns(raw)  # (B, H, D, P)
        if self.linear is not None:
            straight = self.linear(values.transpose(1, 2)).transpose(1, 2)  # (B, H, D)
            raw = raw + self._shifted(straight)
        return self.output.carried(self.output.constrain(raw), shift, scale)

    def _segments(self, values: Tensor, real: Tensor, calendar: Tensor | None) -> Tensor:
        """(B, n * segment, D) values and mask, (B, L, C) calendar -> (n, B * groups, features of a segment)."""
        count = len(values)
        parts = [values, real] if self.masked else [values]
        shape = (count, -1, self.segment, self.groups, self.width)
        cut = [
            part.reshape(shape).permute(1, 0, 3, 2, 4).flatten(3) for part in parts
        ]  # (n, B, groups, segment * width)
        if calendar is not None:
            kept = calendar[:, -values.shape[1] :].reshape(count, -1, 1, self.segment * calendar.shape[-1])
            cut.append(kept.transpose(0, 1).expand(-1, -1, self.groups, -1))
        return torch.cat(cut, dim=-1).flatten(1, 2)

    def _ahead(self, calendar: Tensor) -> Tensor:
        """(B, H, C) -> (B, m, segment * C), the last segment filled up with zeros."""
        missing = self.written * self.segment - calendar.shape[1]
        filled = nn.functional.pad(calendar, (0, 0, 0, missing))
        return filled.reshape(len(calendar), self.written, -1)

    def _all_at_once(self, state: LSTMState, count: int, come: Tensor | None) -> Tensor:
        """(B * groups, m, segment * width * P) from the final state, one step of the LSTM for each segment."""
        asked = self.places.unsqueeze(1) + self.names  # (m, groups, hidden)
        asked = asked.expand(count, -1, -1, -1)  # (B, m, groups, hidden)
        if come is not None and self.ahead is not None:
            asked = asked + self.ahead(come).unsqueeze(2)
        asked = asked.transpose(1, 2).flatten(0, 2)  # (B * groups * m, hidden)
        rows = torch.arange(count * self.groups, device=asked.device).repeat_interleave(self.written)
        told, _ = self.lstm(self._even(asked.unsqueeze(0)), state.select(rows))
        written: Tensor = self.write(self.dropout(told.data))
        return written.view(count * self.groups, self.written, -1)

    def _one_by_one(self, newest: Tensor, state: LSTMState, come: Tensor | None) -> Tensor:
        """(B * groups, m, segment * width * P), each segment from what was read before, itself among the read ones."""
        written = []
        for index in range(self.written):
            raw = self.write(self.dropout(newest))  # (B * groups, segment * width * P)
            written.append(raw)
            if index + 1 == self.written:
                break
            parameters = self.output.constrain(raw.view(len(raw), self.segment, self.width, -1))
            point = self.output.point(parameters).flatten(1)  # (B * groups, segment * width)
            features = [point, torch.ones_like(point)] if self.masked else [point]
            if come is not None:
                features.append(come[:, index].repeat_interleave(self.groups, dim=0))
            embedded = torch.relu(self.embed(torch.cat(features, dim=-1)))
            told, state = self.lstm(self._even(embedded.unsqueeze(0)), state)
            newest = told.data
        return torch.stack(written, dim=1)

    def _columns(self, raw: Tensor) -> Tensor:
        """(B * groups, m, segment * width * P) -> (B, H, D, P)."""
        count = len(raw) // self.groups
        parts = raw.view(count, self.groups, self.written * self.segment, self.width, self.output.parameters)
        return parts.transpose(1, 2).flatten(2, 3)[:, : self.horizon]

    def _shifted(self, straight: Tensor) -> Tensor:
        """A number (B, H, D) added to the location of the raw parameters: zeros elsewhere (B, H, D, P)."""
        place = self.output.location
        zeros = torch.zeros_like(straight).unsqueeze(-1)
        before = zeros.expand(*straight.shape, place)
        after = zeros.expand(*straight.shape, self.output.parameters - place - 1)
        return torch.cat([before, straight.unsqueeze(-1), after], dim=-1)

    @staticmethod
    def _even(data: Tensor) -> Sequences:
        """(n, R, features) as R sequences of n steps each."""
        steps, rows = data.shape[:2]
        return Sequences(data.flatten(0, 1), torch.full((rows,), steps, dtype=torch.int64))
