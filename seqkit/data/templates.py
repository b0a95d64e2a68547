"""File names with `{lang}`, which stand for a file for each column: train.{lang}.gz is train.en.gz and train.de.gz."""

from __future__ import annotations

import glob
import re
from pathlib import Path

LANG = "{lang}"
"""What a column's name takes the place of, anywhere in a path."""


def is_template(path: Path) -> bool:
    """Whether the name stands for a file for each column."""
    return LANG in str(path)


def is_there(path: Path) -> bool:
    """Whether the file is there; of a template, whether any of its files is: which ones are needed shows later."""
    return bool(versions(path)) if is_template(path) else path.is_file()


def version(template: Path, column: str) -> Path:
    """The file of one column."""
    return Path(str(template).replace(LANG, column))


def versions(template: Path) -> list[Path]:
    """Every file that is there and that the template can stand for, by name."""
    pieces = str(template).split(LANG)
    found = glob.glob("*".join(map(glob.escape, pieces)))  # noqa: PTH207 (Path.glob cannot begin at any path)
    # Where {lang} stands twice it is the same each time.
    same = re.compile(r"([^/\\]+)".join(map(re.escape, pieces[:2])) + "".join(rf"\1{re.escape(p)}" for p in pieces[2:]))
    return sorted(path for path in map(Path, found) if path.is_file() and same.fullmatch(str(path)))
