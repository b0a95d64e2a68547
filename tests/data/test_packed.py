"""Prepared values as bytes: what comes back is what went in, types and bits included."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest

from seqkit.data.packed import pack, unpack


def same(one: Any, other: Any) -> bool:
    """Whether two values agree in type and bits, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        alike = one.dtype == other.dtype and one.shape == other.shape and one.strides == other.strides
        return bool(alike and one.tobytes() == other.tobytes())
    return repr(one) == repr(other)  # which tells -0.0 from 0.0, and takes NaN for NaN


RNG = np.random.default_rng(0)
VALUES: dict[str, Any] = {
    "plain": {"none": None, "yes": True, "int": 2**70, "float": 0.1, "minus zero": -0.0, "text": "Straße \ud800 \0 𝄞"},
    "not finite": [float("nan"), float("inf"), -float("inf")],
    "nested": {"pieces": [np.arange(3), [], [np.arange(2.0)]], "pair": (1, (2.0, "c"), ()), "more": {"a": {}}},
    "bytes": [b"", b"\0\xff", {"raw": b"x" * 300}],
    "scalars": [np.float32(0.1), np.int64(7), np.bool_(True), np.str_("s"), np.float64("nan"), np.uint8(255)],
    "empty": [np.zeros((0, 3)), np.zeros((2, 0), dtype=np.int16)],
    "no axis": np.array(3, dtype=np.int32),
    "other dtypes": [np.array([1 + 2j]), np.array(["a", "bcd"]), np.array([True]), np.array([1, 2], dtype=">i4")],
    "half": RNG.normal(size=(3, 4)).astype(np.float16),
    "order": np.asfortranarray(RNG.normal(size=(3, 4, 2))),
    "dates": np.array(["2020-01-01"], dtype="datetime64[s]"),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_comes_back_is_what_went_in(name: str) -> None:
    assert same(unpack(pack(VALUES[name])), VALUES[name])


def test_the_comparison_sees_small_differences() -> None:
    assert not same(np.float32(1), 1.0)
    assert not same(np.zeros(2), np.zeros(2, dtype=np.float32))
    assert not same([0.0], [-0.0])
    assert not same((1,), [1])
    assert not same(VALUES["order"], np.ascontiguousarray(VALUES["order"]))


def test_arrays_that_come_back_can_be_written_to_and_are_their_own() -> None:
    packed = pack({"a": np.zeros(3), "cut": np.arange(10)[::3]})
    first, second = unpack(packed), unpack(packed)
    first["a"][0] = 1
    assert second["a"][0] == 0
    assert first["cut"].tolist() == [0, 3, 6, 9]


class Colour(enum.IntEnum):
    """A whole number, and yet not one."""

    RED = 1


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([None]), Colour.RED, np.zeros(1, dtype=[("x", "f4")])])
def test_what_would_come_back_as_something_else_is_refused_by_its_place(value: Any) -> None:
    with pytest.raises(TypeError, match=r"item\['deep'\]\[1\]: .* cannot be kept in a cache"):
        pack({"deep": [0, value]})


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match=r"item\['a'\]: the key 1 is not a text"):
        pack({"a": {1: 2}})


def test_bytes_that_are_not_whole_are_an_error_at_every_length() -> None:
    packed = pack({"ids": np.arange(5), "text": "a"})
    for length in range(len(packed)):
        with pytest.raises(ValueError, match=r"."):
            unpack(packed[:length])
    with pytest.raises(ValueError, match="left over"):
        unpack(packed + b"\0")
