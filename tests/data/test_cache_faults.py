"""The cache of prepared examples: damage, a full one, and disks that refuse."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.data import store
from tests.data.sounds import COUNT, Sounds, heard, write_sounds

# Damage --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE content SET value = zeroblob(length(value))",
        "UPDATE content SET value = 'a text'",
        "UPDATE content SET checksum = 1",
        "UPDATE content SET value = CAST(X'ff80' AS TEXT)",
    ],
)
def test_a_damaged_entry_is_prepared_again_and_replaced(
    damage: str, folder: Path, examples: list[dict[str, Any]]
) -> None:
    recipe = Sounds()
    recipe.items(examples)
    with sqlite3.connect(folder / store.FILE, isolation_level=None) as file:
        file.execute(f"{damage} WHERE rowid IN (2, 3)")
    (line,) = heard(recipe, examples)
    assert "2 damaged entries were prepared again" in line
    assert recipe.calls == 2
    assert heard(recipe, examples) == []
    assert recipe.calls == 0


def test_a_value_that_stands_under_another_key_is_not_taken(folder: Path, examples: list[dict[str, Any]]) -> None:
    recipe = Sounds()
    recipe.items(examples)
    with sqlite3.connect(folder / store.FILE, isolation_level=None) as file:
        (value, checksum), *_ = file.execute("SELECT value, checksum FROM content WHERE rowid = 2")
        file.execute("UPDATE content SET value = ?, checksum = ? WHERE rowid = 3", (value, checksum))
    assert "1 damaged" in heard(recipe, examples)[0]


def _garbage(start: float) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        at = int(start * len(content))
        return content[:at] + b"\xa5" * (len(content) - at)

    return damage


@pytest.mark.parametrize(
    "damage", [_garbage(0), _garbage(0.3), lambda content: content[: len(content) // 3], lambda _: b"text\n" * 999]
)
def test_a_damaged_file_is_removed_with_a_word_and_filled_anew(
    damage: Callable[[bytes], bytes], folder: Path, tmp_path: Path
) -> None:
    examples = write_sounds(tmp_path / "sounds", length=900)
    recipe = Sounds()
    recipe.items(examples)
    path = folder / store.FILE
    path.write_bytes(damage(path.read_bytes()))
    lines = heard(recipe, examples)
    assert len(lines) == 1
    assert "was damaged" in lines[0]
    assert heard(recipe, examples) == []
    assert recipe.calls == 0


@pytest.mark.parametrize("page", range(1, 9))
def test_garbage_in_any_page_of_the_file_never_shows_in_the_items(
    page: int, folder: Path, examples: list[dict[str, Any]]
) -> None:
    recipe = Sounds()
    recipe.items(examples)
    path = folder / store.FILE
    content = bytearray(path.read_bytes())
    garbage = np.random.default_rng(page).integers(0, 256, size=8192).astype(np.uint8).tobytes()
    content[page * 8192 : (page + 1) * 8192] = garbage
    path.write_bytes(content)
    heard(recipe, examples)  # compares the items
    assert heard(recipe, examples) == []


# The size ------------------------------------------------------------------------------------------------------------

MIB = 2**20


@pytest.fixture
def small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of 4 MiB that is written in small batches."""
    monkeypatch.setenv("SEQKIT_CACHE_SIZE", "4M")
    monkeypatch.setattr(store, "BATCH_BYTES", 200_000)
    return folder


def test_the_size_holds_and_the_least_recently_used_go_first(small: Path, tmp_path: Path) -> None:
    # About 1.3 MiB each as items, of float32.
    parts = {name: write_sounds(tmp_path / name, count=40, length=9000, seed=ord(name)) for name in "abcd"}
    recipe = Sounds()

    def calls(name: str) -> int:
        assert heard(recipe, parts[name]) == []
        assert (small / store.FILE).stat().st_size <= 4 * MIB
        return recipe.calls

    assert [calls(name) for name in "ab"] == [40, 40]
    assert calls("a") == 0
    assert [calls(name) for name in "cd"] == [40, 40]
    assert calls("d") == 0
    assert calls("c") == 0
    assert calls("b") > 20  # longest unused


def test_data_larger_than_the_limit_does_not_drive_itself_out(small: Path, tmp_path: Path) -> None:
    examples = write_sounds(tmp_path / "large", count=200, length=9000)
    recipe = Sounds()
    for kept in (False, True):
        (line,) = heard(recipe, examples)
        assert "prepared examples were not kept. A larger SEQKIT_CACHE_SIZE holds more (now 0.00391 GiB" in line
        assert recipe.calls < 140 if kept else recipe.calls == 200
        assert (small / store.FILE).stat().st_size <= 4 * MIB


