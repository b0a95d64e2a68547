"""Hundreds of damaged files: each is read or refused, soon, in bounded memory, and nothing else happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("what", "count"),
    [
        ("audio", 66),
        ("video", 28),
        pytest.param("audio", 500, marks=pytest.mark.slow),
        pytest.param("video", 420, marks=pytest.mark.slow),
    ],
)
def test_damaged_files_are_read_or_refused(what: str, count: int) -> None:
    program = Path(__file__).with_name("mutants.py")
    command = [sys.executable, "-X", "faulthandler", str(program), what, str(count)]
    environment = os.environ | {"PYTHONPATH": str(program.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["unexpected"] == []
    assert sum(found["outcomes"].values()) == count
    assert min(found["outcomes"].get(name, 0) for name in ("read", "warned", "refused")) > 0  # it does damage, not only
    assert found["slowest"][0] < 5.0, found["slowest"]
    assert found["grown_mb"] < 400
