"""Windows of a running text, against a plain loop: every token is predicted once an epoch, from the one before it."""

from __future__ import annotations

import numpy as np
import pytest

from seqkit.data.corpus import cut_windows, first_window, join_lines


def _tracks(total: int, rows: int, steps: int | None, first: int | None) -> list[list[list[int]]]:
    """What the windows are, in plain words: for each track, the windows as lists of the positions predicted."""
    tracks = []
    longest = max((row + 1) * total // rows - row * total // rows for row in range(rows))
    size = longest if steps is None else steps
    for row in range(rows):
        positions = list(range(row * total // rows + 1, (row + 1) * total // rows + 1))
        windows, left = [], size if first is None or size >= longest else first
        while positions:
            windows.append(positions[:left])
            positions, left = positions[left:], size
        tracks.append(windows)
    return tracks


@pytest.mark.parametrize("total", [1, 2, 5, 23, 64])
@pytest.mark.parametrize("rows", [1, 2, 4, 7])
@pytest.mark.parametrize(("steps", "first"), [(1, None), (3, None), (3, 2), (8, 5), (100, None), (None, None)])
def test_windows_are_those_of_a_plain_loop(total: int, rows: int, steps: int | None, first: int | None) -> None:
    ids = np.arange(total + 1)  # each token tells its position
    items = cut_windows(ids, rows, steps, first)
    rows = min(rows, total)
    assert len(items) % rows == 0
    predicted = []
    for row, windows in enumerate(_tracks(total, rows, steps, first)):
        own = [item["ids"].tolist() for item in items.values[row::rows]]
        filled = [window for window in own if len(window) > 1]
        assert filled == [[window[0] - 1, *window] for window in windows]
        assert all(len(window) <= 1 for window in own[len(windows) :])
        predicted += [position for window in filled for position in window[1:]]
    assert sorted(predicted) == list(range(1, total + 1))
    assert items.lengths.tolist() == [max(0, len(item["ids"]) - 1) for item in items.values]
    assert int(items.lengths.sum()) == total


def test_a_text_shorter_than_its_rows_or_a_window_is_one_window_a_row() -> None:
    items = cut_windows(np.arange(4), 8, 50, 30)
    assert [item["ids"].tolist() for item in items.values] == [[0, 1], [1, 2], [2, 3]]


def test_a_window_as_long_as_a_track_is_the_whole_track() -> None:
    """So that backpropagation is not truncated at all, however the first window is drawn."""
    items = cut_windows(np.arange(11), 2, 5, 3)
    assert [item["ids"].tolist() for item in items.values] == [[0, 1, 2, 3, 4, 5], [5, 6, 7, 8, 9, 10]]


def test_places_name_the_tokens() -> None:
    items = cut_windows(np.arange(11), 2, 3)
    assert items.places[0] == "tokens 1 to 3 of the training text"
    assert items.places[1] == "tokens 6 to 8 of the training text"


@pytest.mark.parametrize("steps", [1, 2, 35, 70])
def test_first_windows_differ_between_epochs_and_not_between_calls(steps: int) -> None:
    sizes = [first_window(steps, 7, epoch) for epoch in range(40)]
    assert sizes == [first_window(steps, 7, epoch) for epoch in range(40)]
    assert all((steps + 1) // 2 <= size <= steps for size in sizes)
    assert len(set(sizes)) > min(steps // 4, 10)
    if steps > 2:
        assert sizes != [first_window(steps, 8, epoch) for epoch in range(40)]


def test_lines_are_joined_with_an_end_before_and_after_each() -> None:
    lines = [np.array([5, 6]), np.array([], dtype=np.int64), np.array([7])]
    ids, ends = join_lines(lines, 1)
    assert ids.tolist() == [1, 5, 6, 1, 1, 7, 1]
    assert ids.dtype == np.int32
    assert ends.tolist() == [3, 4, 6]
    starts = [0, *ends[:-1]]
    predicted = ids[1:]
    spans = [predicted[start:end].tolist() for start, end in zip(starts, ends, strict=True)]
    assert spans == [[5, 6, 1], [1], [7, 1]]
