"""What `benchmark_lstm.py` times, and how: the contenders of a shape, and their passes in turn, sample by sample.

Shapes: N real steps, B rows, T time steps, I inputs, H hidden, D directions.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from seqkit.errors import KernelError, SeqkitError
from seqkit.lstm import StackedLSTM
from seqkit.lstm.native import library
from seqkit.sequences import Sequences
from seqkit.training.machine import keep_freed_memory, processor_name
from tools.benchmark_report import CONTENDERS, Line, Scaling, Shape, tell

SAMPLE = 0.02  # seconds that a sample fills with passes


@dataclass(frozen=True)
class Contender:
    """One way to read a batch.

    Attributes:
        module: that reads.
        read: runs it forward; returns its output.
        grad: of a loss with respect to that output, in the output's shape.
        leaves: the input and the weights, whose gradients are computed.
    """

    module: nn.Module
    read: Callable[[], Tensor]
    grad: Tensor
    leaves: list[Tensor]

    def prepare(self, mode: str) -> None:
        """Training mode, or evaluation mode, in which native keeps its packed weights."""
        self.module.train(mode == "train")

    def run(self, mode: str) -> None:
        """One pass: forward and, to train, backward. Gradients are dropped before it, not added up."""
        if mode == "inference":
            with torch.no_grad():
                self.read()
            return
        for leaf in self.leaves:
            leaf.grad = None
        torch.autograd.backward(self.read(), self.grad)


def contenders(shape: Shape, lengths: str, seed: int, names: Sequence[str]) -> tuple[int, dict[str, Contender]]:
    """N, and the contenders of those names for one batch: the same weights, inputs and gradients for all.

    Raises:
        SeqkitError: the shape does not fit into memory.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _contenders(shape, lengths, names)
    except RuntimeError as error:  # torch has no class of its own for a CPU that has no memory left
        if not any(word in str(error) for word in ("can't allocate memory", "overflow")):
            raise
        raise SeqkitError(f"{shape}: so large a shape does not fit into memory.", hint="Name a smaller one.") from error


