"""What a model starts from: weights drawn by the run's seed, or those of another run where they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from seqkit.errors import RunError
from seqkit.recipe import Recipe
from seqkit.runs.folder import Run
from seqkit.storage import load_tensors
from seqkit.training.seeds import stream_seed


def initial_model(recipe: Recipe[Any], init_from: Path | None, console: Console) -> torch.nn.Module:
    """A model initialised from the run's seed, and from another run's weights where there are some that fit.

    What was taken and what was left is said on the console. Raises RunError where nothing fits.
    """
    torch.manual_seed(stream_seed(recipe.config.training.seed, "init"))
    model = recipe.build_model()
    if init_from is None:
        return model
    taken, left = warm_start(model, load_tensors(Run.open(init_from).weights))
    reasons = "; ".join(f"{name} {why}" for name, why in left.items())
    if not taken:
        raise RunError(
            f"{init_from}: no weight of it fits this model: {reasons}.",
            hint="Give this model the sizes that the run's config.yaml shows, or start without --init-from.",
        )
    console.print(f"from {init_from}: took the front-end and {', '.join(taken)}", highlight=False, soft_wrap=True)
    console.print(f"left as initialised: {reasons or 'nothing'}", highlight=False, soft_wrap=True)
    return model


def warm_start(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> tuple[list[str], dict[str, str]]:
    """Copy the weights that agree in name and shape.

    Returns the model's names that were taken, and those that were left with the reason.
    """
    state = model.state_dict()
    left: dict[str, str] = {}
    for name, tensor in state.items():
        if name not in weights:
            left[name] = "(not there)"
        elif weights[name].shape != tensor.shape:
            left[name] = f"({tuple(tensor.shape)} here, {tuple(weights[name].shape)} there)"
    taken = [name for name in state if name not in left]
    model.load_state_dict({name: weights[name] for name in taken}, strict=False)
    return taken, left
