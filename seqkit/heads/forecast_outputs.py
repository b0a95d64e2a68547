"""What a forecaster says of each value: a point, quantiles, or a distribution.

Shapes: `...` any dimensions, P parameters of one value, Q levels. Parameters are constrained already: a scale is
positive, quantiles are in order. All outputs are families of location and scale, so that a normalisation of the window
(`carried`) is undone exactly.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

LEAST_SCALE = 1e-4
"""Least scale of a distribution, in units of the normalised window: a constant stretch has no infinite likelihood."""

OutputName = Literal["point", "quantile", "gaussian", "student_t"]
PointLoss = Literal["mse", "mae", "huber"]


class Output(abc.ABC):
    """One kind of answer; `parameters` is P."""

    parameters: int
    location: int = 0
    """Which of the raw numbers moves the answer up and down as a whole."""

    @abc.abstractmethod
    def constrain(self, raw: Tensor) -> Tensor:
        """Parameters (..., P) from what a linear layer gives (..., P)."""

    @abc.abstractmethod
    def carried(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """The parameters (..., P) of `value * scale + shift`; scale is positive, both broadcast to (...)."""

    @abc.abstractmethod
    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """What each value (...) costs, given the truth (...); differentiable."""

    @abc.abstractmethod
    def point(self, parameters: Tensor) -> Tensor:
        """One number (...) for each value: the mean of a distribution, the median of quantiles."""

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor | None:
        """Quantiles (..., Q), increasing with the level; None where only a point is known."""
        return None


class PointOutput(Output):
    """The value itself."""

    parameters = 1

    def __init__(self, loss: PointLoss = "mse") -> None:
        self.kind = loss

    def constrain(self, raw: Tensor) -> Tensor:
        """Any number is one."""
        return raw

    def carried(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Scaled and shifted."""
        return parameters * scale.unsqueeze(-1) + shift.unsqueeze(-1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Squared or absolute error; or Huber's, quadratic up to an error of 1."""
        value = parameters.squeeze(-1)
        if self.kind == "mse":
            return F.mse_loss(value, target, reduction="none")
        if self.kind == "mae":
            return F.l1_loss(value, target, reduction="none")
        return F.huber_loss(value, target, reduction="none")

    def point(self, parameters: Tensor) -> Tensor:
        """The value."""
        return parameters.squeeze(-1)


class QuantileOutput(Output):
    """Quantiles at fixed levels, trained by the pinball loss (Koenker and Bassett 1978). They cannot cross.

    Args:
        levels: Q increasing probabilities, 0.5 among them.

    Raises:
        ValueError: levels that are none, or lack the median.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        if 0.5 not in levels or list(levels) != sorted(set(levels)) or not all(0.0 < level < 1.0 for level in levels):
            raise ValueError(f"quantile levels increase, lie between 0 and 1 and hold 0.5; they are {list(levels)}.")
        self.levels = tuple(levels)
        self.parameters = len(levels)
        self.location = self.levels.index(0.5)

    def constrain(self, raw: Tensor) -> Tensor:
        """The median, and steps that go up and down from it."""
        median = raw[..., self.location : self.location + 1]
        steps = F.softplus(raw)
        above = median + steps[..., self.location + 1 :].cumsum(-1)
        below = median - steps[..., : self.location].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, median, above], dim=-1)

    def carried(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Each quantile scaled and shifted."""
        return parameters * scale.unsqueeze(-1) + shift.unsqueeze(-1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Twice the mean pinball loss over the levels: at level 0.5 alone that is the absolute error."""
        errors = target.unsqueeze(-1) - parameters
        levels = torch.tensor(self.levels, dtype=parameters.dtype, device=parameters.device)
        pinball: Tensor = torch.maximum(levels * errors, (levels - 1.0) * errors)
        return 2.0 * pinball.mean(-1)

    def point(self, parameters: Tensor) -> Tensor:
        """The median."""
        return parameters[..., self.location]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """Between trained levels a straight line; beyond the outermost ones, their value."""
        known = np.asarray(self.levels)
        wanted = np.clip(np.asarray(levels, dtype=np.float64), known[0], known[-1])
        right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1) if len(known) > 1 else np.zeros(len(wanted))
        left = np.maximum(right - 1, 0).astype(np.int64)
        right = right.astype(np.int64)
        width = np.where(known[right] > known[left], known[right] - known[left], 1.0)
        share = torch.as_tensor((wanted - known[left]) / width, dtype=parameters.dtype, device=parameters.device)
        low, high = parameters[..., torch.as_tensor(left)], parameters[..., torch.as_tensor(right)]
        between: Tensor = low + share * (high - low)
        return between


class GaussianOutput(Output):
    """Mean and standard deviation of a Gaussian, trained by its likelihood."""

    parameters = 2

    def constrain(self, raw: Tensor) -> Tensor:
        """The deviation is positive."""
        return torch.stack([raw[..., 0], F.softplus(raw[..., 1]) + LEAST_SCALE], dim=-1)

    def carried(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """The mean scaled and shifted, the deviation scaled."""
        return torch.stack([parameters[..., 0] * scale + shift, parameters[..., 1] * scale], dim=-1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood, nats."""
        normal = torch.distributions.Normal(parameters[..., 0], parameters[..., 1], validate_args=False)
        return -_log_prob(normal, target)

    def point(self, parameters: Tensor) -> Tensor:
        """The mean."""
        return parameters[..., 0]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """By the inverse of the distribution function."""
        normal: Tensor = torch.special.ndtri(torch.tensor(levels, dtype=torch.float64)).to(parameters)
        return parameters[..., :1] + parameters[..., 1:2] * normal


class StudentTOutput(Output):
    """Location, scale and degrees of freedom (more than 2, so that there is a variance) of Student's t."""

    parameters = 3

    def constrain(self, raw: Tensor) -> Tensor:
        """The scale is positive, and the degrees of freedom are more than 2."""
        return torch.stack([raw[..., 0], F.softplus(raw[..., 1]) + LEAST_SCALE, 2.0 + F.softplus(raw[..., 2])], dim=-1)

    def carried(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """The location scaled and shifted, the scale scaled."""
        return torch.stack([parameters[..., 0] * scale + shift, parameters[..., 1] * scale, parameters[..., 2]], dim=-1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood, nats."""
        location, scale, freedom = parameters.unbind(-1)
        return -_log_prob(torch.distributions.StudentT(freedom, location, scale, validate_args=False), target)

    def point(self, parameters: Tensor) -> Tensor:
        """The location, which is the mean."""
        return parameters[..., 0]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """By the inverse of the distribution function (scipy's)."""
        freedom = parameters[..., 2:].detach().cpu().double().numpy()
        standard = torch.as_tensor(stats.t.ppf(np.asarray(levels, dtype=np.float64), freedom)).to(parameters)
        return parameters[..., :1] + parameters[..., 1:2] * standard


def _log_prob(distribution: torch.distributions.Distribution, target: Tensor) -> Tensor:
    found: Tensor = distribution.log_prob(target)
    return found


def build_output(name: OutputName, *, loss: PointLoss = "mse", levels: Sequence[float] = ()) -> Output:
    """The output of a name; `loss` is for a point, `levels` are for quantiles."""
    if name == "point":
        return PointOutput(loss)
    if name == "quantile":
        return QuantileOutput(levels)
    return GaussianOutput() if name == "gaussian" else StudentTOutput()
