"""Where the parts of a data set come from, and how the missing ones are cut."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seqkit.config import resolve
from seqkit.data.config import DataConfig
from seqkit.data.splits import Split, fingerprint, load_file, load_splits, make_split, relabel
from seqkit.errors import ConfigError, DataError

REAL_DATA = os.environ.get("SEQKIT_DATA")
COLUMNS = {"text": "sentence", "label": "label"}


def config(**values: Any) -> DataConfig:
    return resolve(DataConfig, values)


def write(path: Path, count: int, start: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"sentence": f"text {i}", "label": i % 2, "movie": f"m{i % 7}"} for i in range(start, start + count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(splits: Mapping[str, Split], name: str) -> list[str]:
    return splits[name].column("text")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "cwd"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.delenv("SEQKIT_DATA", raising=False)


def test_one_file_is_cut_in_three(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", 200)
    splits = load_splits(config(path=str(path)), COLUMNS, stratify="label")
    assert {name: len(split) for name, split in splits.items()} == {"train": 160, "validation": 20, "test": 20}
    assert sorted(text for name in splits for text in texts(splits, name)) == sorted(f"text {i}" for i in range(200))
    assert splits["test"].column("label").count("1") == 10
    assert splits["train"].column("place")[0].startswith(f"{path}:")
    assert splits["train"].examples.column_names == ["text", "label", "place"]


def test_the_cut_is_keyed_by_the_split_seed_alone(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", 100))
    one, same, other = (load_splits(config(path=path, split_seed=seed), COLUMNS) for seed in (0, 0, 1))
    assert texts(one, "test") == texts(same, "test")
    assert texts(one, "test") != texts(other, "test")
    assert fingerprint(one["train"]) == fingerprint(same["train"]) != fingerprint(other["train"])


def test_a_group_is_never_in_two_parts(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", 210))
    splits = load_splits(config(path=path, group="movie", test_fraction=0.2, validation_fraction=0.2), COLUMNS)
    groups = [set(split.column("group")) for split in splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 7
    assert all(groups)
    assert "no group" in splits["test"].origin


def test_folder_environment_and_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for root, count in (("given", 30), ("data", 40), ("cwd", 50)):
        write(tmp_path / root / "x/train.jsonl", count)
        write(tmp_path / root / "x/dev.jsonl", 5, start=1000)
    named = {"train": "x/train.jsonl", "test": "x/dev.jsonl", "validation_fraction": 0.0}
    monkeypatch.setenv("SEQKIT_DATA", str(tmp_path / "data"))
    assert len(load_splits(config(**named, path=str(tmp_path / "given")), COLUMNS)["train"]) == 30
    assert len(load_splits(config(**named), COLUMNS)["train"]) == 50
    monkeypatch.chdir(tmp_path)
    splits = load_splits(config(**named), COLUMNS)
    assert {name: len(split) for name, split in splits.items()} == {"train": 40, "test": 5}


def test_limit_takes_a_draw_of_train_only(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", 100))
    full, limited = (load_splits(config(path=path, limit=limit), COLUMNS) for limit in (None, 10))
    assert len(limited["train"]) == 10
    assert set(texts(limited, "train")) < set(texts(full, "train"))
    assert texts(limited, "test") == texts(full, "test")
    assert "10 of the 80" in limited["train"].origin


def test_demo(tmp_path: Path) -> None:
    def demo() -> dict[str, list[dict[str, str]]]:
        return {
            name: [{"text": f"{name} {i}", "label": "x"} for i in range(3)] for name in ("train", "validation", "test")
        }

    splits = load_splits(config(demo=True), COLUMNS, demo=demo)
    assert texts(splits, "test") == ["test 0", "test 1", "test 2"]
    assert splits["test"].column("place")[0] == "demo:test:1"
    own = load_splits(config(demo=True, path=str(write(tmp_path / "a.jsonl", 50))), COLUMNS, demo=demo)
    assert len(own["train"]) == 40
    with pytest.raises(ConfigError, match="two data sets"):
        config(demo=True, train="x.csv")


def test_what_cannot_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train.jsonl", 10)
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, r"No data is named.*data\.path=.*SEQKIT_DATA=.*hub"),
        ({"path": "absent"}, "data.path=absent does not exist"),
        ({"path": str(tmp_path)}, "names no training file"),
        ({"path": str(tmp_path), "train": "no.csv"}, "train file 'no.csv' is not found in"),
        ({"path": str(tmp_path), "train": "train.jsonl", "test": "no.csv"}, "test file 'no.csv' is not found"),
        ({"path": str(tmp_path / "train.jsonl"), "test": "no.csv"}, r"set data\.test=null"),
        ({"train": "no.csv"}, r"'no.csv' is not found.*Looked for 'no.csv' in .*SEQKIT_DATA=/nowhere"),
    ]
    monkeypatch.setenv("SEQKIT_DATA", "/nowhere")
    for values, expected in cases:
        with pytest.raises(DataError, match=expected):
            load_splits(config(**values), COLUMNS)


def test_too_few_to_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few to cut"):
        load_splits(config(path=str(write(tmp_path / "a.jsonl", 2))), COLUMNS)
    with pytest.raises(DataError, match="1 groups are too few"):
        load_splits(config(path=str(write(tmp_path / "b.jsonl", 1)), group="movie"), COLUMNS)
    with pytest.raises(ConfigError, match="below 1"):
        config(validation_fraction=0.5, test_fraction=0.5)


def test_rows_left_out_are_counted_and_none_left_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sentence,label\na,1\n,1\nb,\n")
    split = load_file(path, config(), COLUMNS)
    assert len(split) == 1
    assert sum(split.left_out.values()) == 2
    path.write_text("sentence,label\n,1\n")
    with pytest.raises(DataError, match="no example can be used"):
        load_file(path, config(), COLUMNS)


def test_relabel() -> None:
    split = make_split({"text": ["a", "b", "c"], "label": ["0", "2", "4"]}, ["p:1", "p:2", "p:3"], origin="p")
    named = relabel(split, "label", {"0": "bad", "4": "good"})
    assert named.column("label") == ["bad", "good"]
    assert named.column("place") == ["p:1", "p:3"]
    assert named.left_out == {"label '2'": 1}
    assert relabel(split, "label", None) is split
    with pytest.raises(DataError, match="There: 0, 2, 4"):
        relabel(split, "label", {"pos": "good"})


def test_fingerprint_is_of_the_content() -> None:
    def of(*columns: list[str], place: str = "p") -> str:
        named = dict(zip(("text", "label"), columns, strict=True))
        return fingerprint(make_split(named, [place] * len(columns[0]), origin=""))

    assert of(["a", "b"], ["0", "1"]) == of(["a", "b"], ["0", "1"], place="q")
    different = {of(["a", "b"], ["0", "1"]), of(["b", "a"], ["0", "1"]), of(["ab", ""], ["0", "1"]), of(["a"], ["0"])}
    assert len(different) == 4


@pytest.mark.skipif(REAL_DATA is None, reason="SEQKIT_DATA does not name the folder of real data")
@pytest.mark.parametrize(
    ("values", "columns", "sizes"),
    [
        (
            {"train": "sst/sst2_train.tsv", "test": "sst/sst2_dev.tsv"},
            COLUMNS,
            {"train": 6228, "validation": 692, "test": 872},
        ),
        (
            {"train": "imdb/train.jsonl.gz", "test": "imdb/test_a.jsonl.gz", "group": "movie"},
            {"text": "text", "label": "label"},
            {"test": 12_500},
        ),
    ],
)
def test_real_data(values: dict[str, Any], columns: dict[str, str], sizes: dict[str, int]) -> None:
    splits = load_splits(config(**values, path=REAL_DATA), columns, stratify="label")
    assert {name: len(splits[name]) for name in sizes} == sizes
    assert all(split.left_out == {} for split in splits.values())
    if "group" in values:
        assert not set(splits["train"].column("group")) & set(splits["validation"].column("group"))
