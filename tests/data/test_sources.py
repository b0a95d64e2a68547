"""Examples that are files: named in a table, by a folder's layout, or held in a data set; and those that are broken."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.data.cache import opened_cache
from seqkit.data.config import DataConfig, HubConfig
from seqkit.data.items import Broken, Item, Unusable, prepare_all
from seqkit.data.splits import Sources, fingerprint, load_file, load_splits
from seqkit.data.transcripts import read_transcripts
from seqkit.errors import DataError
from tests import tones
from tests.data.sounds import Sounds

COLUMNS = {"audio": "file", "text": "words"}
SOURCES = Sources(files=frozenset({"audio"}), folder=read_transcripts)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tones.write_manifest(tmp_path / "corpus", tones.texts(12))


def test_paths_begin_at_the_table(table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for given in (table, table.relative_to(tmp_path)):
        split = load_file(given, DataConfig(), COLUMNS, sources=SOURCES)
        assert split.column("audio") == [str(table.parent / "sounds" / f"said-{i}.wav") for i in range(12)]
        assert split.column("place")[0].endswith("said.tsv:2")


def test_absolute_paths_stay(table: Path) -> None:
    rows = [str(table.parent / line) for line in table.read_text().splitlines()[1:]]
    other = table.parent.parent / "other.tsv"
    other.write_text("\n".join(["file\twords\tspeaker", *rows]))
    assert load_file(other, DataConfig(), COLUMNS, sources=SOURCES).column("audio") == [r.split("\t")[0] for r in rows]


def test_speakers_stay_together(table: Path) -> None:
    config = DataConfig(path=str(table), group="speaker", validation_fraction=0.25, test_fraction=0.25)
    splits = load_splits(config, COLUMNS, sources=SOURCES)
    speakers = {
        name: {int(Path(f).stem.split("-")[1]) % 4 for f in split.column("audio")} for name, split in splits.items()
    }
    assert set.union(*speakers.values()) == set(range(4))
    assert sum(map(len, speakers.values())) == 4


def test_fingerprint_is_of_the_files(table: Path, tmp_path: Path) -> None:
    before = fingerprint(load_file(table, DataConfig(), COLUMNS, sources=SOURCES))
    shutil.copytree(table.parent, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / table.name
    assert fingerprint(load_file(moved, DataConfig(), COLUMNS, sources=SOURCES)) == before
    tones.write_wav(tmp_path / "elsewhere" / "sounds" / "said-3.wav", np.zeros(10, dtype=np.float32))
    assert fingerprint(load_file(moved, DataConfig(), COLUMNS, sources=SOURCES)) != before


# Folders -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    """LibriSpeech's layout: speakers, chapters, and a file of transcripts for each."""
    for speaker, chapter in (("19", "198"), ("26", "495"), ("27", "123")):
        folder = tmp_path / "libri" / speaker / chapter
        folder.mkdir(parents=True)
        lines = []
        for number in range(4):
            name = f"{speaker}-{chapter}-{number:04}"
            (folder / f"{name}.flac").write_bytes(b"x")
            lines.append(f"{name} SOME WORDS {number}")
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "libri"


def test_a_folder_with_transcripts(libri: Path) -> None:
    columns = {"audio": "audio", "text": "text"}
    split = load_file(libri, DataConfig(), columns, sources=SOURCES)
    assert len(split) == 12
    first = next(iter(split))
    assert first["audio"] == str(libri / "19" / "198" / "19-198-0000.flac")
    assert first["text"] == "SOME WORDS 0"
    assert first["place"] == f"{libri / '19' / '198' / '19-198.trans.txt'}:1"
    config = DataConfig(path=str(libri), group="speaker", validation_fraction=0.3, test_fraction=0.3)
    assert {name: len(part) for name, part in load_splits(config, columns, sources=SOURCES).items()} == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }
    parts = DataConfig(path=str(libri), train="19", validation="26/495", test="27")
    assert {name: len(part) for name, part in load_splits(parts, columns, sources=SOURCES).items()} == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }


def test_other_formats_and_missing_sounds(libri: Path) -> None:
    (libri / "19" / "198" / "19-198-0000.flac").rename(libri / "19" / "198" / "19-198-0000.opus")
    (libri / "19" / "198" / "19-198-0001.flac").unlink()
    files = load_file(libri, DataConfig(), {"audio": "audio", "text": "text"}, sources=SOURCES).column("audio")
    assert Path(files[0]).suffix == ".opus"
    assert not Path(files[1]).exists()


def test_folders_that_say_nothing(libri: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="nothing in it says"):
        load_file(tmp_path / "empty", DataConfig(), COLUMNS, sources=SOURCES)
    with pytest.raises(DataError, match="nothing in it says"):
        load_file(libri, DataConfig(), COLUMNS)  # a recipe of texts
    with pytest.raises(DataError, match=r"no column 'dialect'.*audio, text, speaker"):
        load_splits(DataConfig(path=str(libri), group="dialect"), {"audio": "audio", "text": "text"}, sources=SOURCES)
    (libri / "19" / "198" / "19-198.trans.txt").write_text("19-198-0000\n")
    with pytest.raises(DataError, match=r"19-198\.trans\.txt:1: there are no words after '19-198-0000'"):
        load_file(libri, DataConfig(), COLUMNS, sources=SOURCES)


# Data sets that hold their files -------------------------------------------------------------------------------------


def test_sounds_within_a_data_set(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = sorted((table.parent / "sounds").iterdir())
    rows = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": plain, "words": datasets.Value("string")})
    made = datasets.Dataset.from_dict({"audio": rows, "words": ["AB"] * len(rows)}, features=features)
    made = made.cast_column("audio", datasets.Audio(decode=False))  # which encodes nothing
    (tmp_path / "hub").mkdir()
    made.to_parquet(tmp_path / "hub" / "train.parquet")
    config = DataConfig(hub=HubConfig(name=str(tmp_path / "hub")), validation_fraction=0, test_fraction=0)
    for _ in range(2):  # written once, and found again
        split = load_splits(config, {"audio": "audio", "text": "words"}, sources=SOURCES)["train"]
        paths = [Path(path) for path in split.column("audio")]
        assert [path.read_bytes() for path in paths] == [file.read_bytes() for file in files]
        assert all(path.suffix == ".wav" and tmp_path / "cache" in path.parents for path in paths)


# Broken examples -----------------------------------------------------------------------------------------------------


def _prepare(example: Mapping[str, Any]) -> Item:
    if example["text"] == "damaged":
        raise Broken("x.wav: cannot be read")
    if example["text"] == "long":
        raise Unusable("too long")
    return {"text": example["text"]}


def test_broken_examples_are_named_and_counted() -> None:
    examples = [{"text": text, "place": f"m.tsv:{n}"} for n, text in enumerate(("a", "damaged", "long", "damaged"), 2)]
    items = prepare_all(examples, _prepare, lambda item: 1)
    assert items.left_out == {"broken": 2, "too long": 1}
    assert items.broken == ["m.tsv:3: x.wav: cannot be read", "m.tsv:5: x.wav: cannot be read"]
    assert items.first(1).broken == items.broken
    assert len(items.first(1)) == 1


def test_what_is_broken_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.wav").write_bytes(b"1")
    example = {"audio": str(tmp_path / "a.wav"), "text": "damaged"}
    calls = []

    def prepare(given: Mapping[str, Any]) -> Item:
        calls.append(given)
        return _prepare(given)

    for _ in range(2):
        with opened_cache(Sounds()) as kept:
            assert prepare_all([example], prepare, lambda item: 1, None, kept).broken
    assert len(calls) == 2
