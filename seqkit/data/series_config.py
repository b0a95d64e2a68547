"""The data keys that recipes of time series share; the files they lead to are found by `seqkit.data.series_source`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from seqkit.data.config import DataConfig


class SeriesData(DataConfig):
    """Which series a recipe reads. `path`, `train` and `test` name a CSV file, a folder of them, or a pattern."""

    time: str | None = None
    """Column with the time of a row; null numbers the rows."""
    target: tuple[str, ...] = ()
    """Columns with the values; empty takes every column of numbers."""
    series: str | None = None
    """Column that says which series a row belongs to, where a file holds several, one below the other."""
    layout: Literal["columns", "rows"] = "columns"
    """`columns`: a row is a step in time. `rows`: a row is a whole series, its name in the first cell, and empty cells
    at its end where it is short."""
    separator: Literal["auto", ",", ";", "\t"] = "auto"
    """What stands between cells; auto finds it in the header."""
    missing: Literal["interpolate", "mask"] = "interpolate"
    """Empty cells: `interpolate` fills them from their neighbours; `mask` tells the network which values are real."""

    @field_validator("target", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """On the command line, names are cut at commas."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class ForecastData(SeriesData):
    """Series, and how far ahead they are forecast."""

    horizon: int = Field(default=24, ge=1)
    """Steps ahead."""
    season: int | None = Field(default=None, ge=1)
    """Steps of the season that seasonal-naive repeats and MASE is scaled by; null goes by the step in time (hours: 24,
    days: 7, months: 12)."""
    train_rows: int | None = Field(default=None, ge=1)
    """Rows of the training part of each series, from its beginning; null for all that the others leave."""
    validation_rows: int | None = Field(default=None, ge=0)
    """Rows of the validation part after it; null for the share `validation_fraction`, at least a horizon."""
    test_rows: int | None = Field(default=None, ge=0)
    """Rows of the test part after that; null for the share `test_fraction`, at least a horizon. A test file goes on
    where the training file ends, and is the test part. Rows beyond are left alone."""
    stride: int = Field(default=1, ge=1)
    """Evaluation forecasts from every so many rows (rolling origin)."""
    epoch_windows: int | None = Field(default=10_000, ge=1)
    """Windows of an epoch, drawn anew for each, and each several times where there are fewer; null for all, once."""
    owa: bool = False
    """Measure M4's OWA too, against Naive2 on all that is known at each origin: slow where there are many."""
