"""`seqkit doctor`: what works on this machine, and how to mend what does not."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from seqkit.errors import ConfigError

REQUIRED = (
    "torch",
    "torchaudio",
    "torchvision",
    "accelerate",
    "datasets",
    "safetensors",
    "sentencepiece",
    "matplotlib",
    "av",
    "jiwer",
    "sacrebleu",
)
OPTIONAL = {
    "tensorboard": "pip install 'seqkit[tensorboard]'",
    "num2words": "pip install 'seqkit[demo]'",
    "babel": "pip install 'seqkit[demo]'",
    "espeakng_loader": "pip install 'seqkit[demo]'",
    "flashlight.lib.text": "pip install 'seqkit[flashlight]'",
}
_DISTRIBUTIONS = {"flashlight.lib.text": "flashlight-text"}
_MATCHED = ("torchaudio", "torchvision")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog="Try:  seqkit doctor")(doctor)


def doctor() -> None:
    """Say what works on this machine, and how to mend what does not; exit code 2 if something needed does not."""
    failed = False
    for title, check in SECTIONS.items():
        typer.echo(title)
        for mark, line in check():
            failed = failed or mark == "FAIL"
            typer.echo(f"  {mark:4} {line}")
    if failed:
        raise typer.Exit(2)


def _packages() -> Iterator[tuple[str, str]]:
    yield "ok", f"Python {platform.python_version()}"
    for name in REQUIRED:
        yield _import(name)
    for name, install in OPTIONAL.items():
        mark, line = _import(name)
        yield (mark, line) if mark == "ok" else ("--", f"{name}: not installed; it is optional: {install}")


def _import(name: str) -> tuple[str, str]:
    """Import a package, in words that tell what to do if that fails."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return "FAIL", f"{name}: not installed ({error}). Mend: pip install {name}"
    except (OSError, RuntimeError, ImportError, AttributeError) as error:
        first = str(error).strip().partition("\n")[0]
        if name in _MATCHED:
            torch_version = importlib.metadata.version("torch")
            return "FAIL", (
                f"{name}: does not fit torch {torch_version} ({first}). A torch from another index ('+cpu', for "
                f"instance) breaks it. Mend: pip install --force-reinstall seqkit, without an extra index."
            )
        return "FAIL", f"{name}: fails to import ({first}). Mend: pip install --force-reinstall {name}"
    distribution = _DISTRIBUTIONS.get(name, name)
    return "ok", f"{distribution} {importlib.metadata.version(distribution)}"


def _compute() -> Iterator[tuple[str, str]]:
    try:
        import torch

        from seqkit.lstm import kernels
        from seqkit.training.machine import processor_name
    except (OSError, RuntimeError, ImportError) as error:
        yield "FAIL", f"torch cannot be used, so nothing can be trained: {error}"
        return
    yield "ok", f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        yield "ok", f"GPU: {torch.cuda.get_device_name(0)}"
    elif torch.backends.mps.is_available():
        yield "ok", "GPU: Apple (mps)"
    else:
        yield "--", "no GPU that torch can use; training runs on the CPU."
    for name in kernels.NAMES:
        yield from _kernel(name)


def _kernel(name: str) -> Iterator[tuple[str, str]]:
    """Whether an LSTM kernel serves; of the compiled one, on what."""
    import torch

    from seqkit.lstm import kernels
    from seqkit.lstm.native import library

    title = f"LSTM kernel '{name}'"
    try:
        reason = kernels.available(name)
    except ConfigError as error:
        yield "FAIL", f"{title}: {error}"
        return
    if reason is not None:
        yield "--", f"{title}: {reason}"
    elif name != "native":
        yield "ok", title
    else:
        loaded = library.load()
        threads, runtime = loaded.team(torch.get_num_threads())
        whose = {"openmp": " shared with torch (OpenMP)", "threads": " of its own, started by each call"}
        count = "1 thread" if threads == 1 else f"{threads} threads"
        yield "ok", f"{title}: {loaded.instruction_set}, {count}{whose.get(runtime, '')}"
        for lacking, why in library.left_out().items():
            yield "--", f"{title}: {lacking} is left out: {why}. {library.COMPILE}"


def _data() -> Iterator[tuple[str, str]]:
    folder = os.environ.get("SEQKIT_DATA")
    if folder is None:
        yield "--", "SEQKIT_DATA is not set: presets look on the Hugging Face hub, or at data.path=..."
    elif not Path(folder).is_dir():
        yield "FAIL", f"SEQKIT_DATA={folder}: no such folder. Mend: set it to the folder that holds your data sets."
    else:
        yield "ok", f"SEQKIT_DATA={folder}"
    yield _cache()
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield ("ok" if free > 1 else "FAIL"), f"{free:.1f} GiB free in {Path.cwd()}, where runs/ is made"


def _cache() -> tuple[str, str]:
    """Where the cache of prepared examples is and how full; nothing is written to find out."""
    from seqkit.data.cache import cache_settings

    try:
        settings = cache_settings()
    except ConfigError as error:
        return "FAIL", str(error)
    if settings is None:
        return "--", "SEQKIT_CACHE is not set: prepared examples are not kept from run to run"
    place, limit = f"SEQKIT_CACHE={settings.folder}", f"at most {settings.limit / 2**30:.3g} GiB (SEQKIT_CACHE_SIZE)"
    above = next(folder for folder in (settings.folder, *settings.folder.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        return "FAIL", f"{place}: {above} is no folder that can be written to. Name another one."
    import sqlite3

    from seqkit.data.store import FILE, usage

    try:
        size, entries = usage(settings.folder)
    except (OSError, sqlite3.Error) as error:
        return "FAIL", f"{place}: damaged or locked ({error}). Mend: rm {settings.folder / FILE}"
    return "ok", f"{place}: {entries:,} prepared examples in {size / 2**30:.3g} GiB, {limit}"


def _commands() -> Iterator[tuple[str, str]]:
    """Every `seqkit` on the PATH: a bioinformatics tool has the same name."""
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    commands = list(dict.fromkeys(folder / "seqkit" for folder in folders if os.access(folder / "seqkit", os.X_OK)))
    if not commands:
        yield (
            "--",
            "no 'seqkit' on the PATH. Activate the environment that it is installed in, or use: python -m seqkit",
        )
    for number, command in enumerate(commands):
        ours = _is_ours(command)
        use = "what typing 'seqkit' runs" if number == 0 else "hidden behind the first"
        if ours:
            yield "ok", f"{command}: this toolkit; {use}"
        elif number == 0:
            yield (
                "FAIL",
                f"{command}: another program of that name; {use}. Mend: put ours first, or use: python -m seqkit",
            )
        else:
            yield "--", f"{command}: another program of that name; {use}"


def _is_ours(command: Path) -> bool:
    """Whether a command named seqkit is this toolkit: a small script that imports it, or one that says our version."""
    with command.open("rb") as file:
        if b"seqkit.cli.app" in file.read(4096):
            return True
    try:
        said = subprocess.run([command, "recipes", "--help"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0 and b"copy" in said.stdout


SECTIONS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "packages": _packages,
    "compute": _compute,
    "data": _data,
    "commands named seqkit": _commands,
}
