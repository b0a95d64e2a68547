"""Several ordinary runs in one parent folder: the same settings with other seeds, or with one group held out each.

trials.json     format, recipe, preset, settings, and the runs: all that is needed to go on
summary.json    the metrics of each run, and their mean and spread; written anew after each run
summary.png     the same as a picture
NAME/           a run folder like any other: seed-0, seed-1, ... or fold-VALUE, or fold-VALUE-seed-0

Runs that differ in the seed alone are compared on the validation part, so that the test part stays unseen. A run
that does not train on a group has that group as its test part, and is measured on it.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic
from rich.console import Console

from seqkit.decoding import load_run
from seqkit.errors import DivergenceError, InterruptedRun, RunError, SeqkitError
from seqkit.evaluation import evaluate, result_record
from seqkit.registry import RecipeSource
from seqkit.reporting.progress import counting
from seqkit.reporting.summary import RunFigures, Summary, save_summary
from seqkit.runs.folder import Run
from seqkit.runs.load import recipe_source
from seqkit.storage import disk_errors, read_json, write_json
from seqkit.training.checkpoints import Checkpoints
from seqkit.training.plans import FORMAT, TRIALS, Trial, Trials
from seqkit.training.session import resume as resume_run
from seqkit.training.session import train as train_run

# Training ------------------------------------------------------------------------------------------------------------


def check_free(parent: Path, *, overwrite: bool = False) -> None:
    """Raise RunError where a parent folder cannot be made: asked before any long work is begun."""
    if not parent.exists() or (parent.is_dir() and not any(parent.iterdir())):
        return
    if not overwrite:
        raise RunError(
            f"{parent} exists already, and nothing is overwritten unasked.",
            hint="Give another --out, resume it with 'seqkit train --resume', or add --overwrite.",
        )
    if not (parent / TRIALS).is_file():
        raise RunError(
            f"{parent} is not a folder of --seeds or --folds (it has no {TRIALS}), so --overwrite does not remove it.",
            hint="Give another --out.",
        )


def train_trials(source: RecipeSource, trials: Trials, parent: Path, *, overwrite: bool, console: Console) -> Summary:
    """Train every run into a new parent folder. A run that diverges is noted, and the others go on.

    Raises SeqkitError for whatever the user can mend; where no run was begun by then, no folder is left.
    """
    check_free(parent, overwrite=overwrite)
    with disk_errors(parent):
        if parent.exists():
            shutil.rmtree(parent)
        parent.mkdir(parents=True)
    try:
        write_json(parent / TRIALS, trials.model_dump(mode="json"))
        return _train_all(source, trials, parent, console)
    finally:
        if not _begun(trials, parent):
            shutil.rmtree(parent, ignore_errors=True)


def resume_trials(parent: Path, *, recipe_folder: str | None, console: Console) -> tuple[RecipeSource, Summary]:
    """Go on in a parent folder: with what was interrupted from its checkpoint, with what is missing from the start.

    Raises RunError where its trials.json is damaged, and what `train_trials` raises.
    """
    trials = read_trials(parent)
    source = recipe_source(Run(parent, trials.model_dump()), recipe_folder)
    return source, _train_all(source, trials, parent, console)


def read_trials(parent: Path) -> Trials:
    """A parent folder's trials.json. Raises RunError where it is damaged or of a newer format."""
    path = parent / TRIALS
    stored = read_json(path)
    version = stored.get("format") if isinstance(stored, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise RunError(f"{path} has format {version}; this seqkit reads up to {FORMAT}.", hint="Upgrade seqkit.")
    try:
        return Trials.model_validate(stored)
    except pydantic.ValidationError as error:
        raise RunError(f"{path}: not the description of trials.", hint="The folder is damaged.") from error


def _train_all(source: RecipeSource, trials: Trials, parent: Path, console: Console) -> Summary:
    # The lock of a run serves its parent too: nothing but the path is needed.
    with Run(parent, {}).lock(), _resumable(source, trials, parent, console):
        for number, trial in enumerate(trials.trials, start=1):
            what = f"run {number} of {len(trials.trials)}: {trial.folder}"
            if trial.failed is not None:
                console.print(f"\n{what} failed before, and would again", style="bold", highlight=False)
                continue
            try:
                _train_one(source, trials, trial, parent, what, console)
            except DivergenceError as error:
                console.print(f"{trial.folder} failed: {error}", style="red", highlight=False, soft_wrap=True)
                failed = trial.model_copy(update={"failed": error.message})
                trials = trials.model_copy(update={"trials": [failed if t is trial else t for t in trials.trials]})
                write_json(parent / TRIALS, trials.model_dump(mode="json"))
            summary = summarise(trials, parent)
            write_json(parent / "summary.json", summary.to_json())
            save_summary(summary, parent / "summary.png")
    return summarise(trials, parent)


def _begun(trials: Trials, parent: Path) -> bool:
    """Whether there is a run to keep."""
    return any((parent / trial.folder / "run.json").is_file() for trial in trials.trials)


@contextmanager
def _resumable(source: RecipeSource, trials: Trials, parent: Path, console: Console) -> Iterator[None]:
    """An error or interrupt of the body says how to go on with all runs, not with the one that was cut."""
    own = "" if source.built_in else f" --recipe {shlex.quote(str(source.folder))}"
    hint = f"Go on with: seqkit train --resume {shlex.quote(str(parent))}{own}"
    try:
        yield
    except InterruptedRun as error:
        raise InterruptedRun(error.message, signal_number=error.exit_code - 128, hint=hint) from error
    except KeyboardInterrupt as error:  # between two trainings, or a second one within a step
        if not _begun(trials, parent):
            raise
        message = "Interrupted; what was trained up to the last checkpoint is kept."
        raise InterruptedRun(message, signal_number=signal.SIGINT, hint=hint) from error
    except SeqkitError:
        if _begun(trials, parent):
            console.print(f"What was trained is kept. When this is mended: {hint}", highlight=False, soft_wrap=True)
        raise


def _train_one(source: RecipeSource, trials: Trials, trial: Trial, parent: Path, what: str, console: Console) -> None:
    """Bring one run to its end, wherever it stands; measure it on the group that it did not see."""
    path = parent / trial.folder
    folder = None if source.built_in else str(source.folder)
    begun = (path / "run.json").is_file()
    if begun and Run.open(path).info["state"] == "finished":
        console.print(f"\n{what} is trained", style="bold", highlight=False)
    elif begun and Checkpoints(Run.open(path)):
        console.print(f"\n{what} goes on", style="bold", highlight=False)
        resume_run(path, recipe_folder=folder, console=console)
    else:
        console.print(f"\n{what}", style="bold", highlight=False)
        recipe = trials.build(source, trial)
        init_from = None if trials.init_from is None else Path(trials.init_from)
        # A run without a checkpoint holds nothing yet.
        train_run(source, recipe, path, preset=trials.preset, overwrite=begun, init_from=init_from, console=console)
    if trial.group is not None and "test" not in _results(path):
        _measure(path, folder, console)


def _measure(path: Path, recipe_folder: str | None, console: Console) -> None:
    """What `seqkit eval` does with the test part, which is the group that was held out."""
    run = Run.open(path)
    loaded = load_run(path, recipe=recipe_folder)
    examples = loaded.recipe.load_data()["test"]
    items = loaded.recipe.items(examples)
    for reason, count in [*examples.left_out.items(), *items.left_out.items()]:
        console.print(f"left out: {count} ({reason})", highlight=False)
    began = time.perf_counter()
    with counting(console, f"evaluating {examples.origin}") as progress:
        evaluation = evaluate(loaded.recipe, loaded.models, items, device=loaded.device, progress=progress)
    with disk_errors(run.plots):
        loaded.recipe.report(evaluation.outcomes, run.plots, "test")
    seconds = time.perf_counter() - began
    run.record_result("test", result_record(str(path), "test", evaluation, seconds, loaded.recipe.signatures()))


# The summary ---------------------------------------------------------------------------------------------------------


def summarise(trials: Trials, parent: Path) -> Summary:
    """The metrics of each run that is done: of the held-out groups, or where only seeds differ of validation."""
    split = "validation" if trials.folds is None else "test"
    runs = []
    for trial in trials.trials:
        # A run that was trained and measured stands for itself; what has no result yet has no figure.
        result = _results(parent / trial.folder).get(split) if trial.failed is None else None
        figures = {} if result is None else {"examples": result["examples"], "metrics": result["metrics"]}
        trained = _finished(parent / trial.folder)
        runs.append(RunFigures(trial.folder, trial.seed, trial.group, trained=trained, failed=trial.failed, **figures))
    return Summary(split, runs)


def _finished(path: Path) -> bool:
    return (path / "run.json").is_file() and Run.open(path).info["state"] == "finished"


def _results(path: Path) -> dict[str, Any]:
    """What a run was measured on; nothing where it is not finished, or has no validation part."""
    if not _finished(path) or not (path / "results.json").exists():
        return {}
    stored = read_json(path / "results.json")
    if not isinstance(stored, dict):
        raise RunError(f"{path / 'results.json'}: not the results of a run.", hint="The run is damaged.")
    return stored
