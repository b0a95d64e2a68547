"""How `benchmark_translation.py` talks to the processes that it measures: JSON objects, a line each, in turn.

A worker says first what it has loaded, then answers each request: so that several of them stand ready at once, with
their data, models and warm caches, and only the one that was asked computes. Needs Python's standard library alone,
since a worker may run under another program's Python.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any, Dict, Optional  # noqa: UP035 (the other program's Python may be an older one)

# From glibc's malloc.h, as seqkit sets them: trim threshold, top pad, mmap threshold. Bytes.
MALLOPT = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}

Message = Dict[str, Any]  # noqa: UP006


class Channel:
    """A worker's end: what else the process prints goes to stderr, so that only messages are on stdout."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr  # the same place, and in order

    def send(self, message: Message) -> None:
        """Answer."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def receive(self) -> Optional[Message]:  # noqa: UP045
        """Wait for the next request; None where there is none any more."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None


class TrainingRound:
    """Counts the target tokens of training steps, for `seconds` after `warm` seconds that are not counted."""

    def __init__(self, warm: float, seconds: float) -> None:
        self.warm, self.seconds = warm, seconds
        self.began = time.perf_counter()
        self.start: Optional[float] = None  # noqa: UP045
        self.tokens, self.nats, self.steps = 0, 0.0, 0

    def step(self, tokens: int, nats: float) -> Optional[Message]:  # noqa: UP045
        """A step is done, with the sum of its loss in nats; the answer once the round is over, until then None."""
        now = time.perf_counter()
        if self.start is None:
            if now - self.began >= self.warm:
                self.start = now
            return None
        self.tokens, self.nats, self.steps = self.tokens + tokens, self.nats + nats, self.steps + 1
        if now - self.start < self.seconds:
            return None
        return {
            "tokens": self.tokens,
            "seconds": now - self.start,
            "steps": self.steps,
            "loss": self.nats / self.tokens,
        }


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep freed memory, as `seqkit train` does; False where the C library has no such setting."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(parameter, value) == 1 for parameter, value in MALLOPT.items())
