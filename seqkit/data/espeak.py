"""Speech made offline by espeak-ng, which runs as a program of its own.

espeak-ng is under the GNU General Public License. This module loads nothing of it: it starts the program
espeak_worker.py, which does, gives it jobs and reads the sounds that it writes.
"""

from __future__ import annotations

import importlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqkit.data import espeak_worker
from seqkit.errors import DataError

Job = Mapping[str, str | int]
"""What is to be said and how: "text", "voice", "seed", and any of "rate", "pitch", "range" and "gap"."""

_PATIENCE = 300.0  # seconds for an answer; a hundred short sentences take about one


class Voices(NamedTuple):
    """Where espeak-ng is: paths of its library and of the folder with its voices."""

    library: str
    data: str


def find_voices() -> Voices:
    """Where espeak-ng is. Raises DataError where the package that has it is not installed."""
    try:
        package = importlib.import_module("espeakng_loader")  # it says where things are, and loads nothing
    except ImportError as error:
        raise DataError(
            "The demo corpus of speech needs the package espeakng-loader, which is not installed.",
            hint="Run: pip install 'seqkit[demo]'",
        ) from error
    try:
        return Voices(package.get_library_path(), package.get_data_path())
    except RuntimeError as error:
        raise _failure(str(error)) from error


def speak(jobs: Sequence[Job], voices: Voices) -> tuple[int, list[np.ndarray]]:
    """The sample rate in Hz, and samples (N,) int16 for each job; the same ones for the same list of jobs.

    How it says a thing hangs a little on what it has said before in the list. Raises DataError for a voice that is not
    there, and where the program fails, dies or does not answer.
    """
    command = [sys.executable, "-I", "-S", str(Path(espeak_worker.__file__)), *voices]
    given = "".join(f"{json.dumps(job)}\n" for job in jobs).encode()
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise _failure(f"it did not answer within {_PATIENCE:g} s") from error
    except OSError as error:
        raise _failure(f"it cannot be started: {error.strerror or error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise _failure(said[-1] if said else f"it ended with {ended}")
    rate, *sounds = _parsed(done.stdout)
    if len(sounds) != len(jobs):
        raise _failure(f"{len(sounds)} of {len(jobs)} sounds came")
    return int.from_bytes(rate, "little"), [np.frombuffer(sound, dtype="<i2") for sound in sounds]


def _failure(reason: str) -> DataError:
    hint = "If it is broken, run: pip install --force-reinstall espeakng-loader"
    return DataError(f"espeak-ng cannot speak: {reason}.", hint=hint)


def _parsed(answer: bytes) -> Iterator[bytes]:
    """The program's answer, cut: the rate's four bytes, then each sound's, as far as it is whole."""
    yield answer[:4]
    at = 4
    while at + 4 <= len(answer):
        (size,) = struct.unpack_from("<I", answer, at)
        if at + 4 + size > len(answer):
            return
        yield answer[at + 4 : at + 4 + size]
        at += 4 + size
