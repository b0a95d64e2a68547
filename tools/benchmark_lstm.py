"""How fast one LSTM layer trains and reads: the kernels of seqkit against torch.nn.LSTM, in one run.

    python tools/benchmark_lstm.py                            the table of shapes below
    python tools/benchmark_lstm.py 32,100,512,512             one shape: B,T,I,H, and x2 after it for both directions
    python tools/benchmark_lstm.py --threads 2 --scaling      and native on one thread against two
    python tools/benchmark_lstm.py --busy 1 --lengths ragged  with a busy process beside
    python tools/benchmark_lstm.py --json times.json --picture times.png

Four ways to read the same sequences, timed in turn, sample by sample, so that a change of the machine's pace meets all:

    native   seqkit's kernel in C++          packed   torch.nn.LSTM on a PackedSequence
    eager    seqkit's kernel in PyTorch      padded   torch.nn.LSTM on the padded batch, whose padding it computes too

Ragged lengths are uniform in [T/4, T], the first is T; dense ones are all T: there `padded` is nn.LSTM on a plain
batch, and `packed` is left out. In both directions `padded` reads from the end of the padding, so its answer is not
that of the others; its time is what counts here. GFLOP/s count the matrix products of real steps: 2 * N * 4H * (I + H)
for each direction, three times that to train. Inference runs in eval() under no_grad, where native keeps its packed
weights. Each pass starts from packed (or padded) input, whose gradient is computed too in training; packing and padding
are not timed.

The peak is what the cores reach that only multiply-add in registers, in native's instruction set, measured before and
after each line (the larger counts). It is measured in bursts of 1 ms, which busy processes beside seldom meet.

Two things outside the kernels count. By default malloc gives large buffers back to the system, and each pass takes page
faults again; `seqkit train` makes it keep them (`--malloc keep`, the default here, for all contenders alike). And GNU
OpenMP lets threads that wait spin for long, which stalls all when another program has a core; the command line of
seqkit lets them sleep after 5,000 turns (`--spin 5000`; the default here is OpenMP's own).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if not __package__:  # started as a file: its folder is on the path, the repository is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from seqkit.errors import RunError, SeqkitError
from seqkit.storage import write_json
from tools.benchmark_report import (
    Line,
    Scaling,
    Shape,
    as_json,
    described,
    headline,
    lines_table,
    save_picture,
    scaling_table,
    summary,
    tell,
)

SHAPES = (
    Shape(32, 50, 256, 256, 1),
    Shape(32, 100, 512, 512, 1),
    Shape(32, 200, 256, 256, 2),
    Shape(64, 35, 650, 650, 1),
    Shape(128, 50, 128, 128, 1),
    Shape(1, 200, 512, 512, 1),
)
SPIN = "GOMP_SPINCOUNT"
CAPTION = (
    "GFLOP/s on real steps. Of peak: native's share of the multiply-add peak measured beside it. / packed, / padded, "
    "/ eager: how many times as fast as that one native is."
)
# It ends with the tool even when that is killed and can end nothing itself.
BUSY = """
import os, sys
print(flush=True)
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


# ---- what is asked for ----


