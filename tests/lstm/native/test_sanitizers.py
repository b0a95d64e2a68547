"""The C++ by itself under the compiler's sanitizers: addresses, undefined behaviour, data races; see driver.cpp."""

from __future__ import annotations

import os
import platform
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import setuptools

from seqkit.lstm import kernels
from seqkit.lstm.native import library

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MEMORY = "address,undefined"
# Compiling takes most of the time: without optimisation and line numbers it is a third of it.
QUICK, THOROUGH = ["-O0"], ["-O1", "-g"]


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names in setup.py, which finds the compiler and knows its options."""
    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    monkeypatch.chdir(ROOT)
    return runpy.run_path("setup.py")


def compiler(setup: dict[str, Any], folder: Path, sanitizers: str) -> list[str]:
    """The compiler, if what it makes with these sanitizers runs here."""
    try:
        command: list[str] = setup["find_compiler"]()
    except setup["NoCompiler"] as error:
        pytest.skip(f"{error}")
    (folder / "nothing.cpp").write_text("int main() {}\n")
    made = subprocess.run(
        [*command, f"-fsanitize={sanitizers}", "nothing.cpp", "-o", "nothing"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if made.returncode != 0 or subprocess.run([folder / "nothing"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"the compiler has no -fsanitize={sanitizers} that runs here")
    return command


def options(setup: dict[str, Any], instruction_set: str) -> list[str]:
    if instruction_set == "portable":
        return []
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not on this kind of machine")
    if kernels.available("native") is not None:
        pytest.skip("there is no library to ask whether this CPU runs it")
    if not library.load().calls.seqkit_cpu_runs(instruction_set.encode()):
        pytest.skip("this CPU does not run it")
    found: list[str] = setup["X86_FLAGS"][instruction_set]
    return found


@pytest.mark.parametrize(
    ("instruction_set", "sanitizers", "level"),
    [
        ("portable", MEMORY, QUICK),
        pytest.param("portable", MEMORY, THOROUGH, marks=pytest.mark.slow),
        pytest.param("avx2", MEMORY, THOROUGH, marks=pytest.mark.slow),
        pytest.param("avx512", MEMORY, THOROUGH, marks=pytest.mark.slow),
        pytest.param("portable", "thread", THOROUGH, marks=pytest.mark.slow),
    ],
    ids=["quick", "portable", "avx2", "avx512", "threads"],
)
def test_the_driver_runs_clean(
    instruction_set: str, sanitizers: str, level: list[str], setup: dict[str, Any], tmp_path: Path
) -> None:
    machine = options(setup, instruction_set)
    command = [*compiler(setup, tmp_path, sanitizers), "-std=c++17", "-pthread", "-Wno-psabi", *level, *machine]
    command += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    command += ["-I", str(ROOT / "seqkit/lstm/native/src"), str(HERE / "driver.cpp"), "-o", str(tmp_path / "driver")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    # Python may run under a sanitizer or a preloaded allocator of its own; the driver must not.
    surroundings = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [tmp_path / "driver"], env=surroundings, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{instruction_set}: 224 problems, 0 failures")
    assert not done.stderr
