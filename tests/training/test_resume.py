"""Going on with a run: what a crash left behind, what changed meanwhile, and what is then said."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from seqkit.cli.train import configure
from seqkit.errors import InterruptedRun, RunError
from seqkit.registry import find, load
from seqkit.runs.folder import Run
from seqkit.storage import read_json
from seqkit.training import session
from seqkit.training.loop import Trainer
from seqkit.training.workers import settle_worker

TrainToy = Callable[..., Run]
Cut = Callable[..., Run]
TOY = Path(__file__).parents[1] / "toy"
SETTINGS = {
    "training.epochs": "4",
    "training.evaluate_steps": "3",
    "training.checkpoint_steps": "2",
    "training.keep_best": "9",
}


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(session, "save_curves", lambda *_, **__: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing disturbed."""
    source, preset, recipe = configure(str(TOY), [f"{key}={value}" for key, value in SETTINGS.items()])
    path = tmp_path_factory.mktemp("resume") / "whole"
    quiet = Console(quiet=True)
    return session.train(source, recipe, path, preset=preset, overwrite=False, init_from=None, console=quiet)


@pytest.fixture
def cut(train_toy: TrainToy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Run]:
    """The same training, interrupted after a step."""

    def run(at_step: int = 10, overrides: dict[str, str] | None = None) -> Run:
        with monkeypatch.context() as patch:
            _interrupt(patch, at_step)
            with pytest.raises(InterruptedRun):
                train_toy("cut", {**SETTINGS, **(overrides or {})})
        return Run.open(tmp_path / "cut")

    return run


def _interrupt(patch: pytest.MonkeyPatch, at_step: int) -> None:
    original = Trainer._step

    def step(self: Trainer, group: Any) -> None:
        original(self, group)
        if self.position.step == at_step:
            os.kill(os.getpid(), signal.SIGINT)

    patch.setattr(Trainer, "_step", step)


def resume(run: Run) -> tuple[Run, str]:
    """Go on with it; returns the run and what was said."""
    said = io.StringIO()
    resumed, _ = session.resume(run.path, recipe_folder=str(TOY), console=Console(file=said, width=500))
    return resumed, said.getvalue()


def assert_same(run: Run, whole: Run) -> None:
    """The bits of weights, log and kept weights are the same, and nothing else is left over."""
    assert run.weights.read_bytes() == whole.weights.read_bytes()
    assert run.log.read_bytes() == whole.log.read_bytes()
    kept, expected = ({path.name: path.read_bytes() for path in r.checkpoints.glob("best-*")} for r in (run, whole))
    assert kept == expected
    assert len(list(run.checkpoints.glob("state-*"))) == 1
    assert list(run.path.rglob(".partial-*")) == []


def _states(run: Run) -> list[Path]:
    return sorted(run.checkpoints.glob("state-*"), key=lambda path: int(path.name.removeprefix("state-")))


# What a crash left behind --------------------------------------------------------------------------------------------


