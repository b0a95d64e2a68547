"""Label probabilities of sound that is too long to be read at once, or is not there yet.

A model that reads in one direction keeps its state, and gives what it would have given for the whole. One that reads in
both directions gets windows that overlap, and of each window the middle is kept.

Shapes: T frames, T' steps, M mel bands, V labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from seqkit.frontends.audio import AudioFrontend
from seqkit.frontends.filterbank import FilterbankStream
from seqkit.heads.ctc import AcousticModel, label_log_probs
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences


class LabelStream:
    """Frames in, label probabilities out, as early as they are final: for models that read in one direction."""

    def __init__(self, models: Sequence[AcousticModel], mels: int) -> None:
        """Raises ValueError for a model that reads in both directions."""
        if any(model.lstm.bidirectional for model in models):
            raise ValueError("a model that reads in both directions cannot follow a stream.")
        self.models = models
        self._states: list[LSTMState | None] = [None] * len(models)
        self._frames = np.zeros((0, mels), dtype=np.float32)  # from frame self._start on
        self._start = 0
        self._step = 0  # the next to be given

    def push(self, frames: np.ndarray) -> np.ndarray:
        """Take normalised frames (T, M); give log P (T', V) float32 of the steps whose frames are all there."""
        self._frames = np.concatenate([self._frames, frames])
        sampling = self.models[0].subsampling
        ready = (self._start + len(self._frames) - sampling.reach) // sampling.stride
        return self._advance(max(ready, self._step))

    def finish(self) -> np.ndarray:
        """log P (T', V) of the steps that were waiting for frames that do not come."""
        return self._advance(-(-(self._start + len(self._frames)) // self.models[0].subsampling.stride))

    def _advance(self, stop: int) -> np.ndarray:
        """Steps from self._step to `stop`."""
        count, stride = stop - self._step, self.models[0].subsampling.stride
        if count <= 0:
            return np.zeros((0, self.models[0].output.out_features), dtype=np.float32)
        frames = Sequences.from_list([torch.from_numpy(self._frames).to(_device(self.models[0]))])
        first = self._step - self._start // stride
        scores: list[Tensor] = []
        for index, model in enumerate(self.models):
            steps = model.subsampling(frames).data[first : first + count]  # of one row, packed order is time
            labelled, self._states[index] = model.label(Sequences.from_list([steps]), self._states[index])
            scores.append(labelled.data)
        self._step = stop
        # What the next steps see begins `reach` before them; windows begin at whole steps.
        keep = max(0, (stop - -(-self.models[0].subsampling.reach // stride)) * stride)
        self._frames, self._start = self._frames[keep - self._start :], keep
        return _array(scores)


def streamed_log_probs(
    models: Sequence[AcousticModel],
    frontend: AudioFrontend,
    blocks: Iterable[np.ndarray],
    *,
    window_seconds: float,
    overlap_seconds: float,
) -> Iterator[np.ndarray]:
    """log P (T', V) float32 of a long sound, piece by piece, from blocks of its samples; memory holds a window."""
    bank = FilterbankStream(frontend.bank)
    frames = (bank.push(block) for block in blocks)
    if any(model.lstm.bidirectional for model in models) or frontend.config.normalize == "utterance":
        yield from _windows(models, frontend, frames, window_seconds, overlap_seconds)
        return
    stream = LabelStream(models, frontend.bank.mels)
    for block in frames:
        yield stream.push(frontend.normalize(block))
    yield stream.finish()


def whole_log_probs(models: Sequence[AcousticModel], frames: Sequences) -> list[np.ndarray]:
    """log P (T'_b, V) float32 of each sound of a batch of normalised frames (N, M)."""
    scores = [model(frames) for model in models]
    return [one.cpu().numpy().astype(np.float32) for one in scores[0].replace(_mean(scores)).unpack()]


def _mean(scores: Sequence[Sequences]) -> Tensor:
    return label_log_probs([one.data for one in scores])


def _windows(
    models: Sequence[AcousticModel],
    frontend: AudioFrontend,
    frames: Iterable[np.ndarray],
    window_seconds: float,
    overlap_seconds: float,
) -> Iterator[np.ndarray]:
    """Windows with `overlap` frames before and after what is kept of them."""
    stride = models[0].subsampling.stride
    size, overlap = (max(1, round(s / frontend.bank.frame_seconds / stride)) for s in (window_seconds, overlap_seconds))
    before = np.zeros((0, frontend.bank.mels), dtype=np.float32)
    held = before
    for block in frames:
        held = np.concatenate([held, block])
        while len(held) >= (size + overlap) * stride:
            yield _middle(models, frontend, before, held[: (size + overlap) * stride], size)
            known = np.concatenate([before, held[: size * stride]])
            before, held = known[max(0, len(known) - overlap * stride) :], held[size * stride :]
    if len(held):
        yield _middle(models, frontend, before, held, -(-len(held) // stride))


def _middle(
    models: Sequence[AcousticModel], frontend: AudioFrontend, before: np.ndarray, held: np.ndarray, steps: int
) -> np.ndarray:
    """The first `steps` steps of `held`, read with the frames around them."""
    frames = frontend.normalize(np.concatenate([before, held]))
    batch = Sequences.from_list([torch.from_numpy(frames).to(_device(models[0]))])
    skipped = len(before) // models[0].subsampling.stride
    return whole_log_probs(models, batch)[0][skipped : skipped + steps]


def _device(model: AcousticModel) -> torch.device:
    return model.output.weight.device


def _array(scores: Sequence[Tensor]) -> np.ndarray:
    found: np.ndarray = label_log_probs(scores).cpu().numpy().astype(np.float32)
    return found
