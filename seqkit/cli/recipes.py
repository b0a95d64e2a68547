"""`seqkit recipes`: what there is, what it is set to, and a copy to change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from seqkit import __version__
from seqkit.errors import RecipeError
from seqkit.registry import DEFAULT_PRESET, ORIGIN, RecipeSource, built_in, find, preset_summary

EPILOG = "Try:  seqkit recipes  |  seqkit recipes show sentiment/sst2  |  seqkit recipes copy sentiment my-recipe"


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(help="List, show or copy recipes.", epilog=EPILOG, invoke_without_command=True)
    group.callback()(_default)
    group.command("list", epilog=EPILOG)(list_recipes)
    group.command("show", epilog=EPILOG)(show)
    group.command("copy", epilog=EPILOG)(copy)
    app.add_typer(group, name="recipes")


def _default(context: typer.Context) -> None:
    """List, show or copy recipes."""
    if context.invoked_subcommand is None:
        list_recipes()


def list_recipes() -> None:
    """Print every recipe and preset with a line each."""
    for source in built_in().values():
        typer.echo(f"{source.name:24} {source.summary()}")
        for name, path in source.presets().items():
            typer.echo(f"  {source.name + '/' + name:22} {preset_summary(path)}")


def show(
    reference: Annotated[str, typer.Argument(help="A recipe, or one of its presets.", metavar="RECIPE[/PRESET]")],
) -> None:
    """Print a preset's whole configuration, each key with its meaning; lines with a '*' differ from the default."""
    from seqkit.config import fields, read_yaml, resolve
    from seqkit.registry import load

    source, preset = find(reference)
    path = source.preset(preset or DEFAULT_PRESET)
    config_type = load(source).config_type
    config = resolve(config_type, read_yaml(path), source=str(path))
    typer.echo(f"# {source.name}/{path.stem}: {preset_summary(path)}")
    typer.echo(f"# recipe: {source.folder}")
    for key, default, description in fields(config_type):
        value = config
        for part in key.split("."):
            value = getattr(value, part)
        mark = " " if value == default else "*"
        typer.echo(f"{mark} {key}={_text(value)}\n      {' '.join(description.split())}")


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def copy(
    reference: Annotated[str, typer.Argument(help="A built-in recipe.", metavar="RECIPE")],
    folder: Annotated[Path, typer.Argument(help="A new folder.", metavar="DIR")],
) -> None:
    """Copy a recipe into a folder of your own, which 'seqkit train DIR' runs as it is."""
    source, preset = find(reference)
    if preset is not None:
        raise RecipeError(
            f"'{reference}' is a preset; a recipe is copied whole.", hint=f"seqkit recipes copy {source.name} {folder}"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecipeError(f"{folder} exists already, and nothing is overwritten unasked.", hint="Name a new folder.")
    _copy(source, folder)
    typer.echo(f"seqkit train {folder if folder.is_absolute() else f'./{folder}'}")


def _copy(source: RecipeSource, folder: Path) -> None:
    try:
        shutil.copytree(source.folder, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        stamp = {"recipe": source.name, "seqkit": __version__, "sha256": source.digest()}
        lines = ["# Where this recipe was copied from.", *(f"{key}: {value}" for key, value in stamp.items())]
        (folder / ORIGIN).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{folder}: cannot be written: {error.strerror or error}.") from error
