"""The errors that a user can cause and mend: what is wrong, where, and what to do next.

The command line prints them without a traceback and exits with `exit_code`. Anything else that escapes is a fault of
ours: it keeps its traceback and exits with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SeqkitError(Exception):
    """A mistake in what was given. `message` is one sentence that says what is wrong and where; `hint` what to do."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message} {hint}")
        self.message = message
        self.hint = hint


class ConfigError(SeqkitError):
    """One or more wrong keys or values, all collected before this is raised; `problems` holds a sentence for each."""

    def __init__(self, problems: Sequence[str], *, hint: str | None = None) -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = list(problems)


class DataError(SeqkitError):
    """A data file or data set that cannot be used; the message names the file, and the line or column."""


class KernelError(SeqkitError, ValueError):
    """An LSTM kernel that was asked for by name and cannot serve here; also a ValueError, for callers in Python."""


class RecipeError(SeqkitError):
    """A recipe or preset that does not exist, or a recipe folder that cannot be loaded."""


class RunError(SeqkitError):
    """A run folder that is taken, incomplete, foreign or damaged; or a disk that cannot hold it."""


class InputError(SeqkitError):
    """An input of `decode` that cannot be used; other inputs go on."""


class MediaError(InputError):
    """An audio or video file that cannot be read or written; the message names it and says what is wrong with it."""


class DivergenceError(SeqkitError):
    """Too many batches with a non-finite loss or gradient; the message names the examples."""


class LostProcess(SeqkitError):  # noqa: N818 (an event, not a mistake)
    """Another process is gone; this one cannot go on alone."""

    exit_code = 1


class InterruptedRun(SeqkitError):  # noqa: N818 (asked for, not a mistake)
    """SIGINT or SIGTERM arrived; the state is saved. `exit_code` is 128 plus the signal's number."""

    def __init__(self, message: str, *, signal_number: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signal_number


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest of `known`, or lists them: what an error about an unknown `name` ends in."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(names)}." if names else "None is known here."
