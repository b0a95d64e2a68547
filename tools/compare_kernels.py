"""What a kernel makes of a whole training: steps a second and the loss curve of one recipe with each kernel.

    python tools/compare_kernels.py language/ptb --steps 40
    python tools/compare_kernels.py sentiment/imdb --steps 40 --kernels native eager --picture imdb.png

The real training loop runs the first steps of the recipe (data, dropout, clipping, optimizer and all) with each kernel
in turn, `--rounds` times over, so that a change of the machine's pace meets all. Every training starts from the same
weights and sees the same batches and dropout masks; its losses may differ from another kernel's by rounding, which
training then amplifies. A step's time is the shortest of its rounds; the first three steps are left out. Evaluation is
not timed.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # as the command line of seqkit does, before torch is loaded

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from rich.console import Console

from seqkit.cli.train import configure
from seqkit.errors import SeqkitError
from seqkit.lstm import kernels
from seqkit.lstm.layer import RecurrentLayer
from seqkit.recipe import Recipe
from seqkit.runs.folder import Run
from seqkit.training.checkpoints import Checkpoints, Position
from seqkit.training.loop import Trainer
from seqkit.training.machine import build_accelerator, compute_settings, keep_freed_memory, processor_name
from seqkit.training.session import Prepared, prepare
from seqkit.training.warm_start import initial_model

LEFT_OUT = 3  # steps in which memory is first touched and caches fill


class Stopwatch:
    """Notes when each step ended, and its loss; asks to stop after so many."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.times: list[float] = [time.perf_counter()]
        self.losses: list[float] = []

    def step(self, position: Position, values: Mapping[str, float], fraction: float) -> None:
        """A step is done."""
        self.times.append(time.perf_counter())
        self.losses.append(values["loss"])

    def evaluation(self, position: Position, metrics: Mapping[str, float], improved: bool) -> None:
        """An evaluation is not the next step's time."""
        self.times[-1] = time.perf_counter()

    def should_stop(self) -> bool:
        """Whether all steps are done."""
        return len(self.losses) >= self.steps

    def seconds(self) -> list[float]:
        """Of each step."""
        return [end - start for start, end in zip(self.times, self.times[1:], strict=False)]


def train(recipe: Recipe[Any], prepared: Prepared, kernel: str, steps: int, console: Console) -> Stopwatch:
    """The first steps of a training with one kernel."""
    config = recipe.config.training
    with tempfile.TemporaryDirectory() as folder, compute_settings(config):
        model = initial_model(recipe, None, console)
        for layer in model.modules():
            if isinstance(layer, RecurrentLayer):
                layer.kernel = kernel
        run = Run.create(Path(folder) / "run", {"recipe": {}, "state": "comparison"}, recipe.config)
        trainer = Trainer(recipe, model, prepared.items, build_accelerator(config), Checkpoints(run))
        watch = Stopwatch(steps)
        trainer.train(None, watch, watch.should_stop)
    return watch


def compare(recipe: Recipe[Any], names: list[str], steps: int, rounds: int, console: Console) -> dict[str, Any]:
    """Steps a second and losses of each kernel."""
    prepared = prepare(recipe, console)
    seconds: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    for turn in range(rounds):
        for name in names:
            console.print(f"round {turn + 1} of {rounds}: {name}")
            watch = train(recipe, prepared, name, steps, console)
            before = seconds.get(name, watch.seconds())
            seconds[name] = [min(pair) for pair in zip(before, watch.seconds(), strict=True)]
            losses[name] = watch.losses
    timed = {name: all_steps[LEFT_OUT:] for name, all_steps in seconds.items()}
    return {
        "steps_per_second": {name: len(own) / sum(own) for name, own in timed.items()},
        "largest_difference_of_loss": {
            name: max(abs(a - b) / abs(b) for a, b in zip(own, losses[names[0]], strict=True))
            for name, own in losses.items()
        },
        "losses": losses,
    }


def draw(found: Mapping[str, Any], title: str, path: Path) -> None:
    """The loss curves, one over the other."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, losses), width in zip(found["losses"].items(), (5, 3, 1), strict=False):
        label = f"{name}, {found['steps_per_second'][name]:.2f} steps/s"
        axes.plot(range(1, len(losses) + 1), losses, label=label, linewidth=width, alpha=0.7)
    axes.set(xlabel="step", ylabel="training loss", title=title)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a recipe, or recipe/preset")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, as for seqkit train")
    parser.add_argument("--kernels", nargs="+", default=["native", "eager", "torch"], choices=kernels.NAMES)
    parser.add_argument("--steps", type=int, default=40, help="steps of each training (default 40)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each training is run (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every loss")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the loss curves")
    options = parser.parse_args()
    if options.steps <= LEFT_OUT:
        parser.error(f"--steps must be more than {LEFT_OUT}, which are not timed.")
    if options.picture is not None and options.picture.exists():
        parser.error(f"{options.picture} exists already.")
    keep_freed_memory()  # as `seqkit train` does
    console = Console(stderr=True)
    try:
        for name in options.kernels:
            if (reason := kernels.available(name)) is not None:
                parser.error(f"kernel '{name}' cannot serve: {reason}")
        recipe = configure(options.recipe, options.overrides)[2]
        found = compare(recipe, options.kernels, options.steps, options.rounds, console)
    except SeqkitError as error:
        print(f"compare_kernels: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if options.picture is not None:
        draw(found, f"{options.recipe} on {processor_name()}", options.picture)
    if options.json:
        print(json.dumps({"recipe": options.recipe, "machine": processor_name(), **found}))
        return
    first = options.kernels[0]
    for name in options.kernels:
        rate, difference = found["steps_per_second"][name], found["largest_difference_of_loss"][name]
        print(f"{name:7} {rate:7.2f} steps/s   losses within {difference:.1e} of those of {first}")


if __name__ == "__main__":
    main()
