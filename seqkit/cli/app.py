"""The Typer app and the way out: what goes to stderr, and with which exit code."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer
from rich.console import Console

from seqkit import __version__
from seqkit.cli import decode, doctor, evaluate, recipes, train
from seqkit.errors import SeqkitError
from seqkit.training.processes import alone, joined

app = typer.Typer(
    name="seqkit",
    help="Learn from sequences (text, speech, video, time series) with one stacked LSTM.",
    epilog="Start with:  seqkit train sentiment",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train.register(app)
evaluate.register(app)
decode.register(app)
recipes.register(app)
doctor.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before a command."""
    if context.invoked_subcommand != "train":
        alone(f"'seqkit {context.invoked_subcommand}'")


def share_cores() -> None:
    """Let the threads of a parallel loop sleep soon after they have waited for each other in vain.

    GNU OpenMP lets them spin for long before they sleep. When another program has one of two cores, each of
    the thousands of small loops of a training step then waits for a time slice: steps of 0.13 s were seen to take 10 s.
    With 5,000 turns they take about 0.3 s, and on a quiet machine as long as before. It must be set before torch is
    loaded; a setting of the user's stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def _tell(error: SeqkitError) -> None:
    typer.echo(f"seqkit: {error}", err=True)


def main() -> None:
    """Run the command line: 0 done, 1 a fault of ours, 2 a mistake in what was given, 130 / 143 interrupted."""
    share_cores()
    console = Console(stderr=True)
    warnings.showwarning = lambda message, *_, **__: console.print(f"seqkit: warning: {message}", highlight=False)
    try:
        with joined(_tell, training=sys.argv[1:2] == ["train"]):
            app()
    except SeqkitError as error:
        _tell(error)
        sys.exit(error.exit_code)
