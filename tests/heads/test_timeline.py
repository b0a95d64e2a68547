"""Time lines: windows that slide give what a direct computation gives; a carried state reads each frame once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqkit.heads.clips import ClipModel, PooledHead, StepHead
from seqkit.heads.timeline import Timeline, slide
from seqkit.heads.watcher import CHUNK, Watcher
from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences


def _probs(window: np.ndarray) -> np.ndarray:
    """Three numbers that hang on every frame of a window, and on how many there are."""
    return np.array([window.sum(), (window**2).sum(), len(window)], dtype=np.float64)


def _directly(frames: np.ndarray, cell: int, cells: int) -> np.ndarray:
    """Every window written out: the whole ones, and one that ends with the last frame where a cell is not whole."""
    total = len(frames)
    spans = [(c, c + cells, frames[c * cell : (c + cells) * cell]) for c in range(max(0, total // cell - cells + 1))]
    if total < cell * cells or total % cell:
        last = -(-total // cell)
        spans.append((max(0, last - cells), last, frames[-cell * cells :]))
    rows = []
    for place in range(-(-total // cell)):
        rows.append(np.mean([_probs(window) for first, end, window in spans if first <= place < end], axis=0))
    return np.stack(rows)


@pytest.mark.parametrize("total", [1, 2, 3, 5, 6, 7, 12, 13, 31])
@pytest.mark.parametrize(("cell", "cells"), [(1, 1), (1, 4), (3, 1), (3, 2), (2, 5)])
@pytest.mark.parametrize("batch", [1, 8])
def test_sliding_windows_are_what_a_direct_computation_gives(total: int, cell: int, cells: int, batch: int) -> None:
    frames = np.random.default_rng(total).normal(size=(total, 2))
    most = 0

    def score(windows: Sequence[np.ndarray]) -> np.ndarray:
        nonlocal most
        most = max(most, len(windows))
        return np.stack([_probs(window) for window in windows])

    found, read = slide(iter(frames), score, cell=cell, cells=cells, batch=batch)
    np.testing.assert_allclose(found, _directly(frames, cell, cells))
    assert read == total
    assert most <= batch


def test_no_frame_is_no_time_line() -> None:
    with pytest.raises(ValueError, match="no frame"):
        slide(iter([]), lambda windows: np.zeros((len(windows), 2)), cell=1, cells=1)


def test_neighbours_with_one_answer_are_a_segment() -> None:
    rows = [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]]
    line = Timeline(np.array(rows), cell_seconds=0.5, seconds=1.8)
    segments = line.segments(["walk", "run"])
    assert [(one.label, one.start, one.end) for one in segments] == [
        ("walk", 0.0, 1.0),
        ("run", 1.0, 1.5),
        ("walk", 1.5, 1.8),
    ]
    assert segments[0].probability == pytest.approx(0.8)
    assert line.at(1.2) == (1, 0.8)
    assert line.at(99.0) == (0, 0.6)
    assert line.at(0.0) == (0, 0.9)


class _Differences:
    """Frames (T, 3) with the difference from the frame before them."""

    context = 1

    def features(self, frames: np.ndarray) -> Tensor:
        x = torch.from_numpy(frames).float()
        return torch.cat([x, torch.diff(x, dim=0, prepend=x[:1])], dim=1)


def _model(seed: int) -> ClipModel:
    torch.manual_seed(seed)
    return ClipModel(nn.Identity(), StackedLSTM(6, 8), StepHead(8, 4, growth=1.0, dropout=0.0)).eval()


@pytest.mark.parametrize("total", [1, 5, CHUNK, 2 * CHUNK + 7])
@pytest.mark.parametrize("members", [1, 2])
def test_a_carried_state_reads_the_recording_as_a_whole(total: int, members: int) -> None:
    models = [_model(seed) for seed in range(members)]
    frames = np.random.default_rng(0).normal(size=(total, 3))
    watcher = Watcher(models, _Differences(), rate=10.0)
    with torch.no_grad():
        line = watcher.watch(iter(frames), "state", window_seconds=1.0, hop_seconds=0.4)
        clip = Sequences.from_list([_Differences().features(frames)])
        heads = [cast(StepHead, model.head) for model in models]
        scores = [head.scores(model(clip)[0]).data.double() for model, head in zip(models, heads, strict=True)]
        steps = torch.stack(scores).softmax(dim=2).mean(dim=0)
    cells = [steps[first : first + 4].mean(dim=0) for first in range(0, total, 4)]
    np.testing.assert_allclose(line.probabilities, torch.stack(cells).numpy(), rtol=1e-5, atol=1e-7)
    assert line.seconds == pytest.approx(total / 10)


def test_windows_of_a_watcher_are_clips() -> None:
    frames = np.random.default_rng(0).normal(size=(23, 3))
    model = _model(0)
    with torch.no_grad():
        line = Watcher([model], _Differences(), rate=10.0).watch(
            iter(frames), "windows", window_seconds=1.0, hop_seconds=1.0
        )
        first = model.log_probs(Sequences.from_list([_Differences().features(frames[:10])])).exp()[0]
    np.testing.assert_allclose(line.probabilities[0], first.numpy(), rtol=1e-5)
    assert line.probabilities.shape == (3, 4)


def test_who_cannot_carry_a_state_says_why() -> None:
    torch.manual_seed(0)
    both = StackedLSTM(6, 8, bidirectional=True)
    pooled = ClipModel(nn.Identity(), both, PooledHead(16, 4, ("max",), bidirectional=True, dropout=0.0))
    watcher = Watcher([pooled], _Differences(), rate=10.0)
    assert "both directions" in str(watcher.carries())
    with pytest.raises(ValueError, match="both directions"):
        watcher.watch(iter(np.zeros((4, 3))), "state", window_seconds=1.0, hop_seconds=1.0)
    assert Watcher([_model(0)], _Differences(), rate=10.0).carries() is None
