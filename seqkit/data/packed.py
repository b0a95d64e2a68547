"""Prepared values as bytes and back, without pickle: a JSON header that names the types, then the arrays' own bytes.

What comes back equals what went in, bit for bit and type for type: dtypes, shapes, numpy scalars, tuples, -0.0 and NaN
included. The arrays are new and writable.

    4 bytes   length of the header, little-endian
    header    JSON; null, true, numbers and texts stand for themselves, all else is a list that starts with its kind
    rest      the content of arrays and bytes, in the order in which the header names them
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Literal

import numpy as np

_LENGTH = struct.Struct("<I")
_PLAIN = frozenset({type(None), bool, int, float, str})


def pack(value: Any) -> bytes:
    """Nested dicts (of text keys), lists, tuples, numpy arrays and scalars, numbers, texts, bytes and None, as bytes.

    Raises TypeError that names the place of a value of any other type.
    """
    blobs: list[bytes] = []
    header = json.dumps(_describe(value, "item", blobs), separators=(",", ":")).encode("ascii")
    return b"".join([_LENGTH.pack(len(header)), header, *blobs])


def unpack(packed: bytes) -> Any:
    """What `pack` was given. Raises ValueError for bytes that it did not make."""
    try:
        (length,) = _LENGTH.unpack_from(packed)
        start = _LENGTH.size + length
        header = json.loads(packed[_LENGTH.size : start])
        reader = _Reader(packed, start)
        value = reader.restore(header)
    except (struct.error, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"not a packed value: {error}") from error
    if reader.position != len(packed):
        raise ValueError(f"not a packed value: {len(packed) - reader.position} bytes are left over")
    return value


def _describe(value: Any, place: str, blobs: list[bytes]) -> Any:
    """The header of a value, whose raw content is appended to `blobs`."""
    # The type itself, not isinstance: a subclass (an enum, a numpy float) would come back as something else.
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        wrong = [key for key in value if type(key) is not str]
        if wrong:
            raise TypeError(f"{place}: the key {wrong[0]!r} is not a text, so this cannot be kept in a cache")
        return ["dict", [[key, _describe(entry, f"{place}[{key!r}]", blobs)] for key, entry in value.items()]]
    if kind is list or kind is tuple:
        return [kind.__name__, [_describe(entry, f"{place}[{n}]", blobs) for n, entry in enumerate(value)]]
    if kind is bytes:
        blobs.append(value)
        return ["bytes", len(value)]
    if kind is np.ndarray or isinstance(value, np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject or array.dtype.names is not None:
            raise TypeError(f"{place}: an array of dtype {array.dtype} cannot be kept in a cache")
        # The order in memory is kept too: what is summed over such an array may hang on it.
        order: Literal["F", "C"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        blobs.append(array.tobytes(order))
        if kind is not np.ndarray:
            return ["scalar", array.dtype.str]
        return ["array", array.dtype.str, list(array.shape), order]
    raise TypeError(f"{place}: {kind.__name__} cannot be kept in a cache, only numpy arrays, numbers and texts")


class _Reader:
    """Restores values from headers, taking raw content from `packed` as it goes."""

    def __init__(self, packed: bytes, position: int) -> None:
        self.packed, self.position = packed, position

    def restore(self, header: Any) -> Any:
        """The value of a header."""
        if not isinstance(header, list):
            return header
        kind, *rest = header
        if kind == "dict":
            return {key: self.restore(entry) for key, entry in rest[0]}
        if kind == "list":
            return [self.restore(entry) for entry in rest[0]]
        if kind == "tuple":
            return tuple(self.restore(entry) for entry in rest[0])
        if kind == "bytes":
            return bytes(self._take(rest[0]))
        if kind == "scalar":
            return self._array(rest[0], (), "C")[()]
        if kind == "array":
            return self._array(*rest)
        raise ValueError(f"not a packed value: a kind {kind!r}")

    def _array(self, dtype: str, shape: list[int] | tuple[()], order: Any) -> np.ndarray:
        content = np.dtype(dtype)
        raw = self._take(math.prod(shape) * content.itemsize)
        # A copy, because an array over `bytes` cannot be written to, and would keep all of `packed` in memory.
        return np.ndarray(tuple(shape), dtype=content, buffer=raw, order=order).copy(order="K")

    def _take(self, count: int) -> memoryview:
        start, self.position = self.position, self.position + count
        if not 0 <= start <= self.position <= len(self.packed):
            raise ValueError("not a packed value: it is cut off")
        return memoryview(self.packed)[start : self.position]
