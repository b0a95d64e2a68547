"""Packed weights in eval(): kept between calls, given back, and never stale, whatever way a weight is changed."""

from __future__ import annotations

import copy
import io
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seqkit.lstm import LSTMLayer, StackedLSTM
from seqkit.lstm.native import kernel as native
from seqkit.sequences import Sequences
from tests.lstm.numerics import dealt, needs_native

pytestmark = needs_native


class Packings:
    """Counts what is packed ahead, and sees whether it is still in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[weakref.ref[Tensor]] = []
        pack = native.pack

        def counting(weights: list[Tensor]) -> Tensor:
            packed = pack(weights)
            self.made.append(weakref.ref(packed))
            return packed

        monkeypatch.setattr(native, "pack", counting)

    def __len__(self) -> int:
        return len(self.made)

    def alive(self) -> int:
        return sum(packed() is not None for packed in self.made)


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> Packings:
    return Packings(monkeypatch)


def evaluated(bidirectional: bool = False, inputs: int = 6, hidden: int = 10) -> LSTMLayer:
    torch.manual_seed(0)
    return LSTMLayer(inputs, hidden, bidirectional, kernel="native").eval()


def read(layer: LSTMLayer, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = Sequences.from_list([torch.randn(n, layer.input_size, generator=generator) for n in (5, 2, 7)])
    with torch.no_grad():
        output, state = layer(x)
    return torch.cat([output.data.flatten(), state.hidden.flatten(), state.cell.flatten()])


def fresh(layer: LSTMLayer) -> Tensor:
    """What a layer with the same weights reads that has packed nothing."""
    other = copy.deepcopy(layer).train()
    return read(other)


def test_weights_are_packed_once_and_kept(packings: Packings) -> None:
    layer = evaluated(True)
    first = read(layer)
    assert torch.equal(first, fresh(layer))
    for n in range(4):
        assert torch.equal(read(layer), first)
        read(layer, seed=n)
    assert (len(packings), packings.alive()) == (1, 1)


def test_each_layer_of_a_stack_keeps_its_own(packings: Packings) -> None:
    stack = StackedLSTM(4, 5, 3, kernel="native").eval()
    x = Sequences.from_list([torch.randn(3, 4)])
    with torch.no_grad():
        first = stack(x)[0].data
        assert torch.equal(stack(x)[0].data, first)
    assert len(packings) == 3


def test_inference_mode_keeps_them_too(packings: Packings) -> None:
    layer = evaluated()
    with torch.inference_mode():
        inside = read(layer)
    assert torch.equal(read(layer), inside)
    assert len(packings) == 1


@pytest.mark.parametrize("how", ["train", "train and eval", "load_state_dict", "a stack's load_state_dict"])
def test_the_memory_is_given_back(how: str, packings: Packings) -> None:
    layer = evaluated()
    read(layer)
    if how == "train":
        layer.train()
    elif how == "train and eval":
        nn.Sequential(layer).train().eval()
    elif how == "load_state_dict":
        layer.load_state_dict(layer.state_dict())
    else:
        around = nn.Sequential(layer)
        around.load_state_dict(around.state_dict())
    assert (len(packings), packings.alive()) == (1, 0)
    assert torch.equal(read(layer), fresh(layer))
    assert len(packings) == (1 if how == "train" else 2)


def test_nothing_is_packed_ahead_in_training_or_by_another_kernel(packings: Packings) -> None:
    layer = evaluated().train()
    read(layer)
    layer.eval().kernel = "eager"
    read(layer)
    assert len(packings) == 0


def test_nothing_packed_is_used_where_a_gradient_is_wanted(packings: Packings) -> None:
    """Nor is the graph's result another: the gradients of a layer in eval() are those in train()."""
    layer = evaluated()
    x = Sequences.from_list([torch.randn(4, 6), torch.randn(2, 6)])
    loss = layer(x)[0].data.square().sum()
    grads = torch.autograd.grad(loss, layer.weights())
    layer.train()
    expected = torch.autograd.grad(layer(x)[0].data.square().sum(), layer.weights())
    assert all(torch.equal(one, other) for one, other in zip(grads, expected, strict=True))
    layer.eval().requires_grad_(False)
    leaf = x.data.clone().requires_grad_()
    layer(x.replace(leaf))[0].data.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.any()
    assert len(packings) == 0
    layer(x)  # frozen weights: no gradient is wanted
    assert len(packings) == 1


def doubled_in_place(layer: LSTMLayer) -> None:
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").mul_(2)


