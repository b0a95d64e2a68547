"""From a decoded frame of any format to RGB pixels of the size that is wanted, the right way up.

Colours and their range are swscale's work, and so is the resizing: by the mean of the area that a pixel covers, so that
nothing flickers where a picture becomes much smaller. What is transparent is put over black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from seqkit.errors import MediaError
from seqkit.media.containers import MOST_PIXELS, check_sides

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Fit = Literal["stretch", "crop", "pad"]
"""How a picture gets another shape: stretched; its centre cut out; or with black borders."""
FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")
_ONE = 1 << 16  # 1 in a display matrix


class Shaper:
    """Makes (H, W, 3) uint8 of frames. `size` is (height, width); None takes that of the first frame for all."""

    def __init__(self, name: str, size: tuple[int, int] | None, fit: Fit) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        if fit not in FITS:
            raise ValueError(f"fit={fit!r} is none of {', '.join(FITS)}")
        if size is not None:
            check_sides(*size, f"{name}: the wanted size")
        self.name, self.fit, self.size = name, fit, size
        self.changes: list[str] = []
        self._first: tuple[int, int] | None = None
        self._given = size is not None
        self._reformatter: Any = VideoReformatter()
        self._scaling = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

    def __call__(self, frame: VideoFrame, time: float) -> np.ndarray:
        """The pixels of a frame; `time` is for messages. Raises MediaError for a size that cannot be used."""
        check_sides(frame.height, frame.width, self.name)
        turns, mirrored = orientation(frame)
        shown = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
        if self.size is None:
            self.size = shown
        if not self._given:
            self._first = self._first or shown
            if shown != self._first and not self.changes:
                (height, width), (new_height, new_width) = self._first, shown
                self.changes.append(f"from {width} x {height} to {new_width} x {new_height} at {time:.2f} s")
        inner = self._inner(shown, self.size)
        pixels = self._scaled(frame, inner[::-1] if turns % 2 else inner)
        pixels = np.rot90(pixels, -turns)  # np.rot90 turns counterclockwise
        if mirrored:
            pixels = pixels[:, ::-1]
        return _placed(pixels, self.size)

    def _inner(self, shown: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
        """The size that the whole picture is brought to, before its edges are cut or borders are added."""
        if self.fit == "stretch" or shown == size:
            return size
        ratios = [new / old for new, old in zip(size, shown, strict=True)]
        ratio = max(ratios) if self.fit == "crop" else min(ratios)
        height, width = (
            new if new / old == ratio else max(1, round(old * ratio)) for new, old in zip(size, shown, strict=True)
        )
        if max(height, width) > MOST_PIXELS:
            raise MediaError(
                f"{self.name}: a picture of {shown[1]} x {shown[0]} is too thin to crop to {size[1]} x {size[0]}.",
                hint="Stretch it, or pad it.",
            )
        return height, width

    def _scaled(self, frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
        """The pixels (H, W, 3) of the whole frame, at that size."""
        height, width = size
        if any(component.is_alpha for component in frame.format.components):
            frame = self._over_black(frame)
        scaled = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=self._scaling, dst_color_range="JPEG", threads=1
        )
        pixels: np.ndarray = scaled.to_ndarray()
        return pixels

    def _over_black(self, frame: VideoFrame) -> VideoFrame:
        """A frame without transparency, of the same size."""
        from av.video.frame import VideoFrame

        mixed = self._reformatter.reformat(frame, format="rgba", dst_color_range="JPEG", threads=1).to_ndarray()
        colours = mixed[..., :3].astype(np.uint16) * mixed[..., 3:]  # (H, W, 3)
        return VideoFrame.from_ndarray(((colours + 127) // 255).astype(np.uint8), format="rgb24")


def _placed(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The centre of pixels (H, W, 3), or pixels in the centre of black, so that they have `size`."""
    if pixels.shape[:2] == size:
        return np.ascontiguousarray(pixels)
    out = np.zeros((*size, 3), np.uint8)
    taken, put = [], []
    for have, want in zip(pixels.shape[:2], size, strict=True):
        both = min(have, want)
        taken.append(slice((have - both) // 2, (have - both) // 2 + both))
        put.append(slice((want - both) // 2, (want - both) // 2 + both))
    out[tuple(put)] = pixels[tuple(taken)]
    return out


def orientation(frame: VideoFrame) -> tuple[int, bool]:
    """How a frame is to be shown: quarter turns clockwise, then whether left and right are exchanged.

    The display matrix maps a point (x, y) of the frame to (a x + c y, b x + d y), x to the right and y downwards:
    ISO/IEC 14496-12, 8.3.2. Only quarter turns are known; the nearest one is taken.
    """
    found: Any = frame.side_data.get("DISPLAYMATRIX")
    data = b"" if found is None else bytes(found)
    if len(data) < 36:
        return 0, False
    a, b, _, c, d = np.frombuffer(data, np.int32, 5).astype(float) / _ONE
    mirrored = a * d - b * c < 0
    if mirrored:  # as a turn, and then x -> -x
        a, c = -a, -c
    return round(np.degrees(np.arctan2(b, a)) / 90) % 4, bool(mirrored)
