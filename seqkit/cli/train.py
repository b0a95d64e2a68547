"""`seqkit train`: a recipe and a data set in, a run folder out; or with --seeds and --folds a folder of run folders."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from seqkit.config import parse_overrides, read_yaml, resolve
from seqkit.errors import ConfigError, DivergenceError
from seqkit.registry import DEFAULT_PRESET, RecipeSource, find, load

if TYPE_CHECKING:
    from seqkit.recipe import Recipe
    from seqkit.reporting.summary import Summary
    from seqkit.training.plans import Trials

OWN_DATA = ("data.path", "data.train", "data.hub")
EPILOG = """
Try:  seqkit train sentiment  |  seqkit train sentiment data.path=mine.csv data.text=review data.label=stars  |
seqkit train sentiment/sst2 training.epochs=3 --seed 1 --out runs/try  |  seqkit train sentiment --seeds 3  |
seqkit train --resume runs/try
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", epilog=EPILOG)(train)


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE[/PRESET] | DIR", help="A recipe ('seqkit recipes' lists them).")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Settings, e.g. training.epochs=3.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder [default: runs/RECIPE-PRESET, numbered if taken].")
    ] = None,
    init_from: Annotated[
        Path | None, typer.Option(help="Start from the weights of another run.", metavar="RUN")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that stands at --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Take one batch through everything, and stop.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.", min=0)] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Train N runs that differ in the seed, and summarise them.", min=1, metavar="N")
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            help="Train a run for each value of a column, without its examples; they are its test part.",
            metavar="COLUMN",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run, or with several.", metavar="RUN")
    ] = None,
    recipe_folder: Annotated[
        str | None, typer.Option("--recipe", help="Your recipe's folder, to resume a run of it.", metavar="DIR")
    ] = None,
) -> None:
    """Train a recipe, or go on with a run."""
    console = Console(stderr=True)
    if resume is not None:
        given = (recipe, out, init_from, seed, seeds, folds)
        if any(value is not None for value in given) or overwrite or dry_run:
            raise ConfigError(
                [f"--resume {resume} takes no recipe, no settings and no other option: the run has its own."]
            )
        _resume(resume, recipe_folder, console)
        return
    if recipe is None:
        raise ConfigError(["Which recipe? For instance: seqkit train sentiment. 'seqkit recipes' lists them."])
    source, preset, trained = configure(recipe, overrides or [], seed)
    from seqkit.runs.folder import free_name
    from seqkit.training.processes import alone, current

    name = f"{source.name}-{preset}"
    if seeds is not None or folds is not None:
        alone("'seqkit train' with --seeds or --folds")
        from seqkit.training.plans import plan
        from seqkit.training.trials import check_free

        parent = out if out is not None else free_name(Path("runs") / f"{name}-{'seeds' if folds is None else 'folds'}")
        if not dry_run:
            check_free(parent, overwrite=overwrite)
        trials = plan(
            source,
            trained,
            preset=preset,
            overrides=overrides or [],
            seeds=seeds,
            folds=folds,
            init_from=init_from,
            console=console,
        )
        _train_several(source, trials, parent, overwrite=overwrite, only_try=dry_run, console=console)
        return
    if dry_run:
        from seqkit.training.dry_run import dry_run as try_out

        typer.echo(try_out(trained, console, init_from=init_from))
        return
    from seqkit.training.session import free_path
    from seqkit.training.session import train as train_run

    path = out if out is not None else free_path(Path("runs") / name)
    run = train_run(source, trained, path, preset=preset, overwrite=overwrite, init_from=init_from, console=console)
    if current().first:
        _summary(run.path, trained.sample, None if source.built_in else str(source.folder), console)


def _train_several(
    source: RecipeSource, trials: Trials, parent: Path, *, overwrite: bool, only_try: bool, console: Console
) -> None:
    """Train the runs of --seeds and --folds; `only_try` takes one batch through the first of them instead."""
    if only_try:
        from seqkit.training.dry_run import dry_run

        first = trials.trials[0]
        init_from = None if trials.init_from is None else Path(trials.init_from)
        typer.echo(dry_run(trials.build(source, first), console, init_from=init_from))
        typer.echo(f"{len(trials.trials)} runs would be trained, of which this was the first: {parent / first.folder}")
        return
    from seqkit.training.trials import train_trials

    summary = train_trials(source, trials, parent, overwrite=overwrite, console=console)
    _summary_of_several(parent, source, summary, console)


