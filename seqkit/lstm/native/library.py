"""The compiled kernel: which of its libraries serves this CPU, and whether it was compiled from the sources beside it.

`setup.py` compiles `src/` once for each instruction set, into `lib/`. The best one that the CPU runs is loaded; the
environment variable SEQKIT_INSTRUCTION_SET asks for one by name. Structs are those of `src/api.h`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from seqkit.errors import KernelError
from seqkit.lstm.native.sources import INSTRUCTION_SETS, library_file, source_hash

VARIABLE = "SEQKIT_INSTRUCTION_SET"
MEND = "install a C++ compiler (g++ or clang++) and install seqkit again: pip install -e . in a clone"

_Pointer = ctypes.c_void_p
_Integer = ctypes.c_int64


class Problem(ctypes.Structure):
    """Sizes of one call."""

    _fields_ = [
        *((name, _Integer) for name in ("steps", "time", "rows", "inputs", "hidden", "directions", "threads")),
        ("row_groups", _Integer),
        ("batch_sizes", _Pointer),
    ]


class Forward(ctypes.Structure):
    """Arguments of `seqkit_forward`."""

    _fields_ = [
        ("problem", Problem),
        *((name, _Pointer) for name in ("data", "weights", "packed", "h_0", "c_0", "output", "h_n", "c_n")),
        *((name, _Pointer) for name in ("gates", "cells", "workspace")),
    ]


class Backward(ctypes.Structure):
    """Arguments of `seqkit_backward`."""

    _fields_ = [
        ("problem", Problem),
        *((name, _Pointer) for name in ("grad_output", "grad_h_n", "grad_c_n", "data", "weights", "h_0", "c_0")),
        *((name, _Pointer) for name in ("output", "gates", "cells", "grad_data", "grad_weights", "grad_h_0")),
        *((name, _Pointer) for name in ("grad_c_0", "workspace")),
    ]


class Sizes(ctypes.Structure):
    """Floats that a call's buffers need."""

    _fields_ = [(name, _Integer) for name in ("gates", "cells", "packed", "forward_workspace", "backward_workspace")]


class Library:
    """One loaded library.

    Args:
        path: of the file.

    Raises:
        KernelError: it cannot be loaded, or was compiled from other sources than those that lie here.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.calls = ctypes.CDLL(str(path))
        except OSError as error:
            raise KernelError(f"{path.name} cannot be loaded: {error}.", hint=f"Mend: {MEND}.") from error
        self.calls.seqkit_source_hash.restype = ctypes.c_char_p
        self.calls.seqkit_instruction_set.restype = ctypes.c_char_p
        self.calls.seqkit_struct_sizes.restype = _Integer
        self.calls.seqkit_fingerprint.restype = ctypes.c_uint64
        self.calls.seqkit_peak.restype = ctypes.c_double
        self.calls.seqkit_peak.argtypes = [_Integer, _Integer]
        self.calls.seqkit_team.restype = _Integer
        self.calls.seqkit_team.argtypes = [_Integer, ctypes.POINTER(ctypes.c_char_p)]
        if self.calls.seqkit_source_hash().decode() != source_hash():
            raise KernelError(
                f"{path.name} was compiled from other sources than those in {path.parent.parent / 'src'}.",
                hint=f"Mend: {MEND}.",
            )
        ours = ctypes.sizeof(Problem) * 1000000 + ctypes.sizeof(Forward) * 1000 + ctypes.sizeof(Backward)
        if self.calls.seqkit_struct_sizes() != ours:
            raise KernelError(f"{path.name} and library.py differ in their structs.", hint=f"Mend: {MEND}.")
        self.instruction_set: str = self.calls.seqkit_instruction_set().decode()

    def sizes(self, problem: Problem) -> Sizes:
        """What the buffers of such a call need."""
        sizes = Sizes()
        self.calls.seqkit_sizes(ctypes.byref(problem), ctypes.byref(sizes))
        return sizes

    def fingerprint(self, problem: Problem, weights: Sequence[Tensor]) -> int:
        """64 bits that change with the weights' values."""
        hashed: int = self.calls.seqkit_fingerprint(ctypes.byref(problem), pointers(weights))
        return hashed

    def team(self, threads: int) -> tuple[int, str]:
        """How many threads a parallel region gets that asks for so many, and who runs it."""
        runtime = ctypes.c_char_p()
        got: int = self.calls.seqkit_team(threads, ctypes.byref(runtime))
        return got, (runtime.value or b"").decode()

    def peak(self, threads: int) -> float:
        """Floating-point operations a second of `threads` cores that only multiply-add in registers; takes 5 ms."""
        self.calls.seqkit_peak(threads, 10_000)
        peaks: list[float] = [self.calls.seqkit_peak(threads, 50_000) for _ in range(5)]
        return max(peaks)


def pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """An array of their addresses."""
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


@cache
def load() -> Library:
    """The library that serves here.

    Raises:
        KernelError: none is compiled, or not from these sources, or SEQKIT_INSTRUCTION_SET names one that cannot serve.
    """
    folder = Path(__file__).parent / "lib"
    built = [name for name in INSTRUCTION_SETS if (folder / library_file(name)).exists()]
    if "portable" not in built:
        raise KernelError("the compiled CPU kernel is not built here.", hint=f"Mend: {MEND}.")
    portable = Library(folder / library_file("portable"))
    serving = [name for name in built if portable.calls.seqkit_cpu_runs(name.encode())]
    asked = os.environ.get(VARIABLE)
    if asked is not None and asked not in serving:
        reason = "is none that there is" if asked not in INSTRUCTION_SETS else "does not serve this CPU"
        if asked in INSTRUCTION_SETS and asked not in built:
            reason = "is not built here"
        raise KernelError(
            f"{VARIABLE}={asked}: this instruction set {reason}.", hint=f"Set it to one of: {', '.join(serving)}."
        )
    name = asked or serving[0]
    library = portable if name == "portable" else Library(folder / library_file(name))
    _share_openmp(library)
    return library


def _share_openmp(library: Library) -> None:
    """Hand in the OpenMP runtime that torch computes on, where there is one that can be found.

    Looking a symbol up in torch's library finds it there or in what that library was linked to, so it is the runtime
    that torch itself uses, whatever others are in the process. LLVM's has the same three names.
    """
    name = {"linux": "libtorch_cpu.so", "darwin": "libtorch_cpu.dylib"}.get(sys.platform)
    path = Path(torch.__file__).parent / "lib" / (name or "")
    if name is None or not path.exists():
        return
    torch_library = ctypes.CDLL(str(path))
    symbols = []
    for symbol in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"):
        if not hasattr(torch_library, symbol):
            return
        symbols.append(ctypes.cast(getattr(torch_library, symbol), ctypes.c_void_p))
    library.calls.seqkit_use_openmp(*symbols)
