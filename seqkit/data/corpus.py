"""A running text for language modelling: lines joined to one row of ids, and cut into tracks and windows.

A batch of B rows reads B places of the text at once: the text is cut into B tracks, and the t-th batch of an epoch
holds the t-th window of every track, so that a state can be carried from each batch to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from seqkit.data.items import Items

_WINDOWS = 4
"""What a generator is for; `seqkit.data.batching` and `cutting` have the others."""


def join_lines(lines: Sequence[np.ndarray], end_id: int) -> tuple[np.ndarray, np.ndarray]:
    """One row of ids (N + 1,) int32 from the ids of each line, and where lines end.

    Every line is followed by `end_id`, and one more stands in front, as if another line had ended there: so each of
    the N ids after it can be predicted from what is before. The second array (lines,) int64 counts the predicted ids up
    to the end of each line; the last is N.
    """
    end = np.array([end_id], dtype=np.int32)
    parts = [end, *(part for line in lines for part in (line.astype(np.int32), end))]
    return np.concatenate(parts), np.cumsum([len(line) + 1 for line in lines], dtype=np.int64)


def first_window(steps: int, seed: int, epoch: int) -> int:
    """The size of an epoch's first windows, in [steps / 2, steps]: so no two epochs cut the text at the same places."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_WINDOWS, epoch)))
    return int(rng.integers((steps + 1) // 2, steps + 1))


def cut_windows(ids: np.ndarray, rows: int, steps: int | None, first: int | None = None) -> Items:
    """Cut a text into `rows` tracks of even size and each track into windows of `steps` ids.

    Args:
        ids: (N + 1,), as `join_lines` gives it.
        rows: B; fewer where the text is shorter.
        steps: ids of a window that are predicted; None for whole tracks.
        first: size of each track's first window; `steps` if None, or where a window holds a whole track.

    Returns:
        Items in order of time, then of tracks: item t * B + b is window t of track b, {"ids": (n + 1,)}, whose n last
        ids are to be predicted, each from those before it. A track that has ended gives windows without a step.
    """
    total = len(ids) - 1
    rows = max(1, min(rows, total))
    starts = np.arange(rows + 1) * total // rows  # (B + 1,)
    longest = int(np.diff(starts).max())
    steps = longest if steps is None else min(steps, longest)
    # A window that holds the whole track is not cut: there is nothing to carry over.
    first = steps if first is None or steps == longest else min(first, steps)
    cuts = [0, *range(first, longest, steps), longest]
    values, places, lengths = [], [], []
    for begin, end in pairwise(cuts):
        for low, high in pairwise(starts.tolist()):
            start, stop = min(low + begin, high), min(low + end, high)
            values.append({"ids": ids[start : stop + 1]})
            places.append(f"tokens {start + 1} to {stop} of the training text")
            lengths.append(stop - start)
    return Items(values, np.array(lengths, dtype=np.int64), places)
