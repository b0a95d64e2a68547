"""The cache of prepared examples: the same items with and without it, whatever happens to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from seqkit.data import cache, store
from seqkit.data.cache import Caching, cache_settings, opened_cache
from seqkit.data.items import Item, Unusable, prepare_all
from seqkit.data.packed import pack
from seqkit.errors import ConfigError, SeqkitError
from seqkit.recipe import Recipe
from tests.data.sounds import COUNT, Features, Sounds, SoundsConfig, heard

# Same with and without -----------------------------------------------------------------------------------------------


def test_items_are_the_same_with_an_empty_and_with_a_full_cache_and_come_from_it(
    folder: Path, examples: list[dict[str, Any]]
) -> None:
    recipe = Sounds()
    assert heard(recipe, examples) == []
    assert recipe.calls == COUNT
    assert heard(recipe, examples) == []
    assert recipe.calls == 0
    assert recipe.items(examples).left_out == {"silence": COUNT // 10}
    assert [path.name for path in folder.iterdir()] == [store.FILE]


def test_a_slow_recipe_gets_quick(folder: Path, examples: list[dict[str, Any]]) -> None:
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        Sounds(delay=0.002).items(examples)
        seconds.append(time.perf_counter() - began)
    assert seconds[0] >= 0.002 * COUNT
    assert seconds[1] < seconds[0] / 2


@pytest.mark.parametrize("given", [None, ""])
def test_nothing_is_written_where_it_is_not_set(
    given: str | None, folder: Path, examples: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQKIT_CACHE") if given is None else monkeypatch.setenv("SEQKIT_CACHE", given)
    before = sorted(tmp_path.rglob("*"))
    recipe = Sounds()
    assert heard(recipe, examples) == []
    assert recipe.calls == COUNT
    assert sorted(tmp_path.rglob("*")) == before


def test_a_recipe_that_does_not_ask_for_it_is_not_kept(
    folder: Path, examples: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sounds, "caching", None)
    assert heard(Sounds(), examples) == []
    assert not folder.exists()


def test_a_whole_recipe_goes_through_it(
    toy: Callable[..., Recipe[Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = toy()
    split = recipe.load_data()["train"]
    expected = recipe.items(split)
    assert recipe.caching is None
    assert not folder.exists()
    monkeypatch.setattr(type(recipe), "caching", Caching())
    recipe.items(split)
    monkeypatch.setattr(type(recipe), "prepare", None)  # it is not called
    again = toy().items(split)
    assert list(map(pack, again.values)) == list(map(pack, expected.values))
    assert list(again.places) == list(expected.places)


def test_the_same_example_twice_gives_two_items(folder: Path, examples: list[dict[str, Any]]) -> None:
    twice = [examples[0], examples[0]]
    for _ in range(2):
        one, other = Sounds().items(twice).values
        assert one is not other
        assert one["values"] is not other["values"]


def test_an_item_that_cannot_be_kept_is_the_recipes_fault(folder: Path, examples: list[dict[str, Any]]) -> None:
    recipe = Sounds()
    with opened_cache(recipe) as kept, pytest.raises(TypeError, match=r"item\['x'\]: object cannot be kept"):
        prepare_all(examples, lambda _: {"x": object()}, len, None, kept)


# What makes another entry --------------------------------------------------------------------------------------------


def _rewrite(examples: list[dict[str, Any]]) -> None:
    """Change a byte of a file and leave its size and its date as they were."""
    path = Path(examples[0]["audio"])
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[list[dict[str, Any]], pytest.MonkeyPatch], Sounds | None], int]] = {
    "nothing": (lambda *_: None, 0),
    "a setting that prepare reads": (lambda *_: Sounds(SoundsConfig(features=Features(scale=2.0))), COUNT),
    "a setting that it does not read": (lambda *_: Sounds(SoundsConfig(beam=8, training={"epochs": 9})), 0),
    "the fitted front-end": (lambda *_: Sounds(mean=0.25), COUNT),
    "the recipe's version": (lambda _, patch: patch.setattr(Sounds, "version", 2), COUNT),
    "the recipe's code": (lambda _, patch: patch.setattr(cache, "_code", lambda _: ["another"]), COUNT),
    "the library": (lambda _, patch: patch.setattr(cache, "_library", lambda: ("av 99",)), COUNT),
    "a file, not its size and date": (lambda examples, _: _rewrite(examples), 1),
    "a column": (lambda examples, _: examples[1].update(text="other words"), 1),
    "one more column": (lambda examples, _: examples[2].update(speaker="b"), 1),
    "a place": (lambda examples, _: examples[3].update(place="elsewhere:1"), 0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_prepare_hangs_on_makes_another_entry_and_nothing_else_does(
    name: str, folder: Path, examples: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Sounds().items(examples)
    change, prepared_anew = CHANGES[name]
    recipe = change(examples, monkeypatch) or Sounds()
    assert heard(recipe, examples) == []
    assert recipe.calls == prepared_anew


def test_without_named_keys_all_settings_but_the_trainings_count(
    folder: Path, examples: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sounds, "caching", Caching(files=("audio",)))
    Sounds().items(examples)
    for config, calls in ((SoundsConfig(training={"epochs": 9}), 0), (SoundsConfig(beam=8), COUNT)):
        recipe = Sounds(config)
        assert heard(recipe, examples) == []
        assert recipe.calls == calls


def test_the_code_of_a_recipe_is_its_file_and_those_of_the_classes_it_builds_on(
    toy: Callable[..., Recipe[Any]], tmp_path: Path
) -> None:
    from seqkit.registry import find, load

    original = Path(sys.modules[type(toy()).__module__].__file__ or "")
    digests = []
    for number, extra in enumerate(("", "", "\n# a comment\n")):
        place = tmp_path / str(number) / "toy"
        place.mkdir(parents=True)
        (place / "recipe.py").write_text(original.read_text() + extra)
        digests.append(cache._code(load(find(str(place))[0])))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
    assert len(digests[0]) == 2  # its own file, and that of Recipe


def test_a_recipe_whose_code_is_in_no_file_is_not_kept_and_that_is_said(
    folder: Path, examples: list[dict[str, Any]]
) -> None:
    class Typed(Sounds):
        pass

    Typed.__module__ = "__nowhere__"
    assert ["in no file" in line for line in heard(Typed(), examples)] == [True]


def test_a_data_set_that_moves_keeps_its_entries_and_a_files_ending_counts(
    folder: Path, examples: list[dict[str, Any]], tmp_path: Path
) -> None:
    Sounds().items(examples)
    moved = [{**example, "audio": shutil.copy(example["audio"], tmp_path)} for example in examples]
    recipe = Sounds()
    assert heard(recipe, moved) == []
    assert recipe.calls == 0
    other = [{**examples[0], "audio": shutil.copy(examples[0]["audio"], tmp_path / "a.flac")}]
    heard(recipe, other)
    assert recipe.calls == 1


def test_a_file_that_is_not_there_is_asked_about_every_time(folder: Path, examples: list[dict[str, Any]]) -> None:
    class Careful(Sounds):
        def prepare(self, example: Mapping[str, Any]) -> Item:
            if not Path(example["audio"]).exists():
                self.calls += 1
                raise Unusable("no such file")
            return super().prepare(example)

    path = Path(examples[0]["audio"])
    content = path.read_bytes()
    path.unlink()
    recipe = Careful()
    for _ in range(2):
        assert heard(recipe, examples[:2]) == []
        assert recipe.items(examples[:2]).left_out == {"no such file": 1}
    path.write_bytes(content)
    assert recipe.items(examples[:2]).left_out == {}


def test_a_file_column_may_hold_its_bytes(folder: Path) -> None:
    with opened_cache(Sounds()) as kept:
        assert kept is not None

        def key(audio: Any) -> bytes | None:
            return kept.key({"audio": audio})

        inside = [{"path": "a/x.wav", "bytes": b"1"}, {"path": "b/y.wav", "bytes": b"1"}]
        assert key(inside[0]) == key(inside[1])
        others = [
            None,
            {"path": "x.wav", "bytes": b"2"},
            {"path": "x.mp3", "bytes": b"1"},
            {"path": None, "bytes": b""},
        ]
        assert len({key(audio) for audio in [inside[0], *others]}) == 5
        assert key({"path": "/nowhere.wav", "bytes": None}) is None


# Several processes ---------------------------------------------------------------------------------------------------

FILL = """
import hashlib, sys, time, warnings
import numpy as np
from pathlib import Path
from seqkit.data import store
from seqkit.data.cache import Kept
from seqkit.data.items import prepare_all
from seqkit.data.packed import pack

