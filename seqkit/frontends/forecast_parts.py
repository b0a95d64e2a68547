"""The series of a forecasting recipe, cut into parts in the order of time.

Shapes: T rows, D columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from seqkit.data.series import Series, read_series
from seqkit.data.series_config import ForecastData, SeriesData
from seqkit.data.series_source import series_files
from seqkit.data.splits import Split, make_split
from seqkit.errors import DataError, SeqkitError
from seqkit.frontends.series_windows import Parts, cut_parts


def read_file(
    config: SeriesData, path: Path, columns: Sequence[str] = (), problems: list[SeqkitError] | None = None
) -> list[Series]:
    """The series of a file, as the configuration says; `columns` are those of a trained run.

    A series that is at fault goes to `problems`, where that is given, and the others are returned. Raises DataError.
    """
    faults: list[DataError] = []
    found = read_series(
        path,
        time=config.time,
        target=config.target or (columns if config.layout == "columns" else ()),
        series=config.series,
        layout=config.layout,
        separator=config.separator,
        problems=None if problems is None else faults,
    )
    if problems is not None:
        problems.extend(faults)
    return found


@dataclass(frozen=True)
class SeriesParts:
    """Series by name, and the rows of each one's parts."""

    series: dict[str, Series] = field(default_factory=dict)
    parts: dict[str, Parts] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    origin: str = ""

    @staticmethod
    def whole(found: Sequence[Series], input_length: int) -> SeriesParts:
        """Series all of whose rows are to be forecast, but the first ones, which are only read."""
        cut = {one.name: min(input_length, len(one.values)) for one in found}
        return SeriesParts(
            {one.name: one for one in found},
            {
                one.name: Parts(
                    range(cut[one.name]), range(cut[one.name], cut[one.name]), range(cut[one.name], len(one.values))
                )
                for one in found
            },
        )

    def splits(self) -> dict[str, Split]:
        """Each part as a table of series and rows."""
        return {
            name: replace(self._split(name), left_out=self.left_out if name == "train" else {})
            for name in ("train", "validation", "test")
            if any(name in parts.named() for parts in self.parts.values())
        }

    def _split(self, part: str) -> Split:
        rows = {name: parts.named()[part] for name, parts in self.parts.items() if part in parts.named()}
        digests = [
            hashlib.sha256(np.ascontiguousarray(self.series[name].values[: own.stop]).tobytes())
            for name, own in rows.items()
        ]
        columns = {
            "series": list(rows),
            "rows": [f"{own.start}:{own.stop}" for own in rows.values()],
            "digest": [digest.hexdigest() for digest in digests],
        }
        places = [f"{self.series[name].place}:{self.series[name].first_line + own.start}" for name, own in rows.items()]
        return make_split(columns, places, origin=self.origin)

    def rows(self, split: Split) -> tuple[list[Series], list[range]]:
        """The series of a part and its rows of each."""
        ranges = [range(*(int(end) for end in text.split(":"))) for text in split.column("rows")]
        return [self.series[name] for name in split.column("series")], ranges

    def known(self, series: Series) -> list[range]:
        """All parts of a series that have rows, in order."""
        return list(self.parts[series.name].named().values())


def load_parts(config: ForecastData, demo: Callable[[], list[Series]]) -> SeriesParts:
    """Read the series that a configuration names and cut each into its parts.

    Raises DataError where there is none to train on.
    """
    files = series_files(config)
    if files is None:
        found, continued, origin = demo(), [], "the demo corpus, made here"
    else:
        found = [one for path in files["train"] for one in read_file(config, path)]
        continued = [one for path in files.get("test", []) for one in read_file(config, path)]
        origin = ", ".join(str(path) for path in files["train"][:3]) + (" ..." if len(files["train"]) > 3 else "")
        if "validation" in files:
            raise DataError(
                "data.validation names a file.", hint="Use data.validation_rows: rows at the end of training."
            )
    found = _named_apart(found)
    _check_columns(found)
    tests = {one.name: one for one in continued}
    missing = [one.name for one in found if continued and one.name not in tests]
    if missing:
        raise DataError(
            f"the test file has no series '{missing[0]}', which stands in the training file.", hint="Add it."
        )
    series, parts, refused = {}, {}, list[DataError]()
    for one in found:
        try:
            joined = _joined(one, tests[one.name]) if continued else one
            parts[one.name] = _cut(config, joined, len(one.values) if continued else None)
        except DataError as problem:
            refused.append(problem)
            continue
        series[one.name] = joined
    if not series:
        raise refused[0]
    left_out = {"series with too few rows for its parts": len(refused)} if refused else {}
    return SeriesParts(series, parts, left_out, origin)


def _cut(config: ForecastData, series: Series, trained: int | None) -> Parts:
    """The parts of a series; `trained` are the rows of its training file, where its test rows come from another."""
    total = len(series.values)
    try:
        return cut_parts(
            total,
            train_rows=config.train_rows,
            validation_rows=config.validation_rows,
            test_rows=config.test_rows if trained is None else total - trained,
            validation_fraction=config.validation_fraction,
            test_fraction=config.test_fraction,
            horizon=config.horizon,
        )
    except DataError as problem:
        raise DataError(f"{series.place}: series '{series.name}': {problem}") from problem


def _joined(series: Series, more: Series) -> Series:
    """A series and what comes after it, from another file."""
    times = None
    if series.times is not None and more.times is not None:
        if more.times[0] <= series.times[-1]:
            raise DataError(
                f"{more.place}:{more.first_line}: begins before {series.place} ends.",
                hint="A test file goes on after it.",
            )
        times = np.concatenate([series.times, more.times])
    return replace(series, values=np.concatenate([series.values, more.values]), times=times)


def _named_apart(found: Sequence[Series]) -> list[Series]:
    """The series with the file's name in front of theirs, where two files have one of the same name."""
    names = [one.name for one in found]
    if len(set(names)) == len(names):
        return list(found)
    return [replace(one, name=f"{Path(one.place).stem}/{one.name}") for one in found]


def _check_columns(found: Sequence[Series]) -> None:
    for one in found:
        if one.columns != found[0].columns:
            raise DataError(
                f"{one.place} has the columns {', '.join(one.columns)}, and {found[0].place} has "
                f"{', '.join(found[0].columns)}.",
                hint="Name those that all files have: data.target=COLUMN,COLUMN.",
            )
