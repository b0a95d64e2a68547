"""From a command to a trained run: check everything first, claim the folder, train, and leave a whole run behind."""

from __future__ import annotations

import glob
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from seqkit.data.check import DataReport, describe
from seqkit.data.items import Items
from seqkit.data.splits import Split, fingerprint
from seqkit.errors import ConfigError, DataError, InterruptedRun, RunError
from seqkit.evaluation import evaluate, result_record
from seqkit.lstm.layer import RecurrentLayer
from seqkit.recipe import Recipe
from seqkit.registry import RecipeSource
from seqkit.reporting.curves import save_curves
from seqkit.reporting.progress import counting
from seqkit.reporting.tables import data_table
from seqkit.runs.folder import Run, free_name
from seqkit.runs.load import load_recipe
from seqkit.storage import disk_errors, read_json, remove_leftovers, save_tensors, write_json
from seqkit.training.checkpoints import Checkpoints
from seqkit.training.log import MetricsLog, read_log
from seqkit.training.loop import Trainer
from seqkit.training.machine import build_accelerator, compute_settings, environment, other_bits, processes_here
from seqkit.training.processes import current, fit_once, restarted
from seqkit.training.progress import TrainingProgress
from seqkit.training.stopping import agreed_signal, stop_signals
from seqkit.training.warm_start import initial_model


@dataclass(frozen=True)
class Prepared:
    """A recipe whose front-end is fitted, with the items of each split and the description of the data."""

    recipe: Recipe[Any]
    items: Mapping[str, Items]
    report: DataReport
    fingerprints: Mapping[str, str]


def prepare(
    recipe: Recipe[Any], console: Console, *, resumed: Run | None = None, init_from: Path | None = None
) -> Prepared:
    """Load the data, fit the front-end, prepare every item, and check what came out.

    The front-end of a run that is `resumed` is fitted, and its data must be the same as then. Raises DataError where
    training or validation would have nothing to work on, RunError where the data changed.
    """
    with console.status("reading the data"):
        splits = recipe.load_data()
    fingerprints = {name: fingerprint(split) for name, split in splits.items()}
    if resumed is not None:
        _check_unchanged(resumed, splits, fingerprints)
    else:
        first = current().from_first(lambda: fingerprints)
        if first != fingerprints:
            raise DataError("Not every process found the same data.", hint="Every machine needs a whole copy of them.")
        with console.status("fitting the front-end"):
            inherit = Run.open(init_from).frontend if init_from is not None and current().first else None
            fit_once(recipe, lambda: recipe.fit(splits["train"], inherit))
    if not current().first:  # the first process evaluates
        splits = {"train": splits["train"]}
    items: dict[str, Items] = {}
    for name, split in list(splits.items()):
        with counting(console, f"preparing {name}") as progress:
            items[name] = recipe.items(split, progress)
        splits[name] = replace(split, left_out={**split.left_out, **items[name].left_out})
    last = recipe.config.training.choose == "last"
    for name in ("train", "validation") if current().first else ("train",):
        if name in items or not (last and name == "validation"):
            _check_some(name, items.get(name))
    report = describe(
        splits,
        {name: split_items.lengths for name, split_items in items.items()},
        key_column=recipe.key_column,
        label_column=recipe.label_column,
        unit=recipe.unit,
        broken=[sentence for split_items in items.values() for sentence in split_items.broken],
        damaged=[sentence for split_items in items.values() for sentence in split_items.damaged],
    )
    return Prepared(recipe, items, report, fingerprints)


def _check_some(name: str, items: Items | None) -> None:
    """Raise DataError for a split that is not there, or has no example to use."""
    if items is None or not len(items):
        raise DataError(f"There is no example to use in the {name} split.", hint=_reasons(name, items))