warnings.simplefilter("error")
store.BATCH_BYTES = 40_000
folder, count = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def prepare(example):
    global calls
    calls += 1
    return {"values": np.full(300, example["n"], dtype=np.float32)}

print("ready", flush=True)
sys.stdin.readline()
with store.Store(folder, 2**30) as opened:
    items = prepare_all(({"n": n} for n in range(count)), prepare, lambda item: 1, None, Kept(opened, b"scope"))
print(calls, hashlib.sha256(b"".join(map(pack, items.values))).hexdigest())
"""


def _filler(folder: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FILL, str(folder), str(count)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_fill_it_at_once_and_a_killed_one_does_no_harm(tmp_path: Path) -> None:
    # The first writes without end, and is killed while the two others work.
    endless, *pair = [_filler(tmp_path, count) for count in (10**7, 700, 700)]
    assert endless.stdin is not None
    endless.stdin.write("go\n")
    endless.stdin.flush()
    while not (tmp_path / store.FILE).exists() or (tmp_path / store.FILE).stat().st_size < 300_000:
        assert endless.poll() is None
        time.sleep(0.005)
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    endless.kill()
    endless.communicate()
    said = []
    for process in pair:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        said.append(out.split())
    assert said[0][1] == said[1][1]
    after = _filler(tmp_path, 700)
    out, _ = after.communicate("go\n", timeout=60)
    assert out.split() == ["0", said[0][1]]
    assert sqlite3.connect(tmp_path / store.FILE).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_another_process_that_holds_it_for_long_is_not_waited_for_twice(
    folder: Path, examples: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Sounds().items(examples)
    monkeypatch.setattr(store, "TIMEOUT", 0.05)
    other = sqlite3.connect(folder / store.FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    recipe = Sounds()
    (line,) = heard(recipe, examples)
    assert "locked" in line
    assert recipe.calls == COUNT
    assert heard(recipe, examples) == []
    other.close()


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *((None, 10 * 2**30), ("", 10 * 2**30), ("20", 20 * 2**30), ("20G", 20 * 2**30), ("1.5 GiB", 3 * 2**29)),
        *(("500m", 500 * 2**20), ("2048K", 2 * 2**20), ("1TB", 2**40), (" 3 ", 3 * 2**30)),
    ],
)
def test_sizes(text: str | None, size: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if text is not None:
        monkeypatch.setenv("SEQKIT_CACHE_SIZE", text)
    settings = cache_settings()
    assert settings is not None
    assert settings.limit == size


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "1e3", "10 G G", "1K", "5X"])
def test_what_is_no_size_is_a_mistake(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQKIT_CACHE_SIZE", text)
    with pytest.raises(ConfigError, match=r"SEQKIT_CACHE_SIZE=.*: not a size of 1 MiB or more"):
        cache_settings()


def test_a_file_instead_of_a_folder_is_a_mistake_for_every_recipe(
    toy: Callable[..., Recipe[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEQKIT_CACHE", str(tmp_path / "file"))
    recipe = toy()
    with pytest.raises(SeqkitError, match="this is a file; name a folder") as caught:
        recipe.items(recipe.load_data()["train"])
    assert caught.value.exit_code == 2


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEQKIT_CACHE", "~/cache")
    settings = cache_settings()
    assert settings is not None
    assert settings.folder == tmp_path / "cache"
