"""What a kernel leaves behind for its own backward."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Saved:
    """Tensors in the kernel's own layout; `saved_shapes` of the kernel gives their shapes.

    Shapes below are those of `eager`, rows in each direction's own reading order.
    """

    gates: Tensor  # (D, N, 4H) after their nonlinearities
    cells: Tensor  # (D, N, H) C_t
    tanh_cells: Tensor  # (D, N, H) tanh(C_t); empty where backward computes it again
