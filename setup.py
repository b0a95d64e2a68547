"""Compile the CPU kernel beside the Python package; pyproject.toml holds everything else.

The kernel is optional. Where no compiler is found, or one fails, the install goes on without it: the reason is printed
and kept for `seqkit doctor`, libraries of an earlier build are removed, and `kernel: auto` takes `eager`. CXX names the
compiler; without it c++, g++ and clang++ are tried.
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
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NATIVE = Path("seqkit/lstm/native")
_spec = importlib.util.spec_from_file_location("seqkit_sources", NATIVE / "sources.py")
assert _spec is not None
assert _spec.loader is not None
sources = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = sources  # its dataclass asks for it
_spec.loader.exec_module(sources)

# -ffast-math is left out with care: it would set flush-to-zero for the whole process and lose NaNs. Of what it holds,
# only these matter here: no errno, no floating-point traps, and a * b + c as one instruction.
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
LINKING = ["-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-Wno-psabi"]
# What seqkit_cpu_runs asks the CPU for, and no more. -march=x86-64-v3 and -v4 give the same code, but old compilers
# do not know them.
AVX2 = ["-mavx2", "-mfma", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl"]
X86_FLAGS = {"avx512": AVX512, "avx2": AVX2, "portable": []}


class NoCompilerError(Exception):
    """Nothing to compile with; the message says why."""


def find_compiler() -> list[str]:
    """The first words of its command line."""
    named = os.environ.get("CXX", "").strip()
    if named:
        try:
            return shlex.split(named)
        except ValueError as error:
            raise NoCompilerError(f"CXX={named} cannot be read ({error})") from error
    found = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
    if found is None:
        raise NoCompilerError("no C++ compiler was found")
    return [found]


def compile_library(command: list[str], library: Path) -> str | None:
    """Run the command, which writes the library; if it fails, the reason, and nothing is left of it."""
    print(shlex.join(command), file=sys.stderr)
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError as error:
        return f"{command[0]} cannot be run ({error.strerror})"
    if done.returncode == 0 and library.exists():
        return None
    library.unlink(missing_ok=True)
    print(done.stderr, file=sys.stderr)
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    first = next((line for line in said if "error" in line), said[0] if said else "it did not say why")
    return f"{command[0]} failed with exit code {done.returncode} ({first[:300].rstrip('.')})"


class BuildKernel(build_ext):
    """Each instruction set becomes a library of its own, so that none can run another's instructions."""

    def run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.remove_old_sources()
        x86 = platform.machine() in ("x86_64", "AMD64")
        built, left_out = {}, {}
        # The portable one first: it is the one that can be asked what the CPU runs, so none serves without it.
        for name in reversed(sources.INSTRUCTION_SETS) if x86 else ["portable"]:
            library = self.folder / sources.library_file(name)
            reason = self.compile(library, X86_FLAGS[name] if x86 else [])
            if reason is None:
                built[name] = sources.file_hash(library)
                continue
            left_out[name] = reason
            whole = name == "portable"
            what = "the CPU kernel" if whole else f"the {name} part of the CPU kernel"
            print(f"seqkit: {what} is left out: {reason}. `seqkit doctor` says how to mend it.", file=sys.stderr)
            if whole:
                break
        sources.Record({name: built[name] for name in reversed(built)}, left_out).write(self.folder)

    @property
    def folder(self) -> Path:
        """Where the libraries go."""
        return (Path() if self.inplace else Path(self.build_lib)) / NATIVE / "lib"

    def compile(self, library: Path, flags: list[str]) -> str | None:
        """Compile one; the reason if that fails."""
        try:
            compiler = find_compiler()
        except NoCompilerError as error:
            return str(error)
        command = [*compiler, *FLAGS, *LINKING, *flags, f'-DSEQKIT_SOURCE_HASH="{sources.source_hash()}"']
        return compile_library([*command, str(NATIVE / "src" / "kernel.cpp"), "-o", str(library)], library)

    def remove_old_sources(self) -> None:
        """Drop what an earlier build left of sources that are gone: the hash at load is of all that lie there."""
        for file in (self.folder.parent / "src").glob("*"):
            if not (NATIVE / "src" / file.name).exists():
                file.unlink()

    # setuptools asks which files an editable or built package got.
    def get_outputs(self) -> list[str]:
        folder = Path(self.build_lib) / NATIVE / "lib"
        return sorted(str(folder / file.name) for file in self.folder.glob("*"))

    def get_output_mapping(self) -> dict[str, str]:
        return {file: str(self.folder / Path(file).name) for file in self.get_outputs()} if self.inplace else {}


class BuildWheel(bdist_wheel):
    """The libraries are for one platform and for any Python: they know nothing of its interface."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("seqkit.lstm.native.lib", [])],  # its name only says that there is something to compile
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": BuildWheel},
)