def _reasons(name: str, items: Items | None) -> str:
    if items is None and name == "validation":
        return "Give such a part, or train to the end without one: training.choose=last."
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
    """Train a recipe into a new run folder. Raises SeqkitError for whatever the user can mend.

    Where a launcher started the processes anew, they go on with the run that those before them made.
    """
    processes = current()
    begun = processes.from_first(lambda: _begun(path, processes.launch) if restarted() else None)
    if begun == "finished":
        return Run.open(path)
    if begun == "resumable":
        return resume(path, recipe_folder=None if source.built_in else str(source.folder), console=console)[0]
    overwrite = overwrite or begun is not None
    if processes.first:
        Run.check_free(path, overwrite=overwrite)
    accelerator = build_accelerator(recipe.config.training)
    prepared = prepare(recipe, console, init_from=init_from)
    console.print(data_table(prepared.report))
    model = initial_model(recipe, init_from if processes.first else None, console)
    if processes.first:
        check_metric(recipe, model, prepared.items.get("validation", prepared.items["train"]))
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
        "environment": environment(accelerator, recipe.config.training),
        "init_from": str(init_from) if init_from is not None else None,
        **({"launch": processes.launch} if processes.launch is not None else {}),
    }
    run = Run.create(path, info, recipe.config, overwrite=overwrite) if processes.first else Run(path, info)
    with _held(run):
        if processes.first:
            with disk_errors(run.frontend):
                recipe.save_frontend(run.frontend)
                shutil.copytree(source.folder, run.path / "recipe", ignore=shutil.ignore_patterns("__pycache__"))
            write_json(run.data, {**prepared.report.to_json(), "fingerprints": dict(prepared.fingerprints)})
        trainer = Trainer(recipe, model, prepared.items, accelerator, Checkpoints(run))
        # What a model starts from may have been fitted to the data, which a resume does not repeat: keep it.
        trainer.save()
        _train_and_finish(run, trainer, console)
    return run


def _held(run: Run) -> AbstractContextManager[None]:
    """The run's lock, which the first of several processes holds for all."""
    return run.lock() if current().first else nullcontext()


def _begun(path: Path, launch: str | None) -> Literal["empty", "resumable", "finished"] | None:
    """How far the run is that this launch made at `path` before its processes were started anew, where it did."""
    if launch is None or not (path / "run.json").is_file():
        return None
    run = Run.open(path)
    if run.info.get("launch") != launch:
        return None
    if run.info["state"] == "finished":
        return "finished"
    return "resumable" if Checkpoints(run) else "empty"


def free_path(base: Path) -> Path:
    """`base`, numbered where it is taken; in restarted processes the run that this launch made before."""
    launch = current().launch

    def find() -> Path:
        made = base.parent.glob(f"{glob.escape(base.name)}*") if restarted() else ()
        return next((path for path in made if _begun(path, launch) is not None), free_name(base))

    return current().from_first(find)


def resume(path: Path, *, recipe_folder: str | None, console: Console) -> tuple[Run, Recipe[Any]]:
    """Go on with an interrupted run from its last checkpoint; one that was killed while it was finished is finished.

    Returns the run and its recipe. Raises RunError where it has finished, has no whole checkpoint, or where its data
    changed; warns where the machine did.
    """
    first = current().first
    with _held(Run.open(path)):
        run = Run.open(path)  # as it is now that no other process writes to it
        if run.info.get("state") == "finished":
            raise RunError(f"{path} has finished training.", hint=f"Evaluate it: seqkit eval {path}")
        checkpoints = Checkpoints(run)
        if not checkpoints:
            raise RunError(
                f"{path} was interrupted before its first checkpoint, so there is nothing to go on from.",
                hint=f"Start it again with --out {path} --overwrite.",
            )
        recipe = load_recipe(run, recipe_folder)
        accelerator = build_accelerator(recipe.config.training)
        if first:
            _compare_machine(run, environment(accelerator, recipe.config.training), console)
        prepared = prepare(recipe, console, resumed=run)
        trainer = Trainer(recipe, recipe.build_model(), prepared.items, accelerator, checkpoints)
        trainer.restore()
        if first:
            _check_log(run, trainer.position.log_bytes)
            remove_leftovers(run.path)
        console.print(f"going on at epoch {trainer.position.epoch}, step {trainer.position.step}")
        _train_and_finish(run, trainer, console)
    return run, recipe


def _compare_machine(run: Run, now: dict[str, Any], console: Console) -> None:
    """Say, and keep in run.json, where a run goes on with another torch, processor, device or number of threads."""
    changes = other_bits(run.info.get("environment") or {}, now)
    if changes:
        console.print(
            f"warning: the run was started elsewhere ({'; '.join(changes)}), so its result may differ in the last bits "
            "from that of an uninterrupted run.",
            highlight=False,
            soft_wrap=True,
        )
        run.save(resumed_with=[*run.info.get("resumed_with", []), now])


def _check_unchanged(run: Run, splits: Mapping[str, Split], fingerprints: Mapping[str, str]) -> None:
    """Raise RunError where the data that a run goes on with are not those that it was started with."""
    stored = read_json(run.data)
    recorded = stored.get("fingerprints") if isinstance(stored, dict) else None
    if not isinstance(recorded, dict):
        raise RunError(f"{run.data}: not the description of a run's data.", hint="The run is damaged.")
    changed = [name for name in ("train", "validation") if fingerprints.get(name) != recorded.get(name)]
    if changed:
        places = [splits[name].origin for name in changed if name in splits]
        raise RunError(
            f"{run.path}: the {' and '.join(changed)} data changed since the run was started"
            f"{': ' if places else ''}{'; '.join(dict.fromkeys(places))}.",
            hint="Bring the old data back to go on, or train a new run.",
        )


