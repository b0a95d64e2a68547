"""Several runs in one folder: ordinary runs, resumed where they were cut, with a summary of those that are done."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from seqkit.errors import ConfigError, DataError, InterruptedRun, RunError
from seqkit.registry import RecipeSource, find
from seqkit.reporting.summary import RunFigures, Summary, save_summary, spread, summary_table
from seqkit.runs.folder import Run
from seqkit.storage import read_json
from seqkit.training import plans, session, trials
from seqkit.training.plans import Trials, folder_names, plan

TOY = Path(__file__).parents[1] / "toy"
QUIET = Console(quiet=True)
TROUBLE = """

import os
import signal

_collate = Toy.collate


def _troubled(self: Toy, items: Sequence[Item]) -> Batch:
    batch = _collate(self, items)
    if os.environ.get("TOY_STOP") == str(self.config.training.seed):
        os.kill(os.getpid(), signal.SIGINT)
    if os.environ.get("TOY_POISON") == str(self.config.training.seed):
        batch.values.fill_(float("nan"))
    return batch


Toy.collate = _troubled  # type: ignore[method-assign]
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RecipeSource:
    """The toy recipe with two troubles: a run of seed TOY_STOP is interrupted, one of seed TOY_POISON diverges."""
    folder = tmp_path_factory.mktemp("recipe") / "troubled"
    shutil.copytree(TOY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "recipe.py").open("a") as file:
        file.write(TROUBLE)
    return find(str(folder))[0]


@pytest.fixture(scope="module", autouse=True)
def _no_curves() -> Iterator[None]:
    """The pictures of the single runs take most of a toy's time, and are not looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "save_curves", lambda *_, **__: None)
        yield


@pytest.fixture(autouse=True)
def _no_picture(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary's picture is drawn for `three` alone."""
    monkeypatch.setattr(trials, "save_summary", lambda *_: None)


def planned(source: RecipeSource, overrides: list[str] | None = None, **options: Any) -> Trials:
    from seqkit.cli.train import configure

    reference = source.name if source.built_in else str(source.folder)
    _, preset, recipe = configure(reference, overrides or [])
    given = {"seeds": None, "folds": None, "init_from": None, **options}
    return plan(source, recipe, preset=preset, overrides=overrides or [], console=QUIET, **given)


def train(source: RecipeSource, planned: Trials, parent: Path, overwrite: bool = False) -> Summary:
    return trials.train_trials(source, planned, parent, overwrite=overwrite, console=QUIET)


def resume(source: RecipeSource, parent: Path) -> Summary:
    return trials.resume_trials(parent, recipe_folder=str(source.folder), console=QUIET)[1]


