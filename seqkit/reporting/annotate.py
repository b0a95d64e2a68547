"""A video with its answer written into each frame.

Shapes: H and W, a frame's height and width.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from seqkit.media.video import probe_video, stream_frames
from seqkit.media.write_video import GREATEST_FPS, LEAST_FPS, VideoWriter, takes_times

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_SHARE = 0.07  # of the height, that letters take
_SMALLEST, _LARGEST = 8, 64  # pixels of letters; of smaller ones nothing can be read
_DARK = 0.35  # of its light the band keeps
_BAR = 0.12  # of the band's height, the bar of the probability
_INSTANT = 1e-4  # seconds; of frames that are shown at one time the first is kept
_RATE = 25.0  # frames a second, where a file does not say


def annotate_video(
    source: str | Path,
    out: str | Path,
    label_at: Callable[[float], tuple[str, float] | None],
    *,
    overwrite: bool = False,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Write a copy of a video with an answer in each frame: `label_at` gives text and probability at a time in seconds.

    Where it gives None, the frame stays as it is. Frames keep their times, but for an .avi, whose frames have one rate.
    The sound is copied. Memory does not grow with the length of the video. `warn` is called with a sentence for each
    fault of the source, as by `stream_frames`, and where the sound cannot be copied; by default it is a Python warning.
    Raises MediaError where the source cannot be read or `out` not be written.
    """
    warn = warn or _python_warning
    rate = min(max(probe_video(source).fps or _RATE, LEAST_FPS), GREATEST_FPS)
    timed = takes_times(out)
    frames = cast("Generator[tuple[float, np.ndarray]]", stream_frames(source, None if timed else rate, warn=warn))
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(frames))
        writer, last = None, -1.0
        for time, frame in frames:
            if time < last + _INSTANT:
                continue
            last = time
            if writer is None:
                size = (frame.shape[0], frame.shape[1])
                writer = stack.enter_context(VideoWriter(out, rate, size, overwrite=overwrite, sound=source))
            answer = label_at(time)
            writer.add(frame if answer is None else draw_label(frame, *answer), time if timed else None)
    for sentence in writer.warnings if writer is not None else ():
        warn(sentence)


def _python_warning(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def draw_label(frame: np.ndarray, text: str, probability: float) -> np.ndarray:
    """A copy of a frame (H, W, 3) uint8 with a dark band at its lower edge: a text, a probability, and a bar of it.

    Letters grow with the frame. A text that is too long for it is shortened, and written on one line. A frame that is
    too small for letters has the bar alone.
    """
    drawn = np.array(frame, dtype=np.uint8)
    height, width = drawn.shape[:2]
    if not height or not width:
        return drawn
    size = int(min(max(_SHARE * height, _SMALLEST), _LARGEST))
    band = min(height, round(1.6 * size))
    bar = max(1, round(_BAR * band))
    drawn[height - band :] = (drawn[height - band :] * _DARK).astype(np.uint8)
    filled = round(width * min(max(probability, 0.0), 1.0))
    drawn[height - bar :, :filled] = (255, 200, 60)
    written = _fitting(" ".join(text.split()), f" {probability:.0%}", size, width - size)
    if written and height >= 2 * band:
        _write(drawn[height - band : height - bar], written, size)
    return drawn


def _fitting(text: str, after: str, size: int, width: int) -> str:
    """As much of a text as fits a width in pixels with what stands after it; "" where that is none of it."""
    font = _font(size)
    if font.getlength(text + after) <= width:
        return text + after
    low, high = 0, len(text)  # so many characters fit; so many do not
    while high - low > 1:
        middle = (low + high) // 2
        fits = font.getlength(f"{text[:middle].rstrip()}…{after}") <= width
        low, high = (middle, high) if fits else (low, middle)
    return f"{text[:low].rstrip()}…{after}" if low else ""


def _write(band: np.ndarray, text: str, size: int) -> None:
    """Write light letters into a part (H, W, 3) of a frame."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(band)
    place = (size // 2, band.shape[0] / 2)
    ImageDraw.Draw(image).text(place, text, fill=(255, 255, 255), font=_font(size), anchor="lm")
    band[:] = np.asarray(image)


@functools.cache
def _font(size: int) -> FreeTypeFont:
    """The font of the pictures, which needs no file of the system. A character that it lacks shows as a box."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
