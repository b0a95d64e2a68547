"""What demo corpora share: draws that are the same everywhere, and a folder of files that is made once.

A folder appears under its name when it is whole, so an interrupt leaves no half corpus; what a killed process left is
removed when it is old.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from seqkit.storage import disk_errors

Choice = TypeVar("Choice")

_STALE = 24 * 3600.0  # seconds after which an unfinished folder is one that nobody fills any more
_TEMPORARY = ".partial-"


class Draws:
    """Draws from a seed. Only `random()` is promised to give the same numbers in every version of Python."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big"))

    def whole(self, begin: int, end: int) -> int:
        """A whole number from `begin`, below `end`."""
        return begin + int(self._rng.random() * (end - begin))

    def real(self, low: float, high: float) -> float:
        """A number between two others, to a thousandth."""
        return round(low + self._rng.random() * (high - low), 3)

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of the choices."""
        return choices[self.whole(0, len(choices))]

    def shuffled(self, choices: Sequence[Choice]) -> list[Choice]:
        """All of the choices, in any order."""
        left = list(choices)
        return [left.pop(self.whole(0, len(left))) for _ in choices]


def is_whole(folder: Path, files: Collection[str]) -> bool:
    """Whether a folder is there and has all of its files, names relative to it."""
    return folder.is_dir() and all((folder / file).is_file() for file in files)


def make_folder(folder: Path, files: Collection[str], fill: Callable[[Path], None]) -> None:
    """Make a folder of files: `fill` writes them into another folder, which then gets the name.

    If two processes make it at once, one of the two stays. What stands there and is not whole is replaced. Raises
    RunError where the disk refuses, and what `fill` raises.
    """
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        temporary = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{folder.name}-", dir=folder.parent))
    try:
        with disk_errors(folder):
            for name in {Path(file).parent for file in files}:
                (temporary / name).mkdir(parents=True, exist_ok=True)
        fill(temporary)
        with disk_errors(folder):
            temporary.chmod(0o755)  # mkdtemp lets nobody else in
            _put(temporary, folder, files)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: Path, files: Collection[str]) -> None:
    """Give a filled folder its name."""
    if folder.exists() and not is_whole(folder, files):
        broken = temporary.with_name(f"{temporary.name}-broken")
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            folder.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        temporary.rename(folder)
    except OSError:
        if not is_whole(folder, files):  # no other process was faster: the disk refuses
            raise


def _remove_stale(folder: Path) -> None:
    """Remove what killed processes left beside a folder."""
    for left in folder.parent.glob(f"{_TEMPORARY}{folder.name}-*"):
        if time.time() - left.stat().st_mtime > _STALE:
            shutil.rmtree(left, ignore_errors=True)
