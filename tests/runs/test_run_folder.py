"""Run folders: what is refused when they are damaged or foreign, a full disk, and that nothing in them is executed."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from seqkit.decoding import load_run
from seqkit.errors import ConfigError, RecipeError, RunError, SeqkitError
from seqkit.runs.folder import FORMAT, Run
from seqkit.storage import load_tensors, read_json, save_tensors
from seqkit.training.checkpoints import Checkpoints, Position
from seqkit.training.log import MetricsLog

TOY = Path(__file__).parents[1] / "toy"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of the toy recipe. Tests copy it before they damage it."""
    path = tmp_path_factory.mktemp("runs") / "run"
    _train(path)
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run to damage."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def _train(path: Path) -> None:
    from seqkit.cli.train import configure
    from seqkit.training.session import train

    source, preset, recipe = configure(str(TOY), [])
    console = Console(quiet=True)
    train(source, recipe, path, preset=preset, overwrite=False, init_from=None, console=console)


def _type(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command that is typed in this process."""
    from seqkit.cli.app import main

    monkeypatch.setattr(sys, "argv", ["seqkit", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


# Damage --------------------------------------------------------------------------------------------------------------


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _truncate_weights(run: Path) -> None:
    content = (run / "weights.safetensors").read_bytes()
    (run / "weights.safetensors").write_bytes(content[: len(content) // 2])


def _cut_last_byte(run: Path) -> None:
    content = (run / "weights.safetensors").read_bytes()
    (run / "weights.safetensors").write_bytes(content[:-1])


def _foreign_weights(run: Path) -> None:
    torch.save({"1.weight": torch.zeros(1, 4)}, run / "weights.safetensors")


def _other_model(run: Path) -> None:
    weights = load_tensors(run / "weights.safetensors")
    save_tensors(run / "weights.safetensors", {f"other.{name}": tensor for name, tensor in weights.items()})


def _more_weights(run: Path) -> None:
    weights = load_tensors(run / "weights.safetensors")
    save_tensors(run / "weights.safetensors", {**weights, "9.weight": torch.zeros(2)})


def _other_shape(run: Path) -> None:
    weights = load_tensors(run / "weights.safetensors")
    save_tensors(run / "weights.safetensors", {**weights, "1.weight": torch.zeros(1, 5)})


DAMAGE: dict[str, tuple[Callable[[Path], Any], type[SeqkitError], str]] = {
    "weights truncated": (_truncate_weights, RunError, r"weights\.safetensors: not a whole safetensors file"),
    "weights a byte short": (_cut_last_byte, RunError, r"weights\.safetensors: not a whole safetensors file"),
    "weights empty": (
        lambda run: (run / "weights.safetensors").write_bytes(b""),
        RunError,
        r"weights\.safetensors: not a whole safetensors file",
    ),
    "weights of another format": (_foreign_weights, RunError, r"weights\.safetensors: not a whole safetensors file"),
    "weights missing": (lambda run: (run / "weights.safetensors").unlink(), RunError, "--resume"),
    "weights of another model": (_other_model, RunError, r"the weight '1\.bias' is missing"),
    "weights of a larger model": (_more_weights, RunError, r"the weight '9\.weight' belongs to another model"),
    "weights of another shape": (_other_shape, RunError, r"'1\.weight' has shape \(1, 5\) instead of \(1, 4\)"),
    "run.json missing": (lambda run: (run / "run.json").unlink(), RunError, "has no run.json"),
    "run.json garbage": (lambda run: (run / "run.json").write_text('{"form'), RunError, r"run\.json: .*not valid JSON"),
    "run.json binary": (
        lambda run: (run / "run.json").write_bytes(b"\xff\x00"),
        RunError,
        r"run\.json: cannot be read",
    ),
    "run.json a list": (lambda run: (run / "run.json").write_text("[]"), RunError, "not the description of a run"),
    "run.json foreign": (lambda run: (run / "run.json").write_text("{}"), RunError, "not the description of a run"),
    "run.json half": (lambda run: _edit(run / "run.json", recipe={}), RunError, "not the description of a run"),
    "format newer": (lambda run: _edit(run / "run.json", format=FORMAT + 1), RunError, "Upgrade seqkit"),
    "front-end missing": (lambda run: shutil.rmtree(run / "frontend"), RunError, "frontend"),
    "front-end garbage": (lambda run: (run / "frontend" / "toy.json").write_text("{"), RunError, r"toy\.json"),
    "config missing": (lambda run: (run / "config.yaml").unlink(), ConfigError, r"config\.yaml: No such file"),
    "config with an unknown key": (
        lambda run: (run / "config.yaml").open("a").write("droput: 0.1\n"),
        ConfigError,
        r"config\.yaml: droput: there is no key 'droput' here\. Did you mean 'dropout'\?",
    ),
    "config not YAML": (
        lambda run: (run / "config.yaml").write_text("training: [\n"),
        ConfigError,
        r"config\.yaml:2: not valid YAML",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_one_clear_error_and_exit_code_2(
    run: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, kind, words = DAMAGE[name]
    damage(run)
    with pytest.raises(kind, match=words) as caught:
        load_run(run, recipe=str(TOY))
    assert str(run) in str(caught.value)
    for command in ("eval", "decode"):
        assert _type(monkeypatch, command, run, "--recipe", TOY, *(["1 2 3 4"] if command == "decode" else [])) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"seqkit: {caught.value}\n"


CHECKPOINT_DAMAGE: dict[str, Callable[[Path], Any]] = {
    "tensors truncated": lambda state: (state / "state.safetensors").write_bytes(b"\x10\x00"),
    "tensors missing": lambda state: (state / "state.safetensors").unlink(),
    "skeleton garbage": lambda state: (state / "state.json").write_text("[[["),
    "skeleton foreign": lambda state: (state / "state.json").write_text('{"$items": [["position", 3]]}'),
    "skeleton without a position": lambda state: (state / "state.json").write_text('{"$items": []}'),
}


@pytest.mark.parametrize("name", CHECKPOINT_DAMAGE)
def test_a_damaged_checkpoint_is_not_resumed_from(
    run: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _edit(run / "run.json", state="training")
    (state,) = (run / "checkpoints").glob("state-*")
    CHECKPOINT_DAMAGE[name](state)
    assert _type(monkeypatch, "train", "--resume", run, "--recipe", TOY) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert str(state) in err
    assert "Traceback" not in err


# No disk space -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no tmpfs can be mounted here: {getattr(error, 'stderr', error)}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _fill(disk: Path) -> None:
    """Take up every last byte."""
    with (disk / "ballast").open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


FULL_AT = {
    "the state": (Checkpoints, "save", 3),
    "the best weights": (Checkpoints, "save_best", 1),
    "the log": (MetricsLog, "flush", 3),
}


@pytest.mark.parametrize("moment", FULL_AT)
def test_a_full_disk_stops_training_with_the_last_checkpoint_whole_and_resume_finishes(
    small_disk: Path,
    trained: Path,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    owner, method, number = FULL_AT[moment]
    original, calls = getattr(owner, method), [0]
    run = small_disk / "run"
    before: list[Position | None] = []

    def position() -> Position | None:
        found = Checkpoints(Run.open(run)).load()
        return None if found is None else found[0]

    def when_full(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            before.append(position())
            _fill(small_disk)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, when_full)
        assert _type(monkeypatch, "train", TOY, "--out", run) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "No space left on device" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert read_json(run / "run.json")["state"] == "training"
    assert before == [position()]
    assert moment == "the best weights" or (before[0] is not None and before[0].step > 0)

    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert _type(monkeypatch, "train", "--resume", run, "--recipe", TOY) == 0
    assert (run / "metrics.jsonl").read_bytes() == (trained / "metrics.jsonl").read_bytes()
    assert (run / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    assert not list(run.rglob(".partial-*"))


# Foreign code --------------------------------------------------------------------------------------------------------


def test_a_run_of_a_users_own_recipe_needs_its_folder_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="only when you name its folder") as caught:
        load_run(run)
    assert f"it stood in {TOY}" in str(caught.value)
    assert _type(monkeypatch, "decode", run, "1 2 3 4") == 2
    assert load_run(run, recipe=str(TOY)).decode("1 2 3 4")[0]["label"] == "positive"


def test_a_recipe_folder_may_be_named_from_where_one_stands(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOY.parent)
    assert load_run(run, recipe="toy").decode("1 2 3 4")[0]["label"] == "positive"


def test_code_that_lies_in_a_run_is_never_executed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w').close()\nraise SystemExit('executed')\n"
    for folder in (run, run / "recipe", run / "frontend"):
        for name in ("recipe.py", "__init__.py", "sitecustomize.py", "conftest.py"):
            (folder / name).write_text(trap)
    monkeypatch.chdir(run)
    assert load_run(run, recipe=str(TOY)).decode("1 2 3 4")[0]["label"] == "positive"
    assert _type(monkeypatch, "eval", run, "--recipe", TOY) == 0
    with pytest.raises(RecipeError):
        load_run(run)
    assert not (tmp_path / "sprung").exists()


def test_another_version_of_the_recipe_is_refused(run: Path) -> None:
    info = read_json(run / "run.json")
    _edit(run / "run.json", recipe={**info["recipe"], "version": 99})
    with pytest.raises(RecipeError, match="trained with version 99"):
        load_run(run, recipe=str(TOY))


def test_a_built_in_recipe_that_is_gone_is_named(run: Path) -> None:
    info = read_json(run / "run.json")
    _edit(run / "run.json", recipe={**info["recipe"], "name": "telepathy", "built_in": True})
    with pytest.raises(RecipeError, match="'telepathy', which this seqkit does not have"):
        load_run(run)


def kind_of(path: Path) -> str:
    """What a file is, by its content: safetensors, png or text; anything else is "foreign"."""
    content = path.read_bytes()
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if len(content) > 8:
        (size,) = struct.unpack("<Q", content[:8])
        if size < len(content) and content[8:9] == b"{":
            json.loads(content[8 : 8 + size])
            return "safetensors"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "foreign"
    return "text" if "\0" not in text else "foreign"


def test_there_is_no_pickle_in_a_run(trained: Path) -> None:
    kinds = {path.relative_to(trained): kind_of(path) for path in trained.rglob("*") if path.is_file()}
    assert {"safetensors", "png", "text"} == set(kinds.values())
    assert sum(kind == "safetensors" for kind in kinds.values()) >= 3


def test_the_look_for_pickles_would_find_one(tmp_path: Path) -> None:
    import pickle

    for number, content in enumerate((pickle.dumps({"a": 1}), pickle.dumps([1, 2], protocol=2))):
        (tmp_path / str(number)).write_bytes(content)
    torch.save({"a": torch.zeros(3)}, tmp_path / "torch")
    assert {kind_of(path) for path in tmp_path.iterdir()} == {"foreign"}


# Names and locks -----------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_free_and_any_other_is_not(tmp_path: Path) -> None:
    Run.check_free(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    Run.check_free(tmp_path / "empty")
    (tmp_path / "file").touch()
    for overwrite in (False, True):
        with pytest.raises(RunError):
            Run.check_free(tmp_path / "file", overwrite=overwrite)
        with pytest.raises(RunError):
            Run.check_free(tmp_path, overwrite=overwrite)


def test_results_of_other_splits_are_kept(run: Path) -> None:
    opened = Run.open(run)
    opened.record_result("test", {"metrics": {"accuracy": 0.5}})
    results = read_json(run / "results.json")
    assert set(results) == {"validation", "test"}
    assert results["test"] == {"metrics": {"accuracy": 0.5}}
