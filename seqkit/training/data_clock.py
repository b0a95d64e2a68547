"""How much of training is waiting for data: where that is much, workers or a cache help, and a faster GPU does not.

The first epoch is left out, in which workers start and files come from the disk for the first time; unless it is the
only one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class DataClock:
    """Seconds of this process: for batches, and for the steps that they are used in."""

    def __init__(self) -> None:
        self._waited, self._worked = [0.0, 0.0], [0.0, 0.0]  # in the first epoch, and after it
        self._pending = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around taking a batch."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._pending += time.perf_counter() - began

    @contextmanager
    def working(self, *, first_epoch: bool) -> Iterator[None]:
        """Around a step with the batches that were taken since the last one."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._worked[not first_epoch] += time.perf_counter() - began
            self._waited[not first_epoch] += self._pending
            self._pending = 0.0

    @property
    def share(self) -> float | None:
        """Waiting as a share of both; None before the first step."""
        part = 1 if self._worked[1] else 0
        total = self._waited[part] + self._worked[part]
        return self._waited[part] / total if total else None
