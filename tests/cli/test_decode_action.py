"""`seqkit` and video: clips, folders and long recordings in; actions, time lines, subtitles and videos out."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.media.video import Strided, probe_video, read_clip
from seqkit.media.write import write_audio
from seqkit.media.write_video import write_video
from tests import spots

Command = Callable[..., Any]


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A recording: 3 s across, then 3 s down."""
    frames = [*spots.moving("across", 1, 3.0), *spots.moving("down", 2, 3.0)]
    write_video(tmp_path / "long.mp4", iter(frames), spots.RATE)
    return tmp_path / "long.mp4"


def test_clips_folders_and_what_is_no_video(seqkit: Command, action_runs: dict[str, Path], tmp_path: Path) -> None:
    spots.write_clip(tmp_path / "clips" / "a.mp4", "across", 41)
    spots.write_clip(tmp_path / "clips" / "b.avi", "down", 42)
    (tmp_path / "clips" / "bad.mp4").write_bytes(b"no video" * 99)
    (tmp_path / "clips" / "notes.txt").write_text("not read")
    write_audio(tmp_path / "sound.m4a", np.zeros(8000, np.float32), 8000)
    result = seqkit("decode", action_runs["pool"], tmp_path / "clips", tmp_path / "sound.m4a", tmp_path / "gone.mp4")
    assert result.code == 2
    assert result.out == "across\ndown\n\n\n\n"
    for said in ("bad.mp4 is no audio or video file", "sound.m4a holds no video", "gone.mp4: no such file"):
        assert said in result.err
    assert "Traceback" not in result.err


def test_the_likeliest_actions_are_written(seqkit: Command, action_runs: dict[str, Path], tmp_path: Path) -> None:
    clip = spots.write_clip(tmp_path / "a.mp4", "across", 43)
    first, second = seqkit("decode", action_runs["pool"], clip, "--top-k", 2).out.strip().split("\t")
    assert first.startswith("across=")
    assert second.startswith("down=")
    answer = json.loads(seqkit("decode", action_runs["pool"], clip, "--json").out)
    assert answer["label"] == "across"
    assert answer["scores"]["across"] == pytest.approx(float(first.split("=")[1]), abs=1e-3)
    assert "segments" not in answer


@pytest.mark.parametrize(("name", "mode"), [("pool", "auto"), ("pool", "windows"), ("steps", "state")])
def test_a_long_recording_has_a_time_line(
    seqkit: Command, action_runs: dict[str, Path], long: Path, name: str, mode: str
) -> None:
    result = seqkit("decode", action_runs[name], long, "--timeline", mode)
    assert result.code == 0
    segments = [line.split("\t") for line in result.out.strip().splitlines()]
    assert segments[0][2] == "across"
    assert segments[-1][2] == "down"
    assert float(segments[0][0]) == 0.0
    assert float(segments[-1][1]) == pytest.approx(6.0)
    assert all(one[1] == other[0] and one[2] != other[2] for one, other in pairwise(segments))
    longest = {label: max(float(s[1]) - float(s[0]) for s in segments if s[2] == label) for label in spots.MOVES}
    assert min(longest.values()) > 1.5


def test_subtitles_and_json_say_the_same(seqkit: Command, action_runs: dict[str, Path], long: Path) -> None:
    segments = json.loads(seqkit("decode", action_runs["pool"], long, "--json").out)["segments"]
    shown = seqkit("decode", action_runs["pool"], long, "--format", "srt").out
    assert shown.count("-->") == len(segments)
    assert shown.startswith("1\n00:00:00,000 --> ")
    assert seqkit("decode", action_runs["pool"], long, "--format", "vtt").out.startswith("WEBVTT")
    short = seqkit("decode", action_runs["pool"], long, "--timeline", "never", "--format", "srt")
    assert short.code == 2
    assert "--timeline never" in short.err


def test_the_answer_is_drawn_in(seqkit: Command, action_runs: dict[str, Path], long: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert seqkit("decode", action_runs["pool"], long, "--annotate", out, "--pictures", tmp_path / "pictures").code == 0
    assert probe_video(out).frames == probe_video(long).frames == 60
    before, after = (read_clip(path, Strided(10)).frames.astype(int) for path in (long, out))
    changed = abs(before - after).mean(axis=(0, 3))  # (H, W)
    assert changed[-8:].mean() > 5 * changed[:8].mean()  # the band is at the foot of the picture
    assert (tmp_path / "pictures" / "long.png").stat().st_size > 5000
    again = seqkit("decode", action_runs["pool"], long, "--annotate", out)
    assert again.code == 2
    assert "exists already" in again.err
    assert seqkit("decode", action_runs["pool"], long, long, "--annotate", tmp_path / "videos").code == 0
    assert {path.name for path in (tmp_path / "videos").iterdir()} == {"long.mp4", "long-2.mp4"}


def test_a_run_that_cannot_carry_its_state_says_why(seqkit: Command, action_runs: dict[str, Path], long: Path) -> None:
    result = seqkit("decode", action_runs["pool"], long, "--timeline", "state")
    assert result.code == 2
    assert "both directions" in result.err
    assert "--timeline windows" in result.err


def test_a_recording_that_breaks_off_is_answered_until_there(
    seqkit: Command, action_runs: dict[str, Path], tmp_path: Path
) -> None:
    write_video(tmp_path / "whole.mkv", spots.moving("down", 3, 8.0), spots.RATE)
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 3 // 4])
    result = seqkit("decode", action_runs["pool"], tmp_path / "cut.mkv", "--json")
    answer = json.loads(result.out)
    assert result.code == 2
    assert 2.0 < answer["seconds"] < 7.5
    assert "cut.mkv" in answer["warning"]


def test_training_on_a_folder_of_ones_own(seqkit: Command, tmp_path: Path) -> None:
    clips = spots.write_folders(tmp_path / "my_clips", 6)
    (clips / "across" / "bad.mp4").write_bytes(b"no video" * 99)
    settings = [*spots.SETTINGS, "training.epochs=1"]
    result = seqkit("train", "action", f"data.path={clips}", *settings, "--out", tmp_path / "run")
    assert result.code == 2  # trained, and one clip could not be used
    (said,) = json.loads((tmp_path / "run" / "data.json").read_text())["broken"]
    bad = str(clips / "across" / "bad.mp4")
    assert said.startswith(f"{bad} is no audio or video file")
    assert said.count(bad) == 1
    assert "waiting for data" in result.err
    evaluated = seqkit("eval", tmp_path / "run", "--data", clips, "--json")
    assert json.loads(evaluated.out)["examples"] == 12
