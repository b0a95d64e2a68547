"""The data keys that recipes of time series share; the files they lead to are found by `seqkit.data.series_source`."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from seqkit.data.config import DataConfig


class SeriesData(DataConfig):
    """Which series a recipe reads. `path`, `train` and `test` name a CSV file, a folder of them, or a pattern (*.csv)."""

    time: str | None = None
    """Column with the time of a row; null numbers the rows."""
    target: tuple[str, ...] = ()
    """Columns with the values; empty takes every column of numbers."""
    series: str | None = None
    """Column that says which series a row belongs to, where a file holds several, one below the other."""
    layout: Literal["columns", "rows"] = "columns"
    """`columns`: a row is a step in time. `rows`: a row is a whole series, its name in the first cell, short ones padded
    with empty cells."""
    separator: Literal["auto", ",", ";", "\t"] = "auto"
    """What stands between cells; auto finds it in the header."""
    missing: Literal["interpolate", "mask"] = "interpolate"
    """Empty cells: `interpolate` fills them between their neighbours; `mask` tells the network which values are real."""

    @field_validator("target", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """On the command line, names are cut at commas."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value
