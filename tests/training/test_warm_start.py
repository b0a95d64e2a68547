"""Starting from another run's weights: what fits is taken, what does not is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from seqkit.errors import RunError
from seqkit.runs.folder import Run
from seqkit.storage import load_tensors, save_tensors
from seqkit.training.warm_start import warm_start

TrainToy = Callable[..., Run]


def test_what_fits_is_taken_and_the_rest_is_named() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 4), torch.nn.LayerNorm(4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = {"0.weight": torch.ones(2, 3), "0.bias": torch.ones(3), "foreign": torch.ones(1), "2.bias": torch.ones(4)}
    taken, left = warm_start(model, weights)
    assert taken == ["0.weight", "2.bias"]
    assert left == {
        "0.bias": "((2,) here, (3,) there)",
        "1.weight": "(not there)",
        "1.bias": "(not there)",
        "2.weight": "(not there)",
    }
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name] if name in taken else before[name])


def test_training_starts_from_the_weights(train_toy: TrainToy) -> None:
    first = train_toy("first")
    second = train_toy("second", {"training.epochs": "1", "training.learning_rate": "1e-12"}, init_from=first.path)
    for name, tensor in load_tensors(second.weights).items():
        torch.testing.assert_close(tensor, load_tensors(first.weights)[name])


def test_a_run_of_which_nothing_fits_is_refused(train_toy: TrainToy) -> None:
    first = train_toy("first")
    save_tensors(first.weights, {"1.weight": torch.ones(7, 7)})
    with pytest.raises(RunError, match=r"1\.weight \(\(1, 4\) here, \(7, 7\) there\); 1\.bias \(not there\)"):
        train_toy("second", init_from=first.path)
    assert not (first.path.parent / "second").exists()
