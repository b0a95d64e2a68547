"""Short videos of people who walk, run, jump, wave and bend: an honest small task for the demo of video.

People of round limbs are drawn from a fixed seed, each with a build and clothes; tempo, phase, manner, place,
direction and size are drawn for each clip, and so are its background, things that pass by, how the camera shakes and
how noisy it is. Every clip is an H.264 file of one of several sizes and frame rates. All actions have the same sizes,
lengths, colours and backgrounds: what differs is how the body moves.

Nobody is in two parts. Builds, the hues of clothes and the kinds of backgrounds in validation are not those of
training, and those in test are others again.

The files are made once and kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from seqkit.data.embedded import cache_folder
from seqkit.data.making import Draws, is_whole, make_folder
from seqkit.data.poses import ACTIONS, PACE, TEMPO, Build, Manner, joints
from seqkit.data.scenes import Colour, Look, background, colour, draw_limb, draw_person, view
from seqkit.media.write_video import VideoWriter
from seqkit.reporting.progress import counting

SIZES = {"train": 300, "validation": 60, "test": 100}
"""Clips of each part; a person is seen once in each action."""
BACKGROUNDS = {
    "train": ("wall", "clouds", "stripes", "checks", "grid", "hills"),
    "validation": ("planks", "rings"),
    "test": ("bricks", "dots", "dunes"),
}
_FRAMES = ((64, 64), (64, 96), (72, 96), (96, 96), (96, 128), (112, 84), (120, 160))  # height and width
_RATES = (15, 20, 24, 25, 30)
_VERSION = 1  # of how a clip is drawn; the plan has a digest of its own
_SEED = 1878
_MARGIN = 6  # pixels around a background, for the camera to shake in
_SLICES = {1: "test", 3: "validation"}  # of five; the rest is training's


@dataclass(frozen=True)
class _Thing:
    """Something round or long that passes behind the person; lengths are shares of the picture's height."""

    x: float
    y: float
    across: float
    """From one end to the other."""
    down: float
    radius: float
    speed: float
    """A second."""
    paint: Colour


@dataclass(frozen=True)
class _Clip:
    """What is seen, and how it is recorded."""

    file: str
    """Its place in the folder."""
    label: str
    figure: str
    build: Build
    look: Look
    manner: Manner
    size: tuple[int, int]
    """Height and width in pixels."""
    fps: int
    frames: int
    tempo: float
    """Cycles a second."""
    phase: float
    """Cycles before the first frame."""
    sway: tuple[float, float]
    """How far the tempo changes, as a share of it; where in that the clip begins, in turns."""
    facing: int
    """1 to the right, -1 to the left."""
    breadth: float
    """What the turn of the body leaves of its depth, 0 to 1."""
    tall: float
    """Standing height, as a share of the picture's height."""
    ground: float
    """Where the feet are, as a share of the picture's height."""
    path: tuple[float, float]
    """Where the hips are in the first and the last frame, as a share of the picture's width."""
    kind: str
    colours: tuple[Colour, Colour]
    """Of the background."""
    things: tuple[_Thing, ...]
    shake: float
    """Pixels."""
    light: float
    """1 is usual."""
    noise: float
    """Standard deviation, in steps of 256."""
    seed: int


def demo_actions(sizes: Mapping[str, int] = SIZES) -> dict[str, list[dict[str, str]]]:
    """The corpus: {part: rows}, each row with "clip" (path of a file), "label" (what is done) and "figure" (who).

    Parts: train, validation and test, as many clips as `sizes` says; the first n of a part are always the same. The
    files are made at the first call, in the cache, and stay there. Raises RunError and MediaError where the disk cannot
    hold them, or no H.264 can be written.
    """
    plan = {part: _plan(part, size) for part, size in sizes.items()}
    described = json.dumps([_VERSION, {part: [asdict(clip) for clip in clips] for part, clips in plan.items()}])
    folder = cache_folder() / f"demo-actions-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    clips = [clip for part in plan.values() for clip in part]
    files = [clip.file for clip in clips]
    if not is_whole(folder, files):
        console, begun = Console(stderr=True), time.monotonic()
        make_folder(folder, files, partial(_fill, clips, console))
        console.print(
            f"Made the demo corpus, {len(clips):,} videos, in {time.monotonic() - begun:.0f} s: {folder}",
            soft_wrap=True,
            highlight=False,
        )
    return {
        part: [{"clip": str(folder / clip.file), "label": clip.label, "figure": clip.figure} for clip in clips]
        for part, clips in plan.items()
    }


