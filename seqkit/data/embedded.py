"""Files that a data set holds within itself, sounds and videos: written out once, so that a path stands for each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seqkit.storage import disk_errors, write_bytes


def cache_folder() -> Path:
    """Where files are kept that can be had again: seqkit below XDG_CACHE_HOME, or below ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given).expanduser() if given else Path.home() / ".cache") / "seqkit"


def written_files(values: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """The path of each file, of values {"path": ..., "bytes": ...} as `datasets` has them undecoded; "" for none.

    A file that lies on the disk already stands for itself; another is written to the cache, under a digest of its
    content, with the ending of its name. Raises RunError where the disk cannot hold it.
    """
    return ["" if value is None else _written(value.get("path") or "", value.get("bytes")) for value in values]


def _written(name: str, content: bytes | None) -> str:
    if content is None:
        return name
    folder = cache_folder() / "files"
    path = folder / f"{hashlib.sha256(content).hexdigest()}{Path(name).suffix.lower()}"
    if not path.is_file() or path.stat().st_size != len(content):
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    return str(path)