def _truncate(state: Path) -> None:
    content = (state / "state.safetensors").read_bytes()
    (state / "state.safetensors").write_bytes(content[: len(content) // 2])


def _empty(state: Path) -> None:
    shutil.rmtree(state)
    state.mkdir()


def _rewrite(state: Path) -> None:
    (state / "state.json").write_text('{"$items": [["position", {"$items": [["era", 1]]}]]}')


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "tensors truncated": _truncate,
    "no JSON": lambda state: (state / "state.json").unlink(),
    "empty": _empty,
    "foreign": _rewrite,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(
    cut: Cut, whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
) -> None:
    run = cut(at_step=8)
    older = _states(run)[-1]
    shutil.copytree(older, tmp_path / "older")
    with monkeypatch.context() as patch:
        _interrupt(patch, at_step=13)
        with pytest.raises(InterruptedRun):
            resume(run)
    newer = _states(run)[-1]
    assert newer.name != older.name
    shutil.copytree(tmp_path / "older", older)
    DAMAGE[damage](newer)
    with pytest.warns(UserWarning, match=f"{newer}.* Going on from the checkpoint before it, .*{older.name}"):
        resumed, said = resume(run)
    assert "step 8" in said
    assert_same(resumed, whole)


@pytest.mark.parametrize("damage", DAMAGE)
def test_without_a_whole_checkpoint_it_is_said_what_to_do(cut: Cut, damage: str) -> None:
    run = cut()
    DAMAGE[damage](_states(run)[-1])
    with pytest.raises(RunError, match=f"{_states(run)[-1]}.* No other checkpoint .* --out {run.path} --overwrite"):
        resume(run)
    assert _states(run) != [], "what is damaged may still be mended by hand"


def test_a_checkpoint_of_another_version_is_refused(cut: Cut) -> None:
    run = cut()
    file = _states(run)[-1] / "state.json"
    stored = read_json(file)
    stored["$items"] = [[key, value] for key, value in stored["$items"] if key != "carry"]
    file.write_text(json.dumps(stored))
    with pytest.raises(RunError, match="no 'carry': another version of seqkit wrote it"):
        resume(run)


def test_missing_best_weights_are_found_before_training_goes_on(cut: Cut) -> None:
    run = cut()
    missing = next(run.checkpoints.glob("best-*"))
    missing.unlink()
    with pytest.raises(RunError, match=f"{missing}: cannot be read"):
        resume(run)


def test_what_killed_processes_left_is_cleaned_up(cut: Cut, whole: Run) -> None:
    run = cut()
    state = _states(run)[-1]
    shutil.copytree(state, run.checkpoints / "state-0")
    shutil.copytree(state, run.checkpoints / ".partial-state-99")
    for name in (
        ".partial-weights.safetensors",
        "checkpoints/.partial-best-3.safetensors",
        "plots/.partial-curves.png",
    ):
        (run.path / name).write_bytes(b"half")
    (run.checkpoints / "best-999.safetensors").write_bytes(b"of an evaluation after the checkpoint")
    assert_same(resume(run)[0], whole)


@pytest.mark.parametrize("stage", ["result_record", "save_curves", "save_tensors"])
def test_a_run_that_was_killed_while_it_was_finished_is_finished(
    train_toy: TrainToy, whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session, stage, crash)
        with pytest.raises(KeyboardInterrupt):
            train_toy("cut", SETTINGS)
    run = Run.open(tmp_path / "cut")
    shutil.copytree(_states(run)[-1], run.checkpoints / "state-0")  # as if killed before the older state was removed
    resumed, _ = resume(run)
    assert resumed.info["state"] == "finished"
    assert_same(resumed, whole)
    results = [read_json(r.path / "results.json")["validation"]["metrics"] for r in (resumed, whole)]
    assert results[0] == results[1]


@pytest.mark.parametrize("gone", [[], ["frontend/toy.json"], ["frontend/toy.json", "data.json"]])
def test_before_the_first_checkpoint_there_is_nothing_to_go_on_from(cut: Cut, gone: list[str]) -> None:
    run = cut()
    shutil.rmtree(_states(run)[-1])
    for name in gone:
        (run.path / name).unlink()
    with pytest.raises(RunError, match=f"before its first checkpoint.* --out {run.path} --overwrite"):
        resume(run)


def test_a_log_that_lacks_lines_is_refused(cut: Cut) -> None:
    run = cut()
    content = run.log.read_bytes()
    run.log.write_bytes(content[:-10])
    with pytest.raises(RunError, match=rf"metrics\.jsonl: {len(content) - 10} bytes of the {len(content)}"):
        resume(run)


def test_a_killed_overwrite_can_be_repeated(
    train_toy: TrainToy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_toy("run")
    remove = shutil.rmtree

    def crash(path: Any, *more: Any, **options: Any) -> None:
        remove(path, *more, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crash)
        with pytest.raises(KeyboardInterrupt):
            train_toy("run", overwrite=True)
    assert train_toy("run", overwrite=True).info["state"] == "finished"
    (tmp_path / "begun").mkdir()
    for name in (".lock", ".partial-run.json"):  # as if killed before run.json was there
        (tmp_path / "begun" / name).touch()
    assert train_toy("begun").info["state"] == "finished"


# What changed meanwhile ----------------------------------------------------------------------------------------------


def test_changed_data_is_named_before_anything_else_goes_wrong_with_it(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut()
    run.config_path.write_text(run.config_path.read_text().replace("examples: 60", "examples: 61"))

    def fail(*_: Any) -> None:
        raise AssertionError("changed data was prepared")

    monkeypatch.setattr(load(find(str(TOY))[0]), "prepare", fail)
    with pytest.raises(RunError, match=r"the train data changed since the run was started: made\. Bring the old data"):
        resume(run)


CHANGES: list[tuple[str, Any, str]] = [
    ("threads", 64, "threads 64 then, 1 now"),
    ("torch", "1.0.0", "torch 1.0.0 then, "),
    ("cpu", "Z80", "processor Z80 then, "),
    ("device", "cuda:7", "device cuda:7 then, cpu now"),
]


@pytest.mark.parametrize(("key", "value", "words"), CHANGES)
def test_another_machine_is_said_and_kept_and_the_run_goes_on(cut: Cut, key: str, value: Any, words: str) -> None:
    run = cut()
    now = run.info["environment"]
    run.save(environment={**now, key: value})
    resumed, said = resume(run)
    assert "may differ in the last bits" in said
    assert words in said
    assert resumed.info["state"] == "finished"
    assert resumed.info["resumed_with"] == [now]


def test_the_threads_that_training_uses_are_recorded_and_the_same_machine_is_no_warning(cut: Cut) -> None:
    run = cut(overrides={"training.threads": "2"})
    assert run.info["environment"]["threads"] == 2
    resumed, said = resume(run)
    assert "2 threads" in said
    assert "warning" not in said
    assert "resumed_with" not in resumed.info


# Worker processes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def forked() -> Iterator[Callable[[Callable[[], None]], tuple[int, int]]]:
    """Run a function in a child that then sleeps; returns its id and a pipe that ends when no such child is left."""
    processes: list[int] = []

    def fork(body: Callable[[], None]) -> tuple[int, int]:
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads; this child only waits
            process = os.fork()
        if process == 0:
            os.close(reading)
            body()
            os.write(writing, b"ready")
            time.sleep(60)
            os._exit(0)
        os.close(writing)
        processes.append(process)
        assert os.read(reading, 5) == b"ready"
        return process, reading

    yield fork
    for process in processes:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def test_a_worker_outlives_a_signal_to_the_group_but_not_its_training(
    forked: Callable[[Callable[[], None]], tuple[int, int]],
) -> None:
    """The child here is a training, its child a worker; the pipe ends when both are gone."""

    def training() -> None:
        os.setpgid(0, 0)
        reading, writing = os.pipe()
        worker = os.fork()
        if worker == 0:
            settle_worker(0)
            os.write(writing, b"settled")
            time.sleep(60)
            os._exit(0)
        assert os.read(reading, 7) == b"settled"
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
            os.killpg(0, number)
        time.sleep(0.05)
        if os.waitpid(worker, os.WNOHANG) != (0, 0):
            os._exit(1)  # so that the parent reads no "ready"

    process, pipe = forked(training)
    assert select.select([pipe], [], [], 0)[0] == []
    os.kill(process, signal.SIGKILL)
    assert select.select([pipe], [], [], 5)[0] == [pipe], "the worker lives on"


def test_a_worker_that_is_no_longer_needed_is_ended_by_a_signal() -> None:
    """As torch and multiprocessing do when a training leaves an epoch early; else Python would wait at its exit."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads; this child only waits
        worker = os.fork()
    if worker == 0:
        settle_worker(0)
        os.write(writing, b"settled")
        time.sleep(60)
        os._exit(0)
    assert os.read(reading, 7) == b"settled"
    os.kill(worker, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(worker, 0)[1]) == signal.SIGTERM


def test_a_worker_that_outlives_its_training_does_not_hold_the_run(
    train_toy: TrainToy, forked: Callable[[Callable[[], None]], tuple[int, int]]
) -> None:
    run = train_toy()
    with run.lock():
        forked(lambda: None)
    with run.lock():
        pass
