"""Clips in which a spot moves: to tell where it goes, one has to look at more than one frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seqkit.media.write_video import write_video

MOVES = {"across": (0, 1), "down": (1, 0)}
SIDE = 32
RATE = 10.0
SETTINGS = (
    "data.demo=false",
    "video.rate=10",
    "video.size=16,16",
    "video.grey=true",
    "video.differences=true",
    "augment.zoom=0.1",
    "augment.flip=0",
    "augment.speed=0",
    "augment.shift=0",
    "augment.crop=0",
    "model.encoder.kind=motion",
    "model.encoder.grid=1,1",
    "model.encoder.dropout=0",
    "model.lstm.hidden_size=12",
    "model.lstm.locked_dropout=0",
    "model.dropout=0",
    "training.epochs=10",
    "training.warmup_steps=0",
    "training.batch_examples=4",
    "training.learning_rate=0.03",
)
STEPS = ("model.head=steps", "model.lstm.bidirectional=false")


def moving(action: str, seed: int, seconds: float = 1.0) -> Iterator[np.ndarray]:
    """The frames (H, W, 3) of a spot that goes there and comes in again."""
    rng = np.random.default_rng(seed)
    row, column = rng.integers(0, SIDE, 2)
    down, right = MOVES[action]
    speed = int(rng.choice([2, 3]))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for step in range(round(seconds * RATE)):
        at = (row + down * speed * step) % SIDE, (column + right * speed * step) % SIDE
        apart = [abs(rows - at[0]), abs(columns - at[1])]
        far = sum(np.minimum(axis, SIDE - axis) ** 2 for axis in apart)
        light = 200 * np.exp(-far / 12) + rng.normal(20, 4, (SIDE, SIDE))
        yield np.repeat(np.clip(light, 0, 255)[..., None], 3, axis=2).astype(np.uint8)


def write_clip(path: Path, action: str, seed: int, seconds: float = 1.0) -> Path:
    """A clip as a video file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, moving(action, seed, seconds), RATE)
    return path


def write_folders(folder: Path, count: int = 10) -> Path:
    """A folder with a sub-folder for each action."""
    for number in range(count):
        for place, action in enumerate(MOVES):
            write_clip(folder / action / f"{number}.mp4", action, 100 * place + number)
    return folder


def skeleton(action: str, seed: int, length: int = 12) -> np.ndarray:
    """Joints (T, 20, 3) of a body whose right hand goes to the side or down."""
    rng = np.random.default_rng(seed)
    pose = np.zeros((20, 3))
    places = {19: (0, 0.7), 2: (0, 0.5), 3: (0, 0.25), 6: (0, 0), 0: (-0.2, 0.45), 1: (0.2, 0.45), 4: (-0.1, 0)}
    places |= {5: (0.1, 0), 7: (-0.3, 0.3), 8: (0.3, 0.3), 9: (-0.3, 0.1), 10: (0.3, 0.1), 11: (-0.3, 0), 12: (0.3, 0)}
    places |= {13: (-0.1, -0.4), 14: (0.1, -0.4), 15: (-0.1, -0.8), 16: (0.1, -0.8), 17: (-0.1, -0.9), 18: (0.1, -0.9)}
    for joint, (x, y) in places.items():
        pose[joint] = (x, y, 2.5)
    clip = np.repeat(pose[None], length, axis=0) + rng.normal(0, 0.005, (length, 20, 3))
    down, right = MOVES[action]
    moved = np.linspace(0, 0.5, length)
    clip[:, 12, 0] += right * moved
    clip[:, 12, 1] -= down * moved
    return (clip + rng.uniform(-0.5, 0.5, 3)).astype(np.float32)
