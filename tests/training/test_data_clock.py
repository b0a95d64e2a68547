"""The clock of training: what is waited for and what is worked, after the first epoch."""

from __future__ import annotations

import time

import pytest

from seqkit.training.data_clock import DataClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A time that the test sets."""
    seconds = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    return seconds


def _round(clock: DataClock, now: list[float], waits: list[float], work: float, first_epoch: bool) -> None:
    for wait in waits:
        with clock.waiting():
            now[0] += wait
    with clock.working(first_epoch=first_epoch):
        now[0] += work


def test_the_first_epoch_is_left_out_where_there_is_another(now: list[float]) -> None:
    clock = DataClock()
    assert clock.share is None
    _round(clock, now, [3.0], 1.0, first_epoch=True)
    assert clock.share == pytest.approx(0.75)
    _round(clock, now, [0.5, 0.5], 3.0, first_epoch=False)  # two batches for one step
    _round(clock, now, [0.0], 6.0, first_epoch=False)
    assert clock.share == pytest.approx(0.1)


def test_what_fails_is_counted_too(now: list[float]) -> None:
    clock = DataClock()

    def fail() -> None:
        with clock.working(first_epoch=False):
            now[0] += 2.0
            raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        fail()
    assert clock.share == 0.0
