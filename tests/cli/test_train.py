"""`seqkit train`: what it takes, what it refuses, what it prints where, and how it is interrupted and goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from seqkit.storage import read_json

Command = Callable[..., Any]
TOY = Path(__file__).parents[1] / "toy"
SMALL = (
    "tokenizer.kind=word",
    "model.embedding_size=8",
    "model.lstm.hidden_size=8",
    "training.learning_rate=0.05",
    "training.epochs=4",
)
BLINK = ("training.epochs=1", "training.max_steps=1")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test types its commands in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def test_stdout_holds_the_next_commands_and_stderr_the_rest(seqkit: Command) -> None:
    result = seqkit("train", TOY, *BLINK)
    assert result.code == 0
    own = f" --recipe {TOY}"  # a recipe of the user's own is run only where its folder is named
    assert result.out.splitlines() == [f"seqkit eval runs/toy-demo{own}", f"seqkit decode runs/toy-demo -{own}"]
    for word in ("train", "validation", "accuracy", "parameters", "step 1"):
        assert word in result.said


def test_a_run_folder_is_named_after_recipe_and_preset_and_numbered_when_taken(seqkit: Command) -> None:
    for expected in ("toy-demo", "toy-demo-2"):
        assert f"seqkit eval runs/{expected}" in seqkit("train", TOY, *BLINK).out
    assert sorted(path.name for path in Path("runs").iterdir()) == ["toy-demo", "toy-demo-2"]


@pytest.mark.parametrize("tokenizer", [[], ["tokenizer.kind=unigram"]], ids=["word", "default"])
def test_a_users_own_csv_is_trained_on(seqkit: Command, reviews: Path, tmp_path: Path, tokenizer: list[str]) -> None:
    own = (f"data.path={reviews}", "data.text=review", "data.label=stars")
    result = seqkit("train", "sentiment", *own, *SMALL, *tokenizer)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "sentiment-own"
    assert result.out.splitlines()[0] == "seqkit eval runs/sentiment-own"
    assert read_json(run / "run.json")["preset"] == "own"
    assert read_json(run / "frontend" / "labels.json")["labels"] == ["down", "up"]
    data = read_json(run / "data.json")
    assert {name: part["examples"] for name, part in data["splits"].items()} == {
        "train": 48,
        "validation": 6,
        "test": 6,
    }
    assert data["splits"]["train"]["origin"] == str(reviews)


def test_a_taken_out_is_refused_before_any_work_and_overwrite_replaces_a_run(seqkit: Command, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    assert seqkit("train", TOY, *BLINK, "--out", out, "--seed", 3).code == 0
    before = (out / "weights.safetensors").read_bytes()
    refused = seqkit("train", TOY, *BLINK, "--out", out)
    assert refused.code == 2
    assert refused.out == ""
    assert f"{out} exists already" in refused.said
    assert "--overwrite" in refused.said
    assert (out / "weights.safetensors").read_bytes() == before
    assert seqkit("train", TOY, *BLINK, "--out", out, "--overwrite", "--seed", 4).code == 0
    assert read_json(out / "run.json")["seed"] == 4
    assert (out / "weights.safetensors").read_bytes() != before


def test_seed_is_training_seed_and_both_are_a_contradiction(seqkit: Command, tmp_path: Path) -> None:
    assert seqkit("train", TOY, *BLINK, "--seed", 7, "--out", "a").code == 0
    assert seqkit("train", TOY, *BLINK, "training.seed=7", "--out", "b").code == 0
    assert (tmp_path / "a/weights.safetensors").read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()
    both = seqkit("train", TOY, *BLINK, "--seed", 7, "training.seed=8", "--out", "c")
    assert both.code == 2
    assert "--seed 7 and training.seed=8" in both.said
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "more",
    [
        ["sentiment"],
        ["--out", "b"],
        ["--seed", "1"],
        ["--overwrite"],
        ["--dry-run"],
        ["--init-from", "a"],
    ],
)
def test_resume_takes_nothing_else(seqkit: Command, more: list[str]) -> None:
    result = seqkit("train", *more, "--resume", "a")
    assert result.code == 2
    assert "--resume a takes no recipe" in result.said


@pytest.mark.parametrize(("path", "words"), [("nowhere", "There is no run folder"), ("empty", "not a run folder")])
def test_what_is_not_a_run_is_not_resumed(seqkit: Command, tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    result = seqkit("train", "--resume", path)
    assert result.code == 2
    assert words in result.said


def test_every_wrong_key_and_value_is_reported_at_once_with_its_place_and_the_nearest_name(seqkit: Command) -> None:
    wrong = {
        "modle.dropout=0.1": "Did you mean 'model'?",
        "training.epoch=3": "Did you mean 'epochs'?",
        "model.lstm.hiden_size=3": "Did you mean 'hidden_size'?",
        "training.optimizer=adm": "Did you mean 'adam'?",
        "training.learning_rate=fast": "number",
        "training.clip_norm=-1": "greater than or equal to 0",
    }
    result = seqkit("train", "sentiment", *wrong)
    assert result.code == 2
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == len(wrong)
    for override, hint in wrong.items():
        assert any(override in line and hint in line for line in lines), override
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sentimant"], "Did you mean 'sentiment'?"),
        (["sentiment/dmeo"], "Did you mean 'demo'?"),
        ([f"{TOY}/dmeo"], "Did you mean 'demo'?"),
        (["sentiment", "training.epochs"], "'training.epochs' is not an override"),
        (["sentiment", "--out"], "requires an argument"),
        (["sentiment", "--sed", "1"], "--seed"),
        (["sentiment", "--seed=-1"], "Invalid value for '--seed'"),
        ([], "Which recipe?"),
        (["."], "a folder without a recipe.py"),
        (["sentiment", "data.path=no.csv"], "data.path=no.csv does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_that_helps_and_exit_code_2(
    seqkit: Command, arguments: list[str], words: str
) -> None:
    result = seqkit("train", *arguments)
    assert result.code == 2
    assert words in result.said
    assert result.out == ""
    assert "Traceback" not in result.err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "mine.csv: the file is empty"),
        (b"review,stars\n", "mine.csv: holds no examples"),
        (b"text,stars\ngood,1\n", "mine.csv:1: there is no column 'review'"),
        (b"review,stars\ngood,1\nb\xe4d,0\n", "mine.csv:3: byte 2 of the line (0xe4) is not UTF-8"),
        (b"review,stars\ngood,1\nbad\n", "mine.csv:3: the row has 1 field"),
        (b"review,stars\n" + b"good,1\n" * 30, "every training example has the label '1'"),
        (b"review,stars\ngood,1\nbad,0\n", "too few to cut"),
    ],
    ids=["empty", "header only", "no such column", "not UTF-8", "ragged row", "one label", "two rows"],
)
def test_bad_data_is_one_sentence_with_its_place_and_leaves_no_run(
    seqkit: Command, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "mine.csv").write_bytes(content)
    result = seqkit("train", "sentiment", "data.path=mine.csv", "data.text=review", "data.label=stars", *SMALL)
    assert result.code == 2
    assert words in result.said
    assert "Traceback" not in result.err
    assert not Path("runs").exists()


def test_empty_texts_are_left_out_and_counted(seqkit: Command, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(reviews.read_text() + ",up\n  ,down\n")
    more = ("data.path=mine.csv", "data.text=review", "data.label=stars")
    result = seqkit("train", "sentiment", *more, *SMALL, "training.max_steps=1")
    assert result.code == 0, result.err
    assert "train: 2 left out: nothing in column 'review'" in result.said


@pytest.mark.parametrize("recipe", [str(TOY), "sentiment"])
def test_a_dry_run_goes_through_everything_and_leaves_nothing_behind(
    seqkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    result = seqkit("train", recipe, "--dry-run")
    assert result.code == 0, result.err
    for words in ("one step", "loss", "gradient norm", "evaluated", "decoded: "):
        assert words in result.out
    assert [path for path in tmp_path.rglob("*") if path != scratch] == []


def test_training_starts_from_another_runs_weights_and_says_what_it_took(seqkit: Command, toy_run: Path) -> None:
    result = seqkit("train", TOY, *BLINK, "--init-from", toy_run)
    assert result.code == 0
    assert f"from {toy_run}: took the front-end and 1.weight, 1.bias" in result.said
    assert read_json(Path("runs/toy-demo/run.json"))["init_from"] == str(toy_run)
    missing = seqkit("train", TOY, *BLINK, "--init-from", "nowhere")
    assert missing.code == 2
    assert "nowhere" in missing.said


SLOW = """

