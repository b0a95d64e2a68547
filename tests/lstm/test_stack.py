"""The stack and the layer as modules: states, steps, dropout of three kinds, initial weights, conversion, misuse."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from seqkit.lstm import LSTMLayer, LSTMState, StackedLSTM, kernels
from seqkit.lstm.layer import RNNLayer
from seqkit.sequences import Sequences
from tests.lstm.numerics import KERNELS


def batch(*lengths: int, features: int = 4, seed: int = 0) -> Sequences:
    generator = torch.Generator().manual_seed(seed)
    return Sequences.from_list([torch.randn(n, features, generator=generator) for n in lengths])


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_steps_give_what_forward_gives(kernel: str, cell: str) -> None:
    torch.manual_seed(0)
    lstm = StackedLSTM(4, 4, 2, residual=True, kernel=kernel, cell=cell)
    x = batch(5, 5, 5)
    output, final = lstm(x)
    state = None
    for t, x_t in enumerate(x.padded().unbind(1)):
        y_t, state = lstm.step(x_t, state)
        assert torch.allclose(y_t, output.padded()[:, t], atol=1e-6)
        assert not y_t.requires_grad
    assert state is not None
    assert torch.allclose(state.hidden, final.hidden, atol=1e-6)
    assert torch.allclose(state.cell, final.cell, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_carried_state_joins_two_halves(cell: str) -> None:
    torch.manual_seed(1)
    lstm = StackedLSTM(4, 6, 2, cell=cell)
    x = batch(7, 3, 0, 9)
    whole, final = lstm(x)
    rows = x.unpack()
    head, state = lstm(Sequences.from_list([row[:4] for row in rows]))
    tail, state = lstm(Sequences.from_list([row[4:] for row in rows]), state.detach())
    for joined, a, b in zip(whole.unpack(), head.unpack(), tail.unpack(), strict=True):
        assert torch.allclose(joined, torch.cat([a, b]), atol=1e-6)
    assert torch.allclose(state.hidden, final.hidden, atol=1e-6)
    assert torch.allclose(state.cell, final.cell, atol=1e-6)


def test_a_state_is_selected_reset_detached() -> None:
    state = LSTMState(*torch.randn(2, 3, 4, 5).requires_grad_())
    beams = state.select(torch.tensor([2, 2, 0]))
    assert torch.equal(beams.hidden[:, 1], state.hidden[:, 2])
    assert torch.equal(beams.cell[:, 2], state.cell[:, 0])
    fresh = state.reset(torch.tensor([True, False, False, True]))
    assert not fresh.hidden[:, [0, 3]].any()
    assert not fresh.cell[:, [0, 3]].any()
    assert torch.equal(fresh.cell[:, 1:3], state.cell[:, 1:3])
    assert state.hidden.requires_grad
    assert not state.detach().hidden.requires_grad
    assert state.to("meta").cell.device.type == "meta"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_round_trip_with_torch(bidirectional: bool) -> None:
    torch.manual_seed(2)
    theirs = nn.LSTM(4, 3, 2, dropout=0.25, bidirectional=bidirectional).double().eval()
    ours = StackedLSTM.from_torch(theirs)
    back = ours.to_torch()
    assert list(back.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
    assert (back.dropout, back.training, ours.dropout) == (0.25, False, 0.25)
    x = batch(4, 4)
    x = x.replace(x.data.double())
    wanted, (h_n, c_n) = back(x.padded().transpose(0, 1))
    got, state = ours(x)
    for a, b in ((got.padded().transpose(0, 1), wanted), (state.hidden, h_n), (state.cell, c_n)):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-13)


def test_layer_parameters_are_named_and_shaped_as_torchs() -> None:
    ours = {name: p.shape for name, p in LSTMLayer(4, 3, True).named_parameters()}
    assert ours == {name: p.shape for name, p in nn.LSTM(4, 3, bidirectional=True).named_parameters()}


def test_torch_has_no_such_option() -> None:
    for option in ({"locked_dropout": 0.1}, {"weight_dropout": 0.1}, {"residual": True}, {"cell": "rnn"}):
        with pytest.raises(ValueError, match=next(iter(option))):
            StackedLSTM(4, 4, **option).to_torch()
    for foreign in (nn.LSTM(4, 4, proj_size=2), nn.LSTM(4, 4, bias=False)):
        with pytest.raises(ValueError, match="no counterpart"):
            StackedLSTM.from_torch(foreign)


class Recorder(nn.Module):
    """Stands in for a layer: keeps what it is given and returns it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Sequences, list[Tensor] | None]] = []
        self.weight = torch.ones(40, 40)

    def recurrent_weights(self) -> list[Tensor]:
        return [self.weight]

    def forward(
        self, x: Sequences, state: LSTMState | None, *, recurrent_weights: list[Tensor] | None
    ) -> tuple[Sequences, LSTMState]:
        self.seen.append((x, recurrent_weights))
        return x, LSTMState(torch.zeros(1, x.batch_size, 1), torch.zeros(1, x.batch_size, 1))


