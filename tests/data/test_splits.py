"""Where the parts of a data set come from, and how the missing ones are cut."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seqkit.config import resolve
from seqkit.data.config import DataConfig
from seqkit.data.splits import GroupError, Split, fingerprint, load_file, load_splits, make_split, relabel
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


def write_corpus(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(json.dumps({"line": line, "label": "x"}) + "\n" for line in lines))
    return path


def test_a_column_that_may_be_empty_keeps_its_blank_examples(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.jsonl", ["a", "", "b", "  ", "c"])
    columns = {"text": "line"}
    kept = load_file(path, config(), columns, may_be_empty=("text",))
    assert kept.column("text") == ["a", "", "b", "  ", "c"]
    assert kept.left_out == {}
    assert load_file(path, config(), columns).column("text") == ["a", "b", "c"]
    splits = load_splits(config(path=str(path), cut="tail", test_fraction=0.0), columns, may_be_empty={"text"})
    assert [text for split in splits.values() for text in split.column("text")] == ["a", "", "b", "  ", "c"]
    both = load_file(path, config(), {"text": "line", "label": "label"}, may_be_empty=("text",))
    assert len(both) == 5
    path.write_text('{"line": "", "label": "x"}\n{"line": "a", "label": ""}\n')
    assert load_file(path, config(), {"text": "line", "label": "label"}, may_be_empty=("text",)).column("text") == [""]


def test_the_tail_is_cut_by_characters_in_the_order_of_the_file(tmp_path: Path) -> None:
    rng = random.Random(1)
    lines = [f"{i} " + "x" * rng.randint(0, 40) for i in range(500)]
    path = str(write_corpus(tmp_path / "a.jsonl", lines))
    splits = load_splits(config(path=path, cut="tail", validation_fraction=0.1, test_fraction=0.05), {"text": "line"})
    assert list(splits) == ["train", "validation", "test"]
    assert [text for split in splits.values() for text in split.column("text")] == lines
    total = sum(map(len, lines))
    for name, share in {"test": 0.05, "validation": 0.15}.items():
        # No other boundary between two lines is nearer to the share.
        start = lines.index(splits[name].column("text")[0])
        distance = [abs(sum(map(len, lines[i:])) - share * total) for i in range(len(lines))]
        assert distance[start] == min(distance)


def test_the_tail_with_a_file_for_one_part_and_with_too_little(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.jsonl", ["aaaa", "b", "c", "d"])
    write_corpus(tmp_path / "t.jsonl", ["t"])
    named = config(path=str(path), cut="tail", test="t.jsonl", validation_fraction=0.45)
    splits = load_splits(named, {"text": "line"})
    assert {name: split.column("text") for name, split in splits.items()} == {
        "train": ["aaaa"],
        "validation": ["b", "c", "d"],
        "test": ["t"],
    }
    small = str(write_corpus(tmp_path / "b.jsonl", ["a" * 100, "b", "c"]))
    splits = load_splits(config(path=small, cut="tail"), {"text": "line"})  # every part has an example, at least
    assert {name: split.column("text") for name, split in splits.items()} == {
        "train": ["a" * 100],
        "validation": ["b"],
        "test": ["c"],
    }
    small = str(write_corpus(tmp_path / "c.jsonl", ["a", "b"]))
    with pytest.raises(DataError, match="2 examples are too few to cut a validation and a test part from"):
        load_splits(config(path=small, cut="tail"), {"text": "line"})
    with pytest.raises(ConfigError, match=r"cut=tail.*group=movie"):
        config(cut="tail", group="movie")


# A group that is held out ---------------------------------------------------------------------------------------------


def write_people(path: Path, count: int = 120, start: int = 0) -> Path:
    """Rows of five people, each with films of their own but for two that everybody saw; some have no name."""
    rows = []
    for i in range(start, start + count):
        who = f"p{i % 5}"
        movie = f"shared{i % 2}" if i % 7 == 0 else f"{who}-{i % 3}"
        rows.append({"sentence": f"text {i} {who} {movie}", "label": i % 2, "who": who, "movie": movie})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def people(splits: Mapping[str, Split], name: str, word: int = 2) -> set[str]:
    return {text.split()[word] for text in texts(splits, name)}


@pytest.mark.parametrize("value", [f"p{n}" for n in range(5)])
def test_a_held_out_group_is_the_test_part_and_in_no_other(tmp_path: Path, value: str) -> None:
    path = str(write_people(tmp_path / "a.jsonl"))
    given = config(path=path, held_out_column="who", held_out_value=value)
    splits = load_splits(given, COLUMNS, stratify="label")
    assert people(splits, "test") == {value}
    assert value not in people(splits, "train") | people(splits, "validation")
    assert {name: len(split) for name, split in splits.items()} == {"train": 86, "validation": 10, "test": 24}
    assert splits["train"].examples.column_names == ["text", "label", "place"]
    assert splits["test"].origin == f"{path}, held out: who '{value}'"


@pytest.mark.parametrize("share", [0.3, 0.0])
def test_a_held_out_group_and_groups_that_stay_together(tmp_path: Path, share: float) -> None:
    path = str(write_people(tmp_path / "a.jsonl"))
    given = config(
        path=path,
        held_out_column="who",
        held_out_value="p2",
        group="movie",
        validation_fraction=share,
        test_fraction=share,
    )
    splits = load_splits(given, COLUMNS)
    assert people(splits, "test") == {"p2"}
    assert ("validation" in splits) == (share > 0)
    assert all("p2" not in people(splits, name) for name in splits if name != "test")
    movies = [people(splits, name, 3) for name in splits]
    assert sum(map(len, movies)) == len(set.union(*movies))
    # What others said of the films that everybody saw can be neither trained on nor tested on.
    left_out = splits["train"].left_out["a group that is held out in part"]
    assert left_out > 0
    assert sum(map(len, splits.values())) + left_out == 120


def test_a_validation_file_gives_the_held_out_group_up_and_a_test_file_is_not_read(tmp_path: Path) -> None:
    path = write_people(tmp_path / "a.jsonl")
    write_people(tmp_path / "dev.jsonl", 25, start=500)
    given = {"path": str(path), "validation": "dev.jsonl", "test": "nowhere.jsonl", "held_out_column": "who"}
    splits = load_splits(config(**given, held_out_value="p1"), COLUMNS)
    assert {name: len(split) for name, split in splits.items()} == {"train": 96, "validation": 20, "test": 24}
    assert "p1" not in people(splits, "train") | people(splits, "validation")
    assert splits["validation"].left_out == {"who 'p1', which is held out": 5}
    write(tmp_path / "dev.jsonl", 10)
    with pytest.raises(DataError, match=r"dev\.jsonl:1: there is no key 'who'"):
        load_splits(config(**given, held_out_value="p1"), COLUMNS)


def test_an_example_of_no_group_is_left_out(tmp_path: Path) -> None:
    path = write_people(tmp_path / "a.jsonl")
    with path.open("a") as file:
        file.write('{"sentence": "text of nobody", "label": 1, "who": " ", "movie": "m"}\n')
    splits = load_splits(config(path=str(path), held_out_column="who", held_out_value=" p1"), COLUMNS)
    assert all("text of nobody" not in texts(splits, name) for name in splits)
    assert splits["train"].left_out == {"nothing in column 'who'": 1}
    assert people(splits, "test") == {"p1"}


def test_a_group_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    path = str(write_people(tmp_path / "a.jsonl", 7))
    for value, words in ((None, "which group"), ("p9", "no example has the who 'p9'")):
        with pytest.raises(GroupError, match=words) as found:
            load_splits(config(path=path, held_out_column="who", held_out_value=value), COLUMNS)
        assert found.value.groups == {"p0": 2, "p1": 2, "p2": 1, "p3": 1, "p4": 1}
        assert "p0 (2), p1 (2), p2 (1)" in str(found.value)
    one = tmp_path / "b.jsonl"
    one.write_text('{"sentence": "a", "label": 1, "who": "me"}\n')
    with pytest.raises(DataError, match="without the who 'me' no example is left"):
        load_splits(config(path=str(one), held_out_column="who", held_out_value="me"), COLUMNS)
    with pytest.raises(ConfigError, match="Set held_out_column"):
        config(held_out_value="me")


def test_a_held_out_group_of_the_demo_corpus_and_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def demo() -> dict[str, list[dict[str, str]]]:
        rows = [{"text": f"text {i} p{i % 3} m", "label": "x", "who": f"p{i % 3}"} for i in range(30)]
        return {"train": rows, "test": [{"text": "t", "label": "x"}]}

    splits = load_splits(config(demo=True, held_out_column="who", held_out_value="p1"), COLUMNS, demo=demo)
    assert people(splits, "test") == {"p1"}
    assert people(splits, "train") | people(splits, "validation") == {"p0", "p2"}
    with pytest.raises(DataError, match=r"has no column 'whom'\. Columns there: text, label, who"):
        load_splits(config(demo=True, held_out_column="whom", held_out_value="p1"), COLUMNS, demo=demo)

    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hub = tmp_path / "someone" / "people"
    hub.mkdir(parents=True)
    write_people(hub / "train.jsonl")
    write(hub / "test.jsonl", 5)  # it has no such column, and is not looked at
    given = {"hub": {"name": str(hub)}, "held_out_column": "who", "held_out_value": "p1"}
    splits = load_splits(config(**given, group="movie"), COLUMNS)
    assert people(splits, "test") == {"p1"}
    assert "p1" not in people(splits, "train") | people(splits, "validation")
    assert not people(splits, "test", 3) & people(splits, "train", 3)
    with pytest.raises(DataError, match=r"no column 'whom'.*Columns there: sentence, label, who, movie"):
        load_splits(config(**{**given, "held_out_column": "whom"}), COLUMNS)


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
