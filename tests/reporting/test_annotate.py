"""Answers written into frames and videos: what is drawn where, of any size, at the video's own times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from seqkit.errors import MediaError
from seqkit.media.audio import read_audio
from seqkit.media.video import stream_frames
from seqkit.media.write_video import VideoWriter, write_video
from seqkit.reporting.annotate import annotate_video, draw_label

GREY = np.full((120, 160, 3), 100, np.uint8)


def _letters(frame: np.ndarray) -> np.ndarray:
    """Where a frame (H, W, 3) has light letters."""
    return np.asarray((frame > 150).all(axis=2))


# Frames --------------------------------------------------------------------------------------------------------------


def test_a_dark_band_with_light_letters_stands_at_the_lower_edge() -> None:
    before = GREY.copy()
    drawn = draw_label(GREY, "walk", 0.5)
    assert (before == GREY).all()  # a copy
    changed = np.flatnonzero((drawn != 100).any(axis=(1, 2)))
    assert changed.max() == 119
    assert 8 <= len(changed) <= 20
    band = drawn[changed.min() :]
    assert np.median(band) < 60
    assert _letters(band).sum() > 20
    assert np.flatnonzero(_letters(band).any(axis=0)).max() < 100


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (1.5, 1.0), (-1.0, 0.0)])
def test_the_bar_is_as_long_as_the_probability(probability: float, share: float) -> None:
    drawn = draw_label(GREY, "walk", probability)
    assert (drawn[-1, :, 0] == 255).sum() == round(160 * share)


def test_letters_grow_with_the_frame() -> None:
    heights = []
    for height in (60, 240, 960):
        drawn = draw_label(np.zeros((height, height * 2, 3), np.uint8), "walk", 0.0)
        rows = np.flatnonzero(_letters(drawn).any(axis=1))
        heights.append(rows.max() - rows.min())
    assert heights[0] * 1.5 < heights[1]
    assert heights[1] * 2 < heights[2]


def test_long_names_are_shortened_and_keep_the_probability() -> None:
    long, longer = (draw_label(GREY, "brushing hair " * count, 0.87) for count in (5, 50))
    assert (long == longer).all()
    assert (long != draw_label(GREY, "brushing hair " * 5, 0.88)).any()
    columns = np.flatnonzero(_letters(long).any(axis=0))
    assert 110 < columns.max() < 158


def test_names_are_on_one_line() -> None:
    assert (draw_label(GREY, " a\n\tb ", 0.5) == draw_label(GREY, "a b", 0.5)).all()


def test_other_scripts_are_written() -> None:
    assert (draw_label(GREY, "λγω", 0.5) != draw_label(GREY, "ξψφ", 0.5)).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (16, 16), (17, 300), (0, 5), (720, 1280)])
@pytest.mark.parametrize("text", ["walk", "", "猫", "x" * 1000])
def test_frames_of_any_size_can_be_drawn_into(size: tuple[int, int], text: str) -> None:
    frame = np.full((*size, 3), 100, np.uint8)
    frame.flags.writeable = False
    drawn = draw_label(frame, text, 0.5)
    assert drawn.shape == frame.shape
    assert drawn.dtype == np.uint8
    if frame.size:
        assert (drawn != frame).any()


# Videos --------------------------------------------------------------------------------------------------------------


def _video(path: Path, times: list[float], size: tuple[int, int] = (96, 128)) -> Path:
    with VideoWriter(path, 20, size) as writer:
        for number, time in enumerate(times):
            writer.add(np.full((*size, 3), 60 + 10 * number, np.uint8), time)
    return path


def test_each_frame_keeps_its_time_and_gets_the_answer_of_that_time(tmp_path: Path) -> None:
    times = [0.0, 0.05, 0.2, 0.25, 1.0, 1.05]
    source = _video(tmp_path / "in.mkv", times)
    asked: list[float] = []

    def answer(time: float) -> tuple[str, float] | None:
        asked.append(time)
        return ("walk", 1.0) if time > 0.22 else None

    annotate_video(source, tmp_path / "out.mp4", answer)
    assert asked == pytest.approx(times, abs=2e-3)
    found = list(stream_frames(tmp_path / "out.mp4", None))
    assert [time for time, _ in found] == pytest.approx(times, abs=2e-3)
    for number, (time, frame) in enumerate(found):
        assert frame.shape == (96, 128, 3)
        assert frame[:70].mean() == pytest.approx(60 + 10 * number, abs=4)  # the picture above the band
        assert (frame[-12:, :, 0].max() > 180) == (time > 0.22)


def test_an_avi_has_the_mean_rate(tmp_path: Path) -> None:
    source = _video(tmp_path / "in.mp4", [n / 20 for n in range(10)])
    annotate_video(source, tmp_path / "out.avi", lambda _: ("walk", 0.5))
    found = [time for time, _ in stream_frames(tmp_path / "out.avi", None)]
    assert found == pytest.approx([n / 20 for n in range(10)], abs=2e-3)


def test_of_frames_at_one_time_the_first_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _video(tmp_path / "in.mp4", [0.0, 0.05])
    given = [(time, np.full((96, 128, 3), grey, np.uint8)) for time, grey in ((0.0, 50), (0.1, 100), (0.1, 200))]
    monkeypatch.setattr("seqkit.reporting.annotate.stream_frames", lambda *_, **__: (pair for pair in given))
    annotate_video(source, tmp_path / "out.mp4", lambda _: None)
    found = list(stream_frames(tmp_path / "out.mp4", None))
    assert [time for time, _ in found] == pytest.approx([0.0, 0.1], abs=1e-3)
    assert [frame.mean() for _, frame in found] == pytest.approx([50, 100], abs=3)


def test_a_video_may_replace_its_source(tmp_path: Path) -> None:
    source = _video(tmp_path / "x.mp4", [0.0, 0.05])
    with pytest.raises(MediaError, match="exists already"):
        annotate_video(source, source, lambda _: ("walk", 1.0))
    annotate_video(source, source, lambda _: ("walk", 1.0), overwrite=True)
    assert [frame[-2, :, 0].mean() > 180 for _, frame in stream_frames(source, None)] == [True, True]


def test_odd_sizes_and_tiny_videos(tmp_path: Path) -> None:
    write_video(tmp_path / "in.webm", [np.zeros((2, 2, 3), np.uint8)] * 3, 25)
    annotate_video(tmp_path / "in.webm", tmp_path / "out.mp4", lambda _: ("walk", 1.0))
    assert len(list(stream_frames(tmp_path / "out.mp4", None))) == 3


def _loud(path: Path) -> np.ndarray:
    """When the sound of a video is loud: levels (N,) of 50 ms each."""
    sound = read_audio(path, 16_000).samples
    levels: np.ndarray = np.abs(sound[: len(sound) // 800 * 800]).reshape(-1, 800).max(axis=1)
    return levels


def _with_sound(path: Path, codec: str = "aac", start: float = 0.0) -> Path:
    """Three seconds of pictures with a beep at 1 to 1.5 s; all of it `start` seconds late by the file's clock."""
    samples = np.where((np.arange(48_000) // 8000) == 2, np.sin(np.arange(48_000) * 0.3) * 0.5, 0)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=10)
        video.height, video.width, video.pix_fmt = 96, 128, "yuv420p"
        audio: Any = container.add_stream(codec, rate=16_000, layout="mono")
        audio.codec_context.open()
        for n in range(30):
            picture = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 60 + 5 * n, np.uint8), format="rgb24")
            picture.pts, picture.time_base = n + round(10 * start), Fraction(1, 10)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        size, form = audio.codec_context.frame_size or 1024, audio.codec_context.format
        for begin in range(0, 48_000, size):
            part = samples[None, begin : begin + size]
            kind = {"fltp": np.float32, "flt": np.float32, "s16": np.int16}[form.name]
            part = (part * 32767 if kind is np.int16 else part).astype(kind)
            sound = av.AudioFrame.from_ndarray(part, format=form.name, layout="mono")
            sound.sample_rate, sound.pts = 16_000, begin + round(16_000 * start)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "out", "start"),
    [
        *(("in.mp4", "aac", "out.mp4", 0.0), ("in.mkv", "libopus", "out.webm", 0.0), ("in.mp4", "aac", "out.mkv", 0.0)),
        *(
            ("in.mkv", "pcm_s16le", "out.mov", 2.0),
            ("in.mkv", "aac", "out.mp4", 2.0),
            ("in.mkv", "aac", "out.avi", 0.0),
        ),
    ],
)
def test_the_sound_is_copied_in_time(name: str, codec: str, out: str, start: float, tmp_path: Path) -> None:
    source = _with_sound(tmp_path / name, codec, start)
    warned: list[str] = []
    annotate_video(source, tmp_path / out, lambda _: ("walk", 0.5), warn=warned.append)
    assert warned == []
    assert len(list(stream_frames(tmp_path / out, None))) == 30
    levels = _loud(tmp_path / out)
    assert 56 <= len(levels) <= 64
    beep = np.flatnonzero(levels > 0.25)
    assert 19 <= beep.min() <= 21
    assert 28 <= beep.max() <= 31


