"""The labels of a classifier: those it is trained on, and the coarser ones that it may answer in.

A treebank of five shades of sentiment trains a better judge of two than the two alone do. So labels may be folded:
the answer's probability is the sum of its labels' probabilities, over the labels that have an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Labels:
    """K labels in the order of the classifier's outputs, and A answers; without folding the two are the same."""

    names: Sequence[str]
    fold: Mapping[str, str] | None = None
    """Label -> answer; a label that is not here has no answer."""

    @property
    def answers(self) -> list[str]:
        """The answers, in the order of their first label."""
        if self.fold is None:
            return list(self.names)
        return list(dict.fromkeys(self.fold[name] for name in self.names if name in self.fold))

    def number(self, name: str) -> int:
        """A label's number, or -1 for one that was not seen in training."""
        return self.names.index(name) if name in self.names else -1

    def answer_number(self, name: str) -> int:
        """The number of an answer, or of a label's answer; -1 for what has none."""
        answer = name if self.fold is None else self.fold.get(name, name)
        return self.answers.index(answer) if answer in self.answers else -1

    def log_answers(self, log_probs: Tensor) -> Tensor:
        """Log-probabilities of the answers (..., A) from those of the labels (..., K)."""
        if self.fold is None:
            return log_probs
        members = [[k for k, name in enumerate(self.names) if self.fold.get(name) == answer] for answer in self.answers]
        folded = torch.stack([log_probs[..., rows].logsumexp(dim=-1) for rows in members], dim=-1)
        return folded.log_softmax(dim=-1)

    def to_json(self) -> dict[str, object]:
        """What a run keeps."""
        return {"labels": list(self.names), "fold": None if self.fold is None else dict(self.fold)}


def order_labels(found: Sequence[str], wanted: Mapping[str, str] | None) -> list[str]:
    """Labels in the order in which a configuration names them, else sorted: numbers by value, the rest as text."""
    order = list(dict.fromkeys((wanted or {}).values()))
    if set(found) <= set(order):
        return [label for label in order if label in set(found)]
    return sorted(set(found), key=lambda label: (0, float(label), "") if _is_number(label) else (1, 0.0, label))


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
