"""The training loop, to be read from top to bottom.

Every random choice is keyed: the order of examples by (seed, epoch), augmentation by (seed, epoch, example), and what
the model draws (dropout) by (seed, step), since torch's generator is seeded anew before each step. So a training that
goes on from a checkpoint makes the same draws as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from seqkit.data.batching import example_rng
from seqkit.data.items import Item, Items
from seqkit.errors import DivergenceError
from seqkit.evaluation import evaluate
from seqkit.recipe import Recipe, better
from seqkit.training.checkpoints import Checkpoints, Position
from seqkit.training.log import MetricsLog
from seqkit.training.optimization import AveragedWeights, Schedule, build_optimizer
from seqkit.training.seeds import stream_seed


class Observer(Protocol):
    """Who watches a training: a progress bar, a test."""

    def step(self, position: Position, values: Mapping[str, float], fraction: float) -> None:
        """An optimizer step is done; `fraction` in [0, 1] of the training is."""

    def evaluation(self, position: Position, metrics: Mapping[str, float], improved: bool) -> None:
        """The validation split was evaluated."""


class _EpochView:
    """The training items of one epoch, augmented with the generator of (seed, epoch, index)."""

    def __init__(self, recipe: Recipe[Any], items: Items, seed: int, epoch: int) -> None:
        self.recipe, self.items, self.seed, self.epoch = recipe, items, seed, epoch

    def __getitem__(self, index: int) -> Item:
        return self.recipe.augment(self.items.values[index], example_rng(self.seed, self.epoch, index))


@dataclass
class Trainer:
    """Trains a model on "train" items, evaluates on "validation" items, and keeps both in a run's checkpoints."""

    recipe: Recipe[Any]
    model: nn.Module
    items: Mapping[str, Items]
    accelerator: Accelerator
    checkpoints: Checkpoints

    def __post_init__(self) -> None:
        self.config = self.recipe.config.training
        self.metric = self.config.metric or self.recipe.metric
        self.position = Position()
        self.schedule = Schedule(self.config)
        self.optimizer = build_optimizer(self.model, self.config)
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.bare_model = self.accelerator.unwrap_model(self.model)
        self.average = AveragedWeights(self.bare_model, self.config.ema_decay) if self.config.ema_decay else None

    def train(self, log: MetricsLog, observer: Observer, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until `should_stop`; returns whether the end was reached. Saves a checkpoint either way.

        Raises DivergenceError after too many batches with a non-finite loss or gradient.
        """
        self.log, self.observer = log, observer
        self.model.train()
        while not self.position.finished:
            for group in self._groups():
                self._step(group)
                if self._evaluation_is_due():
                    self._evaluate()
                if self.position.finished:
                    break
                if should_stop():
                    self._checkpoint()
                    return False
        return True

    # One epoch -------------------------------------------------------------------------------------------------------

    def _groups(self) -> Iterator[list[tuple[list[int], Any]]]:
        """The rest of the current epoch, as groups of batches that share one optimizer step."""
        position, config = self.position, self.config
        self.batches = self.recipe.batches(self.items["train"], position.epoch)
        self.carry: Any = None
        rest = self.batches[position.batch :]
        loader: DataLoader[Any] = DataLoader(
            _EpochView(self.recipe, self.items["train"], config.seed, position.epoch),  # type: ignore[arg-type]
            batch_sampler=rest,
            collate_fn=self.recipe.collate,
            num_workers=config.workers,
            pin_memory=self.accelerator.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # else it takes a draw from torch's global generator
        )
        group: list[tuple[list[int], Any]] = []
        for number, (indices, batch) in enumerate(zip(rest, loader, strict=True), 1):
            group.append((indices, batch))
            if len(group) == config.accumulate or number == len(rest):
                yield group
                group = []

    def _fraction(self) -> float:
        """How much of the training is done, in [0, 1]."""
        epochs: float = (self.position.epoch + self.position.batch / max(1, len(self.batches))) / self.config.epochs
        steps = self.position.step / self.config.max_steps if self.config.max_steps else 0.0
        return min(1.0, max(epochs, steps))

    # One step --------------------------------------------------------------------------------------------------------

    def _step(self, group: Sequence[tuple[list[int], Any]]) -> None:
        """Sum the gradients of a group of batches, divide by their count, clip, and move the weights."""
        position, epoch = self.position, self.position.epoch
        torch.manual_seed(stream_seed(self.config.seed, "model", position.step))
        learning_rate = self.schedule.learning_rate(position.step, self._fraction())
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = learning_rate
        total, count = self._backward(group)
        position.count += count
        norm = self._clip(count if self.config.normalize == "batch" else position.count / (position.step + 1))
        usable = math.isfinite(total) and math.isfinite(norm)
        if usable:
            self.optimizer.step()
            if self.average is not None:
                self.average.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._advance(group)
        if not usable:
            self._skip(group, total, norm)
            return
        values = {"loss": total / count, "grad_norm": norm, "learning_rate": learning_rate}
        self.log.write("train", position.step, epoch=epoch, tokens=position.tokens, **values)
        self.observer.step(position, values, self._fraction())

    def _backward(self, group: Sequence[tuple[list[int], Any]]) -> tuple[float, float]:
        """Accumulate the gradient of the summed loss; returns the loss and its count over the group."""
        total, count = 0.0, 0.0
        for _, batch in group:
            loss = self.recipe.loss(self.model, batch.to(self.accelerator.device), self.carry)
            self.accelerator.backward(loss.sum)
            self.carry = detached(loss.carry)
            total += loss.sum.item()
            count += loss.count.item()
        return total, count

    def _clip(self, count: float) -> float:
        """Divide summed gradients by `count` and clip their global norm; returns the norm before clipping."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        torch._foreach_mul_(gradients, 1.0 / max(count, 1e-12))
        limit = self.config.clip_norm or math.inf
        return float(nn.utils.clip_grad_norm_(self.model.parameters(), limit, foreach=True))

    def _advance(self, group: Sequence[tuple[list[int], Any]]) -> None:
        position = self.position
        position.step += 1
        position.batch += len(group)
        if position.batch == len(self.batches):
            position.epoch, position.batch = position.epoch + 1, 0
        position.finished = position.epoch == self.config.epochs or position.step == self.config.max_steps
        position.tokens += sum(int(self.items["train"].lengths[indices].sum()) for indices, _ in group)

    def _skip(self, group: Sequence[tuple[list[int], Any]], total: float, norm: float) -> None:
        """Count a group that gave no usable gradient; past the limit, stop and name its examples."""
        self.position.skipped += 1
        self.carry = None  # a state that led to a non-finite loss is not carried on
        places = [self.items["train"].places[index] for indices, _ in group for index in indices]
        self.log.write("skipped", self.position.step, loss=repr(total), grad_norm=repr(norm), places=places[:20])
        if self.position.skipped > self.config.max_skipped:
            raise DivergenceError(
                f"{self.position.skipped} batches had a non-finite loss or gradient; the last one, at step "
                f"{self.position.step}, held {', '.join(places[:5])}{' and others' if len(places) > 5 else ''}.",
                hint="Look at these examples, or lower training.learning_rate.",
            )

    # Evaluation ------------------------------------------------------------------------------------------------------

    def _evaluation_is_due(self) -> bool:
        position, every = self.position, self.config.evaluate_steps
        return position.finished or (position.batch == 0 if every is None else position.step % every == 0)

    def _evaluate(self) -> None:
        """Evaluate on validation, keep the weights if they are among the best, and see whether to stop early."""
        position, config = self.position, self.config
        if self.average is not None:
            self.average.swap()
        validation = self.items["validation"]
        metrics = evaluate(self.recipe, [self.model], validation, device=self.accelerator.device).metrics()
        improved = self._keep(metrics[self.metric])
        if self.average is not None:
            self.average.swap()
        self.schedule.evaluated(improved)
        position.stale = 0 if improved else position.stale + 1
        if config.early_stopping is not None and position.stale >= config.early_stopping:
            position.finished = True
        self.log.write("validation", position.step, epoch=position.epoch, **metrics)
        self.observer.evaluation(position, metrics, improved)
        self._checkpoint()

    def _keep(self, value: float) -> bool:
        """Keep the weights if the metric is among the best; returns whether it is the best so far."""
        best = self.position.best
        rank = sum(not better(self.recipe, self.metric, value, other) for other, _ in best)
        if math.isfinite(value) and rank < self.config.keep_best:
            best.insert(rank, (value, self.position.step))
            del best[self.config.keep_best :]
            self.checkpoints.save_best(self.position.step, self.bare_model.state_dict())
            return rank == 0
        return False

    def _checkpoint(self) -> None:
        self.position.log_bytes = self.log.flush()
        self.save()

    def save(self) -> None:
        """Write a checkpoint of the present state."""
        self.checkpoints.save(
            self.position,
            {
                "model": self.bare_model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": {"scale": self.schedule.scale, "stale": self.schedule.stale},
                "average": self.average.state_dict() if self.average is not None else None,
            },
        )

    def restore(self) -> bool:
        """Take up the last checkpoint; returns whether there was one."""
        found = self.checkpoints.load()
        if found is None:
            return False
        self.position, state = found
        self.bare_model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.scale, self.schedule.stale = state["schedule"]["scale"], state["schedule"]["stale"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        return True


def detached(carry: Any) -> Any:
    """A carried state without its graph: tensors, or containers and states of them."""
    if isinstance(carry, Tensor):
        return carry.detach()
    if isinstance(carry, tuple | list):
        return type(carry)(detached(part) for part in carry)
    return carry.detach() if carry is not None else None
