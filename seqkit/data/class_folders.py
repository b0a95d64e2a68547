"""Folders with a sub-folder for each class: the sub-folder's name is the label, and the files in it are its examples.

Files may lie deeper, e.g. those of one scene together (`kick/scene-3/a.avi`): the column "folder" says which ones do,
so that `data.group=folder` keeps them in one part.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from seqkit.data.readers import Table
from seqkit.errors import DataError

_PARTS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}


def read_class_folders(
    folder: Path, *, suffixes: Collection[str], file: str = "video", label: str = "label"
) -> Table | None:
    """The files below each sub-folder, with columns `file` (path), `label` and "folder"; None if there is no sub-folder
    and no file that could be read.

    `suffixes` are the endings of files that the recipe reads, in lower case and with the dot; what ends otherwise is
    left out and counted, and so is a sub-folder without a file to read. Names that begin with a dot do not count.
    Raises DataError where no sub-folder has a file to read, where two differ in case alone, and where they are the
    parts of a data set.
    """
    classes = sorted(path for path in _visible(folder) if path.is_dir())
    loose = [path for path in _visible(folder) if path.is_file() and path.suffix.lower() in suffixes]
    if not classes:
        if not loose:
            return None
        raise DataError(
            f"{folder}: its {len(loose)} files ({_some(suffixes)}) lie in no sub-folder, and so have no label.",
            hint="Make a sub-folder for each class and move them there, or give a table of files and labels.",
        )
    _check_names(folder, classes)
    columns: dict[str, list[str]] = {file: [], label: [], "folder": []}
    left_out = Counter({"a file in no sub-folder": len(loose)} if loose else {})
    for path in classes:
        clips, others = _files(path, suffixes)
        left_out.update(others)
        if not clips:
            left_out[f"the sub-folder '{path.name}', which holds no file to read"] += 1
        columns[file] += [str(clip.absolute()) for clip in clips]
        columns[label] += [_plain(path.name)] * len(clips)
        columns["folder"] += ["" if clip.parent == path else str(clip.parent.relative_to(folder)) for clip in clips]
    if not columns[file]:
        raise DataError(
            f"{folder}: none of its {len(classes)} sub-folders holds a file to read ({_some(suffixes)}).",
            hint="Give a folder with a sub-folder for each class, or a table of files and labels.",
        )
    return Table(columns, columns[file], dict(left_out))


def _check_names(folder: Path, classes: Collection[Path]) -> None:
    """Raises DataError if two classes can be taken for one, or if they are the parts of a data set."""
    known: dict[str, Path] = {}
    for path in classes:
        other = known.setdefault(_plain(path.name).casefold(), path)
        if other is not path:
            raise DataError(
                f"{folder}: the sub-folders '{other.name}' and '{path.name}' differ in case alone: "
                "are they one class or two?",
                hint="Rename one of them, or put their files together.",
            )
    parts = {_PARTS[name]: path.name for name, path in known.items() if name in _PARTS}
    if all(name in _PARTS for name in known):
        named = " ".join(f"data.{part}={name}" for part, name in parts.items())
        raise DataError(
            f"{folder}: its sub-folders ({', '.join(path.name for path in classes)}) are parts, not classes.",
            hint=f"Name them: data.path={folder} {named}",
        )


def _files(folder: Path, suffixes: Collection[str]) -> tuple[list[Path], Counter[str]]:
    """The files below a folder that can be read, in order; and why the others are left out, counted."""
    clips: list[Path] = []
    others: Counter[str] = Counter()
    for path in sorted(folder.rglob("*")):
        if any(name.startswith(".") for name in path.relative_to(folder).parts) or not path.is_file():
            continue
        if path.suffix.lower() in suffixes:
            clips.append(path)
        else:
            kind = f"a {path.suffix.lower()} file" if path.suffix else "a file without an ending"
            others[f"{kind}, which is not read"] += 1
    return clips, others


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _plain(name: str) -> str:
    """A name in composed characters: some systems store them apart, and the label must not hang on that."""
    return unicodedata.normalize("NFC", name)


def _some(suffixes: Collection[str]) -> str:
    shown = list(suffixes)[:4]
    return ", ".join(shown) + (", ..." if len(suffixes) > len(shown) else "")
