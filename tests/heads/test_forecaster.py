"""The network of forecasting: shapes over a grid of settings, and what its parts promise."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from seqkit.heads.forecast_outputs import LEAST_SCALE, build_output
from seqkit.heads.forecaster import Forecaster, WindowNorm

LEVELS = (0.1, 0.5, 0.9)


def _network(columns: int = 3, input_length: int = 20, horizon: int = 7, **settings: Any) -> Forecaster:
    torch.manual_seed(0)
    output = build_output(settings.pop("output", "point"), levels=LEVELS)
    return Forecaster(columns, input_length, horizon, output, lstm={"hidden_size": 8}, **{"segment": 4, **settings})


def _cell(weights: dict[str, np.ndarray], x: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> list[np.ndarray]:
    """One step of an LSTM, as its equations are written: the new hidden state and cell."""
    name = "lstm.layers.0."
    gates = weights[name + "weight_ih_l0"] @ x + weights[name + "bias_ih_l0"]
    gates += weights[name + "weight_hh_l0"] @ hidden + weights[name + "bias_hh_l0"]
    i, f, g, o = np.split(gates, 4)
    cell = cell / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    return [np.tanh(cell) / (1 + np.exp(-o)), cell]


def _normalised(kind: str, weights: dict[str, np.ndarray], column: int, x: np.ndarray) -> tuple[np.ndarray, Any, Any]:
    """One column (L,) with NaN -> normalised with 0 where missing, shift, scale."""
    there = x[~np.isnan(x)]
    shift, scale = 0.0, 1.0
    if kind == "last":
        shift = there[-1]
    elif kind == "revin":
        scale = np.sqrt(there.var() + 1e-5) / np.exp(weights["norm.log_gain"][column])
        shift = there.mean() - weights["norm.bias"][column] * scale
    return np.nan_to_num((x - shift) / scale), shift, scale


def _reference(network: Forecaster, x: np.ndarray, calendar: np.ndarray, horizon: int) -> np.ndarray:
    """What a Gaussian forecaster says of one window (L, D): the mean and the scale (H, D, 2), written with plain loops.

    Segments are counted back from the newest row; the segments to come, from the first row to come.
    """
    weights = {name: weight.detach().double().numpy() for name, weight in network.named_parameters()}
    length, columns = x.shape
    size, width = network.segment, network.width
    normed = [_normalised(network.norm.kind, weights, d, x[:, d]) for d in range(columns)]
    later = np.concatenate([calendar[length:], np.zeros((size, calendar.shape[1]))])
    answers = np.zeros((horizon, columns, 2))

    def read(values: Any, real: Any, times: np.ndarray) -> np.ndarray:
        features = np.concatenate([np.ravel(values), np.ravel(real), np.ravel(times)])
        return np.asarray(np.maximum(weights["embed.weight"] @ features + weights["embed.bias"], 0.0))

    for group in range(columns // width):
        own = range(group * width, (group + 1) * width)
        hidden, cell = np.zeros((2, 8))
        for first in range(length % size, length, size):
            rows = range(first, first + size)
            values = [[normed[d][0][row] for d in own] for row in rows]
            real = [[not np.isnan(x[row, d]) for d in own] for row in rows]
            hidden, cell = _cell(weights, read(values, real, calendar[first : first + size]), hidden, cell)
        final = hidden, cell
        for place, first in enumerate(range(0, horizon, size)):
            if network.direct:
                asked = weights["places"][place] + weights["names"][group]
                asked = asked + weights["ahead.weight"] @ later[first : first + size].ravel()
                told = _cell(weights, asked, *final)[0]
            else:
                told = hidden
            raw = (weights["write.weight"] @ told + weights["write.bias"]).reshape(size, width, 2)
            for row, (at, d) in itertools.product(range(min(size, horizon - first)), enumerate(own)):
                answers[first + row, d] = raw[row, at]
            if not network.direct:
                asked = read(raw[..., 0], np.ones((size, width)), later[first : first + size])
                hidden, cell = _cell(weights, asked, hidden, cell)
    for d, (window, shift, scale) in enumerate(normed):
        if network.linear is not None:
            answers[:, d, 0] += weights["linear.weight"] @ window[length % size :] + weights["linear.bias"]
        answers[:, d, 0] = answers[:, d, 0] * scale + shift
        answers[:, d, 1] = (np.log1p(np.exp(answers[:, d, 1])) + LEAST_SCALE) * scale
    return answers


@pytest.mark.parametrize("decoder", ["direct", "autoregressive"])
@pytest.mark.parametrize("channels", ["independent", "joint"])
@pytest.mark.parametrize("normalization", ["none", "last", "revin"])
@pytest.mark.parametrize("linear", [False, True])
def test_as_written_with_plain_loops(decoder: str, channels: str, normalization: str, linear: bool) -> None:
    # 22 rows are five segments and two rows that are left out; 11 rows to come are two segments and a part of one.
    settings = {"decoder": decoder, "channels": channels, "normalization": normalization, "linear": linear}
    network = _network(3, 22, 11, output="gaussian", calendar=2, mask=True, **settings).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    x, calendar = 2.0 * torch.randn(4, 22, 3) + 3.0, torch.randn(4, 33, 2)
    x[0, 5, 1] = x[1, -1, 0] = x[2, 0, 2] = float("nan")
    with torch.no_grad():
        found = network(x, calendar=calendar).numpy()
    for window in range(4):
        expected = _reference(network, x[window].double().numpy(), calendar[window].double().numpy(), 11)
        np.testing.assert_allclose(found[window], expected, atol=2e-4, rtol=1e-4)


def test_what_is_said_to_be_missing_is_not_read() -> None:
    network = _network(mask=True, normalization="revin").eval()
    x = torch.randn(2, 20, 3)
    real = torch.ones_like(x, dtype=torch.bool)
    real[0, 4, 1] = real[1, -1] = False
    with torch.no_grad():
        expected = network(torch.where(real, x, float("nan")))
        assert torch.equal(network(torch.where(real, x, 50.0), real=real), expected)
        assert not torch.equal(network(x), expected)


@pytest.mark.parametrize("decoder", ["direct", "autoregressive"])
def test_dropout_acts_in_training_alone(decoder: str) -> None:
    network, x = _network(decoder=decoder, dropout=0.5), torch.randn(2, 20, 3)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize("output", ["point", "quantile", "gaussian", "student_t"])
@pytest.mark.parametrize(
    ("decoder", "channels"), [*itertools.product(["direct", "autoregressive"], ["independent", "joint"])]
)
@pytest.mark.parametrize("normalization", ["none", "last", "revin"])
def test_every_setting_learns_from_every_weight(output: str, decoder: str, channels: str, normalization: str) -> None:
    network = _network(
        output=output,
        decoder=decoder,
        channels=channels,
        normalization=normalization,
        linear=True,
        calendar=2,
        mask=True,
    )
    x = torch.randn(5, 20, 3)
    x[0, 3, 1] = x[2, -1, 0] = float("nan")
    x[1, :, 2] = float("nan")
    parameters = network(x, calendar=torch.randn(5, 27, 2))
    assert parameters.shape == (5, 7, 3, network.output.parameters)
    network.output.loss(parameters, torch.randn(5, 7, 3)).mean().backward()  # type: ignore[no-untyped-call]
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert bool(torch.isfinite(weight.grad).all()), name


@pytest.mark.parametrize(("input_length", "horizon", "segment"), [(1, 1, 1), (9, 1, 4), (4, 9, 4), (24, 24, 24)])
@pytest.mark.parametrize("decoder", ["direct", "autoregressive"])
def test_odd_lengths(input_length: int, horizon: int, segment: int, decoder: str) -> None:
    network = _network(1, input_length, horizon, segment=segment, decoder=decoder)
    assert network(torch.randn(1, input_length, 1)).shape == (1, horizon, 1, 1)


def test_a_segment_longer_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="segment of 5"):
        _network(1, 4, 2, segment=5)


@pytest.mark.parametrize("normalization", ["last", "revin"])
@pytest.mark.parametrize("decoder", ["direct", "autoregressive"])
def test_a_window_that_is_moved_moves_its_forecast(normalization: str, decoder: str) -> None:
    network = _network(normalization=normalization, decoder=decoder, output="gaussian").eval()
    x = torch.randn(4, 20, 3)
    parameters, moved = network(x), network(x + 100.0)
    torch.testing.assert_close(moved[..., 0], parameters[..., 0] + 100.0, atol=2e-3, rtol=0)
    torch.testing.assert_close(moved[..., 1], parameters[..., 1], atol=2e-3, rtol=0)


def test_revin_scales_what_is_scaled() -> None:
    network = _network(normalization="revin", output="student_t").eval()
    x = torch.randn(4, 20, 3)
    one, ten = network(x), network(10.0 * x)
    torch.testing.assert_close(ten[..., :2], 10.0 * one[..., :2], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ten[..., 2], one[..., 2], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["none", "last", "revin"])
def test_normalisation_is_undone_exactly(kind: Any) -> None:
    norm = WindowNorm(3, kind)
    for weight in norm.parameters():
        torch.nn.init.normal_(weight)
    x = torch.randn(4, 20, 3) * 5.0 + 2.0
    values, shift, scale = norm(x, torch.ones_like(x, dtype=torch.bool))
    torch.testing.assert_close(values * scale + shift, x, atol=1e-4, rtol=1e-4)
    if kind == "last":
        assert bool((values[:, -1] == 0).all())


def test_last_goes_by_the_newest_value_that_is_there() -> None:
    x = torch.tensor([[[1.0], [3.0], [float("nan")]]])
    _, shift, _ = WindowNorm(1, "last")(x, ~torch.isnan(x))
    assert shift.item() == 3.0


def test_independent_columns_do_not_see_each_other_and_joint_ones_do() -> None:
    x = torch.randn(2, 20, 3)
    other = x.clone()
    other[:, :, 2] += torch.randn(2, 20)
    for channels, alike in (("independent", True), ("joint", False)):
        network = _network(channels=channels).eval()
        same = torch.allclose(network(x)[:, :, :2], network(other)[:, :, :2], atol=1e-6)
        assert same is alike


def test_alone_as_in_a_batch() -> None:
    network = _network(decoder="autoregressive").eval()
    x = torch.randn(6, 20, 3)
    torch.testing.assert_close(torch.cat([network(x[i : i + 1]) for i in range(6)]), network(x))


def test_autoregressive_segments_are_read_before_the_next() -> None:
    # A network with a longer horizon begins with what one with a shorter horizon says.
    long, short = _network(horizon=12, decoder="autoregressive"), _network(horizon=4, decoder="autoregressive")
    short.load_state_dict(long.state_dict())
    x = torch.randn(3, 20, 3)
    torch.testing.assert_close(long.eval()(x)[:, :4], short.eval()(x))


def test_the_calendar_to_come_is_read() -> None:
    for decoder in ("direct", "autoregressive"):
        network = _network(calendar=2, decoder=decoder, horizon=12).eval()
        x, calendar = torch.randn(2, 20, 3), torch.randn(2, 32, 2)
        other = calendar.clone()
        other[:, 20:] += 1.0
        assert not torch.allclose(network(x, calendar=calendar), network(x, calendar=other))
