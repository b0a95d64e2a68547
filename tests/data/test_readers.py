"""Files as people have them: each format, plain and packed, and each way in which one can be broken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from seqkit.data.readers import file_format, read_table
from seqkit.errors import DataError

ROWS = [("good film", "1"), ('a "quoted" one, with comma', "0"), ("größer 漢字", "1")]


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def content(kind: str) -> str:
    if kind == "jsonl":
        return "".join(json.dumps({"id": i, "text": t, "label": int(y)}) + "\n" for i, (t, y) in enumerate(ROWS))
    if kind == "tsv":
        return "label\ttext\n" + "".join(f"{y}\t{t}\n" for t, y in ROWS)
    return "label,text\n" + "".join(f'{y},"{t.replace(chr(34), 2 * chr(34))}"\n' for t, y in ROWS)


def message(path: Path, *columns: str) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, columns or ("text", "label"))
    return str(caught.value)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str, start: str, packed: str) -> None:
    path = write(tmp_path / f"a.{kind}{packed}", start + content(kind))
    table = read_table(path, ["text", "label"])
    assert list(zip(table.columns["text"], table.columns["label"], strict=True)) == ROWS
    first = 1 if kind == "jsonl" else 2
    assert table.places == [f"{path}:{first + i}" for i in range(3)]
    assert table.left_out == {}


def test_windows_line_ends(tmp_path: Path) -> None:
    for kind in ("csv", "tsv", "jsonl"):
        path = write(tmp_path / f"a.{kind}", content(kind).replace("\n", "\r\n"))
        assert read_table(path, ["text", "label"]).columns["text"] == [text for text, _ in ROWS]


def test_csv_fields_can_span_lines_and_the_place_is_where_the_row_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"two\nlines",1\n\nnext,0\n')
    table = read_table(path, ["text", "label"])
    assert table.columns["text"] == ["two\nlines", "next"]
    assert table.places == [f"{path}:2", f"{path}:5"]


def test_a_quote_in_tsv_is_a_character(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"open\t1\nclose"\t0\n')
    assert read_table(path, ["text"]).columns["text"] == ['"open', 'close"']


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_line_of_a_megabyte(tmp_path: Path, kind: str) -> None:
    long = "word " * 200_000
    line = (
        json.dumps({"text": long, "label": 1})
        if kind == "jsonl"
        else ("\t" if kind == "tsv" else ",").join([long, "1"])
    )
    path = write(
        tmp_path / f"a.{kind}",
        ("" if kind == "jsonl" else line.replace(long, "text")[:4] + line[-2] + "label\n") + line,
    )
    assert read_table(path, ["text", "label"]).columns["text"] == [long]


def test_empty_lines_are_skipped_and_rows_without_a_needed_value_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "text\tlabel\tmovie\na\t1\tx\n\n \t1\tx\nb\t\tx\nc\t0\t\n")
    table = read_table(path, ["text", "label"], optional=["movie"])
    assert table.columns == {"text": ["a", "c"], "label": ["1", "0"], "movie": ["x", ""]}
    assert table.left_out == {"nothing in column 'text'": 1, "nothing in column 'label'": 1}
    assert table.places[1] == f"{path}:6"


def test_json_values_become_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"x": 1}\n{"x": true}\n{"x": 0.5}\n{"x": null}\n')
    table = read_table(path, ["x"])
    assert table.columns["x"] == ["1", "true", "0.5"]
    assert table.left_out == {"nothing in column 'x'": 1}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz"])
@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_file(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / name, text)
    assert f"{path}: the file is empty" in message(path)


def test_a_header_without_rows(tmp_path: Path) -> None:
    assert "holds no examples" in message(write(tmp_path / "a.csv", "text,label\n"))


def test_a_missing_column_names_the_nearest_and_lists_all(tmp_path: Path) -> None:
    said = message(write(tmp_path / "a.csv", "Texts,label\nx,1\n"), "Text")
    assert "a.csv:1: there is no column 'Text'" in said
    assert "Columns there: Texts, label" in said
    assert "Did you mean 'Texts'?" in said
    assert "a.jsonl:2: there is no key 'text'" in message(
        write(tmp_path / "a.jsonl", '{"text": "x"}\n{"txt": "y"}\n'), "text"
    )


def test_a_wrong_separator_is_guessed(tmp_path: Path) -> None:
    assert "separator seems to be ';'" in message(write(tmp_path / "a.csv", "text;label\nx;1\n"))
    assert "separator seems to be a tab" in message(write(tmp_path / "a.csv", "text\tlabel\nx\t1\n"))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.tsv.gz"])
def test_what_is_not_utf8_is_named_by_line(tmp_path: Path, name: str) -> None:
    kind = name.split(".")[1]
    path = write(tmp_path / name, content(kind).encode() + b"caf\xe9\n")
    line = 4 if kind == "jsonl" else 5
    said = message(path)
    assert f"{path}:{line}: byte 4 of the line (0xe9) is not UTF-8" in said


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"text": "x"', "not valid JSON"),
        ("[1, 2]", "holds a list, not a JSON object"),
        ('"x"', "holds a text, not a JSON object"),
        ('{"text": ["x"], "label": 1}', "'text' holds a list"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_broken_json_lines(tmp_path: Path, line: str, expected: str) -> None:
    said = message(write(tmp_path / "a.jsonl", '{"text": "x", "label": 1}\n' + line + "\n"))
    assert "a.jsonl:2: " in said
    assert expected in said


@pytest.mark.parametrize("row", ["x", "x,1,2"])
def test_a_row_with_another_number_of_fields(tmp_path: Path, row: str) -> None:
    said = message(write(tmp_path / "a.csv", f"text,label\ny,1\n{row}\n"))
    assert "a.csv:3: the row has" in said
    assert "the header 2" in said


def test_an_open_quote(tmp_path: Path) -> None:
    assert "a.csv:3: not valid CSV" in message(write(tmp_path / "a.csv", 'text,label\ny,1\n"open,1\nmore,0\n'))


def test_a_column_that_stands_twice(tmp_path: Path) -> None:
    assert "stands twice" in message(write(tmp_path / "a.csv", "text,text,label\nx,y,1\n"))


def test_damaged_gzip(tmp_path: Path) -> None:
    raw = gzip.compress(content("tsv").encode() * 100)
    flipped = bytearray(raw)
    flipped[len(raw) // 2] ^= 0xFF
    for name, broken in (("cut", raw[: len(raw) // 2]), ("flipped", bytes(flipped)), ("foreign", b"label\ttext\n")):
        path = tmp_path / f"{name}.tsv.gz"
        path.write_bytes(broken)
        assert f"{path}: damaged gzip file" in message(path)


def test_format_by_name(tmp_path: Path) -> None:
    assert file_format(Path("a.TSV.gz")) == "tsv"
    assert file_format(Path("a.txt.gz")) == "txt"
    assert file_format(Path("a.txt"), "csv") == "csv"
    with pytest.raises(DataError, match=r"data\.format"):
        file_format(Path("a.dat"))


def test_text_file_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text('one, "two\n\n  three\n')
    kept = read_table(path, [], optional=["anything"])
    assert kept.columns == {"anything": ['one, "two', "", "  three"]}
    assert kept.places == [f"{path}:1", f"{path}:2", f"{path}:3"]
    needed = read_table(path, ["text"])
    assert needed.columns["text"] == ['one, "two', "  three"]
    assert needed.left_out == {"nothing in column 'text'": 1}
    with pytest.raises(DataError, match="no column 'label'"):
        read_table(path, ["text", "label"])

    assert "No such file" in message(tmp_path / "absent.csv")