@pytest.fixture(scope="module")
def three(source: RecipeSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds, trained without a break."""
    parent = tmp_path_factory.mktemp("three") / "parent"
    train(source, planned(source, seeds=3), parent)
    return parent


def bits(parent: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(parent.glob("*/weights.safetensors"))}


# Seeds ---------------------------------------------------------------------------------------------------------------


def test_each_seed_is_the_run_that_it_would_be_alone(three: Path, train_toy: Callable[..., Run]) -> None:
    assert sorted(bits(three)) == ["seed-0", "seed-1", "seed-2"]
    assert len(set(bits(three).values())) == 3
    alone = train_toy("alone", {"training.seed": "1"})
    assert bits(three)["seed-1"] == alone.weights.read_bytes()
    assert (three / "seed-1" / "metrics.jsonl").read_bytes() == alone.log.read_bytes()


def test_the_first_seed_is_the_configured_one(source: RecipeSource) -> None:
    runs = planned(source, ["training.seed=7"], seeds=2).trials
    assert [(run.folder, run.seed) for run in runs] == [("seed-7", 7), ("seed-8", 8)]


def test_the_summary_is_of_the_validation_part_and_agrees_with_the_runs(three: Path) -> None:
    summary = read_json(three / "summary.json")
    assert summary["split"] == "validation"
    for metric, values in summary["metrics"].items():
        each = [read_json(three / f"seed-{n}" / "results.json")["validation"]["metrics"][metric] for n in range(3)]
        assert values["mean"] == pytest.approx(np.mean(each), abs=1e-12)
        assert values["std"] == pytest.approx(np.std(each, ddof=1), abs=1e-12)
        assert (values["min"], values["max"], values["runs"]) == (min(each), max(each), 3)
    assert (three / "summary.png").read_bytes().startswith(b"\x89PNG")
    assert "test" not in read_json(three / "seed-0" / "results.json")


def test_a_run_that_diverges_stands_in_the_summary_and_the_others_go_on(
    source: RecipeSource, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_POISON", "1")
    parent = tmp_path / "parent"
    summary = train(source, planned(source, seeds=3), parent)
    assert list(summary.failed) == ["seed-1"]
    assert {name: bits(parent)[name] for name in ("seed-0", "seed-2")} == {
        name: bits(three)[name] for name in ("seed-0", "seed-2")
    }
    assert summary.spreads["loss"].runs == 2
    assert "non-finite" in summary_table(summary).splitlines()[-1]
    stored = {run["name"]: run["failed"] for run in read_json(parent / "summary.json")["runs"]}
    assert stored["seed-0"] is None
    assert "non-finite" in stored["seed-1"]
    monkeypatch.delenv("TOY_POISON")
    assert list(resume(source, parent).failed) == ["seed-1"]  # it would fail again


# Going on ------------------------------------------------------------------------------------------------------------


def test_an_interrupted_run_is_resumed_a_finished_one_left_and_a_missing_one_trained(
    source: RecipeSource, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tmp_path / "my parent"
    monkeypatch.setenv("TOY_STOP", "1")
    with pytest.raises(InterruptedRun, match=rf"--resume '{parent}' --recipe") as stopped:
        train(source, planned(source, seeds=3), parent)
    assert stopped.value.exit_code == 130
    assert sorted(path.name for path in parent.iterdir() if path.is_dir()) == ["seed-0", "seed-1"]
    assert [run["examples"] for run in read_json(parent / "summary.json")["runs"]] == [40, None, None]
    finished = (parent / "seed-0" / "run.json").stat().st_mtime_ns
    monkeypatch.delenv("TOY_STOP")
    summary = resume(source, parent)
    assert summary.failed == {}
    assert (parent / "seed-0" / "run.json").stat().st_mtime_ns == finished
    assert bits(parent) == bits(three)
    assert read_json(parent / "summary.json")["metrics"] == read_json(three / "summary.json")["metrics"]


@pytest.mark.parametrize("left", ["no checkpoint", "no run.json", "half a checkpoint", "nothing"])
def test_a_run_that_was_killed_before_its_first_checkpoint_is_started_again(
    source: RecipeSource, three: Path, tmp_path: Path, left: str
) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(three, parent)
    run = parent / "seed-1"
    info = read_json(run / "run.json")
    shutil.rmtree(run)
    if left != "nothing":
        run.mkdir()
        (run / ".lock").touch()
    if left in ("no checkpoint", "half a checkpoint"):
        (run / "run.json").write_text(json.dumps({**info, "state": "training"}))
        for name in ("frontend", "checkpoints", "plots"):
            (run / name).mkdir()
    if left == "half a checkpoint":
        (run / "checkpoints" / ".partial-state-1").mkdir()
    resume(source, parent)
    assert bits(parent) == bits(three)


def test_a_foreign_folder_in_the_place_of_a_run_is_refused_and_kept(
    source: RecipeSource, three: Path, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(three, parent)
    shutil.rmtree(parent / "seed-1")
    (parent / "seed-1").mkdir()
    (parent / "seed-1" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="seed-1 exists already"):
        resume(source, parent)
    assert (parent / "seed-1" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "has format 99"),
        ({"trials": 3}, "not the description of trials"),
        ({"trials": [{"folder": "../seed-0", "seed": 0}]}, "not the description of trials"),
        ({"trials": [{"folder": "..", "seed": 0}]}, "not the description of trials"),
        ({"unknown": 1}, "not the description of trials"),
        ({"recipe": {"name": "toy"}}, "not the description of trials"),
    ],
)
def test_a_damaged_parent_is_one_sentence(
    source: RecipeSource, three: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    (tmp_path / "trials.json").write_text(json.dumps({**read_json(three / "trials.json"), **change}))
    with pytest.raises(RunError, match=words):
        resume(source, tmp_path)


def test_overwrite_replaces_a_parent_and_nothing_else(source: RecipeSource, three: Path, tmp_path: Path) -> None:
    two = planned(source, ["training.epochs=1"], seeds=1)
    other = tmp_path / "other"
    shutil.copytree(three / "seed-0", other)
    parent = tmp_path / "parent"
    shutil.copytree(three, parent)
    with pytest.raises(RunError, match="exists already"):
        train(source, two, parent)
    with pytest.raises(RunError, match=r"has no trials\.json"):
        train(source, two, other, overwrite=True)
    assert (other / "weights.safetensors").is_file()
    train(source, two, parent, overwrite=True)
    assert sorted(bits(parent)) == ["seed-0"]


def test_two_trainings_of_one_parent_are_refused(source: RecipeSource, three: Path) -> None:
    with Run(three, {}).lock(), pytest.raises(RunError, match="another process"):
        resume(source, three)


def test_a_mistake_before_the_first_run_leaves_no_folder(source: RecipeSource, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="measures accuracy"):
        train(source, planned(source, ["training.metric=bleu"], seeds=2), tmp_path / "parent")
    assert not (tmp_path / "parent").exists()


# Folds ---------------------------------------------------------------------------------------------------------------


def write(path: Path, groups: list[str], each: int = 8) -> str:
    rows = [
        (f"{'good' if n % 2 else 'bad'} n{n} {g}", "up" if n % 2 else "down", g) for g in groups for n in range(each)
    ]
    path.write_text("".join(json.dumps(dict(zip(("text", "label", "who"), row, strict=True))) + "\n" for row in rows))
    return str(path)


def folds(path: str, column: str = "who", **options: Any) -> Trials:
    return planned(find("sentiment")[0], [f"data.path={path}"], folds=column, **options)


def test_folds_hold_each_group_out_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = folds(write(tmp_path / "a.jsonl", ["zoe", "adam", "42"]), seeds=2)
    assert [(run.folder, run.seed, run.group) for run in found.trials] == [
        ("fold-zoe-seed-0", 0, "zoe"),
        ("fold-zoe-seed-1", 1, "zoe"),
        ("fold-adam-seed-0", 0, "adam"),
        ("fold-adam-seed-1", 1, "adam"),
        ("fold-42-seed-0", 0, "42"),
        ("fold-42-seed-1", 1, "42"),
    ]
    recipe = found.build(find("sentiment")[0], found.trials[4])
    splits = recipe.load_data()
    assert len(splits["test"]) == 8
    for name, split in splits.items():
        assert {text.split()[-1] for text in split.column("text")} <= ({"42"} if name == "test" else {"zoe", "adam"})


def test_a_held_out_group_has_the_label_names_of_the_training_file(tmp_path: Path) -> None:
    own = [
        f"data.path={write(tmp_path / 'a.jsonl', ['a', 'b', 'c'])}",
        'data.label_names={"up": "good", "down": "bad"}',
        'data.test_label_names={"1": "good", "0": "bad"}',
    ]
    sentiment = find("sentiment")[0]
    found = planned(sentiment, own, folds="who")
    for trial in found.trials:
        test = found.build(sentiment, trial).load_data()["test"]
        assert sorted(test.column("label")) == ["bad"] * 4 + ["good"] * 4


@pytest.mark.parametrize(
    ("groups", "each", "words"),
    [
        (["a"], 20, "every example has the who 'a'"),
        ([f"g{n}" for n in range(101)], 2, "101 groups would be 202 runs"),
        (["big", "b"], 1, "with the group 'big' held out.*too few to cut"),
    ],
)
def test_groups_that_cannot_be_folds(tmp_path: Path, groups: list[str], each: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        folds(write(tmp_path / "a.jsonl", groups, each), seeds=2)


def test_recipes_and_settings_that_cannot_hold_a_group_out(source: RecipeSource, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'troubled' has no data\.held_out_column"):
        planned(source, folds="who")
    both = [f"data.path={write(tmp_path / 'a.jsonl', ['a', 'b'])}", "data.held_out_column=who", "data.held_out_value=a"]
    with pytest.raises(ConfigError, match="give one of them"):
        planned(find("sentiment")[0], both, folds="who")
    with pytest.raises(DataError, match=r"no column 'who'\. Columns there: text, label"):
        planned(find("sentiment")[0], folds="who")


def test_folder_names_are_safe_and_differ() -> None:
    groups = ["plain", "a b", "a/b", "a_b", "A_b", "..", ".", "ünï", "x" * 300, "x" * 301, "-", "fold", "\n", "seed-0"]
    names = folder_names(groups)
    assert names["plain"] == "plain"
    assert names["ünï"] == "ünï"
    assert len({name.casefold() for name in names.values()}) == len(groups)
    for name in names.values():
        assert name == Path(name).name
        assert name not in (".", "..")
        assert len(f"fold-{name}") < 64
        plans.Trial(folder=f"fold-{name}", seed=0)


# The summary ---------------------------------------------------------------------------------------------------------


def test_spread_is_of_a_sample() -> None:
    values = [0.5, 0.75, 0.8]
    found = spread(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-15)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-15)
    assert spread([0.5]).std is None
    endless = spread([1.0, math.inf])
    assert (endless.mean, endless.max) == (math.inf, math.inf)
    assert endless.std is not None
    assert math.isnan(endless.std)


def test_the_table_and_the_picture_of_runs_that_are_done_failed_and_to_come(tmp_path: Path) -> None:
    runs = [
        RunFigures("seed-0", 0, None, 10, {"loss": 1.0, "rate": math.inf}),
        RunFigures("seed-1", 1, failed="it diverged."),
        RunFigures("seed-2", 2),
        RunFigures("seed-3", 3, None, 10, {"loss": 2.0, "rate": 2.0}),
    ]
    table = summary_table(Summary("validation", runs)).splitlines()
    assert table[0].startswith("validation, 2 of 4 runs")
    assert "n - 1" in table[0]
    assert [line.split() for line in table[2:]] == [
        ["seed-0", "10", "1.0000", "inf"],
        ["seed-1", "failed", "-", "-"],
        ["seed-2", "not", "trained", "-", "-"],
        ["seed-3", "10", "2.0000", "2.0000"],
        ["mean", "1.5000", "inf"],
        ["std", "0.7071", "nan"],
        ["min", "1.0000", "2.0000"],
        ["max", "2.0000", "inf"],
        ["seed-1", "failed:", "it", "diverged."],
    ]
    assert save_summary(Summary("validation", runs), tmp_path / "a.png") == tmp_path / "a.png"
    assert save_summary(Summary("validation", runs[1:3]), tmp_path / "b.png") is None
    many = [RunFigures(f"seed-{n}", n, None, 1, {"loss": n / 7}) for n in range(200)]
    assert save_summary(Summary("validation", many), tmp_path / "c.png") is not None
