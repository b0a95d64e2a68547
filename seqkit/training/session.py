"""From a command to a trained run: check everything first, claim the folder, train, and leave a whole run behind."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console

from seqkit.data.check import DataReport, describe
from seqkit.data.items import Items
from seqkit.data.splits import fingerprint
from seqkit.errors import ConfigError, DataError, InterruptedRun, RunError
from seqkit.evaluation import evaluate, result_record
from seqkit.lstm.layer import RecurrentLayer
from seqkit.recipe import Recipe
from seqkit.registry import RecipeSource
from seqkit.reporting.curves import save_curves
from seqkit.reporting.progress import counting
from seqkit.reporting.tables import data_table
from seqkit.runs.folder import Run
from seqkit.runs.load import load_recipe
from seqkit.storage import disk_errors, load_tensors, read_json, save_tensors, write_json
from seqkit.training.checkpoints import Checkpoints
from seqkit.training.log import MetricsLog, read_log
from seqkit.training.loop import Trainer
from seqkit.training.machine import build_accelerator, compute_settings, environment
from seqkit.training.progress import TrainingProgress
from seqkit.training.seeds import stream_seed


@dataclass(frozen=True)
class Prepared:
    """A recipe whose front-end is fitted, with the items of each split and the description of the data."""

    recipe: Recipe[Any]
    items: Mapping[str, Items]
    report: DataReport
    fingerprints: Mapping[str, str]


def prepare(recipe: Recipe[Any], console: Console, *, fitted: bool = False, init_from: Path | None = None) -> Prepared:
    """Load the data, fit the front-end (unless it is `fitted`), prepare every item, and check what came out.

    Raises DataError where training or validation would have nothing to work on.
    """
    with console.status("reading the data"):
        splits = recipe.load_data()
    if not fitted:
        with console.status("fitting the front-end"):
            recipe.fit(splits["train"], Run.open(init_from).frontend if init_from is not None else None)
    items: dict[str, Items] = {}
    for name, split in list(splits.items()):
        with counting(console, f"preparing {name}") as progress:
            items[name] = recipe.items(split, progress)
        splits[name] = replace(split, left_out={**split.left_out, **items[name].left_out})
    for name in ("train", "validation"):
        if name not in items or not len(items[name]):
            raise DataError(f"There is no example to use in the {name} split.", hint=_reasons(items.get(name)))
    report = describe(
        splits,
        {name: split_items.lengths for name, split_items in items.items()},
        key_column=recipe.key_column,
        label_column=recipe.label_column,
        unit=recipe.unit,
    )
    return Prepared(recipe, items, report, {name: fingerprint(split) for name, split in splits.items()})


def _reasons(items: Items | None) -> str:
    if items is None or not items.left_out:
        return "Look at the files that data.path and the split's name lead to."
    return "Left out: " + ", ".join(f"{count} ({reason})" for reason, count in items.left_out.items()) + "."


def train(
    source: RecipeSource,
    recipe: Recipe[Any],
    path: Path,
    *,
    preset: str,
    overwrite: bool,
    init_from: Path | None,
    console: Console,
) -> Run:
    """Train a recipe into a new run folder. Raises SeqkitError for whatever the user can mend."""
    Run.check_free(path, overwrite=overwrite)
    accelerator = build_accelerator(recipe.config.training)
    prepared = prepare(recipe, console, init_from=init_from)
    console.print(data_table(prepared.report))
    model = initial_model(recipe, init_from, console)
    check_metric(recipe, model, prepared.items["validation"])
    info = {
        "recipe": {
            "name": source.name,
            "version": recipe.version,
            "sha256": source.digest(),
            "built_in": source.built_in,
            "folder": None if source.built_in else str(source.folder),
        },
        "preset": preset,
        "seed": recipe.config.training.seed,
        "state": "training",
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "environment": environment(accelerator),
        "init_from": str(init_from) if init_from is not None else None,
    }
    run = Run.create(path, info, recipe.config, overwrite=overwrite)
    with run.lock():
        with disk_errors(run.frontend):
            recipe.save_frontend(run.frontend)
            shutil.copytree(source.folder, run.path / "recipe", ignore=shutil.ignore_patterns("__pycache__"))
        write_json(run.data, {**prepared.report.to_json(), "fingerprints": dict(prepared.fingerprints)})
        trainer = Trainer(recipe, model, prepared.items, accelerator, Checkpoints(run))
        # What a model starts from may have been fitted to the data, which a resume does not repeat: keep it.
        trainer.save()
        _train_and_finish(run, trainer, console)
    return run


def resume(path: Path, *, recipe_folder: str | None, console: Console) -> tuple[Run, Recipe[Any]]:
    """Go on with an interrupted run from its last checkpoint.

    Returns the run and its recipe. Raises RunError where it has finished, or where its data changed.
    """
    run = Run.open(path)
    if run.info.get("state") == "finished":
        raise RunError(f"{path} has finished training.", hint=f"Evaluate it: seqkit eval {path}")
    recipe = load_recipe(run, recipe_folder)
    accelerator = build_accelerator(recipe.config.training)
    with run.lock():
        prepared = prepare(recipe, console, fitted=True)
        _check_unchanged(run, prepared)
        trainer = Trainer(recipe, recipe.build_model(), prepared.items, accelerator, Checkpoints(run))
        if not trainer.restore():
            raise RunError(
                f"{path} was interrupted before its first checkpoint, so there is nothing to go on from.",
                hint=f"Start it again with --out {path} --overwrite.",
            )
        console.print(f"going on at epoch {trainer.position.epoch}, step {trainer.position.step}")
        _train_and_finish(run, trainer, console)
    return run, recipe


def _check_unchanged(run: Run, prepared: Prepared) -> None:
    """Raise RunError where the data that a run goes on with are not those that it was started with."""
    stored = read_json(run.data)
    recorded = stored.get("fingerprints") if isinstance(stored, dict) else None
    if not isinstance(recorded, dict):
        raise RunError(f"{run.data}: not the description of a run's data.", hint="The run is damaged.")
    changed = [name for name in ("train", "validation") if prepared.fingerprints.get(name) != recorded.get(name)]
    if changed:
        raise RunError(
            f"{run.path}: the {' and '.join(changed)} data changed since the run was started.",
            hint="Bring the old data back, or train a new run.",
        )


def _train_and_finish(run: Run, trainer: Trainer, console: Console) -> None:
    recipe, config = trainer.recipe, trainer.recipe.config.training
    with compute_settings(config), stop_signals() as stop:
        model = trainer.bare_model
        count = sum(parameter.numel() for parameter in model.parameters())
        device, threads = trainer.accelerator.device, torch.get_num_threads()
        console.print(f"{count:,} parameters, {device}, {threads} threads, {kernels(model)}")
        board = run.path / "tensorboard" if config.tensorboard else None
        progress = TrainingProgress(console, unit=recipe.unit, metric=trainer.metric, epochs=config.epochs)
        with MetricsLog(run.log, start=trainer.position.log_bytes, tensorboard=board) as log, progress:
            ended = trainer.train(log, progress, lambda: stop.number is not None)
        if not ended:
            assert stop.number is not None
            raise InterruptedRun(
                f"Interrupted at step {trainer.position.step}; the state is saved.",
                signal_number=stop.number,
                hint=f"Go on with: seqkit train --resume {run.path}",
            )
        finish(run, trainer, progress)


def initial_model(recipe: Recipe[Any], init_from: Path | None, console: Console) -> torch.nn.Module:
    """A model that is initialised from the run's seed, or where it can be from another run's weights."""
    torch.manual_seed(stream_seed(recipe.config.training.seed, "init"))
    model = recipe.build_model()
    if init_from is not None:
        taken, left = warm_start(model, load_tensors(Run.open(init_from).weights))
        console.print(f"from {init_from}: took {', '.join(taken) or 'nothing'}")
        console.print(f"left as initialised: {', '.join(left) or 'nothing'}")
    return model


def check_metric(recipe: Recipe[Any], model: torch.nn.Module, items: Items) -> None:
    """Raise ConfigError where training.metric is none of the metrics that the recipe measures."""
    wanted = recipe.config.training.metric
    if wanted is None:
        return
    measured = evaluate(recipe, [model], items.first(1), device=torch.device("cpu")).metrics()
    if wanted not in measured:
        raise ConfigError([f"training.metric={wanted}: this recipe measures {', '.join(measured)}."])


def warm_start(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> tuple[list[str], list[str]]:
    """Copy the weights that agree in name and shape; returns the model's names that were taken and that were left."""
    state = model.state_dict()
    taken = [name for name, tensor in state.items() if name in weights and weights[name].shape == tensor.shape]
    model.load_state_dict({name: weights[name] for name in taken}, strict=False)
    return taken, [name for name in state if name not in taken]


