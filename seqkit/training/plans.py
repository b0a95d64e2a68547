"""Which runs `--seeds` and `--folds` ask for: the record of them, and how it is made from a recipe and its data."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
from rich.console import Console

import seqkit
from seqkit.config import Config, resolve
from seqkit.data.config import DataConfig
from seqkit.data.splits import GroupError
from seqkit.errors import ConfigError, DataError, RecipeError
from seqkit.recipe import Recipe
from seqkit.registry import RecipeSource, load

FORMAT = 1
"""Version of trials.json; one of a newer format is refused."""
TRIALS = "trials.json"
"""The file in the parent folder that holds the plan."""
MAX_GROUPS = 100
"""Groups that --folds takes: more are rather a wrong column than a wish."""
_NAME_LENGTH = 40


class Trial(Config):
    """One of the runs."""

    folder: str = pydantic.Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")
    """Its folder in the parent folder."""
    seed: int
    """Its seed."""
    group: str | None = None
    """The group that it does not train on."""
    failed: str | None = None
    """Why it failed, where it did; such a run would fail again, and is left as it is."""


class RecipeRecord(Config):
    """Which recipe the runs are of, as in a run's run.json."""

    name: str
    """Its name."""
    version: int
    """Its version."""
    sha256: str
    """Hash of its code."""
    built_in: bool
    """Whether it comes with seqkit."""
    folder: str | None
    """Where it stood, where it does not."""


class Trials(Config):
    """What trials.json holds."""

    format: int = FORMAT
    """Version of the file."""
    recipe: RecipeRecord
    """The recipe."""
    preset: str
    """The preset's name."""
    overrides: list[str]
    """The settings as they were typed."""
    init_from: str | None
    """The run whose weights every run starts from."""
    environment: dict[str, str]
    """The version of seqkit that made the folder."""
    folds: str | None
    """The column whose groups are held out, one in each run."""
    config: dict[str, Any]
    """The whole configuration, before what tells the runs apart."""
    trials: list[Trial]
    """The runs, in the order in which they are trained."""

    def build(self, source: RecipeSource, trial: Trial) -> Recipe[Any]:
        """A fresh recipe for one run. Raises ConfigError where the recipe no longer knows a key."""
        changes: dict[str, dict[str, Any]] = {"training": {"seed": trial.seed}}
        if self.folds is not None:
            changes["data"] = {"held_out_column": self.folds, "held_out_value": trial.group}
        values = {**self.config, **{name: {**self.config.get(name, {}), **keys} for name, keys in changes.items()}}
        recipe_class = load(source)
        recipe: Recipe[Any] = recipe_class(resolve(recipe_class.config_type, values, source=TRIALS))
        return recipe


def plan(
    source: RecipeSource,
    recipe: Recipe[Any],
    *,
    preset: str,
    overrides: Sequence[str],
    seeds: int | None,
    folds: str | None,
    init_from: Path | None,
    console: Console,
) -> Trials:
    """Which runs there are to train; all of their data is looked at.

    Args:
        recipe: with the configuration that all runs share; its seed is the first one.
        seeds: how many seeds, each with every group.
        folds: the column of the training file whose groups are held out, in the order in which they first stand there.

    Raises:
        ConfigError: for a recipe or configuration that can hold no group out.
        DataError: for a column that is missing or that has too few or too many groups, for a group without which too
            little is left to train on, and for whatever else is wrong with the data.
    """
    trials = Trials(
        recipe=RecipeRecord(
            name=source.name,
            version=recipe.version,
            sha256=source.digest(),
            built_in=source.built_in,
            folder=None if source.built_in else str(source.folder),
        ),
        preset=preset,
        overrides=list(overrides),
        init_from=None if init_from is None else str(init_from),
        environment={"seqkit": seqkit.__version__},
        folds=folds,
        config=recipe.config.model_dump(mode="json"),
        trials=[],
    )
    first = recipe.config.training.seed
    numbers = [first + number for number in range(1 if seeds is None else seeds)]
    if folds is None:
        runs = [Trial(folder=f"seed-{seed}", seed=seed) for seed in numbers]
    else:
        groups = _groups(source, recipe, trials, folds, len(numbers), console)
        named = folder_names(groups)
        runs = [
            Trial(folder=f"fold-{named[group]}" + ("" if seeds is None else f"-seed-{seed}"), seed=seed, group=group)
            for group in groups
            for seed in numbers
        ]
    planned = trials.model_copy(update={"trials": runs})
    _check_data(source, planned, console)
    return planned


def _groups(
    source: RecipeSource, recipe: Recipe[Any], trials: Trials, column: str, seeds: int, console: Console
) -> list[str]:
    """The groups of the training file, by first appearance."""
    data = getattr(recipe.config, "data", None)
    if not isinstance(data, DataConfig):
        raise ConfigError(
            [f"--folds {column}: the recipe '{source.name}' has no data.held_out_column, so it can hold no group out."]
        )
    if data.held_out_column is not None:
        raise ConfigError([f"--folds {column} and data.held_out_column={data.held_out_column}: give one of them."])
    probe = trials.build(source, Trial(folder="probe", seed=0))
    try:
        with console.status("reading the groups"):
            probe.load_data()
    except GroupError as found:
        groups = list(found.groups)
    else:
        raise RecipeError(
            f"--folds {column}: the recipe '{source.name}' does not heed data.held_out_column.",
            hint="Read its data with seqkit.data.splits.load_splits.",
        )
    if len(groups) == 1:
        raise DataError(
            f"--folds {column}: every example has the {column} '{groups[0]}', so without it none is left.",
            hint="Name a column with two groups or more.",
        )
    if len(groups) > MAX_GROUPS:
        raise DataError(
            f"--folds {column}: {len(groups)} groups would be {len(groups) * seeds} runs; at most {MAX_GROUPS} groups "
            f"are trained at once.",
            hint=f"Name a column with fewer, or train single ones with data.held_out_column={column} "
            f"data.held_out_value=GROUP.",
        )
    unread = ""
    if data.test is not None:
        unread = f"; the test file {data.test} is not read"
    elif data.demo or data.hub is not None:
        unread = "; a test part that the data set has itself is not read"
    console.print(f"{len(groups)} groups in column {column}, each the test part of its runs{unread}", highlight=False)
    return groups


def _check_data(source: RecipeSource, trials: Trials, console: Console) -> None:
    """Read the data of each fold once (of seeds: once), so that what is wrong is said before anything is trained."""
    seen: set[str | None] = set()
    for trial in trials.trials:
        if trial.group in seen:
            continue
        seen.add(trial.group)
        try:
            with console.status("reading the data" + ("" if trial.group is None else f" without {trial.group}")):
                trials.build(source, trial).load_data()
        except DataError as error:
            if trial.group is None:
                raise
            message = f"--folds {trials.folds}, with the group '{trial.group}' held out: {error.message}"
            raise DataError(message, hint=error.hint) from error


def folder_names(groups: Sequence[str]) -> dict[str, str]:
    """A name for each group that every file system takes, and that no other group has.

    Letters, digits, dots, dashes and underscores stay. Where anything had to change, or where two groups differ in
    case alone, a few digits of the group's SHA-256 follow.
    """
    plain = {group: re.sub(r"[^\w.-]+", "_", group).strip(".")[:_NAME_LENGTH] for group in groups}
    taken = Counter(name.casefold() for name in plain.values())
    names = {}
    for group, name in plain.items():
        digits = hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        names[group] = name if name == group and taken[name.casefold()] == 1 else f"{name}-{digits}"
    return names
