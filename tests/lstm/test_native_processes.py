"""The kernel `native` in processes of its own: forks, workers, OpenMP's limits; and what its libraries hold."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seqkit.lstm import kernels
from seqkit.lstm.native import library
from seqkit.lstm.native.library import VARIABLE
from seqkit.lstm.native.sources import library_file
from tests.lstm.numerics import needs_native

ROOT = Path(__file__).parents[2]
LIBRARIES = Path(library.__file__).parent / "lib"
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and forks")


def run(name: str, **environment: str) -> dict[str, Any]:
    """What `isolated.py` finds; it is ended after a minute."""
    command = [sys.executable, "-m", "tests.lstm.isolated", name]
    surroundings = {key: value for key, value in os.environ.items() if key != VARIABLE} | environment
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_built_serves() -> None:
    """Else all tests of this kernel would be left out in silence where its libraries are out of date."""
    if not (LIBRARIES / library_file("portable")).exists():
        pytest.skip("the kernel is not built here")
    assert kernels.available("native") is None


@needs_native
@linux
def test_forks_and_workers_run_on_threads_of_their_own() -> None:
    found = run("forked", OMP_NUM_THREADS="2")
    assert len(found["runtimes"]) == 1
    assert found["team"] == [2, "openmp"]
    assert found["alone"] == [1, "caller"]
    assert found["child"] == 0
    assert found["workers"] == [True, True]
    assert found["again"]


@needs_native
@linux
def test_a_limit_on_threads_is_kept_to() -> None:
    found = run("limited", OMP_NUM_THREADS="1", OMP_THREAD_LIMIT="1")
    assert found == {"team": [1, "openmp"]}


@needs_native
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the registers are those of x86-64")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="there is no objdump")
@pytest.mark.parametrize(("name", "without", "with_"), [("portable", "[yz]mm", "xmm"), ("avx2", "zmm", "ymm")])
def test_a_library_holds_no_instructions_of_a_better_one(name: str, without: str, with_: str) -> None:
    file = LIBRARIES / library_file(name)
    if not file.exists():
        pytest.skip("not built here")
    code = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", file], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(rf"%{with_}\d", code)
    found = re.search(rf".*%{without}\d.*", code)
    assert found is None, found.group()
