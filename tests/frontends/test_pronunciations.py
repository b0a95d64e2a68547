"""Words by their sound: what a lexicon says is what is written, and what is nearly said is the nearest word."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from seqkit.errors import ConfigError, DataError, RunError
from seqkit.frontends.pronunciations import Pronunciations, read_pronunciations
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig

LEXICON = """;;; a comment
A          AH
A(2)       EY
B          B IY
TWO        T UW
TO         T UW

ZERO       Z IH R OW
ZERO(2)    Z IY R OW
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "words.dic"
    file.write_text(LEXICON)
    return file


def _frontend(path: Path, spoken: dict[str, str] | None = None) -> TextFrontend:
    config = TokenizerConfig(kind="phones", spoken=spoken or {})
    return TextFrontend(config).fit([], lexicon=read_pronunciations(path))


def test_a_lexicon_is_read_with_its_variants(path: Path, tmp_path: Path) -> None:
    found = read_pronunciations(path)
    assert list(found) == ["A", "B", "TWO", "TO", "ZERO"]
    assert found["ZERO"] == [("Z", "IH", "R", "OW"), ("Z", "IY", "R", "OW")]
    packed = tmp_path / "words.dic.gz"
    packed.write_bytes(gzip.compress(LEXICON.encode()))
    assert read_pronunciations(packed) == found


@pytest.mark.parametrize(("text", "said"), [("A AH\nB\n", r"words\.dic:2: 'B' has no phones"), (" \n", "no words")])
def test_a_damaged_lexicon_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "words.dic"
    file.write_text(text)
    with pytest.raises(DataError, match=said):
        read_pronunciations(file)


@pytest.mark.parametrize("text", ["", "B", "ZERO B TWO", "A A A"])
def test_what_is_written_is_read_again(path: Path, tmp_path: Path, text: str) -> None:
    frontend = _frontend(path)
    assert frontend.decode(frontend.encode(text)) == text
    frontend.save(tmp_path)
    loaded = TextFrontend.load(tmp_path)
    assert loaded.decode(frontend.encode(text)) == text
    assert loaded.spellings("ZERO") == frontend.spellings("ZERO")
    np.testing.assert_array_equal(loaded.encode(text), frontend.encode(text))


def test_the_tokens_are_the_phones_and_the_space_between_words(path: Path) -> None:
    frontend = _frontend(path)
    assert frontend.pieces(frontend.encode("B ZERO")) == ["B", "IY", " ", "Z", "IH", "R", "OW"]
    assert frontend.pieces(range(frontend.vocab_size))[:2] == ["<unk>", " "]
    assert frontend.encode("B WHAT").tolist()[-1] == frontend.unk_id == 0
    assert frontend.spellings("WHAT") == []
    assert [frontend.pieces(way) for way in frontend.spellings("A")] == [["AH"], ["EY"]]


def test_training_reads_the_way_that_is_chosen(path: Path) -> None:
    frontend = _frontend(path, {"A": "EY"})
    assert frontend.pieces(frontend.encode("A")) == ["EY"]
    assert [frontend.pieces(way) for way in frontend.spellings("A")] == [["EY"], ["AH"]]
    with pytest.raises(DataError, match=r"says 'A' as AH or EY, and tokenizer.spoken as OY"):
        _frontend(path, {"A": "OY"})
    with pytest.raises(DataError, match=r"says .C. as nothing"):
        _frontend(path, {"C": "S IY"})


@pytest.mark.parametrize(
    ("phones", "text"),
    [
        ("T UW", "TWO"),  # of words that sound alike the lexicon's first
        ("Z R OW", "ZERO"),
        ("Z IH R OW B", "ZERO"),
        ("P IY", "B"),
        ("EY | | B IY", "A B"),  # two spaces in a row
        ("| EY |", "A"),
        ("", ""),
    ],
)
def test_what_is_nearly_said_is_the_nearest_word(path: Path, phones: str, text: str) -> None:
    found = read_pronunciations(path)
    found["P"] = [("P", "AY")]
    vocabulary = Pronunciations.fit(found, {})
    ids = [vocabulary.tokens.index(" " if phone == "|" else phone) for phone in phones.split()]
    assert vocabulary.decode(ids) == text


def test_phones_need_a_lexicon_and_a_run_that_is_whole(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a lexicon"):
        TextFrontend(TokenizerConfig(kind="phones")).fit(["B"])
    with pytest.raises(ValueError, match="spoken is for kind=phones"):
        TokenizerConfig(kind="char", spoken={"A": "EY"})
    _frontend(path).save(tmp_path)
    (tmp_path / "pronunciations.json").write_text("[1, 2]")
    with pytest.raises(RunError, match="not a lexicon"):
        TextFrontend.load(tmp_path)
