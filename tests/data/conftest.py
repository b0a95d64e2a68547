"""What the tests of the data room share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.data.sounds import write_sounds


@pytest.fixture
def examples(tmp_path: Path) -> list[dict[str, Any]]:
    """Sounds."""
    return write_sounds(tmp_path / "sounds")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache is; it is made by the first who needs it."""
    monkeypatch.setenv("SEQKIT_CACHE", str(tmp_path / "deep" / "cache"))
    monkeypatch.delenv("SEQKIT_CACHE_SIZE", raising=False)
    return tmp_path / "deep" / "cache"
