"""What a process that prepares batches does when it begins."""

from __future__ import annotations

import ctypes
import signal
import sys

_PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


def settle_worker(_: int) -> None:
    """Let a worker live exactly as long as its training: pass it as a DataLoader's `worker_init_fn`.

    A terminal, a scheduler or a service manager sends its SIGINT or SIGTERM to every process of a command. The training
    answers by saving its state, for which its workers must live on. And where it is killed, which it cannot answer,
    they go at once; torch's own watch over the parent takes seconds, and is all that there is outside of Linux.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
