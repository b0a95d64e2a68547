"""Damaged media files, and what reading them does. Run as a program, in a process of its own: mutants.py COUNT.

It prints one JSON object: how many were read, read with a warning or refused; what else was raised; the slowest; and by
how much memory grew. Seeds are fixed, so that a number names a mutant.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import time
from typing import Any

import numpy as np

from seqkit.errors import MediaError
from seqkit.media import probe_audio, read_audio, stream_audio
from tests.media.sounds import Kind, chirp, encode, pipe

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


def try_one(data: bytes, number: int) -> str:
    """Read a mutant in one of the ways that there are: what came of it."""
    source: Any = pipe(data, 4096) if number % 4 == 3 else io.BytesIO(data)
    try:
        if number % 5 == 4:
            probe_audio(io.BytesIO(data))
        if number % 3 == 0:
            said: list[str] = []
            count = sum(len(block) for block in stream_audio(source, 16000, warn=said.append))
            ok = count > 0
        else:
            audio = read_audio(source, 16000 if number % 3 == 1 else None)
            said, ok = list(audio.warnings), bool(len(audio.samples)) and bool(np.isfinite(audio.samples).all())
    except MediaError as error:
        return "refused" if str(error).startswith("the stream") and "\n" not in str(error) else f"message: {error}"
    return ("warned" if said else "read") if ok else "gave no finite sound"


def main(count: int) -> None:
    """Try `count` mutants of all kinds in turn, and print what came of it."""
    files = [encode(kind, chirp(3 * kind.rate // 4, kind.rate)) for kind in KINDS]
    for data in files:
        read_audio(io.BytesIO(data), 16000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: dict[str, int] = {}
    unexpected, slowest = [], (0.0, -1)
    for number in range(count):
        rng = np.random.default_rng((20260101, number))
        data = mutant(files[number % len(files)], files[int(rng.integers(0, len(files)))], rng)
        begin = time.perf_counter()
        try:
            outcome = try_one(data, number)
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        slowest = max(slowest, (time.perf_counter() - begin, number))
        if outcome not in ("read", "warned", "refused"):
            unexpected.append(f"{number}, {KINDS[number % len(KINDS)].label}: {outcome}")
        else:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    result = {"outcomes": outcomes, "unexpected": unexpected, "slowest": slowest, "grown_mb": grown / 1024}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
