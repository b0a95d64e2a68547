"""Scores and thresholds: an average of the past, the same row by row; and metrics, checked by counting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from seqkit.errors import DataError
from seqkit.heads.anomaly_metrics import flag_counts, flag_metrics
from seqkit.heads.anomaly_scores import Calibration, Normal, RowScorer, ScoreConfig, Scored, calibrated, spells

COLUMNS = 3


def _calibration(usual: float = 1.0) -> Calibration:
    return Calibration(np.array([1.0, 2.0, 0.5]), np.full(COLUMNS, usual), 3.0)


def _errors(rows: int = 60, seed: int = 0) -> np.ndarray:
    errors = np.random.default_rng(seed).normal(size=(rows, COLUMNS))
    errors[:2] = np.nan
    errors[20:24, 1] = np.nan
    errors[30] = np.nan
    return errors


@pytest.mark.parametrize(
    "method",
    [{"method": "errors"}, {"method": "tail"}, {"method": "tail", "values": True}, {"method": "rare", "values": True}],
)
@pytest.mark.parametrize("combine", ["mean", "max"])
def test_row_by_row_equals_the_whole(method: dict[str, Any], combine: str) -> None:
    config = ScoreConfig.model_validate({**method, "combine": combine, "warm_up": 5})
    errors = _errors()
    scores, columns = RowScorer(config, _calibration()).whole(errors, errors)
    scorer = RowScorer(config, _calibration())
    steps = [scorer.step(row, row) for row in errors]
    np.testing.assert_array_equal([score for score, _ in steps], scores)
    np.testing.assert_array_equal([column for _, column in steps], columns)
    assert np.isnan(scores[:2]).all()
    assert (columns[:2] == -1).all()
    assert not np.isnan(scores[2:]).any()


def test_the_score_is_the_weighted_mean_of_squared_errors() -> None:
    config = ScoreConfig(smooth=4.0)  # each row counts 3/5 of the one after it
    errors = np.array([[1.0, 4.0, 0.5], [0.0, np.nan, 0.8]])
    scores, columns = RowScorer(config, _calibration(usual=1.0)).whole(errors, errors)
    # Rows without end before the first one, all with the usual squared error of 1: together they weigh 1.5.
    first = np.array([1.5 + 1.0, 1.5 + 4.0, 1.5 + 1.0]) / 2.5
    second = np.array([0.6 * 2.5 / 2.5, first[1], (0.6 * 2.5 + 2.56) / 2.5])
    assert scores[0] == pytest.approx(first.mean())
    assert scores[1] == pytest.approx(second.mean())
    assert columns[1] == int(np.argmax(second))
    top, _ = RowScorer(ScoreConfig(smooth=4.0, combine="max"), _calibration()).whole(errors, errors)
    assert top[1] == pytest.approx(second.max())
    bare, _ = RowScorer(ScoreConfig(smooth=1.0), _calibration()).whole(errors[:1], errors[:1])
    assert bare[0] == pytest.approx(np.mean([1.0, 4.0, 1.0]))


def test_the_stated_share_of_normal_rows_is_flagged() -> None:
    errors = np.random.default_rng(0).normal(size=(20_000, COLUMNS)) * [1.0, 5.0, 0.1]
    config = ScoreConfig(false_alarms=0.02)
    normal = Normal(errors[:10_000], errors[:10_000], 100)
    found = calibrated([normal], config, "a series")
    np.testing.assert_allclose(found.units, [1.0, 5.0, 0.1], rtol=0.03)
    np.testing.assert_allclose(found.usual, 1.0)
    scores, _ = RowScorer(config, found).whole(errors[10_000:], errors[10_000:])
    assert (scores > found.threshold).mean() == pytest.approx(0.02, abs=0.008)
    twice = calibrated([normal], ScoreConfig(false_alarms=0.02, margin=2.0), "a series")
    assert twice.threshold == pytest.approx(2 * found.threshold)
    values = calibrated([normal], ScoreConfig(units="values"), "a series")
    np.testing.assert_array_equal(values.units, 1.0)
    np.testing.assert_allclose(values.usual, [1.0, 25.0, 0.01], rtol=0.05)


def test_a_calibration_survives_json_and_needs_rows() -> None:
    found = Calibration.from_json(_calibration().to_json())
    np.testing.assert_array_equal(found.units, _calibration().units)
    assert found.threshold == 3.0
    with pytest.raises(DataError, match="pump 1: no normal row has a score"):
        calibrated([Normal(np.full((5, COLUMNS), np.nan), np.zeros((5, COLUMNS)), 0)], ScoreConfig(), "pump 1")


def test_a_tail_threshold_is_no_looser_than_stated() -> None:
    errors = np.abs(np.random.default_rng(0).normal(size=(300, 1)))
    config = ScoreConfig(method="tail", false_alarms=1e-6, warm_up=10)
    assert calibrated([Normal(errors, errors, 0)], config, "a series").threshold >= 6.0


def test_spells_are_runs_of_flags() -> None:
    flags = np.array([1, 0, 1, 1, 1, 0, 1], dtype=bool)
    scores = np.array([5.0, 1.0, 4.0, 9.0, 6.0, 1.0, 7.0])
    columns = np.array([0, 0, 1, 2, 1, 0, 1])
    found = spells(Scored(scores, flags, columns, np.zeros((7, 3)), 3.0))
    assert [(s.start, s.stop, s.score, s.column) for s in found] == [(0, 1, 5.0, 0), (2, 5, 9.0, 2), (6, 7, 7.0, 1)]


def test_rates_by_counting() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0, math.nan, 0, 0, 0])
    flags = np.array([0, 1, 1, 0, 1, 0, 1, 0, 0, 0], dtype=bool)
    counts = flag_counts(flags, labels)
    np.testing.assert_array_equal(counts, [2, 1, 1, 5])
    found = flag_metrics(counts)
    assert found["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found["far"] == pytest.approx(1 / 6)
    assert found["mar"] == pytest.approx(1 / 3)
    assert found["precision"] == found["recall"] == pytest.approx(2 / 3)
    every = flag_metrics(flag_counts(np.ones(10, dtype=bool), labels))
    assert every["f1"] == every["f1_all_flagged"] == found["f1_all_flagged"] == pytest.approx(6 / 12)


def test_rates_without_labelled_or_without_normal_rows() -> None:
    assert flag_metrics(flag_counts(np.zeros(3, dtype=bool), np.zeros(3))) == {"far": 0.0}
    found = flag_metrics(flag_counts(np.zeros(3, dtype=bool), np.ones(3)))
    assert found == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "mar": 1.0, "f1_all_flagged": 1.0}
