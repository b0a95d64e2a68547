"""What tests of several rooms share."""

from __future__ import annotations

import os

# Before torch is loaded: tests work on tiny tensors, where a second thread only costs; and none reaches for a network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from seqkit.recipe import Recipe
from seqkit.runs.folder import Run

TOY = Path(__file__).parent / "toy"


@pytest.fixture
def toy() -> Callable[..., Recipe[Any]]:
    """Make the toy recipe, with overrides such as `{"training.epochs": "2"}`."""
    from seqkit.cli.train import configure

    return lambda overrides=None: configure(str(TOY), [f"{k}={v}" for k, v in (overrides or {}).items()])[2]


@pytest.fixture
def train_toy(toy: Callable[..., Recipe[Any]], tmp_path: Path) -> Callable[..., Run]:
    """Train the toy recipe into `tmp_path / name`."""
    from seqkit.registry import find
    from seqkit.training.session import train

    def run(name: str = "run", overrides: dict[str, str] | None = None, **options: Any) -> Run:
        settings: dict[str, Any] = {"preset": "demo", "overwrite": False, "init_from": None, **options}
        console = Console(stderr=True, quiet=True)
        return train(find(str(TOY))[0], toy(overrides), tmp_path / name, console=console, **settings)

    return run


@pytest.fixture(scope="session")
def tones_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of sounds in which each letter is a tone."""
    from tests import tones

    return tones.write_manifest(tmp_path_factory.mktemp("tones"), tones.texts(24))


@pytest.fixture(scope="session")
def speech_runs(tmp_path_factory: pytest.TempPathFactory, tones_manifest: Path) -> dict[str, Path]:
    """Runs of the speech recipe: "both" reads in both directions, "live" can follow a stream."""
    from seqkit.cli.train import configure
    from seqkit.training.session import train
    from tests import tones

    folder = tmp_path_factory.mktemp("speech")
    for name, more in (("both", ()), ("live", tones.LIVE)):
        source, preset, recipe = configure("speech", [*tones.settings(tones_manifest), *more])
        console = Console(quiet=True)
        train(source, recipe, folder / name, preset=preset, overwrite=False, init_from=None, console=console)
    return {name: folder / name for name in ("both", "live")}


@pytest.fixture(scope="session")
def action_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos with a sub-folder for each action."""
    from tests import spots

    return spots.write_folders(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def action_runs(tmp_path_factory: pytest.TempPathFactory, action_clips: Path) -> dict[str, Path]:
    """Runs of the action recipe: "pool" reads clips in both directions, "steps" can carry its state."""
    from seqkit.cli.train import configure
    from seqkit.training.session import train
    from tests import spots

    folder = tmp_path_factory.mktemp("action")
    for name, more in (("pool", ()), ("steps", spots.STEPS)):
        source, preset, recipe = configure("action", [f"data.path={action_clips}", *spots.SETTINGS, *more])
        console = Console(quiet=True)
        train(source, recipe, folder / name, preset=preset, overwrite=False, init_from=None, console=console)
    return {name: folder / name for name in ("pool", "steps")}
