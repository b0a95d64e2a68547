"""Writing videos: what PyAV's own decoding finds in them, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.codec import UnknownCodecError

from seqkit.errors import MediaError
from seqkit.media.write_video import VIDEO_SUFFIXES, VideoWriter, write_video

Decoded = tuple[float, np.ndarray]


def _pictures(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Smooth pictures in colour that move and grow brighter."""
    y, x = np.mgrid[: size[0], : size[1]]
    return [
        np.stack([110 + 70 * np.sin(x / 9), 110 + 70 * np.cos(y / 7), np.full(size, 60.0)], -1).astype(np.uint8) + 6 * n
        for n in range(count)
    ]


def _decoded(path: Path) -> list[Decoded]:
    with av.open(str(path)) as container:
        return [(float(frame.time or 0), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def _seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.duration or 0) / 1e6


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
@pytest.mark.parametrize("size", [(48, 64), (47, 63), (16, 16), (1, 1)])
def test_what_was_written_is_read_again(suffix: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix.upper() if size == (16, 16) else suffix}"
    pictures = _pictures(12, size)
    write_video(path, iter(pictures), 25)
    found = _decoded(path)
    assert [time for time, _ in found] == pytest.approx([n / 25 for n in range(12)], abs=1e-3)
    assert _seconds(path) == pytest.approx(12 / 25, abs=2e-3)
    for picture, (_, again) in zip(pictures, found, strict=True):
        assert again.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
        difference = again[: size[0], : size[1]].astype(float) - picture
        assert np.abs(difference).mean() < 6
        assert np.abs(difference.mean(axis=(0, 1))).max() < 6  # the colours are right
    if size == (47, 63):  # what was added repeats the edge
        assert np.abs(found[0][1][-1].astype(float) - found[0][1][-2]).mean() < 3
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_codecs_are_those_that_players_know(tmp_path: Path) -> None:
    kinds = {}
    for suffix in VIDEO_SUFFIXES:
        write_video(tmp_path / f"x{suffix}", _pictures(2), 25)
        with av.open(str(tmp_path / f"x{suffix}")) as container:
            stream = container.streams.video[0]
            kinds[suffix] = (stream.codec_context.name, stream.codec_context.pix_fmt)
    h264 = ("h264", "yuv420p")
    expected = {".mp4": h264, ".mkv": h264, ".mov": h264, ".webm": ("vp9", "yuv420p"), ".avi": ("mpeg4", "yuv420p")}
    assert kinds == expected


def test_television_rates_are_exact(tmp_path: Path) -> None:
    write_video(tmp_path / "x.mp4", _pictures(3), 30000 / 1001)
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert str(container.streams.video[0].average_rate) == "30000/1001"


def test_the_index_of_an_mp4_stands_first(tmp_path: Path) -> None:
    write_video(tmp_path / "x.mp4", _pictures(3), 25)
    content = (tmp_path / "x.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_each_frame_can_have_its_time(suffix: str, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.51, 1.3]
    pictures = _pictures(6)
    with VideoWriter(tmp_path / f"x{suffix}", 25, (48, 64)) as writer:
        for time, picture in zip(times, pictures, strict=True):
            writer.add(picture, time=time)
        assert writer.frames == 6
    found = _decoded(tmp_path / f"x{suffix}")
    assert [time for time, _ in found] == pytest.approx(times, abs=1e-3)
    assert _seconds(tmp_path / f"x{suffix}") == pytest.approx(1.34, abs=0.01)  # the last one is shown for 1/25 s
    assert [again.mean() for _, again in found] == pytest.approx([p.mean() for p in pictures], abs=3)


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, _pictures(8), 25)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


# What is refused -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_stays_unless_it_may_go(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(MediaError, match=r"x\.mp4 exists already\. Give another name"):
        write_video(path, _pictures(2), 25)
    assert path.read_bytes() == b"mine"
    write_video(path, _pictures(2), 25, overwrite=True)
    assert len(_decoded(path)) == 2


GREY = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "fps", "name", "said"),
    [
        ([GREY], 25, "x.gif", "a video cannot be written as '.gif'. Known: .mp4, .mkv, .mov, .webm, .avi."),
        ([GREY], 25, "x", "a video cannot be written as ''"),
        ([GREY], 0, "x.mp4", "0 frames a second cannot be written; it must be 0.01 to 1000"),
        ([GREY], float("nan"), "x.mp4", "nan frames a second"),
        ([], 25, "x.mp4", "there is no video to write: 0 frames."),
        ([GREY, GREY[:4]], 25, "x.mp4", "frame 1 has 8 x 4 pixels, and the video 8 x 8."),
        ([GREY.astype(np.float32)], 25, "x.mp4", "frame 0 holds float32; uint8 from 0 to 255 is expected."),
        ([GREY[..., 0]], 25, "x.mp4", "frame 0 has the shape (8, 8); (height, width, 3) is expected."),
        ([GREY[:0]], 25, "x.mp4", "a frame of 8 x 0 pixels cannot be written; a side has 1 to 16,384."),
        ([GREY], 25, "no/x.mp4", "cannot be written: No such file"),
    ],
)
def test_what_cannot_be_written(frames: list[np.ndarray], fps: float, name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        write_video(tmp_path / name, frames, fps)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def _write_timed(path: Path, times: tuple[float | None, ...]) -> None:
    with VideoWriter(path, 25, (8, 8)) as writer:
        for time in times:
            writer.add(GREY, time=time)


@pytest.mark.parametrize(
    ("suffix", "times", "said"),
    [
        (".mp4", (0.0, 0.5, 0.5), r"frame 2 is shown at 0\.5 s, which is not after 0\.5, the time before"),
        (".mp4", (-0.1,), r"frame 0 is shown at -0\.1 s, which is not 0 or more"),
        (".mp4", (float("nan"),), "frame 0 is shown at nan s"),
        (".mp4", (0.0, None), "frame 1 has no time, unlike others"),
        (".mp4", (None, 0.1), "frame 1 has a time, unlike others"),
        (".avi", (0.0, 0.1), r"frames of an \.avi have one rate, not a time each\. Write \.mp4"),
    ],
)
def test_times_that_cannot_be(suffix: str, times: tuple[float | None, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=said):
        _write_timed(tmp_path / f"x{suffix}", times)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_without_a_frame_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there is no video to write"), VideoWriter(tmp_path / "x.mp4", 25, (8, 8)):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_of_the_caller_passes_as_it_is_and_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield GREY
        raise error("mine")

    with pytest.raises(error, match="mine"):
        write_video(tmp_path / "x.mp4", failing(), 25)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.mp4"
    write_video(path, _pictures(2), 25)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seqkit.media.whole_file._File.write", full)
    with pytest.raises(MediaError, match=r"x\.mp4 cannot be written: No space left on device"):
        write_video(path, _pictures(5), 25, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.mp4"]


def test_an_encoder_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def codec(name: str, mode: str) -> Any:
        raise UnknownCodecError(name)

    monkeypatch.setattr(av, "Codec", codec)
    with pytest.raises(
        MediaError, match=r"the encoder libx264 is not in the FFmpeg.*write another kind: \.webm, \.avi"
    ):
        write_video(tmp_path / "x.mp4", [GREY], 25)
    assert list(tmp_path.iterdir()) == []
