"""Columns within columns, as {"translation": {"en": "...", "de": "..."}}: how a plain name finds its way in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TRANSLATION = "translation"
"""The object in which parallel texts stand in many data sets of the Hugging Face hub, by language."""


def locate(tree: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The keys that lead to a column, or None: a key of its own, a dotted path (a.b), or a key of "translation".

    Whatever is asked for in an object that is null counts as there.
    """
    for steps in ((name,), tuple(name.split(".")), (TRANSLATION, name)):
        inner: Any = tree
        for step in steps:
            if inner is None:
                return steps
            if not isinstance(inner, Mapping) or step not in inner:
                break
            inner = inner[step]
        else:
            return steps
    return None


def value_at(tree: Mapping[str, Any], steps: tuple[str, ...]) -> Any:
    """What stands at the end of steps that `locate` gave; None in an object that is null."""
    inner: Any = tree
    for step in steps:
        if inner is None:
            return None
        inner = inner[step]
    return inner


def column_names(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The names by which columns can be asked for, those of inner objects dotted."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from column_names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