def test_a_smaller_limit_gives_room_back_to_the_disk(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_sounds(tmp_path / "a", count=80, length=9000)
    Sounds().items(first)
    assert (small / store.FILE).stat().st_size > 2 * MIB
    monkeypatch.setenv("SEQKIT_CACHE_SIZE", "1M")
    assert heard(Sounds(), write_sounds(tmp_path / "b", count=2, seed=1)) == []
    assert (small / store.FILE).stat().st_size <= MIB


def test_what_is_larger_than_the_whole_cache_is_prepared_every_time(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQKIT_CACHE_SIZE", "1M")
    example = write_sounds(tmp_path / "huge", count=1, length=400_000)
    recipe = Sounds()
    assert "1 prepared examples were not kept" in heard(recipe, example)[0]
    assert recipe.calls == 1


def test_many_examples_share_a_transaction(
    folder: Path, examples: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, writes = store.Store._write, []

    def write(*given: Any) -> None:
        writes.append(given)
        original(*given)

    monkeypatch.setattr(store.Store, "_write", write)
    Sounds().items(examples)
    assert len(writes) == 1
    monkeypatch.setattr(store, "BATCH_SECONDS", 0.0)
    Sounds(mean=0.1).items(examples[:20])
    assert len(writes) > 20  # what was worked out long ago does not wait


# Disks that refuse ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tell_sqlite(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pragmas that every connection gets, to bring about what a disk can do."""
    pragmas: list[str] = []
    original = sqlite3.connect

    def connect(*given: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = original(*given, **named)
        for pragma in pragmas:
            connection.execute(pragma)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    return pragmas


def test_a_full_disk_costs_a_warning_and_what_is_there_is_still_read(
    folder: Path, tmp_path: Path, tell_sqlite: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BATCH_BYTES", 20_000)
    tell_sqlite.append("PRAGMA max_page_count = 20")
    examples = write_sounds(tmp_path / "sounds", length=900)
    recipe = Sounds()
    (line,) = heard(recipe, examples)
    assert "full" in line
    assert "what is prepared from here on is not kept" in line
    assert heard(recipe, examples) == []
    assert 0 < recipe.calls < COUNT


def test_a_cache_that_cannot_be_written_is_read_all_the_same(
    folder: Path, examples: list[dict[str, Any]], tell_sqlite: list[str]
) -> None:
    Sounds().items(examples[:50])
    tell_sqlite.append("PRAGMA query_only = ON")
    recipe = Sounds()
    (line,) = heard(recipe, examples)
    assert "readonly" in line
    assert recipe.calls == COUNT - 50


def test_a_write_that_fails_leaves_nothing_locked(
    folder: Path, examples: list[dict[str, Any]], tell_sqlite: list[str]
) -> None:
    Sounds().items(examples[:1])
    tell_sqlite.append("PRAGMA query_only = ON")
    with store.Store(folder, MIB) as opened:
        opened.put(b"key", b"value")
        with pytest.warns(UserWarning, match="cannot be written to"):
            opened.flush()
        tell_sqlite.clear()
        other = sqlite3.connect(folder / store.FILE, timeout=0, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.close()


@pytest.mark.parametrize("given", ["/proc/seqkit/cache", "{tmp}/file/cache"])
def test_a_folder_that_cannot_be_made_costs_a_warning(
    given: str, examples: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    if given.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here, which refuses even root")
    monkeypatch.setenv("SEQKIT_CACHE", given.format(tmp=tmp_path))
    recipe = Sounds()
    (line,) = heard(recipe, examples)
    assert "preparing goes on without it" in line
    assert recipe.calls == COUNT
    assert heard(recipe, examples) == []


def test_a_front_end_that_cannot_be_written_down_costs_a_warning(
    folder: Path, examples: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Sounds, "save_frontend", refuse)
    assert ["No space left" in line for line in heard(Sounds(), examples)] == [True]


def test_what_was_prepared_before_an_error_is_kept(folder: Path, examples: list[dict[str, Any]]) -> None:
    recipe = Sounds()
    with pytest.raises(KeyError):
        recipe.items([*examples[:50], {"audio": examples[50]["audio"]}])
    assert heard(recipe, examples) == []
    assert recipe.calls == COUNT - 50
