"""The processes that `benchmark_translation.py` measures: started side by side, asked in turn.

Each has its own Python, the same number of threads, and the same setting of GNU OpenMP, whose waiting threads would
else spin and slow the side that is asked next.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from seqkit.errors import SeqkitError
from tools.benchmark_report import tell

SPIN = "5000"  # what the command line of seqkit sets GOMP_SPINCOUNT to
_SHOWN = 12  # lines of a log


@dataclass
class Worker:
    """A process that stands ready.

    Attributes:
        name: of its side.
        log: what it writes besides its answers.
        told: what it said when it was ready.
    """

    name: str
    process: subprocess.Popen[str]
    log: Path
    told: dict[str, Any]

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer. Raises SeqkitError where it ended instead."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return self.read()  # it is gone: this raises, with what it said last
        return self.read()

    def read(self) -> dict[str, Any]:
        """Its next message. Raises SeqkitError where it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:]
            raise SeqkitError(
                f"{self.name} ended with exit code {code} before it answered. It said last:\n" + "\n".join(last)
            )
        message: dict[str, Any] = json.loads(line)
        return message


def environment(threads: int) -> dict[str, str]:
    """The environment of a process that is measured."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": SPIN}


@contextmanager
def workers(commands: Mapping[str, list[str]], threads: int, logs: Path) -> Iterator[dict[str, Worker]]:
    """A process for each side, loaded one after another; all end with the body.

    Raises:
        SeqkitError: one ended before it was ready.
    """
    with ExitStack() as stack:
        ready = {}
        for number, (name, command) in enumerate(commands.items()):
            tell(f"{name}: loading")
            log = logs / f"{number}.log"
            ready[name] = stack.enter_context(_worker(name, command, threads, log))
        yield ready


@contextmanager
def _worker(name: str, command: list[str], threads: int, log: Path) -> Iterator[Worker]:
    with log.open("w", encoding="utf-8") as file:
        process = _start(command, threads, file)
        try:
            worker = Worker(name, process, log, {})
            worker.told = worker.read()
            yield worker
        finally:
            # Killed, not asked to end: a process may be in the midst of a round, and keeps nothing.
            process.kill()
            process.communicate()


def _start(command: list[str], threads: int, log: IO[str]) -> subprocess.Popen[str]:
    try:
        # In a session of their own: an interrupt from the keyboard is the tool's to answer.
        return subprocess.Popen(
            command,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
    except OSError as error:
        raise SeqkitError(f"{command[0]} cannot be started: {error.strerror}.") from error


def same_work(told: Mapping[str, Mapping[str, Any]], extra_rows: Mapping[str, int]) -> None:
    """See that all sides hold the same data by their own count, and that each runs on the threads asked for.

    `extra_rows` says how many rows a side's vocabulary has besides seqkit's. Raises SeqkitError where they differ.
    """
    first, *others = told
    for name in others:
        for key in ("sentences", "source_tokens", "target_tokens", "threads"):
            if key in told[first] and told[first][key] != told[name].get(key):
                raise SeqkitError(
                    f"{first} and {name} do not do the same: {key} is {told[first][key]} and {told[name].get(key)}."
                )
        rows = told[name]["vocabulary"] - extra_rows.get(name, 0)
        if rows != told[first]["vocabulary"]:
            raise SeqkitError(
                f"{first} and {name} have vocabularies of {told[first]['vocabulary']} and {rows} pieces and signs.",
                hint="Train both on the same pieces.",
            )
