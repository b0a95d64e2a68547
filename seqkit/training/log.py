"""The metrics log: one JSON object a line, for each step and each evaluation; TensorBoard beside it when asked.

It holds no times, so that an interrupted and resumed training writes the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from seqkit.errors import ConfigError
from seqkit.storage import disk_errors


class MetricsLog:
    """Appends to a run's metrics.jsonl. Use it as a context manager."""

    def __init__(self, path: Path, *, start: int = 0, tensorboard: Path | None = None) -> None:
        """Open the log and cut it to `start` bytes: what a crash wrote after the last checkpoint is written anew."""
        self.path = path
        with disk_errors(path):
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.truncate(start)
            self._file.seek(start)
        self._board = _writer(tensorboard) if tensorboard is not None else None

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append a line; numbers also go to TensorBoard as `kind/name`."""
        line = json.dumps({"kind": kind, "step": step, **values}, ensure_ascii=False)
        with disk_errors(self.path):
            self._file.write(line.encode() + b"\n")
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def flush(self) -> int:
        """Bring everything to the disk; returns the log's length in bytes."""
        with disk_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())  # a checkpoint that is written next names this length
        if self._board is not None:
            self._board.flush()
        return self._file.tell()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()
        with disk_errors(self.path):
            self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The log's lines as objects; a half-written last line is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            ["training.tensorboard=true: TensorBoard is not installed. Install it: pip install 'seqkit[tensorboard]'."]
        ) from error
    return SummaryWriter(str(folder))
