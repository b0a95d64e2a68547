"""The windows of the Numenta Anomaly Benchmark, as its corpus stores them: times of the first and last row of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.errors import DataError
from seqkit.heads.nab import LabelledFile

Window = tuple[np.datetime64, np.datetime64]

WINDOWS_FILE = Path("labels", "combined_windows.json")
"""In the folder of the corpus; its keys are paths below `data`."""


def read_windows(path: Path) -> dict[str, list[Window]]:
    """Windows of each file, by its path below the corpus' folder `data` ("realTraffic/speed_6005.csv").

    Args:
        path: a JSON file: {"folder/file.csv": [["2014-04-10 07:15:00.000000", "2014-04-11 16:45:00.000000"], ...]}.

    Raises:
        DataError: no such file, or one that holds something else.
    """
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the windows cannot be read: {error}.", hint="Give the corpus' folder.") from error
    if not isinstance(stored, dict):
        raise DataError(f"{path}: expected an object with a list of windows for each file.")
    return {
        str(name): [_window(pair, f"{path}: {name}") for pair in _pairs(pairs, path, name)]
        for name, pairs in stored.items()
    }


def labelled_file(times: np.ndarray, windows: Sequence[Window], place: str) -> LabelledFile:
    """The labels of a file.

    Args:
        times: (T,) datetime64, of its rows; where one comes twice, its first row counts, as in the benchmark's program.
        windows: of that file.
        place: the file's name, for messages.

    Raises:
        DataError: a window begins or ends at a time that no row has, or windows overlap.
    """
    rows = [(_row(times, first, place), _row(times, last, place)) for first, last in windows]
    try:
        return LabelledFile(len(times), rows)
    except ValueError as error:
        raise DataError(f"{place}: the windows do not fit the file: {error}") from error


def _row(times: np.ndarray, time: np.datetime64, place: str) -> int:
    rows = np.flatnonzero(times == time)
    if not len(rows):
        raise DataError(
            f"{place}: a window begins or ends at {time}, and no row has this time.",
            hint="The labels are of another file, or rows are missing.",
        )
    return int(rows[0])


def _pairs(pairs: Any, path: Path, name: str) -> list[Any]:
    if not isinstance(pairs, list):
        raise DataError(f"{path}: {name}: expected a list of windows, got {pairs!r}.")
    return pairs


def _window(pair: Any, place: str) -> Window:
    try:
        first, last = pair
        return np.datetime64(first, "ns"), np.datetime64(last, "ns")
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: expected a window of two times, got {pair!r}.") from error
