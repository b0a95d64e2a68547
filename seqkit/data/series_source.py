"""From a configuration of series data to files: one CSV file, a folder of them, or a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from seqkit.data.files import roots
from seqkit.data.series_config import SeriesData
from seqkit.errors import DataError

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
"""What the names of files with series end in."""


def series_files(config: SeriesData) -> dict[str, list[Path]] | None:
    """The files of each part that is named: "train", and "validation" and "test" where they are.

    `data.path` is a file, a folder or a pattern and then the training part, unless it is a folder in which
    `data.train` names files. Returns None for the demo corpus. Raises DataError where nothing is found.
    """
    named = {name: getattr(config, name) for name in ("train", "validation", "test")}
    if config.path is not None:
        path = Path(config.path).expanduser()
        if path.is_dir() and named["train"] is not None:
            return {name: _matching([path], file, name) for name, file in named.items() if file is not None}
        found = {"train": _matching([Path()], str(path), "path")}
        others = {name: file for name, file in named.items() if file is not None and name != "train"}
        return found | {name: _matching([path.parent, Path()], file, name) for name, file in others.items()}
    if named["train"] is None:
        if config.demo:
            return None
        raise DataError(
            "No series were named.", hint="Give data.path=FILE.csv with data.time=COLUMN and data.target=COLUMN."
        )
    return {name: _matching(roots(), file, name) for name, file in named.items() if file is not None}


def _matching(folders: Sequence[Path], name: str, key: str) -> list[Path]:
    """The files that a name, a folder or a pattern stands for, in the first folder that has some."""
    for folder in folders:
        place = folder / name
        if place.is_dir():
            files = sorted(file for file in place.rglob("*") if file.name.lower().endswith(SUFFIXES) and file.is_file())
            if not files:
                raise DataError(f"{place}: no {' or '.join(SUFFIXES[:2])} file in this folder.", hint="Name a file.")
            return files
        if place.is_file():
            return [place]
        # A pattern is looked for below the folder before its first star: Path.glob takes no absolute one.
        plain = list(takewhile(lambda part: not set("*?[") & set(part), place.parts))
        pattern = place.parts[len(plain) :]
        files = sorted(file for file in Path(*plain).glob(str(Path(*pattern))) if file.is_file()) if pattern else []
        if files:
            return files
    looked = " and ".join(dict.fromkeys(str(folder.absolute()) for folder in folders))
    raise DataError(
        f"data.{key}={name}: no such file (looked in {looked}).",
        hint="Check the spelling, or set SEQKIT_DATA to the folder of the data sets.",
    )
