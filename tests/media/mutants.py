"""Damaged media files, and what reading them does. Run as a program, in a process of its own: mutants.py audio COUNT,
or mutants.py video COUNT.

It prints one JSON object: how many were read, read with a warning or refused; what else was raised; the slowest; and by
how much memory grew. Seeds are fixed, so that a number names a mutant.
"""

from __future__ import annotations

import io
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkit.errors import MediaError
from seqkit.media import Segments, Strided, Uniform, probe_audio, probe_video, read_audio, read_clip, stream_audio
from seqkit.media.video import stream_frames
from tests.media.sounds import Kind, chirp, encode, pipe
from tests.media.videos import Film, film

KINDS = (
    Kind("wav", "pcm_s16le"),
    Kind("wav", "pcm_f32le"),
    Kind("wav", "pcm_mulaw", 8000),
    Kind("flac", "flac"),
    Kind("mp3", "libmp3lame"),
    Kind("ogg", "libopus", 48000),
    Kind("ipod", "aac"),
    Kind("mp4", "aac", 44100, {"movflags": "faststart"}, video=True),
    Kind("mp4", "aac", 44100, video=True),
    Kind("matroska", "libopus", 48000),
    Kind("matroska", "aac", 44100, video=True),
)
FAST = {"movflags": "faststart"}
FILMS = (
    Film("mp4", "libx264", {"g": "12", "bf": "3"}, container_options=FAST),
    Film("mp4", "libx264", {"g": "12", "bf": "3"}, sound=True),
    Film("mp4", "libx265", {"x265-params": "keyint=20:bframes=3:log-level=none"}, container_options=FAST),
    Film("mp4", "libx264", {"g": "12"}, container_options={"movflags": "frag_keyframe+empty_moov"}),
    Film("avi", "mpeg4", {"bf": "2", "g": "12"}),
    Film("avi", "mjpeg", pixels="yuvj420p"),
    Film("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    Film("webm", "libsvtav1", {"svtav1-params": "keyint=12"}),
    Film("matroska", "ffv1"),
    Film("matroska", "mpeg4", {"g": "12"}, sound=True),
    Film("mpegts", "libx264", {"g": "12", "bf": "2"}),
    Film("mpeg", "mpeg2video", {"bf": "2"}),
    Film("h264", "libx264"),
    Film("gif", "gif", pixels="rgb8"),
)


def mutant(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A damaged copy: flipped bits, a cut, bytes of another file, or a changed header."""
    data = bytearray(content)
    ways = ("flip", "flip", "cut", "splice", "head", "head", "hole", "double", "number")
    for way in rng.choice(ways, size=int(rng.integers(1, 4))):
        here = int(rng.integers(0, max(1, len(data))))
        length = int(rng.integers(1, 2000))
        if way == "flip":
            for place in rng.integers(0, len(data), int(rng.integers(1, 40))):
                data[place] ^= 1 << int(rng.integers(0, 8))
        elif way == "head":
            for place in rng.integers(0, min(len(data), 200), int(rng.integers(1, 8))):
                data[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(0, 256))]))
        elif way == "number":  # four bytes that are a length, a rate or a count, somewhere
            data[here : here + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 10**9])).to_bytes(4, "big")
        elif way == "cut":
            del data[here:]
        elif way == "hole":
            del data[here : here + length]
        elif way == "double":
            data[here:here] = data[here : here + length]
        else:
            begin = int(rng.integers(0, len(other)))
            data[here : here + length] = other[begin : begin + length]
        if not data:
            break
    return bytes(data)


def try_audio(data: bytes, number: int) -> str:
    """Read a mutant in one of the ways that there are: what came of it."""
    source: Any = pipe(data, 4096) if number % 4 == 3 else io.BytesIO(data)
    if number % 5 == 4:
        probe_audio(io.BytesIO(data))
    if number % 3 == 0:
        said: list[str] = []
        count = sum(len(block) for block in stream_audio(source, 16000, warn=said.append))
        ok = count > 0
    else:
        audio = read_audio(source, 16000 if number % 3 == 1 else None)
        said, ok = list(audio.warnings), bool(len(audio.samples)) and bool(np.isfinite(audio.samples).all())
    return ("warned" if said else "read") if ok else "gave no finite sound"


def try_video(data: bytes, number: int) -> str:
    """The same for a video."""
    source: Any = pipe(data, 4096) if number % 4 == 3 else io.BytesIO(data)
    if number % 5 == 4:
        probe_video(io.BytesIO(data))
    if number % 3 == 0:
        said: list[str] = []
        rate = None if number % 2 else 10.0
        shown = [(time, frame.shape) for time, frame in stream_frames(source, rate, (16, 16), warn=said.append)]
        ok = all(one[0] < other[0] for one, other in itertools.pairwise(shown)) and bool(shown)
    else:
        samplings = (Uniform(8), Segments(8, number), Strided(10.0, seconds=60.0), Strided(3.0, start=1.0))
        clip = read_clip(source, samplings[number % 7 % 4], None if number % 2 else (16, 16), threads=1 + number % 2)
        said, ok = (
            list(clip.warnings),
            len(clip.frames) == len(clip.times) > 0 and bool((np.diff(clip.times) > 0).all()),
        )
    return ("warned" if said else "read") if ok else "gave no frames in order"


@dataclass(frozen=True)
class Trial:
    """A kind of files, and how they are read."""

    labels: tuple[str, ...]
    make: Callable[[], list[bytes]]
    read: Callable[[bytes, int], str]


TRIALS = {
    "audio": Trial(
        tuple(kind.label for kind in KINDS),
        lambda: [encode(kind, chirp(3 * kind.rate // 4, kind.rate)) for kind in KINDS],
        try_audio,
    ),
    "video": Trial(tuple(kind.label for kind in FILMS), lambda: [film(kind, 40) for kind in FILMS], try_video),
}


def try_one(read: Callable[[bytes, int], str], data: bytes, number: int) -> str:
    """What came of reading a mutant."""
    try:
        return read(data, number)
    except MediaError as error:
        return "refused" if str(error).startswith("the stream") and "\n" not in str(error) else f"message: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def main(what: str, count: int) -> None:
    """Try `count` mutants of all kinds in turn, and print what came of it."""
    trial = TRIALS[what]
    files = trial.make()
    for data in files:
        trial.read(data, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: dict[str, int] = {}
    unexpected, slowest = [], (0.0, -1)
    for number in range(count):
        rng = np.random.default_rng((20260101, number))
        data = mutant(files[number % len(files)], files[int(rng.integers(0, len(files)))], rng)
        begin = time.perf_counter()
        outcome = try_one(trial.read, data, number)
        slowest = max(slowest, (time.perf_counter() - begin, number))
        if outcome not in ("read", "warned", "refused"):
            unexpected.append(f"{number}, {trial.labels[number % len(files)]}: {outcome}")
        else:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    result = {"outcomes": outcomes, "unexpected": unexpected, "slowest": slowest, "grown_mb": grown / 1024}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
