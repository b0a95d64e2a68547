"""Frames of videos: which ones, at what times. Held against PyAV's own decoding of every frame."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.errors import MediaError
from seqkit.media import Segments, Strided, Uniform, probe_video, read_clip, stream_frames, video_search
from seqkit.media.sampling import Sampling
from seqkit.media.video_search import Search
from tests.media.sounds import pipe
from tests.media.videos import Film, bars, encode, film, number_of

COUNT, FPS = 90, 25
FAST = {"movflags": "faststart"}  # the index first, so that a pipe can be read
FILMS = {
    "one-gop": Film("mp4", "libx264", {"g": "250", "bf": "3"}, container_options=FAST),
    "open-gops": Film(
        "mp4", "libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3:b-pyramid=normal"}, container_options=FAST
    ),
    "refreshed": Film("mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=20"}, container_options=FAST),
    "interlaced": Film("mpegts", "libx264", {"x264-params": "interlaced=1:keyint=20:bframes=2"}),
    "fragments": Film("mp4", "libx264", {"g": "20"}, container_options={"movflags": "frag_keyframe+empty_moov"}),
    "with-sound": Film("mp4", "libx264", {"g": "30"}, container_options=FAST, sound=True),
    "late": Film("matroska", "libx264", {"g": "30", "bf": "3"}, start=5.0, sound=True),
    "hevc": Film("mp4", "libx265", {"x265-params": "keyint=20:bframes=3:log-level=none"}, container_options=FAST),
    "avi": Film("avi", "mpeg4", {"g": "12"}),
    "avi-reordered": Film("avi", "mpeg4", {"bf": "2", "g": "12"}),
    "avi-h264": Film("avi", "libx264", {"bf": "2", "g": "30"}),
    "mpeg4": Film("mp4", "mpeg4", {"bf": "2", "g": "12"}, container_options=FAST),
    "vp9": Film("webm", "libvpx-vp9", {"g": "30", "deadline": "realtime", "cpu-used": "8"}),
    "av1": Film("webm", "libsvtav1", {"svtav1-params": "keyint=30"}),
    "mjpeg": Film("avi", "mjpeg", pixels="yuvj420p"),
    "ffv1": Film("matroska", "ffv1"),
    "mpegts": Film("mpegts", "libx264", {"bf": "3", "g": "20"}, start=3.0),
    "mpeg": Film("mpeg", "mpeg2video", {"bf": "2"}),
    "raw": Film("h264", "libx264", {"bf": "3"}),
    "gif": Film("gif", "gif", pixels="rgb8"),
}
SAMPLINGS: tuple[Sampling, ...] = (
    Uniform(16),
    Uniform(5),
    Segments(8, 3),
    Strided(FPS),
    Strided(3),
    Strided(60),
    Strided(2, start=1.0, seconds=1.5),
)


@functools.cache
def made(name: str) -> bytes:
    return film(FILMS[name], COUNT)


def shown_at(times: np.ndarray, begins: np.ndarray) -> list[int]:
    """The numbers of the frames that are shown at some times, where frame n begins at begins[n]."""
    return [max(0, int(np.searchsorted(begins, time + 1e-9, side="right")) - 1) for time in times]


def numbers(frames: Any) -> list[int]:
    return [number_of(frame) for frame in frames]


@pytest.mark.parametrize("name", FILMS)
def test_each_sampling_gives_the_frames_that_are_shown_then(name: str) -> None:
    begins = np.arange(COUNT) / FPS
    for sampling in SAMPLINGS:
        clip = read_clip(io.BytesIO(made(name)), sampling)
        assert clip.warnings == ()
        assert clip.frames.shape == (len(clip.times), 48, 80, 3)
        assert numbers(clip.frames) == shown_at(clip.times, begins), sampling
        if not isinstance(sampling, Strided):
            assert clip.seconds == pytest.approx(COUNT / FPS, abs=0.001)
            assert len(clip.times) == sampling.count
            assert (clip.times // (clip.seconds / sampling.count) == range(sampling.count)).all()


@pytest.mark.parametrize("name", FILMS)
def test_a_stream_gives_every_frame_and_what_strided_gives(name: str) -> None:
    data = made(name)
    found = list(stream_frames(io.BytesIO(data), None))
    assert numbers(frame for _, frame in found) == list(range(COUNT))
    assert [time for time, _ in found] == pytest.approx([n / FPS for n in range(COUNT)], abs=0.001)
    clip = read_clip(io.BytesIO(data), Strided(10))
    for source in (io.BytesIO(data), pipe(data, 5000)):
        streamed = list(stream_frames(source, 10))
        assert [time for time, _ in streamed] == list(clip.times) == [n / 10 for n in range(36)]
        assert all(np.array_equal(one, other) for (_, one), other in zip(streamed, clip.frames, strict=True))


@pytest.mark.parametrize("name", ["one-gop", "late", "avi-reordered", "mpegts"])
def test_a_pipe_gives_what_a_file_gives(name: str) -> None:
    data = made(name)
    for sampling in SAMPLINGS:
        one, other = read_clip(io.BytesIO(data), sampling), read_clip(pipe(data, 5000), sampling)
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.times, other.times)


@pytest.mark.parametrize("name", ["open-gops", "hevc", "avi-reordered", "vp9"])
def test_the_number_of_threads_changes_nothing(name: str) -> None:
    for sampling in (Uniform(7), Strided(10)):
        one, other = (read_clip(io.BytesIO(made(name)), sampling, threads=threads) for threads in (1, 3))
        assert np.array_equal(one.frames, other.frames)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("matroska", "libx264"), ("webm", "libvpx-vp9")])
def test_a_variable_rate(container: str, codec: str) -> None:
    rng = np.random.default_rng(0)
    begins = np.cumsum(rng.choice([0.02, 0.03, 0.3, 1.1], 60, p=[0.5, 0.3, 0.1, 0.1]))
    begins -= begins[0]
    options = {"g": "12"} | ({"bf": "3"} if codec == "libx264" else {"deadline": "realtime", "cpu-used": "8"})
    for start in (0.0, 2.5):
        data = film(Film(container, codec, options, start=start), 60, [float(t) for t in begins])
        assert [time for time, _ in stream_frames(io.BytesIO(data), None)] == pytest.approx(list(begins), abs=0.0011)
        samplings = (Uniform(9, repeat=True), Segments(9, 1, repeat=True), Strided(7.3), Strided(1.0, start=1.5))
        for sampling in samplings:
            clip = read_clip(io.BytesIO(data), sampling)
            near = np.abs(clip.times[:, None] - begins[None]).min(1) < 0.002  # where rounding may decide
            assert near.mean() < 0.2
            found, expected = np.array(numbers(clip.frames)), np.array(shown_at(clip.times, begins))
            assert (found == expected)[~near].all()


def test_at_its_own_rate_a_video_gives_each_frame_once_though_times_are_rounded() -> None:
    for fps in (24, 30, 60):
        data = film(Film("matroska", "libx264", fps=fps), 60)  # in whole milliseconds
        assert numbers(read_clip(io.BytesIO(data), Strided(fps)).frames) == list(range(60))


def test_a_short_video_repeats_nothing_unless_told() -> None:
    data = film(Film("mp4", "libx264"), 5)
    for kind in (Uniform, Segments):
        assert numbers(read_clip(io.BytesIO(data), kind(40)).frames) == list(range(5))
        repeated = read_clip(io.BytesIO(data), kind(40, repeat=True))
        assert len(repeated.frames) == 40
        assert set(numbers(repeated.frames)) == set(range(5))


@pytest.mark.parametrize("container", ["mp4", "avi", "matroska"])
def test_a_video_of_one_frame(container: str) -> None:
    data = film(Film(container, "mpeg4"), 1)
    for sampling in (Uniform(16), Segments(3), Strided(1000.0, seconds=0.001)):
        clip = read_clip(io.BytesIO(data), sampling)
        assert clip.frames.shape == (1, 48, 80, 3)
    assert len(list(stream_frames(io.BytesIO(data), None))) == 1


def test_segments_are_random_and_repeatable() -> None:
    def times(seed: Any) -> list[float]:
        return list(read_clip(io.BytesIO(made("mjpeg")), Segments(6, seed), (4, 4)).times)

    assert times(1) == times(1) == times(np.random.default_rng(1))
    assert times((1, 2)) != times(1)
    spread = np.array([list(Segments(4, seed).times(8.0)) for seed in range(500)]) % 2.0  # (500, 4), within a part
    assert np.abs(spread.mean(0) - 1.0).max() < 0.1
    assert spread.min() >= 0
    assert spread.max() < 2.0


def test_an_edit_list_hides_frames_before_and_after() -> None:
    data = bytearray(made("one-gop"))
    place = data.index(b"elst") + 12  # ISO/IEC 14496-12, 8.6.6: how long, in ms, and from which tick of 1 / 16000 s
    begin = int.from_bytes(data[place + 4 : place + 8], "big") + 12 * 640
    data[place : place + 8] = (2000).to_bytes(4, "big") + begin.to_bytes(4, "big")
    assert [number_of(frame) for _, frame in stream_frames(io.BytesIO(data), None)] == list(range(12, 62))
    clip = read_clip(io.BytesIO(data), Uniform(5))
    assert (clip.seconds, clip.warnings) == (2.0, ())
    assert numbers(clip.frames) == [17, 27, 37, 47, 57]


# Not more than needed ------------------------------------------------------------------------------------------------


class Counted(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read1(self, size: int | None = -1) -> bytes:
        chunk = super().read1(-1 if size is None else size)
        self.count += len(chunk)
        return chunk


@functools.cache
def long_film(container: str) -> bytes:
    """A minute of noise, so that it has bytes, with a key frame each second."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(600):
        picture = bars(number, (48, 80)).astype(np.int16) + rng.integers(-15, 15, (48, 80, 3))
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    options = {"g": "10", "crf": "12", "preset": "ultrafast"}
    return encode(Film(container, "libx264", options, fps=10, sound=True), pictures, [n / 10 for n in range(600)])


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_far_frames_are_searched_with_the_index(container: str) -> None:
    data = long_film(container)
    source = Counted(data)
    clip = read_clip(source, Strided(5, start=52.0, seconds=1.0), threads=1)
    assert numbers(clip.frames) == [520, 522, 524, 526, 528]
    assert source.count < len(data) / 4
    few = read_clip(Counted(data), Uniform(4))
    assert numbers(few.frames) == [75, 225, 375, 525]


