"""Rare scores against quantiles of numpy, and one alarm for one event."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from seqkit.heads.rare_scores import EventScorer, OneAlarm, RareScorer, RecentMean


def _sizes(rows: int = 900, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(size=rows)) + np.where(np.arange(rows) == 600, 12.0, 0.0)


def _scores(scorer: RareScorer, sizes: np.ndarray) -> np.ndarray:
    return np.array([scorer.step(float(size)) for size in sizes])


@pytest.mark.parametrize(
    ("count", "share", "window"), [(20.0, 0.005, 20000), (3.0, 0.02, 400), (2.5, 0.01, 250), (900.0, 0.9, 30)]
)
def test_scores_are_sizes_over_a_quantile_of_the_rows_before(count: float, share: float, window: int) -> None:
    sizes = _sizes()
    scores = _scores(RareScorer(count, share, window=window, warm_up=20), sizes)
    assert (scores[:20] == 0.0).all()
    for row in range(20, len(sizes)):
        before = np.sort(sizes[max(row - window, 0) : row])
        place = len(before) - 1 - min(count, share * len(before), len(before) - 1)
        reference = np.interp(place, np.arange(len(before)), before)
        assert scores[row] == pytest.approx(sizes[row] / (reference + 0.05), rel=1e-9)


def test_a_long_stream_has_few_false_alarms() -> None:
    noise = np.abs(np.random.default_rng(1).normal(size=30000))
    alarms = [int((_scores(RareScorer(count=count), noise) > 1.0)[10000:].sum()) for count in (20.0, 1e9)]
    assert alarms[0] < 40  # about 20 of 20,000 rows
    assert 60 < alarms[1] < 140  # half a percent of them


def test_errors_that_keep_their_sign_stand_out_in_their_mean() -> None:
    errors = np.random.default_rng(2).uniform(-3.0, 3.0, size=(1000, 1))
    errors[700:740] = -np.abs(errors[700:740])
    alone, means = np.abs(errors[:, 0]), np.abs(RecentMean(20).whole(errors)[:, 0])
    assert alone[700:740].max() < alone[:700].max()  # no row is unusual by itself
    assert means[715:740].min() > means[20:700].max()


def test_means_are_of_the_errors_that_are_there() -> None:
    errors = np.random.default_rng(3).normal(size=(60, 2))
    errors[np.random.default_rng(4).random(size=(60, 2)) < 0.3] = np.nan
    errors[:2, 0] = np.nan
    errors[30:40, 1] = np.nan
    means = RecentMean(5).whole(errors)
    for row in range(60):
        for column in range(2):
            part = errors[max(row - 4, 0) : row + 1, column]
            real = part[~np.isnan(part)]
            expected = real.mean() if len(real) else math.nan
            assert means[row, column] == pytest.approx(expected, nan_ok=True)
    head, rest = RecentMean(5), RecentMean(5)
    head.whole(errors[:33])
    rest.restore(json.loads(json.dumps(head.state())))
    assert np.array_equal(rest.whole(errors[33:]), means[33:], equal_nan=True)


def test_a_stream_foretold_to_the_digit_does_not_alarm_at_a_small_error() -> None:
    errors = np.zeros(200)
    errors[150], errors[170] = 0.01, 1.0
    scores = _scores(RareScorer(), errors)
    assert scores[150] < 1.0 < scores[170]


def test_one_alarm_for_one_burst_at_any_threshold() -> None:
    scores = np.zeros(600)
    scores[100:220] = 5.0  # a burst, longer than what stands in the way takes to fade: only its first row
    scores[130] = 6.0  # it grows: again
    scores[150] = 4.0  # nor a dip within it
    scores[500] = 5.0  # another event, later
    alarm = OneAlarm(half_life=50)
    kept = np.array([alarm.step(float(score)) for score in scores])
    assert np.flatnonzero(kept).tolist() == [100, 130, 500]
    assert kept[[100, 130, 500]].tolist() == [5.0, 6.0, 5.0]


def test_what_stands_in_the_way_fades_by_half_in_a_half_life() -> None:
    for later, kept in ((0.54, 0.0), (0.56, 0.56)):
        alarm = OneAlarm(half_life=10, margin=1.1)
        alarm.step(1.0)
        for _ in range(9):
            assert alarm.step(0.0) == 0.0
        assert alarm.step(later) == kept


def _events() -> EventScorer:
    return EventScorer([RareScorer(), RareScorer(3.0, window=300), RareScorer()], OneAlarm())


def test_an_event_is_the_greatest_of_its_kinds() -> None:
    errors = np.stack([_sizes(seed=0), _sizes(seed=0), _sizes(seed=3)], axis=1)
    scores, kinds = EventScorer(_events().scorers, None).whole(errors)
    each = np.stack([_scores(s, e) for s, e in zip(_events().scorers, errors.T, strict=True)])
    assert np.array_equal(scores, each.max(0))
    assert np.array_equal(kinds, each.argmax(0))


def test_rows_one_by_one_and_a_saved_state_give_the_same_bits() -> None:
    errors = np.stack([_sizes(seed=seed) for seed in range(3)], axis=1)
    errors[0, :2] = np.nan
    errors[300] = np.nan
    whole, kinds = _events().whole(errors)
    assert math.isnan(whole[300])
    assert kinds[300] == -1
    assert not np.isnan(whole[0])  # one kind has an error
    for stop in (1, 40, 450, 700):
        head, rest = _events(), _events()
        first = [head.step(row)[0] for row in errors[:stop]]
        rest.restore(json.loads(json.dumps(head.state())))
        assert np.array_equal([*first, *(rest.step(row)[0] for row in errors[stop:])], whole, equal_nan=True)


def test_a_state_of_another_scorer_is_refused() -> None:
    events = _events()
    events.whole(np.zeros((400, 3)))
    with pytest.raises(ValueError, match="other parts"):
        EventScorer(events.scorers[:2], OneAlarm()).restore(events.state())
    with pytest.raises(ValueError, match="other parts"):
        EventScorer(events.scorers, None).restore(events.state())
    with pytest.raises(ValueError, match="longer window"):
        RareScorer(window=100).restore(events.state()["scorers"][0])


def test_impossible_numbers_are_told() -> None:
    for wrong in ({"count": 0.0}, {"share": 1.0}, {"window": 0}, {"warm_up": 0}, {"floor": 0.0}):
        with pytest.raises(ValueError, match="A rare score needs"):
            RareScorer(**wrong)
    for size in (math.inf, -0.1):
        with pytest.raises(ValueError, match="finite sizes"):
            RareScorer().step(size)
    with pytest.raises(ValueError, match="at least 1 row"):
        RecentMean(0)
    for numbers in ((0.0, 1.1), (150.0, 0.9)):
        with pytest.raises(ValueError, match="half-life"):
            OneAlarm(*numbers)
