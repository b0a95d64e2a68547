"""`seqkit eval`: a run's metrics on a split or on a file of the user's, with intervals."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from seqkit.errors import ConfigError, DataError, nearest

EPILOG = "Try:  seqkit eval runs/sentiment-demo  |  seqkit eval RUN --data mine.csv --json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval", epilog=EPILOG)(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run's folder.", metavar="RUN")],
    split: Annotated[
        str | None, typer.Option(help="train, validation or test [default: test, else validation].")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A file of labelled examples instead.", metavar="PATH")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    recipe: Annotated[str | None, typer.Option(help="Your recipe's folder, for a run of it.", metavar="DIR")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Measure a run on a split, with 95 % bootstrap intervals over examples."""
    from seqkit.decoding import load_run
    from seqkit.evaluation import evaluate as score
    from seqkit.evaluation import result_record
    from seqkit.reporting.progress import counting
    from seqkit.storage import disk_errors

    if split is not None and data is not None:
        raise ConfigError([f"--split {split} and --data {data} exclude each other; give one."])
    console = Console(stderr=True)
    loaded = load_run(run, recipe=recipe, device=device)
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
    began = time.perf_counter()
    with counting(console, f"evaluating {name}") as progress:
        evaluation = score(loaded.recipe, loaded.models, items, device=loaded.device, progress=progress)
    record = result_record(str(run), name, evaluation, time.perf_counter() - began)
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        typer.echo(f"{name}: {record['examples']} examples, {record['seconds']:.1f} s")
        for metric, value in record["metrics"].items():
            low, high = record["interval"][metric]
            typer.echo(f"{metric:12} {value:8.4f}   [{low:.4f}, {high:.4f}]")
    if data is None:
        loaded.run.record_result(name, dict(record))
        with disk_errors(loaded.run.plots):
            for path in loaded.recipe.report(evaluation.outcomes, loaded.run.plots, name):
                console.print(f"wrote {path}", highlight=False, soft_wrap=True)
