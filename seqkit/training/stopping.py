"""SIGINT and SIGTERM as a request to stop after the current step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from seqkit.training.processes import Processes

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """The signal that asked for a stop, once one did."""

    number: int | None = None


def agreed_signal(stop: StopRequest, processes: Processes) -> int:
    """The signal that some process received, the same in all."""
    received = processes.sum([float(stop.number == number) for number in _STOPPING])
    return next(number for number, times in zip(_STOPPING, received, strict=True) if times)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request to stop after the current step; a second one takes effect at once."""
    request = StopRequest()

    def handle(number: int, _: FrameType | None) -> None:
        request.number = number
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.getsignal(name) for name in _STOPPING}
    for name in before:
        signal.signal(name, handle)
    try:
        yield request
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
