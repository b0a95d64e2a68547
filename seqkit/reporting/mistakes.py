"""The most mistaken examples of a classifier: where to look first, in the data or in the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from seqkit.storage import write_bytes

_LONGEST_TEXT = 500


class LabelledOutcome(Protocol):
    """An evaluated example: its item has an `answer` number and a `text`, its prediction is log-probabilities."""

    @property
    def place(self) -> str: ...  # noqa: D102

    @property
    def item(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def prediction(self) -> np.ndarray: ...  # noqa: D102


Judged = TypeVar("Judged", bound=LabelledOutcome)


def mistakes(outcomes: Sequence[Judged]) -> list[Judged]:
    """The outcomes whose answer is wrong, the most confident first: those whose own label had the least probability."""
    wrong = [outcome for outcome in outcomes if int(outcome.prediction.argmax()) != outcome.item["answer"]]
    return sorted(wrong, key=lambda outcome: float(outcome.prediction[outcome.item["answer"]]))


def save_mistakes(outcomes: Sequence[LabelledOutcome], labels: Sequence[str], path: Path, *, most: int = 100) -> Path:
    """Write the wrong answers as TSV, the most confident first: place, true and predicted label, both probabilities."""
    lines = ["place\tlabel\tpredicted\tp_label\tp_predicted\ttext"]
    for outcome in mistakes(outcomes)[:most]:
        true, predicted = outcome.item["answer"], int(outcome.prediction.argmax())
        text = " ".join(outcome.item["text"].split())[:_LONGEST_TEXT]
        probabilities = np.exp(outcome.prediction[[true, predicted]])
        lines.append(
            f"{outcome.place}\t{labels[true]}\t{labels[predicted]}\t{probabilities[0]:.4f}\t{probabilities[1]:.4f}\t{text}"
        )
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return path
