"""Writing on: tokens drawn one after another from a model, for many prompts at once.

Every draw is keyed by (seed, prompt, sample, position) and taken from a generator of its own, so that a prompt gets
the same continuations whatever else is written with it.

Shapes: B prompts, R rows that are written (prompts times samples), V words.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from seqkit.config import Config
from seqkit.sequences import Sequences

ROWS = 256
"""Rows that are written at once; more are written one group after another."""
_GENERATION = 5
"""What a generator is for; `seqkit.data` has the others."""
_BLOCK = 64
"""Numbers that a row draws at a time."""


class Selectable(Protocol):
    """What a model carries from token to token, in R rows."""

    def select(self, indices: Tensor) -> Self:
        """The rows named by `indices` (R',) int64, repeats allowed."""


State = TypeVar("State", bound=Selectable)


class Writer(Protocol[State]):
    """A model that writes token by token, as generation and beam search see it."""

    def begin(self, read: Sequences) -> tuple[Tensor, State]:
        """Read prompts, ids (N,): log-probabilities (B, V) of the token after each, and the state."""

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one more token (R,) of each row: log-probabilities (R, V) of the one after it, and the state."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn."""

    length: int
    """Most tokens to write, at least 1."""
    temperature: float = 1.0
    """What log-probabilities are divided by, >= 0; 0 takes the likeliest token."""
    top_k: int | None = None
    """Draw from so many of the likeliest tokens only."""
    top_p: float = 1.0
    """Draw from the fewest likeliest tokens that have this probability together, in (0, 1] (Holtzman et al. 2020)."""
    samples: int = 1
    """Continuations of each prompt."""
    seed: int = 0
    """Seed of the draws."""


class SamplingOptions(Config):
    """The options of `Sampling` that a user can give; the base of a recipe's decoding options."""

    temperature: float = Field(default=1.0, ge=0.0)
    """Below 1 likely tokens become likelier, above 1 rare ones; 0 always takes the likeliest."""
    top_k: int | None = Field(default=None, ge=1)
    """Draw from so many of the likeliest tokens only; null for all."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Draw from the fewest likeliest tokens (of those that top_k leaves) that together have this probability."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws; with it an input gets the same ones, whatever else is answered beside it."""

    def sampling(self, *, length: int, samples: int) -> Sampling:
        """How `samples` texts of at most `length` tokens are drawn."""
        return Sampling(length, self.temperature, self.top_k, self.top_p, samples, self.seed)


@dataclass(frozen=True)
class Written:
    """One continuation."""

    ids: list[int]
    """The tokens drawn, the last one that made it stop included."""
    log_prob: float
    """The sum of their log-probabilities under the model as it is: temperature 1, nothing cut off."""


Stop = Callable[[int, list[int]], bool]
"""Whether the continuation (prompt, ids so far) is complete."""


def generate(
    models: Sequence[Writer[State]],
    prompts: Sequences,
    sampling: Sampling,
    stop: Stop,
    *,
    barred: Tensor | None = None,
    barred_first: Tensor | None = None,
) -> list[list[Written]]:
    """Write on from prompts; several models are an ensemble whose probabilities are averaged.

    Args:
        models: in eval mode, with the same vocabulary.
        prompts: ids (N,) int64, at least one of each prompt.
        sampling: how tokens are drawn; two prompts of the same ids get the same continuations.
        stop: called after each token.
        barred: (V,) bool, tokens that are never drawn; some token must be left.
        barred_first: (B, V) bool, tokens that moreover are not drawn first.

    Returns:
        `sampling.samples` continuations of each prompt.
    """
    begun = [model.begin(prompts) for model in models]
    keys = [_key(ids) for ids in prompts.unpack()]
    written: list[Written] = []
    rows = [(prompt, sample) for prompt in range(prompts.batch_size) for sample in range(sampling.samples)]
    for start in range(0, len(rows), ROWS):
        group = rows[start : start + ROWS]
        chosen = torch.tensor([prompt for prompt, _ in group], device=prompts.data.device)
        log_probs = [first.index_select(0, chosen) for first, _ in begun]
        states = [state.select(chosen) for _, state in begun]
        first = None if barred_first is None else barred_first[chosen.to(barred_first.device)]
        draws = [_Draws(sampling.seed, keys[prompt], sample) for prompt, sample in group]
        owners = [prompt for prompt, _ in group]
        written += _write(models, log_probs, states, owners, draws, sampling, stop, barred, first)
    return [written[start : start + sampling.samples] for start in range(0, len(rows), sampling.samples)]


def _write(
    models: Sequence[Writer[State]],
    log_probs: Sequence[Tensor],
    states: Sequence[State],
    owners: Sequence[int],
    draws: Sequence[_Draws],
    sampling: Sampling,
    stop: Stop,
    barred: Tensor | None,
    barred_first: Tensor | None,
) -> list[Written]:
    """Write one group of rows; a row that is complete leaves the batch."""
    device = log_probs[0].device
    ids: list[list[int]] = [[] for _ in owners]
    totals = [0.0] * len(owners)
    active = list(range(len(owners)))
    for position in range(sampling.length):
        # Choosing is done on the CPU in float64, so that it is the same on every device but for the model's rounding.
        mean = mean_log_probs(log_probs).cpu()  # (R, V)
        allowed = mean if barred is None else mean.masked_fill(barred, -math.inf)
        if position == 0 and barred_first is not None:
            allowed = allowed.masked_fill(barred_first, -math.inf)
        uniforms = torch.tensor([draws[row].next() for row in active], dtype=torch.float64)
        tokens = choose(allowed, uniforms, sampling)  # (R,)
        for row, token, log_prob in zip(
            active, tokens.tolist(), mean.gather(1, tokens.unsqueeze(1)).squeeze(1).tolist(), strict=True
        ):
            ids[row].append(token)
            totals[row] += log_prob
        kept = [place for place, row in enumerate(active) if not stop(owners[row], ids[row])]
        if not kept or position + 1 == sampling.length:
            break
        if len(kept) < len(active):
            active = [active[place] for place in kept]
            rows = torch.tensor(kept, device=device)
            states = [state.select(rows) for state in states]
            tokens = tokens[kept]
        advanced = [model.advance(tokens.to(device), state) for model, state in zip(models, states, strict=True)]
        log_probs, states = [each[0] for each in advanced], [each[1] for each in advanced]
    return [Written(*each) for each in zip(ids, totals, strict=True)]


def choose(log_probs: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """Draw a token of each row: log_probs (R, V), uniforms (R,) in [0, 1) -> (R,) int64.

    The tokens stand by falling probability (equal ones by id), the first `top_k` stay, of these the first that have
    `top_p` together, and the one in whose share of what is left the uniform number falls is taken.
    """
    if sampling.temperature == 0:
        return log_probs.argmax(dim=1)
    scaled = (log_probs - log_probs.max(dim=1, keepdim=True).values) / sampling.temperature
    probs, order = scaled.softmax(dim=1), None
    if sampling.top_k is not None or sampling.top_p < 1:
        probs, order = probs.sort(dim=1, descending=True, stable=True)
        if sampling.top_k is not None:
            probs, order = probs[:, : sampling.top_k], order[:, : sampling.top_k]
            probs = probs / probs.sum(dim=1, keepdim=True)
        before = probs.cumsum(dim=1) - probs
        probs = probs.masked_fill(before >= sampling.top_p, 0.0) if sampling.top_p < 1 else probs
    cumulative = probs.cumsum(dim=1)
    # The product is below the whole sum, so a token behind the last possible one is never found.
    drawn = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1]).unsqueeze(1), right=True)  # (R, 1)
    return (drawn if order is None else order.gather(1, drawn)).squeeze(1)


def mean_log_probs(log_probs: Sequence[Tensor]) -> Tensor:
    """The log of the mean probability over models, (R, V) float64."""
    if len(log_probs) == 1:
        return log_probs[0].double()
    return torch.stack(list(log_probs)).double().logsumexp(dim=0) - math.log(len(log_probs))


def _key(ids: Tensor) -> int:
    """A number that tells prompts apart: a hash of the ids."""
    raw = ids.cpu().numpy().astype("<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


class _Draws:
    """The uniform numbers of one row, one for each position."""

    def __init__(self, seed: int, key: int, sample: int) -> None:
        self._rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_GENERATION, key, sample)))
        self._block: list[float] = []

    def next(self) -> float:
        """The number of the next position."""
        if not self._block:
            self._block = self._rng.random(_BLOCK)[::-1].tolist()
        return self._block.pop()
