"""`seqkit eval`: what is measured, what is kept, and what bad input does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqkit.storage import read_json

Command = Callable[..., Any]


def test_eval_prints_each_metric_with_its_interval(seqkit: Command, sentiment_run: Path) -> None:
    result = seqkit("eval", sentiment_run)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("test: 6 examples, ")
    assert [line.split()[0] for line in lines[1:]] == ["accuracy", "macro_f1", "loss"]
    for line in lines[1:]:
        value, low, high = (float(part.strip("[],")) for part in line.split()[1:])
        assert low <= value <= high


def test_eval_json_is_one_object_with_the_promised_keys(seqkit: Command, sentiment_run: Path) -> None:
    result = seqkit("eval", sentiment_run, "--split", "validation", "--json")
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert list(record) == ["run", "split", "examples", "metrics", "interval", "seconds"]
    assert (record["run"], record["split"], record["examples"]) == (str(sentiment_run), "validation", 6)
    assert set(record["metrics"]) == set(record["interval"]) == {"accuracy", "macro_f1", "loss"}
    assert 0.0 <= record["metrics"]["accuracy"] <= 1.0
    assert all(len(bounds) == 2 for bounds in record["interval"].values())
    kept = read_json(sentiment_run / "results.json")["validation"]
    assert kept["metrics"] == pytest.approx(record["metrics"])


def test_eval_of_a_split_is_kept_in_the_run_with_its_pictures(seqkit: Command, sentiment_run: Path) -> None:
    assert seqkit("eval", sentiment_run, "--split", "train").code == 0
    assert set(read_json(sentiment_run / "results.json")) >= {"validation", "train"}
    assert (sentiment_run / "plots" / "confusion-train.png").is_file()


def test_eval_of_a_file_measures_it_and_leaves_the_run_alone(
    seqkit: Command, sentiment_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("stars,review\nup,good film\ndown,it was bad\nup,bad\ndown,\n")
    before = {path: path.read_bytes() for path in sentiment_run.rglob("*") if path.is_file()}
    result = seqkit("eval", sentiment_run, "--data", tmp_path / "mine.csv", "--json")
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert record["examples"] == 3
    assert record["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert "left out: 1 (nothing in column 'review')" in result.said
    assert {path: path.read_bytes() for path in sentiment_run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"review,stars\ngood film,up\nso so,middling\n", ["mine.csv:3", "'middling' was not seen in training", "up"]),
        (b"", ["mine.csv", "empty"]),
        (b"text,stars\ngood,up\n", ["mine.csv:1", "no column 'review'"]),
        (b"review,stars\ng\xf6\xf6d,up\n", ["mine.csv:2", "not UTF-8"]),
        (b"review,stars\n,up\n", ["mine.csv", "no example can be used"]),
    ],
    ids=["unseen label", "empty", "no such column", "not UTF-8", "nothing in it"],
)
def test_eval_of_a_file_that_cannot_be_used_names_the_place(
    seqkit: Command, sentiment_run: Path, tmp_path: Path, content: bytes, words: list[str]
) -> None:
    (tmp_path / "mine.csv").write_bytes(content)
    result = seqkit("eval", sentiment_run, "--data", tmp_path / "mine.csv")
    assert result.code == 2
    assert result.out == ""
    for word in words:
        assert word in result.said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "validatoin"], "Did you mean 'validation'?"),
        (["--split", "test", "--data", "x.csv"], "exclude each other"),
        (["--data", "no.csv"], "no.csv"),
        (["--jsn"], "--json"),
    ],
)
def test_eval_explains_a_mistake(seqkit: Command, sentiment_run: Path, arguments: list[str], words: str) -> None:
    result = seqkit("eval", sentiment_run, *arguments)
    assert result.code == 2
    assert words in result.said
    assert result.out == ""
