"""`seqkit decode`: texts, files, folders or stdin in, an answer a line out."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from seqkit.errors import ConfigError, InputError, nearest

if TYPE_CHECKING:
    from seqkit.config import Config
    from seqkit.decoding import Decoded

EPILOG = """
Try:  seqkit decode RUN "not bad at all"  |  seqkit decode RUN reviews.txt --json  |  seqkit decode RUN - < reviews.txt
|  seqkit decode RUN --prompt "one day"
"""


def register(app: typer.Typer) -> None:
    """Add the command. What it does not know itself is left to the recipe's own options."""
    settings = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
    app.command("decode", cls=_DashedTexts, epilog=EPILOG, context_settings=settings)(decode)


class _DashedTexts(TyperCommand):
    """A command whose inputs may begin with a dash: only `-h` by itself asks for help, not the h of "- the film"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--help" if argument == "-h" else argument for argument in args])


def decode(
    run: Annotated[Path, typer.Argument(help="The run's folder.", metavar="RUN")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts, files, folders or - for stdin; and the recipe's own options.", metavar="[INPUT ...]"
        ),
    ] = None,
    ensemble: Annotated[list[Path] | None, typer.Option(help="A further run to average with.", metavar="RUN")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write to a new file instead of stdout.", metavar="FILE")] = None,
    recipe: Annotated[str | None, typer.Option(help="Your recipe's folder, for a run of it.", metavar="DIR")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Answer inputs with a trained run, in order and as they come."""
    from seqkit.decoding import load_run

    loaded = load_run(run, ensemble=ensemble or [], recipe=recipe, device=device)
    arguments, settings = split_options(inputs or [], loaded.recipe.options_type)
    options = loaded.options(settings)
    own = loaded.recipe.input_option
    if not arguments and (own is None or getattr(options, own) is None):
        raise InputError(
            f"What is to be decoded? Give texts, files or folders, or '-' to read stdin: seqkit decode {run} -"
        )
    live = "-" in arguments and not stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
    problems = 0
    with _destination(output) as destination:
        for decoded in loaded.stream(loaded.inputs(arguments, options), options, live=live):
            if decoded.problem is not None:
                problems += 1
                typer.echo(f"seqkit: {decoded.problem}", err=True)
            destination.write(_line(decoded, as_json) + "\n")
            if live:
                destination.flush()
    if problems:
        raise typer.Exit(2)


def split_options(
    arguments: Sequence[str], config: type[Config], others: Sequence[str] = ()
) -> tuple[list[str], dict[str, Any]]:
    """Divide arguments into inputs and the recipe's own options (`--beam-size 5`, `--beam-size=5`, or a bare flag).

    `others` are the command's own options, one of which may have been meant. Raises ConfigError for every option that
    the recipe does not have.
    """
    inputs: list[str] = []
    settings: dict[str, Any] = {}
    problems = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument[2:].partition("=")
        if not argument.startswith("--") or any(character.isspace() for character in name):
            inputs.append(argument)
            continue
        key = name.replace("-", "_")
        field = config.model_fields.get(key)
        if field is None:
            known = [f"--{known.replace('_', '-')}" for known in (*others, *config.model_fields)]
            problems.append(
                f"--{name}: neither the command nor this recipe's decoding has such an option. "
                f"{nearest(f'--{name}', known)}"
            )
        elif equals:
            settings[key] = value
        elif field.annotation is bool:
            settings[key] = "true"
        elif rest:
            settings[key] = rest.pop(0)
        else:
            problems.append(f"--{name}: a value is needed.")
    if problems:
        raise ConfigError(problems)
    return inputs, settings


def _line(decoded: Decoded, as_json: bool) -> str:
    """One answer as a line; an input without an answer keeps its place as an empty line."""
    if as_json:
        return json.dumps(decoded.to_json(), ensure_ascii=False)
    return "" if decoded.answer is None else decoded.answer.text


@contextlib.contextmanager
def _destination(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        file = output.open("x", encoding="utf-8")
    except FileExistsError as error:
        raise InputError(
            f"{output} exists already, and nothing is overwritten unasked.", hint="Name another."
        ) from error
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}.") from error
    with file:
        yield file
