"""Data sets of the Hugging Face hub, or local folders laid out as the hub's, to the recipe's columns of text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqkit.data.config import HubConfig
from seqkit.data.embedded import written_files
from seqkit.data.nested import column_names, locate
from seqkit.errors import DataError, nearest

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class HubPart:
    """One part of a hub data set: columns of text with "place" and, where there is one, "group"."""

    columns: dict[str, list[str]]
    left_out: dict[str, int]
    origin: str


def load_hub(
    config: HubConfig,
    columns: Mapping[str, str],
    group: str | None,
    *,
    hint: str,
    may_be_empty: Collection[str] = (),
    parts: Collection[str] = ("train", "validation", "test"),
) -> dict[str, HubPart]:
    """Load `parts` of a hub data set, where it has them; `columns` maps the recipe's columns to those of the files.

    An example with nothing in a column is left out, unless `may_be_empty` names it.

    A group column that the hub's copy lacks is not used, and the part's origin says so. Raises DataError, ending in
    `hint`, where the data set cannot be had, and one that lists what there is for a wrong part or column.
    """
    whole = _download(config, hint)
    names = config.splits or {name: name for name in ("train", "validation", "test") if name in whole}
    if "train" not in names:
        there = ", ".join(whole)
        hint = f"Parts there: {there}. Set data.hub.splits, e.g. {{train: {next(iter(whole))}}}."
        raise DataError(f"The data set '{config.name}' has no part named as training part.", hint=hint)
    loaded: dict[str, HubPart] = {}
    for ours, theirs in names.items():
        if ours not in parts:
            continue
        if theirs not in whole:
            hint = f"Parts there: {', '.join(whole)}. {nearest(theirs, whole)}"
            raise DataError(f"The data set '{config.name}' has no part '{theirs}'.", hint=hint)
        group_column = group if ours == "train" else None
        loaded[ours] = _part(config, theirs, whole[theirs], columns, group_column, may_be_empty)
    return loaded


def _download(config: HubConfig, hint: str) -> Mapping[str, datasets.Dataset]:
    import datasets

    try:
        found = datasets.load_dataset(config.name, config.config, revision=config.revision)
    # A missing data set, no network and offline mode are OSErrors; a wrong configuration is a ValueError.
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(_cause(error)).split()) or type(error).__name__
        message = f"The data set '{config.name}' cannot be had from the Hugging Face hub: {reason[:300]}"
        raise DataError(message.removesuffix(".") + ".", hint=hint) from error
    if not isinstance(found, Mapping):
        raise DataError(f"The data set '{config.name}' has no parts.", hint=hint)
    return found


def _cause(error: BaseException) -> BaseException:
    """What is behind "an error occurred while generating the dataset"; other errors speak for themselves."""
    import datasets

    while isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _part(
    config: HubConfig,
    name: str,
    data: datasets.Dataset,
    columns: Mapping[str, str],
    group: str | None,
    may_be_empty: Collection[str],
) -> HubPart:
    origin = f"the hub's {config.name}, part {name}"
    tree = _tree(data)
    values: dict[str, list[str]] = {}
    for ours, theirs in columns.items():
        column = config.columns.get(ours, theirs)
        steps = locate(tree, column)
        if steps is None:
            there = list(column_names(tree))
            clause = nearest(column, there)
            hint = f"Columns there: {', '.join(there)}. " + (f"{clause} " if clause.startswith("Did") else "")
            raise DataError(
                f"There is no column '{column}' in {origin}.", hint=f"{hint}Set data.hub.columns={{{ours}: NAME}}."
            )
        values[ours] = _texts(data, steps, config, origin)
    keep, left_out = _usable({ours: cells for ours, cells in values.items() if ours not in may_be_empty}, len(data))
    values["place"] = [f"{config.name}/{name}:{row}" for row in range(1, len(data) + 1)]
    grouped = None if group is None else locate(tree, group)
    if grouped is not None:
        values["group"] = _texts(data, grouped, config, origin)
    elif group is not None:
        origin += f" (which has no column '{group}', so examples of one {group} can stand in two parts)"
    return HubPart({ours: [column[row] for row in keep] for ours, column in values.items()}, left_out, origin)


def _tree(data: datasets.Dataset) -> dict[str, Any]:
    """The columns and, where one holds others, as translations do, those within it."""
    import datasets

    return {
        name: dict.fromkeys(feature.languages, datasets.Value("string"))
        if isinstance(feature, datasets.Translation)
        else feature
        for name, feature in data.features.items()
    }


def _texts(data: datasets.Dataset, steps: tuple[str, ...], config: HubConfig, origin: str) -> list[str]:
    """The column to which `steps` lead, as texts; "nothing" (null, a class label of -1) becomes an empty one."""
    import datasets

    column = ".".join(steps)
    if len(steps) > 1:
        data = data.select_columns([steps[0]]).flatten()  # its columns have dotted names
    feature = data.features[column]
    if isinstance(feature, (datasets.Audio, datasets.Video)):
        return written_files(data.cast_column(column, type(feature)(decode=False))[column])
    if isinstance(feature, datasets.ClassLabel):
        known: Sequence[str] = (
            feature.names if config.labels == "names" else [str(i) for i in range(feature.num_classes)]
        )
        return ["" if value is None or value < 0 else known[value] for value in data[column]]
    if not isinstance(feature, datasets.Value):
        inner = list(column_names(_tree(data.select_columns([column]))))
        hint = "Choose a column of texts, numbers or class labels" + (
            f": {', '.join(inner)}." if inner != [column] else "."
        )
        raise DataError(f"The column '{column}' of {origin} holds neither texts nor numbers.", hint=hint)
    write: Callable[[Any], str] = str if feature.dtype in ("string", "large_string") else _as_json
    return ["" if value is None else write(value) for value in data[column]]


def _as_json(value: Any) -> str:
    """A number or flag as a JSON file would hold it, so that the hub and a file agree; a date as it prints."""
    return json.dumps(value) if isinstance(value, (bool, int, float)) else str(value)


def _usable(values: Mapping[str, Sequence[str]], rows: int) -> tuple[list[int], dict[str, int]]:
    """Which of the `rows` have something in each column, and why the others were left out."""
    keep: list[int] = []
    left_out: Counter[str] = Counter()
    for row in range(rows):
        empty = next((name for name, cells in values.items() if not cells[row].strip()), None)
        if empty is None:
            keep.append(row)
        else:
            left_out[f"nothing in column '{empty}'"] += 1
    return keep, dict(left_out)
