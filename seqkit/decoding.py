"""Decoding: texts, files, folders or stdin in, answers out, in order and as they come."""

from __future__ import annotations

import codecs
import os
import queue
import re
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from seqkit.config import resolve
from seqkit.data.items import Items, Unusable
from seqkit.data.readers import read_lines
from seqkit.errors import ConfigError, InputError, RunError
from seqkit.evaluation import inference, predict
from seqkit.recipe import Answer, DecodeConfig, Recipe
from seqkit.runs.folder import Run
from seqkit.runs.load import load_model, load_recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}")


@dataclass(frozen=True)
class Input:
    """One thing to decode: a line of text or a file, and where it came from, for messages."""

    source: str | Path
    place: str
    problem: str | None = None
    """Why it cannot be read, where it cannot."""
    blank_too: bool = False
    """Whether it is answered even where there is nothing in it; a blank line is not."""
    paired: str | None = None
    """The line that goes with it, where decoding was given a file of such lines."""
    origin: str | None = None
    """The file that it is, or is a line of; "stdin"; what names it otherwise. None where nothing could be read."""
    spooled: Spooled | None = None
    """What keeps the file of `source`, where it came through stdin."""

    @property
    def shown(self) -> str:
        """The source as it was typed."""
        return "-" if self.spooled is not None else str(self.source)


@dataclass(frozen=True)
class Decoded:
    """One answer, or the problem that stood in its way; both where an input was answered in spite of a problem.

    A blank line has neither.
    """

    source: str
    answer: Answer | None = None
    problem: str | None = None
    origin: str | None = None
    """As of the `Input`."""

    def to_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        if self.answer is None:
            return {"source": self.source, **({"text": ""} if self.problem is None else {"error": self.problem})}
        warning = {} if self.problem is None else {"warning": self.problem}
        return {"source": self.source, **self.answer.fields, **warning}


