"""From long recordings to what happens when in them: in windows, or with the LSTM's state carried on.

Shapes: T frames, N real steps, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from seqkit.data.items import Unusable
from seqkit.errors import InputError
from seqkit.heads.clips import ClipModel, StepHead
from seqkit.heads.seen import Seen
from seqkit.heads.timeline import Timeline, slide
from seqkit.lstm import LSTMState
from seqkit.sequences import Sequences

TimelineMode = Literal["windows", "state"]
CHUNK = 32
"""Frames that are read at once where the state is carried."""


class Features(Protocol):
    """What makes a network's input of frames."""

    def features(self, frames: np.ndarray) -> Tensor:
        """Features (T, ...) float32 of raw frames (T, ...)."""

    @property
    def context(self) -> int | None:
        """How many frames before it the features of a frame depend on; None where they depend on the whole clip."""


class Watcher:
    """Models with one front-end that look at a recording of any length."""

    def __init__(self, models: Sequence[ClipModel], frontend: Features, rate: float) -> None:
        """`rate`: frames a second."""
        self.models, self.frontend, self.rate = models, frontend, rate

    def carries(self) -> str | None:
        """Why a state cannot be carried from frame to frame, in words; None where it can."""
        if any(model.lstm.bidirectional for model in self.models):
            return "it reads clips in both directions (model.lstm.bidirectional)"
        if not all(isinstance(model.head, StepHead) for model in self.models):
            return "it answers for a whole clip, not at every frame (model.head)"
        if self.frontend.context is None:
            return "its features are those of a whole clip"
        return None

    def recording(
        self,
        source: Path,
        stream: Callable[[Callable[[str], None]], Iterable[np.ndarray]],
        mode: TimelineMode,
        *,
        window_seconds: float,
        hop_seconds: float,
    ) -> Seen:
        """What is seen in a file over time, until where it can be read; `stream` gives its frames, and warns.

        What is wrong with the file stands in the answer, so that others go on.
        """
        troubles: list[str] = []
        begun = False

        def frames() -> Iterator[np.ndarray]:
            nonlocal begun
            try:
                for frame in stream(troubles.append):
                    begun = True
                    yield frame
            except (InputError, Unusable) as error:
                if not begun:
                    raise
                troubles.append(str(error))  # what came before it is used

        try:
            timeline = self.watch(frames(), mode, window_seconds=window_seconds, hop_seconds=hop_seconds)
        except (InputError, Unusable) as error:
            return Seen(np.zeros(0), source, trouble=str(error))
        mean = np.log(np.maximum(timeline.probabilities.mean(axis=0), np.finfo(np.float64).tiny))
        return Seen(mean, source, timeline, troubles[0] if troubles else None)

    def watch(
        self, frames: Iterable[np.ndarray], mode: TimelineMode, *, window_seconds: float, hop_seconds: float
    ) -> Timeline:
        """The probabilities of classes over a recording's frames, in cells of `hop_seconds`.

        Raises:
            ValueError: there is no frame, or a state is asked for where none can be carried.
        """
        cell = max(1, round(hop_seconds * self.rate))
        if mode == "windows":
            cells = max(1, round(window_seconds * self.rate / cell))
            probs, total = slide(frames, self._score, cell=cell, cells=cells)
        else:
            if self.carries() is not None:
                raise ValueError(f"no state can be carried: {self.carries()}")
            probs, total = self._carried(frames, cell)
        return Timeline(probs, cell / self.rate, total / self.rate)

    def _score(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        clips = Sequences.from_list([self.frontend.features(window) for window in windows]).to(self._device())
        probs = torch.stack([model.log_probs(clips).exp() for model in self.models]).mean(dim=0)  # (W, K)
        return probs.cpu().numpy()

    def _carried(self, frames: Iterable[np.ndarray], cell: int) -> tuple[np.ndarray, int]:
        """Mean probabilities (C, K) of cells of frames, each frame read once; and the frames."""
        sums: list[np.ndarray] = []
        total = 0
        for probs in self._steps(frames):
            for prob in probs:
                if total % cell == 0:
                    sums.append(np.zeros_like(prob))
                sums[-1] = sums[-1] + prob
                total += 1
        if not total:
            raise ValueError("no frame to look at")
        counts = np.full(len(sums), cell)
        counts[-1] = total - cell * (len(sums) - 1)
        return np.stack(sums) / counts[:, None], total

    def _steps(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Probabilities (T, K) of each chunk of frames."""
        context = self.frontend.context or 0
        states: list[LSTMState | None] = [None] * len(self.models)
        before: list[np.ndarray] = []
        rest = iter(frames)
        while chunk := list(islice(rest, CHUNK)):
            # The features of a frame may need those before it, which were given already.
            features = self.frontend.features(np.stack([*before, *chunk]))[len(before) :]
            before = [*before, *chunk][-context:] if context else []
            clip = Sequences.from_list([features]).to(self._device())
            probs = []
            for number, model in enumerate(self.models):
                output, states[number] = model(clip, states[number])
                assert isinstance(model.head, StepHead)
                probs.append(model.head.scores(output).data.double().softmax(dim=1))
            yield torch.stack(probs).mean(dim=0).cpu().numpy()

    def _device(self) -> torch.device:
        return next(self.models[0].parameters()).device