def test_sound_that_cannot_be_copied_is_told(tmp_path: Path) -> None:
    source = _with_sound(tmp_path / "in.mp4")
    warned: list[str] = []
    annotate_video(source, tmp_path / "out.webm", lambda _: ("walk", 0.5), warn=warned.append)
    assert warned == [f"{tmp_path / 'out.webm'} has no sound: its codec aac cannot be in such a file."]
    with pytest.raises(MediaError, match="video without sound"):
        read_audio(tmp_path / "out.webm")
    with pytest.warns(UserWarning, match="has no sound"):
        annotate_video(source, tmp_path / "again.webm", lambda _: ("walk", 0.5))


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("no.mp4", "out.mp4", r"no\.mp4 does not exist"),
        ("text.mp4", "out.mp4", r"text\.mp4 "),
        ("in.mp4", "out.gif", r"cannot be written as '\.gif'"),
        ("in.mp4", "no/out.mp4", "cannot be written: No such file"),
    ],
)
def test_faults_leave_nothing(source: str, out: str, said: str, tmp_path: Path) -> None:
    _video(tmp_path / "in.mp4", [0.0, 0.05])
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match=said):
        annotate_video(tmp_path / source, tmp_path / out, lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "text.mp4"}


def test_an_error_of_the_caller_passes_as_it_is(tmp_path: Path) -> None:
    def failing(time: float) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        annotate_video(_video(tmp_path / "in.mp4", [0.0]), tmp_path / "out.mp4", failing)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
