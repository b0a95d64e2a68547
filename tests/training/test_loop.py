"""The loop: accumulation, schedules, averaging, best weights, divergence, interruption and resume."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from seqkit.errors import ConfigError, DataError, DivergenceError, InterruptedRun, RunError
from seqkit.recipe import Recipe
from seqkit.registry import find, load
from seqkit.runs.folder import Run
from seqkit.storage import load_tensors, read_json
from seqkit.training import session
from seqkit.training.log import read_log
from seqkit.training.loop import Trainer
from seqkit.training.seeds import stream_seed

TrainToy = Callable[..., Run]
QUIET = Console(quiet=True)
EVERYTHING = {
    "training.epochs": "4",
    "training.batch_examples": "4",
    "training.accumulate": "2",
    "training.schedule": "plateau",
    "training.plateau_patience": "0",
    "training.ema_decay": "0.9",
    "training.keep_best": "3",
    "training.evaluate_steps": "3",
    "training.warmup_steps": "5",
}


def test_a_run_learns_and_leaves_a_whole_folder(train_toy: TrainToy) -> None:
    run = train_toy(overrides={"training.epochs": "20"})
    names = {path.name for path in run.path.iterdir()}
    assert names >= {"run.json", "config.yaml", "weights.safetensors", "data.json", "metrics.jsonl", "results.json"}
    assert (run.path / "recipe" / "recipe.py").is_file()
    assert (run.plots / "curves.png").stat().st_size > 10_000
    assert read_json(run.path / "run.json")["state"] == "finished"
    result = read_json(run.path / "results.json")["validation"]
    assert result["metrics"]["accuracy"] > 0.9
    low, high = result["interval"]["accuracy"]
    assert low <= result["metrics"]["accuracy"] <= high
    losses = [line["loss"] for line in read_log(run.log) if line["kind"] == "train"]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


POLYAK = {
    "training.epochs": "6",
    "training.optimizer": "sgd",
    "training.momentum": "0",
    "training.learning_rate": "3",
    "training.average_patience": "0",
    "training.evaluate_steps": "2",
}


def test_bfloat16_trains_too_and_leaves_float32_weights(train_toy: TrainToy) -> None:
    exact, rounded = train_toy("exact"), train_toy("rounded", {"training.precision": "bf16"})
    weights = load_tensors(rounded.weights)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    for name, tensor in load_tensors(exact.weights).items():
        torch.testing.assert_close(weights[name], tensor, rtol=0.1, atol=0.05)
        assert not torch.equal(weights[name], tensor)
    assert train_toy("again").weights.read_bytes() == exact.weights.read_bytes()


def test_same_seed_same_bits_other_seed_other_weights(train_toy: TrainToy) -> None:
    first, second, other = train_toy("a"), train_toy("b"), train_toy("c", {"training.seed": "1"})
    assert first.log.read_bytes() == second.log.read_bytes()
    assert first.weights.read_bytes() == second.weights.read_bytes()
    assert first.weights.read_bytes() != other.weights.read_bytes()


def test_workers_give_the_same_bits(train_toy: TrainToy) -> None:
    assert train_toy("a").log.read_bytes() == train_toy("b", {"training.workers": "2"}).log.read_bytes()


def test_workers_send_batches_of_a_recipe_that_was_loaded_from_two_folders(train_toy: TrainToy, tmp_path: Path) -> None:
    """A copy with the same code must not take the place of the first one's classes, or they could not be pickled."""
    toy = Path(__file__).parents[1] / "toy"
    first = load(find(str(toy))[0])
    copy = load(find(shutil.copytree(toy, tmp_path / "copies" / "toy").as_posix())[0])
    assert copy is not first
    for recipe in (first, copy):
        assert vars(sys.modules[recipe.__module__])[recipe.__name__] is recipe
    assert train_toy("a", {"training.workers": "1"}).log.stat().st_size > 0


def test_accumulated_batches_equal_one_big_batch(train_toy: TrainToy) -> None:
    """Uneven ones too: 60 examples in batches of 8, two to a step, against batches of 16."""
    settings = {"dropout": "0", "noise": "0", "training.epochs": "1", "training.optimizer": "sgd"}
    small = train_toy("small", {**settings, "training.batch_examples": "60"})
    whole = train_toy("whole", {**settings, "training.batch_examples": "7", "training.accumulate": "9"})
    small_weights, whole_weights = load_tensors(small.weights), load_tensors(whole.weights)
    for name, tensor in small_weights.items():
        torch.testing.assert_close(tensor, whole_weights[name], rtol=1e-5, atol=1e-7)


LAST = {
    "data.validation": "false",
    "training.choose": "last",
    "training.epochs": "4",
    "training.ema_decay": "0.9",
    "training.batch_examples": "8",
}


