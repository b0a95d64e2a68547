from __future__ import annotations

import pickle
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, Dataset

from seqkit.sequences import Sequences

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=8)


def ragged(lengths: list[int], *features: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, *features, generator=generator) for n in lengths]


@settings(max_examples=60, deadline=None)
@given(LENGTHS)
def test_every_form_holds_the_same_steps(lengths: list[int]) -> None:
    rows = ragged(lengths, 3, 2)
    x = Sequences.from_list(rows)
    padded = x.padded()
    assert padded.shape == (len(lengths), max(lengths), 3, 2)
    assert x.mask().sum(1).tolist() == lengths == x.lengths.tolist()
    assert not padded[~x.mask()].any()
    again = Sequences.from_padded(torch.cat([padded, torch.full((len(lengths), 2, 3, 2), torch.nan)], 1), lengths)
    for other in (x, again, pickle.loads(pickle.dumps(x))):
        assert torch.equal(other.data, x.data)
        for got, row in zip(other.unpack(), rows, strict=True):
            assert torch.equal(got, row)
    for n in range(x.steps):
        assert torch.equal(x.data[n], rows[int(x.batch_index[n])][int(x.time_index[n])])
    for got, row in zip(x.reverse().unpack(), rows, strict=True):
        assert torch.equal(got, row.flip(0))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_the_order_is_that_of_packed_sequence(lengths: list[int]) -> None:
    x = Sequences.from_list(ragged(lengths, 3))
    packed = pack_padded_sequence(x.padded(), x.lengths, batch_first=True, enforce_sorted=False)
    assert torch.equal(x.data[:, 0].sort().values, packed.data[:, 0].sort().values)
    assert torch.equal(x.batch_sizes, packed.batch_sizes)
    assert torch.equal(x.lengths[x.sorted_indices], x.lengths.sort(descending=True).values)
    assert torch.equal(x.sorted_indices[x.unsorted_indices], torch.arange(len(lengths)))


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 10))
def test_chop_and_join_are_inverse(lengths: list[int], size: int) -> None:
    rows = ragged(lengths, 2)
    x = Sequences.from_list(rows)
    pieces, owners = x.chop(size)
    expected = [(b, piece) for b, row in enumerate(rows) for piece in torch.split(row, size)]
    assert owners.tolist() == [b for b, _ in expected]
    for got, (_, piece) in zip(pieces.unpack(), expected, strict=True):
        assert torch.equal(got, piece)
    joined = pieces.join(owners)
    assert torch.equal(joined.data, x.data)
    assert torch.equal(joined.lengths, x.lengths)


def test_ties_keep_the_order_of_the_batch() -> None:
    x = Sequences.from_list(ragged([2, 3, 2, 0, 3], 1))
    assert x.sorted_indices.tolist() == [1, 4, 0, 2, 3]
    assert x.batch_sizes.tolist() == [4, 4, 2]


def test_gradients_flow_through_every_form() -> None:
    values = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)

    def forms(v: Tensor) -> tuple[Tensor, ...]:
        x = Sequences.from_padded(v, [4, 0, 2])
        pieces, owners = x.chop(3)
        again = Sequences.from_list(x.unpack())
        return x.padded(), x.reverse().data, pieces.padded(), pieces.join(owners).data, again.data

    assert torch.autograd.gradcheck(forms, (values,))


def test_token_ids() -> None:
    x = Sequences.from_list([torch.tensor([5, 6, 7]), torch.tensor([], dtype=torch.int64), torch.tensor([8])])
    assert x.data.tolist() == [5, 8, 6, 7]
    assert x.padded().tolist() == [[5, 6, 7], [0, 0, 0], [8, 0, 0]]
    embedded = x.map(torch.nn.Embedding(9, 4))
    assert embedded.data.shape == (4, 4)


def test_map_and_replace_share_the_layout() -> None:
    x = Sequences.from_list(ragged([3, 1], 2))
    index = x.batch_index
    assert x.map(torch.tanh).batch_index is index
    assert x.replace(torch.zeros(4)).batch_index is index


def test_a_batch_without_steps_and_a_batch_without_rows() -> None:
    x = Sequences.from_list([torch.zeros(0, 3), torch.zeros(0, 3)])
    assert (x.steps, x.batch_size, x.max_length) == (0, 2, 0)
    assert x.padded().shape == (2, 0, 3)
    assert [tuple(row.shape) for row in x.reverse().unpack()] == [(0, 3), (0, 3)]
    none = Sequences(torch.zeros(0, 3), [])
    assert (none.batch_size, none.padded().shape, none.unpack()) == (0, (0, 0, 3), [])
    pieces, owners = none.chop(2)
    assert pieces.join(owners).batch_size == 0


class Rows(Dataset[Tensor]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((index, 2), float(index))


def test_it_passes_through_a_data_loader_with_workers() -> None:
    loader = DataLoader(Rows(), batch_size=3, collate_fn=Sequences.from_list, num_workers=1)
    assert [x.lengths.tolist() for x in loader] == [[0, 1, 2], [3, 4, 5]]


def test_misuse_says_what_is_wrong() -> None:
    values = torch.zeros(2, 3, 4)
    x = Sequences.from_padded(values, [3, 1])
    with pytest.raises(ValueError, match="only 3 steps"):
        Sequences.from_padded(values, [4, 1])
    with pytest.raises(ValueError, match="negative"):
        Sequences.from_padded(values, [3, -1])
    with pytest.raises(ValueError, match="B = 3"):
        Sequences.from_padded(values, [1, 1, 1])
    with pytest.raises(TypeError, match="integers"):
        Sequences.from_padded(values, torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="shape"):
        Sequences.from_padded(values, torch.tensor([[1, 2]]))
    with pytest.raises(ValueError, match="empty list"):
        Sequences.from_list([])
    with pytest.raises(ValueError, match="sequence 1"):
        Sequences.from_list([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(ValueError, match="scalar"):
        Sequences.from_list([torch.tensor(1.0)])
    with pytest.raises(ValueError, match="sum to 4"):
        x.replace(torch.zeros(3))
    with pytest.raises(TypeError, match="tuple"):
        x.map(cast(Any, lambda data: (data, data)))
    with pytest.raises(ValueError, match="at least 1 step"):
        x.chop(0)
    with pytest.raises(ValueError, match="without gaps"):
        x.join(torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="2 integers"):
        x.join(torch.tensor([0]))
