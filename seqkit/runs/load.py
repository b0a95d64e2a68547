"""From a run folder to a recipe with its fitted front-end and trained model; no code of the run is executed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkit.config import read_yaml, resolve
from seqkit.errors import RecipeError, RunError
from seqkit.recipe import Recipe
from seqkit.registry import RecipeSource, built_in, find, load
from seqkit.runs.folder import Run
from seqkit.storage import load_tensors, read_json

if TYPE_CHECKING:
    import torch
    from torch import nn


def recipe_source(run: Run, recipe_folder: str | None = None) -> RecipeSource:
    """The recipe that a run was trained with: the installed one, or the folder that the user names.

    A run of the user's own recipe keeps a copy of the code for the record, but only a folder named here is run. Raises
    RecipeError where the recipe is missing or of another version.
    """
    recorded = run.info["recipe"]
    if recipe_folder is not None:
        source, _ = find(recipe_folder if Path(recipe_folder).is_absolute() else f"./{recipe_folder}")
        if source.digest() != recorded["sha256"]:
            warnings.warn(f"{source.code} is not the code that trained {run.path}; it changed since.", stacklevel=2)
    elif recorded["built_in"]:
        recipes = built_in()
        if recorded["name"] not in recipes:
            raise RecipeError(
                f"{run.path} was trained with the recipe '{recorded['name']}', which this seqkit does not have.",
                hint=f"It was trained with seqkit {run.info.get('environment', {}).get('seqkit', '?')}.",
            )
        source = recipes[recorded["name"]]
    else:
        raise RecipeError(
            f"{run.path} was trained with a recipe of your own, '{recorded['name']}', whose code is run only when you "
            f"name its folder.",
            hint=f"Add --recipe DIR; it stood in {recorded['folder']}.",
        )
    version = load(source).version
    if version != recorded["version"]:
        raise RecipeError(
            f"{run.path} was trained with version {recorded['version']} of the recipe '{recorded['name']}'; here it is "
            f"version {version}.",
            hint="Train again, or install the seqkit that it was trained with.",
        )
    return source


def load_recipe(run: Run, recipe_folder: str | None = None) -> Recipe[Any]:
    """The run's recipe with its stored configuration, front-end and calibration. Raises RunError or RecipeError."""
    recipe_class = load(recipe_source(run, recipe_folder))
    config = resolve(recipe_class.config_type, read_yaml(run.config_path), source=str(run.config_path))
    recipe: Recipe[Any] = recipe_class(config)
    try:
        recipe.load_frontend(run.frontend)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run.frontend}: the front-end cannot be read: {error}.", hint="The run is damaged.") from error
    calibration = run.path / "calibration.json"
    if calibration.is_file():
        recipe.calibration = read_json(calibration)
    return recipe


def load_model(run: Run, recipe: Recipe[Any], device: torch.device) -> nn.Module:
    """The run's model with its chosen weights, in eval mode. Raises RunError where the weights do not fit."""
    if not run.weights.is_file():
        raise RunError(
            f"{run.path} has no weights yet: its training has not ended.",
            hint=f"Go on with 'seqkit train --resume {run.path}'.",
        )
    model = recipe.build_model()
    fill_model(model, load_tensors(run.weights), run.weights)
    return model.to(device).eval()


def fill_model(model: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Load weights by name; the first that is missing, foreign or of another shape is a RunError that names it."""
    expected = model.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            problem = f"the weight '{name}' is missing"
        elif name not in expected:
            problem = f"the weight '{name}' belongs to another model"
        elif weights[name].shape != expected[name].shape:
            shapes = f"{tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
            problem = f"the weight '{name}' has shape {shapes}"
        else:
            continue
        raise RunError(f"{path}: does not fit this run's model: {problem}.", hint="The file comes from another run.")
    model.load_state_dict(weights)
