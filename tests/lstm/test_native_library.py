"""Which compiled library serves, and what is said of one that is missing, damaged, stale or for another machine."""

from __future__ import annotations

import ctypes
import platform
import shutil
import sys
from pathlib import Path
from typing import cast

import pytest
import torch

from seqkit.errors import ConfigError, KernelError
from seqkit.lstm import StackedLSTM, kernels
from seqkit.lstm.native import library, sources
from seqkit.lstm.native.sources import INSTRUCTION_SETS, Record, file_hash, library_file


@pytest.fixture
def lib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the libraries and sources, which is looked at instead of those of the package."""
    if kernels.available("native") is not None:
        pytest.skip(f"the native kernel does not serve here: {kernels.available('native')}")
    shutil.copytree(sources.LIBRARIES, tmp_path / "lib")
    shutil.copytree(sources.SOURCES, tmp_path / "src")
    _look_at(tmp_path, monkeypatch)
    return tmp_path / "lib"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is looked at instead of that of the libraries."""
    (tmp_path / "lib").mkdir()
    _look_at(tmp_path, monkeypatch)
    return tmp_path / "lib"


def _look_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LIBRARIES", folder / "lib")
    monkeypatch.setattr(sources, "SOURCES", folder / "src")
    monkeypatch.delenv(library.VARIABLE, raising=False)
    monkeypatch.setattr(library, "found", None)


def _rewrite(lib: Path, name: str, content: bytes) -> None:
    """Another file in place of a library, and recorded, as if it had been compiled so."""
    file = lib / library_file(name)
    file.unlink()  # not over what is loaded from it
    file.write_bytes(content)
    record = Record.read(lib)
    assert record is not None
    Record({**record.built, name: file_hash(file)}, record.left_out).write(lib)


def _refused(mend: str) -> str:
    """What asking for the kernel by name says; `auto` must take eager meanwhile."""
    assert StackedLSTM(2, 2).kernel_used() == "eager"
    with pytest.raises(KernelError, match=r"^kernel 'native' cannot serve: ") as caught:
        StackedLSTM(2, 2, kernel="native")
    said = str(caught.value)
    assert f". {mend} What can: auto, eager, torch." in said
    return said


