"""Series cut into parts in the order of time, and where the windows of a part begin.

What a forecast is measured on never stands in what it was learned from: the rows of a part are those whose values are
to be forecast; the past that a window reads may reach back into the part before, as it would on the day.

L rows are read, H rows are to come.
"""

from __future__ import annotations

from dataclasses import dataclass

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
