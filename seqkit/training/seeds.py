"""Seeds of independent random streams, each keyed by what it is for: nothing draws from a hidden, shared state."""

from __future__ import annotations

import zlib

import numpy as np


def stream_seed(seed: int, purpose: str, *keys: int) -> int:
    """A 63-bit seed for the stream (seed, purpose, keys), e.g. (7, "dropout", step)."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *keys])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
