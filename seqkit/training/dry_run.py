"""One real batch through everything: data, forward, backward, evaluation, decoding. Nothing is left behind."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from seqkit.evaluation import predict
from seqkit.recipe import Recipe
from seqkit.reporting.tables import data_table
from seqkit.runs.folder import Run
from seqkit.training.checkpoints import Checkpoints, Position
from seqkit.training.log import MetricsLog
from seqkit.training.loop import Trainer
from seqkit.training.machine import build_accelerator, compute_settings
from seqkit.training.processes import current
from seqkit.training.session import kernels, prepare
from seqkit.training.warm_start import initial_model


class _Silent:
    """Watches the one step, and keeps its values."""

    def __init__(self) -> None:
        self.values: Mapping[str, float] = {}
        self.metrics: Mapping[str, float] = {}

    def step(self, position: Position, values: Mapping[str, float], fraction: float) -> None:
        self.values = values

    def evaluation(self, position: Position, metrics: Mapping[str, float], improved: bool) -> None:
        self.metrics = metrics


def dry_run(recipe: Recipe[Any], console: Console, *, init_from: Path | None = None) -> str:
    """Run one batch through the real code of training, evaluation and decoding; returns a summary line."""
    training = recipe.config.training.model_copy(update={"max_steps": 1, "warmup_steps": 0, "tensorboard": False})
    recipe.config = recipe.config.model_copy(update={"training": training})
    accelerator = build_accelerator(training)
    prepared = prepare(recipe, console, init_from=init_from)
    console.print(data_table(prepared.report))
    processes, items = current(), dict(prepared.items)
    if processes.first:
        few = items.get("validation", items["train"]).first(training.batch_examples)
        items |= {"validation": few} if "validation" in items else {}
    with tempfile.TemporaryDirectory() as folder, compute_settings(training):
        run = Run.create(Path(folder) / "run", {"recipe": {}, "state": "dry run"}, recipe.config)
        recipe.save_frontend(run.frontend)
        model = initial_model(recipe, init_from if processes.first else None, console)
        trainer = Trainer(recipe, model, items, accelerator, Checkpoints(run))
        watched = _Silent()
        with MetricsLog(run.log) as log:
            trainer.train(log, watched)
        if not processes.first:
            return ""
        options = recipe.options_type()
        predictions = predict(recipe, [trainer.bare_model], few.first(1), device=accelerator.device, options=options)
    answer = recipe.answer(predictions[0], options)
    return (
        f"dry run: one step ({kernels(trainer.bare_model)}), loss {watched.values['loss']:.4f}, gradient norm "
        f"{watched.values['grad_norm']:.4f}; {len(few)} examples evaluated; decoded: {answer.text}"
    )
