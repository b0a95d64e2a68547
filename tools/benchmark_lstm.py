"""How fast one LSTM layer reads and trains on a ragged batch: our kernels against torch.nn.LSTM, in one run.

    python tools/benchmark_lstm.py                     the table of shapes below
    python tools/benchmark_lstm.py 32,100,512,512      one shape: B,T,I,H, and x2 after it for both directions
    python tools/benchmark_lstm.py --json times.json

Four ways to read the same sequences, timed in turn, repeat by repeat, so that a change of the machine's pace meets all:
`eager` is ours; `packed` is torch.nn.LSTM on a PackedSequence (our kernel `torch`); `padded` is torch.nn.LSTM on the
padded batch, which computes the padding too. GFLOP/s count real steps only: 2 * N * 4H * (I + H) for each direction
forward, three times that to train. `x packed` says how many times faster than `packed` one is.

Lengths are uniform in [T/4, T]. Every pass starts from the same packed (or padded) input, whose gradient is computed
too; packing, padding and the optimizer are not timed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences

# B, T, I, H, directions
SHAPES = [
    (32, 100, 512, 512, 1),
    (32, 50, 256, 256, 1),
    (32, 200, 256, 256, 2),
    (64, 35, 650, 650, 1),
    (128, 50, 128, 128, 1),
    (64, 20, 128, 128, 2),
    (64, 64, 256, 256, 2),
    (128, 32, 256, 256, 2),
    (1, 200, 512, 512, 1),
]
CONTENDERS = ("eager", "packed", "padded")


def parse_shape(text: str) -> tuple[int, int, int, int, int]:
    """`B,T,I,H` or `B,T,I,Hx2`."""
    sizes, _, directions = text.partition("x")
    numbers = [int(n) for n in sizes.split(",")]
    if len(numbers) != 4 or directions not in ("", "1", "2"):
        raise argparse.ArgumentTypeError(f"'{text}' is not B,T,I,H or B,T,I,Hx2")
    return numbers[0], numbers[1], numbers[2], numbers[3], int(directions or 1)


def machine() -> str:
    """The processor's name, the threads torch uses and torch's version."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def contenders(shape: tuple[int, int, int, int, int], seed: int) -> tuple[int, dict[str, Callable[[bool], None]]]:
    """N, and for each contender a function that runs one pass: forward, or with True forward and backward."""
    rows, longest, inputs, hidden, directions = shape
    torch.manual_seed(seed)
    lstm = nn.LSTM(inputs, hidden, bidirectional=directions == 2)
    lengths = torch.randint(max(1, longest // 4), longest + 1, (rows,))
    lengths[0] = longest
    x = Sequences(torch.randn(int(lengths.sum()), inputs), lengths)
    grad = torch.randn(x.steps, directions * hidden)

    def on_sequences(kernel: str) -> Callable[[bool], None]:
        model = StackedLSTM.from_torch(lstm, kernel=kernel)
        data = x.data.clone().requires_grad_()
        return lambda train: once(lambda: model(x.replace(data))[0].data, grad, [data, *model.parameters()], train)

    padded, padded_grad = (x.replace(t).padded().transpose(0, 1).contiguous() for t in (x.data, grad))  # (T, B, ...)
    padded.requires_grad_()
    return x.steps, {
        "eager": on_sequences("eager"),
        "packed": on_sequences("torch"),
        "padded": lambda train: once(lambda: lstm(padded)[0], padded_grad, [padded, *lstm.parameters()], train),
    }


def once(forward: Callable[[], Tensor], grad: Tensor, leaves: list[Tensor], train: bool) -> None:
    """One pass; gradients are dropped before it, not added up."""
    if not train:
        with torch.no_grad():
            forward()
        return
    for leaf in leaves:
        leaf.grad = None
    torch.autograd.backward(forward(), grad)


def measure(passes: dict[str, Callable[[], None]], repeats: int, seconds: float) -> dict[str, list[float]]:
    """Times of each pass, interleaved; each sample runs the pass as often as fills 20 ms."""
    counts = {}
    for name, run in passes.items():
        run()
        start = time.perf_counter()
        run()
        counts[name] = max(1, int(0.02 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in passes}
    started = time.perf_counter()
    for _ in range(repeats):
        for name, run in passes.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                run()
            times[name].append((time.perf_counter() - start) / counts[name])
        if time.perf_counter() - started > seconds and len(times[name]) >= 3:
            break
    return times


def benchmark(shape: tuple[int, int, int, int, int], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One line of the table for training and one for inference, as dictionaries."""
    _, _, inputs, hidden, directions = shape
    steps, runs = contenders(shape, options.seed)
    lines = []
    for train in (True, False):
        times = measure(
            {name: lambda run=run: run(train) for name, run in runs.items()},  # type: ignore[misc]  # noqa: B023
            options.repeats,
            options.seconds,
        )
        flop = (6 if train else 2) * steps * 4 * hidden * (inputs + hidden) * directions
        medians = {name: statistics.median(t) for name, t in times.items()}
        lines.append(
            {
                "shape": shape,
                "steps": steps,
                "mode": "train" if train else "inference",
                "ms": {name: 1e3 * m for name, m in medians.items()},
                "fastest_ms": {name: 1e3 * min(t) for name, t in times.items()},
                "gflops": {name: flop / m / 1e9 for name, m in medians.items()},
                "times_packed": {name: medians["packed"] / m for name, m in medians.items()},
            }
        )
    return lines


def show(line: dict[str, Any]) -> None:
    """Print one line of the table."""
    rows, longest, inputs, hidden, directions = line["shape"]
    label = f"{rows},{longest},{inputs},{hidden}{'x2' if directions == 2 else ''}"
    cells = [
        f"{line['ms'][name]:8.2f} ms {line['gflops'][name]:4.0f} GF/s {line['times_packed'][name]:5.2f}x"
        for name in CONTENDERS
    ]
    print(f"{label:16} {line['mode']:9} {' | '.join(cells)}", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", type=parse_shape, help="B,T,I,H or B,T,I,Hx2; default: a table")
    parser.add_argument("--repeats", type=int, default=15, help="samples of each contender (default 15)")
    parser.add_argument("--seconds", type=float, default=20.0, help="stop sampling a line after so long (default 20)")
    parser.add_argument("--threads", type=int, help="threads torch may use; default: torch's own choice")
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and lengths (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and figures to FILE")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    print(f"{machine()}; medians of {options.repeats} interleaved samples, float32")
    print(f"{'B,T,I,H':16} {'':9} " + " | ".join(f"{name:>8} {'x packed':>21}" for name in CONTENDERS))
    lines = []
    for shape in options.shapes or SHAPES:
        for line in benchmark(shape, options):
            show(line)
            lines.append(line)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "lines": lines}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
