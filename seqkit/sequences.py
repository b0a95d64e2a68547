"""Sequences: a ragged batch, held as its real steps only. Everything above the backbone speaks this.

Shapes: B sequences in the batch, T steps of the longest one, N = sum of lengths real steps, `...` features.

Packed order, as in torch's PackedSequence: time-major, and within one time step the longest sequence first (ties keep
the batch's order). The rows of step t are the first `batch_sizes[t]` sequences of the sorted batch, so that a
recurrent layer reads and writes contiguous blocks and spends nothing on padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class _Layout:
    """Which step of which sequence each packed row is: index tensors, computed once when first asked for.

    Shared by all `Sequences` of the same lengths in the same order (`map`, `replace`, `to`), so that a batch pays for
    it once, however many layers read it. The tensors are made on the CPU and kept per device.
    """

    def __init__(self, lengths: Tensor) -> None:
        self.lengths = lengths  # (B,)
        self._copies: dict[tuple[str, torch.device], Tensor] = {}

    def on(self, device: torch.device, name: str) -> Tensor:
        """The index tensor called `name`, on `device`."""
        if device.type == "cpu":
            return getattr(self, name)  # type: ignore[no-any-return]
        key = (name, device)
        if key not in self._copies:
            self._copies[key] = getattr(self, name).to(device)
        return self._copies[key]

    @cached_property
    def max_length(self) -> int:
        return int(self.lengths.max()) if self.lengths.numel() else 0

    @cached_property
    def steps(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def sorted_indices(self) -> Tensor:  # (B,)
        return torch.sort(self.lengths, descending=True, stable=True).indices

    @cached_property
    def unsorted_indices(self) -> Tensor:  # (B,)
        return _inverse(self.sorted_indices)

    @cached_property
    def batch_sizes(self) -> Tensor:  # (T,)
        ended = torch.bincount(self.lengths, minlength=self.max_length + 1).cumsum(0)  # (T + 1,): length <= t
        return self.lengths.numel() - ended[: self.max_length]

    @cached_property
    def step_starts(self) -> Tensor:  # (T,) the first packed row of each time step
        return self.batch_sizes.cumsum(0) - self.batch_sizes

    @cached_property
    def time_index(self) -> Tensor:  # (N,)
        return torch.repeat_interleave(self.batch_sizes)

    @cached_property
    def sorted_row(self) -> Tensor:  # (N,) the row in the sorted batch
        return torch.arange(self.steps) - self.step_starts[self.time_index]

    @cached_property
    def batch_index(self) -> Tensor:  # (N,)
        return self.sorted_indices[self.sorted_row]

    @cached_property
    def chained_index(self) -> Tensor:  # (N,) each packed row's place where the sequences stand one after another
        starts = self.lengths.cumsum(0) - self.lengths  # (B,)
        return starts[self.batch_index] + self.time_index

    @cached_property
    def packed_index(self) -> Tensor:  # (N,) the inverse of chained_index
        return _inverse(self.chained_index)

    @cached_property
    def padded_index(self) -> Tensor:  # (N,) each packed row's place in a flattened (B, T) grid
        return self.batch_index * self.max_length + self.time_index

    @cached_property
    def reversed_index(self) -> Tensor:  # (N,) the packed row that holds the same sequence, read from its end
        mirrored = self.lengths[self.batch_index] - 1 - self.time_index  # (N,)
        return self.step_starts[mirrored] + self.sorted_row


class Sequences:
    """A batch of B ragged sequences as one tensor of their N real steps.

    Attributes:
        data: (N, ...) any dtype and device, in packed order (see the top of this module).
        lengths: (B,) int64 on the CPU, in the batch's own order; 0 is a length.

    Build one with `from_padded` or `from_list`; the constructor takes data that is already in packed order. A
    `Sequences` is not changed in place: `map`, `replace`, `to` return a new one that shares the layout.
    """

    def __init__(self, data: Tensor, lengths: Tensor | Sequence[int]) -> None:
        """Wrap `data` (N, ...), already in packed order, with `lengths` (B,).

        Raises:
            TypeError: lengths are not integers.
            ValueError: lengths are not one row of numbers >= 0, or do not sum to N.
        """
        self._init(data, _Layout(_checked_lengths(lengths)))

    def _init(self, data: Tensor, layout: _Layout) -> None:
        if data.dim() < 1 or data.shape[0] != layout.steps:
            raise ValueError(f"data has shape {tuple(data.shape)}, but the lengths sum to {layout.steps} steps.")
        self.data = data
        self._layout = layout

    @classmethod
    def _of(cls, data: Tensor, layout: _Layout) -> Sequences:
        made = cls.__new__(cls)
        made._init(data, layout)
        return made

    # ---- made from, and shown as, other forms ----

    @classmethod
    def from_padded(cls, values: Tensor, lengths: Tensor | Sequence[int]) -> Sequences:
        """Take the real steps out of a padded batch; gradients flow back to them.

        Args:
            values: (B, T, ...); what stands beyond a sequence's length is ignored, whatever it is.
            lengths: (B,) integers in [0, T].

        Raises:
            TypeError: lengths are not integers.
            ValueError: shapes do not fit, or a length is negative or greater than T.
        """
        layout = _Layout(_checked_lengths(lengths))
        if values.dim() < 2 or values.shape[0] != layout.lengths.numel():
            raise ValueError(
                f"values must be (B, T, ...) with B = {layout.lengths.numel()} as lengths has; "
                f"they have shape {tuple(values.shape)}."
            )
        if layout.max_length > values.shape[1]:
            raise ValueError(f"a length is {layout.max_length}, but values have only {values.shape[1]} steps.")
        batch, time = layout.on(values.device, "batch_index"), layout.on(values.device, "time_index")
        flat = values.reshape(-1, *values.shape[2:])  # (B * T, ...)
        return cls._of(flat.index_select(0, batch * values.shape[1] + time), layout)

    @classmethod
    def from_list(cls, sequences: Iterable[Tensor]) -> Sequences:
        """Build a batch from tensors (T_b, ...) that share their trailing shape, dtype and device; T_b may be 0.

        Raises:
            ValueError: the list is empty, a tensor has no time axis, or trailing shapes, dtypes or devices differ.
        """
        items = list(sequences)
        if not items:
            raise ValueError("from_list needs at least one sequence: an empty list has no feature shape.")
        first = items[0]
        for i, item in enumerate(items):
            if item.dim() < 1:
                raise ValueError(f"sequence {i} is a scalar; each must be (T_b, ...).")
            if (item.shape[1:], item.dtype, item.device) != (first.shape[1:], first.dtype, first.device):
                raise ValueError(
                    f"sequence {i} is {tuple(item.shape)}, {item.dtype} on {item.device}, and does not fit "
                    f"sequence 0: {tuple(first.shape)}, {first.dtype} on {first.device}."
                )
        layout = _Layout(torch.tensor([item.shape[0] for item in items], dtype=torch.int64))
        return cls._of(torch.cat(items).index_select(0, layout.on(first.device, "chained_index")), layout)

    def padded(self) -> Tensor:
        """(B, T, ...) with T the greatest length; zero (False) beyond each sequence's length."""
        shape = self.data.shape[1:]
        grid = self.data.new_zeros(self.batch_size * self.max_length, *shape)  # (B * T, ...)
        grid = grid.index_copy(0, self._index("padded_index"), self.data)
        return grid.view(self.batch_size, self.max_length, *shape)

    def mask(self) -> Tensor:
        """(B, T) bool on data's device, True where `padded()` holds a real step."""
        time = torch.arange(self.max_length, device=self.data.device)  # (T,)
        return time < self.lengths.to(self.data.device).unsqueeze(1)  # (B, T)

    def unpack(self) -> list[Tensor]:
        """The sequences one by one, in the batch's order: B tensors (T_b, ...)."""
        chained = self.data.index_select(0, self._index("packed_index"))  # (N, ...)
        return list(torch.split(chained, self.lengths.tolist()))

    # ---- the same layout, other data ----

    def replace(self, data: Tensor) -> Sequences:
        """The same sequences with other data (N, ...), in packed order.

        Raises:
            ValueError: data does not have N rows.
        """
        return Sequences._of(data, self._layout)

    def map(self, function: Callable[[Tensor], Tensor]) -> Sequences:
        """Apply a module or function to `data` (N, ...) -> (N, ...), that is to all real steps and nothing else.

        Raises:
            TypeError: the result is not a tensor.
            ValueError: the result does not have N rows.
        """
        result = function(self.data)
        if not isinstance(result, Tensor):
            raise TypeError(f"map needs a function that returns a tensor; this one returned {type(result).__name__}.")
        return self.replace(result)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Sequences:
        """The same sequences with `data` on `device`; lengths stay on the CPU."""
        return self.replace(self.data.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Sequences:
        """The same sequences with `data` in page-locked memory (torch's DataLoader calls this)."""
        return self.replace(self.data.pin_memory())

    def reverse(self) -> Sequences:
        """Each sequence reversed in time, within its own length."""
        return self.replace(self.data.index_select(0, self._index("reversed_index")))

    # ---- the same steps, other sequences ----

    def chop(self, size: int) -> tuple[Sequences, Tensor]:
        """Cut every sequence into consecutive pieces of at most `size` steps, each a row of a new batch.

        A sequence of length 0 gives one piece of length 0, so that each row of this batch owns at least one.

        Returns:
            The pieces, in order, and owners (B',) int64 on the CPU: the row of this batch that each piece came from.

        Raises:
            ValueError: size is less than 1.
        """
        if size < 1:
            raise ValueError(f"a piece needs at least 1 step; size is {size}.")
        counts = ((self.lengths + size - 1) // size).clamp(min=1)  # (B,)
        owners = torch.repeat_interleave(counts)  # (B',)
        number = torch.arange(owners.numel()) - (counts.cumsum(0) - counts)[owners]  # (B',) 0, 1, ... within its owner
        return self._relaid((self.lengths[owners] - number * size).clamp(max=size)), owners

    def join(self, owners: Tensor) -> Sequences:
        """The inverse of `chop`: rows of the same owner are put one after another, in order.

        Args:
            owners: (B,) int64, the owner of each row: 0, ..., 0, 1, ..., 1, 2, ... without gaps, as `chop` gives them.

        Raises:
            ValueError: owners do not have that form.
        """
        owners = owners.cpu()
        if owners.shape != self.lengths.shape or owners.is_floating_point():
            raise ValueError(f"owners must be {self.batch_size} integers, one for each row.")
        if owners.numel() and (owners[0] != 0 or not bool(((owners.diff() == 0) | (owners.diff() == 1)).all())):
            raise ValueError("owners must count up from 0 without gaps, as chop returns them.")
        count = int(owners[-1]) + 1 if owners.numel() else 0
        return self._relaid(torch.zeros(count, dtype=torch.int64).index_add(0, owners, self.lengths))

    def _relaid(self, lengths: Tensor) -> Sequences:
        """The same chain of steps (the sequences one after another), cut at other places."""
        layout = _Layout(lengths)
        rows = self._index("packed_index")[layout.on(self.data.device, "chained_index")]  # (N,)
        return Sequences._of(self.data.index_select(0, rows), layout)

    # ---- what stands where ----

    @property
    def lengths(self) -> Tensor:
        """(B,) int64 on the CPU, in the batch's own order."""
        return self._layout.lengths

    @property
    def batch_size(self) -> int:
        """B, the number of sequences, empty ones included."""
        return self._layout.lengths.numel()

    @property
    def steps(self) -> int:
        """N, the number of real steps."""
        return self._layout.steps

    @property
    def max_length(self) -> int:
        """T, the greatest length; 0 in an empty batch."""
        return self._layout.max_length

    @property
    def batch_sizes(self) -> Tensor:
        """(T,) int64 on the CPU: how many sequences reach each time step; it never grows."""
        return self._layout.batch_sizes

    @property
    def sorted_indices(self) -> Tensor:
        """(B,) int64 on data's device: the batch row at each place of the sorted batch (longest first, stable)."""
        return self._index("sorted_indices")

    @property
    def unsorted_indices(self) -> Tensor:
        """(B,) int64 on data's device: the place in the sorted batch of each batch row."""
        return self._index("unsorted_indices")

    @property
    def batch_index(self) -> Tensor:
        """(N,) int64 on data's device: the batch row that each packed row belongs to."""
        return self._index("batch_index")

    @property
    def time_index(self) -> Tensor:
        """(N,) int64 on data's device: the time step of each packed row."""
        return self._index("time_index")

    def _index(self, name: str) -> Tensor:
        return self._layout.on(self.data.device, name)

    def __len__(self) -> int:
        return self.batch_size

    def __repr__(self) -> str:
        shape = ", ".join(str(n) for n in self.data.shape)
        return (
            f"Sequences(data=({shape}) {self.data.dtype}, batch_size={self.batch_size}, max_length={self.max_length})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Sequences, (self.data, self.lengths)  # the layout is cheaper to compute again than to send


def _checked_lengths(lengths: Tensor | Sequence[int]) -> Tensor:
    """`lengths` as (B,) int64 on the CPU, or an error that says what is wrong with them."""
    made = torch.as_tensor(lengths)
    if made.numel() == 0 and not isinstance(lengths, Tensor):
        made = made.to(torch.int64)  # an empty list has no dtype of its own
    if made.is_floating_point() or made.is_complex() or made.dtype == torch.bool:
        raise TypeError(f"lengths must be integers; they are {made.dtype}.")
    if made.dim() != 1:
        raise ValueError(f"lengths must have the shape (B,); they have {tuple(made.shape)}.")
    made = made.detach().to("cpu", torch.int64)
    if made.numel() and int(made.min()) < 0:
        raise ValueError(f"lengths must not be negative; the least is {int(made.min())}.")
    return made


def _inverse(permutation: Tensor) -> Tensor:
    """The permutation (M,) int64 that undoes `permutation`."""
    inverse = torch.empty_like(permutation)
    inverse[permutation] = torch.arange(permutation.numel())
    return inverse
