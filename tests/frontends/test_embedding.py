"""The embedding: plain in evaluation, and each kind of noise in training does what it says."""

from __future__ import annotations

import pytest
import torch

from seqkit.frontends.embedding import TokenEmbedding
from seqkit.sequences import Sequences

IDS = Sequences.from_list([torch.arange(5), torch.tensor([], dtype=torch.int64), torch.tensor([3, 3, 9])])


@pytest.mark.parametrize("training", [True, False])
def test_without_noise_it_is_a_table(training: bool) -> None:
    module = TokenEmbedding(10, 4).train(training)
    out = module(IDS)
    assert out.data.shape == (8, 4)
    assert out.lengths.tolist() == [5, 0, 3]
    torch.testing.assert_close(out.data, module.weight[IDS.data], rtol=0, atol=0)


def test_a_batch_gives_what_each_row_gives_alone() -> None:
    module = TokenEmbedding(10, 4).eval()
    for row, alone in zip(module(IDS).unpack(), IDS.unpack(), strict=True):
        torch.testing.assert_close(row, module(Sequences.from_list([alone])).data, rtol=0, atol=0)


def test_evaluation_has_no_noise() -> None:
    module = TokenEmbedding(10, 4, word_dropout=0.5, noise=1.0, embedding_dropout=0.5).eval()
    torch.testing.assert_close(module(IDS).data, module.weight[IDS.data], rtol=0, atol=0)


def test_word_dropout_puts_the_unknown_word() -> None:
    torch.manual_seed(0)
    module = TokenEmbedding(10, 4, unk_id=7, word_dropout=0.3)
    ids = Sequences.from_list([torch.full((4000,), 2)])
    out = module(ids).data
    unknown = (out == module.weight[7]).all(dim=1)
    assert bool(((out == module.weight[2]).all(dim=1) | unknown).all())
    assert abs(float(unknown.float().mean()) - 0.3) < 0.03


def test_embedding_dropout_drops_whole_types_and_scales_the_others() -> None:
    torch.manual_seed(0)
    module = TokenEmbedding(400, 4, embedding_dropout=0.25)
    ids = torch.arange(400).repeat(3)
    out = module(Sequences.from_list([ids])).data.reshape(3, 400, 4)
    assert bool((out == out[0]).all())
    dropped = (out[0] == 0).all(dim=1)
    assert abs(float(dropped.float().mean()) - 0.25) < 0.08
    torch.testing.assert_close(out[0][~dropped], module.weight[~dropped] / 0.75)


def test_noise_has_the_given_deviation_and_gradients_flow() -> None:
    torch.manual_seed(0)
    module = TokenEmbedding(10, 64, noise=0.2)
    out = module(Sequences.from_list([torch.zeros(500, dtype=torch.int64)])).data
    assert abs(float((out - module.weight[0]).detach().std()) - 0.2) < 0.01
    out.sum().backward()
    assert module.weight.grad is not None
    torch.testing.assert_close(module.weight.grad[0], torch.full((64,), 500.0))


@pytest.mark.parametrize(
    "values", [{"word_dropout": 1.0}, {"noise": -1.0}, {"unk_id": 10}, {"embedding_dropout": -0.1}]
)
def test_wrong_values(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        TokenEmbedding(10, 4, **values)  # type: ignore[arg-type]
