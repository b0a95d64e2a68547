"""What the command line's tests share: a way to type a command, and a few trained runs."""

from __future__ import annotations

import csv
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

TOY = Path(__file__).parents[1] / "toy"
SMALL = (
    "tokenizer.kind=word",
    "model.embedding_size=8",
    "model.lstm.hidden_size=8",
    "model.dropout=0",
    "training.learning_rate=0.05",
    "training.epochs=6",
)


@dataclass(frozen=True)
class Result:
    """What a command left behind: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Stderr on one line, wherever it was wrapped."""
        return " ".join(self.err.split())


Command = Callable[..., Result]


@pytest.fixture
def seqkit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Type a command, in this process: `seqkit("train", "sentiment")`."""
    from seqkit.cli.app import main

    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")

    def command(*arguments: object) -> Result:
        capsys.readouterr()
        code: object = 0
        with monkeypatch.context() as patch, warnings.catch_warnings():
            patch.setattr(sys, "argv", ["seqkit", *map(str, arguments)])
            patch.setattr(warnings, "showwarning", warnings.showwarning)
            try:
                main()
            except SystemExit as stop:
                code = stop.code
        out, err = capsys.readouterr()
        assert code is None or isinstance(code, int), code
        return Result(code or 0, out, err)

    return command


def write_reviews(path: Path, count: int = 60, seed: int = 0) -> Path:
    """A CSV with the columns review and stars, in which one word decides."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "stars"])
        for number in range(count):
            word, label = (("good", "up"), ("bad", "down"))[number % 2]
            words = [rng.choice(("film", "plot", "the", "a", "was", "it")) for _ in range(rng.randint(1, 9))]
            words.insert(rng.randint(0, len(words)), word)
            writer.writerow([" ".join(words) + f" n{number}", label])
    return path


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own file."""
    return write_reviews(tmp_path_factory.mktemp("reviews") / "mine.csv")


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of the toy recipe: name it with `--recipe`."""
    return _train(str(TOY), ["training.epochs=20"], tmp_path_factory.mktemp("toy") / "run")


@pytest.fixture(scope="session")
def sentiment_runs(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> dict[str, Path]:
    """Trained runs of the sentiment recipe: "a" and "b" differ in the seed, "short" in the tokenizer."""
    folder = tmp_path_factory.mktemp("sentiment")
    own = [f"data.path={reviews}", "data.text=review", "data.label=stars", *SMALL]
    settings = {"a": [], "b": ["training.seed=1"], "short": ["tokenizer.max_length=20", "training.max_steps=2"]}
    return {name: _train("sentiment", [*own, *more], folder / name) for name, more in settings.items()}


@pytest.fixture(scope="session")
def sentiment_run(sentiment_runs: dict[str, Path]) -> Path:
    """A trained run of the sentiment recipe, which reads "good" and "bad"."""
    return sentiment_runs["a"]


def _train(reference: str, overrides: list[str], path: Path) -> Path:
    from seqkit.cli.train import configure
    from seqkit.training.session import train

    source, preset, recipe = configure(reference, overrides)
    console = Console(stderr=True, quiet=True)
    train(source, recipe, path, preset=preset, overwrite=False, init_from=None, console=console)
    return path
