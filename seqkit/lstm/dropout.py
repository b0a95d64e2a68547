"""Locked dropout: what is dropped from a sequence is dropped at all of its steps (Gal and Ghahramani 2016)."""

from __future__ import annotations

from seqkit.sequences import Sequences


def locked_dropout(x: Sequences, p: float, training: bool) -> Sequences:
    """Drop features of data (N, F) with probability `p`, one mask for each sequence, and scale up what is kept."""
    if not training or p == 0.0:
        return x
    kept = x.data.new_empty(x.batch_size, x.data.shape[1]).bernoulli_(1 - p).div_(1 - p)  # (B, F)
    return x.replace(x.data * kept.index_select(0, x.batch_index))
