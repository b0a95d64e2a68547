"""The training loop, to be read from top to bottom.

Every random choice is keyed: the order of examples by (seed, epoch), augmentation by (seed, epoch, example), and what
the model draws (dropout) by (seed, step), since torch's generator is seeded anew before each step. So a training that
goes on from a checkpoint makes the same draws as one that was never interrupted.

Several processes (`seqkit.training.processes`) go through the same batches in step, each with its share of the rows.
What decides anything (loss, gradient, metric, a request to stop) is made the same everywhere before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from seqkit.data.batching import example_rng
from seqkit.data.items import Item, Items
from seqkit.errors import DivergenceError, RunError
from seqkit.evaluation import evaluate
from seqkit.recipe import Recipe, better
from seqkit.training.carry import deal_carry, detached, on_cpu
from seqkit.training.checkpoints import Checkpoints, Position
from seqkit.training.data_clock import DataClock
from seqkit.training.log import MetricsLog
from seqkit.training.optimization import AveragedWeights, Schedule, build_optimizer
from seqkit.training.processes import Processes, current
from seqkit.training.seeds import stream_seed
from seqkit.training.workers import settle_worker


class Observer(Protocol):
    """Who watches a training: a progress bar, a test."""

    def step(self, position: Position, values: Mapping[str, float], fraction: float) -> None:
        """An optimizer step is done; `fraction` in [0, 1] of the training is."""

    def evaluation(self, position: Position, metrics: Mapping[str, float], improved: bool) -> None:
        """The validation split was evaluated; without metrics, where there is none."""


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
    processes: Processes = field(default_factory=current)

    def __post_init__(self) -> None:
        self.config = self.recipe.config.training
        self.metric = self.config.metric or self.recipe.metric
        self.position = Position()
        self.schedule = Schedule(self.config)
        self.optimizer = build_optimizer(self.model, self.config)
        # No wrapper that averages gradients over processes, which a mean of means would be: they are summed below.
        self.model = self.accelerator.prepare_model(self.model, evaluation_mode=True)
        self.optimizer = self.accelerator.prepare_optimizer(self.optimizer)
        self.bare_model = self.accelerator.unwrap_model(self.model)
        self.processes.same([*self.bare_model.parameters(), *self.bare_model.buffers()])
        self.average = self._averaged_weights()
        self.measured: bool = self.processes.from_first(lambda: "validation" in self.items)
        self.carry: Mapping[str, Tensor] | None = None
        self.clock = DataClock()

    def _averaged_weights(self) -> AveragedWeights | None:
        if self.config.ema_decay:
            return AveragedWeights(self.bare_model, self.config.ema_decay)
        return AveragedWeights(self.bare_model, None) if self.config.average_patience is not None else None

    def train(
        self, log: MetricsLog | None, observer: Observer, should_stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Train to the end, or until `should_stop`; returns whether the end was reached. Saves a checkpoint either way.

        Of several processes only the first has a log, and all stop at the same step where one should. Raises
        DivergenceError after too many batches with a non-finite loss or gradient.
        """
        self.log, self.observer, self.should_stop = log, observer, should_stop
        self.model.train()
        while not self.position.finished:
            for group in self._groups():
                with self.clock.working(first_epoch=self.position.epoch == 0):
                    self._step(group)
                if self._evaluation_is_due():
                    self._evaluate()
                elif self.config.checkpoint_steps and self.position.step % self.config.checkpoint_steps == 0:
                    self._checkpoint()
                if self.position.finished:
                    break
                if self.stopping if self.processes.count > 1 else should_stop():
                    self._checkpoint()
                    return False
        return True

    # One epoch -------------------------------------------------------------------------------------------------------

    def _groups(self) -> Iterator[list[tuple[list[int], Any]]]:
        """The rest of the current epoch, as groups of batches that share one optimizer step.

        A batch is the indices of all its items, and the collated share of this process: None where that is empty.
        """
        position, config = self.position, self.config
        self.epoch_items = self.recipe.epoch_items(self.items["train"], position.epoch)
        self.batches = self.recipe.batches(self.epoch_items, position.epoch)
        if position.batch == 0:
            self.carry = None
        rest = self.batches[position.batch :]
        shares = [self.processes.share(indices) for indices in rest]
        loader: DataLoader[Any] = DataLoader(
            _EpochView(self.recipe, self.epoch_items, config.seed, position.epoch),  # type: ignore[arg-type]
            batch_sampler=[share for share in shares if share],
            collate_fn=self.recipe.collate,
            num_workers=config.workers,
            worker_init_fn=settle_worker,
            pin_memory=self.accelerator.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # else it takes a draw from torch's global generator
        )
        group: list[tuple[list[int], Any]] = []
        loaded = iter(loader)
        for number, (indices, share) in enumerate(zip(rest, shares, strict=True), 1):
            with self.clock.waiting():
                group.append((indices, next(loaded) if share else None))
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
        rank = (self.processes.rank,) if self.processes.rank else ()  # each process draws other dropout
        torch.manual_seed(stream_seed(self.config.seed, "model", position.step, *rank))
        learning_rate = self.schedule.learning_rate(position.step, self._fraction())
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = learning_rate
        total, count = self._sum(*self._backward(group))
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
        self._write("train", position.step, epoch=epoch, tokens=position.tokens, **values)
        self.observer.step(position, values, self._fraction())

    def _backward(self, group: Sequence[tuple[list[int], Any]]) -> tuple[float, float]:
        """Accumulate the gradient of this process's summed loss; returns the loss and its count over the group."""
        total, count = 0.0, 0.0
        for _, batch in group:
            if batch is None:
                continue
            with self.accelerator.autocast():
                loss = self.recipe.loss(self.model, batch.to(self.accelerator.device), self.carry)
            self.accelerator.backward(loss.sum)
            self.carry = detached(loss.carry)
            total += loss.sum.item()
            count += loss.count.item()
        return total, count

    def _sum(self, total: float, count: float) -> tuple[float, float]:
        """Sum the gradients, the loss and its count over the processes; and see whether one of them should stop."""
        if self.processes.count == 1:
            return total, count
        parameters = [parameter for parameter in self.bare_model.parameters() if parameter.requires_grad]
        there = [float(parameter.grad is not None) for parameter in parameters]
        total, count, stops, *there = self.processes.sum([total, count, float(self.should_stop()), *there])
        self.stopping = stops > 0
        # What no process has a gradient for stays without one, as in one process.
        self.processes.sum_gradients([parameter for parameter, n in zip(parameters, there, strict=True) if n])
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
        position.tokens += sum(int(self.epoch_items.lengths[indices].sum()) for indices, _ in group)

    def _skip(self, group: Sequence[tuple[list[int], Any]], total: float, norm: float) -> None:
        """Count a group that gave no usable gradient; past the limit, stop and name its examples."""
        self.position.skipped += 1
        self.carry = None  # a state that led to a non-finite loss is not carried on
        places = [self.epoch_items.places[index] for indices, _ in group for index in indices]
        self._write("skipped", self.position.step, loss=repr(total), grad_norm=repr(norm), places=places[:20])
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
        """Evaluate on validation, keep the weights if they are to be kept, and see whether to stop early."""
        position, config = self.position, self.config
        if self.average is not None:
            self.average.swap()
        metrics = self.processes.from_first(self._measure) if self.measured else {}
        improved = config.choose == "best" and self._keep(metrics[self.metric])
        if config.choose == "last" and position.finished:
            self._keep_last()
        if self.average is not None:
            self.average.swap()
        self.schedule.evaluated(improved)
        position.stale = 0 if improved else position.stale + 1
        if config.average_patience is not None and position.stale > config.average_patience:
            assert self.average is not None
            self.average.begin()
        if config.early_stopping is not None and position.stale >= config.early_stopping:
            position.finished = True
        if metrics:
            self._write("validation", position.step, epoch=position.epoch, **metrics)
        self.observer.evaluation(position, metrics, improved)
        self._checkpoint()

    def _measure(self) -> dict[str, float]:
        device, options = self.accelerator.device, self.recipe.quick_options()
        validation = self.items["validation"]
        return evaluate(self.recipe, [self.model], validation, device=device, options=options).metrics()

    def _keep(self, value: float) -> bool:
        """Keep the weights if the metric is among the best; returns whether it is the best so far."""
        best = self.position.best
        rank = sum(not better(self.recipe, self.metric, value, other) for other, _ in best)
        if math.isfinite(value) and rank < self.config.keep_best:
            best.insert(rank, (value, self.position.step))
            del best[self.config.keep_best :]
            if self.processes.first:
                self.checkpoints.save_best(self.position.step, self.bare_model.state_dict())
            return rank == 0
        return False

    def _keep_last(self) -> None:
        """Keep the weights that training has come to its end with."""
        self.position.best[:] = [(0.0, self.position.step)]  # no metric chose them
        if self.processes.first:
            self.checkpoints.save_best(self.position.step, self.bare_model.state_dict())

    def _write(self, kind: str, step: int, **values: Any) -> None:
        if self.log is not None:
            self.log.write(kind, step, **values)

    def _checkpoint(self) -> None:
        if self.log is not None:
            self.position.log_bytes = self.log.flush()
        self.save()

    def save(self) -> None:
        """Write a checkpoint of the present state; every process takes part, the first writes."""
        carries = self.processes.gather(on_cpu(self.carry) if self.processes.count > 1 else self.carry)
        if not self.processes.first:
            return
        self.checkpoints.save(
            self.position,
            {
                "model": self.bare_model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": {"scale": self.schedule.scale, "stale": self.schedule.stale},
                "average": self.average.state_dict() if self.average is not None else None,
                "carry": carries[0] if len(carries) == 1 else carries,
            },
        )

    def restore(self) -> bool:
        """Take up the last checkpoint; returns whether there was one."""
        found = self.processes.from_first(self.checkpoints.load)
        if found is None:
            return False
        self.position, state = found
        missing = sorted({"model", "optimizer", "schedule", "average", "carry"} - state.keys())
        if missing:
            raise RunError(
                f"{self.checkpoints.folder}: the checkpoint has no '{missing[0]}': another version of seqkit wrote it.",
                hint="Go on with the seqkit that run.json names, or train a new run.",
            )
        self.bare_model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.scale, self.schedule.stale = state["schedule"]["scale"], state["schedule"]["stale"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        carries = state["carry"] if isinstance(state["carry"], list) else [state["carry"]]
        carry = self._own_carry(carries) if self.position.batch else None
        if carry is not None:
            self.carry = {name: part.to(self.accelerator.device) for name, part in carry.items()}
        return True

    def _own_carry(self, carries: Sequence[Mapping[str, Tensor] | None]) -> Mapping[str, Tensor] | None:
        """Of the states that processes carried, the one of this process's rows. Raises RunError where it is unclear."""
        if len(carries) == self.processes.count or all(carry is None for carry in carries):
            return carries[self.processes.rank % len(carries)]
        epoch = self.position.epoch
        batches = self.recipe.batches(self.recipe.epoch_items(self.items["train"], epoch), epoch)
        dealt = deal_carry(carries, len(batches[self.position.batch - 1]), self.processes.count)
        if dealt is None:
            raise RunError(
                f"{self.checkpoints.folder.parent} was interrupted within an epoch that {len(carries)} processes went "
                f"through, each with a state of its own, which cannot be dealt out to {self.processes.count}.",
                hint=f"Go on with {len(carries)}, for instance: torchrun --nproc_per_node {len(carries)} -m seqkit "
                f"train --resume {self.checkpoints.folder.parent}",
            )
        return dealt[self.processes.rank]
