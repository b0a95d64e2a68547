"""What tests of the kernel `native` run in a process of their own: `python -m tests.lstm.isolated NAME`.

A function here checks by `assert` and prints what it found as one object in JSON. The environment that it runs in is
part of the test.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqkit.lstm.native import kernel as native
from seqkit.lstm.native import library
from seqkit.sequences import Sequences
from tests.lstm.numerics import Case, check_case, dealt, make


def layer_and_case() -> tuple[nn.LSTM, Case]:
    torch.manual_seed(0)
    lstm = nn.LSTM(12, 37, bidirectional=True)
    return lstm, make([9, 30, 0, 28, 30, 1, 17], 12, lstm)


def limited() -> dict[str, Any]:
    """OpenMP gives fewer threads than torch asks for."""
    check_case(*layer_and_case(), "native", [(2, 1), (4, 2)])
    return {"team": library.load().team(2)}


def on_threads(threads: int) -> Callable[[], list[Tensor]]:
    """Forward and backward on so many threads and no more: on two, torch's own operators hang in a forked child."""
    lstm, case = layer_and_case()
    x = Sequences.from_padded(case.values.float(), case.lengths)
    h_0, c_0 = (state.float() for state in (case.state.hidden, case.state.cell))
    arguments = (x.data, x.batch_sizes, [w.detach() for w in lstm.parameters()], h_0, c_0)
    incoming = (x.data.new_ones(len(x.data), 2 * lstm.hidden_size), case.grad_hidden.float(), case.grad_cell.float())

    def step() -> list[Tensor]:
        with dealt(threads, row_groups=1):
            output, h_n, c_n, saved = native.forward(*arguments, True)
            assert saved is not None
            grad_data, weights, *states = native.backward(incoming, *arguments, output, saved, True)
        assert grad_data is not None
        return [output, h_n, c_n, grad_data, *weights, *states]

    return step


class InWorker(torch.utils.data.Dataset[list[Tensor]]):
    """Runs the kernel when it is asked for an example."""

    def __init__(self) -> None:
        self.step = on_threads(1)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, n: int) -> list[Tensor]:
        return self.step()


def forked() -> dict[str, Any]:
    """The parent runs on two threads, then children of it do."""
    check_case(*layer_and_case(), "native", [(2, 1)])
    found: dict[str, Any] = {"runtimes": runtimes(), "team": library.load().team(2)}
    step, examples = on_threads(2), InWorker()
    before, alone = step(), examples[0]
    torch.set_num_threads(1)
    found["alone"] = library.load().team(torch.get_num_threads())
    found["child"] = exit_code_of_child(lambda: library.load().team(2) == (2, "threads") and equal(step(), before))
    loader = torch.utils.data.DataLoader(
        examples, batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=20
    )
    found["workers"] = [equal(example, alone) for example in loader]
    found["again"] = equal(step(), before) and library.load().team(2) == (2, "openmp")
    return found


def equal(got: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


def exit_code_of_child(work: Callable[[], bool]) -> int | str:
    """0 if work() is true in a forked child, 1 if not, 2 if it raised; or that it hangs."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hangs"


def runtimes() -> list[str]:
    """The OpenMP runtimes that are mapped into this process, by file name."""
    files = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line}
    return sorted(Path(file).name for file in files if re.match(r"lib(gomp|iomp|omp)", Path(file).name))


if __name__ == "__main__":
    print(json.dumps({"limited": limited, "forked": forked}[sys.argv[1]]()))  # noqa: T201
