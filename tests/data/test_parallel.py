"""Parallel texts: a file for each column under one name, and columns within an object, in files and on the hub."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from seqkit.config import resolve
from seqkit.data.config import DataConfig
from seqkit.data.readers import read_table
from seqkit.data.splits import find_file, load_file, load_splits
from seqkit.data.templates import is_there, versions
from seqkit.errors import DataError

COLUMNS = {"source": "en", "target": "de"}
ENGLISH = ["the red house", "two\u2028dogs", "a tree", "rain"]
GERMAN = ["das rote Haus", "zwei Hunde", "ein Baum", "Regen"]


def write(path: Path, lines: list[str] | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = lines if isinstance(lines, bytes) else "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def pair(template: Path, english: list[str] | bytes, german: list[str] | bytes) -> Path:
    for language, lines in (("en", english), ("de", german)):
        write(Path(str(template).replace("{lang}", language)), lines)
    return template


def config(**values: Any) -> DataConfig:
    return resolve(DataConfig, values)


def message(path: Path, *columns: str, **values: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, columns or ("en", "de"), **values)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.delenv("SEQKIT_DATA", raising=False)


# A file for each column ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.{lang}", "train.{lang}.gz", "{lang}.txt", "[a*]{lang}.tok", "{lang}/x.{lang}"])
def test_line_n_belongs_to_line_n(tmp_path: Path, name: str) -> None:
    template = pair(tmp_path / "some" / name, ENGLISH, GERMAN)
    table = read_table(template, ["en", "de"])
    assert table.columns == {"en": ENGLISH, "de": GERMAN}
    assert table.places == [f"{template}:{line}" for line in (1, 2, 3, 4)]
    assert read_table(template, ["de"]).columns == {"de": GERMAN}


def test_the_last_line_need_not_end_and_windows_line_ends_are_none_of_the_text(tmp_path: Path) -> None:
    template = pair(tmp_path / "a.{lang}", b"\xef\xbb\xbfone\r\ntwo", b"eins\nzwei\n")
    assert read_table(template, ["en", "de"]).columns == {"en": ["one", "two"], "de": ["eins", "zwei"]}


def test_a_pair_with_a_blank_side_is_left_out_and_counted(tmp_path: Path) -> None:
    template = pair(tmp_path / "a.{lang}", ["a", "b", " ", "d", ""], ["A", "", "C", "D", ""])
    table = read_table(template, ["en", "de"])
    assert table.columns == {"en": ["a", "d"], "de": ["A", "D"]}
    assert table.places == [f"{template}:1", f"{template}:4"]
    assert table.left_out == {"nothing in column 'de'": 1, "nothing in column 'en'": 2}


@pytest.mark.parametrize(
    ("english", "german", "counts"),
    [(["a", "b", "c"], ["A"], (3, 1)), (["a"], ["A", "B", ""], (1, 3)), (["a"], [], (1, 0)), ([], ["A", "B"], (0, 2))],
)
def test_files_of_unequal_length(
    tmp_path: Path, english: list[str], german: list[str], counts: tuple[int, ...]
) -> None:
    said = message(pair(tmp_path / "a.{lang}", english, german))
    first, second = (f"{count} line{'' if count == 1 else 's'}" for count in counts)
    assert f"{tmp_path}/a.en has {first}, but {tmp_path}/a.de has {second.split()[0]}." in said


def test_empty_files(tmp_path: Path) -> None:
    assert f"{tmp_path}/a.en: the file is empty" in message(pair(tmp_path / "a.{lang}", [], []))
    with pytest.raises(DataError, match=r"no example can be used \(2 with nothing in column 'en'\)"):
        load_file(pair(tmp_path / "b.{lang}", ["", ""], ["", ""]), config(), COLUMNS)


def test_a_missing_file_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    template = pair(tmp_path / "a.{lang}.gz", ENGLISH, GERMAN)
    write(tmp_path / "b.fr.gz", ["x"])
    said = message(template, "en", "it")
    assert f"{tmp_path}/a.it.gz: there is no such file" in said
    assert said.endswith("There: a.de.gz, a.en.gz.")
    with pytest.raises(DataError, match=r"/c\.en: there is no such file.*no file there fits"):
        load_file(tmp_path / "c.{lang}", config(), COLUMNS)


def test_what_is_not_utf8_is_named_by_its_own_file_and_line(tmp_path: Path) -> None:
    said = message(pair(tmp_path / "a.{lang}", ["a", "b"], b"A\ncaf\xe9\n"))
    assert f"{tmp_path}/a.de:2: byte 4 of the line (0xe9) is not UTF-8" in said


def test_a_table_is_no_file_for_each_column(tmp_path: Path) -> None:
    template = pair(tmp_path / "a.{lang}.tsv", ENGLISH, GERMAN)
    assert "a tsv file has its columns in itself" in message(template)
    assert "a csv file has its columns in itself" in message(template, format="csv")
    assert read_table(template, ["en", "de"], format="txt").columns["de"] == GERMAN


def test_a_text_file_has_one_column_and_says_how_to_give_more(tmp_path: Path) -> None:
    said = message(write(tmp_path / "a.txt", ENGLISH))
    assert "no column 'de'" in said
    assert "a.{lang}" in said


def test_which_files_a_template_stands_for(tmp_path: Path) -> None:
    for name in ("de/a.de", "en/a.en", "en/a.de", "en/b.en"):
        write(tmp_path / name, ["x"])
    (tmp_path / "x" / "a.x").mkdir(parents=True)
    assert versions(tmp_path / "{lang}" / "a.{lang}") == [tmp_path / "de" / "a.de", tmp_path / "en" / "a.en"]
    assert is_there(tmp_path / "en" / "{lang}.de")
    assert not is_there(tmp_path / "x" / "a.{lang}")


# Wherever a file is named --------------------------------------------------------------------------------------------


def test_in_a_folder_as_the_path_in_the_environment_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [f"{number}" for number in range(20)]
    pair(tmp_path / "data" / "x" / "train.{lang}", many, many)
    pair(tmp_path / "data" / "x" / "dev.{lang}.gz", ENGLISH, GERMAN)
    named: dict[str, Any] = {"train": "x/train.{lang}", "validation": "x/dev.{lang}.gz", "test_fraction": 0.25}
    sizes = {"train": 15, "validation": 4, "test": 5}

    def loaded(**values: Any) -> dict[str, int]:
        return {name: len(part) for name, part in load_splits(config(**values), COLUMNS).items()}

    with pytest.raises(DataError, match=r"'x/train\.\{lang\}' is not found"):
        loaded(**named)
    assert loaded(**named, path=str(tmp_path / "data")) == sizes
    monkeypatch.setenv("SEQKIT_DATA", str(tmp_path / "data"))
    assert loaded(**named) == sizes
    absolute = {name: str(tmp_path / "data" / named[name]) for name in ("train", "validation")}
    assert loaded(**absolute, test_fraction=0.25) == sizes
    own = {"path": str(tmp_path / "data/x/train.{lang}"), "validation": "dev.{lang}.gz", "test_fraction": 0.25}
    assert loaded(**own) == sizes
    assert find_file(config(train="x/train.{lang}"), "train") == tmp_path / "data/x/train.{lang}"
    split = load_file(tmp_path / "data" / "x" / "dev.{lang}.gz", config(), COLUMNS)
    assert split.column("source") == ENGLISH
    assert split.column("target") == GERMAN
    with pytest.raises(DataError, match=r"train\.it: there is no such file.*There: train\.de, train\.en"):
        load_splits(config(**named), {"source": "en", "target": "it"})
    with pytest.raises(DataError, match=r"test file 'x/t\.\{lang\}' is not found"):
        loaded(**named, test="x/t.{lang}")
    with pytest.raises(DataError, match=r"no\.\{lang\} does not exist"):
        loaded(path=str(tmp_path / "no.{lang}"))


# Columns within an object --------------------------------------------------------------------------------------------


def json_lines(path: Path, *rows: Any) -> Path:
    return write(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def test_languages_within_translation_and_dotted_names(tmp_path: Path) -> None:
    rows = [
        {"translation": {"en": e, "de": g}, "info": {"by": {"who": "x"}}} for e, g in zip(ENGLISH, GERMAN, strict=True)
    ]
    path = json_lines(tmp_path / "a.jsonl", *rows, {"translation": {"en": "x", "de": None}}, {"translation": None})
    table = read_table(path, ["en", "de"])
    assert table.columns == {"en": ENGLISH, "de": GERMAN}
    assert table.left_out == {"nothing in column 'de'": 1, "nothing in column 'en'": 1}
    path = json_lines(tmp_path / "b.jsonl", *rows)
    dotted = read_table(path, ["translation.de", "info.by.who"]).columns
    assert dotted == {"translation.de": GERMAN, "info.by.who": ["x"] * 4}


def test_a_key_of_the_row_itself_comes_first(tmp_path: Path) -> None:
    row = {"en": "own", "a.b": "flat", "a": {"b": "deep", "c": "c"}, "translation": {"en": "inner"}}
    columns = read_table(json_lines(tmp_path / "a.jsonl", row), ["en", "a.b", "a.c"]).columns
    assert columns == {"en": ["own"], "a.b": ["flat"], "a.c": ["c"]}


def test_what_is_not_there_lists_what_is(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "a.jsonl", {"id": 1, "translation": {"en": "a", "de": "b"}})
    said = message(path, "en", "it")
    assert "a.jsonl:1: there is no key 'it'" in said
    assert "Keys there: id, translation.en, translation.de." in said
    assert "there is no key 'id.en'" in message(path, "id.en")
    said = message(path, "translation")
    assert "'translation' holds an object" in said
    assert "translation.en, translation.de" in said


@pytest.mark.parametrize("kind", ["translation", "object"])
def test_languages_within_translation_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "someone" / "pairs"
    (folder / "data").mkdir(parents=True)
    text = datasets.Value("string")
    pairs = datasets.Translation(["en", "de"]) if kind == "translation" else {"en": text, "de": text}
    rows: list[dict[str, str] | None] = [{"en": e, "de": g} for e, g in zip(ENGLISH, GERMAN, strict=True)]
    data = datasets.Dataset.from_dict(
        {"id": list(range(6)), "translation": [*rows, {"en": "no German", "de": ""}, None]},
        features=datasets.Features({"id": datasets.Value("int32"), "translation": pairs}),
    )
    data.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    given = {"hub": {"name": str(folder)}, "test_fraction": 0, "validation_fraction": 0}
    train = load_splits(config(**given), COLUMNS)["train"]
    assert train.column("source") == ENGLISH
    assert train.column("target") == GERMAN
    assert train.column("place")[3] == f"{folder}/train:4"
    assert train.left_out == {"nothing in column 'target'": 1, "nothing in column 'source'": 1}
    dotted = load_splits(config(**given), {"source": "translation.de", "target": "id"})["train"]
    assert dotted.column("source") == [*GERMAN]
    for column, expected in (
        ("it", r"no column 'it'.*Columns there: id, translation\.\w\w, translation\.\w\w\."),
        ("translation", r"neither texts nor numbers.*: translation\.\w\w, translation\.\w\w\."),
        ("translation.en.x", "no column 'translation.en.x'"),
    ):
        with pytest.raises(DataError, match=expected):
            load_splits(config(**given), {"source": "en", "target": column})
