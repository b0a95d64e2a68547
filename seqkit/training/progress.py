"""The progress bar of a training, on stderr: loss, rate, time left, and a line per evaluation that stays."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from seqkit.training.checkpoints import Position


class TrainingProgress:
    """Watches a training: one bar on a terminal, and a line per evaluation that stays."""

    def __init__(self, console: Console, *, unit: str, metric: str, epochs: int) -> None:
        self.console, self.unit, self.metric, self.epochs = console, unit, metric, epochs
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("train", total=1.0, status="")
        self.loss: float | None = None
        self.began = time.perf_counter()
        self.first_tokens: int | None = None
        self.tokens = 0

    def __enter__(self) -> TrainingProgress:
        self.progress.start()
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_: Any) -> None:
        self.progress.stop()

    @property
    def seconds(self) -> float:
        """Time since training began."""
        return time.perf_counter() - self.began

    @property
    def rate(self) -> float:
        """Real steps trained on in a second, evaluations included."""
        return (self.tokens - (self.first_tokens or 0)) / max(self.seconds, 1e-9)

    def step(self, position: Position, values: Mapping[str, float], fraction: float) -> None:
        """Move the bar."""
        if self.first_tokens is None:
            self.first_tokens, self.began = position.tokens, time.perf_counter()
        self.tokens = position.tokens
        self.loss = values["loss"] if self.loss is None else 0.98 * self.loss + 0.02 * values["loss"]
        status = f"loss {self.loss:.3f}  {self.rate:,.0f} {self.unit}/s"
        self.progress.update(self.task, completed=fraction, status=status)

    def evaluation(self, position: Position, metrics: Mapping[str, float], improved: bool) -> None:
        """Print how an evaluation went."""
        figures = "".join(f"  {name} {value:.4f}" for name, value in metrics.items())
        measured = f"  validation:{figures}" if metrics else ""
        loss = "" if self.loss is None else f"  train loss {self.loss:.4f}"
        mark = "  best so far" if improved else ""
        self.progress.console.print(
            f"epoch {position.epoch}/{self.epochs}  step {position.step}{loss}{measured}{mark}",
            highlight=False,
            soft_wrap=True,
        )
