"""The benchmark on a tiny layer: its table, its files, and what it says of a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqkit.lstm import kernels
from tools.benchmark_lstm import SHAPES, main, parse_shape

QUICK = ["3,4,5,6x2", "--repeats", "3", "--seconds", "0.1"]


def test_a_table_and_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / name) for name in ("times.json", "times.png")]
    assert main([*QUICK, "--json", files[0], "--picture", files[1]]) == 0
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if line.startswith("| 3,4,5,6x2")]
    assert len(rows) == 4  # ragged and dense, training and inference
    assert "[4/4]" in said.err
    assert Path(files[1]).read_bytes().startswith(b"\x89PNG")
    found = json.loads(Path(files[0]).read_text())
    contenders = set(found["lines"][0]["seconds"])
    expected = {"eager", "packed", "padded"} | ({"native"} if kernels.available("native") is None else set())
    assert contenders == expected


def test_native_on_one_thread_and_on_two(capsys: pytest.CaptureFixture[str]) -> None:
    if (reason := kernels.available("native")) is not None:
        pytest.skip(reason)
    line = [*QUICK, "--lengths", "ragged", "--mode", "train", "--threads", "2", "--scaling"]
    assert main(line) == 0
    assert "2 threads" in capsys.readouterr().out


def test_busy_processes_end_with_the_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--lengths", "dense", "--mode", "inference", "--busy", "1"]) == 0
    assert "1 busy processes beside" in capsys.readouterr().out


def test_shapes() -> None:
    assert [str(parse_shape(str(shape))) for shape in SHAPES] == [str(shape) for shape in SHAPES]


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4x3", "a,b,c,d", "0,1,1,1"])
def test_a_shape_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([text])
    assert raised.value.code == 2
    assert text in capsys.readouterr().err


def test_nothing_is_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "times.json"
    there.write_text("mine")
    assert main([*QUICK, "--json", str(there)]) == 2
    assert there.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err
    assert main([*QUICK, "--json", str(tmp_path / "no" / "times.json")]) == 2
    assert "cannot be written to" in capsys.readouterr().err
