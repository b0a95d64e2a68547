"""Folders that need no table: LibriSpeech's transcripts, and a sub-folder for each class."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from seqkit.data.class_folders import read_class_folders
from seqkit.data.config import DataConfig
from seqkit.data.items import Broken, prepare_all
from seqkit.data.splits import Sources, fingerprint, load_file, load_splits
from seqkit.data.transcripts import read_transcripts
from seqkit.errors import DataError

SPEECH = {"audio": "path", "text": "sentence"}
SPEAKING = Sources(files=frozenset({"audio"}), folder=read_transcripts)
VIDEO = {"video": "path", "label": "action"}
MOVING = Sources(files=frozenset({"video"}), folder=partial(read_class_folders, suffixes=(".avi", ".mp4")))


def write(root: Path, *names: str, content: bytes = b"x") -> Path:
    """Make files and the folders that they are in."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    """Two speakers of two utterances each."""
    root = write(tmp_path / "libri", *(f"clean/{s}/7/{s}-7-000{n}.flac" for s in (19, 26) for n in (0, 1)))
    for speaker in (19, 26):
        lines = f"{speaker}-7-0000 FIRST WORDS\n{speaker}-7-0001 MORE WORDS\n".encode()
        write(root, f"clean/{speaker}/7/{speaker}-7.trans.txt", content=lines)
    return root


@pytest.fixture
def actions(tmp_path: Path) -> Path:
    """Two classes, with five clips and four."""
    names = ["kick/b.avi", "kick/a.MP4", "kick/c.avi", "kick/scene 2/d.avi", "kick/scene 2/e.avi"]
    return write(tmp_path / "actions", *names, *(f"wave hands/{name}.avi" for name in "abcd"))


# Transcripts ---------------------------------------------------------------------------------------------------------


def test_only_sounds_are_taken_for_sounds(libri: Path) -> None:
    chapter = write(libri / "clean/19/7", "19-7-0000.txt", "19-7-0000.wav", "19-7-0000.lab", "._19-7.trans.txt")
    (chapter / "19-7-0001.flac").rename(chapter / "19-7-0001.OGG")
    write(chapter, "19-7-0001.mp3", "19-7-0001.json", "._19-7.trans.txt", content=b"\xff\xfe")
    names = [Path(path).name for path in load_file(libri, DataConfig(), SPEECH, sources=SPEAKING).column("audio")]
    assert names[:2] == ["19-7-0000.flac", "19-7-0001.OGG"]


def test_windows_lines_tabs_and_empty_lines_of_transcripts(libri: Path) -> None:
    file = libri / "clean/19/7/19-7.trans.txt"
    file.write_bytes(b"19-7-0000\tTABBED  WORDS \r\n\r\n19-7-0001  SPACED\r\n")
    split = load_file(libri, DataConfig(), SPEECH, sources=SPEAKING)
    assert split.column("text")[:2] == ["TABBED  WORDS", "SPACED"]
    assert split.column("audio")[0].endswith("19-7-0000.flac")
    assert split.column("place")[:2] == [f"{file}:1", f"{file}:3"]


def test_a_speaker_is_held_out(libri: Path) -> None:
    config = DataConfig(path=str(libri), held_out_column="speaker", held_out_value="26", validation_fraction=0)
    splits = load_splits(config, SPEECH, sources=SPEAKING)
    assert {name: {Path(file).name[:2] for file in part.column("audio")} for name, part in splits.items()} == {
        "train": {"19"},
        "test": {"26"},
    }
    with pytest.raises(DataError, match=r"gives no column 'who'\. It gives audio, text, speaker\."):
        load_splits(config.model_copy(update={"held_out_column": "who"}), SPEECH, sources=SPEAKING)


def test_a_named_manifest_wins_over_transcripts(libri: Path) -> None:
    (libri / "train.tsv").write_text("path\tsentence\nclean/26/7/26-7-0001.flac\tOTHER WORDS\n")
    config = DataConfig(path=str(libri), train="train.tsv", validation_fraction=0, test_fraction=0)
    train = load_splits(config, SPEECH, sources=SPEAKING)["train"]
    assert train.column("text") == ["OTHER WORDS"]
    assert train.column("audio") == [str(libri / "clean/26/7/26-7-0001.flac")]


def test_a_manifest_that_is_not_there_says_how_to_read_the_folder(libri: Path) -> None:
    config = DataConfig(path=str(libri), train="an4/train.tsv", test="an4/test.tsv")
    hint = r"'an4/train\.tsv' is not found in .* set data\.train=null data\.test=null\.$"
    with pytest.raises(DataError, match=hint):
        load_splits(config, SPEECH, sources=SPEAKING)
    with pytest.raises(DataError, match="Put it there, or give another folder or file"):  # a recipe of texts
        load_splits(config, SPEECH)
    with pytest.raises(DataError, match=r"The test file 'not' .* set data\.test=null to cut"):
        load_splits(config.model_copy(update={"train": "clean/19", "test": "not"}), SPEECH, sources=SPEAKING)
    (libri / "clean/19/7/19-7.trans.txt").write_text("19-7-0000\n")  # another fault does not hide this one
    with pytest.raises(DataError, match=r"'an4/train\.tsv' is not found"):
        load_splits(config, SPEECH, sources=SPEAKING)


def test_parts_that_are_named_beside_a_folder_are_read(libri: Path) -> None:
    train, test = libri / "clean" / "19", libri / "clean" / "26"
    config = DataConfig(path=str(train), test=str(test), validation_fraction=0)
    splits = load_splits(config, SPEECH, sources=SPEAKING)
    assert {name: part.origin for name, part in splits.items()} == {"train": str(train), "test": str(test)}
    for named in ({"path": str(libri / "clean")}, {"path": str(libri), "train": "clean"}):
        with pytest.raises(DataError, match=re.escape(f"The test part {test} lies within the training part")):
            load_splits(DataConfig.model_validate({**named, "test": str(test)}), SPEECH, sources=SPEAKING)


# Classes -------------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_label(actions: Path) -> None:
    split = load_file(actions, DataConfig(), VIDEO, sources=MOVING)
    assert list(zip(split.column("label"), split.column("video"), strict=True)) == [
        *(("kick", str(actions / "kick" / name)) for name in ("a.MP4", "b.avi", "c.avi")),
        *(("kick", str(actions / "kick" / "scene 2" / name)) for name in ("d.avi", "e.avi")),
        *(("wave hands", str(actions / "wave hands" / f"{name}.avi")) for name in "abcd"),
    ]
    assert split.column("place") == split.column("video")
    assert split.left_out == {}


def test_its_columns_can_be_named() -> None:
    folder = Path(__file__).parents[1]  # tests: a folder of folders
    table = read_class_folders(folder, suffixes={".py"}, file="code", label="room")
    assert table is not None
    assert set(table.columns) == {"code", "room", "folder"}
    assert ("data", str(Path(__file__))) in set(zip(table.columns["room"], table.columns["code"], strict=True))


def test_parts_are_cut_by_label_and_by_folder(actions: Path) -> None:
    config = DataConfig(path=str(actions), validation_fraction=0.25, test_fraction=0.25)
    for part in load_splits(config, VIDEO, stratify="label", sources=MOVING).values():
        assert set(part.column("label")) == {"kick", "wave hands"}
    for seed in range(6):
        grouped = config.model_copy(update={"group": "folder", "split_seed": seed})
        splits = load_splits(grouped, VIDEO, sources=MOVING)
        assert sum("scene 2" in " ".join(part.column("video")) for part in splits.values()) == 1


def test_a_moved_folder_has_the_same_fingerprint(actions: Path) -> None:
    def mark(folder: Path) -> str:
        return fingerprint(load_file(folder, DataConfig(), VIDEO, sources=MOVING))

    before = mark(actions)
    moved = actions.rename(actions.with_name("moved"))
    assert mark(moved) == before
    (moved / "kick").rename(moved / "punch")
    assert mark(moved) != before


def test_what_is_not_read_is_counted(actions: Path) -> None:
    write(actions, "readme.txt", "late.avi", "kick/notes.TXT", "kick/scene 2/list", ".git/x.avi", "kick/._a.avi")
    write(actions, "jump/a.mov", "__MACOSX/kick/._a.avi")
    split = load_file(actions, DataConfig(), VIDEO, sources=MOVING)
    assert len(split) == 9
    assert split.left_out == {
        "a file in no sub-folder": 1,
        "a .txt file, which is not read": 1,
        "a file without an ending, which is not read": 1,
        "a .mov file, which is not read": 1,
        "the sub-folder 'jump', which holds no file to read": 1,
        "the sub-folder '__MACOSX', which holds no file to read": 1,
    }


def test_classes_that_differ_in_case_alone(actions: Path) -> None:
    write(actions, "Wave Hands/a.avi")
    with pytest.raises(DataError, match="'Wave Hands' and 'wave hands' differ in case alone"):
        load_file(actions, DataConfig(), VIDEO, sources=MOVING)


def test_the_parts_of_a_data_set_are_not_classes(actions: Path) -> None:
    root = actions.parent / "parts"
    for part in ("Train", "val", "test"):
        write(root / part, *(f"{name}/{n}.avi" for name in ("kick", "wave") for n in range(3)))
    with pytest.raises(DataError, match=r"\(Train, test, val\) are parts, not classes\.") as caught:
        load_splits(DataConfig(path=str(root)), VIDEO, sources=MOVING)
    named = dict(key.removeprefix("data.").split("=") for key in str(caught.value).split() if key.startswith("data."))
    splits = load_splits(DataConfig.model_validate(named), VIDEO, sources=MOVING)  # what the error says to do
    assert {name: Path(part.origin).name for name, part in splits.items()} == {
        "train": "Train",
        "validation": "val",
        "test": "test",
    }


def test_folders_without_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing in it says .* a table with columns path, action"):
        load_file(write(tmp_path / "a", "readme.txt"), DataConfig(), VIDEO, sources=MOVING)
    with pytest.raises(DataError, match=r"its 2 files \(\.avi, \.mp4\) lie in no sub-folder"):
        load_file(write(tmp_path / "b", "1.avi", "2.avi"), DataConfig(), VIDEO, sources=MOVING)
    with pytest.raises(DataError, match=r"none of its 2 sub-folders holds a file to read \(\.avi, \.mp4\)"):
        load_file(write(tmp_path / "c", "kick/1.png", "wave/1.png"), DataConfig(), VIDEO, sources=MOVING)


def test_a_broken_file_is_named_once(actions: Path) -> None:
    def prepare(example: dict[str, str]) -> dict[str, str]:
        raise Broken(f"{example['video']}: this is no video.")

    split = load_file(actions, DataConfig(), VIDEO, sources=MOVING)
    broken = prepare_all(split, prepare, len).broken  # type: ignore[arg-type]
    assert broken[0] == f"{actions / 'kick' / 'a.MP4'}: this is no video."


# Manifests -----------------------------------------------------------------------------------------------------------


def test_a_table_with_more_columns_is_cut_by_speaker(tmp_path: Path) -> None:
    rows = ["utt_id\tpath\tspeaker\tsex\tseconds\ttext"]
    rows += [f'u{n}\taudio/s{n % 8}-u{n}.flac\ts{n % 8}\tf\t1.5\tSAY "{n}' for n in range(40)]
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n")
    config = DataConfig(path=str(tmp_path), train="train.tsv", group="speaker", test_fraction=0)
    splits = load_splits(config, {"audio": "path", "text": "text"}, sources=SPEAKING)
    assert {name: len(part) for name, part in splits.items()} == {"train": 35, "validation": 5}
    speakers = [{Path(file).name[:2] for file in part.column("audio")} for part in splits.values()]
    assert speakers[0] | speakers[1] == {f"s{n}" for n in range(8)}
    assert not speakers[0] & speakers[1]
    example = next(iter(splits["validation"]))
    name = Path(example["audio"]).name
    number = int(name.removesuffix(".flac").partition("u")[2])
    assert example["audio"] == str(tmp_path / "audio" / name)  # no such file: nothing is opened yet
    assert example["text"] == f'SAY "{number}'
    assert example["place"] == f"{tmp_path / 'train.tsv'}:{number + 2}"
