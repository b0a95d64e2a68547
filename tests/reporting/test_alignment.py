"""Pictures and the table of translations: none overwritten, any character drawn, the worst first."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.errors import RunError
from seqkit.heads.translations import Alignment, Candidate, Translated
from seqkit.reporting.alignment import save_alignment, save_alignments, save_translations

STRANGE = ["$x$", "$", "_^{", "\\frac{1}", "%", "猫", "한", "\u2581and", "ab", "🙂", "", "<unk>", "&amp;", "<eos>"]


def _alignment(source: list[str], target: list[str]) -> Alignment:
    weights = np.random.default_rng(0).dirichlet(np.ones(len(source)), size=len(target)).astype(np.float32)
    return Alignment(source, target, weights)


def _size(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", head[16:24])
    return width, height


@dataclass(frozen=True)
class Judged:
    """An evaluated pair."""

    place: str
    item: dict[str, Any]
    prediction: Translated


def _outcome(place: str, source: str, target: str, text: str) -> Judged:
    alignment = _alignment([*source.split(), "<eos>"], [*text.split(), "<eos>"])
    return Judged(place, {"source": source, "target": target}, Translated([Candidate(text, -1.0, -1.0)], alignment))


def _score(text: str, target: str) -> float:
    return 100.0 * (text == target) + len(text)


# Pictures ------------------------------------------------------------------------------------------------------------


def test_pictures_are_numbered_and_none_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "pictures"
    one = _alignment(["a", "b", "<eos>"], ["x", "<eos>"])
    first = save_alignment(one, folder)
    assert first == folder / "alignment-1.png"
    (folder / "alignment-2.png").write_bytes(b"mine")
    before = first.read_bytes()
    assert save_alignment(one, folder).name == "alignment-3.png"
    assert first.read_bytes() == before
    assert (folder / "alignment-2.png").read_bytes() == b"mine"
    first.unlink()
    assert save_alignment(one, folder) == first


@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_character_is_drawn(tmp_path: Path) -> None:
    """A sign of a formula is no formula, and a script that the font lacks stops nothing."""
    width, height = _size(save_alignment(_alignment(STRANGE, STRANGE[::-1]), tmp_path))
    assert min(width, height) > 300


@pytest.mark.parametrize(("source", "target"), [(1, 1), (2, 300), (300, 2)])
def test_a_long_sentence_is_cut_off_and_a_short_one_drawn(tmp_path: Path, source: int, target: int) -> None:
    width, height = _size(save_alignment(_alignment(["word"] * source, ["word"] * target), tmp_path))
    assert 50 < width < 130 * 0.5 * 60  # 130 dots an inch, and less than half an inch for each of the 60 tokens shown
    assert 50 < height < 130 * 0.5 * 60


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="file"):
        save_alignment(_alignment(["a"], ["b"]), tmp_path / "file")


@pytest.mark.parametrize("count", [1, 3])
def test_several_are_drawn_in_one_picture(tmp_path: Path, count: int) -> None:
    picture = tmp_path / "all.png"
    ones = [_alignment(["a"] * (number + 1), ["b"] * 2) for number in range(count)]
    assert save_alignments(ones, picture, title="where") == picture
    assert min(_size(picture)) > 100


# The table -----------------------------------------------------------------------------------------------------------


def test_the_table_has_the_worst_translation_first(tmp_path: Path) -> None:
    outcomes = [
        _outcome("f:1", "a b", "x y", "x y"),
        _outcome("f:2", "a", "x", "not it"),
        _outcome("f:3", "b", "y", "no"),
        _outcome("f:4", "c", "z", "on"),
    ]
    picture, table = save_translations(outcomes, _score, tmp_path, "test")
    assert picture == tmp_path / "attention-test.png"
    assert _size(picture)[0] > 100
    assert table == tmp_path / "translations-test.tsv"
    assert table.read_text(encoding="utf-8").split("\n") == [
        "place\tscore\tsource\treference\ttranslation",
        "f:3\t2.0\tb\ty\tno",
        "f:4\t2.0\tc\tz\ton",
        "f:2\t6.0\ta\tx\tnot it",
        "f:1\t103.0\ta b\tx y\tx y",
        "",
    ]


def test_a_tab_or_the_end_of_a_line_in_a_text_stays_in_its_cell(tmp_path: Path) -> None:
    outcomes = [_outcome("f:1", "a\tb\nc  d", "x\r\ny\u2028z", "p\x85q\tr")]
    _, table = save_translations(outcomes, _score, tmp_path, "validation")
    lines = table.read_text(encoding="utf-8").splitlines()
    assert [line.split("\t") for line in lines[1:]] == [["f:1", "5.0", "a b c d", "x y z", "p q r"]]


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_the_sentences_drawn_are_of_middle_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    drawn: list[int] = []

    def save(alignments: Any, path: Path, *, title: str) -> Path:
        drawn.extend(len(one.source) for one in alignments)
        return path

    monkeypatch.setattr("seqkit.reporting.alignment.save_alignments", save)
    outcomes = [_outcome(f"f:{n}", "w " * (n + 1), "x", "y") for n in reversed(range(count))]
    save_translations(outcomes, _score, tmp_path, "test")
    lengths = list(range(2, count + 2))
    assert drawn == (lengths if count <= 4 else [4, 5, 6, 7])
