"""`seqkit train`: a recipe and a data set in, a run folder out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from seqkit.config import parse_overrides, read_yaml, resolve
from seqkit.errors import ConfigError
from seqkit.registry import DEFAULT_PRESET, RecipeSource, find, load

if TYPE_CHECKING:
    from seqkit.recipe import Recipe

OWN_DATA = ("data.path", "data.train", "data.hub")
EPILOG = """
Try:  seqkit train sentiment  |  seqkit train sentiment data.path=mine.csv data.text=review data.label=stars  |
seqkit train sentiment/sst2 training.epochs=3 --seed 1 --out runs/try  |  seqkit train --resume runs/try
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
    resume: Annotated[Path | None, typer.Option(help="Go on with an interrupted run.", metavar="RUN")] = None,
    recipe_folder: Annotated[
        str | None, typer.Option("--recipe", help="Your recipe's folder, to resume a run of it.", metavar="DIR")
    ] = None,
) -> None:
    """Train a recipe, or go on with a run."""
    console = Console(stderr=True)
    if resume is not None:
        if recipe is not None or out is not None or init_from is not None or overwrite or dry_run or seed is not None:
            raise ConfigError(
                [f"--resume {resume} takes no recipe, no settings and no other option: the run has its own."]
            )
        from seqkit.training.session import resume as resume_run

        run, trained = resume_run(resume, recipe_folder=recipe_folder, console=console)
        _summary(run.path, trained.sample, recipe_folder, console)
        return
    if recipe is None:
        raise ConfigError(["Which recipe? For instance: seqkit train sentiment. 'seqkit recipes' lists them."])
    source, preset, trained = configure(recipe, overrides or [], seed)
    if dry_run:
        from seqkit.training.dry_run import dry_run as try_out

        typer.echo(try_out(trained, console, init_from=init_from))
        return
    from seqkit.runs.folder import free_name
    from seqkit.training.session import train as train_run

    path = out if out is not None else free_name(Path("runs") / f"{source.name}-{preset}")
    run = train_run(source, trained, path, preset=preset, overwrite=overwrite, init_from=init_from, console=console)
    _summary(run.path, trained.sample, None if source.built_in else str(source.folder), console)


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
    """Say where everything is, and what to type next."""
    from seqkit.storage import read_json

    result = read_json(path / "results.json")["validation"]
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
