"""`data.where`: only the examples with certain values in a column, wherever the data comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqkit.config import resolve, to_yaml
from seqkit.data.config import DataConfig
from seqkit.data.readers import Table
from seqkit.data.splits import Sources, load_file, load_splits
from seqkit.errors import ConfigError, DataError

COLUMNS = {"text": "sentence", "label": "label"}
ALL: dict[str, Any] = {"validation_fraction": 0.0, "test_fraction": 0.0}


def config(overrides: dict[str, str] | None = None, **values: Any) -> DataConfig:
    return resolve(DataConfig, values, overrides or {})


def table(path: Path, separator: str = "\t") -> Path:
    rows = [["sentence", "label", "used"]]
    rows += [[f"text {i}", str(i % 5), "" if i == 0 else str(int(i % 10 != 0))] for i in range(50)]
    path.write_text("".join(separator.join(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_only_rows_with_the_values(tmp_path: Path, ending: str) -> None:
    path = str(table(tmp_path / f"a{ending}", "," if ending == ".csv" else "\t"))
    train = load_splits(config(path=path, where={"used": "1", "label": ["2", "0"]}, **ALL), COLUMNS)["train"]
    kept = [i for i in range(50) if i % 5 in (0, 2) and i % 10 != 0]
    assert train.column("text") == [f"text {i}" for i in kept]
    assert train.column("place")[0] == f"{path}:4"
    assert train.examples.column_names == ["text", "label", "place"]
    assert train.left_out == {"used not in data.where": 5, "label not in data.where": 30}
    whole = load_splits(config(path=path, **ALL), COLUMNS)["train"]
    assert len(whole) == 50
    assert not whole.left_out


def test_parts_are_cut_from_what_is_left(tmp_path: Path) -> None:
    path = str(table(tmp_path / "a.tsv"))
    parts = load_splits(config(path=path, where={"label": ["1"]}, test_fraction=0.2, validation_fraction=0.0), COLUMNS)
    assert {name: len(part) for name, part in parts.items()} == {"train": 8, "test": 2}
    held = config(path=path, where={"used": ["1"]}, held_out_column="label", held_out_value="3", validation_fraction=0)
    parts = load_splits(held, COLUMNS)
    assert {name: len(part) for name, part in parts.items()} == {"train": 35, "test": 10}


def test_how_values_are_written(tmp_path: Path) -> None:
    """A preset's list, one value, a number, and the command line's text."""
    wanted = {"label": ("2", "3"), "used": ("1",)}
    typed = config({"where.label": "2, 3", "where.used": "1"})
    assert typed.where == wanted
    assert config(where={"label": "[2,3]", "used": 1}).where == wanted
    assert config({"where": "{}"}, where={"used": "1"}).where == {}
    (tmp_path / "c.yaml").write_text(to_yaml(typed))
    from seqkit.config import read_yaml

    assert resolve(DataConfig, read_yaml(tmp_path / "c.yaml")) == typed
    with pytest.raises(ConfigError, match="no value is named for column 'label'"):
        config(where={"label": []})


def test_mistakes(tmp_path: Path) -> None:
    path = str(table(tmp_path / "a.tsv"))
    with pytest.raises(DataError, match=r"no example has the label '7' or '8' \(data.where\). There: 0, 1, 2, 3, 4."):
        load_splits(config(path=path, where={"label": ["7", "8"]}), COLUMNS)
    with pytest.raises(DataError, match=r"there is no column 'lable'.*Did you mean 'label'"):
        load_splits(config(path=path, where={"lable": ["1"]}), COLUMNS)


def test_a_file_to_evaluate_is_asked_where_it_can_be(tmp_path: Path) -> None:
    wanted = config(where={"used": "1"})
    assert len(load_file(table(tmp_path / "a.tsv"), wanted, COLUMNS)) == 45
    (tmp_path / "b.csv").write_text("sentence,label\nhello,1\n")
    assert len(load_file(tmp_path / "b.csv", wanted, COLUMNS)) == 1
    (tmp_path / "c.jsonl").write_text(
        '{"sentence": "a", "label": 1, "used": 0}\n{"sentence": "b", "label": 1, "used": 1}'
    )
    assert load_file(tmp_path / "c.jsonl", wanted, COLUMNS).column("text") == ["b"]
    with pytest.raises(DataError, match="there is no such file"):
        load_file(tmp_path / "none.csv", wanted, COLUMNS)


def test_demo_and_folders(tmp_path: Path) -> None:
    def demo() -> dict[str, list[dict[str, str]]]:
        return {part: [{"text": f"t{i}", "label": str(i % 2)} for i in range(4)] for part in ("train", "validation")}

    columns = {"text": "text", "label": "label"}
    parts = load_splits(config(demo=True, where={"label": "1"}, test_fraction=0.0), columns, demo=demo)
    assert [part.column("text") for part in parts.values()] == [["t1", "t3"]] * 2
    with pytest.raises(DataError, match=r"The demo corpus has no column 'used', which data.where names"):
        load_splits(config(demo=True, where={"used": "1"}), columns, demo=demo)

    def reader(folder: Path) -> Table:
        return Table({"text": ["a", "b"], "label": ["kick", "jump"]}, ["p", "q"], {})

    sources = Sources(folder=reader)
    found = load_splits(config(path=str(tmp_path), where={"label": "jump"}, **ALL), COLUMNS, sources=sources)
    assert found["train"].column("text") == ["b"]