def test_only_what_is_needed_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    send = Search._send

    def counting(self: Search, wanted: float, following: float | None) -> None:
        sent.append(wanted)
        send(self, wanted, following)

    monkeypatch.setattr(Search, "_send", counting)
    assert numbers(read_clip(io.BytesIO(long_film("mp4")), Uniform(4)).frames) == [75, 225, 375, 525]
    assert len(sent) <= 4 * 10  # of 600


@pytest.mark.parametrize("name", ["one-gop", "open-gops", "refreshed", "hevc", "late", "avi", "vp9"])
def test_reading_ahead_is_bounded_and_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [read_clip(io.BytesIO(made(name)), sampling) for sampling in SAMPLINGS]
    monkeypatch.setattr(video_search, "_AHEAD_PACKETS", 4)
    for sampling, clip in zip(SAMPLINGS, clips, strict=True):
        bounded = read_clip(io.BytesIO(made(name)), sampling)
        assert np.array_equal(bounded.frames, clip.frames)
        assert np.array_equal(bounded.times, clip.times)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_stream_reads_no_more_than_it_gives(container: str) -> None:
    data = long_film(container)
    for fps in (None, 5.0, 1.0):
        source = Counted(data)
        frames = stream_frames(source, fps, (8, 8))
        count = 0
        for time, _ in frames:
            if time >= 15.0:
                break
            count += 1
        assert count == 15 * (fps or 10)
        assert source.count < len(data) / 2


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_a_search_that_leads_back_changes_nothing(container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Film(container, "libx264" if container != "avi" else "mpeg4", {"g": "300"}, fps=10)
    data = film(kind, 400)  # one group of 30 s: each search for the next frame leads back to its beginning
    monkeypatch.setattr(video_search, "_FAR", 0.5)
    for sampling in (Uniform(9), Strided(0.7), Strided(1.0, start=20.0, seconds=12.0)):
        clip = read_clip(io.BytesIO(data), sampling)
        assert numbers(clip.frames) == shown_at(clip.times, np.arange(400) / 10)


# Size, rate, names ---------------------------------------------------------------------------------------------------


def test_probe_tells_what_the_header_says(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(made("with-sound"))
    info = probe_video(path)
    assert (info.path, info.container, info.codec) == (str(path), "mp4", "h264")
    assert (info.width, info.height, info.rotation) == (80, 48, 0)
    assert (info.fps, info.seconds, info.frames) == (25.0, 3.6, COUNT)
    late = probe_video(io.BytesIO(made("late")))
    assert late.seconds == pytest.approx(3.6)
    assert late.frames is None
    assert probe_video(io.BytesIO(made("raw"))).seconds is None


def test_a_file_that_begins_within_another(tmp_path: Path) -> None:
    path = tmp_path / "both"
    path.write_bytes(b"12345" + made("mpegts"))
    for sampling in (Uniform(4), Strided(5)):
        with path.open("rb") as file:
            file.seek(5)
            clip = read_clip(file, sampling)
            assert clip.frames.shape[0] == (4 if isinstance(sampling, Uniform) else 18)
            assert not file.closed


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf")])
def test_samplings_that_make_no_sense(given: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        Strided(given)
    with pytest.raises(ValueError, match="fps"):
        stream_frames(io.BytesIO(), given)
    for kind in (Uniform, Segments):
        with pytest.raises(ValueError, match="count"):
            kind(0)
    with pytest.raises(ValueError, match="start"):
        Strided(1, start=-1.0)
    with pytest.raises(ValueError, match="seconds"):
        Strided(1, seconds=0.0)


def test_nothing_is_opened_before_the_first_frame(tmp_path: Path) -> None:
    stream = stream_frames(tmp_path / "missing.mp4", None)
    with pytest.raises(MediaError, match="does not exist"):
        next(stream)
