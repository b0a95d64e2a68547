"""What a process that prepares batches does when it begins."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


def settle_worker(_: int) -> None:
    """Let a worker live exactly as long as its training: pass it as a DataLoader's `worker_init_fn`.

    A terminal or a scheduler sends its SIGINT or SIGTERM to every process of a command's group. The training answers by
    saving its state, for which its workers must live on: so a worker leaves the group. A signal that is meant for it
    alone still ends it, by which torch and Python stop workers that they no longer need. And where the training is
    killed, which it cannot answer, its workers go at once; torch's own watch over the parent takes seconds, and is all
    that there is outside of Linux.
    """
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