def negated(layer: LSTMLayer) -> None:
    layer.get_parameter("weight_hh_l0").data.neg_()


def two_rows_negated(layer: LSTMLayer) -> None:
    layer.get_parameter("weight_ih_l0").data[[0, 16]] *= -1


def two_rows_exchanged(layer: LSTMLayer) -> None:
    rows = layer.get_parameter("weight_hh_l0").data
    rows[[0, 1]] = rows[[1, 0]]


def written_through_data(layer: LSTMLayer) -> None:
    layer.get_parameter("bias_hh_l0").data.fill_(0.25)


def data_replaced(layer: LSTMLayer) -> None:
    weight = layer.get_parameter("weight_ih_l0")
    weight.data = torch.randn_like(weight)


def parameter_replaced(layer: LSTMLayer) -> None:
    layer.weight_hh_l0 = nn.Parameter(layer.get_parameter("weight_hh_l0").detach() + 0.1)


def written_through_numpy(layer: LSTMLayer) -> None:
    layer.get_parameter("weight_ih_l0").detach().numpy()[3] = 0.5


def stepped(optimizer: Callable[..., torch.optim.Optimizer], **options: bool) -> Callable[[LSTMLayer], None]:
    def step(layer: LSTMLayer) -> None:
        layer(Sequences.from_list([torch.ones(3, layer.input_size)]))[0].data.sum().backward()
        optimizer(layer.parameters(), lr=0.01, **options).step()

    return step


CHANGES: dict[str, Callable[[LSTMLayer], None]] = {
    "an update in place": doubled_in_place,
    "all signs of a weight changed": negated,
    "the signs of two rows changed": two_rows_negated,
    "two rows exchanged": two_rows_exchanged,
    "a write through .data": written_through_data,
    "another .data": data_replaced,
    "another Parameter": parameter_replaced,
    "a write through numpy": written_through_numpy,
    "a fused optimizer's step": stepped(torch.optim.AdamW, fused=True),
    "a foreach optimizer's step": stepped(torch.optim.AdamW, foreach=True),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [(6, 10), (64, 64)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_is_kept_is_never_stale(change: str, size: tuple[int, int], bidirectional: bool) -> None:
    layer = evaluated(bidirectional, *size)
    before = read(layer)
    CHANGES[change](layer)
    assert not layer.training
    after = read(layer)
    assert not torch.equal(after, before)
    assert torch.equal(after, fresh(layer))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("inputs", "hidden"), [(6, 10), (130, 128)])
def test_one_number_changed_by_its_last_bit_is_seen(inputs: int, hidden: int, threads: int, packings: Packings) -> None:
    """In each of the eight tensors, at both ends and between."""
    layer = evaluated(True, inputs, hidden)
    with dealt(threads):
        read(layer)
        count = 1
        for weight in layer.weights():
            numbers = weight.detach().flatten()
            for at in (0, 1, numbers.numel() // 2, numbers.numel() - 1):
                numbers[at] = torch.nextafter(numbers[at], torch.tensor(torch.inf))
                read(layer)
                count += 1
                assert len(packings) == count
        read(layer)
    assert len(packings) == count
    assert packings.alive() == 1


def test_recurrent_weights_in_place_of_the_layers_own() -> None:
    layer = evaluated()
    x = Sequences.from_list([torch.randn(4, 6)])
    other = torch.randn(40, 10)
    with torch.no_grad():
        own = layer(x)[0].data
        given = layer(x, recurrent_weights=[other])[0].data
        assert torch.equal(layer(x)[0].data, own)
        layer.get_parameter("weight_hh_l0").copy_(other)
        assert torch.equal(layer(x)[0].data, given)
    assert not torch.equal(own, given)


def test_copies_and_pickles_carry_nothing_packed(packings: Packings) -> None:
    layer = evaluated()
    plain = len(pickle.dumps(layer))
    first = read(layer)
    assert len(pickle.dumps(layer)) == plain
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    others = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)]
    assert (len(packings), packings.alive()) == (1, 1)
    for other in others:
        assert torch.equal(read(other), first)
    assert (len(packings), packings.alive()) == (4, 4)
    with torch.no_grad():
        others[0].weight_ih_l0.zero_()
    read(others[0])
    assert torch.equal(read(layer), first)


def test_the_state_dict_holds_the_parameters_only() -> None:
    layer = evaluated()
    names = list(layer.state_dict())
    read(layer)
    assert list(layer.state_dict()) == names == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
