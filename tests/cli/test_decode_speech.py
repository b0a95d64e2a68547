"""`seqkit` and speech: files, folders and streams in; text, times, subtitles and pictures out; and bad files."""

from __future__ import annotations

import io
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.decoding import load_run
from seqkit.heads import word_search
from tests import tones

Command = Callable[..., Any]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A sound that a run reads."""
    return tones.write_wav(tmp_path / "clip.wav", tones.spoken("CAD AB DA", 50))


@pytest.fixture
def both(speech_runs: dict[str, Path]) -> Path:
    return speech_runs["both"]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], None]:
    """Put bytes on standard input."""

    def put(content: bytes) -> None:
        (tmp_path / "stdin.raw").write_bytes(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper((tmp_path / "stdin.raw").open("rb")))

    return put


def test_files_and_folders(seqkit: Command, both: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    tones.write_wav(tmp_path / "more" / "b.wav", tones.spoken("BB DA", 3))
    (tmp_path / "more" / "notes.txt").write_text("not a sound")
    result = seqkit("decode", both, clip, tmp_path / "more")
    assert (result.code, result.out) == (0, "CAD AB DA\nBB DA\n")


def test_other_rates_channels_and_codecs(seqkit: Command, both: Path, tmp_path: Path) -> None:
    from seqkit.media.write import write_audio

    for name in ("a.flac", "b.mp3", "c.opus", "d.m4a"):
        write_audio(tmp_path / name, tones.spoken("CAD AB DA", 50, rate=48000), 48000)
    result = seqkit("decode", both, tmp_path)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "CAD AB DA"
    assert [line[:6] for line in lines] == ["CAD AB"] * 4  # what a lossy codec leaves of the last word is not sure


def test_json(seqkit: Command, both: Path, clip: Path) -> None:
    result = json.loads(seqkit("decode", both, clip, "--json", "--n-best", "2").out)
    assert result["source"] == str(clip)
    assert result["text"] == "CAD AB DA"
    assert [word["word"] for word in result["words"]] == ["CAD", "AB", "DA"]
    times = [time for word in result["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    # Silence, three letters, a pause, two letters, ...: a letter lasts 0.12 s with its gap.
    np.testing.assert_allclose([word["start"] for word in result["words"]], [0.1, 0.58, 0.94], atol=0.08)
    assert all(0 < word["confidence"] <= 1 for word in result["words"])
    assert result["seconds"] == pytest.approx(1.28, abs=0.01)
    assert result["n_best"][0]["text"] == "CAD AB DA"
    assert len(result["n_best"]) <= 2


@pytest.mark.parametrize(("format", "sign"), [("srt", ","), ("vtt", ".")])
def test_subtitles(seqkit: Command, both: Path, clip: Path, tmp_path: Path, format: str, sign: str) -> None:
    result = seqkit("decode", both, clip, "--format", format)
    assert "CAD AB DA" in result.out
    assert f"00:00:00{sign}" in result.out
    folder = tmp_path / "out"
    assert seqkit("decode", both, clip, "--format", format, "--output", f"{folder}/").code == 0
    assert (folder / f"clip.{format}").read_text().strip() == result.out.strip()


def test_subtitles_of_several_files_are_several_files(seqkit: Command, both: Path, clip: Path, tmp_path: Path) -> None:
    alone = seqkit("decode", both, clip, "--format", "srt").out
    result = seqkit("decode", both, clip, clip, "--format", "srt")
    assert (result.code, result.out) == (2, alone)
    assert "--output DIR/" in result.said
    several = seqkit("decode", both, clip, clip, "--format", "srt", "--output", f"{tmp_path / 'out'}/")
    assert several.code == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_align(seqkit: Command, both: Path, clip: Path) -> None:
    rows = [line.split("\t") for line in seqkit("decode", both, clip, "--align", "CAD AB DA").out.splitlines()]
    assert [row[2] for row in rows] == ["CAD", "AB", "DA"]
    assert float(rows[0][0]) < float(rows[0][1]) <= float(rows[1][0])
    too_long = seqkit("decode", both, clip, "--align", "CAD AB DA " * 30)
    assert too_long.code == 2
    assert "clip.wav" in too_long.said
    assert "1.28 s" in too_long.said
    nothing = seqkit("decode", both, clip, "--align", " ")
    assert nothing.code == 2
    assert "no words" in nothing.said
    unknown = seqkit("decode", both, clip, "--align", "CAD X")
    assert unknown.code == 2
    assert "'X'" in unknown.said


def test_pictures(seqkit: Command, both: Path, clip: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert seqkit("decode", both, clip, "--pictures", tmp_path / "shown").code == 0
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == ["clip-2.png", "clip.png"]


def test_stdin_is_a_file(seqkit: Command, both: Path, clip: Path, stdin: Callable[[bytes], None]) -> None:
    stdin(clip.read_bytes())
    result = seqkit("decode", both, "-", "--json")
    assert result.code == 0
    assert (json.loads(result.out)["source"], json.loads(result.out)["text"]) == ("-", "CAD AB DA")


def test_live(seqkit: Command, speech_runs: dict[str, Path], clip: Path, stdin: Callable[[bytes], None]) -> None:
    raw = clip.read_bytes()[44:]
    expected = seqkit("decode", speech_runs["live"], clip).out
    stdin(raw)
    result = seqkit("decode", speech_runs["live"], "-", "--stream")
    assert (result.code, result.out) == (0, expected)
    assert "s of sound in" in result.said
    stdin(raw)
    objects = [
        json.loads(line) for line in seqkit("decode", speech_runs["live"], "-", "--stream", "--json").out.splitlines()
    ]
    assert [one["text"] for one in objects if one["final"]] == [expected.strip()]


def test_streams_that_cannot_be_followed(
    seqkit: Command, speech_runs: dict[str, Path], clip: Path, tmp_path: Path, stdin: Callable[[bytes], None]
) -> None:
    stdin(b"\0\0\0")
    odd = seqkit("decode", speech_runs["live"], "-", "--stream")
    assert odd.code == 2
    whole = clip.read_bytes()[44:]
    stdin(whole)
    expected = seqkit("decode", speech_runs["live"], "-", "--stream").out
    stdin(whole + b"\0")  # what was said before it broke off is not lost
    broken = seqkit("decode", speech_runs["live"], "-", "--stream")
    assert (broken.code, broken.out) == (2, expected)
    assert "within a sample" in broken.said
    both = seqkit("decode", speech_runs["both"], "-", "--stream")
    assert both.code == 2
    assert "one direction" in both.said
    other = seqkit("decode", speech_runs["live"], clip, "--stream")
    assert other.code == 2
    assert "clip.wav" in other.said
    output = seqkit("decode", speech_runs["live"], "-", "--stream", "--output", tmp_path / "x")
    assert output.code == 2


def test_bad_files_among_good_ones(seqkit: Command, both: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("this is no sound " * 50)
    result = seqkit("decode", both, tmp_path / "empty.wav", clip, tmp_path / "text.mp3", tmp_path / "gone.wav")
    assert result.code == 2
    assert result.out == "\nCAD AB DA\n\n\n"
    for name in ("empty.wav", "text.mp3", "gone.wav"):
        assert result.said.count(f"{name}: ") + result.said.count(f"{name} ") == 1, result.said
    assert "Traceback" not in result.err


def test_stdin_is_named_by_no_path(seqkit: Command, both: Path, stdin: Callable[[bytes], None]) -> None:
    stdin(b"")
    result = seqkit("decode", both, "-")
    assert result.code == 2
    assert result.said.strip() == "seqkit: stdin is empty: it has 0 bytes."


def test_samples_that_are_no_sound(seqkit: Command, both: Path, tmp_path: Path) -> None:
    """Finite ones too, where their power is not."""
    samples = (tones.spoken("CAD AB DA", 50) * 1e20).astype("<f4").tobytes()
    header = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVEfmt ", 16, 3, 1, 16000, 64000, 4, 32,
                         b"data", len(samples))  # fmt: skip
    (tmp_path / "huge.wav").write_bytes(header + samples)
    result = seqkit("decode", both, tmp_path / "huge.wav")
    assert result.code == 2
    assert "no sound" in result.said


def test_silence_and_a_click(seqkit: Command, both: Path, tmp_path: Path) -> None:
    silent = tones.write_wav(tmp_path / "a.wav", np.zeros(8000, dtype=np.float32))
    short = tones.write_wav(tmp_path / "b.wav", np.ones(20, dtype=np.float32))
    result = seqkit("decode", both, silent, short)
    assert (result.code, result.out) == (0, "\n\n")


def test_options_that_do_not_go_together(seqkit: Command, both: Path, clip: Path) -> None:
    for options, named in (
        (("--align", "AB", "--n-best", "2"), "--align"),
        (("--format", "srt", "--n-best", "2"), "--n-best"),
        (("--rate", "8000"), "--stream"),
        (("--greedy", "--n-best", "2"), "--n-best"),
        (("--pictures", clip), "is a file"),
        (("--format", "pdf"), "srt"),
        (("--hot-words", "XY"), "XY"),
        (("--greedy", "--lm-weight", "1"), "--lm-weight"),
        (("--flashlight", "--free"), "vocabulary"),
        (("--language-model", "none.arpa"), "none.arpa"),
    ):
        result = seqkit("decode", both, clip, *options)
        assert result.code == 2, options
        assert named in result.said
        assert "Traceback" not in result.err


def test_searches(seqkit: Command, both: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.txt").write_text("AB\nBB\nDA\n")
    other = seqkit("decode", both, clip, "--words", tmp_path / "words.txt").out
    assert set(other.split()) <= {"AB", "BB", "DA"}
    for options in (("--free", "--lm-weight", "0"), ("--greedy",)):  # where the spaces are, it has hardly learned
        assert seqkit("decode", both, clip, *options).out.replace(" ", "") == "CADABDA\n"
    assert seqkit("decode", both, clip, "--flashlight").out == "CAD AB DA\n"
    run = load_run(both)
    paths = [str(clip)] * (run.recipe.decode_chunk + 1)
    with monkeypatch.context() as patch:  # of files that are answered in several batches, each word list is read once
        read: list[Path] = []
        patch.setattr(word_search, "read_words", lambda path: [read.append(path), "AB", "DA"][1:])  # type: ignore[func-returns-value]
        run.decode(paths, words=tmp_path / "words.txt")
        assert len(read) == 1
        run.decode(paths[:1], words=tmp_path / "others.txt")
        assert len(read) == 2
    hot = seqkit("decode", both, clip, "--hot-words", "BB:1000").out
    assert "BB" in hot


def test_eval_names_what_is_broken(seqkit: Command, both: Path, tones_manifest: Path, tmp_path: Path) -> None:
    lines = tones_manifest.read_text().splitlines()
    good = [f"{tones_manifest.parent}/{line}" for line in lines[1:6]]
    (tmp_path / "mine.tsv").write_text("\n".join([lines[0], *good, "gone.wav\tAB\ts1"]))
    result = seqkit("eval", both, "--data", tmp_path / "mine.tsv", "--json")
    assert result.code == 2
    record = json.loads(result.out)
    assert record["examples"] == 5
    assert record["metrics"]["wer"] < 0.3
    assert f"{tmp_path / 'mine.tsv'}:7: " in result.said
    greedy = seqkit("eval", both, "--data", tones_manifest, "--greedy", "--json")
    assert greedy.code == 0


def test_train_names_what_is_broken(seqkit: Command, tones_manifest: Path, tmp_path: Path) -> None:
    lines = tones_manifest.read_text().splitlines()
    good = [f"{tones_manifest.parent}/{line}" for line in lines[1:]]
    (tmp_path / "mine.tsv").write_text("\n".join([lines[0], *good, "gone.wav\tAB\ts1", ""]))
    settings = [*tones.SETTINGS, f"data.path={tmp_path / 'mine.tsv'}", "training.max_steps=2", "data.group=speaker"]
    result = seqkit("train", "speech", *settings, "--out", tmp_path / "run")
    assert result.code == 2
    assert "gone.wav" in result.said
    assert "1 examples could not be used" in result.said
    assert (tmp_path / "run" / "weights.safetensors").is_file()
