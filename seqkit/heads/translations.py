"""What a translation model answers: translations looked for or drawn, how likely given ones are, and alignments.

Shapes: B sources, T target tokens, S source tokens, both with the sign of an end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqkit.frontends.pair import PairFrontend
from seqkit.heads.beam import BeamSearch, Hypothesis, beam_search
from seqkit.heads.generation import Sampling, generate
from seqkit.heads.translator import Translator
from seqkit.sequences import Sequences


@dataclass(frozen=True)
class Candidate:
    """One translation of a source."""

    text: str
    log_prob: float
    """Nats, the end included."""
    score: float
    """What candidates are ranked by: the log-probability after the length penalty."""


@dataclass(frozen=True)
class Alignment:
    """Where the model looked in the source for each token that it wrote."""

    source: list[str]
    target: list[str]
    weights: np.ndarray
    """(T, S) float32, each row a distribution over the source's tokens."""

    def to_json(self) -> dict[str, Any]:
        """Tokens of both sides and the weights, rounded."""
        return {"source": self.source, "target": self.target, "weights": np.round(self.weights, 4).tolist()}


@dataclass(frozen=True)
class TargetScore:
    """How likely a given translation is: the sum of the log-probabilities (nats) of its tokens, its end included."""

    log_prob: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp(-log_prob / tokens), at most exp(700), which still is a number."""
        return math.exp(min(-self.log_prob / self.tokens, 700.0))


@dataclass(frozen=True)
class Translated:
    """The translations of one source, best first or as they were drawn, and the alignment of the first."""

    candidates: list[Candidate]
    alignment: Alignment
    reference: TargetScore | None = None
    """How likely the model finds the translation that was given, where one was."""

    @property
    def text(self) -> str:
        """The first translation."""
        return self.candidates[0].text


@dataclass(frozen=True)
class Limits:
    """How long a translation may become: so many tokens for each of the source, and so many more."""

    ratio: float
    more: int = 10

    def of(self, source: Sequences) -> list[int]:
        """Most tokens, the end included, for each source."""
        return [math.ceil(self.ratio * length) + self.more for length in source.lengths.tolist()]


def search_translations(
    models: Sequence[Translator], source: Sequences, frontend: PairFrontend, search: BeamSearch, limits: Limits
) -> list[Translated]:
    """The likeliest translations of sources, ids (N,), by beam search; several models are an ensemble."""
    found = beam_search(
        models,
        source,
        search,
        eos_id=frontend.target.eos_id,
        max_lengths=limits.of(source),
        barred=_barred(frontend, source.data.device),
        barred_first=_only(frontend.target.eos_id, frontend, source.data.device),
    )
    return _translated(models, source, frontend, found)


def sample_translations(
    models: Sequence[Translator], source: Sequences, frontend: PairFrontend, sampling: Sampling, limits: Limits
) -> list[Translated]:
    """Translations drawn from the model, as many of each source as `sampling.samples`."""
    eos_id, most = frontend.target.eos_id, limits.of(source)
    first = _only(eos_id, frontend, source.data.device).expand(source.batch_size, -1)
    drawn = generate(
        models,
        source,
        sampling,
        lambda row, ids: ids[-1] == eos_id or len(ids) == most[row],
        barred=_barred(frontend, torch.device("cpu")),
        barred_first=first.cpu(),
    )
    hypotheses = [
        [
            Hypothesis([i for i in one.ids if i != eos_id], one.log_prob, one.log_prob, one.ids[-1] == eos_id)
            for one in samples
        ]
        for samples in drawn
    ]
    return _translated(models, source, frontend, hypotheses)


def score_targets(
    models: Sequence[Translator], source: Sequences, read: Sequences, targets: Tensor
) -> list[TargetScore]:
    """How likely given targets are; several models are an ensemble whose probabilities are averaged token by token."""
    nats = [model.softmax.nats(model(source, read)[0].data, targets).double() for model in models]
    mean = torch.stack([-part for part in nats]).logsumexp(dim=0) - math.log(len(models))  # (N,)
    return [TargetScore(float(part.sum()), len(part)) for part in read.replace(mean).unpack()]


def _translated(
    models: Sequence[Translator], source: Sequences, frontend: PairFrontend, found: Sequence[Sequence[Hypothesis]]
) -> list[Translated]:
    eos_id = frontend.target.eos_id
    best = [[*hypotheses[0].ids, eos_id] for hypotheses in found]
    weights = _attention(models, source, best, frontend.target.eos_id)
    answers = []
    for row, (hypotheses, ids) in enumerate(zip(found, source.unpack(), strict=True)):
        # Characters can be learned from texts of several lines; a translation is one line.
        texts = [frontend.target.decode(one.ids).replace("\n", " ") for one in hypotheses]
        candidates = [Candidate(text, one.log_prob, one.score) for text, one in zip(texts, hypotheses, strict=True)]
        alignment = Alignment(
            frontend.source.pieces(ids.tolist()), frontend.target.pieces(best[row]), weights[row].astype(np.float32)
        )
        answers.append(Translated(candidates, alignment))
    return answers


def _attention(
    models: Sequence[Translator], source: Sequences, targets: Sequence[Sequence[int]], eos_id: int
) -> list[np.ndarray]:
    """The attention's weights (T, S) of each pair, the mean over models: the targets are read once more."""
    read = Sequences.from_list([torch.tensor([eos_id, *ids[:-1]]) for ids in targets]).to(source.data.device)
    weights = torch.stack([model(source, read)[1] for model in models]).mean(dim=0).cpu().numpy()  # (B, T, S)
    sizes = zip(read.lengths.tolist(), source.lengths.tolist(), strict=True)
    return [grid[:steps, :width] for grid, (steps, width) in zip(weights, sizes, strict=True)]


def _barred(frontend: PairFrontend, device: torch.device) -> Tensor:
    """(V,) bool: what is never written, the unknown token."""
    return _only(frontend.target.unk_id, frontend, device)


def _only(token: int, frontend: PairFrontend, device: torch.device) -> Tensor:
    return torch.arange(frontend.target.vocab_size, device=device) == token
