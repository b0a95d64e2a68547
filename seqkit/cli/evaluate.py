"""`seqkit eval`: a run's metrics on a split or on a file of the user's, with intervals."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from seqkit.cli.decode import split_options
from seqkit.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from seqkit.decoding import Decoder
    from seqkit.recipe import DecodeConfig

EPILOG = "Try:  seqkit eval runs/sentiment-demo  |  seqkit eval RUN --data mine.csv --json"

OWN = ("split", "data", "ensemble", "json", "recipe", "device")
"""The command's own options, to name the one that was meant by a misspelt one."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command("eval", epilog=EPILOG, context_settings=settings)(evaluate)


def evaluate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="The run's folder.", metavar="RUN")],
    split: Annotated[
        str | None, typer.Option(help="train, validation or test [default: test, else validation].")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A file of labelled examples instead.", metavar="PATH")] = None,
    ensemble: Annotated[list[Path] | None, typer.Option(help="A further run to average with.", metavar="RUN")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    recipe: Annotated[str | None, typer.Option(help="Your recipe's folder, for a run of it.", metavar="DIR")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Measure a run on a split, with 95 % bootstrap intervals over examples.

    Takes those of the recipe's own decoding options that change an answer (--beam-size 1). The run keeps the result and
    its pictures, unless such options, other data or an ensemble were asked for.
    """
    from seqkit.decoding import load_run
    from seqkit.evaluation import evaluate as score
    from seqkit.evaluation import result_record
    from seqkit.reporting.progress import counting
    from seqkit.reporting.tables import broken_lines, damaged_lines
    from seqkit.storage import disk_errors

    if split is not None and data is not None:
        raise ConfigError([f"--split {split} and --data {data} exclude each other; give one."])
    console = Console(stderr=True)
    loaded = load_run(run, ensemble=ensemble or [], recipe=recipe, device=device)
    options = _options(loaded, context.args)
    if data is not None:
        name, examples = str(data), loaded.recipe.load_file(data)
    else:
        splits = loaded.recipe.load_data()
        name = split or ("test" if "test" in splits else "validation")
        if name not in splits:
            raise DataError(f"This run's data has no split '{name}'.", hint=nearest(name, splits))
        examples = splits[name]
    items = loaded.recipe.items(examples)
    for left_out in (examples.left_out, items.left_out):
        for reason, count in left_out.items():
            console.print(f"left out: {count} ({reason})", highlight=False)
    for line in [*damaged_lines(items.damaged), *broken_lines(items.broken)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    began = time.perf_counter()
    with counting(console, f"evaluating {name}") as progress:
        evaluation = score(
            loaded.recipe, loaded.models, items, device=loaded.device, options=options, progress=progress
        )
    seconds = time.perf_counter() - began
    record = result_record(str(run), name, evaluation, seconds, loaded.recipe.signatures())
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        typer.echo(f"{name}: {record['examples']} examples, {record['seconds']:.1f} s")
        for metric, value in record["metrics"].items():
            low, high = record["interval"][metric]
            typer.echo(f"{metric:12} {value:8.4f}   [{low:.4f}, {high:.4f}]")
        for metric, signature in record.get("signatures", {}).items():
            typer.echo(f"{metric:12} {signature}")
    if data is None and options is None and not ensemble:
        loaded.run.record_result(name, record)
        with disk_errors(loaded.run.plots):
            for path in loaded.recipe.report(evaluation.outcomes, loaded.run.plots, name):
                console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    if items.broken:
        raise typer.Exit(2)


def _options(loaded: Decoder, arguments: Sequence[str]) -> DecodeConfig | None:
    """The recipe's own options among the arguments, where there are any. Raises ConfigError for what is none."""
    if not arguments:
        return None
    inputs, settings = split_options(arguments, loaded.recipe.options_type, OWN)
    problems = [f"'{argument}': eval takes one RUN, and a file as --data PATH." for argument in inputs]
    known = sorted(name.replace("_", "-") for name in loaded.recipe.evaluated_options)
    for name in settings.keys() - loaded.recipe.evaluated_options:
        shown = name.replace("_", "-")
        taken = f"only --{', --'.join(known)}" if known else "none of a recipe's options here"
        problems.append(f"--{shown} changes nothing that is measured; eval takes {taken}.")
    if problems:
        raise ConfigError(problems)
    return loaded.options(settings)