def _contenders(shape: Shape, lengths: str, names: Sequence[str]) -> tuple[int, dict[str, Contender]]:
    rows, longest, inputs, hidden, directions = shape
    lstm = nn.LSTM(inputs, hidden, bidirectional=directions == 2)
    drawn = torch.randint(max(1, longest // 4), longest + 1, (rows,))
    drawn[0] = longest
    x = Sequences(*_filled(drawn if lengths == "ragged" else torch.full((rows,), longest), inputs))
    grad = torch.randn(x.steps, directions * hidden)

    def on_sequences(kernel: str) -> Contender:
        model, data = StackedLSTM.from_torch(lstm, kernel=kernel), x.data.clone().requires_grad_()
        return Contender(model, lambda: model(x.replace(data))[0].data, grad, [data, *model.parameters()])

    def packed() -> Contender:
        data = x.data.clone().requires_grad_()

        def read() -> Tensor:
            output, _ = lstm(PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices))
            return cast(Tensor, output.data)

        return Contender(lstm, read, grad, [data, *lstm.parameters()])

    def padded() -> Contender:
        data, grads = (x.replace(t).padded().transpose(0, 1).contiguous() for t in (x.data, grad))  # (T, B, ...)
        data.requires_grad_()
        return Contender(lstm, lambda: lstm(data)[0], grads, [data, *lstm.parameters()])

    makers: dict[str, Callable[[], Contender]] = {
        "native": lambda: on_sequences("native"),
        "eager": lambda: on_sequences("eager"),
        "packed": packed,
        "padded": padded,
    }
    return x.steps, {name: makers[name]() for name in names}


def _filled(lengths: Tensor, inputs: int) -> tuple[Tensor, Tensor]:
    return torch.randn(int(lengths.sum()), inputs), lengths


# ---- what is there ----


def serving() -> tuple[str, ...]:
    """The contenders that can serve here; says on stderr where native cannot.

    Raises:
        KernelError: SEQKIT_INSTRUCTION_SET asks for a library of native that cannot serve.
    """
    try:
        library.load()
    except KernelError as error:
        if library.VARIABLE in os.environ:
            raise
        tell(f"native is left out, and no peak is measured: {error}")
        return tuple(name for name in CONTENDERS if name != "native")
    return CONTENDERS


def keep_freed() -> bool:
    """Let malloc keep freed memory, as `seqkit train` does; says on stderr where this system cannot."""
    kept = keep_freed_memory()
    if not kept:
        tell("this system's malloc has no setting to keep freed memory; it is left as it is")
    return kept


def machine(names: Sequence[str]) -> dict[str, Any]:
    """The machine and the libraries, on the threads that torch uses now."""
    threads, native = torch.get_num_threads(), None
    if "native" in names:
        team, runtime = library.load().team(threads)
        native = {"instruction_set": library.load().instruction_set, "threads": team, "threads_by": runtime}
    return {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "native": native,
    }


# ---- timing ----


@dataclass(frozen=True)
class Pass:
    """Something to time, on so many threads."""

    run: Callable[[], None]
    threads: int


@contextmanager
def threads_restored() -> Iterator[None]:
    """Whatever number of threads the body sets, the present one comes back."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(passes: Mapping[str, Pass], repeats: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each pass, `repeats` samples of each, taken in turn; fewer, but 3, where they take over `seconds`.

    A sample runs the pass as often as fills 20 ms.
    """
    counts = {}
    for name, one in passes.items():
        _set_threads(one)
        one.run()
        start = time.perf_counter()
        one.run()
        counts[name] = max(1, int(SAMPLE / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in passes}
    started = time.perf_counter()
    for number in range(repeats):
        if number >= 3 and time.perf_counter() - started > seconds:
            break
        for name, one in passes.items():
            _set_threads(one)
            start = time.perf_counter()
            for _ in range(counts[name]):
                one.run()
            times[name].append((time.perf_counter() - start) / counts[name])
    return times


def _set_threads(one: Pass) -> None:
    """Its number of threads; where that is another one, a first pass wakes them, untimed."""
    if torch.get_num_threads() != one.threads:
        torch.set_num_threads(one.threads)
        one.run()


def peak(threads: int, names: Sequence[str]) -> float | None:
    """Floating-point operations a second that so many threads reach now; None where native cannot serve."""
    return library.load().peak(threads) if "native" in names else None


def _larger(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(before, after)


def time_line(
    shape: Shape, lengths: str, mode: str, steps: int, runs: Mapping[str, Contender], repeats: int, seconds: float
) -> Line:
    """Time all contenders on the threads that torch uses now; the peak is measured before and after."""
    threads = torch.get_num_threads()
    for contender in runs.values():
        contender.prepare(mode)
    before = peak(threads, list(runs))
    passes = {name: Pass(partial(contender.run, mode), threads) for name, contender in runs.items()}
    times = measure(passes, repeats, seconds)
    return Line(shape, lengths, mode, steps, threads, times, _larger(before, peak(threads, list(runs))))


def time_scaling(shape: Shape, steps: int, native: Contender, repeats: int, seconds: float) -> Scaling:
    """Time native's ragged training on one thread and on those that torch uses now, in turn."""
    native.prepare("train")
    counts = {"one": 1, "several": torch.get_num_threads()}
    before = {name: peak(count, ["native"]) for name, count in counts.items()}
    times = measure(
        {name: Pass(lambda: native.run("train"), count) for name, count in counts.items()}, repeats, seconds
    )
    torch.set_num_threads(counts["several"])
    lines = {
        name: Line(
            shape,
            "ragged",
            "train",
            steps,
            count,
            {"native": times[name]},
            _larger(before[name], peak(count, ["native"])),
        )
        for name, count in counts.items()
    }
    return Scaling(lines["one"], lines["several"])
