"""Arrays of numbers in files: a `.npy` file, a `.npz` file with one array, or one of several by its name.

An array within a `.npz` file is written FILE.npz::NAME. In the table of a data set the name alone is enough where the
arrays stand beside the table under its name: of `train.tsv`, in `train.npz`.

Nothing is unpickled, and nothing is read before its header has said that it is numbers and how large it is.
"""

from __future__ import annotations

import functools
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from seqkit.errors import InputError, nearest

SEPARATOR = "::"
ARRAY_SUFFIXES = (".npy", ".npz")
LARGEST_BYTES = 1 << 30
"""Of an array, unpacked."""
_NAMES_SHOWN = 5


def locate(table: Path, value: str) -> str:
    """The path of a file that `table` names by `value`; or FILE.npz::NAME, where it names an array beside itself.

    An existing file wins over an array of that name. A value without an ending that is neither is taken for an array's
    name, if there is a `.npz` file beside the table.
    """
    path = table.absolute().parent / Path(value).expanduser()
    beside = table.with_name(table.name.removesuffix(".gz")).with_suffix(".npz").absolute()
    if path.is_file() or SEPARATOR in value or not beside.is_file():
        return str(path)
    named = value in _names(beside, _stamp(beside)) or not Path(value).suffix
    return f"{beside}{SEPARATOR}{value}" if named else str(path)


def array_file(source: str | Path) -> Path:
    """The file of FILE, or of FILE.npz::NAME."""
    path = Path(source)
    if SEPARATOR not in str(source) or path.is_file():
        return path
    return Path(str(source).rpartition(SEPARATOR)[0])


def read_array(source: str | Path, *, dimensions: int | None = None, largest: int = LARGEST_BYTES) -> np.ndarray:
    """The numbers of FILE.npy, of FILE.npz with one array in it, or of FILE.npz::NAME.

    Args:
        source: the file, or file and name.
        dimensions: how many the array must have; None for any number of them.
        largest: most bytes that it may have, unpacked.

    Raises:
        InputError: there is no such file or array, it is damaged, does not hold numbers, or is too large.
    """
    path = array_file(source)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    name = None if path == Path(source) else str(source).rpartition(SEPARATOR)[2]
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
            if not is_zip:
                file.seek(0)
                return _read(file, str(source), dimensions, largest)
        archive = _archive(path, _stamp(path), os.getpid())
        with archive.open(_member(archive, path, name)) as member:
            return _read(cast(BinaryIO, member), str(source), dimensions, largest)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    # What zipfile raises besides: a method of packing that it lacks, a member with a password, a torn end.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{source}: damaged, or packed in a way that cannot be read ({error}).") from error


def _read(file: BinaryIO, source: str, dimensions: int | None, largest: int) -> np.ndarray:
    """An array in numpy's format: its header is checked, then as many bytes are read as that says."""
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):  # the others are for long lists of fields, which plain numbers have none of
            raise ValueError(f"version {version[0]}.{version[1]} of the format")
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        reason = " ".join(str(error).split()).removesuffix(".")
        raise InputError(f"{source}: not an array in numpy's format ({reason}).") from error
    if dtype.kind not in "fiu":
        raise InputError(f"{source}: holds values of type {dtype}, where numbers are expected.")
    if dimensions is not None and len(shape) != dimensions:
        raise InputError(
            f"{source}: an array of {len(shape)} dimensions {list(shape)}, where {dimensions} are expected."
        )
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize > largest:
        raise InputError(
            f"{source}: an array of {list(shape)} numbers is too large; {largest / 2**20:.0f} MiB are the most."
        )
    size = math.prod(shape) * dtype.itemsize
    content = file.read(size)
    if len(content) != size:
        raise InputError(f"{source}: cut short: {len(content)} of {size} bytes are there.")
    flat = np.frombuffer(content, dtype=dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if by_column else "C")


def _member(archive: zipfile.ZipFile, path: Path, name: str | None) -> str:
    """The file within a `.npz` that holds the array. Raises InputError."""
    names = [member.removesuffix(".npy") for member in archive.namelist()]
    if name is None and len(names) != 1:
        some = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
        there = f"{len(names)} arrays ({some}): name one, as {path.name}{SEPARATOR}{names[0]}" if names else "no array"
        raise InputError(f"{path}: holds {there}.")
    if name is not None and name not in names:
        clause = nearest(name, names) if len(names) <= _NAMES_SHOWN else nearest(name, names).partition("Known:")[0]
        raise InputError(f"{path}: there is no array '{name}' among its {len(names)}.", hint=clause.strip() or None)
    return archive.namelist()[0 if name is None else names.index(name)]


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does, so that what was opened before is not taken for it."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=4)
def _archive(path: Path, stamp: tuple[int, int], process: int) -> zipfile.ZipFile:
    """Opened once, since its directory may be long; by each process for itself, since they would share one position."""
    return zipfile.ZipFile(path)


@functools.lru_cache(maxsize=4)
def _names(path: Path, stamp: tuple[int, int]) -> frozenset[str]:
    """The names of the arrays in a `.npz` file; none where it is damaged, which reading it will tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(member.removesuffix(".npy") for member in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return frozenset()
