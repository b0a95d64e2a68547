"""What the command line sets up before a command runs."""

from __future__ import annotations

import os

import pytest

from seqkit.cli.app import share_cores


def test_threads_that_wait_go_to_sleep_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == "5000"


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_what_the_user_set_stands(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv(name, value)
    share_cores()
    assert {key: os.environ[key] for key in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if key in os.environ} == {name: value}
