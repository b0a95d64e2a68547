"""What is said of a judged series: a CSV line for each row, the anomalies from when to when, a picture.

Shapes: T rows, D columns.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqkit.data.series import Series
from seqkit.frontends.calendar_features import calendar_features
from seqkit.frontends.series_rows import RowReader
from seqkit.heads.anomaly_scores import RowScorer, Scored, spells
from seqkit.heads.detector import Detector
from seqkit.reporting.anomalies import Span, save_anomalies
from seqkit.reporting.figures import free_path
from seqkit.storage import write_bytes

HEADER = ("time", "score", "flag", "column")
"""Columns of an answer: the row's time, or its number from 1; its score, empty where it has none; 1 where it is
flagged; and the column that deviates most there."""


@dataclass(frozen=True)
class Judged:
    """What is said of a part: `item` as the recipe made it, with its rows as "series"."""

    item: Mapping[str, Any]
    scored: Scored

    @property
    def series(self) -> Series:
        """The rows that were judged, and those before them."""
        found: Series = self.item["series"]
        return found

    def picture(self, folder: Path) -> Path:
        """Draw the series that was decoded into a new file of a folder."""
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in self.series.name)
        return save_judged(self.series, self.scored, free_path(folder, name), None)


def row_times(series: Series) -> list[str]:
    """The time of each row as text; its number from 1 where it has none."""
    if series.times is None:
        return [str(number) for number in range(1, len(series.values) + 1)]
    return [shown_time(time) for time in np.datetime_as_string(series.times).tolist()]


def shown_time(time: str) -> str:
    """An ISO time with nanoseconds, without the zeros at its end."""
    return time.replace("T", " ").rstrip("0").rstrip(".") if "." in time else time.replace("T", " ")


def answer_text(judged: Sequence[Judged]) -> str:
    """The CSV of a file: a line for each row; with several series, their names in the first column."""
    several = len(judged) > 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(["series"] if several else []), *HEADER])
    for one in judged:
        scored, columns = one.scored, one.series.columns
        name = [one.series.name] if several else []
        for time, score, flag, column in zip(
            row_times(one.series), scored.scores, scored.flags, scored.columns, strict=True
        ):
            writer.writerow([*name, *_cells(time, float(score), bool(flag), int(column), columns)])
    return text.getvalue().removesuffix("\n")


def _cells(time: str, score: float, flag: bool, column: int, columns: Sequence[str]) -> list[str]:
    if math.isnan(score):
        return [time, "", "0", ""]
    return [time, f"{score:.5g}", str(int(flag)), columns[column]]


def judged_fields(judged: Sequence[Judged]) -> dict[str, Any]:
    """For a JSON object: of each series its rows, how many are flagged, the threshold, and the anomalies in order."""
    return {"series": [_fields(one) for one in judged]}


def _fields(one: Judged) -> dict[str, Any]:
    times = row_times(one.series)
    return {
        "name": one.series.name,
        "rows": len(times),
        "flagged": int(one.scored.flags.sum()),
        "threshold": one.scored.threshold,
        "anomalies": [
            {
                "start": times[spell.start],
                "end": times[spell.stop - 1],
                "rows": spell.stop - spell.start,
                "score": spell.score,
                "column": one.series.columns[spell.column],
            }
            for spell in spells(one.scored)
        ],
    }


class RowWatcher:
    """Judges one series row by row, as `Judged` is made of all its rows at once.

    Args:
        networks: the members of an ensemble, whose errors are averaged.
        reader: makes a row into what they read.
        scorer: makes errors into scores.
        threshold: the score above which a row is flagged.
        calendar: what is read of the time of a row.
    """

    def __init__(
        self,
        networks: Sequence[Detector],
        reader: RowReader,
        scorer: RowScorer,
        threshold: float,
        calendar: tuple[str, ...] = (),
    ) -> None:
        self._streams = [network.stream() for network in networks]
        self._device = next(networks[0].parameters()).device
        self._columns = networks[0].columns
        self._reader, self._scorer, self._threshold, self._calendar = reader, scorer, threshold, calendar

    def step(self, row: np.ndarray, time: np.datetime64 | None) -> tuple[float, bool, int]:
        """Score, flag and most deviating column of the next row (D,), NaN where a value is missing; NaN, False and -1
        while there are too few rows before it."""
        times = np.array([time or 0], "datetime64[ns]")
        seen = np.concatenate([self._reader.step(row), calendar_features(times, self._calendar)[0]])
        read = torch.from_numpy(seen).to(self._device)
        found = [stream.step(read) for stream in self._streams]
        errors = np.full(self._columns, np.nan)
        known = [one.cpu().numpy() for one in found if one is not None]
        if known:
            errors = np.where(np.isnan(row), np.nan, np.mean(known, axis=0, dtype=np.float64))
        values = np.where(np.isnan(row), np.nan, read[: self._columns].cpu().numpy())
        score, column = self._scorer.step(errors, values)
        return score, score > self._threshold, column


def row_answers(
    rows: Iterable[tuple[int, np.datetime64 | None, np.ndarray]], watcher: RowWatcher, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each row (its line's number, time and values) as it comes, its CSV line and the fields of a JSON object; the
    header stands before the first line."""
    header = ",".join(HEADER) + "\n"
    for number, (_, time, values) in enumerate(rows, 1):
        score, flag, column = watcher.step(values, time)
        shown = str(number) if time is None else shown_time(str(np.datetime_as_string(time)))
        cells = _cells(shown, score, flag, column, columns)
        fields = {
            "time": cells[0],
            "score": None if math.isnan(score) else score,
            "flag": flag,
            "column": cells[3] or None,
        }
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(cells)
        yield header + text.getvalue(), fields
        header = ""


def save_judged(series: Series, scored: Scored, path: Path, labels: np.ndarray | None) -> Path:
    """Draw a series with its anomalies and its score; the title names the column that deviates most."""
    found = spells(scored)
    worst = max(found, key=lambda spell: spell.score, default=None)
    blamed = "no anomaly" if worst is None else f"{len(found)} anomalies, most in {series.columns[worst.column]}"
    return save_anomalies(
        path,
        title=f"{series.name}: {blamed}",
        times=np.arange(1, len(series.values) + 1) if series.times is None else series.times,
        values=series.values,
        columns=series.columns,
        scores=scored.scores,
        threshold=scored.threshold,
        spans=[Span(spell.start, spell.stop, spell.column) for spell in found],
        labels=labels,
    )


def save_spells(judged: Sequence[tuple[str, Series, Scored, int]], path: Path) -> Path:
    """A table (tab-separated) of the anomalies of series, by name, from the row on from which each is judged."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["series", "start", "end", "rows", "score", "threshold", "column"])
    for name, series, scored, start in judged:
        times = row_times(series)
        for spell in spells(scored):
            if spell.stop > start:
                writer.writerow(
                    [
                        name,
                        times[spell.start],
                        times[spell.stop - 1],
                        spell.stop - spell.start,
                        f"{spell.score:.6g}",
                        f"{scored.threshold:.6g}",
                        series.columns[spell.column],
                    ]
                )
    write_bytes(path, text.getvalue().encode())
    return path
