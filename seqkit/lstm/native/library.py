"""The compiled kernel: which of its libraries serves this CPU, and whether it was compiled from the sources beside it.

`setup.py` compiles `src/` once for each instruction set, into `lib/`, and leaves a record of it there. The best library
that the CPU runs is loaded; the environment variable SEQKIT_INSTRUCTION_SET asks for one by name. Whether the files
are those of the record, and of these sources, is checked once, when they are loaded. Structs are those of `src/api.h`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from seqkit.errors import ConfigError, KernelError
from seqkit.lstm.native import sources
from seqkit.lstm.native.sources import INSTRUCTION_SETS, Record, file_hash, library_file, source_hash

VARIABLE = "SEQKIT_INSTRUCTION_SET"
COMPILE = "Mend: install a C++ compiler (g++ or clang++), then seqkit again (in a clone: pip install -e .)."
INSTALL = "Mend: install seqkit again (in a clone: pip install -e .)."

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
        compiled: the file's hash when it was compiled.

    Raises:
        KernelError: it is missing or damaged, cannot be loaded, or was compiled from other sources than those here.
    """

    def __init__(self, path: Path, compiled: str) -> None:
        self.calls = _open(path, compiled)
        self.calls.seqkit_instruction_set.restype = ctypes.c_char_p
        self.calls.seqkit_struct_sizes.restype = _Integer
        self.calls.seqkit_fingerprint.restype = ctypes.c_uint64
        self.calls.seqkit_peak.restype = ctypes.c_double
        self.calls.seqkit_peak.argtypes = [_Integer, _Integer]
        self.calls.seqkit_team.restype = _Integer
        self.calls.seqkit_team.argtypes = [_Integer, ctypes.POINTER(ctypes.c_char_p)]
        ours = ctypes.sizeof(Problem) * 1000000 + ctypes.sizeof(Forward) * 1000 + ctypes.sizeof(Backward)
        if self.calls.seqkit_struct_sizes() != ours:
            raise KernelError(f"{path.name} and library.py differ in their structs.", hint=INSTALL)
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


# What `load` found at first; layers ask before each call. A plain variable, which torch.compile can look into.
found: Library | KernelError | None = None


def load() -> Library:
    """The library that serves here.

    Raises:
        KernelError: none was compiled, or not from these sources, or it is damaged or for another machine.
        ConfigError: SEQKIT_INSTRUCTION_SET names one that cannot serve.
    """
    global found
    if found is None:
        found = _find()
    if isinstance(found, KernelError):
        raise KernelError(found.message, hint=found.hint)
    return found


def left_out() -> dict[str, str]:
    """The instruction sets that could not be compiled, and why.

    Raises:
        KernelError: the kernel is not built here.
    """
    return _record().left_out


def _find() -> Library | KernelError:
    """The library, or why there is none."""
    try:
        record = _record()
        portable = Library(sources.LIBRARIES / library_file("portable"), record.built["portable"])
        runs = portable.calls.seqkit_cpu_runs
        name = _choose(record, [name for name in INSTRUCTION_SETS if name in record.built and runs(name.encode())])
        library = portable
        if name != "portable":
            library = Library(sources.LIBRARIES / library_file(name), record.built[name])
    except KernelError as error:
        return KernelError(error.message, hint=error.hint)
    _share_openmp(library)
    return library


def _record() -> Record:
    """What the install compiled, the portable library at least: it is asked what the CPU runs."""
    try:
        record = Record.read(sources.LIBRARIES)
    except (OSError, ValueError) as error:
        raise KernelError(f"the record of the compiled CPU kernel cannot be read: {error}.", hint=INSTALL) from error
    if record is None:
        raise KernelError("the compiled CPU kernel is not built here.", hint=COMPILE)
    if "portable" not in record.built:
        reason = record.left_out.get("portable", "the portable part is missing")
        raise KernelError(f"the compiled CPU kernel is not built here: {reason}.", hint=COMPILE)
    return record


def _choose(record: Record, serving: list[str]) -> str:
    """The one that is asked for, or the best."""
    asked = os.environ.get(VARIABLE) or serving[0]
    if asked in serving:
        return asked
    if asked not in INSTRUCTION_SETS:
        reason = "there is no such instruction set"
    elif asked in record.built:
        reason = "this CPU does not run it"
    else:
        reason = f"it is not built here: {record.left_out.get(asked, 'it is for another kind of machine')}"
    raise ConfigError([f"{VARIABLE}={asked}: {reason}."], hint=f"Set it to one of: {', '.join(serving)}.")


def _open(path: Path, compiled: str) -> ctypes.CDLL:
    """Load the file, if it is what was compiled from the sources that lie here."""
    if not path.exists():
        raise KernelError(f"{path} is missing.", hint=INSTALL)
    try:
        # Before it is loaded: the system ends a process that runs into the end of a file cut short.
        if file_hash(path) != compiled:
            raise KernelError(f"{path} is damaged: it is not the file that was compiled.", hint=INSTALL)
        here = source_hash(sources.SOURCES)
    except OSError as error:
        raise KernelError(f"the compiled CPU kernel cannot be checked: {error}.", hint=INSTALL) from error
    try:
        calls = ctypes.CDLL(str(path))
        calls.seqkit_source_hash.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        # The system's words alone would mislead: it may say that there is no such file.
        reason = f"it may be for another kind of machine ({error})"
        raise KernelError(f"{path.name} is there but cannot be loaded: {reason}.", hint=COMPILE) from error
    if calls.seqkit_source_hash().decode() != here:
        raise KernelError(f"{path.name} was compiled from other sources than those in {sources.SOURCES}.", hint=INSTALL)
    return calls


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
