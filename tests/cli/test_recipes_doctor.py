"""`seqkit recipes`, `seqkit doctor`, the way into the program, and what its packages hold."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import seqkit as package
from seqkit.registry import RecipeSource, built_in

Command = Callable[..., Any]
ROOT = Path(__file__).parents[2]
SMALL = ("data.limit=60", "model.embedding_size=8", "model.lstm.hidden_size=8", "training.max_steps=1")


# Recipes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_every_recipe_and_preset_is_listed_with_a_line(seqkit: Command, arguments: list[str]) -> None:
    result = seqkit("recipes", *arguments)
    assert result.code == 0
    lines = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    on_disk = {path.parent.name for path in ROOT.glob("recipes/*/recipe.py")}
    presets = {f"{path.parent.name}/{path.stem}" for path in ROOT.glob("recipes/*/*.yaml")}
    assert set(lines) == on_disk | presets
    assert {"sentiment", "sentiment/demo"} <= set(lines)
    assert all(summary.strip() for summary in lines.values())


def test_show_prints_every_key_with_its_value_and_meaning_and_marks_what_the_preset_sets(seqkit: Command) -> None:
    from seqkit.cli.train import configure
    from seqkit.config import fields

    result = seqkit("recipes", "show", "sentiment/demo")
    assert result.code == 0
    recipe = configure("sentiment/demo", [])[2]
    shown = {line[2:].partition("=")[0]: line for line in result.out.splitlines() if line[:2] in ("* ", "  ")}
    assert {key for key, _, _ in fields(recipe.config_type)} <= set(shown)
    assert shown["model.lstm.hidden_size"] == f"* model.lstm.hidden_size={recipe.config.model.lstm.hidden_size}"
    assert shown["training.clip_norm"] == "  training.clip_norm=5.0"
    assert shown["data.demo"] == "* data.demo=true"
    assert shown["training.max_steps"] == "  training.max_steps=null"
    assert "Gradients are scaled down to this global norm" in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "sentimant"], "Did you mean 'sentiment'?"),
        (["show", "sentiment/dmeo"], "Did you mean 'demo'?"),
        (["copy", "sentimant", "mine"], "Did you mean 'sentiment'?"),
        (["copy", "sentiment/demo", "mine"], "seqkit recipes copy sentiment mine"),
        (["copy", "sentiment"], "DIR"),
    ],
)
def test_a_mistake_is_explained(
    seqkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = seqkit("recipes", *arguments)
    assert result.code == 2
    assert words in result.said
    assert not (tmp_path / "mine").exists()


def test_a_copied_recipe_is_stamped_and_trains_as_it_is(
    seqkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copied = seqkit("recipes", "copy", "sentiment", "my-recipe")
    assert copied.code == 0
    assert copied.out == "seqkit train ./my-recipe\n"
    source = built_in()["sentiment"]
    stamp = yaml.safe_load((tmp_path / "my-recipe" / "origin.yaml").read_text())
    assert stamp == {"recipe": "sentiment", "seqkit": package.__version__, "sha256": source.digest()}
    for path in source.folder.glob("*.*"):
        assert (tmp_path / "my-recipe" / path.name).read_bytes() == path.read_bytes()

    trained = seqkit("train", "./my-recipe", *SMALL)
    assert trained.code == 0, trained.err
    run = "runs/my-recipe-demo"
    assert trained.out.startswith(f"seqkit eval {run} --recipe {tmp_path / 'my-recipe'}\n")
    refused = seqkit("eval", run)
    assert refused.code == 2
    assert "--recipe DIR" in refused.said
    assert str(tmp_path / "my-recipe") in refused.said
    answered = seqkit("decode", run, "--recipe", "my-recipe", "not bad")
    assert answered.code == 0, answered.err
    assert answered.out.strip() in ("positive", "negative")
    (tmp_path / "my-recipe" / "recipe.py").open("a").write("# changed\n")
    changed = seqkit("decode", run, "--recipe", "my-recipe", "not bad")
    assert changed.out == answered.out
    assert "not the code that trained" in changed.said


def test_the_stamp_is_no_preset(seqkit: Command, tmp_path: Path) -> None:
    assert seqkit("recipes", "copy", "sentiment", tmp_path / "mine").code == 0
    assert set(RecipeSource("mine", tmp_path / "mine", built_in=False).presets()) == set(
        built_in()["sentiment"].presets()
    )


def test_copy_overwrites_nothing(seqkit: Command, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    for place in (taken, taken / "thesis.tex"):
        result = seqkit("recipes", "copy", "sentiment", place)
        assert result.code == 2
        assert "exists already" in result.said
    assert [path.name for path in taken.iterdir()] == ["thesis.tex"]
    assert (taken / "thesis.tex").read_text() == "years of work"
    assert seqkit("recipes", "copy", "sentiment", taken / "thesis.tex" / "deeper").code == 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def broken(:\n", "recipe.py"),
        ("import no_such_module_anywhere\n", "No module named 'no_such_module_anywhere'"),
        ("VALUE = 1\n", "defines 0 subclasses of seqkit.recipe.Recipe"),
        ("raise SystemError('oh')\n", "SystemError: oh"),
    ],
    ids=["syntax", "import", "no recipe", "raises"],
)
def test_a_recipe_folder_that_cannot_be_loaded_is_named(seqkit: Command, tmp_path: Path, code: str, words: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "recipe.py").write_text(code)
    (folder / "demo.yaml").write_text("# nothing\n")
    result = seqkit("train", folder)
    assert result.code == 2
    assert words in result.said
    assert str(folder) in result.said


# Doctor --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Path]]:
    """Put folders with a `seqkit` each on the PATH, and nothing else."""

    def make(*scripts: str) -> list[Path]:
        made = []
        for number, script in enumerate(scripts):
            folder = tmp_path / f"bin{number}"
            folder.mkdir()
            (folder / "seqkit").write_text(script)
            (folder / "seqkit").chmod(0o755)
            made.append(folder / "seqkit")
        monkeypatch.setenv("PATH", os.pathsep.join(str(path.parent) for path in made))
        return made

    return make


OURS = f"#!{sys.executable}\nfrom seqkit.cli.app import main\nmain()\n"
FOREIGN = "#!/bin/sh\necho 'SeqKit -- a cross-platform and ultrafast toolkit for FASTA/Q'\n"


def test_the_doctor_says_what_works_in_each_section(
    seqkit: Command, commands: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEQKIT_DATA", str(tmp_path))
    (ours,) = commands(OURS)
    result = seqkit("doctor")
    assert result.code == 0, result.out
    sections = [line for line in result.out.splitlines() if not line.startswith(" ")]
    assert sections == ["packages", "compute", "data", "commands named seqkit"]
    for words in (
        f"torch {importlib.metadata.version('torch')}",
        "threads",
        "LSTM kernel 'eager'",
        f"SEQKIT_DATA={tmp_path}",
        f"{ours}: this toolkit; what typing 'seqkit' runs",
    ):
        assert words in result.out
    assert "FAIL" not in result.out


def test_the_doctor_finds_a_foreign_seqkit_in_front_of_ours(
    seqkit: Command, commands: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQKIT_DATA", raising=False)
    foreign, ours = commands(FOREIGN, OURS)
    result = seqkit("doctor")
    assert result.code == 2
    (line,) = [line for line in result.out.splitlines() if "FAIL" in line]
    assert f"{foreign}: another program of that name" in line
    assert "python -m seqkit" in line
    assert f"{ours}: this toolkit; hidden behind the first" in result.out


def test_the_doctor_only_mentions_a_foreign_seqkit_behind_ours(
    seqkit: Command, commands: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQKIT_DATA", raising=False)
    _, foreign = commands(OURS, FOREIGN)
    result = seqkit("doctor")
    assert result.code == 0
    assert f"{foreign}: another program of that name; hidden behind the first" in result.out


def test_the_doctor_says_when_there_is_no_command_and_no_data_folder(
    seqkit: Command, commands: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands()
    monkeypatch.setenv("SEQKIT_DATA", str(tmp_path / "nowhere"))
    result = seqkit("doctor")
    assert result.code == 2
    assert "no 'seqkit' on the PATH" in result.out
    assert f"FAIL SEQKIT_DATA={tmp_path}/nowhere: no such folder" in result.out


def test_the_doctor_tells_how_to_mend_a_package_that_is_missing_or_does_not_fit(
    seqkit: Command, commands: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQKIT_DATA", raising=False)
    commands(OURS)
    real = importlib.import_module

    def broken(name: str, package: str | None = None) -> Any:
        if name == "safetensors":
            raise ModuleNotFoundError("No module named 'safetensors'")
        if name == "torchaudio":
            raise OSError("undefined symbol: _ZN3c10")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    result = seqkit("doctor")
    assert result.code == 2
    assert "Mend: pip install safetensors" in result.out
    assert "torchaudio: does not fit torch" in result.out
    assert "another index" in result.out


def test_the_doctor_says_where_the_cache_is_and_how_full_and_writes_nothing(
    seqkit: Command, commands: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from seqkit.data.store import FILE, Store

    monkeypatch.delenv("SEQKIT_DATA", raising=False)
    monkeypatch.delenv("SEQKIT_CACHE", raising=False)
    monkeypatch.delenv("SEQKIT_CACHE_SIZE", raising=False)
    commands(OURS)

    def line(mark: str, code: int = 0) -> str:
        result = seqkit("doctor")
        assert result.code == code
        (said,) = [str(row) for row in result.out.splitlines() if "SEQKIT_CACHE" in row]
        assert said.split()[0] == mark
        return said

    folder = tmp_path / "cache"
    assert "SEQKIT_CACHE is not set: prepared examples are not kept" in line("--")
    monkeypatch.setenv("SEQKIT_CACHE", str(folder))
    assert f"SEQKIT_CACHE={folder}: 0 prepared examples in 0 GiB, at most 10 GiB" in line("ok")
    assert not folder.exists()
    monkeypatch.setenv("SEQKIT_CACHE_SIZE", "500M")
    with Store(folder, 2**30) as store:
        for number in range(3):
            store.put(bytes([number]), b"x" * 2**20)
    size = (folder / FILE).stat().st_size / 2**30
    assert f"3 prepared examples in {size:.3g} GiB, at most 0.488 GiB" in line("ok")
    (folder / FILE).write_bytes(b"no database " * 999)
    assert f"Mend: rm {folder / FILE}" in line("FAIL", 2)
    monkeypatch.setenv("SEQKIT_CACHE", str(folder / FILE))
    assert "this is a file; name a folder" in line("FAIL", 2)
    monkeypatch.setenv("SEQKIT_CACHE", str(folder / FILE / "deeper"))
    assert "is no folder that can be written to" in line("FAIL", 2)
    monkeypatch.setenv("SEQKIT_CACHE", str(folder))
    monkeypatch.setenv("SEQKIT_CACHE_SIZE", "lots")
    assert "SEQKIT_CACHE_SIZE=lots: not a size" in line("FAIL", 2)


# The way in ----------------------------------------------------------------------------------------------------------

NO_TORCH = """
import sys
from seqkit.cli.app import main
for arguments in (["--help"], ["--version"], ["recipes"], ["recipes", "list"], ["train", "--help"],
                  ["eval", "--help"], ["decode", "--help"], ["recipes", "copy", "sentiment", sys.argv[1]]):
    sys.argv = ["seqkit", *arguments]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, arguments
    heavy = {"torch", "datasets", "accelerate", "matplotlib"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
print("done")
"""


def test_help_and_recipes_import_no_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NO_TORCH, str(tmp_path / "mine")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("done\n")


def test_python_dash_m_is_the_same_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seqkit", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout == f"{package.__version__}\n"


def test_without_a_command_the_help_is_shown_and_an_unknown_one_is_a_mistake(seqkit: Command) -> None:
    helped = seqkit()
    assert "seqkit train sentiment" in helped.out + helped.err
    unknown = seqkit("trian")
    assert unknown.code == 2
    assert "trian" in unknown.said


# Packaging -----------------------------------------------------------------------------------------------------------


def _pyproject() -> dict[str, Any]:
    section: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return section


def test_every_folder_with_code_is_a_package_that_is_shipped() -> None:
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("seqkit/**/*.py")}
    named = {".".join(folder.parts) for folder in folders} | {"seqkit.recipes"}
    assert sorted(_pyproject()["packages"]) == sorted(named)
    assert _pyproject()["package-dir"] == {"seqkit": "seqkit", "seqkit.recipes": "recipes"}


def test_every_file_of_a_recipe_is_shipped() -> None:
    patterns = _pyproject()["package-data"]["seqkit.recipes"]
    kinds = {".py", ".yaml", ".md"}
    files = [path.relative_to(ROOT / "recipes") for path in ROOT.glob("recipes/*/**/*") if path.suffix in kinds]
    assert files
    for file in files:
        assert len(file.parts) == 2, f"{file}: the patterns reach one folder deep"
        assert any(fnmatch.fnmatch(str(file), pattern) for pattern in patterns), file


def test_every_other_file_of_the_library_is_shipped() -> None:
    section = _pyproject()
    for path in ROOT.glob("seqkit/**/*"):
        file = path.relative_to(ROOT)
        compiled = "native/lib" in file.as_posix()  # by setup.py, for wheels too
        if path.is_dir() or path.suffix == ".py" or "__pycache__" in path.parts or compiled:
            continue
        package = next(folder for folder in file.parents if ".".join(folder.parts) in section["packages"])
        patterns = section["package-data"].get(".".join(package.parts), [])
        assert any(file.relative_to(package).match(pattern) for pattern in patterns), file
