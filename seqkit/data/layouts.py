"""Folders whose layout says what their files are, so that no table has to: what a recipe's reader makes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from seqkit.data.config import DataConfig
from seqkit.data.files import SPLITS
from seqkit.data.readers import Table
from seqkit.errors import DataError

FolderReader = Callable[[Path], Table | None]
"""Makes a table, with the recipe's columns, of a folder whose layout it knows; None for another folder."""


def read_folder(folder: Path, reader: FolderReader | None, wanted: Collection[str], manifest: Collection[str]) -> Table:
    """What a folder's layout says. Raises DataError for a folder that has none, or that lacks a `wanted` column.

    `manifest` are the columns that a table would need.
    """
    table = None if reader is None else reader(folder)
    if table is None:
        raise DataError(
            f"{folder} is a folder, and nothing in it says what its files are.",
            hint=f"Give a table with columns {', '.join(manifest)}, or name it: data.train=FILE.",
        )
    for name in wanted:
        if name not in table.columns:
            raise DataError(
                f"{folder}: this folder gives no column '{name}'.", hint=f"It gives {', '.join(table.columns)}."
            )
    return table


def suggest_layout(error: DataError, config: DataConfig, reader: FolderReader | None) -> None:
    """`error` says that a named file is not there: raises it with a better hint if the folder does without it."""
    folder = None if config.path is None else Path(config.path).expanduser()
    if folder is None or config.train is None or not folder.is_dir() or (folder / config.train).exists():
        return
    try:
        known = reader is not None and reader(folder) is not None
    except DataError:
        return  # nothing to suggest: what is wrong is the error that is there already
    if known:
        named = " ".join(f"data.{name}=null" for name in SPLITS if getattr(config, name) is not None)
        hint = f"The folder's layout says what its files are; to read it so, set {named}."
        raise DataError(error.message, hint=hint) from error


def check_apart(files: Mapping[str, Path]) -> None:
    """Raises DataError if the folder of a part lies within that of the training part, which would hold it too."""
    train = files["train"].resolve()
    for name, path in files.items():
        if path.is_dir() and train in path.resolve().parents:
            raise DataError(
                f"The {name} part {path} lies within the training part {files['train']}, which has its examples too.",
                hint="Name a folder for the training part that does not hold the other, data.train=FOLDER.",
            )
