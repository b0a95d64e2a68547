"""Beam search: the likeliest texts that a model can write, for many sources at once.

Each source is searched by itself, with K = `beam_size` slots. At each step:

1. Every hypothesis that is still written (it is live) is extended by every token that may be written.
2. The best extensions by total log-probability stay, as many as there are free slots: K less those that finished
   before. Of equal ones those of the better hypothesis stay, then those of the lower id. A token of probability 0 is
   never written, so a source may get fewer hypotheses than were asked for, or none.
3. Those that end in the end sign have finished and keep their slots, so a beam of 1 is greedy decoding. Those that
   have reached the source's most tokens are closed as they are, and count as finished.

Hypotheses are ranked by score = log_prob / ((5 + length) / 6) ** length_penalty (Wu et al. 2016, eq. 14), the length
counting the end sign; of equal ones the one that finished first comes first. A source is done when none of its
hypotheses is live, or `n_best` have finished and no live one can come before the last of these: log-probabilities only
fall, so the score of a live one stays at or below log_prob / penalty(most tokens), and stopping loses nothing.

Only live hypotheses are rows of the model: finished ones, and sources that are done, leave the batch.

Shapes: B sources, S of them still searched, K slots, R live rows of all of them (by source, then by rank), V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqkit.heads.generation import State, Writer, mean_log_probs
from seqkit.sequences import Sequences

ROWS = 512
"""Most rows of the model (sources times slots, one source at least); more are searched one group after another."""
_COLUMNS = 256
"""Columns that a row of V is folded to when the best tokens are looked for; measured, and flat around this."""

_Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class BeamSearch:
    """How hypotheses are looked for.

    Raises ValueError where one of the values is outside its range.
    """

    beam_size: int = 5
    """Slots of a source, at least 1; 1 is greedy."""
    n_best: int = 1
    """Hypotheses to return for each source, 1 to `beam_size`."""
    length_penalty: float = 1.0
    """Exponent of the length penalty, >= 0; 0 is none, which favours short hypotheses."""

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise ValueError(f"beam_size is {self.beam_size}, must be at least 1")
        if not 1 <= self.n_best <= self.beam_size:
            raise ValueError(f"n_best is {self.n_best}, must be 1 to beam_size, which is {self.beam_size}")
        if not 0 <= self.length_penalty < math.inf:
            raise ValueError(f"length_penalty is {self.length_penalty}, must be a number >= 0")

    def penalty(self, lengths: _Array) -> _Array:
        """What log-probabilities of hypotheses of so many tokens are divided by, float64."""
        return np.asarray(((5.0 + lengths) / 6.0) ** self.length_penalty)


@dataclass(frozen=True)
class Hypothesis:
    """One text that was found."""

    ids: list[int]
    """Its tokens, without the end sign."""
    log_prob: float
    """The sum of the log-probabilities of its tokens, the end sign included; nats."""
    score: float
    """`log_prob` divided by the length penalty."""
    ended: bool
    """Whether it ends in the end sign; False where it was cut off at its most tokens."""


@torch.no_grad()
def beam_search(
    models: Sequence[Writer[State]],
    read: Sequences,
    search: BeamSearch,
    *,
    eos_id: int,
    max_lengths: Sequence[int],
    barred: Tensor | None = None,
    barred_first: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Look for the best texts of each source; several models are an ensemble whose probabilities are averaged.

    Args:
        models: in eval mode, with the same vocabulary; at least one.
        read: the sources, B of them, as the models read them.
        search: how it is done.
        eos_id: the end sign.
        max_lengths: (B,) most tokens of each text, the end sign included, at least 1.
        barred: (V,) bool, tokens that are never written; the log-probabilities of the others stay as they are.
        barred_first: (V,) bool, tokens that moreover are not written first.

    Returns:
        For each source its `search.n_best` hypotheses, best first; fewer where fewer exist.

    Raises:
        ValueError: lengths that do not fit, or a model that gives no numbers (NaN).
    """
    if len(max_lengths) != read.batch_size:
        raise ValueError(f"{len(max_lengths)} max_lengths for {read.batch_size} sources")
    if any(length < 1 for length in max_lengths):
        raise ValueError(f"max_lengths must be at least 1, not {min(max_lengths)}")
    if not models:
        raise ValueError("beam_search needs a model")
    if not max_lengths:
        return []
    begun = [model.begin(read) for model in models]
    size, device = begun[0][0].shape[1], begun[0][0].device
    if not 0 <= eos_id < size:
        raise ValueError(f"eos_id is {eos_id}, but the vocabulary has {size} tokens")
    masks = [mask for mask in (barred, barred_first) if mask is not None]
    if any(mask.shape != (size,) for mask in masks):
        raise ValueError(f"barred tokens are told by a mask of {size} values, one for each token")
    later = [] if barred is None else [barred]
    barred_ids = [
        torch.stack(part).any(dim=0).nonzero().squeeze(1).to(device) if part else None for part in (masks, later)
    ]
    at_once = max(1, ROWS // search.beam_size)
    found: list[list[Hypothesis]] = []
    for start in range(0, read.batch_size, at_once):
        book = _Book(search, np.asarray(max_lengths[start : start + at_once]), eos_id)
        _search(models, begun, start, book, barred_ids)
        found += book.hypotheses()
    return found


def _search(
    models: Sequence[Writer[State]],
    begun: Sequence[tuple[Tensor, State]],
    start: int,
    book: _Book,
    barred: Sequence[Tensor | None],
) -> None:
    """Search the sources of `book`, the first of which is `start`; `barred` has the ids for the first step, and later.

    `begun` is what the models said of all B sources.
    """
    log_probs = [part[start : start + len(book.totals)] for part, _ in begun]
    states = [state for _, state in begun]
    held = len(begun[0][0])  # rows of the states
    while True:
        mean = log_probs[0] if len(log_probs) == 1 else mean_log_probs(log_probs)  # (R, V)
        ids = barred[min(book.step, 1)]
        if ids is not None and len(ids):
            mean = mean.index_fill(1, ids, -math.inf)
        chosen = best_extensions(mean, book.rows, book.totals, book.beam_size)
        parents, tokens = book.extend(*chosen)
        if not len(parents):
            return
        parents = parents + start if book.step == 1 else parents
        if not np.array_equal(parents, np.arange(held)):
            selected = torch.from_numpy(parents).to(mean.device)
            states = [state.select(selected) for state in states]
        held = len(parents)
        written = torch.from_numpy(tokens).to(mean.device)
        advanced = [model.advance(written, state) for model, state in zip(models, states, strict=True)]
        log_probs, states = [each[0] for each in advanced], [each[1] for each in advanced]


def best_extensions(log_probs: Tensor, rows: _Array, totals: _Array, beam_size: int) -> tuple[_Array, _Array, _Array]:
    """The best extensions of each source's hypotheses, by falling total; equal ones by rank, then by id.

    Args:
        log_probs: (R, V), -inf where a token must not be written.
        rows: (S, K) int64, the row of each source's hypotheses by rank, -1 for a slot without one.
        totals: (R,) float64, the log-probability of each so far.
        beam_size: how many to return of each source; fewer where K * V is less.

    Returns:
        Totals (S, k) float64, -inf where there is no more; ranks (S, k) and ids (S, k), int64.
    """
    device, (_, slots), size = log_probs.device, rows.shape, log_probs.shape[1]
    count = min(beam_size, slots * size)
    slot_rows = torch.from_numpy(rows).to(device)  # (S, K)
    slot_totals = torch.from_numpy(totals).to(device)[slot_rows.clamp(min=0)]
    slot_totals = slot_totals.masked_fill(slot_rows < 0, -math.inf)
    slot_rows = slot_rows.clamp(min=0)  # a slot without a hypothesis has any row, at -inf
    best, places = _best_places(log_probs, slot_rows, slot_totals, count + 1)
    found, at = best.cpu().numpy(), places.cpu().numpy()
    if np.isnan(found).any():
        raise ValueError("the model gives NaN for log-probabilities")
    if found.shape[1] > count:
        # Where the last one that stays is equal to the first one that does not, others may be too.
        tied = np.flatnonzero((found[:, count - 1] == found[:, count]) & (found[:, count] > -math.inf))
        found, at = found[:, :count].copy(), at[:, :count].copy()
        if len(tied):
            which = torch.from_numpy(tied).to(device)
            every = (log_probs[slot_rows[which]].double() + slot_totals[which].unsqueeze(2)).flatten(1)  # (S', K * V)
            places = _first_of_equal(every, torch.from_numpy(found[tied, -1]).to(device), count)
            found[tied], at[tied] = every.gather(1, places).cpu().numpy(), places.cpu().numpy()
    order = np.lexsort((at, -found), axis=1)
    at = np.take_along_axis(at, order, 1)
    return np.take_along_axis(found, order, 1), at // size, at % size


def _best_places(log_probs: Tensor, slot_rows: Tensor, slot_totals: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best totals (S, count) of the sources' extensions, of equal ones any, and their places: rank * V + id.

    Takes log_probs (R, V), and the row and the total of each slot, (S, K). Fewer where there are no more to look at.
    """
    # Each row of V is folded to C columns, of which only the maxima are compared at first: column c has the ids c,
    # c + C, c + 2 C, ... The best tokens are in as many of the best columns. (A sum in float64 keeps the order of what
    # is added, so a column's greatest total is that of its maximum.) This takes a fifth of the time of topk on (R, V).
    size, device = log_probs.shape[1], log_probs.device
    columns = min(_COLUMNS, size)
    whole = size // columns * columns
    maxima = log_probs[:, :whole].view(-1, whole // columns, columns).amax(dim=1)  # (R, C)
    if whole < size:
        tail = size - whole
        maxima[:, :tail] = torch.maximum(maxima[:, :tail], log_probs[:, whole:])
    bounds = (maxima.double()[slot_rows] + slot_totals.unsqueeze(2)).flatten(1)  # (S, K * C)
    chosen = bounds.topk(min(count, bounds.shape[1]), dim=1).indices  # (S, count)
    ranks, ids = chosen // columns, (chosen % columns).unsqueeze(2) + torch.arange(0, size, columns, device=device)
    outside, ids = ids >= size, ids.clamp(max=size - 1)  # (S, count, V / C)
    values = log_probs[slot_rows.gather(1, ranks).unsqueeze(2), ids].double()
    values = (values + slot_totals.gather(1, ranks).unsqueeze(2)).masked_fill(outside, -math.inf).flatten(1)
    best, chosen = values.topk(min(count, values.shape[1]), dim=1)
    return best, (ranks.unsqueeze(2) * size + ids).flatten(1).gather(1, chosen)


def _first_of_equal(totals: Tensor, least: Tensor, count: int) -> Tensor:
    """The places (S, k) of all totals (S, K * V) above the least that stay, (S,), and of the first ones equal to it."""
    above, equal = totals > least.unsqueeze(1), totals == least.unsqueeze(1)
    missing = count - above.sum(dim=1, keepdim=True)
    kept = above | (equal & (equal.cumsum(dim=1) <= missing))
    return kept.nonzero()[:, 1].view(len(totals), count)


class _Book:
    """Where the search of a group of sources stands, and how it came there.

    A node is a hypothesis at a step; nodes of a step are numbered in the order of source and rank. The first step's
    parents are the sources themselves.

    Attributes:
        step: steps done.
        rows: (S, K) int64, the live rows of each source that is still searched, by rank; -1 where there are no more.
        totals: (R,) float64, the log-probabilities of the live rows.
    """

    def __init__(self, search: BeamSearch, limits: _Array, eos_id: int) -> None:
        self.step = 0
        self.rows = np.arange(len(limits)).reshape(-1, 1)
        self.totals = np.zeros(len(limits))
        self.beam_size = search.beam_size
        self._search, self._eos_id = search, eos_id
        self._limits = limits  # (B,)
        self._open = np.arange(len(limits))  # (S,) the sources that are still searched
        self._nodes = np.arange(len(limits))  # (R,) the node of each live row
        self._finished = np.zeros(len(limits), dtype=np.int64)  # (B,) how many have finished
        self._scores = np.full((len(limits), search.n_best), -math.inf)  # (B, n_best) of the best finished
        self._history: list[tuple[_Array, _Array]] = []  # of each step: its nodes' parents and tokens
        self._ends: list[tuple[_Array, ...]] = []  # of each step: its finished, see `extend`

    def extend(self, totals: _Array, ranks: _Array, tokens: _Array) -> tuple[_Array, _Array]:
        """Take a step with the best extensions, (S, k) each: what `best_extensions` returned.

        Returns the rows (R') that live on, by their numbers before the step, and the token (R') that each wrote.
        """
        self.step += 1
        limits = self._limits[self._open]  # (S,)
        free = self.beam_size - self._finished[self._open]
        kept = (np.arange(totals.shape[1]) < free[:, None]) & (totals > -math.inf)  # (S, k)
        ended = kept & (tokens == self._eos_id)
        done = ended | (kept & (limits == self.step)[:, None])
        parents = np.take_along_axis(self.rows, ranks, 1)
        nodes = np.cumsum(kept).reshape(kept.shape) - 1
        self._history.append((self._nodes[parents[kept]], tokens[kept]))

        scores = totals / self._search.penalty(np.asarray(self.step))
        sources = np.broadcast_to(self._open[:, None], done.shape)
        self._ends.append(tuple(part[done] for part in (sources, nodes, totals, scores, ended)))
        self._finished[self._open] += done.sum(axis=1)
        best = np.concatenate([self._scores[self._open], np.where(done, scores, -math.inf)], axis=1)
        best = -np.sort(-best, axis=1)[:, : self._search.n_best]
        self._scores[self._open] = best

        live = kept & ~done
        bounds = np.where(live, totals, -math.inf).max(axis=1) / self._search.penalty(limits)  # (S,)
        hopeful = bounds > best[:, -1]  # where fewer than n_best have finished, the last of the best is -inf
        live &= hopeful[:, None]
        self.rows = np.where(live, np.cumsum(live).reshape(live.shape) - 1, -1)[hopeful]
        self.totals, self._nodes, self._open = totals[live], nodes[live], self._open[hopeful]
        return parents[live], tokens[live]

    def hypotheses(self) -> list[list[Hypothesis]]:
        """The best that have finished, of each source."""
        sources, nodes, totals, scores, ended = (np.concatenate(parts) for parts in zip(*self._ends, strict=True))
        lengths = np.repeat(np.arange(1, self.step + 1), [len(parts[0]) for parts in self._ends])
        order = np.lexsort((-scores, sources))  # stable, so of equal ones the one that finished first comes first
        place = np.arange(len(order)) - np.searchsorted(sources[order], sources[order])  # among those of its source
        order = order[place < self._search.n_best]
        found: list[list[Hypothesis]] = [[] for _ in self._limits]
        texts = self._trace(nodes[order], lengths[order] - 1)
        for at, ids, length in zip(order.tolist(), texts.tolist(), lengths[order].tolist(), strict=True):
            text = ids[: length - 1] if ended[at] else ids[:length]
            found[sources[at]].append(Hypothesis(text, float(totals[at]), float(scores[at]), bool(ended[at])))
        return found

    def _trace(self, nodes: _Array, steps: _Array) -> _Array:
        """The tokens (H, T) of nodes (H,) of the steps (H,) from 0 on, read from their ends."""
        texts = np.zeros((len(nodes), self.step), dtype=np.int64)
        nodes = nodes.copy()
        for step in reversed(range(self.step)):
            begun = steps >= step
            parents, tokens = self._history[step]
            texts[begun, step] = tokens[nodes[begun]]
            nodes[begun] = parents[nodes[begun]]
        return texts
