"""Weights packed ahead for the native kernel: kept in eval(), where they would otherwise be packed again in every call.

What was packed is served only while the weights still have the bits that it was made from. Neither a tensor's version
nor its address tells that: fused optimizers and writes through `.data` change neither. So each use reads the weights
once and compares a 64-bit fingerprint of them, which takes about half of the time of packing.
"""

from __future__ import annotations

from torch import Tensor

from seqkit.lstm.native import kernel as native


class PackedWeights:
    """What one layer keeps. A copy of the layer, or a pickle, starts with nothing kept."""

    def __init__(self) -> None:
        self._kept: tuple[int, Tensor] | None = None  # the fingerprint, and what was packed from weights that had it

    def of(self, weights: list[Tensor]) -> Tensor:
        """The packed form of these weights (of each direction the four of a layer, float32 on the CPU, contiguous)."""
        fingerprint = native.fingerprint(weights)
        kept = self._kept
        if kept is None or kept[0] != fingerprint:
            kept = (fingerprint, native.pack(weights))
            self._kept = kept
        return kept[1]

    def drop(self) -> None:
        """Give the memory back."""
        self._kept = None

    def __reduce__(self) -> tuple[type[PackedWeights], tuple[()]]:
        return PackedWeights, ()