def _check_log(run: Run, length: int) -> None:
    """Raise RunError where the metrics log lacks lines that a checkpoint counts on."""
    there = run.log.stat().st_size if run.log.exists() else 0
    if there < length:
        raise RunError(
            f"{run.log}: {there} bytes of the {length} that the checkpoint counts on.",
            hint=f"The run is damaged: take a copy of it, or start it again with --out {run.path} --overwrite.",
        )


def _train_and_finish(run: Run, trainer: Trainer, console: Console) -> None:
    recipe, config, processes = trainer.recipe, trainer.recipe.config.training, trainer.processes
    with compute_settings(config), stop_signals() as stop:
        model = trainer.bare_model
        count = sum(parameter.numel() for parameter in model.parameters())
        device, threads = trainer.accelerator.device, f"{torch.get_num_threads()} threads"
        several = f"{processes.count} processes of {threads}" if processes.count > 1 else threads
        console.print(f"{count:,} parameters, {device}, {several}, {kernels(model)}")
        board = run.path / "tensorboard" if config.tensorboard else None
        progress = TrainingProgress(console, unit=recipe.unit, metric=trainer.metric, epochs=config.epochs)
        start = trainer.position.log_bytes
        opened = MetricsLog(run.log, start=start, tensorboard=board) if processes.first else nullcontext()
        with opened as log, progress:
            ended = trainer.train(log, progress, lambda: stop.number is not None)
        if not ended:
            launcher = f"torchrun --nproc_per_node {processes_here()} -m " if processes.count > 1 else ""
            raise InterruptedRun(
                f"Interrupted at step {trainer.position.step}; the state is saved.",
                signal_number=agreed_signal(stop, processes),
                hint=f"Go on with: {launcher}seqkit train --resume {run.path}",
            )
        if trainer.clock.share is not None:
            waited = f"{trainer.clock.share:.1%} of the time of training was waiting for data"
            console.print(waited, style="dim", highlight=False)
        if processes.first:
            finish(run, trainer, progress)
        processes.from_first(lambda: None)  # nobody goes on before the run is whole


def check_metric(recipe: Recipe[Any], model: torch.nn.Module, items: Items) -> None:
    """Raise ConfigError where training.metric is none of the metrics that the recipe measures."""
    wanted = recipe.config.training.metric
    if wanted is None:
        return
    measured = evaluate(recipe, [model], items.first(1), device=torch.device("cpu")).metrics()
    if wanted not in measured:
        raise ConfigError([f"training.metric={wanted}: this recipe measures {', '.join(measured)}."])


def finish(run: Run, trainer: Trainer, progress: TrainingProgress) -> None:
    """Choose the weights, fit what comes after training, evaluate on validation if there is one, draw the pictures."""
    recipe = trainer.recipe
    trainer.bare_model.load_state_dict(trainer.checkpoints.average(trainer.position))
    recipe.calibrate(trainer.bare_model, trainer.items)
    if recipe.calibration:
        write_json(run.path / "calibration.json", recipe.calibration)
    if trainer.measured:
        _validate(run, trainer)
    with disk_errors(run.plots):
        save_curves(read_log(run.log), run.plots / "curves.png", metric=trainer.metric)
    save_tensors(run.weights, trainer.bare_model.state_dict())
    run.save(
        state="finished",
        steps=trainer.position.step,
        skipped_batches=trainer.position.skipped,
        training_seconds=round(progress.seconds, 1),
        training_rate=round(progress.rate, 1),
        data_wait=None if trainer.clock.share is None else round(trainer.clock.share, 4),
    )


def _validate(run: Run, trainer: Trainer) -> None:
    """Evaluate on validation and draw what the recipe shows of it."""
    recipe, began = trainer.recipe, time.perf_counter()
    items, device = trainer.items["validation"], trainer.accelerator.device
    evaluation = evaluate(recipe, [trainer.bare_model], items, device=device)
    seconds = time.perf_counter() - began
    run.record_result(
        "validation", result_record(str(run.path), "validation", evaluation, seconds, recipe.signatures())
    )
    with disk_errors(run.plots):
        recipe.report(evaluation.outcomes, run.plots, "validation")


def kernels(model: torch.nn.Module) -> str:
    """What computes the model's LSTM layers, for the log."""
    found = {layer.describe() for layer in model.modules() if isinstance(layer, RecurrentLayer)}
    return f"kernel {', '.join(sorted(found))}" if found else "no recurrent layer"