class Spooled:
    """A file on the disk with what came through a pipe. It is gone when the last reference to this is, or at exit."""

    def __init__(self, content: BinaryIO, name: str) -> None:
        """Read `content` to its end, in pieces, into a file `name`. Raises OSError where the disk cannot hold it."""
        folder = Path(tempfile.mkdtemp(prefix="seqkit-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = folder / name
        with self.path.open("xb") as file:
            shutil.copyfileobj(content, file, 2**20)


def expand(arguments: Sequence[str], recipe: Recipe[Any], stdin: BinaryIO | None = None) -> Iterator[Input]:
    """Turn command-line inputs into single inputs: paths are files or folders, `-` is stdin, the rest is text.

    An argument that looks like a path (a separator before a suffix, or a known suffix) and does not exist, a folder
    without a fitting file, and text for a recipe that reads files give an Input with a problem; the others go on.
    """
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            read = _spooled if recipe.reads == "files" else _lines
            yield from read(stdin or _stdin(), "stdin")
        elif not _exists(path, argument) and not _writable(argument):
            shown = argument.encode("utf-8", "replace").decode()
            yield Input(shown, "argument", f"argument '{shown}': not UTF-8.")
        elif _exists(path, argument) and path.is_dir():
            files = sorted(
                file for file in path.rglob("*") if file.suffix.lower() in recipe.suffixes and file.is_file()
            )
            if not files:
                yield Input(argument, argument, f"{argument}: no {' or '.join(recipe.suffixes)} file in this folder.")
            for file in files:
                yield from _file(file, recipe)
        elif _exists(path, argument):
            yield from _file(path, recipe)
        elif _looks_like_path(argument, recipe):
            yield Input(argument, argument, f"{argument}: no such file.")
        elif recipe.reads == "files":
            yield Input(argument, argument, f"{argument}: no such file, and this run does not read text.")
        else:
            yield Input(argument, "argument", origin="argument")


def _stdin() -> BinaryIO:
    """Stdin by a reader of its own: Python closes sys.stdin when it ends, and cannot while a thread waits in that."""
    return os.fdopen(sys.stdin.fileno(), "rb", closefd=False)


def _exists(path: Path, argument: str) -> bool:
    try:
        return bool(argument.strip()) and path.exists()  # Path("") would be the working directory
    except (OSError, ValueError):  # a text too long for a name, or with a NUL byte, is no path
        return False


def _writable(text: str) -> bool:
    """Whether a text can be written: Python keeps an argument's bytes that are not UTF-8 as lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _looks_like_path(text: str, recipe: Recipe[Any]) -> bool:
    if any(character.isspace() for character in text):
        return False
    if text.lower().endswith(recipe.suffixes) or text.startswith(("/", "./", "../", "~/")):
        return True
    return "/" in text and _SUFFIX.fullmatch(Path(text).suffix) is not None


def _file(path: Path, recipe: Recipe[Any]) -> Iterator[Input]:
    if recipe.reads == "files":
        yield Input(path, str(path), origin=str(path))
        return
    try:
        with path.open("rb") as file:
            yield from _lines(file, str(path))
    except OSError as error:
        yield Input(str(path), str(path), f"{path}: {error.strerror}.")


def _lines(file: BinaryIO, name: str) -> Iterator[Input]:
    """The lines of a file as texts, a leading BOM dropped; one that is not UTF-8 is a problem, and the others go on."""
    for number, raw in enumerate(file, 1):
        place = f"{name}:{number}"
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            yield Input(raw.decode("utf-8").rstrip("\r\n"), place, origin=name)
        except UnicodeDecodeError as error:
            problem = f"{place}: byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is not UTF-8."
            yield Input(raw.decode("utf-8", "replace").rstrip("\r\n"), place, problem, origin=name)


def _spooled(file: BinaryIO, name: str) -> Iterator[Input]:
    """A file that comes through a pipe, as one input."""
    try:
        spooled = Spooled(file, name)
    except OSError as error:
        yield Input("-", name, f"{name}: cannot be kept in {tempfile.gettempdir()}: {error.strerror}.")
    else:
        yield Input(spooled.path, name, origin=name, spooled=spooled)


def _paired(inputs: Iterable[Input], path: Path) -> Iterator[Input]:
    """Each input with its line of a file. Raises DataError for the file, and InputError where it has lines left over.

    An input without a line has a problem, and the others go on: how many there will be is not known before.
    """
    lines = [text for _, text in read_lines(path)]
    return _with_lines(inputs, lines, path)


def _with_lines(inputs: Iterable[Input], lines: Sequence[str], path: Path) -> Iterator[Input]:
    number = 0
    for number, entry in enumerate(inputs, 1):
        if number <= len(lines):
            yield replace(entry, paired=lines[number - 1])
        else:
            problem = f"{entry.place}: input {number} has no line in {path}, which has {len(lines)}."
            yield replace(entry, problem=entry.problem or problem)
    if number < len(lines):
        raise InputError(
            f"{path} has {len(lines)} lines, and the inputs are {number}.",
            hint="Give one line for each input, in order.",
        )


class Decoder:
    """A trained run, or an ensemble of runs, ready to answer. `seqkit.load` makes one."""

    def __init__(self, run: Run, recipe: Recipe[Any], models: Sequence[nn.Module], device: torch.device) -> None:
        self.run, self.recipe, self.models, self.device = run, recipe, models, device

    def decode(self, inputs: str | Sequence[str] = (), **options: Any) -> list[dict[str, Any]]:
        """Answer inputs as `seqkit decode --json` does: texts, or paths of files and folders; one dict for each.

        `options` are what the recipe's decoding takes, among them an option that is an input itself (`prompt="..."`).
        Raises ConfigError for a wrong option, InputError for an input that cannot be used.
        """
        arguments = [inputs] if isinstance(inputs, str) else list(inputs)
        answers = []
        chosen = self.options(options)
        for decoded in self.stream(self.inputs(arguments, chosen), chosen):
            if decoded.answer is None and decoded.problem is not None:
                raise InputError(decoded.problem)
            answers.append(decoded.to_json())
        return answers

    def options(self, options: Mapping[str, Any]) -> DecodeConfig:
        """The recipe's decoding options from keys and values; wrong ones are a ConfigError."""
        return resolve(self.recipe.options_type, options, source="option")

    def inputs(self, arguments: Sequence[str], options: DecodeConfig) -> Iterator[Input]:
        """The inputs that arguments name (see `expand`), or the one that an option is, with what is paired with them.

        Raises InputError where both are given, or where the file to pair them with cannot be read.
        """
        found, option = self._unpaired(arguments, options), self.recipe.paired_option
        path: Path | None = getattr(options, option) if option is not None else None
        return found if path is None else _paired(found, path)

    def _unpaired(self, arguments: Sequence[str], options: DecodeConfig) -> Iterator[Input]:
        name = self.recipe.input_option
        text: str | None = getattr(options, name) if name is not None else None
        if text is None:
            return expand(arguments, self.recipe)
        if arguments:
            raise InputError(f"--{name} is the input, and '{arguments[0]}' is another.", hint="Give one of them.")
        shown = text.encode("utf-8", "replace").decode()
        problem = None if _writable(text) else f"--{name} '{shown}': not UTF-8."
        return iter([Input(shown, f"--{name}", problem, blank_too=True, origin=name)])

    def stream(self, inputs: Iterable[Input], options: DecodeConfig, *, live: bool = False) -> Iterator[Decoded]:
        """Answer inputs in order, in chunks, so that memory stays bounded however many there are.

        With `live` nothing waits for a chunk to fill: what has arrived is answered (for a pipe that is still growing).
        """
        size = self.recipe.decode_chunk
        for group in _arriving(inputs, size) if live else _chunks(inputs, size):
            yield from self._answer(group, options)

    def follow(self, file: BinaryIO, options: DecodeConfig, log: Callable[[str], None]) -> Iterator[Answer]:
        """Answer raw data as it comes (`Recipe.live_option`). Raises InputError."""
        answers = iter(self.recipe.follow(self.models, file, options, log))
        while True:
            with inference(self.models):  # not over a yield: whoever takes the answers is in its own mode
                answer = next(answers, None)
            if answer is None:
                return
            yield answer

    def _answer(self, group: Sequence[Input], options: DecodeConfig) -> list[Decoded]:
        decoded: list[Decoded] = []
        values, places, entries, waiting = [], [], list[Input](), []
        for entry in group:
            source = entry.shown
            decoded.append(Decoded(source, problem=entry.problem, origin=entry.origin))
            if entry.problem is not None or not (source.strip() or entry.blank_too):
                continue
            try:
                values.append(self.recipe.decoded_item(entry.source, options, entry.paired))
            except (InputError, Unusable) as problem:
                decoded[-1] = replace(decoded[-1], problem=_placed(entry, str(problem)))
                continue
            places.append(entry.place)
            entries.append(entry)
            waiting.append(len(decoded) - 1)
        lengths = np.array([self.recipe.length(value) for value in values], dtype=np.int64)
        items = Items(values, lengths, places)
        predictions = predict(self.recipe, self.models, items, device=self.device, options=options)
        for index, entry, prediction in zip(waiting, entries, predictions, strict=True):
            try:
                answer = self.recipe.answer(prediction, options)
            except (InputError, Unusable) as problem:
                decoded[index] = replace(decoded[index], problem=_placed(entry, str(problem)))
                continue
            warning = None if answer.problem is None else _placed(entry, answer.problem)
            decoded[index] = replace(decoded[index], answer=answer, problem=warning)
        return decoded


def _placed(entry: Input, problem: str) -> str:
    """A problem with its place, which it may name itself; what came through a pipe has no path to be named by."""
    place = entry.place
    if entry.spooled is not None:
        problem = problem.replace(str(entry.spooled.path), place)
    return problem if problem.startswith(place) else f"{place}: {problem}"


def _chunks(inputs: Iterable[Input], size: int) -> Iterator[list[Input]]:
    iterator = iter(inputs)
    while group := list(islice(iterator, size)):
        yield group


def _arriving(inputs: Iterable[Input], size: int) -> Iterator[list[Input]]:
    """Groups of the inputs that have arrived by the time the last group is answered; a thread reads ahead."""
    arrived: queue.Queue[Input | BaseException | None] = queue.Queue(maxsize=size)

    def read() -> None:
        try:
            for entry in inputs:
                arrived.put(entry)
        except BaseException as error:  # handed over, and raised again where the answers are asked for
            arrived.put(error)
        else:
            arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        group = [arrived.get()]
        while group[-1] is not None and len(group) < size and not arrived.empty():
            group.append(arrived.get())
        entries = [entry for entry in group if isinstance(entry, Input)]
        if entries:
            yield entries
        last = group[-1]
        if isinstance(last, BaseException):
            raise last
        if last is None:
            return


def load_run(
    path: str | Path, *, ensemble: Sequence[str | Path] = (), recipe: str | None = None, device: str = "auto"
) -> Decoder:
    """Load a trained run for decoding and evaluation: `model = seqkit.load("runs/sentiment-sst2")`.

    ensemble: more runs of the same recipe and front-end, whose probabilities are averaged with the first one's. recipe:
    the folder of a recipe of your own, for a run that was trained with one. device: "auto" takes a GPU where there is
    one. Raises RunError or RecipeError, and ConfigError for a device that is not there.
    """
    place = _device(device)
    run = Run.open(Path(path))
    loaded = load_recipe(run, recipe)
    models = [load_model(run, loaded, place)]
    for other in ensemble:
        member = Run.open(Path(other))
        if not _same_frontend(run.frontend, member.frontend):
            raise RunError(
                f"{other} and {path} have different front-ends (tokens, labels): their answers cannot be averaged.",
                hint="Train both on the same data with the same tokenizer.",
            )
        models.append(load_model(member, load_recipe(member, recipe), place))
    return Decoder(run, loaded, models, place)


def _device(name: str) -> torch.device:
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if there["cuda"] else "cpu")
    if not there.get(name, False):
        found = ", ".join(device for device, present in there.items() if present)
        raise ConfigError([f"device {name}: this machine has {found}; auto chooses."])
    return torch.device(name)


def _same_frontend(one: Path, other: Path) -> bool:
    contents = [
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (one, other)
    ]
    return contents[0] == contents[1]