def parse_shape(text: str) -> Shape:
    """`B,T,I,H` or `B,T,I,Hx2`. Raises ArgumentTypeError for anything else."""
    sizes, _, directions = text.partition("x")
    try:
        numbers = [int(number) for number in sizes.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or directions not in ("", "1", "2"):
        raise argparse.ArgumentTypeError(f"'{text}' is not B,T,I,H or B,T,I,Hx2, such as 32,100,512,512")
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': each size must be at least 1")
    return Shape(numbers[0], numbers[1], numbers[2], numbers[3], int(directions or 1))


def at_least(least: int) -> Callable[[str], int]:
    """A whole number that is not less than `least`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"must be a whole number, at least {least}; it is '{text}'")
        return number

    return parse


def parse_seconds(text: str) -> float:
    """A number of seconds, 0 or more. Raises ArgumentTypeError for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds; it is '{text}'")
    return seconds


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("shapes", nargs="*", type=parse_shape, metavar="B,T,I,H[x2]", help="default: a table of six")
    add("--lengths", choices=("ragged", "dense", "both"), default="both", help="of the sequences [both]")
    add("--mode", choices=("train", "inference", "both"), default="both", help="passes to time [both]")
    add("--repeats", type=at_least(1), default=15, metavar="N", help="samples of each contender [15]")
    add(
        "--seconds",
        type=parse_seconds,
        default=20.0,
        metavar="S",
        help="stop sampling a line after so long; 3 samples at least [20]",
    )
    add("--threads", type=at_least(1), metavar="N", help="threads to compute on [torch's own choice]")
    add("--scaling", action="store_true", help="also time native on 1 thread against N, ragged training")
    add("--busy", type=at_least(0), default=0, metavar="K", help="run K busy processes beside [0]")
    add("--malloc", choices=("keep", "default"), default="keep", help="what malloc does with freed memory [keep]")
    add("--spin", type=at_least(0), metavar="N", help=f"{SPIN}, for GNU OpenMP [its own]")
    add("--seed", type=int, default=0, help="of weights, inputs and lengths [0]")
    add("--json", type=Path, metavar="FILE", help="write all samples, the machine and the settings to FILE")
    add("--picture", type=Path, metavar="FILE.png", help="draw the ragged batches' GFLOP/s as bars")
    add("--force", action="store_true", help="overwrite these files")
    options = parser.parse_args(arguments)
    options.shapes = options.shapes or list(SHAPES)
    if options.picture is not None and options.lengths == "dense":
        parser.error("--picture shows ragged batches, and --lengths dense leaves them out")
    return options


def check_file(option: str, path: Path, force: bool) -> None:
    """Say before the timings, not after, that a file cannot be written.

    Raises:
        SeqkitError: it is there already and `force` is not set, or its folder cannot be written to.
    """
    if path.is_dir():
        raise SeqkitError(f"{option} {path}: this is a folder.", hint="Name a file in it.")
    if path.exists() and not force:
        raise SeqkitError(f"{option} {path}: exists already.", hint="Name another file, or add --force to overwrite.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise SeqkitError(
            f"{option} {path}: the folder {path.parent} cannot be written to: {error.strerror}.",
            hint="Name a file in a folder that can.",
        ) from error


def check(options: argparse.Namespace) -> None:
    """Raise SeqkitError for what can be known to fail before anything is timed."""
    if options.picture is not None and options.picture.suffix != ".png":
        raise SeqkitError(f"--picture {options.picture}: pictures are PNG.", hint="Give it a name that ends in .png.")
    if options.picture is not None and options.picture == options.json:
        raise SeqkitError(f"--json and --picture both name {options.json}.", hint="Give each a file of its own.")
    for option, path in (("--json", options.json), ("--picture", options.picture)):
        if path is not None:
            check_file(option, path, options.force)
    if options.spin is not None and "torch" in sys.modules:
        raise SeqkitError(
            "--spin: torch is loaded already, and reads it only then.", hint="Start the tool as a program of its own."
        )


# ---- the surroundings ----


@contextmanager
def busy(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that compute without end, for the time of the body; they are ended however it ends.

    Raises:
        SeqkitError: they could not be started, or one ended before the body did.
    """
    processes: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-IS", "-c", BUSY, str(os.getpid())]
    try:
        for _ in range(count):
            # In a process group of their own: an interrupt from the keyboard is the tool's to answer. Not in a session
            # of their own: Linux shares the cores between sessions, and whole sessions of load can starve the tool's.
            processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
            )
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it computes from now on
        yield processes
        if any(process.poll() is not None for process in processes):
            raise SeqkitError("a busy process ended early, so the load was less than asked for.", hint="Measure again.")
    except BlockingIOError as error:
        raise SeqkitError(f"--busy {count}: the system allows no more than {len(processes)} processes.") from error
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()


# ---- the run ----


def time_all(options: argparse.Namespace, names: Sequence[str]) -> tuple[list[Line], list[Scaling]]:
    """All lines, shape by shape, on the threads that torch uses now."""
    from tools import benchmark_timing as timing

    modes = ("train", "inference") if options.mode == "both" else (options.mode,)
    both = ("ragged", "dense") if options.lengths == "both" else (options.lengths,)
    lines: list[Line] = []
    scalings: list[Scaling] = []
    count = len(options.shapes) * len(both) * len(modes)
    for shape in options.shapes:
        for lengths in both:
            timed = [name for name in names if lengths == "ragged" or name != "packed"]
            steps, runs = timing.contenders(shape, lengths, options.seed, timed)
            for mode in modes:
                line = timing.time_line(shape, lengths, mode, steps, runs, options.repeats, options.seconds)
                lines.append(line)
                rates = ", ".join(f"{name} {(line.rate(name) or 0) / 1e9:.0f}" for name in runs)
                tell(f"[{len(lines)}/{count}] {shape} {lengths} {mode}: {rates} GFLOP/s")
        if options.scaling and "native" in names:
            steps, runs = timing.contenders(shape, "ragged", options.seed, ["native"])
            scalings.append(timing.time_scaling(shape, steps, runs["native"], options.repeats, options.seconds))
            tell(f"{shape} ragged train: native is {scalings[-1].speedup():.2f} times as fast as on one thread")
    return lines, scalings


def run(options: argparse.Namespace) -> None:
    """Measure and report. Raises SeqkitError for a user's mistake."""
    check(options)
    if options.spin is not None:
        os.environ[SPIN] = str(options.spin)  # torch's OpenMP reads it when it is loaded, which is next
    import torch

    from tools import benchmark_timing as timing

    malloc = "keep" if options.malloc == "keep" and timing.keep_freed() else "default"
    names = timing.serving()
    with timing.threads_restored(), busy(options.busy):
        torch.set_num_threads(options.threads or torch.get_num_threads())
        if options.scaling and torch.get_num_threads() == 1:
            raise SeqkitError("--scaling compares 1 thread with several.", hint="Ask for them, as --threads 2.")
        found = {
            **timing.machine(names),
            "malloc": malloc,
            "spin": os.environ.get(SPIN),
            "busy": options.busy,
            "repeats": options.repeats,
            "seconds": options.seconds,
            "seed": options.seed,
        }
        lines, scalings = time_all(options, names)
    print(f"{described(found)}.\n{CAPTION}\n\n{lines_table(lines)}")
    if scalings:
        print(f"\nNative, ragged training, on one thread and on several, GFLOP/s:\n\n{scaling_table(scalings)}")
    if (means := summary(lines)) is not None:
        print(f"\n{means}")
    sys.stdout.flush()
    try:
        if options.json is not None:
            write_json(options.json, {"machine_and_settings": found, **as_json(lines, scalings)})
        if options.picture is not None:
            save_picture(lines, options.picture, headline(found))
    except RunError as error:
        raise SeqkitError(error.message, hint="What was measured stands in the table above.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 a mistake in what was given, 130 interrupted."""
    options = parse(arguments)
    try:
        run(options)
    except SeqkitError as error:
        tell(f"benchmark_lstm: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        tell("benchmark_lstm: interrupted; no file was written.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
