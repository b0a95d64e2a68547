"""What is said of a value: likelihoods and quantiles beside scipy's, pinball loss beside its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from seqkit.heads.forecast_outputs import Output, build_output

LEVELS = (0.1, 0.25, 0.5, 0.9)
NAMES = ["point", "quantile", "gaussian", "student_t"]


def _output(name: Any) -> Output:
    return build_output(name, levels=LEVELS)


def _parameters(output: Output, count: int = 50) -> torch.Tensor:
    torch.manual_seed(0)
    return output.constrain(3.0 * torch.randn(count, output.parameters, dtype=torch.float64))


def test_gaussian_is_scipys() -> None:
    output = _output("gaussian")
    parameters, target = _parameters(output), torch.randn(50, dtype=torch.float64)
    reference = stats.norm(parameters[:, 0].numpy(), parameters[:, 1].numpy())
    np.testing.assert_allclose(output.loss(parameters, target).numpy(), -reference.logpdf(target.numpy()))
    quantiles = output.quantiles(parameters, LEVELS)
    assert quantiles is not None
    for index, level in enumerate(LEVELS):
        np.testing.assert_allclose(quantiles[:, index].numpy(), reference.ppf(level))


def test_student_t_is_scipys() -> None:
    output = _output("student_t")
    parameters, target = _parameters(output), torch.randn(50, dtype=torch.float64)
    location, scale, freedom = parameters.numpy().T
    assert (freedom > 2.0).all()
    reference = stats.t(freedom, location, scale)
    np.testing.assert_allclose(output.loss(parameters, target).numpy(), -reference.logpdf(target.numpy()))
    quantiles = output.quantiles(parameters, LEVELS)
    assert quantiles is not None
    for index, level in enumerate(LEVELS):
        np.testing.assert_allclose(quantiles[:, index].numpy(), reference.ppf(level))


def test_pinball_by_its_definition() -> None:
    output = _output("quantile")
    parameters, target = _parameters(output), torch.randn(50, dtype=torch.float64)
    expected = np.zeros(50)
    for row in range(50):
        for index, level in enumerate(LEVELS):
            error = float(target[row] - parameters[row, index])
            expected[row] += 2.0 * (level * error if error >= 0 else (level - 1.0) * error) / len(LEVELS)
    np.testing.assert_allclose(output.loss(parameters, target).numpy(), expected)


def test_quantiles_never_cross_and_lie_on_lines_between_levels() -> None:
    output = _output("quantile")
    parameters = _parameters(output)
    assert bool((parameters.diff(dim=-1) > 0).all())
    found = output.quantiles(parameters, (0.01, 0.1, 0.375, 0.5, 0.7, 0.99))
    assert found is not None
    expected = np.array([np.interp([0.01, 0.1, 0.375, 0.5, 0.7, 0.99], LEVELS, row) for row in parameters.numpy()])
    np.testing.assert_allclose(found.numpy(), expected)
    torch.testing.assert_close(output.point(parameters), parameters[:, 2])


@pytest.mark.parametrize("name", NAMES)
def test_carried_parameters_are_those_of_the_carried_value(name: str) -> None:
    output = _output(name)
    parameters = _parameters(output)
    shift, scale = torch.randn(50, dtype=torch.float64), torch.rand(50, dtype=torch.float64) + 0.1
    carried = output.carried(parameters, shift, scale)
    torch.testing.assert_close(output.point(carried), output.point(parameters) * scale + shift)
    quantiles, moved = output.quantiles(parameters, LEVELS), output.quantiles(carried, LEVELS)
    assert (quantiles is None) is (name == "point")
    if quantiles is not None and moved is not None:
        torch.testing.assert_close(moved, quantiles * scale.unsqueeze(-1) + shift.unsqueeze(-1))


@pytest.mark.parametrize("name", NAMES)
def test_losses_lead_to_the_truth(name: str) -> None:
    output = _output(name)
    target = 4.0 + 0.5 * torch.randn(4000, generator=torch.Generator().manual_seed(1))
    raw = torch.zeros(output.parameters, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(800):
        optimizer.zero_grad()
        output.loss(output.constrain(raw).expand(len(target), -1), target).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(output.point(output.constrain(raw).detach())) == pytest.approx(4.0, abs=0.05)
    quantiles = output.quantiles(output.constrain(raw).detach(), LEVELS)
    if quantiles is not None:
        np.testing.assert_allclose(quantiles.numpy(), stats.norm(4.0, 0.5).ppf(LEVELS), atol=0.06)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_losses_of_a_point(loss: Any) -> None:
    output = build_output("point", loss=loss)
    found = output.loss(torch.tensor([[0.0], [0.0]]), torch.tensor([0.5, 3.0]))
    assert found.tolist() == {"mse": [0.25, 9.0], "mae": [0.5, 3.0], "huber": [0.125, 2.5]}[loss]


@pytest.mark.parametrize("levels", [(), (0.1, 0.9), (0.5, 0.1), (0.5, 0.5), (0.0, 0.5)])
def test_levels_that_cannot_be(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="quantile levels"):
        build_output("quantile", levels=levels)
