"""Speech without a speaker: each letter is a tone of its own, so that a small network learns to read in seconds."""

from __future__ import annotations

import random
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

LETTERS = {"A": 300.0, "B": 700.0, "C": 1300.0, "D": 2300.0}
RATE = 8000
TONE, GAP, PAUSE = 0.08, 0.04, 0.12
"""Seconds of a letter, of what follows it, and of a space."""
SETTINGS = (
    "data.audio=file",
    "data.text=words",
    "audio.filterbank.sample_rate=8000",
    "audio.filterbank.mels=16",
    "audio.filterbank.high_hz=3000",
    "model.subsampling.stride=2",
    "model.subsampling.context=1",
    "model.lstm.hidden_size=24",
    "model.lstm.num_layers=1",
    "search.beam_size=4",
    "training.batch_examples=4",
    "training.epochs=12",
    "training.learning_rate=0.02",
    "training.schedule=cosine",
)
LIVE = ("model.lstm.bidirectional=false", "audio.normalize=global", "model.subsampling.context=3", "training.epochs=30")


def settings(manifest: Path) -> list[str]:
    """Train, choose and test on one table."""
    return [*SETTINGS, *(f"data.{part}={manifest}" for part in ("train", "validation", "test")), "data.demo=false"]


def spoken(text: str, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """The samples (S,) float32 of a text, with silence around it."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(round(rate * 0.1))]
    for letter in text:
        if letter == " ":
            parts.append(np.zeros(round(rate * PAUSE)))
            continue
        time = np.arange(round(rate * TONE)) / rate
        parts += [np.sin(2 * np.pi * LETTERS[letter] * time) * np.hanning(len(time)), np.zeros(round(rate * GAP))]
    samples = np.concatenate([*parts, np.zeros(round(rate * 0.1))]) * 0.4
    noisy: np.ndarray = (samples + rng.normal(0, 0.003, len(samples))).astype(np.float32)
    return noisy


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """16 bits, one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of one to three words."""
    rng = random.Random(seed)
    words = ["AB", "CAD", "DA", "BB", "C"]
    return [" ".join(rng.choice(words) for _ in range(rng.randint(1, 3))) for _ in range(count)]


def write_manifest(folder: Path, said: Sequence[str], name: str = "said.tsv") -> Path:
    """A table with the columns file, words and speaker, and the sounds in a folder beside it."""
    (folder / "sounds").mkdir(parents=True, exist_ok=True)
    lines = ["file\twords\tspeaker"]
    for number, text in enumerate(said):
        path = write_wav(folder / "sounds" / f"{Path(name).stem}-{number}.wav", spoken(text, number))
        lines.append(f"{path.relative_to(folder)}\t{text}\ts{number % 4}")
    table = folder / name
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table
