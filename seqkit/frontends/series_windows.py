"""Series cut into parts in the order of time, and parts into windows, which are views.

What a forecast is measured on never stands in what it was learned from: the rows of a part are those whose values are
to be forecast; the past that a window reads may reach back into the part before, as it would on the day.

Shapes: T rows, D columns, L rows read, H rows to come, N windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqkit.errors import DataError


@dataclass(frozen=True)
class Parts:
    """The rows of each part, in order and apart from each other."""

    train: range
    validation: range
    test: range

    def named(self) -> dict[str, range]:
        """Each part that has rows."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: rows for name, rows in found.items() if len(rows)}


def cut_parts(
    length: int,
    *,
    train_rows: int | None = None,
    validation_rows: int | None = None,
    test_rows: int | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    horizon: int = 1,
) -> Parts:
    """Cut `length` rows: training from the beginning, then validation, then test.

    A part without a number of rows gets its share of them, and at least a `horizon` unless the share is 0. Without
    `train_rows` the parts end with the last row; with it they begin with the first, and what is beyond is left alone.
    Raises DataError where the rows do not reach.
    """
    shares = {"validation": (validation_rows, validation_fraction), "test": (test_rows, test_fraction)}
    rows = {
        name: given if given is not None else (max(int(length * share), horizon) if share else 0)
        for name, (given, share) in shares.items()
    }
    train = train_rows if train_rows is not None else length - rows["validation"] - rows["test"]
    end = train + rows["validation"] + rows["test"]
    if train < 1 or end > length:
        raise DataError(
            f"{length} rows do not reach for {rows['validation']} of validation, {rows['test']} of test and "
            f"{'some' if train_rows is None else train_rows} of training.",
            hint="Lower data.horizon, data.validation_rows or data.test_rows, or give more rows.",
        )
    middle = train + rows["validation"]
    return Parts(range(train), range(train, middle), range(middle, end))


def origins(rows: range, input_length: int, horizon: int, stride: int = 1) -> range:
    """Where windows of a part begin to look ahead: row `o` is the first to be forecast, rows o - L to o - 1 are read.

    All H rows to come are the part's; the rows read may be those before it.
    """
    return range(max(rows.start, input_length), rows.stop - horizon + 1, stride)


def windows(
    values: np.ndarray, input_length: int, horizon: int, rows: range, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of a part: what is read (N, L, D) and what is to come (N, H, D), both views of `values` (T, D)."""
    begins = origins(rows, input_length, horizon, stride)
    whole = np.lib.stride_tricks.sliding_window_view(
        values, input_length + horizon, axis=0
    )  # (T - L - H + 1, D, L + H)
    if not len(begins):
        none = values[:0, None, :]
        return none[:, :input_length], none[:, :horizon]
    first = begins.start - input_length
    found = whole[first : first + (len(begins) - 1) * stride + 1 : stride].swapaxes(1, 2)
    return found[:, :input_length], found[:, input_length:]
