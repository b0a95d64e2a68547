"""What is found in the data before training: labels, lengths, what stands twice."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from seqkit.data.check import check_labels, describe
from seqkit.data.splits import Split, make_split
from seqkit.errors import DataError
from seqkit.reporting.tables import DataReport, data_table


def split(name: str, texts: list[str], labels: list[str]) -> Split:
    places = [f"{name}.csv:{row}" for row in range(2, len(texts) + 2)]
    return make_split({"text": texts, "label": labels}, places, origin=f"{name}.csv")


def report(splits: dict[str, Split]) -> DataReport:
    lengths = {name: [len(text.split()) for text in part.column("text")] for name, part in splits.items()}
    return describe(splits, lengths, key_column="text", label_column="label")


def test_the_description() -> None:
    train = replace(split("train", ["a b c", "d", "d ", "e f"], ["x", "y", "y", "y"]), left_out={"empty [text]": 3})
    found = report({"train": train, "test": split("test", ["new one", " d", "a b c"], ["x", "y", "x"])})
    assert found.splits["train"].length == {"min": 1, "median": 1.5, "p95": pytest.approx(2.85), "max": 3, "sum": 7}
    assert found.splits["train"].labels == {"x": 1, "y": 3}
    assert [(d.first, d.second, d.count) for d in found.duplicates] == [("train", "train", 1), ("train", "test", 2)]
    assert found.duplicates[1].places == [("train.csv:3", "test.csv:3"), ("train.csv:2", "test.csv:4")]
    assert any("2 examples of test stand in train too" in warning for warning in found.warnings)
    assert json.loads(json.dumps(found.to_json()))["splits"]["train"]["left_out"] == {"empty [text]": 3}
    written = io.StringIO()
    console = Console(width=140, file=written)
    console.print(data_table(found))
    shown = written.getvalue()
    for part in ("train.csv", "x 1, y 3", "1 / 2 / 3 / 3", "3 left out: empty [text]", "warning: 1 examples of train"):
        assert part in shown


def test_a_label_that_training_never_sees() -> None:
    splits = {"train": split("train", ["a", "b"], ["good", "bad"]), "test": split("test", ["c", "d"], ["bad", "godo"])}
    with pytest.raises(DataError, match=r"test.csv:3: the label 'godo' of the test part .*Did you mean 'good'"):
        check_labels(splits, "label")
    check_labels(splits, "label", known=["godo"])


def test_one_label_only() -> None:
    with pytest.raises(DataError, match="every training example has the label 'x'"):
        check_labels({"train": split("train", ["a", "b"], ["x", "x"])}, "label")


def test_imbalance_is_a_warning() -> None:
    found = report({"train": split("train", [str(i) for i in range(40)], ["x"] * 38 + ["y"] * 2)})
    assert "macro F1" in found.warnings[0]


def test_a_task_without_labels_or_keys() -> None:
    found = describe({"train": split("t", ["a", "a"], ["", ""])}, {"train": [1, 1]}, key_column=None, unit="frames")
    assert found.unit == "frames"
    assert not found.duplicates
    assert found.splits["train"].labels == {}
    Console(file=io.StringIO()).print(data_table(found))