def test_the_best_that_the_cpu_runs_serves_or_the_one_that_is_asked_for(
    lib: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record.read(lib)
    assert record is not None
    monkeypatch.setenv(library.VARIABLE, "")
    best = library.load().instruction_set
    assert best in record.built
    assert best != "portable" or platform.machine() != "x86_64" or not torch.cpu._is_avx2_supported()
    library.found = None
    monkeypatch.setenv(library.VARIABLE, "portable")
    assert library.load().instruction_set == "portable"
    assert kernels.describe("native", torch.device("cpu"), torch.float32) == "native (portable)"


def test_an_instruction_set_that_cannot_serve_is_a_mistake_for_auto_too(
    lib: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(library.VARIABLE, "sse9")
    for kernel in ("auto", "native"):
        with pytest.raises(
            ConfigError, match=r"=sse9: there is no such instruction set\. Set it to one of: .*portable"
        ):
            StackedLSTM(2, 2, kernel=kernel).kernel_used()
    assert StackedLSTM(2, 2, kernel="eager").kernel_used() == "eager"
    record = Record.read(lib)
    assert record is not None
    Record({"portable": record.built["portable"]}, {"avx2": "g++ is too old"}).write(lib)
    monkeypatch.setenv(library.VARIABLE, "avx2")
    with pytest.raises(
        ConfigError, match=r"=avx2: it is not built here: g\+\+ is too old\. Set it to one of: portable\."
    ):
        library.load()


def test_an_instruction_set_that_the_cpu_lacks_is_not_loaded(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    class Lacking(library.Library):
        def __init__(self, path: Path, compiled: str) -> None:
            super().__init__(path, compiled)
            loaded.append(self.instruction_set)
            self.calls = cast(ctypes.CDLL, OldCPU())

    class OldCPU:
        def seqkit_cpu_runs(self, name: bytes) -> int:
            return int(name == b"portable")

        def seqkit_use_openmp(self, *_: object) -> None:
            pass

    record = Record.read(lib)
    assert record is not None
    Record({"avx512": "any", "portable": record.built["portable"]}, {}).write(lib)
    monkeypatch.setattr(library, "Library", Lacking)
    library.load()
    assert loaded == ["portable"]
    library.found = None
    monkeypatch.setenv(library.VARIABLE, "avx512")
    with pytest.raises(ConfigError, match=r"=avx512: this CPU does not run it\. Set it to one of: portable\."):
        library.load()
    assert loaded == ["portable", "portable"]


def test_what_is_not_built_is_refused_with_the_reason(bare: Path) -> None:
    assert "the compiled CPU kernel is not built here. Mend: install a C++" in _refused(library.COMPILE)
    Record({}, {"portable": "no C++ compiler was found"}).write(bare)
    library.found = None
    assert "is not built here: no C++ compiler was found. Mend: " in _refused(library.COMPILE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"built": 3}', b"\xff"])
def test_a_damaged_record_is_refused(bare: Path, content: bytes) -> None:
    (bare / "built.json").write_bytes(content)
    assert f"{bare / 'built.json'} holds no record of an install" in _refused(library.INSTALL)


def test_a_missing_library_is_refused_whatever_others_are_there(lib: Path) -> None:
    (lib / library_file("portable")).unlink()
    assert f"{lib / library_file('portable')} is missing" in _refused(library.INSTALL)


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.6, 0.99])
def test_a_library_cut_short_is_refused_before_it_can_end_the_process(
    lib: Path, monkeypatch: pytest.MonkeyPatch, kept: float
) -> None:
    record = Record.read(lib)
    assert record is not None
    content = (lib / library_file("portable")).read_bytes()
    _rewrite(lib, "portable", content[: int(len(content) * kept)])
    record.write(lib)  # of the whole file
    monkeypatch.setattr(ctypes, "CDLL", lambda path: pytest.fail(f"{path} was loaded"))
    assert "is damaged: it is not the file that was compiled" in _refused(library.INSTALL)


@pytest.mark.skipif(sys.platform != "linux", reason="changes a byte of ELF's header")
def test_a_library_for_another_machine_is_refused(lib: Path) -> None:
    content = bytearray((lib / library_file("portable")).read_bytes())
    content[18:20] = (183 if platform.machine() != "aarch64" else 62).to_bytes(2, sys.byteorder)  # e_machine
    _rewrite(lib, "portable", bytes(content))
    assert "is there but cannot be loaded: it may be for another kind of machine (" in _refused(library.COMPILE)


def test_a_library_of_another_kind_is_refused(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _rewrite(lib, "portable", b"plain text")
    assert "is there but cannot be loaded" in _refused(library.COMPILE)
    library.found = None
    monkeypatch.setattr(ctypes, "CDLL", lambda path: object())  # one without our functions
    assert "is there but cannot be loaded" in _refused(library.COMPILE)


def test_a_library_of_other_sources_is_refused(lib: Path) -> None:
    assert library.load().instruction_set in INSTRUCTION_SETS
    (sources.SOURCES / "layout.h").open("a").write("// changed\n")
    library.found = None
    assert f"was compiled from other sources than those in {sources.SOURCES}" in _refused(library.INSTALL)
    shutil.rmtree(sources.SOURCES)
    library.found = None
    assert "the compiled CPU kernel cannot be checked: " in _refused(library.INSTALL)


def test_that_no_library_serves_is_found_once(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.available("native") is not None
    monkeypatch.setattr(library, "Record", None)
    assert kernels.available("native") == str(
        KernelError("the compiled CPU kernel is not built here.", hint=library.COMPILE)
    )
