"""Reading a ragged batch window by window in time, so that a long text needs no more memory than a short one."""

from __future__ import annotations

from collections.abc import Iterator

from seqkit.sequences import Sequences


def time_windows(sequences: Sequences, steps: int) -> Iterator[tuple[Sequences, slice]]:
    """Cut a batch in time into windows of at most `steps` steps.

    Yields each window and the rows of `sequences.data` that it holds, in order. A window has every sequence of the
    batch as a row, those that have ended with length 0, and its rows stand by falling length
    (`sequences.sorted_indices`): so a state can be carried from each window to the next.

    Raises:
        ValueError: steps is less than 1.
    """
    if steps < 1:
        raise ValueError(f"a window needs at least 1 step; steps is {steps}.")
    lengths = sequences.lengths.sort(descending=True, stable=True).values  # (B,)
    first = 0
    for start in range(0, sequences.max_length, steps):
        rows = slice(first, first + int(sequences.batch_sizes[start : start + steps].sum()))
        first = rows.stop
        # Packed order is time-major: a window is a block of it, and falling lengths stay falling when they are cut.
        yield Sequences(sequences.data[rows], (lengths - start).clamp(0, steps)), rows
