"""The state that a recipe carries from batch to batch: cut from its graph, stored, and dealt out to processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor


def detached(carry: Mapping[str, Tensor] | None) -> Mapping[str, Tensor] | None:
    """A carried state without its graph: where truncated backpropagation through time ends."""
    return None if carry is None else {name: part.detach() for name, part in carry.items()}


def on_cpu(carry: Mapping[str, Tensor] | None) -> Mapping[str, Tensor] | None:
    """A carried state on the CPU, where it can be handed to another process."""
    return None if carry is None else {name: part.cpu() for name, part in carry.items()}


def deal_carry(
    carries: Sequence[Mapping[str, Tensor] | None], rows: int, count: int
) -> list[Mapping[str, Tensor] | None] | None:
    """Deal the carried states of some processes out to `count` others, as `Processes.share` deals rows.

    The tensors hold a batch's `rows` on dimension 1. Returns None where they do not.
    """
    names = {frozenset(carry) for carry in carries if carry is not None}
    if len(names) != 1:
        return None
    dealt: list[dict[str, Tensor]] = [{} for _ in range(min(count, rows))]
    for name in next(iter(names)):
        parts = [carry[name] for carry in carries if carry is not None]
        sizes = [len(range(rank, rows, len(carries))) for rank in range(min(rows, len(carries)))]
        if any(part.ndim < 2 for part in parts) or [part.size(1) for part in parts] != sizes:
            return None
        whole = parts[0].new_empty((parts[0].size(0), rows, *parts[0].shape[2:]))
        for rank, part in enumerate(parts):
            whole[:, rank :: len(carries)] = part
        for rank, own in enumerate(dealt):
            own[name] = whole[:, rank::count].contiguous()
    return [*dealt, *(None for _ in range(count - len(dealt)))]
