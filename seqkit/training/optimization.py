"""Optimizers and learning-rate schedules, from a `TrainingConfig`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from seqkit.frontends.embedding import TokenEmbedding
from seqkit.settings import TrainingConfig


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer, with weight decay on matrices only: biases, norms and embeddings are spared."""
    spared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding | TokenEmbedding)}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (kept if parameter.ndim < 2 or id(parameter) in spared else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=config.learning_rate, betas=betas, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=config.learning_rate, momentum=config.momentum, foreach=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=True)


@dataclass
class Schedule:
    """The learning rate of a step, as a function of the step and of the fraction of training that is done.

    `scale` and `stale` are the memory of the plateau schedule; both are stored with the training state.
    """

    config: TrainingConfig
    scale: float = 1.0
    stale: int = 0

    def learning_rate(self, step: int, fraction: float) -> float:
        """The learning rate of the step numbered `step` (from 0), with `fraction` in [0, 1] of training done."""
        config = self.config
        warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
        floor = config.final_learning_rate
        match config.schedule:
            case "constant":
                shape = 1.0
            case "linear":
                shape = floor + (1.0 - floor) * (1.0 - fraction)
            case "cosine":  # Loshchilov and Hutter 2017, one half-period
                shape = floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * fraction))
            case "plateau":
                shape = self.scale
        return config.learning_rate * warmup * shape

    def evaluated(self, improved: bool) -> None:
        """Tell the plateau schedule how an evaluation went."""
        if self.config.schedule != "plateau":
            return
        self.stale = 0 if improved else self.stale + 1
        if self.stale > self.config.plateau_patience:
            self.scale = max(self.scale * self.config.plateau_factor, self.config.final_learning_rate)
            self.stale = 0


class AveragedWeights:
    """A moving average of a model's parameters.

    With `decay` it is exponential, from the first step on: the decay starts low and rises to `decay` as
    min(decay, (1 + n) / (10 + n)) after n updates, so that the first, random weights are soon forgotten. Without, it is
    the mean of all steps since `begin` was called (Polyak and Juditsky 1992). Buffers are not averaged.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self.begun = decay is not None
        self.updates = 0
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = [parameter for _, parameter in model.named_parameters()]
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the current weights, once it has begun."""
        if not self.begun:
            return
        if self.decay is None:
            share = 1.0 / (1 + self.updates)
        else:
            share = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.parameters], share)
        self.updates += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights with the average, once there is one; a second call undoes the first."""
        if self.updates == 0:
            return
        for parameter, average in zip(self.parameters, self.average, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def begin(self) -> None:
        """Average from the next step on."""
        self.begun = True

    def state_dict(self) -> dict[str, object]:
        """The average and its count."""
        average = dict(zip(self.names, self.average, strict=True))
        return {"begun": self.begun, "updates": self.updates, "average": average}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continue from a stored average."""
        average = state["average"]
        assert isinstance(average, dict)
        assert isinstance(state["updates"], int)
        self.begun, self.updates = bool(state["begun"]), state["updates"]
        for name, tensor in zip(self.names, self.average, strict=True):
            tensor.copy_(average[name])
