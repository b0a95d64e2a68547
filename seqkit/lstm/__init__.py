"""The backbone: one LSTM, from the cell's equations to the stack."""

from __future__ import annotations

from seqkit.lstm.layer import LSTMLayer
from seqkit.lstm.stack import StackedLSTM
from seqkit.lstm.state import LSTMState

__all__ = ["LSTMLayer", "LSTMState", "StackedLSTM"]
