"""The benchmark on tiny layers: contenders do the same work, figures are right, and mistakes get a sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from seqkit.errors import KernelError
from seqkit.lstm import kernels
from seqkit.lstm.native import kernel as native
from tools import benchmark_timing as timing
from tools.benchmark_lstm import SHAPES, busy, main, parse_shape
from tools.benchmark_report import CONTENDERS, Line, Shape, lines_table, means

REPOSITORY = Path(__file__).parents[2]
QUICK = ["3,4,5,6x2", "--repeats", "3", "--seconds", "0.1"]
ONE_LINE = [*QUICK, "--lengths", "ragged", "--mode", "train"]
NOT_NATIVE = kernels.available("native")  # None, or why it cannot serve
SERVING = [name for name in CONTENDERS if name != "native" or NOT_NATIVE is None]
needs_native = pytest.mark.skipif(NOT_NATIVE is not None, reason=str(NOT_NATIVE))


# ---- what is timed ----


@pytest.mark.parametrize("lengths", ["ragged", "dense"])
@pytest.mark.parametrize("directions", [1, 2])
def test_contenders_do_the_same_work(lengths: str, directions: int) -> None:
    # In both directions `padded` reads the padding first, and can only agree where there is none.
    names = [name for name in SERVING if name != "padded" or directions == 1 or lengths == "dense"]
    steps, found = timing.contenders(Shape(6, 8, 5, 6, directions), lengths, seed=0, names=names)
    assert steps == found["packed"].grad.shape[0]
    assert 6 * 2 < steps < 6 * 8 if lengths == "ragged" else steps == 6 * 8
    for contender in found.values():
        contender.prepare("train")
        contender.run("train")
        contender.run("train")  # gradients are not added up
    expected = [leaf.grad for leaf in found["packed"].leaves]
    for name, contender in found.items():
        own = [leaf.grad for leaf in contender.leaves]
        first = 1 if name == "padded" else 0  # its input, and so that one's gradient, has another shape
        for ours, theirs in zip(own[first:], expected[first:], strict=True):
            assert theirs is not None
            assert float(theirs.abs().max()) > 0
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=name)


@needs_native
def test_native_keeps_packed_weights_in_inference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = timing.contenders(Shape(2, 3, 4, 5, 1), "ragged", seed=0, names=["native"])
    given: list[bool] = []
    plain = native.forward

    def forward(*arguments: Any) -> Any:
        given.append(arguments[6] is not None)
        return plain(*arguments)

    monkeypatch.setattr(native, "forward", forward)
    for mode in ("inference", "train"):
        found["native"].prepare(mode)
        found["native"].run(mode)
    assert given == [True, False]


def test_samples_are_taken_in_turn_on_the_threads_asked_for() -> None:
    met: list[tuple[str, int]] = []

    def note(name: str) -> None:
        met.append((name, torch.get_num_threads()))
        time.sleep(timing.SAMPLE)  # one pass fills a sample

    with timing.threads_restored():
        before = torch.get_num_threads()
        passes = {name: timing.Pass(lambda name=name: note(name), n) for name, n in (("a", 1), ("b", 2))}  # type: ignore[misc]
        times = timing.measure(passes, repeats=5, seconds=0.0)
    assert torch.get_num_threads() == before
    assert {name: len(samples) for name, samples in times.items()} == {"a": 3, "b": 3}  # `seconds` are over
    assert set(met) == {("a", 1), ("b", 2)}
    assert [name for name, _ in met[-4:]] == ["a", "a", "b", "b"]  # a first one after the change of threads
    assert min(map(min, times.values())) >= timing.SAMPLE


# ---- figures ----


def test_figures_of_a_line() -> None:
    shape = Shape(2, 3, 10, 5, 2)  # one step forward: 2 operations, 4 * 5 rows, 10 + 5 columns, 2 directions
    line = Line(shape, "ragged", "train", 4, 1, {"native": [1.0, 2.0, 9.0], "packed": [3.0, 6.0, 6.0]}, 9600.0)
    assert line.flop() == 3 * 4 * (2 * 20 * 15 * 2)
    assert line.rate("native") == 7200.0
    assert line.share("native") == 0.75
    assert line.ratio("packed") == 3.0
    assert line.ratio("padded") is None
    slower = Line(shape, "ragged", "train", 4, 1, {"native": [4.0], "packed": [3.0]}, None)
    dense = Line(shape, "dense", "train", 4, 1, {"native": [1.0], "packed": [100.0]}, None)
    ((peer, (mean, shapes)),) = means([line, slower, dense]).items()
    assert (peer, shapes) == ("packed", 2)
    assert mean == pytest.approx(1.5)
    rows = lines_table([line, slower]).splitlines()
    assert len({len(row) for row in rows}) == 1  # aligned
    assert [cell.strip() for cell in rows[3].split("|")][7:11] == ["-", "-", "-", "0.75"]


def test_a_table_and_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / name) for name in ("times.json", "times.png")]
    assert main([*QUICK, "--json", files[0], "--picture", files[1]]) == 0
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if line.startswith("| 3,4,5,6x2")]
    assert len(rows) == 4  # ragged and dense, training and inference
    assert "[4/4]" in said.err
    assert Path(files[1]).read_bytes().startswith(b"\x89PNG")
    found = json.loads(Path(files[0]).read_text())
    assert found["machine_and_settings"]["malloc"] in ("keep", "default")
    for line in found["lines"]:
        assert set(line["seconds"]) == set(SERVING) - ({"packed"} if line["lengths"] == "dense" else set())
        assert {len(samples) for samples in line["seconds"].values()} == {3}
        assert (line["peak"] is None) == (NOT_NATIVE is not None)


@needs_native
def test_native_on_one_thread_and_on_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ONE_LINE, "--threads", "2", "--scaling", "--json", str(tmp_path / "times.json")]) == 0
    assert "2 threads" in capsys.readouterr().out
    (scaling,) = json.loads((tmp_path / "times.json").read_text())["scaling"]
    assert (scaling["one"]["threads"], scaling["several"]["threads"]) == (1, 2)
    medians = [scaling[name]["median_seconds"]["native"] for name in ("one", "several")]
    assert scaling["speedup"] == pytest.approx(medians[0] / medians[1])


@pytest.mark.parametrize("malloc", ["keep", "default"])
def test_malloc_is_set_only_where_asked_for(
    malloc: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def keep() -> bool:
        calls.append("keep")
        return True

    monkeypatch.setattr(timing, "keep_freed_memory", keep)
    assert main([*ONE_LINE, "--malloc", malloc]) == 0
    assert calls == (["keep"] if malloc == "keep" else [])
    assert ("malloc keeps freed memory" in capsys.readouterr().out) == (malloc == "keep")


@pytest.mark.skipif(sys.platform != "linux", reason="asks GNU OpenMP, which torch has on Linux")
def test_spin_reaches_openmp() -> None:
    settings = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, str(REPOSITORY / "tools" / "benchmark_lstm.py"), *ONE_LINE, "--spin", "77"]
    ended = subprocess.run(
        command, env={**settings, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, check=True
    )
    assert "GOMP_SPINCOUNT = '77'" in ended.stderr
    assert "GOMP_SPINCOUNT 77" in ended.stdout


# ---- load ----


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"  # nobody has waited for it yet


def test_busy_processes_end_with_the_body() -> None:
    met: list[subprocess.Popen[bytes]] = []

    def body() -> None:
        with busy(1) as processes:  # one: a machine of two cores has one left to end it from
            met.extend(processes)
            assert [process.poll() for process in processes] == [None]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    assert [process.returncode is None for process in met] == [False]


def test_busy_processes_end_with_a_tool_that_is_killed() -> None:
    code = "with busy(1) as found:\n    print(found[0].pid, flush=True)\n    input()"
    with subprocess.Popen(
        [sys.executable, "-c", f"from tools.benchmark_lstm import busy\n{code}"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as tool:
        assert tool.stdout is not None
        pid = int(tool.stdout.readline())
        assert not gone(pid)
        tool.send_signal(signal.SIGKILL)
    try:
        for _ in range(100):
            if gone(pid):
                break
            time.sleep(0.1)
        assert gone(pid)
    finally:
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_busy_process_that_ends_early_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.benchmark_lstm.BUSY", "print(flush=True)")
    assert main([*ONE_LINE, "--busy", "1"]) == 2
    said = capsys.readouterr()
    assert "ended early" in said.err
    assert said.out == ""


def test_a_measurement_under_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ONE_LINE, "--busy", "1"]) == 0
    assert "1 busy process beside" in capsys.readouterr().out


# ---- mistakes ----


def test_shapes() -> None:
    assert [str(parse_shape(str(shape))) for shape in SHAPES] == [str(shape) for shape in SHAPES]
    assert parse_shape("1,2,3,4x2") == Shape(1, 2, 3, 4, 2)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4x3", "a,b,c,d", "0,1,1,1"])
def test_a_shape_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([text])
    assert raised.value.code == 2
    assert text in capsys.readouterr().err


def test_a_shape_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["1,1,9000000000000000,9000000000000000"]) == 2
    assert "does not fit into memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [["--threads", "0"], ["--busy", "-1"], ["--repeats", "x"], ["--seconds", "nan"], ["--spin", "-1"]]
)
def test_a_number_that_is_none(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(option)
    assert raised.value.code == 2
    assert f"argument {option[0]}: must be" in capsys.readouterr().err


def test_nothing_is_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "times.json"
    there.write_text("mine")
    assert main([*ONE_LINE, "--json", str(there)]) == 2
    assert there.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err
    assert main([*ONE_LINE, "--json", str(there), "--force"]) == 0
    assert json.loads(there.read_text())["lines"]


def test_files_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = str(tmp_path / "times.png")
    for options, sentence in [
        (["--json", str(tmp_path / "no" / "times.json")], "cannot be written to"),
        (["--json", str(tmp_path)], "is a folder"),
        (["--picture", str(tmp_path / "times.jpg")], "ends in .png"),
        (["--json", same, "--picture", same], "both name"),
        (["--spin", "5"], "torch is loaded already"),
        (["--scaling", "--threads", "1"], "--threads 2"),
    ]:
        assert main([*QUICK, *options]) == 2
        said = capsys.readouterr()
        assert sentence in said.err
        assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_without_the_native_kernel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent() -> None:
        raise KernelError("the compiled CPU kernel is not built here.")

    monkeypatch.delenv("SEQKIT_INSTRUCTION_SET", raising=False)
    monkeypatch.setattr("seqkit.lstm.native.library.load", absent)
    assert main(ONE_LINE) == 0
    said = capsys.readouterr()
    assert "native is left out, and no peak is measured: the compiled CPU kernel is not built here." in said.err
    (row,) = [line for line in said.out.splitlines() if line.startswith("| 3,4,5,6x2")]
    assert [cell.strip() for cell in row.split("|")][4] == "-"
    monkeypatch.setenv("SEQKIT_INSTRUCTION_SET", "avx512")  # asked for by name
    assert main(ONE_LINE) == 2
    assert "not built here" in capsys.readouterr().err