def recorded(layers: int, **options: float) -> tuple[StackedLSTM, list[Recorder]]:
    stack = StackedLSTM(40, 40, layers, **options)  # type: ignore[arg-type]
    recorders = [Recorder() for _ in range(layers)]
    stack.layers = nn.ModuleList(recorders)
    return stack, recorders


def test_a_locked_mask_is_constant_in_time_and_differs_between_sequences_and_layers() -> None:
    torch.manual_seed(3)
    stack, recorders = recorded(2, locked_dropout=0.5)
    x = Sequences.from_list([torch.ones(n, 40) for n in (6, 1, 4)])
    stack(x)
    seen = recorders[0].seen[0][0].unpack()
    for row in seen:
        assert set(row.flatten().tolist()) == {0.0, 2.0}
        assert torch.equal(row, row[:1].expand_as(row))
    assert not torch.equal(seen[0][0], seen[2][0])
    between = [row for row in recorders[1].seen[0][0].unpack() if len(row) > 1]
    assert all(torch.equal(row, row[:1].expand_as(row)) for row in between)
    assert not torch.equal(between[0], seen[0])
    stack.eval()
    stack(x)
    assert torch.equal(recorders[0].seen[1][0].data, x.data)


def test_dropconnect_drops_recurrent_weights_in_training_only() -> None:
    torch.manual_seed(4)
    stack, (recorder,) = recorded(1, weight_dropout=0.25)
    x = batch(3, features=40)
    stack(x)
    stack(x)
    first, second = (weights[0] for _, weights in recorder.seen if weights is not None)
    kept = (first != 0).float().mean().item()
    assert kept == pytest.approx(0.75, abs=0.06)
    assert torch.allclose(first[first != 0], torch.tensor(1 / 0.75))
    assert not torch.equal(first, second)
    stack.eval()
    stack(x)
    assert recorder.seen[-1][1] is None


def test_dropconnect_reaches_the_weights_gradient() -> None:
    torch.manual_seed(5)
    lstm = StackedLSTM(4, 6, weight_dropout=0.5, kernel="eager")
    lstm(batch(5, 3))[0].data.sum().backward()
    gradient = lstm.layers[0].weight_hh_l0.grad
    assert isinstance(gradient, Tensor)
    assert 0.25 < (gradient == 0).float().mean().item() < 0.75


def test_dropout_stands_between_layers_only() -> None:
    torch.manual_seed(6)
    stack, recorders = recorded(2, dropout=0.5)
    x = Sequences.from_list([torch.ones(6, 40)])
    output, _ = stack(x)
    assert torch.equal(recorders[0].seen[0][0].data, x.data)
    between = recorders[1].seen[0][0].data
    assert set(between.flatten().tolist()) == {0.0, 2.0}
    assert not torch.equal(between[0], between[1])
    assert torch.equal(output.data, between)


def test_residual_connections() -> None:
    torch.manual_seed(7)
    plain = StackedLSTM(3, 5, 2)
    added = copy.deepcopy(plain)
    added.residual = True
    x = batch(4, 2, features=3)
    first, _ = plain.layers[0](x)  # 3 features in, 5 out: nothing to add
    second, _ = plain.layers[1](first)
    assert torch.equal(added(x)[0].data, second.data + first.data)