@pytest.mark.parametrize("settings", [EVERYTHING, POLYAK, LAST], ids=["everything", "polyak", "last"])
@pytest.mark.parametrize("stop_at", [1, 4, 7, 12])
def test_interrupted_and_resumed_equals_uninterrupted(
    train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, settings: dict[str, str]
) -> None:
    whole = train_toy("whole", settings)
    _interrupt(monkeypatch, at_step=stop_at)
    with pytest.raises(InterruptedRun) as caught:
        train_toy("cut", settings)
    assert caught.value.exit_code == 130
    monkeypatch.undo()
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as log:
        log.write('{"kind": "train", "step": 99')  # what a crash after the checkpoint leaves in the log
    run, _ = session.resume(tmp_path / "cut", recipe_folder=str(Path(__file__).parents[1] / "toy"), console=QUIET)
    assert run.log.read_bytes() == whole.log.read_bytes()
    assert run.weights.read_bytes() == whole.weights.read_bytes()
    assert [path.name for path in sorted(run.checkpoints.iterdir())] != []


def test_checkpoints_between_evaluations(train_toy: TrainToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash that nobody could prepare for costs at most the steps since the last checkpoint."""
    settings = {"training.checkpoint_steps": "2", "training.epochs": "2", "training.batch_examples": "8"}
    whole = train_toy("whole", settings)
    crash = RuntimeError("the power went")
    original = Trainer._step
    steps: list[int] = []

    def step(self: Trainer, group: Any) -> None:
        original(self, group)
        steps.append(self.position.step)
        if self.position.step == 5:
            raise crash

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(RuntimeError, match="the power went"):
        train_toy("cut", settings)
    monkeypatch.setattr(Trainer, "_step", original)
    seen = _steps_of_resume(tmp_path / "cut", monkeypatch)
    assert (steps[-1], seen[0]) == (5, 5)  # from the checkpoint of step 4, step 5 is made again
    run = Run.open(tmp_path / "cut")
    assert run.log.read_bytes() == whole.log.read_bytes()
    assert run.weights.read_bytes() == whole.weights.read_bytes()


def _steps_of_resume(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Resume a run of the toy; returns the numbers of the steps that were made."""
    original = Trainer._step
    made: list[int] = []

    def step(self: Trainer, group: Any) -> None:
        original(self, group)
        made.append(self.position.step)

    monkeypatch.setattr(Trainer, "_step", step)
    session.resume(path, recipe_folder=str(Path(__file__).parents[1] / "toy"), console=QUIET)
    return made


def _interrupt(monkeypatch: pytest.MonkeyPatch, at_step: int) -> None:
    """Raise SIGINT's flag after a step, as the handler would."""
    original = Trainer._step

    def step(self: Trainer, group: Any) -> None:
        original(self, group)
        if self.position.step == at_step:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "_step", step)


def test_a_finished_run_is_not_resumed_and_a_taken_folder_not_overwritten(train_toy: TrainToy) -> None:
    run = train_toy()
    with pytest.raises(RunError, match="has finished"):
        session.resume(run.path, recipe_folder=None, console=QUIET)
    with pytest.raises(RunError, match="exists already"):
        train_toy()
    assert train_toy(overwrite=True, overrides={"training.seed": "3"}).info["seed"] == 3


def test_overwrite_never_removes_what_is_not_a_run(train_toy: TrainToy, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="not a run folder"):
        train_toy(overwrite=True)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "years of work"


