"""A classifier over a pooled sequence: its loss, and its metrics as sums over examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.heads.pooling import Pooling, PoolName
from seqkit.sequences import Sequences


class Classifier(nn.Module):
    """Pool, drop out, project to class scores."""

    def __init__(
        self, features: int, num_classes: int, pools: tuple[PoolName, ...], *, bidirectional: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.pooling = Pooling(pools, features, bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(self.pooling.output_size, num_classes)

    def forward(self, x: Sequences) -> Tensor:
        """Unnormalised log-probabilities (B, num_classes) of ragged (N, features)."""
        logits: Tensor = self.output(self.dropout(self.pooling(x)))
        return logits


def classification_loss(
    logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats as (sum of weighted losses, sum of weights).

    logits (B, K); labels (B,) int64; weights (B,) of the examples, 1 by default; label smoothing as in Szegedy et al.
    2016: the target is 1 - label_smoothing + label_smoothing / K for the label, label_smoothing / K for the others.
    """
    losses_B = F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=label_smoothing)
    if weights is None:
        weights = torch.ones_like(losses_B)
    return (losses_B * weights).sum(), weights.sum()


def class_weights(counts: np.ndarray, power: float) -> np.ndarray:
    """Weights (K,) proportional to frequency to the minus `power`, with mean 1 over the examples they are for.

    0 leaves classes as they are, 1 balances them fully. `counts` (K,) are the training examples of each class, all > 0.
    """
    weights = np.asarray(counts, dtype=np.float64) ** -power
    return np.asarray(weights * counts.sum() / (weights * counts).sum())


def classification_statistics(label: int, log_probs: np.ndarray) -> np.ndarray:
    """What one example adds: a one in its cell of the confusion matrix (K, K), flattened, and its loss in nats."""
    num_classes = len(log_probs)
    statistics = np.zeros(num_classes * num_classes + 1)
    statistics[label * num_classes + int(log_probs.argmax())] = 1.0
    statistics[-1] = -log_probs[label]
    return statistics


def confusion_matrix(totals: np.ndarray) -> np.ndarray:
    """The confusion matrix (K, K) in summed statistics: rows are true classes, columns predicted ones."""
    num_classes = round(float(np.sqrt(len(totals) - 1)))
    return np.asarray(totals[:-1]).reshape(num_classes, num_classes)


def recalls(matrix: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The share of each class's examples that were found, "recall NAME", of a confusion matrix (K, K).

    Classes without an example have none.
    """
    counts = matrix.sum(axis=1)
    return {f"recall {name}": float(matrix[k, k] / counts[k]) for k, name in enumerate(names) if counts[k]}


def classification_metrics(totals: np.ndarray) -> dict[str, float]:
    """Accuracy, macro F1 and mean loss (nats) from summed statistics.

    F1 of a class is 2 TP / (2 TP + FP + FN); the mean is over the classes that occur among labels or predictions.
    """
    matrix = confusion_matrix(totals)
    count = matrix.sum()
    if count == 0:
        raise ValueError("metrics of no example")
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    occurs = true + predicted > 0
    f1 = 2 * hits[occurs] / (true + predicted)[occurs]
    return {
        "accuracy": float(hits.sum() / count),
        "macro_f1": float(f1.mean()),
        "loss": float(totals[-1] / count),
    }
