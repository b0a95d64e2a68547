"""How the CPU kernel is compiled with an install, or left out: setup.py, wheels and source distributions."""

from __future__ import annotations

import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import setuptools

from seqkit.lstm.native.sources import INSTRUCTION_SETS, file_hash, library_file

ROOT = Path(__file__).parents[2]
NATIVE = Path("seqkit/lstm/native")
ALL = INSTRUCTION_SETS if platform.machine() in ("x86_64", "AMD64") else ("portable",)
# A compiler that keeps a list of its command lines and writes as much as a word.
FAKE = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
for last; do :; done
echo library > "$last"
"""
FAILS_FOR_AVX512 = FAKE + 'case "$*" in *avx512f*) echo "k.cpp:7: error: what is zmm0?" >&2; exit 1;; esac\n'

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is compiled, as the working directory."""
    folder = tmp_path / "tree"
    shutil.copytree(ROOT / NATIVE, folder / NATIVE, ignore=shutil.ignore_patterns("__pycache__", "lib"))
    shutil.copy(ROOT / "setup.py", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make a script the compiler; returns the list of its command lines."""

    def write(script: str) -> Path:
        file = tmp_path / "cxx"
        file.write_text(script)
        file.chmod(0o755)
        monkeypatch.setenv("CXX", str(file))
        return tmp_path / "calls"

    return write


@pytest.fixture
def build(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Run setup.py's build_ext in this process; returns the record that it leaves."""

    def run(inplace: bool = True) -> dict[str, Any]:
        given: dict[str, Any] = {}
        monkeypatch.setattr(setuptools, "setup", given.update)
        runpy.run_path("setup.py")
        command = setuptools.Distribution(given).get_command_obj("build_ext")
        command.inplace, command.build_lib = inplace, "out"
        command.ensure_finalized()
        command.run()
        record: dict[str, Any] = json.loads(
            ((tree if inplace else tree / "out") / NATIVE / "lib/built.json").read_text()
        )
        return record

    return run


def test_each_instruction_set_is_compiled_into_a_library_of_its_own(
    tree: Path, build: Build, compiler: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = compiler(FAKE)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    record = build()
    lib = tree / NATIVE / "lib"
    assert list(record["built"]) == list(INSTRUCTION_SETS)
    assert record["left_out"] == {}
    assert record["built"] == {name: file_hash(lib / library_file(name)) for name in INSTRUCTION_SETS}
    portable, avx2, avx512 = (set(line.split()) for line in calls.read_text().splitlines())
    assert not [word for word in portable if word.startswith("-m")]
    assert "-mavx2" in avx2
    assert "-mavx512f" not in avx2
    assert "-mavx512f" in avx512
    calls.unlink()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert list(build()["built"]) == ["portable"]
    (line,) = calls.read_text().splitlines()
    assert not [word for word in line.split() if word.startswith("-m")]
    assert sorted(file.name for file in lib.iterdir()) == ["built.json", library_file("portable")]


def test_the_cpu_is_asked_for_just_what_the_libraries_are_compiled_for(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    flags = runpy.run_path("setup.py")["X86_FLAGS"]
    assert flags["portable"] == []
    asked = set(re.findall(r'__builtin_cpu_supports\("(\w+)"\)', (NATIVE / "src/kernel.cpp").read_text()))
    assert {flag.removeprefix("-m") for flag in flags["avx512"]} == asked
    assert {flag.removeprefix("-m") for flag in flags["avx2"]} == {name for name in asked if "avx512" not in name}


@pytest.mark.parametrize(
    ("cxx", "words"),
    [
        (None, "no C++ compiler was found"),
        ("/nonexistent/g++", "/nonexistent/g++ cannot be run (No such file or directory)"),
        ("setup.py", "setup.py cannot be run"),
        ('g++ "', 'CXX=g++ " cannot be read (No closing quotation)'),
        ("false", "false failed with exit code 1 (it did not say why)"),
        ("true", "true failed with exit code 0"),
        ("sh -c 'echo warning; echo k.cpp:7: error: no zmm0. >&2; exit 4' -", "exit code 4 (k.cpp:7: error: no zmm0)"),
    ],
    ids=["none", "nonexistent", "not executable", "not closed", "fails", "writes nothing", "says why"],
)
def test_without_a_compiler_the_build_goes_on_and_no_earlier_library_stays(
    tree: Path,
    build: Build,
    compiler: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    cxx: str | None,
    words: str,
) -> None:
    compiler(FAKE)
    build()
    if cxx is None:
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", str(tree))
    else:
        monkeypatch.setenv("CXX", cxx)
    capfd.readouterr()
    record = build()
    said = capfd.readouterr()
    assert record["built"] == {}
    assert words in record["left_out"]["portable"]
    assert f"seqkit: the CPU kernel is left out: {record['left_out']['portable']}." in said.err
    assert said.out == ""
    assert [file.name for file in (tree / NATIVE / "lib").iterdir()] == ["built.json"]


def test_a_compiler_that_lacks_one_instruction_set_builds_the_others(
    tree: Path,
    build: Build,
    compiler: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    compiler(FAILS_FOR_AVX512)
    record = build()
    assert list(record["built"]) == ["avx2", "portable"]
    assert "(k.cpp:7: error: what is zmm0?)" in record["left_out"]["avx512"]
    assert "seqkit: the avx512 part of the CPU kernel is left out: " in capfd.readouterr().err
    assert not (tree / NATIVE / "lib" / library_file("avx512")).exists()  # the compiler left half of one


def test_a_build_for_a_wheel_drops_sources_of_an_earlier_one(
    tree: Path, build: Build, compiler: Callable[[str], Path]
) -> None:
    compiler(FAKE)
    copied = tree / "out" / NATIVE / "src"
    shutil.copytree(tree / NATIVE / "src", copied)
    (copied / "old.h").write_text("// of an earlier release\n")
    build(inplace=False)
    assert {file.name for file in copied.iterdir()} == {file.name for file in (tree / NATIVE / "src").iterdir()}
    assert (tree / "out" / NATIVE / "lib" / library_file("portable")).exists()
    assert not (tree / NATIVE / "lib").exists()


def test_wheel_and_source_distribution_hold_what_the_kernel_needs(tree: Path, compiler: Callable[[str], Path]) -> None:
    compiler(FAKE)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("seqkit", "recipes"):
        ignored = shutil.ignore_patterns("__pycache__", "lib")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored, dirs_exist_ok=True)
    command = [sys.executable, "setup.py", "-q", "sdist", "bdist_wheel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    assert re.search(r"-py3-none-(?!any)\w+\.whl$", wheel.name)
    ours = {f"{NATIVE}/src/{file.name}" for file in (ROOT / NATIVE / "src").iterdir()}
    libraries = {f"{NATIVE}/lib/{library_file(name)}" for name in ALL} | {f"{NATIVE}/lib/built.json"}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.startswith((f"{NATIVE}/src/", f"{NATIVE}/lib/"))} == ours | libraries
    assert f"{NATIVE}/library.py" in names
    (archive,) = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert names >= ours | {"setup.py", f"{NATIVE}/sources.py"}
    assert not names & libraries


@pytest.mark.slow
def test_a_real_compiler_builds_what_serves_until_the_sources_change(tree: Path) -> None:
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler here")
    environment = {name: value for name, value in os.environ.items() if name not in ("CXX", "SEQKIT_INSTRUCTION_SET")}
    shutil.copytree(ROOT / "seqkit", tree / "seqkit", ignore=shutil.ignore_patterns("lib"), dirs_exist_ok=True)

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tree, env=environment)
        return done.stdout

    run("setup.py", "-q", "build_ext", "--inplace")
    ask = "import seqkit.lstm.kernels as k; print(k.__file__, k.available('native'))"
    said = run("-c", ask)
    assert said.split() == [str(tree / "seqkit/lstm/kernels.py"), "None"]
    (tree / NATIVE / "src/kernel.cpp").open("a").write("// changed\n")
    assert "was compiled from other sources" in run("-c", ask)
