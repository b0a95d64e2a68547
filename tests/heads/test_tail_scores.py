"""Tail scores: the tail itself against torch, and the running window against the same written plainly."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from seqkit.heads.tail_scores import LARGEST_Z, TailScorer, surprise, tail_scores


def _plain(errors: np.ndarray, window: int, recent: int, warm_up: int, floor: float, gap: int) -> np.ndarray:
    """From the whole file at each row, by numpy."""
    means = np.array([errors[max(row - recent + 1, 0) : row + 1].mean() for row in range(len(errors))])
    scores = np.zeros(len(errors))
    for row in range(len(errors)):
        seen = means[max(row - window - gap + 1, 0) : row + 1 - gap] if gap <= row else means[:0]
        if row + 1 < warm_up or len(seen) < 2:
            continue
        z = (means[row] - seen.mean()) / max(seen.std(), floor)
        scores[row] = -torch.special.log_ndtr(torch.tensor(-z, dtype=torch.float64)).item() / math.log(10.0)
    return scores


def _errors(rows: int = 700, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    errors = np.abs(rng.normal(size=rows))
    errors[500:520] += 15.0
    return errors


def test_surprise_is_the_gaussian_tail_in_powers_of_ten() -> None:
    z = np.concatenate([np.linspace(-8.0, 34.9, 300), np.linspace(LARGEST_Z, 400.0, 50)])
    tail = -torch.special.log_ndtr(torch.from_numpy(-z)).numpy() / math.log(10.0)
    assert [surprise(float(value)) for value in z] == pytest.approx(tail, rel=1e-8, abs=1e-15)
    assert surprise(-100.0) == 0.0
    assert surprise(math.inf) == math.inf


@pytest.mark.parametrize(
    ("window", "recent", "warm_up", "gap"),
    [(8000, 10, 100, 0), (60, 1, 2, 0), (60, 5, 30, 20), (2, 3, 2, 0), (50, 4, 9, 50)],
)
def test_scores_are_those_of_the_window_written_plainly(window: int, recent: int, warm_up: int, gap: int) -> None:
    errors = _errors()
    scorer = TailScorer(window, recent, warm_up=warm_up, gap=gap)
    expected = _plain(errors, window, recent, warm_up, scorer.floor, gap)
    assert tail_scores(errors, scorer) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_an_anomaly_is_seen_and_noise_is_as_rare_as_its_score_says() -> None:
    scores = tail_scores(_errors(4000), TailScorer(2000, 10, warm_up=200))
    assert scores[500:520].max() > 6.0
    normal = np.concatenate([scores[200:500], scores[2700:]])
    assert 0.001 < (normal > 2.0).mean() < 0.05  # 0.01 if errors were Gaussian


def test_a_large_level_keeps_its_digits() -> None:
    """Sums of squares of values near 1e9 hold nothing of a deviation of 1, unless they are taken about a center."""
    errors = _errors() + 1e9
    expected = _plain(errors, 300, 1, 2, 1e-6, 0)
    assert tail_scores(errors, TailScorer(300, 1, warm_up=2)) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_far_past_is_forgotten_without_a_trace() -> None:
    errors = _errors(900)
    scorer = TailScorer(100, 3, warm_up=10)
    tail_scores(np.concatenate([np.full(50, 1e12), errors[:600]]), scorer)
    expected = _plain(errors, 100, 3, 10, 1e-6, 0)[600:]
    assert tail_scores(errors[600:], scorer) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_saved_state_goes_on_with_the_same_bits() -> None:
    errors = _errors()
    for stop in (1, 37, 250, 503):
        first, second = TailScorer(200, 7, gap=30), TailScorer(200, 7, gap=30)
        whole = tail_scores(errors, first)
        head = TailScorer(200, 7, gap=30)
        tail_scores(errors[:stop], head)
        second.restore(json.loads(json.dumps(head.state())))
        assert np.array_equal(tail_scores(errors[stop:], second), whole[stop:])
    with pytest.raises(ValueError, match="longer windows"):
        TailScorer(100, 7).restore(head.state())


def test_a_constant_stream_is_judged_by_the_floor() -> None:
    errors = np.full(300, 0.25)
    errors[250] += 1e-9
    assert tail_scores(errors, TailScorer(recent=1, floor=1e-3)).max() < 0.31
    errors[250] = 0.35
    assert tail_scores(errors, TailScorer(recent=1, floor=1e-3))[250] > 10.0


def test_a_missing_error_counts_for_nothing() -> None:
    errors = _errors()
    gaps = np.insert(errors, [0, 100, 505], np.nan)
    scores = tail_scores(gaps)
    assert np.array_equal(np.isnan(scores), np.isnan(gaps))
    assert np.array_equal(scores[~np.isnan(gaps)], tail_scores(errors))


def test_impossible_numbers_are_told() -> None:
    for wrong in ({"window": 1}, {"recent": 0}, {"warm_up": 1}, {"floor": 0.0}, {"gap": -1}):
        with pytest.raises(ValueError, match="A tail score needs"):
            TailScorer(**wrong)
    with pytest.raises(ValueError, match="infinite"):
        TailScorer().step(math.inf)
