"""The report on transcripts: the worst first, errors above each other, words counted."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seqkit.heads.word_errors import aligned
from seqkit.reporting.transcripts import save_transcripts

TEXTS = [
    ("f:1", "the cat sat", "the cat sat"),
    ("f:2", "the cat sat", "the hat sat on"),
    ("f:3", "", "uh"),
    ("f:4", "a cat", ""),
    ("f:5", "the cat sat", "cat sit"),
    ("f:6", "", ""),
]


@dataclass(frozen=True)
class Said:
    """A prediction."""

    text: str


@dataclass(frozen=True)
class Heard:
    """An evaluated utterance."""

    place: str
    item: dict[str, Any]
    prediction: Said


def _outcomes(texts: list[tuple[str, str, str]]) -> list[Heard]:
    return [Heard(place, {"text": reference}, Said(hypothesis)) for place, reference, hypothesis in texts]


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def test_all_utterances_stand_in_a_table_the_worst_first(tmp_path: Path) -> None:
    table, errors, words, picture = save_transcripts(_outcomes(TEXTS), aligned, tmp_path, "test")
    names = ["transcripts-test.tsv", "errors-test.txt", "confused-words-test.tsv", "confused-words-test.png"]
    assert [path.name for path in (table, errors, words, picture)] == names
    assert _lines(table) == [
        "place\twer\terrors\twords\treference\thypothesis",
        "f:4\t1.0000\t2\t2\ta cat\t",
        "f:3\t1.0000\t1\t0\t\tuh",
        "f:2\t0.6667\t2\t3\tthe cat sat\tthe hat sat on",
        "f:5\t0.6667\t2\t3\tthe cat sat\tcat sit",
        "f:1\t0.0000\t0\t3\tthe cat sat\tthe cat sat",
        "f:6\t0.0000\t0\t0\t\t",
    ]


def test_errors_stand_above_each_other_with_a_mark(tmp_path: Path) -> None:
    _, errors, _, _ = save_transcripts(_outcomes(TEXTS), aligned, tmp_path, "test")
    assert _lines(errors)[0] == "4 of 6 utterances have an error, the worst first; 2 have none."
    assert "\n".join(_lines(errors)[3:]) == "\n".join(
        [
            "f:4  wer 1.0000: 2 of 2 words",
            "REF: a   cat",
            "HYP: *** ***",
            "     D   D",
            "",
            "f:3  wer 1.0000: 1 of 0 words",
            "REF: ***",
            "HYP: uh",
            "     I",
            "",
            "f:2  wer 0.6667: 2 of 3 words",
            "REF: the cat sat ***",
            "HYP: the hat sat on",
            "         S       I",
            "",
            "f:5  wer 0.6667: 2 of 3 words",
            "REF: the cat sat",
            "HYP: *** cat sit",
            "     D       S",
        ]
    )


def test_a_long_utterance_goes_on_below_and_wide_characters_keep_their_columns(tmp_path: Path) -> None:
    reference = " ".join(f"word{number:02}" for number in range(40))
    hypothesis = reference.replace("word20", "猫")
    _, errors, _, _ = save_transcripts(_outcomes([("f:1", reference, hypothesis)]), aligned, tmp_path, "test")
    lines = _lines(errors)[4:]
    assert max(map(len, lines)) <= 100
    assert " ".join(line.removeprefix("REF: ") for line in lines if line.startswith("REF:")) == reference
    assert " ".join(" ".join(line.split()[1:]) for line in lines if line.startswith("HYP:")) == hypothesis
    row = next(number for number, line in enumerate(lines) if "猫" in line)
    place = lines[row].index("猫")
    assert lines[row - 1][place : place + 6] == "word20"
    assert lines[row + 1][place] == "S"
    assert lines[row].index("word21") == lines[row - 1].index("word21") - 1  # 猫 takes two columns


def test_confused_words_are_counted_by_kind(tmp_path: Path) -> None:
    texts = [
        ("f:1", "b a", "c a"),
        ("f:2", "b a", "c"),
        ("f:3", "a b", "a b b"),
        ("f:4", "x", "y"),
        ("f:5", "a", ""),
        ("f:6", "x", "q"),
    ]
    for order in (texts, texts[::-1]):
        _, _, words, _ = save_transcripts(_outcomes(order), aligned, tmp_path, "test")
        assert _lines(words) == [
            "kind\tcount\treference\thypothesis",
            "substitute\t2\tb\tc",
            "substitute\t1\tx\tq",
            "substitute\t1\tx\ty",
            "delete\t2\ta\t",
            "insert\t1\t\tb",
        ]


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [("f:1", "a", "a")],
        [("f:1", "$x^{$ \\frac{1} _^{ % 猫 🙂 &amp;", "plain $y$ x_ 한 \u0301 <unk> #")],
        [("f:1", " ".join("ab"[n % 2] * n for n in range(1, 90)), " ".join("cd"[n % 2] * n for n in range(1, 90)))],
    ],
)
def test_any_words_are_drawn_the_same_each_time(tmp_path: Path, texts: list[tuple[str, str, str]]) -> None:
    picture = save_transcripts(_outcomes(texts), aligned, tmp_path, "test")[-1]
    first = picture.read_bytes()
    width, height = struct.unpack(">II", first[16:24])
    assert 500 < width < 3000
    assert 200 < height < 1500
    save_transcripts(_outcomes(texts), aligned, tmp_path, "test")
    assert picture.read_bytes() == first


def test_of_many_wrong_utterances_the_worst_are_written_out_and_the_others_counted(tmp_path: Path) -> None:
    rng = random.Random(0)
    texts = [(f"f:{n}", "a b c", " ".join(rng.choices("abcxy", k=3))) for n in range(400)]
    table, errors, _, _ = save_transcripts(_outcomes(texts), aligned, tmp_path, "test")
    rates = [float(line.split("\t")[1]) for line in _lines(table)[1:]]
    assert len(rates) == 400
    assert rates == sorted(rates, reverse=True)
    wrong = sum(rate > 0 for rate in rates)
    shown = sum(line.startswith("REF:") for line in _lines(errors))
    assert shown == 200 < wrong
    assert _lines(errors)[-1] == f"{wrong - 200} more have an error; the table of transcripts has them all."
