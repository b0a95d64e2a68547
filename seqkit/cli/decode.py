"""`seqkit decode`: texts, files, folders or stdin in, an answer a line out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Annotated, Any, Protocol

import typer
from typer.core import TyperCommand

from seqkit.cli.follow import follow_stdin
from seqkit.errors import ConfigError, InputError, nearest

if TYPE_CHECKING:
    from seqkit.config import Config
    from seqkit.decoding import Decoded

EPILOG = """
Try:  seqkit decode RUN "not bad at all"  |  seqkit decode RUN reviews.txt --json  |  seqkit decode RUN - < reviews.txt
|  seqkit decode RUN --prompt "one day"  |  seqkit decode RUN texts/ --output answers/
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
    output: Annotated[
        str | None,
        typer.Option(
            help="Write to a new file instead of stdout, or into a folder, with a file for each input file.",
            metavar="FILE|DIR/",
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Your recipe's folder, for a run of it.", metavar="DIR")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Answer inputs with a trained run, in order and as they come."""
    from seqkit.decoding import load_run

    loaded = load_run(run, ensemble=ensemble or [], recipe=recipe, device=device)
    arguments, settings = split_options(inputs or [], loaded.recipe.options_type)
    options = loaded.options(settings)
    own, following = loaded.recipe.input_option, loaded.recipe.live_option
    asked = following is not None and getattr(options, following)
    if asked or (loaded.recipe.follows_stdin and arguments == ["-"]):
        if output is not None:
            what = f"--{following}" if asked else "-"
            raise InputError(f"{what} writes as it goes: redirect stdout instead of --output.")
        if follow_stdin(loaded, options, arguments, as_json=as_json):
            raise typer.Exit(2)
        return
    if not arguments and (own is None or getattr(options, own) is None):
        raise InputError(
            f"What is to be decoded? Give texts, files or folders, or '-' to read stdin: seqkit decode {run} -"
        )
    whole_files = loaded.recipe.reads == "files"  # one that comes through a pipe is answered when it has come
    live = "-" in arguments and not whole_files and not stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
    problems = 0
    with _terminable(), _destination(output, as_json=as_json, whole_files=whole_files) as destination:
        for decoded in loaded.stream(loaded.inputs(arguments, options), options, live=live):
            found = [] if decoded.problem is None else [decoded.problem]
            try:
                destination.write(decoded)
            except InputError as problem:
                found.append(str(problem))
            for problem_text in found:
                typer.echo(f"seqkit: {problem_text}", err=True)
            problems += len(found)
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
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the body as an exception does, so that nothing temporary is left on the disk."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Destination(Protocol):
    """Where answers go. `write` raises InputError for an answer that has no place there; others go on."""

    def write(self, decoded: Decoded) -> None: ...

    def flush(self) -> None: ...


class _OneFile:
    """All answers in one file, or on stdout."""

    def __init__(self, file: IO[str], *, as_json: bool) -> None:
        self._file, self._as_json = file, as_json
        self._full = False  # it holds what is a file of its own, subtitles

    def write(self, decoded: Decoded) -> None:
        if decoded.answer is not None and decoded.answer.suffix != ".txt" and not self._as_json:
            if self._full:
                kind = decoded.answer.suffix.removeprefix(".")
                raise InputError(
                    f"{decoded.source}: not written: one {kind} file is for one input.",
                    hint="Give --output DIR/ for a file each.",
                )
            self._full = True
        self._file.write(_line(decoded, self._as_json) + "\n")

    def flush(self) -> None:
        self._file.flush()


class _Folder:
    """A new file for each input: `talk.wav` is answered in `talk.txt`, or what else the answer is.

    The lines of one input file are answered in one file, a line each. Of several inputs with one name, the second is
    answered in `talk-2.txt`, and so on, whether the others could be answered or not. An input that is a file and has no
    answer has no file.
    """

    def __init__(self, folder: Path, *, as_json: bool, whole_files: bool) -> None:
        self._folder, self._as_json, self._whole_files = folder, as_json, whole_files
        self._taken: set[str] = set()
        self._origin: str | None = None
        self._file: IO[str] | None = None  # None where the name of the current input is taken

    def write(self, decoded: Decoded) -> None:
        if decoded.origin is None:
            return
        if self._whole_files or decoded.origin != self._origin:
            self.close()  # also where the new name is taken: then nothing is written
            self._origin = decoded.origin
            name = self._name(decoded.origin)
            if decoded.answer is not None or not self._whole_files:
                self._file = self._opened(name, decoded)
        if self._file is None:
            return
        line = _line(decoded, self._as_json)
        # A file of its own may end in a newline already, or be empty; a line among others ends in one of its own.
        own = self._whole_files and (not line or line.endswith("\n"))
        self._file.write(line if own else line + "\n")
        if self._whole_files:
            self.close()

    def _name(self, origin: str) -> str:
        stem = name = Path(origin).stem
        number = 1
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name)
        return name

    def _opened(self, name: str, decoded: Decoded) -> IO[str]:
        suffix = ".txt" if decoded.answer is None else decoded.answer.suffix
        if self._as_json:
            suffix = ".json" if self._whole_files else ".jsonl"
        path = self._folder / f"{name}{suffix}"
        file = _new_file(path)
        if name != Path(str(decoded.origin)).stem:
            typer.echo(f"seqkit: {decoded.origin}: answered in {path}; another input has this name too.", err=True)
        return file

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


@contextlib.contextmanager
def _destination(output: str | None, *, as_json: bool, whole_files: bool) -> Iterator[_Destination]:
    """Stdout, a new file, or new files in a folder: `output` is one where it ends in a slash or is one already."""
    if output is None:
        yield _OneFile(sys.stdout, as_json=as_json)
        sys.stdout.flush()
    elif output.endswith("/") or (output and Path(output).is_dir()):
        try:
            Path(output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{output}: this folder cannot be made: {error.strerror}.") from error
        with contextlib.closing(_Folder(Path(output), as_json=as_json, whole_files=whole_files)) as folder:
            yield folder
    else:
        with _new_file(Path(output)) as file:
            yield _OneFile(file, as_json=as_json)


def _new_file(path: Path) -> IO[str]:
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError as error:
        raise InputError(f"{path} exists already, and nothing is overwritten unasked.", hint="Name another.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from error
