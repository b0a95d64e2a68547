"""The hub's code path, on a local folder laid out as the hub's data sets are: README.md with the parts, and parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from seqkit.config import resolve
from seqkit.data.config import DataConfig
from seqkit.data.splits import load_splits
from seqkit.errors import DataError

COLUMNS = {"text": "sentence", "label": "label"}
README = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
  - {split: validation, path: data/validation-*}
  - {split: test, path: data/test-*}
---
# A data set
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQKIT_DATA", raising=False)
    folder = tmp_path / "someone" / "reviews"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(README)
    features = datasets.Features(
        {
            "idx": datasets.Value("int32"),
            "sentence": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["negative", "positive"]),
            "tags": datasets.List(datasets.Value("string")),
        }
    )
    for name, size in (("train", 40), ("validation", 8), ("test", 6)):
        rows: dict[str, list[Any]] = {
            "idx": list(range(size)),
            "sentence": [f"{name} {i}" for i in range(size)],
            "label": [-1 if name == "test" else i % 2 for i in range(size)],
            "tags": [["x"]] * size,
        }
        if name == "train":
            rows["sentence"][3] = None
        data = datasets.Dataset.from_dict(rows, features=features)
        data.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def config(hub: Path, **values: Any) -> DataConfig:
    own = {key: values.pop(key) for key in ("splits", "labels", "columns", "config") if key in values}
    return resolve(DataConfig, {**values, "hub": {"name": str(hub), **own}})


def test_parts_columns_and_label_names(hub: Path) -> None:
    asked = config(hub, train="absent.tsv", splits={"train": "train", "test": "validation"})
    splits = load_splits(asked, COLUMNS, stratify="label")
    assert {name: len(split) for name, split in splits.items()} == {"train": 35, "validation": 4, "test": 8}
    assert set(splits["train"].column("label")) == {"negative", "positive"}
    assert splits["train"].left_out == {"nothing in column 'text'": 1}
    assert splits["test"].column("place")[0] == f"{hub}/validation:1"
    assert "part validation" in splits["test"].origin


def test_labels_as_numbers_and_other_column_names(hub: Path) -> None:
    asked = config(hub, splits={"train": "train"}, labels="numbers", columns={"text": "idx"}, test_fraction=0)
    splits = load_splits(asked, COLUMNS)
    assert set(splits["train"].column("label")) == {"0", "1"}
    assert "39" in splits["train"].column("text") + splits["validation"].column("text")


def test_a_part_without_labels_is_an_error(hub: Path) -> None:
    with pytest.raises(DataError, match=r"test: no example can be used \(6 with nothing in column 'label'"):
        load_splits(config(hub), COLUMNS)


def test_a_missing_group_column_is_said(hub: Path) -> None:
    splits = load_splits(config(hub, splits={"train": "train", "test": "validation"}, group="movie"), COLUMNS)
    assert "has no column 'movie'" in splits["train"].origin
    assert "has no column 'movie'" in splits["validation"].origin


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"splits": {"train": "trian"}}, "no part 'trian'.*Did you mean 'train'"),
        ({"splits": {"test": "validation"}}, "Set data.hub.splits"),
        (
            {"splits": {"train": "train"}, "columns": {"text": "sentense"}},
            "no column 'sentense'.*Did you mean 'sentence'",
        ),
        ({"splits": {"train": "train"}, "columns": {"text": "tags"}}, "neither texts nor numbers"),
        ({"config": "other"}, "cannot be had"),
    ],
)
def test_wrong_names(hub: Path, values: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        load_splits(config(hub, **values), COLUMNS)


def test_no_network_names_the_ways_to_give_the_data(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise ConnectionError("Couldn't reach 'someone/reviews' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError) as caught:
        load_splits(config(hub, train="x/train.tsv"), COLUMNS)
    said = str(caught.value)
    for part in ("Couldn't reach", "data.path=", "SEQKIT_DATA=", "hub", "x/train.tsv"):
        assert part in said


def test_what_is_behind_a_failure_is_told(hub: Path) -> None:
    (hub / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"cannot be had from the Hugging Face hub: .*[Pp]arquet"):
        load_splits(config(hub), COLUMNS)
