"""The files that a data configuration names: below `data.path`, in the working directory, or in SEQKIT_DATA."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from seqkit.data.config import DataConfig
from seqkit.data.templates import is_there
from seqkit.errors import DataError

SPLITS = ("train", "validation", "test")


def find_files(config: DataConfig, *, folders: bool = False) -> dict[str, Path] | None:
    """The file of each part that has one; None if the training file has no path and is nowhere at hand.

    `folders` says that a folder can itself be the training part, where no training file is named. Raises DataError
    where `data.path` leads nowhere, or where a file is named that is not there.
    """
    if config.path is not None:
        return _below_path(Path(config.path).expanduser(), config, folders)
    if config.train is not None:
        for root in roots():
            if _is_data(root / config.train):
                return _named_files(config, [root])
    return None


def roots() -> list[Path]:
    """Where files are looked for that no path is given for. An absolute name stands for itself in any of them."""
    given = os.environ.get("SEQKIT_DATA")
    return [Path()] + ([Path(given).expanduser()] if given else [])


def where_looked(config: DataConfig) -> str:
    """Where the training file was looked for, as a sentence of an error; empty where none is named."""
    if config.train is None:
        return ""
    given = os.environ.get("SEQKIT_DATA")
    places = [str(Path.cwd())] + ([f"SEQKIT_DATA={given}"] if given else [])
    return f"Looked for '{config.train}' in {' and '.join(places)}. "


def _below_path(path: Path, config: DataConfig, folders: bool) -> dict[str, Path]:
    """`data.path`: a folder with the files that the configuration names, or one file, which is the training part."""
    if is_there(path) or (folders and config.train is None and path.is_dir()):
        return {"train": path} | _named_files(config, [path.parent, Path()], skip="train")
    if not path.exists():
        raise DataError(f"data.path={path} does not exist (looked from {Path.cwd()}).", hint="Check the spelling.")
    if config.train is None:
        hint = "Give the training file itself, data.path=FILE, or name it: data.train=FILE."
        raise DataError(f"data.path={path} is a folder, and the configuration names no training file.", hint=hint)
    return _named_files(config, [path])


def _named_files(config: DataConfig, roots: Sequence[Path], skip: str = "") -> dict[str, Path]:
    """Each file that the configuration names, in the first root that has it. Raises DataError for one that none has."""
    found = {}
    for name in SPLITS:
        file = getattr(config, name)
        if file is None or name == skip:
            continue
        path = next((root / file for root in roots if _is_data(root / file)), None)
        if path is None:
            looked = " and ".join(str(root.absolute()) for root in roots)
            hint = f"Put it there, or set data.{name}=null to cut that part from the training part."
            if name == "train":
                hint = "Put it there, or give another folder or file as data.path=..."
            raise DataError(f"The {name} file '{file}' is not found in {looked}.", hint=hint)
        found[name] = path
    return found


def _is_data(path: Path) -> bool:
    """Whether a file is there, or a folder, whose layout a recipe may know."""
    return is_there(path) or path.is_dir()