def finish(run: Run, trainer: Trainer, progress: TrainingProgress) -> None:
    """Choose the weights, fit what comes after training, evaluate on validation, and draw the pictures."""
    recipe = trainer.recipe
    trainer.bare_model.load_state_dict(trainer.checkpoints.average(trainer.position))
    recipe.calibrate(trainer.bare_model, trainer.items)
    if recipe.calibration:
        write_json(run.path / "calibration.json", recipe.calibration)
    began = time.perf_counter()
    device = trainer.accelerator.device
    evaluation = evaluate(recipe, [trainer.bare_model], trainer.items["validation"], device=device)
    record = result_record(str(run.path), "validation", evaluation, time.perf_counter() - began)
    run.record_result("validation", dict(record))
    with disk_errors(run.plots):
        recipe.report(evaluation.outcomes, run.plots, "validation")
        save_curves(read_log(run.log), run.plots / "curves.png", metric=trainer.metric)
    save_tensors(run.weights, trainer.bare_model.state_dict())
    run.save(
        state="finished",
        steps=trainer.position.step,
        skipped_batches=trainer.position.skipped,
        training_seconds=round(progress.seconds, 1),
        training_rate=round(progress.rate, 1),
    )


def kernels(model: torch.nn.Module) -> str:
    """What computes the model's LSTM layers, for the log."""
    found = {layer.describe() for layer in model.modules() if isinstance(layer, RecurrentLayer)}
    return f"kernel {', '.join(sorted(found))}" if found else "no recurrent layer"


@dataclass
class StopRequest:
    """The signal that asked for a stop, once one did."""

    number: int | None = None


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request to stop after the current step; a second one takes effect at once."""
    request = StopRequest()

    def handle(number: int, _: FrameType | None) -> None:
        request.number = number
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in before:
        signal.signal(name, handle)
    try:
        yield request
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
