"""Batches by a budget of real steps, and the random generators that data takes its choices from.

Every choice is keyed by (seed, epoch, example), never by a library's hidden state, so that a run that is resumed or
spread over workers draws what it would have drawn otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# What a generator is for: the first number of its key, so that two purposes never share a stream.
_BATCHES = 1
_EXAMPLE = 2

# So many batches' worth of examples are sorted by length together: more gives evener lengths, fewer a freer mixing.
_POOL_BATCHES = 50


@dataclass(frozen=True)
class ExampleKey:
    """What decides every random choice made for one example in one epoch."""

    seed: int
    epoch: int
    index: int

    def rng(self) -> np.random.Generator:
        """A fresh generator of this example and epoch."""
        return example_rng(self.seed, self.epoch, self.index)


def example_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of example `index` (its place in the split, from 0) in `epoch`; all numbers >= 0."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_EXAMPLE, epoch, index)))


def bucket_batches(
    lengths: Sequence[int] | np.ndarray,
    *,
    batch_tokens: int,
    max_examples: int,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    bucket: bool = True,
) -> list[list[int]]:
    """Cut the examples into batches of at most `batch_tokens` real steps and `max_examples` examples.

    `lengths` (examples,) holds each example's steps. Padding costs nothing here (see `seqkit.sequences`), so the budget
    counts real steps only; lengths in a batch are alike all the same, because a step's work is done for all examples
    that are still running. With `shuffle` the examples are mixed, sorted by length within pools (unless `bucket` is
    off), and the batches are mixed again, by (seed, epoch) alone; without, all are sorted by length, longest first,
    and seed and epoch do not matter. Every index stands in exactly one batch. An example over the budget is a batch of
    its own.
    """
    if batch_tokens < 1 or max_examples < 1:
        raise ValueError(f"batch_tokens and max_examples must be at least 1, not {batch_tokens} and {max_examples}")
    steps = np.asarray(lengths, dtype=np.int64)
    if steps.size == 0:
        return []
    if not shuffle:
        return _pack(np.argsort(-steps, kind="stable"), steps, batch_tokens, max_examples)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_BATCHES, epoch)))
    order = rng.permutation(steps.size)
    if not bucket:
        return _pack(order, steps, batch_tokens, max_examples)
    usual = batch_tokens / max(float(steps.mean()), 1.0)
    pool = _POOL_BATCHES * max(1, min(max_examples, int(usual)))
    batches: list[list[int]] = []
    for start in range(0, steps.size, pool):
        members = order[start : start + pool]
        by_length = members[np.argsort(-steps[members], kind="stable")]
        batches += _pack(by_length, steps, batch_tokens, max_examples)
    return [batches[index] for index in rng.permutation(len(batches))]


def _pack(order: np.ndarray, steps: np.ndarray, batch_tokens: int, max_examples: int) -> list[list[int]]:
    """Fill batches in the given order; one is closed when the next example would exceed a limit."""
    batches: list[list[int]] = []
    current: list[int] = []
    total = 0
    for index, length in zip(order.tolist(), steps[order].tolist(), strict=True):
        if current and (total + length > batch_tokens or len(current) == max_examples):
            batches.append(current)
            current, total = [], 0
        current.append(index)
        total += length
    batches.append(current)
    return batches
