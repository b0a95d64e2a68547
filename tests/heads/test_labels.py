"""Labels that fold into coarser answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.heads.labels import Labels, order_labels

FINE = ["awful", "bad", "so so", "good", "great"]
FOLD = {"awful": "negative", "bad": "negative", "good": "positive", "great": "positive"}


def test_without_folding_labels_are_the_answers() -> None:
    labels = Labels(FINE)
    log_probs = torch.randn(3, 5).log_softmax(dim=1)
    assert labels.answers == FINE
    assert torch.equal(labels.log_answers(log_probs), log_probs)
    assert [labels.answer_number(name) for name in FINE] == [0, 1, 2, 3, 4]
    assert labels.number("unheard of") == labels.answer_number("unheard of") == -1


def test_an_answer_has_the_probability_of_its_labels_among_those_with_an_answer() -> None:
    labels = Labels(FINE, FOLD)
    probabilities = np.array([0.1, 0.2, 0.4, 0.25, 0.05])
    folded = labels.log_answers(torch.from_numpy(probabilities).log()).exp().numpy()
    np.testing.assert_allclose(folded, [0.3 / 0.6, 0.3 / 0.6])
    assert labels.answers == ["negative", "positive"]


@pytest.mark.parametrize(
    ("name", "label", "answer"),
    [("awful", 0, 0), ("great", 4, 1), ("so so", 2, -1), ("positive", -1, 1), ("negative", -1, 0), ("other", -1, -1)],
)
def test_labels_and_answers_are_found_by_name(name: str, label: int, answer: int) -> None:
    labels = Labels(FINE, FOLD)
    assert (labels.number(name), labels.answer_number(name)) == (label, answer)


def test_order() -> None:
    assert order_labels(["b", "a"], None) == ["a", "b"]
    assert order_labels(["10", "9", "x"], None) == ["9", "10", "x"]
    assert order_labels(["negative", "positive"], {"1": "positive", "0": "negative"}) == ["positive", "negative"]
    assert order_labels(["negative"], {"1": "positive", "0": "negative"}) == ["negative"]
