"""Connectionist temporal classification (Graves et al. 2006): from frames to labels without knowing where each stands.

Shapes: B utterances, T frames, T' steps of the longest one after subsampling, N' steps in all, V labels with the blank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.frontends.subsampling import ConvSubsampling, FrameStacking
from seqkit.heads.generation import mean_log_probs
from seqkit.lstm import StackedLSTM
from seqkit.lstm.dropout import locked_dropout
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

BLANK = 0
"""The label that stands for none."""


class AcousticModel(nn.Module):
    """Frames to label scores: subsampling, stacked LSTM, one linear layer."""

    def __init__(
        self, subsampling: FrameStacking | ConvSubsampling, lstm: StackedLSTM, num_labels: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.subsampling, self.lstm, self.dropout = subsampling, lstm, dropout
        self.output = nn.Linear(lstm.output_size, num_labels)

    def forward(self, frames: Sequences) -> Sequences:
        """Scores (N', V), before the softmax, of normalised frames (N, M)."""
        return self.label(self.subsampling(frames))[0]

    def label(self, steps: Sequences, state: LSTMState | None = None) -> tuple[Sequences, LSTMState]:
        """Scores (N', V) of subsampled steps (N', F), and the LSTM's state after them."""
        output, state = self.lstm(steps, state)
        return locked_dropout(output, self.dropout, self.training).map(self.output), state


def steps_needed(ids: Sequence[int] | np.ndarray) -> int:
    """The steps without which labels (L,) cannot be emitted: one each, and a blank between two equal ones."""
    array = np.asarray(ids)
    return len(array) + int((array[1:] == array[:-1]).sum())


def ctc_loss(scores: Sequences, targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """-log P(labels | sound) in nats, summed, over the number of labels.

    scores (N', V) before the softmax; targets B tensors (L_b,) int64 without blanks. An utterance whose labels cannot
    be emitted in its steps has no probability to raise: it is left out of both sums.
    """
    lengths = scores.lengths  # (B,)
    needed = torch.tensor([steps_needed(target.tolist()) for target in targets], dtype=torch.int64)
    kept = ((needed <= lengths) & (lengths > 0)).nonzero().flatten().tolist()
    if not kept:
        return scores.data.sum() * 0.0, torch.tensor(0)
    log_probs = F.log_softmax(scores.data.float(), dim=-1)  # (N', V)
    padded = scores.replace(log_probs).padded()[kept].transpose(0, 1)  # (T', B, V)
    sizes = torch.tensor([len(targets[row]) for row in kept], dtype=torch.int64)
    labels = torch.cat([targets[row] for row in kept]).to(padded.device)
    nats: Tensor = F.ctc_loss(padded, labels, lengths[kept], sizes, blank=BLANK, reduction="sum")
    return nats, sizes.sum()


def label_log_probs(scores: Sequence[Tensor]) -> Tensor:
    """log P (N', V) float64 of labels from the scores (N', V) of one model, or the mean of several models' P."""
    return mean_log_probs([F.log_softmax(one.float(), dim=-1) for one in scores])


def given_log_prob(log_probs: np.ndarray, ids: Sequence[int] | np.ndarray) -> float:
    """log P (nats) of labels (L,) under log P (T', V); -inf where they do not fit into the steps."""
    if len(log_probs) < steps_needed(ids):
        return -math.inf
    steps, labels = torch.from_numpy(log_probs)[:, None], torch.from_numpy(np.asarray(ids, dtype=np.int64))[None]
    sizes = (torch.tensor([len(log_probs)]), torch.tensor([len(ids)]))
    nats = F.ctc_loss(steps, labels, *sizes, blank=BLANK, reduction="sum")
    return -float(nats)
