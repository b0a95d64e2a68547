"""Pixels of videos: formats, colours, transparency, size and orientation."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

from seqkit.errors import MediaError
from seqkit.media import Strided, Uniform, probe_video, read_clip, stream_frames
from seqkit.media.video_pixels import FITS, Fit
from tests.media.videos import Film, bars, encode, film, number_of

LOSSLESS = Film("matroska", "ffv1", pixels="bgr0")


def one(pictures: list[np.ndarray], kind: Film, form: str = "rgb24", **options: Any) -> np.ndarray:
    """The first frame as it is read."""
    data = encode(kind, pictures, [n / kind.fps for n in range(len(pictures))], form)
    return np.asarray(read_clip(io.BytesIO(data), Uniform(1), **options).frames[0])


def colours(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 3), (33, 17), (48, 80)])
def test_lossless_pixels_of_any_size_are_exact(size: tuple[int, int]) -> None:
    picture = colours(*size)
    kind = Film("nut", "rawvideo", pixels="rgb24", size=size)
    assert np.array_equal(one([picture], kind), picture)
    assert np.array_equal(one([picture], Film("mov", "png", pixels="rgb24", size=size)), picture)


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
@pytest.mark.parametrize("fit", FITS)
def test_a_tiny_picture_becomes_large(size: tuple[int, int], fit: Fit) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    found = one([picture], Film("nut", "rawvideo", pixels="rgb24", size=size), size=(60, 60), fit=fit)
    assert found.shape == (60, 60, 3)
    assert (found[30] == 200).all()


@pytest.mark.parametrize(
    ("pixels", "array"),
    [
        ("gray", np.array([[0, 100], [200, 255]], np.uint8)),
        ("gray16le", np.array([[0, 25700], [51400, 65535]], np.uint16)),
        ("rgb48le", np.repeat(np.array([[0, 25700], [51400, 65535]], np.uint16)[..., None], 3, 2)),
        ("gbrp16le", np.repeat(np.array([[0, 25700], [51400, 65535]], np.uint16)[..., None], 3, 2)),
    ],
)
def test_grey_and_16_bits(pixels: str, array: np.ndarray) -> None:
    found = one(
        [np.tile(array, (4, 4, 1) if array.ndim == 3 else (4, 4))],
        Film("nut", "rawvideo", pixels=pixels, size=(8, 8)),
        pixels,
    )
    expected = np.tile(np.array([[0, 100], [200, 255]])[..., None], (4, 4, 3))
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_palette() -> None:
    data = film(Film("gif", "gif", pixels="rgb8"), 5)
    assert [number_of(frame) for _, frame in stream_frames(io.BytesIO(data), None)] == list(range(5))


@pytest.mark.parametrize(("container", "codec", "pixels"), [("mov", "png", "rgba"), ("matroska", "ffv1", "yuva444p")])
def test_what_is_transparent_lies_over_black(container: str, codec: str, pixels: str) -> None:
    picture = np.full((16, 16, 4), 200, np.uint8)
    picture[:, 4:8, 3], picture[:, 8:, 3] = 0, 128
    picture[:, :4, 3] = 255
    found = one([picture], Film(container, codec, pixels=pixels, size=(16, 16)), "rgba").astype(int)
    assert np.abs(found[:, :4] - 200).max() <= 3
    assert found[:, 4:8].max() <= 1
    assert np.abs(found[:, 8:] - 100).max() <= 3


@pytest.mark.parametrize("value", [0, 16, 128, 235, 255])
def test_full_and_limited_range_are_the_same_colours(value: int) -> None:
    picture = np.full((32, 32, 3), value, np.uint8)
    full = one([picture], Film("avi", "mjpeg", {"qmin": "1", "qmax": "1"}, pixels="yuvj420p", size=(32, 32)))
    limited = one([picture], Film("mp4", "libx264", {"crf": "1"}, size=(32, 32)))
    for found in (full, limited):
        assert np.abs(found.astype(int) - value).max() <= 3


def test_downscaling_takes_the_mean_of_the_area() -> None:
    picture = colours(64, 96)
    found = one([picture], Film("nut", "rawvideo", pixels="rgb24", size=(64, 96)), size=(8, 12)).astype(float)
    mean = picture.reshape(8, 8, 12, 8, 3).mean((1, 3))
    assert np.abs(found - mean).max() <= 1.5


# Fit -----------------------------------------------------------------------------------------------------------------


def test_crop_takes_the_centre_and_pad_puts_borders() -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, :20], picture[:, 20:60], picture[:, 60:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    kind = Film("nut", "rawvideo", pixels="rgb24", size=(40, 80))
    crop = one([picture], kind, size=(20, 20), fit="crop")
    assert (crop == (0, 250, 0)).all()
    pad = one([picture], kind, size=(40, 40), fit="pad")
    assert not pad[:10].any()
    assert not pad[30:].any()
    assert (pad[10:30, :9] == (250, 0, 0)).all()
    assert (pad[10:30, 31:] == (0, 0, 250)).all()
    stretch = one([picture], kind, size=(20, 40), fit="stretch")
    assert (stretch[:, :10] == (250, 0, 0)).all()
    assert (stretch[:, 30:] == (0, 0, 250)).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(13, 27), (27, 13), (48, 80), (100, 31), (1, 1)])
def test_every_fit_gives_the_size_that_was_asked_for(fit: Fit, size: tuple[int, int]) -> None:
    data = film(LOSSLESS, 3)
    assert read_clip(io.BytesIO(data), Uniform(3), size, fit).frames.shape == (3, *size, 3)
    assert [frame.shape for _, frame in stream_frames(io.BytesIO(data), None, size, fit)] == [(*size, 3)] * 3


def test_sizes_that_cannot_be() -> None:
    data = film(LOSSLESS, 1)
    for size in ((0, 5), (5, -1), (16385, 4)):
        with pytest.raises(MediaError, match="the wanted size"):
            read_clip(io.BytesIO(data), Uniform(1), size)
    with pytest.raises(ValueError, match="fit"):
        read_clip(io.BytesIO(data), Uniform(1), (5, 5), "squeeze")  # type: ignore[arg-type]
    thin = encode(Film("nut", "rawvideo", pixels="rgb24", size=(1, 1000)), [colours(1, 1000)], [0.0])
    with pytest.raises(MediaError, match="too thin to crop"):
        read_clip(io.BytesIO(thin), Uniform(1), (112, 112), "crop")
    assert read_clip(io.BytesIO(thin), Uniform(1), (112, 112), "pad").frames.shape == (1, 112, 112, 3)


def test_a_size_that_changes_becomes_that_of_the_first_frame() -> None:
    small, large = (
        film(Film("mpegts", "mpeg2video", size=(48, 80)), 10),
        film(Film("mpegts", "mpeg2video", size=(96, 80)), 10),
    )
    clip = read_clip(io.BytesIO(small + large), Strided(25))
    assert clip.frames.shape[1:] == (48, 80, 3)
    assert any("the size of the picture changes from 80 x 48 to 80 x 96 at 0." in warning for warning in clip.warnings)
    assert [number_of(frame) for frame in clip.frames][-1] == 9
    sized = read_clip(io.BytesIO(small + large), Strided(25), (24, 40))
    assert not any("size" in warning for warning in sized.warnings)


# Which side is up ----------------------------------------------------------------------------------------------------

MATRICES = {  # a, b, c, d of the display matrix: x' = a x + c y, y' = b x + d y, with y downwards
    (0, False): (1, 0, 0, 1),
    (1, False): (0, 1, -1, 0),
    (2, False): (-1, 0, 0, -1),
    (3, False): (0, -1, 1, 0),
    (0, True): (-1, 0, 0, 1),
    (1, True): (0, 1, 1, 0),
    (2, True): (1, 0, 0, -1),
    (3, True): (0, -1, -1, 0),
}


def turned(data: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An mp4 file whose track has that display matrix: ISO/IEC 14496-12, 8.3.2."""
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    return data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :]


