"""Answering a stream as it comes: what is sure goes to stdout, what may still change shows on the terminal."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from seqkit.errors import InputError

if TYPE_CHECKING:
    from seqkit.decoding import Decoder
    from seqkit.recipe import Answer, DecodeConfig

_CLEAR = "\r\x1b[K"


def follow_stdin(decoder: Decoder, options: DecodeConfig, inputs: list[str], *, as_json: bool) -> int:
    """Answer raw data on stdin; returns how many problems were told. Raises InputError where another input is named."""
    others = [argument for argument in inputs if argument != "-"]
    if others:
        name = str(decoder.recipe.live_option).replace("_", "-")
        raise InputError(
            f"--{name} reads raw data on stdin, and '{others[0]}' is another input.", hint="Leave one out."
        )
    notes: list[str] = []
    problems: list[str] = []
    answers = _telling(decoder.follow(sys.stdin.buffer, options, notes.append), problems)
    if as_json:
        _print_objects(answers)
    else:
        _print_lines(answers)
    for note in notes:
        typer.echo(note, err=True)
    return len(problems)


def _telling(answers: Iterable[Answer], problems: list[str]) -> Iterator[Answer]:
    """The answers; what was wrong with the input is told as it comes, and collected."""
    for answer in answers:
        if answer.problem is not None:
            typer.echo(f"seqkit: {answer.problem}", err=True)
            problems.append(answer.problem)
        yield answer


def _print_objects(answers: Iterable[Answer]) -> None:
    """An object a line, as soon as something changes."""
    last = None
    for answer in answers:
        line = json.dumps({"source": "-", **answer.fields, "final": answer.final}, ensure_ascii=False)
        if line != last:
            typer.echo(line)
            sys.stdout.flush()
        last = line


def _print_lines(answers: Iterable[Answer]) -> None:
    """A line for what is final; on a terminal, what may still change stands in its last line."""
    shown = sys.stderr.isatty()
    for answer in answers:
        if shown:
            width = shutil.get_terminal_size().columns - 1
            typer.echo(_CLEAR + ("" if answer.final else answer.text[-width:]), err=True, nl=False)
        if answer.final and answer.text:
            typer.echo(answer.text)
            sys.stdout.flush()