import os
import time

_collate = Toy.collate


def _slowly(self: Toy, items: Sequence[Item]) -> Batch:
    time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
    return _collate(self, items)


Toy.collate = _slowly  # type: ignore[method-assign]
"""


def _start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    """Train in a process of its own, slowly; return when its first epoch is done."""
    command = [sys.executable, "-m", "seqkit", "train", str(recipe), "--out", str(out)]
    environment = {**os.environ, "TOY_PAUSE": "0.05"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    _read_until(process.stderr, "epoch 1/3")
    return process


def _read_until(stream: IO[str] | None, start: str) -> None:
    assert stream is not None
    seen = []
    for line in stream:
        seen.append(line)
        if line.startswith(start):
            return
    raise AssertionError("".join(seen))


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_state_and_resume_finishes_as_if_nothing_had_happened(
    seqkit: Command, tmp_path: Path, signal_number: int, code: int
) -> None:
    recipe, run = tmp_path / "slow", tmp_path / "cut"
    shutil.copytree(TOY, recipe, ignore=shutil.ignore_patterns("__pycache__"))
    with (recipe / "recipe.py").open("a") as file:
        file.write(SLOW)
    process = _start(recipe, run)
    process.send_signal(signal_number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == ""
    assert "the state is saved" in err
    assert "Traceback" not in err
    assert f"seqkit train --resume {run}" in " ".join(err.split())
    assert read_json(run / "run.json")["state"] == "training"

    refused = seqkit("train", "--resume", run)
    assert refused.code == 2
    assert "--recipe" in refused.said
    resumed = seqkit("train", "--resume", run, "--recipe", recipe)
    assert resumed.code == 0, resumed.err
    assert resumed.out.splitlines()[0] == f"seqkit eval {run} --recipe {recipe}"
    assert "going on at" in resumed.said
    assert read_json(run / "run.json")["state"] == "finished"
    whole = tmp_path / "whole"
    assert seqkit("train", recipe, "--out", whole).code == 0
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (run / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


def test_a_finished_run_is_not_resumed_but_its_next_command_is_named(seqkit: Command, toy_run: Path) -> None:
    result = seqkit("train", "--resume", toy_run)
    assert result.code == 2
    assert f"seqkit eval {toy_run}" in result.said


def test_an_interrupt_before_training_has_begun_is_130_too(seqkit: Command, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    shutil.copytree(TOY, recipe, ignore=shutil.ignore_patterns("__pycache__"))
    with (recipe / "recipe.py").open("a") as file:
        file.write(
            "\n\ndef _interrupted(self: Toy) -> dict[str, Split]:\n    raise KeyboardInterrupt\n\n\n"
            "Toy.load_data = _interrupted  # type: ignore[method-assign]\n"
        )
    result = seqkit("train", recipe)
    assert result.code == 130
    assert "Traceback" not in result.err
    assert not Path("runs").exists()