def by_points(picture: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """The picture with each point moved as the matrix says."""
    a, b, c, d = matrix
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    out = np.zeros((to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
    out[to_y, to_x] = picture
    return out


@pytest.mark.parametrize(("turns", "mirrored"), MATRICES)
def test_frames_are_turned_and_mirrored_as_the_file_says(turns: int, mirrored: bool) -> None:
    matrix = MATRICES[turns, mirrored]
    kind = Film("mp4", "libx264rgb", {"crf": "0"}, pixels="rgb24", size=(24, 40))
    picture = bars(0b1001101011, (24, 40))
    data = turned(encode(kind, [picture], [0.0]), matrix)
    found = read_clip(io.BytesIO(data), Uniform(1)).frames[0]
    assert np.array_equal(found, by_points(picture, matrix))
    info = probe_video(io.BytesIO(data))
    assert (info.height, info.width, info.rotation) == (*found.shape[:2], 90 * turns)
    assert read_clip(io.BytesIO(data), Uniform(1), (10, 30), "crop").frames.shape == (1, 10, 30, 3)
    padded = read_clip(io.BytesIO(data), Uniform(1), (40, 40), "pad").frames[0]
    assert np.array_equal(padded[tuple(slice((40 - n) // 2, (40 + n) // 2) for n in found.shape[:2])], found)