# What is seen --------------------------------------------------------------------------------------------------------


def _plan(part: str, size: int) -> list[_Clip]:
    """The clips of a part: each person in all actions, in any order."""
    clips: list[_Clip] = []
    while len(clips) < size:
        figure = f"{part}-{len(clips) // len(ACTIONS):03d}"
        draws = _Draws(f"{_SEED} {figure}", part)
        build, bright = draws.build(), bool(draws.whole(0, 2))
        look = draws.look(build, bright=bright)
        for label in draws.shuffled(sorted(ACTIONS)):
            clips.append(draws.clip(f"{part}/{len(clips):05d}.mp4", label, figure, build, look, bright=bright))
    return clips[:size]


class _Draws(Draws):
    """Draws what is seen in one part."""

    def __init__(self, seed: str, part: str) -> None:
        super().__init__(seed)
        self.part = part

    def own(self, low: float, high: float) -> float:
        """A number between two others that no other part draws: of forty slices, each part has its own."""
        slices = [number for number in range(40) if _SLICES.get(number % 5, "train") == self.part]
        return round(low + (self.pick(slices) + self.real(0.01, 0.99)) * (high - low) / 40, 6)

    def build(self) -> Build:
        """Proportions."""
        legs, thigh, arms = self.own(0.44, 0.54), self.own(0.46, 0.54), self.own(0.37, 0.45)
        return Build(legs, thigh, arms, upper_arm=self.own(0.46, 0.54), head=self.own(0.062, 0.085))

    def look(self, build: Build, *, bright: bool) -> Look:
        """Clothes, bright or dark, so that they stand out before the background, which is the other."""
        low, high = (0.55, 0.85) if bright else (0.12, 0.4)
        shirt, trousers, shoes = (
            colour(self.own(0, 1), self.real(0.2, 0.9), lightness)
            for lightness in (self.real(low, high), self.real(low, high), self.real(low, high))
        )
        return Look(
            skin=colour(0.05 + self.real(0, 0.04), self.real(0.3, 0.6), self.real(0.35, 0.78)),
            hair=colour(0.06, self.real(0.1, 0.6), self.pick((0.1, 0.2, 0.45, 0.75))),
            shirt=shirt,
            trousers=trousers,
            shoes=shoes,
            bulk=self.own(0.85, 1.3),
            head=build.head,
            long_sleeves=bool(self.whole(0, 2)),
            long_legs=bool(self.whole(0, 3)),
            long_hair=bool(self.whole(0, 2)),
        )

    def clip(self, file: str, label: str, figure: str, build: Build, look: Look, *, bright: bool) -> _Clip:
        """One action of a person."""
        fps, facing = self.pick(_RATES), self.pick((-1, 1))
        begin, end = self.real(0.3, 0.7), self.real(0.3, 0.7)
        if PACE[label] and (end - begin) * facing < 0:  # nobody goes backwards
            begin, end = end, begin
        base = self.real(0.12, 0.32) if bright else self.real(0.62, 0.86)
        return _Clip(
            file=file,
            label=label,
            figure=figure,
            build=build,
            look=look,
            manner=self.manner(),
            size=self.pick(_FRAMES),
            fps=fps,
            frames=round(fps * self.real(1.5, 3.0)),
            tempo=self.real(*TEMPO[label]),
            phase=self.real(0, 10),
            sway=(self.real(0, 0.2), self.real(0, 1)),
            facing=facing,
            breadth=self.real(0.8, 1.0),
            tall=self.real(0.58, 0.72),
            ground=self.real(0.88, 0.96),
            path=(begin, end),
            kind=self.pick(BACKGROUNDS[self.part]),
            colours=self.backdrop(base),
            things=tuple(self.thing(base) for _ in range(self.whole(0, 3))),
            shake=self.pick((0.0, 0.4, 1.2)),
            light=self.real(0.85, 1.12),
            noise=self.pick((0.0, 2.0, 5.0, 8.0)),
            seed=self.whole(1, 1 << 30),
        )

    def manner(self) -> Manner:
        """How it is done."""
        return Manner(
            size=self.real(0.85, 1.15),
            arms=self.real(0.8, 1.2),
            lean=self.real(-4, 6),
            stance=self.real(4, 26),
            both=self.whole(0, 3) == 0,
            rest=self.real(-0.1, 0.3),
        )

    def backdrop(self, base: float) -> tuple[Colour, Colour]:
        """Two colours about a lightness."""
        apart = self.real(0.02, 0.07)
        first, second = (colour(self.own(0, 1), self.real(0.05, 0.5), base + apart * sign) for sign in (-1, 1))
        return first, second

    def thing(self, base: float) -> _Thing:
        """Balls in training, poles in validation, slanted bars in test."""
        across, down = {"train": (0.0, 0.0), "validation": (0.0, 0.5), "test": (0.12, 0.2)}[self.part]
        return _Thing(
            x=self.real(-0.2, 1.6),
            y=self.real(0.1, 0.9) - down / 2,
            across=across,
            down=down,
            radius=self.real(0.02, 0.07),
            speed=self.real(-0.5, 0.5),
            paint=colour(self.own(0, 1), self.real(0.2, 0.9), base + self.real(-0.12, 0.12)),
        )


