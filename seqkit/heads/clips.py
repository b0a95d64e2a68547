"""From clips to scores of actions: an encoder of frames, the LSTM over them, and a head that reads its outputs.

Shapes: N real steps, B clips, F features, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.heads.classifier import Classifier
from seqkit.heads.pooling import PoolName
from seqkit.lstm import LSTMState, StackedLSTM
from seqkit.sequences import Sequences


class PooledHead(nn.Module):
    """One answer from the pooled outputs of all steps."""

    def __init__(
        self, features: int, num_classes: int, pools: tuple[PoolName, ...], *, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        self.classifier = Classifier(features, num_classes, pools, bidirectional=bidirectional, dropout=dropout)

    def losses(self, output: Sequences, labels: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy (B,) in nats of outputs (N, F) and labels (B,) int64."""
        scores = self.classifier(output).float()
        return F.cross_entropy(scores, labels, reduction="none", label_smoothing=label_smoothing)

    def log_probs(self, output: Sequences) -> Tensor:
        """Log-probabilities (B, K) float64."""
        scores: Tensor = self.classifier(output)
        return scores.double().log_softmax(dim=1)


class StepHead(nn.Module):
    """An answer at every step, of which the later ones count for more: what a clip shows is not known at its start.

    Step t of T weighs (t / T)^growth, t = 1 ... T, divided by the sum over the clip's steps: in the loss, which is the
    weighted mean of the steps' cross-entropies (Aliakbarian et al. 2017 let it grow linearly), and in the answer, the
    weighted mean of the steps' probabilities.
    """

    def __init__(self, features: int, num_classes: int, *, growth: float, dropout: float) -> None:
        super().__init__()
        self.dropout, self.output, self.growth = nn.Dropout(dropout), nn.Linear(features, num_classes), growth

    def scores(self, output: Sequences) -> Sequences:
        """Scores (N, K) of outputs (N, F), before the softmax."""
        return output.map(lambda steps: self.output(self.dropout(steps)))

    def weights(self, output: Sequences) -> Tensor:
        """The share (N,) float64 of each step in its clip."""
        lengths = output.lengths.to(output.data.device)
        raw = ((output.time_index + 1).double() / lengths[output.batch_index]) ** self.growth  # (N,)
        sums = raw.new_zeros(output.batch_size).index_add(0, output.batch_index, raw)  # (B,)
        return raw / sums[output.batch_index]

    def losses(self, output: Sequences, labels: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy (B,) in nats, weighted over the steps, of outputs (N, F) and labels (B,) int64."""
        owners = output.batch_index
        steps = F.cross_entropy(
            self.scores(output).data.float(), labels[owners], reduction="none", label_smoothing=label_smoothing
        )
        return steps.new_zeros(output.batch_size).index_add(0, owners, steps * self.weights(output).float())

    def log_probs(self, output: Sequences) -> Tensor:
        """Log-probabilities (B, K) float64."""
        probs = self.scores(output).data.double().softmax(dim=1) * self.weights(output)[:, None]
        return probs.new_zeros(output.batch_size, probs.shape[1]).index_add(0, output.batch_index, probs).log()


class ClipModel(nn.Module):
    """Frames of clips to scores of actions."""

    def __init__(self, encoder: nn.Module, lstm: StackedLSTM, head: PooledHead | StepHead) -> None:
        """`encoder` makes of Sequences of frames (N, ...) Sequences of features (N, lstm.input_size)."""
        super().__init__()
        self.encoder, self.lstm, self.head = encoder, lstm, head

    def forward(self, clips: Sequences, state: LSTMState | None = None) -> tuple[Sequences, LSTMState]:
        """The LSTM's outputs (N, F) over frames (N, ...), and its last state."""
        output, state = self.lstm(self.encoder(clips), state)
        return output, state

    def log_probs(self, clips: Sequences) -> Tensor:
        """Log-probabilities (B, K) float64 of clips (N, ...)."""
        return self.head.log_probs(self(clips)[0])


def mean_log_probs(log_probs: Tensor, owners: Tensor, count: int) -> Tensor:
    """The log (count, K) of the mean probability over the views (V, K) that each of `count` clips owns.

    owners (V,) int64; every clip owns one at least.
    """
    sums = log_probs.new_zeros(count, log_probs.shape[1]).index_add(0, owners, log_probs.exp())
    return (sums / torch.bincount(owners, minlength=count)[:, None]).log()
