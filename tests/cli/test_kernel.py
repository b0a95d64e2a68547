"""What the command line says of the compiled CPU kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqkit.lstm import kernels
from seqkit.lstm.native import library, sources
from seqkit.lstm.native.sources import Record

Command = Callable[..., Any]
SMALL = ("data.limit=60", "model.embedding_size=8", "model.lstm.hidden_size=8", "training.max_steps=1")


@pytest.fixture
def lib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is looked at instead of that of the libraries."""
    (tmp_path / "lib").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(library.VARIABLE, raising=False)
    monkeypatch.setattr(sources, "LIBRARIES", tmp_path / "lib")
    monkeypatch.setattr(library, "found", None)
    return tmp_path / "lib"


def test_a_kernel_that_is_not_built_is_refused_with_a_sentence_and_auto_goes_on(seqkit: Command, lib: Path) -> None:
    Record({}, {"portable": "no C++ compiler was found"}).write(lib)
    result = seqkit("train", "sentiment", "model.lstm.kernel=native", *SMALL)
    assert result.code == 2
    assert "kernel 'native' cannot serve: the compiled CPU kernel is not built here: no C++ compiler was found." in (
        result.said
    )
    assert "Mend: install a C++ compiler" in result.said
    assert "Traceback" not in result.err
    assert not Path("runs").exists()
    trained = seqkit("train", "sentiment", *SMALL)
    assert trained.code == 0, trained.err
    assert "eager (" in trained.said


def _lines(result: Any) -> list[str]:
    return [line.strip() for line in result.out.splitlines() if "LSTM kernel 'native'" in line]


def test_the_doctor_says_why_there_is_no_compiled_kernel_and_how_to_mend_it(seqkit: Command, lib: Path) -> None:
    Record({}, {"portable": "no C++ compiler was found"}).write(lib)
    result = seqkit("doctor")
    reason = "the compiled CPU kernel is not built here: no C++ compiler was found."
    assert _lines(result) == [f"--   LSTM kernel 'native': {reason} {library.COMPILE}"]
    assert "ok   LSTM kernel 'eager'" in result.out


@pytest.mark.parametrize(
    ("team", "words"),
    [
        ((1, "caller"), "1 thread"),
        ((2, "openmp"), "2 threads shared with torch (OpenMP)"),
        ((2, "threads"), "2 threads of its own, started by each call"),
        ((1, "threads"), "1 thread of its own, started by each call"),
    ],
)
def test_the_doctor_says_which_instruction_set_serves_on_which_threads(
    seqkit: Command, lib: Path, monkeypatch: pytest.MonkeyPatch, team: tuple[int, str], words: str
) -> None:
    class Serving:
        instruction_set = "avx2"

        def team(self, threads: int) -> tuple[int, str]:
            assert threads == torch.get_num_threads()
            return team

    monkeypatch.setattr(library, "load", Serving)
    Record({"avx2": "", "portable": ""}, {"avx512": "g++ is too old"}).write(lib)
    assert _lines(seqkit("doctor")) == [
        f"ok   LSTM kernel 'native': avx2, {words}",
        f"--   LSTM kernel 'native': avx512 is left out: g++ is too old. {library.COMPILE}",
    ]


def test_the_doctor_and_training_refuse_an_instruction_set_that_cannot_serve(
    seqkit: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if kernels.available("native") is not None:
        pytest.skip("the native kernel does not serve here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(library, "found", None)
    monkeypatch.setenv(library.VARIABLE, "sse9")
    wrong = f"{library.VARIABLE}=sse9: there is no such instruction set."
    checked = seqkit("doctor")
    assert checked.code == 2
    (line,) = _lines(checked)
    assert line.startswith(f"FAIL LSTM kernel 'native': {wrong} Set it to one of: ")
    trained = seqkit("train", "sentiment", *SMALL)
    assert trained.code == 2
    assert wrong in trained.said
    assert "Traceback" not in trained.err