# How it is recorded --------------------------------------------------------------------------------------------------


def _fill(clips: Sequence[_Clip], console: Console, folder: Path) -> None:
    """Write all clips. Drawing keeps one core busy; coding, and waiting for the disk, go on beside it."""
    with counting(console, "Drawing videos for the demo") as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(partial(_write, folder), clips), 1):
            progress(done, len(clips))


def _write(folder: Path, clip: _Clip) -> None:
    with VideoWriter(folder / clip.file, clip.fps, clip.size) as writer:
        for frame in _frames(clip):
            writer.add(frame)


def _frames(clip: _Clip) -> list[np.ndarray]:
    """The frames (H, W, 3) uint8 of a clip."""
    rng = np.random.RandomState(clip.seed)  # its numbers are the same in every version of NumPy
    height, width = clip.size
    last = (clip.frames - 1) / clip.fps
    ahead = PACE[clip.label] * clip.tempo * clip.tall * height * clip.facing  # pixels a second, over the ground
    seen = (clip.path[1] - clip.path[0]) * width / last  # likewise, in the picture
    scroll = ahead - seen  # of the camera, over the ground
    reach = math.ceil(abs(scroll) * last) + 2 * _MARGIN + 2
    behind = background(clip.kind, height + 2 * _MARGIN + 2, width + reach, clip.colours, clip.seed)
    grain = rng.standard_normal((height + 16, width + 16, 3)).astype(np.float32) * (clip.noise / 256)
    shake = np.clip(np.cumsum(rng.standard_normal((clip.frames, 2)), 0) * 0.3 * clip.shake, 1 - _MARGIN, _MARGIN - 1)
    frames = []
    for number in range(clip.frames):
        time = number / clip.fps
        left = _MARGIN + max(0.0, -scroll * last) + scroll * time + shake[number, 0]
        picture = view(behind, left, _MARGIN + shake[number, 1], clip.size)
        for thing in clip.things:
            _draw_thing(picture, thing, time, scroll)
        places = _places(clip, time) - shake[number]
        draw_person(picture, places, clip.tall * height, clip.look)
        across, down = rng.randint(0, 17, 2)
        picture = picture * np.float32(clip.light) + grain[down : down + height, across : across + width]
        frames.append((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    return frames


def _places(clip: _Clip, time: float) -> np.ndarray:
    """Where the joints (N, 2) of the person are, in pixels."""
    height, width = clip.size
    sway, begin = clip.sway
    turn = 2 * math.pi * 0.4  # of the tempo: 0.4 changes a second
    warped = time + sway * math.sin(turn * time + 2 * math.pi * begin) / turn
    points = joints(clip.label, clip.build, clip.manner, clip.phase + clip.tempo * warped)
    part = time * clip.fps / (clip.frames - 1)
    hips = (clip.path[0] + (clip.path[1] - clip.path[0]) * part) * width
    tall = clip.tall * height
    return np.stack(
        [hips + clip.facing * clip.breadth * tall * points[:, 0], clip.ground * height - tall * points[:, 1]], 1
    )


def _draw_thing(picture: np.ndarray, thing: _Thing, time: float, scroll: float) -> None:
    height = picture.shape[0]
    start = np.array([thing.x + thing.speed * time, thing.y]) * height
    start[0] -= 0.5 * scroll * time  # it is nearer than the background, or moves itself
    radius = thing.radius * height
    draw_limb(picture, start, start + np.array([thing.across, thing.down]) * height, (radius, radius), thing.paint)