@pytest.mark.parametrize("init", ["glorot", "he", "orthogonal", "uniform"])
def test_initial_weights(init: str) -> None:
    torch.manual_seed(8)
    inputs, hidden = 60, 40
    layer = LSTMLayer(inputs, hidden, init=init, forget_bias=1.5)
    weight_ih, weight_hh, bias_ih, bias_hh = layer.weights()
    assert torch.allclose((bias_ih + bias_hh)[hidden : 2 * hidden], torch.tensor(1.5))
    if init == "uniform":
        assert weight_ih.std().item() == pytest.approx(1 / math.sqrt(3 * hidden), rel=0.05)
        assert bias_ih[:hidden].any()
        return
    assert not bias_ih[:hidden].any()
    assert not bias_hh.any()
    if init == "orthogonal":
        for block in torch.split(weight_hh, hidden):
            assert torch.allclose(block @ block.T, torch.eye(hidden), atol=1e-5)
        return
    deviation = math.sqrt(2 / (inputs + hidden)) if init == "glorot" else math.sqrt(2 / inputs)
    assert weight_ih.std().item() == pytest.approx(deviation, rel=0.05)


def test_forget_bias_of_none_leaves_torchs_own() -> None:
    torch.manual_seed(9)
    biases = LSTMLayer(3, 50, init="uniform", forget_bias=None).weights()[2:]
    assert all(b.abs().max() <= 1 / math.sqrt(50) and b[50:100].any() for b in biases)


def test_the_rnn_is_torchs() -> None:
    torch.manual_seed(10)
    lstm = StackedLSTM(4, 5, 2, bidirectional=True, cell="rnn")
    theirs = nn.RNN(4, 5, 2, bidirectional=True)
    weights = [w for layer in lstm.layers if isinstance(layer, RNNLayer) for w in layer.weights()]
    with torch.no_grad():
        for ours, own in zip(weights, theirs.parameters(), strict=True):
            own.copy_(ours)
    x = batch(4, 4)
    output, state = lstm(x)
    wanted, h_n = theirs(x.padded().transpose(0, 1))
    assert torch.allclose(output.padded().transpose(0, 1), wanted, atol=1e-6)
    assert torch.allclose(state.hidden, h_n, atol=1e-6)
    assert not state.cell.any()
    assert lstm.kernel_used() == "torch"


def test_the_kernel_can_be_asked_for_and_named() -> None:
    best = "native" if kernels.available("native") is None else "eager"
    assert StackedLSTM(2, 2).kernel_used() == best
    assert StackedLSTM(2, 2).describe().startswith(f"{best} (")
    assert StackedLSTM(2, 2).double().kernel_used() == "eager"
    assert StackedLSTM(2, 2, kernel="eager").describe().startswith("eager (")
    assert StackedLSTM(2, 2, kernel="torch").describe() == "torch"
    assert kernels.choose("auto", torch.device("cuda"), torch.float32) == "torch"
    with pytest.raises(ValueError, match="no kernel 'fast'"):
        LSTMLayer(2, 2, kernel="fast")
    with pytest.raises(TypeError, match="float16"):
        LSTMLayer(4, 2).half()(batch(2).map(Tensor.half))


def test_misuse_says_what_is_wrong() -> None:
    layer, x = LSTMLayer(4, 3), batch(3, 1)
    with pytest.raises(ValueError, match="reads 4 features"):
        layer(batch(3, features=5))
    with pytest.raises(ValueError, match=r"\(1, 2, 3\)"):
        layer(x, LSTMState(torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)))
    with pytest.raises(TypeError, match=r"torch\.float64"):
        layer(x.replace(x.data.double()))
    with pytest.raises(ValueError, match="from the end"):
        StackedLSTM(4, 3, bidirectional=True).step(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="holds 1"):
        StackedLSTM(4, 3, 2)(x, LSTMState(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)))
    for wrong in ({"num_layers": 0}, {"hidden_size": 0}, {"cell": "gru"}, {"dropout": 1.0}, {"init": "zeros"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StackedLSTM(**{"input_size": 4, "hidden_size": 3, **wrong})  # type: ignore[arg-type]
