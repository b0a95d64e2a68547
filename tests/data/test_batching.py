"""Batches: every example once, within the budget, by (seed, epoch) alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqkit.data.batching import ExampleKey, bucket_batches, example_rng

LENGTHS = st.lists(st.integers(0, 60), max_size=300)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 200), st.integers(1, 20), st.integers(0, 5), st.booleans())
def test_every_index_once_and_within_the_limits(
    lengths: list[int], budget: int, most: int, epoch: int, shuffle: bool
) -> None:
    batches = bucket_batches(lengths, batch_tokens=budget, max_examples=most, seed=1, epoch=epoch, shuffle=shuffle)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(lengths[index] for index in batch) <= budget
    again = bucket_batches(lengths, batch_tokens=budget, max_examples=most, seed=1, epoch=epoch, shuffle=shuffle)
    assert batches == again


def test_seed_and_epoch_change_the_batches_and_nothing_else_does() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, 500)

    def batches(seed: int, epoch: int) -> list[list[int]]:
        return bucket_batches(lengths, batch_tokens=400, max_examples=64, seed=seed, epoch=epoch)

    np.random.seed(1)
    first = batches(0, 0)
    np.random.seed(2)
    assert batches(0, 0) == first
    assert len({str(batches(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_evaluation_is_longest_first() -> None:
    lengths = [3, 9, 3, 7]
    assert bucket_batches(lengths, batch_tokens=10, max_examples=9, seed=0, epoch=0, shuffle=False) == [
        [1],
        [3, 0],
        [2],
    ]


def test_lengths_in_a_batch_are_alike() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 20_000)
    batches = bucket_batches(lengths, batch_tokens=2000, max_examples=512, seed=0, epoch=0)
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 20
    full = np.mean([lengths[batch].sum() for batch in batches])
    assert full > 1800


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bucket_batches([1], batch_tokens=0, max_examples=1, seed=0, epoch=0)


def test_example_generators_are_keyed() -> None:
    keys = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1) for index in (0, 1)]
    drawn = {key: example_rng(*key).integers(2**60) for key in keys}
    assert len(set(drawn.values())) == len(keys)
    assert ExampleKey(1, 0, 1).rng().integers(2**60) == drawn[1, 0, 1]
