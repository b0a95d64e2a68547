"""`seqkit train --seeds` and `--folds`: what they take, refuse and print, and that what they print can be typed."""

from __future__ import annotations

import csv
import random
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seqkit.storage import read_json

Command = Callable[..., Any]
TOY = Path(__file__).parents[1] / "toy"
BLINK = ("training.epochs=1", "training.max_steps=1")
SMALL = (
    "tokenizer.kind=word",
    "model.embedding_size=8",
    "model.lstm.hidden_size=8",
    "training.learning_rate=0.05",
    "training.epochs=2",
)


@pytest.fixture(scope="module", autouse=True)
def _nothing_drawn() -> Iterator[None]:
    """Pictures take most of a small run's time, and are not looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
        yield


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test types its commands in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> tuple[str, ...]:
    """The settings of a small run on a file of reviews by three people."""
    rng = random.Random(0)
    with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "who"])
        for number in range(60):
            word, label = (("good", "up"), ("bad", "down"))[number % 2]
            words = [rng.choice(("film", "plot", "the", "a", "was", "it")) for _ in range(rng.randint(1, 9))]
            writer.writerow([" ".join([*words, word, f"n{number}"]), label, ("ann", "bob", "c d")[number // 2 % 3]])
    return ("sentiment", "data.path=mine.csv", *SMALL)


def test_seeds_end_in_a_table_and_in_commands_that_can_be_typed(seqkit: Command, own: tuple[str, ...]) -> None:
    result = seqkit("train", *own, "--seeds", 3, "--seed", 4)
    assert result.code == 0, result.err
    *table, evaluate, decode = result.out.splitlines()
    assert table[0].startswith("validation, 3 of 3 runs; std: sample standard deviation over runs (n - 1)")
    assert [line.split()[:1] for line in table[1:]] == [[name] if name else [] for name in (
        "run", "seed-4", "seed-5", "seed-6", "mean", "std", "min", "max", ""
    )]  # fmt: skip
    parent = "runs/sentiment-own-seeds"
    assert evaluate == f"seqkit eval {parent}/seed-4"
    assert decode.endswith(f"--ensemble {parent}/seed-5 --ensemble {parent}/seed-6")
    for line in (evaluate, decode):
        assert seqkit(*shlex.split(line)[1:]).code == 0
    again = seqkit("train", "--resume", parent)  # nothing is left to do, so it is summarised again
    assert again.code == 0
    assert again.out == result.out
    assert "run 2 of 3: seed-5 is trained" in again.said


def test_folds_are_measured_on_the_group_that_they_did_not_see(seqkit: Command, own: tuple[str, ...]) -> None:
    result = seqkit("train", *own, "--folds", "who", "--out", "by who")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0].startswith("test (the group that a run was not trained on), 3 of 3 runs")
    assert "c d" in result.out
    evaluate, decode = map(shlex.split, result.out.splitlines()[-2:])
    assert "--ensemble" not in decode  # each fold has a vocabulary of its own
    run = Path(evaluate[-1])
    assert run == Path("by who/fold-ann")
    recorded = read_json(run / "results.json")["test"]
    assert recorded["examples"] == 20
    assert seqkit(*evaluate[1:]).code == 0
    again = read_json(run / "results.json")["test"]
    assert {**again, "seconds": 0} == {**recorded, "seconds": 0}
    # The same run, made alone.
    alone = seqkit("train", *own, "data.held_out_column=who", "data.held_out_value=ann", "--out", "alone")
    assert alone.code == 0, alone.err
    assert Path("alone/weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    # A fold that was killed before it was measured is measured.
    (run / "results.json").unlink()
    (run / "results.json").write_text(Path("alone/results.json").read_text())
    assert "test" not in read_json(run / "results.json")
    assert seqkit("train", "--resume", "by who").out == result.out
    assert read_json(run / "results.json")["test"]["metrics"] == recorded["metrics"]


def test_folds_with_seeds_suggest_an_ensemble_within_a_fold(seqkit: Command, own: tuple[str, ...]) -> None:
    result = seqkit("train", *own, *BLINK, "--folds", "who", "--seeds", 2, "--dry-run")
    assert result.code == 0, result.err
    assert "6 runs would be trained, of which this was the first: runs/sentiment-own-folds/fold-ann-seed-0" in (
        result.out
    )
    assert not Path("runs").exists()
    result = seqkit(
        "train", *own[:1], "data.path=mine.csv", *SMALL, "training.max_steps=1", "--folds", "who", "--seeds=2"
    )
    assert result.code == 0, result.err
    decode = shlex.split(result.out.splitlines()[-1])
    assert [part for part in decode if "fold-" in part] == [
        f"runs/sentiment-own-folds/fold-ann-seed-{seed}" for seed in (0, 1)
    ]
    assert seqkit(*decode[1:]).code == 0


def test_a_test_file_gives_way_to_the_folds_and_a_validation_file_stays(
    seqkit: Command, own: tuple[str, ...], tmp_path: Path
) -> None:
    lines = (tmp_path / "mine.csv").read_text().splitlines()
    (tmp_path / "dev.csv").write_text("\n".join([lines[0], *lines[1:13]]))
    named = ("data.test=nowhere.csv", "data.validation=dev.csv")
    result = seqkit("train", *own, *BLINK, *named, "--folds", "who", "--dry-run")
    assert result.code == 0, result.err
    assert "the test file nowhere.csv is not read" in result.said
    assert "validation: 4 left out: who 'ann', which is held out" in result.said


def test_a_recipe_of_ones_own_and_seeds_of_one(seqkit: Command, toy_run: Path) -> None:
    result = seqkit("train", TOY, *BLINK, "--seeds", 1, "--out", "one", "--init-from", toy_run)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-2:] == [
        f"seqkit eval one/seed-0 --recipe {TOY}",
        f"seqkit decode one/seed-0 - --recipe {TOY}",
    ]
    assert f"from {toy_run}: took" in result.said
    refused = seqkit("train", "--resume", "one")
    assert refused.code == 2
    assert "--recipe" in refused.said
    assert seqkit("train", "--resume", "one", "--recipe", TOY).out == result.out


def test_runs_that_diverge_end_in_exit_code_2(seqkit: Command) -> None:
    result = seqkit("train", TOY, "data.poison=60", "--seeds", 2, "--out", "parent")
    assert result.code == 2
    assert "2 of 2 runs failed: seed-0, seed-1." in result.said
    assert "seqkit eval" not in result.out
    assert "seed-1 failed: " in result.out
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*BLINK, "--seeds", 0), "--seeds"),
        ((*BLINK, "--folds", "whom"), "there is no column 'whom'. Columns there: text, label, who"),
        ((*BLINK, "--folds", "label"), "with the group 'up' held out"),
        (("data.held_out_value=ann",), "Set held_out_column"),
        (("data.held_out_column=who",), "which group? Set data.held_out_value. Groups there: ann (20), bob (20)"),
        (("data.held_out_column=who", "data.held_out_value=anna"), "no example has the who 'anna'"),
        (("--seeds", 2, "--out", "mine.csv"), "mine.csv exists already"),
        (("--seeds", 2, "--out", "mine.csv", "--overwrite"), "has no trials.json"),
        (("--seeds", 2, "data.path=no.csv"), "no.csv does not exist"),
    ],
)
def test_a_mistake_is_said_before_anything_is_trained(
    seqkit: Command, own: tuple[str, ...], arguments: tuple[object, ...], words: str
) -> None:
    result = seqkit("train", *own, *arguments)
    assert result.code == 2
    assert words in result.said
    assert "Traceback" not in result.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("more", [["--seeds", "2"], ["--folds", "who"]])
def test_resume_takes_neither_seeds_nor_folds(seqkit: Command, more: list[str]) -> None:
    result = seqkit("train", "--resume", "a", *more)
    assert result.code == 2
    assert "--resume a takes no recipe" in result.said


def test_a_parent_is_no_run_and_a_run_no_parent(seqkit: Command) -> None:
    assert seqkit("train", TOY, *BLINK, "--out", "run").code == 0
    refused = seqkit("train", TOY, *BLINK, "--out", "run", "--seeds", 2, "--overwrite")
    assert refused.code == 2
    assert Path("run/weights.safetensors").is_file()
    assert seqkit("train", TOY, *BLINK, "--out", "parent", "--seeds", 1).code == 0
    refused = seqkit("train", TOY, *BLINK, "--out", "parent", "--overwrite")
    assert refused.code == 2
    assert Path("parent/seed-0/weights.safetensors").is_file()
    assert seqkit("train", TOY, *BLINK, "--out", "parent", "--overwrite", "--seeds", 1, "--seed", 3).code == 0
    assert not Path("parent/seed-0").exists()
