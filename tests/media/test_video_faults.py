"""Videos that are wrong: refused in one sentence, or used as far as they are whole, with a warning."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from seqkit.errors import MediaError
from seqkit.media import Segments, Strided, Uniform, probe_video, read_clip, stream_frames
from tests.media.sounds import Kind, chirp, encode, pipe
from tests.media.videos import Film, bars, film, number_of
from tests.media.videos import encode as encode_film

FAST = {"movflags": "faststart"}


def tries(source: Any) -> list[str]:
    """The sentences with which each of the functions refuses a path."""
    said = []
    for ask in (
        lambda: probe_video(source),
        lambda: read_clip(source, Uniform(4)),
        lambda: read_clip(source, Strided(4)),
        lambda: list(stream_frames(source, None)),
    ):
        with pytest.raises(MediaError) as caught:
            ask()
        said.append(str(caught.value))
    return said


# Refused -------------------------------------------------------------------------------------------------------------


def test_files_that_are_no_video(tmp_path: Path) -> None:
    cover = io.BytesIO()
    with av.open(cover, "w", format="mp3") as container:
        sound = container.add_stream("libmp3lame", rate=16000)
        picture: Any = container.add_stream("png", rate=1)
        picture.width = picture.height = 8
        picture.pix_fmt = "rgb24"
        picture.disposition = 1024  # attached_pic
        from av.audio.frame import AudioFrame
        from av.video.frame import VideoFrame

        container.mux(picture.encode(VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8))))
        frame = AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    still = {
        suffix: encode_film(Film("image2pipe", codec, pixels=pixels), [bars(1)], [0.0])
        for suffix, codec, pixels in (("png", "png", "rgb24"), ("jpg", "mjpeg", "yuvj420p"))
    }
    contents = {
        "text.mp4": (b"not a video at all\n" * 100, "is no audio or video file that can be read"),
        "empty.mp4": (b"", "is empty: it has 0 bytes"),
        "sound.wav": (encode(Kind("wav", "pcm_s16le"), chirp(1000, 16000)), "holds no video, only sound"),
        "song.mp3": (cover.getvalue(), "holds no video, only a cover picture"),
        "picture.png": (still["png"], "is a still picture, not a video"),
        "picture.jpg": (still["jpg"], "is a still picture, not a video"),
        "cut.mp4": (film(Film("mp4", "libx264"), 20)[:-200], "its index is damaged or missing"),
    }
    for name, (content, words) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        for said in tries(path):
            assert said.startswith(str(path)), said
            assert words in said
    for said in tries(tmp_path):
        assert said.startswith(f"{tmp_path} is a folder")
    for said in tries(tmp_path / "missing.mp4"):
        assert said.startswith(f"{tmp_path / 'missing.mp4'} does not exist")


@pytest.mark.parametrize("container", ["mp4", "avi", "matroska"])
def test_a_video_without_frames(container: str) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as target:
        stream: Any = target.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        target.start_encoding()
    with pytest.raises(MediaError, match=r"^the stream (holds no video|is no audio or video file)"):
        read_clip(io.BytesIO(out.getvalue()), Uniform(4))


def test_a_video_of_which_nothing_can_be_decoded() -> None:
    data = bytearray(film(Film("mp4", "libx264", {"g": "5"}, container_options=FAST), 20))
    begin = data.index(b"mdat") + 4
    data[begin:] = np.random.default_rng(0).bytes(len(data) - begin)
    for source in (io.BytesIO(data), pipe(bytes(data))):
        with pytest.raises(MediaError, match=r"the stream: nothing of its picture could be decoded\. It is damaged"):
            read_clip(source, Uniform(4))


def test_an_index_at_the_end_of_a_pipe() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (48, 80, 3)).astype(np.uint8) for _ in range(20)]
    data = encode_film(Film("mp4", "libx264"), pictures, [n / 25 for n in range(20)])
    with pytest.raises(MediaError, match="has its index at the end, and a stream cannot go back"):
        list(stream_frames(pipe(data), None))
    assert len(read_clip(pipe(data), Uniform(4)).frames) == 4  # it is copied anyway


def test_a_size_that_no_video_has() -> None:
    data = bytearray(film(Film("nut", "rawvideo", pixels="rgb24", size=(2, 2)), 1))
    avi = bytearray(film(Film("avi", "mjpeg", pixels="yuvj420p", size=(16, 16)), 1))
    place = avi.index(b"strf") + 8
    avi[place + 4 : place + 12] = struct.pack("<2i", 20000, 16)
    jpeg = avi.index(b"\xff\xc0") + 5
    avi[jpeg : jpeg + 4] = struct.pack(">2H", 16, 20000)
    with pytest.raises(MediaError, match=r"the stream: a picture of 20000 x 16 cannot be used; a side has 1 to 16384"):
        read_clip(io.BytesIO(avi), Uniform(1))
    assert read_clip(io.BytesIO(data), Uniform(1)).frames.shape == (1, 2, 2, 3)


def test_a_clip_that_would_not_fit_into_memory() -> None:
    data = film(Film("mp4", "libx264"), 50)
    with pytest.raises(MediaError, match=r"is too large\. Ask for fewer or smaller frames, or stream them"):
        read_clip(io.BytesIO(data), Strided(1e5), (8192, 8192))


def test_a_start_after_the_end() -> None:
    with pytest.raises(MediaError, match=r"has no frame at the time that was asked for: it has 0\.40 s"):
        read_clip(io.BytesIO(film(Film("mp4", "libx264"), 10)), Strided(5, start=1.0))


def test_a_stream_that_is_no_binary_file() -> None:
    with pytest.raises(MediaError, match="neither a path nor a binary file"):
        read_clip(5, Uniform(1))  # type: ignore[arg-type]
    with pytest.raises(MediaError, match="opened as text"):
        read_clip(io.StringIO("a" * 1000), Uniform(1))  # type: ignore[arg-type]


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    data = film(Film("mp4", "libx264"), 30)
    for sampling in (Uniform(5), Segments(5)):
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(data,))
        writer.start()
        assert len(read_clip(path, sampling).frames) == 5
        writer.join()
        path.unlink()


# Used ----------------------------------------------------------------------------------------------------------------

BROKEN = {
    "h264": Film("mp4", "libx264", {"g": "20", "bf": "0"}, container_options=FAST),
    "mpeg4": Film("matroska", "mpeg4", {"g": "20"}),
    "vp9": Film("webm", "libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "mjpeg": Film("avi", "mjpeg", pixels="yuvj420p"),
    "ffv1": Film("matroska", "ffv1", {"g": "1"}),
}


def packets(data: bytes) -> list[tuple[int, int]]:
    """The places and sizes of the packets of a video."""
    with av.open(io.BytesIO(data), "r") as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_frame_is_left_out_and_told(name: str) -> None:
    data = bytearray(film(BROKEN[name], 60))
    place, size = packets(bytes(data))[25]
    place = data.index(b"\xff\xd8", place) if name == "mjpeg" else place
    begin = place + (size // 3 if name == "mpeg4" else 4)
    data[begin : place + size - 1] = bytes([255]) * (place + size - 1 - begin)
    said: list[str] = []
    found = [(time, number_of(frame)) for time, frame in stream_frames(io.BytesIO(data), None, warn=said.append)]
    assert said == ["the stream: 1 frame from 1.00 s on could not be decoded and is left out."]
    assert 1.0 not in [round(time, 2) for time, _ in found]
    assert [(round(time * 25), number) for time, number in found if not 1.0 <= time < 1.6] == [
        (n, n) for n in range(60) if not 25 <= n < 40
    ]
    clip = read_clip(io.BytesIO(data), Strided(25))
    assert clip.warnings == tuple(said)
    numbers = [number_of(frame) for frame in clip.frames]
    assert len(numbers) == 60
    assert numbers[25] == 24  # the one before stands in
    uniform = read_clip(io.BytesIO(data), Uniform(60))
    assert len(uniform.frames) == 59


@pytest.mark.parametrize(
    "kind",
    [
        Film("mp4", "libx264", {"g": "10", "crf": "10"}, container_options=FAST),
        Film("avi", "mjpeg", pixels="yuvj420p"),
        Film("matroska", "ffv1"),
        Film("webm", "libvpx-vp9", {"g": "10", "deadline": "realtime", "cpu-used": "8", "crf": "5", "b": "0"}),
    ],
    ids=lambda kind: kind.label,
)
def test_a_video_that_was_cut_off_gives_what_is_there(kind: Film) -> None:
    data = film(kind, 100)
    cut = data[: len(data) * 6 // 10]
    said: list[str] = []
    count = len([number_of(frame) for _, frame in stream_frames(io.BytesIO(cut), None, warn=said.append)])
    assert 10 < count < 90
    assert any("that it promises are there" in one or "it ends early" in one for one in said)
    for source in (io.BytesIO(cut), pipe(cut)):
        clip = read_clip(source, Uniform(8))
        numbers = [number_of(frame) for frame in clip.frames]
        spread = [int((part + 0.5) * clip.seconds / 8 * 25) for part in range(8)]  # over what is there
        assert numbers == pytest.approx(spread, abs=2)
        assert clip.seconds == pytest.approx(count / 25, abs=0.1)
        assert any("that it promises are there" in one or "it ends early" in one for one in clip.warnings)
    assert read_clip(io.BytesIO(data), Uniform(8)).warnings == ()


def test_warnings_of_a_stream_are_python_warnings_unless_told() -> None:
    data = film(Film("avi", "mjpeg", pixels="yuvj420p"), 30)[:-8000]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(stream_frames(io.BytesIO(data), None))
    said: list[str] = []
    list(stream_frames(io.BytesIO(data), None, warn=said.append))
    assert [str(one.message) for one in caught] == said != []


def test_a_clock_that_was_set_anew_is_followed() -> None:
    kind = {"container": "mpegts", "codec": "libx264", "options": {"g": "10"}}
    one, other = film(Film(**kind, start=50.0), 30), film(Film(**kind, start=3.0), 30)  # type: ignore[arg-type]
    far = film(Film(**kind, start=9000.0), 30)  # type: ignore[arg-type]
    for data in (one + other, one + far):
        said: list[str] = []
        found = list(stream_frames(io.BytesIO(data), None, warn=said.append))
        assert any("the clock leaps by" in sentence for sentence in said)
        assert [number_of(frame) for _, frame in found] == [*range(30), *range(30)]
        assert [time for time, _ in found] == pytest.approx([n / 25 for n in range(60)], abs=0.09)
        clip = read_clip(io.BytesIO(data), Uniform(6))
        assert [number_of(frame) for frame in clip.frames] == pytest.approx([5, 15, 25, 5, 15, 25], abs=2)


def test_a_clock_that_claims_years_gives_no_years_of_frames() -> None:
    data = bytearray(film(Film("gif", "gif", pixels="rgb8"), 40))
    place = -1
    while (place := data.find(b"\x21\xf9\x04", place + 1)) >= 0:
        data[place + 4 : place + 6] = b"\xff\xff"  # each frame for 655 s
    with pytest.raises(MediaError, match="its clock asks for more than"):
        for _ in stream_frames(io.BytesIO(data), 1e5, (1, 1)):
            pass


def test_an_interruption_passes_through() -> None:
    class Interrupted(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            if self.tell() > 20000:
                raise KeyboardInterrupt
            return super().read1(size)

    with pytest.raises(KeyboardInterrupt):
        list(stream_frames(Interrupted(film(Film("avi", "mjpeg", pixels="yuvj420p"), 60)), None))
