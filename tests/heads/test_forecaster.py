"""The network of forecasting: shapes over a grid of settings, and what its parts promise."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from seqkit.heads.forecast_outputs import build_output
from seqkit.heads.forecaster import Forecaster, WindowNorm

LEVELS = (0.1, 0.5, 0.9)


def _network(columns: int = 3, input_length: int = 20, horizon: int = 7, **settings: Any) -> Forecaster:
    torch.manual_seed(0)
    output = build_output(settings.pop("output", "point"), levels=LEVELS)
    return Forecaster(columns, input_length, horizon, output, lstm={"hidden_size": 8}, **{"segment": 4, **settings})


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