def test_changed_data_is_not_resumed(
    train_toy: TrainToy, toy: Callable[..., Recipe[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupt(monkeypatch, at_step=2)
    with pytest.raises(InterruptedRun):
        train_toy("cut")
    monkeypatch.undo()
    config = tmp_path / "cut" / "config.yaml"
    config.write_text(config.read_text().replace("examples: 60", "examples: 61"))
    with pytest.raises(RunError, match="train data changed"):
        session.resume(tmp_path / "cut", recipe_folder=str(Path(__file__).parents[1] / "toy"), console=QUIET)


def test_a_locked_run_is_not_trained_twice(train_toy: TrainToy) -> None:
    run = train_toy()
    run.save(state="training")
    folder = str(Path(__file__).parents[1] / "toy")
    with run.lock(), pytest.raises(RunError, match="another process"):
        session.resume(run.path, recipe_folder=folder, console=QUIET)


def test_non_finite_batches_are_skipped_and_counted(train_toy: TrainToy) -> None:
    run = train_toy(overrides={"data.poison": "1", "training.epochs": "2", "noise": "0"})
    skipped = [line for line in read_log(run.log) if line["kind"] == "skipped"]
    assert len(skipped) == 2
    assert all("train:0" in line["places"] for line in skipped)
    assert run.info["skipped_batches"] == 2
    assert all(tensor.isfinite().all() for tensor in load_tensors(run.weights).values())


def test_past_the_limit_training_stops_and_names_the_examples(train_toy: TrainToy) -> None:
    with pytest.raises(DivergenceError, match=r"train:\d"):
        train_toy(overrides={"data.poison": "60", "training.max_skipped": "2"})


def test_early_stopping_and_best_weights(train_toy: TrainToy) -> None:
    run = train_toy(overrides={"training.epochs": "50", "training.early_stopping": "2", "training.keep_best": "2"})
    evaluations = [line for line in read_log(run.log) if line["kind"] == "validation"]
    assert len(evaluations) < 50
    values = [line["accuracy"] for line in evaluations]
    assert max(values) not in values[-2:] or values.index(max(values)) < len(values) - 2
    kept = {int(path.stem.removeprefix("best-")) for path in run.checkpoints.glob("best-*")}
    by_value = sorted(evaluations, key=lambda line: -line["accuracy"])[:2]
    assert len(kept) == 2
    assert {line["accuracy"] for line in evaluations if line["step"] in kept} <= {line["accuracy"] for line in by_value}


def test_final_weights_are_the_average_of_the_best(train_toy: TrainToy) -> None:
    run = train_toy(overrides={"training.epochs": "6", "training.keep_best": "3"})
    kept = [load_tensors(path) for path in run.checkpoints.glob("best-*")]
    assert len(kept) == 3
    for name, tensor in load_tensors(run.weights).items():
        torch.testing.assert_close(tensor, torch.stack([weights[name] for weights in kept]).mean(dim=0))


def test_the_last_weights_are_kept_where_they_are_chosen(train_toy: TrainToy) -> None:
    seen = train_toy("seen", {**LAST, "data.validation": "true"})
    assert "validation" in read_json(seen.path / "results.json")
    assert [line["kind"] for line in read_log(seen.log)].count("validation") == 4
    unseen = train_toy("unseen", LAST)
    assert not (unseen.path / "results.json").exists()
    assert "validation" not in {line["kind"] for line in read_log(unseen.log)}
    assert (unseen.plots / "curves.png").stat().st_size > 10_000
    # What validation would say changes nothing, and the averaged weights are not those of the optimizer.
    assert unseen.weights.read_bytes() == seen.weights.read_bytes()
    plain = train_toy("plain", {**LAST, "training.ema_decay": "0"})
    assert plain.weights.read_bytes() != unseen.weights.read_bytes()


def test_without_validation_there_is_no_best(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no example to use in the validation split.*choose=last") as caught:
        train_toy("best", {"data.validation": "false"})
    assert caught.value.exit_code == 2
    assert not (tmp_path / "best").exists()
    for name, value in {"early_stopping": "2", "keep_best": "2", "schedule": "plateau"}.items():
        with pytest.raises(ConfigError, match=f"{name}.* does not go with choose=last"):
            train_toy("last", {"training.choose": "last", f"training.{name}": value})


def test_an_unknown_metric_is_an_error_before_training(train_toy: TrainToy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.metric=f2: this recipe measures accuracy, loss"):
        train_toy("wrong", {"training.metric": "f2"})
    assert not (tmp_path / "wrong").exists()
    assert (
        "loss"
        in read_json(train_toy("right", {"training.metric": "loss"}).path / "results.json")["validation"]["metrics"]
    )


def test_clipping_bounds_the_step(train_toy: TrainToy) -> None:
    run = train_toy(overrides={"training.optimizer": "sgd", "training.momentum": "0", "training.clip_norm": "1e-9"})
    start = train_toy("start", {"training.max_steps": "1", "training.learning_rate": "1e-12"})
    for name, tensor in load_tensors(run.weights).items():
        torch.testing.assert_close(tensor, load_tensors(start.weights)[name])
    assert max(line["grad_norm"] for line in read_log(run.log) if line["kind"] == "train") > 1e-3


def test_averaging_begins_when_validation_stalls(train_toy: TrainToy) -> None:
    """With a learning rate far too high validation stalls; the mean of the steps is another model than the last."""
    plain = train_toy("plain", {**POLYAK, "training.average_patience": "none"})
    averaged = train_toy("averaged", POLYAK)
    first, second = read_log(plain.log), read_log(averaged.log)
    accuracies = [line["accuracy"] for line in first if line["kind"] == "validation"]
    stall = next(n for n in range(1, len(accuracies)) if accuracies[n] <= max(accuracies[:n]))
    both = [[line for line in log if line["kind"] == "validation"][: stall + 1] for log in (first, second)]
    assert both[0] == both[1]
    assert [line for line in first if line["kind"] == "train"] == [line for line in second if line["kind"] == "train"]
    assert first != second


def test_streams_are_keyed_and_differ() -> None:
    seeds = {stream_seed(s, purpose, k) for s in range(3) for purpose in ("model", "init") for k in range(3)}
    assert len(seeds) == 18
    assert stream_seed(1, "model", 2) == stream_seed(1, "model", 2)


def test_the_log_is_plain_json_without_times(train_toy: TrainToy) -> None:
    lines = [json.loads(line) for line in train_toy().log.read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"train", "validation"}
    assert set(lines[0]) == {"kind", "step", "epoch", "tokens", "loss", "grad_norm", "learning_rate"}
