"""Compile the CPU kernel beside the Python package; pyproject.toml holds everything else.

The kernel is optional. Where no compiler is found, or one fails, the install goes on without it: the reason is
printed, libraries of an earlier build are removed, `kernel: auto` takes `eager`, and `seqkit doctor` says how to mend
it. CXX names the compiler; without it c++, g++ and clang++ are tried.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("seqkit/lstm/native")
_spec = importlib.util.spec_from_file_location("sources", NATIVE / "sources.py")
assert _spec is not None and _spec.loader is not None  # noqa: PT018
sources = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sources)

# -ffast-math is left out with care: it would set flush-to-zero for the whole process and lose NaNs. Of what it holds,
# only these matter here: no errno, no floating-point traps, and a * b + c as one instruction.
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
LINKING = ["-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-Wno-psabi"]
X86_FLAGS = {"avx512": ["-march=x86-64-v4"], "avx2": ["-march=x86-64-v3"], "portable": []}


class BuildKernel(build_ext):
    """Each instruction set becomes a library of its own, so that none can run another's instructions."""

    def run(self) -> None:
        folder = (Path() if self.inplace else Path(self.build_lib)) / NATIVE / "lib"
        shutil.rmtree(folder, ignore_errors=True)
        compiler = self.find_compiler()
        if compiler is None:
            print("seqkit: no C++ compiler; the CPU kernel is left out, `seqkit doctor` says more.", file=sys.stderr)
            return
        folder.mkdir(parents=True)
        x86 = platform.machine() in ("x86_64", "AMD64")
        for name in sources.INSTRUCTION_SETS:
            if not x86 and name != "portable":
                continue
            command = [*compiler, *FLAGS, *LINKING, *(X86_FLAGS[name] if x86 else [])]
            command += [f'-DSEQKIT_SOURCE_HASH="{sources.source_hash()}"', str(NATIVE / "src" / "kernel.cpp")]
            command += ["-o", str(folder / sources.library_file(name))]
            print(shlex.join(command))
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"seqkit: the CPU kernel for {name} does not compile here:\n{done.stderr}", file=sys.stderr)

    @staticmethod
    def find_compiler() -> list[str] | None:
        if "CXX" in os.environ:
            return shlex.split(os.environ["CXX"])
        found = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
        return None if found is None else [found]

    # setuptools asks which files an editable or built package got.
    def get_outputs(self) -> list[str]:
        folder = Path(self.build_lib) / NATIVE / "lib"
        return [str(file) for file in folder.glob("*")]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


setup(ext_modules=[Extension("seqkit.lstm.native.lib", [])], cmdclass={"build_ext": BuildKernel})