def _resume(path: Path, recipe_folder: str | None, console: Console) -> None:
    """Go on with a run, or with the runs of a parent folder."""
    from seqkit.training.plans import TRIALS
    from seqkit.training.processes import alone, current

    if (path / TRIALS).is_file():
        alone(f"'seqkit train --resume {path}', which is several runs,")
        from seqkit.training.trials import resume_trials

        source, summary = resume_trials(path, recipe_folder=recipe_folder, console=console)
        _summary_of_several(path, source, summary, console)
    else:
        from seqkit.training.session import resume as resume_run

        run, trained = resume_run(path, recipe_folder=recipe_folder, console=console)
        if current().first:
            _summary(run.path, trained.sample, recipe_folder, console)


def configure(reference: str, overrides: list[str], seed: int | None = None) -> tuple[RecipeSource, str, Recipe[Any]]:
    """Find a recipe and build it with its preset and overrides; also returns the preset's name.

    Without a preset it is `demo`, or with data of one's own the recipe's plain defaults. Raises every mistake at once.
    """
    source, preset = find(reference)
    settings = parse_overrides(overrides)
    if seed is not None:
        if "training.seed" in settings:
            raise ConfigError([f"--seed {seed} and training.seed={settings['training.seed']} say the same; give one."])
        settings["training.seed"] = str(seed)
    if preset is None and any(key == own or key.startswith(f"{own}.") for key in settings for own in OWN_DATA):
        preset, values, where = "own", {}, "settings"
    else:
        preset = preset or DEFAULT_PRESET
        path = source.preset(preset)
        values, where = read_yaml(path), str(path)
    recipe_class = load(source)
    recipe: Recipe[Any] = recipe_class(resolve(recipe_class.config_type, values, settings, source=where))
    return source, preset, recipe


def _summary(path: Path, sample: str, recipe_folder: str | None, console: Console) -> None:
    """Say where everything is, and what to type next. Exits with 2 where examples were broken."""
    from seqkit.storage import read_json

    measured = (path / "results.json").exists()
    result = read_json(path / "results.json").get("validation") if measured else None
    if result is None:
        console.print("\nno validation part: the weights are those after the last step", highlight=False)
    else:
        figures = "  ".join(
            f"{name} {value:.4f} [{result['interval'][name][0]:.4f}, {result['interval'][name][1]:.4f}]"
            for name, value in result["metrics"].items()
        )
        console.print(f"\nvalidation, {result['examples']} examples: {figures}", highlight=False, soft_wrap=True)
    console.print(f"pictures and reports: {path / 'plots'}", highlight=False, soft_wrap=True)
    console.print("\nNext:", highlight=False)
    own = "" if recipe_folder is None else f" --recipe {shlex.quote(recipe_folder)}"
    typer.echo(f"seqkit eval {path}{own}")
    typer.echo(f"seqkit decode {path} {sample}{own}")
    broken = read_json(path / "data.json").get("broken", [])
    if broken:
        console.print(
            f"\n{len(broken)} examples could not be used: {path / 'data.json'} names them.",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(2)


def _summary_of_several(parent: Path, source: RecipeSource, summary: Summary, console: Console) -> None:
    """Print the table of all runs and what to type next. Raises DivergenceError where a run failed."""
    from seqkit.reporting.summary import summary_table

    typer.echo(summary_table(summary))
    done = [run for run in summary.runs if run.metrics]
    if done:
        files = f"{parent / 'summary.json'} and {parent / 'summary.png'}"
        console.print(f"\nwrote {files}\n\nNext:", highlight=False, soft_wrap=True)
        own = "" if source.built_in else f" --recipe {shlex.quote(str(source.folder))}"
        # Only runs of the same group have the same training examples, and so the same front-end.
        first, *others = [shlex.quote(str(parent / run.name)) for run in done if run.group == done[0].group]
        ensemble = "".join(f" --ensemble {path}" for path in others)
        typer.echo(f"\nseqkit eval {first}{own}")
        typer.echo(f"seqkit decode {first} {load(source).sample}{ensemble}{own}")
    if summary.failed:
        raise DivergenceError(
            f"{len(summary.failed)} of {len(summary.runs)} runs failed: {', '.join(summary.failed)}.",
            hint="The reasons stand below the table.",
        )
