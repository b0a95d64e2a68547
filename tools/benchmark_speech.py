"""How fast a run of the speech recipe hears: times real time, for files and for a live stream.

    python tools/benchmark_speech.py runs/speech-an4 an4/audio --threads 2
    python tools/benchmark_speech.py runs/speech-an4-streaming an4/audio --threads 2 --chunk-ms 100

The files are decoded as `seqkit decode RUN FOLDER` does it: opened, resampled, transformed, read by the network,
searched, aligned; loading the run is left out. A figure of 100 is 100 seconds of sound in a second. A run that reads in
one direction is also given the same sounds as a live stream, chunk by chunk, as fast as it takes them: the share is
what a chunk costs of its own length. Every figure is the median of --rounds; the slowest and fastest stand beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from seqkit.decoding import Decoder, load_run
from seqkit.errors import SeqkitError
from seqkit.media.audio import read_audio


class Chunks:
    """Raw sound in chunks of so many bytes, with the time that was spent between them."""

    def __init__(self, data: bytes, size: int) -> None:
        self._chunks = [data[start : start + size] for start in range(0, len(data), size)][::-1]
        self._asked: float | None = None
        self.work: list[float] = []

    def read1(self, size: int = -1) -> bytes:
        """The next chunk."""
        now = time.perf_counter()
        if self._asked is not None:
            self.work.append(now - self._asked)
        chunk = self._chunks.pop() if self._chunks else b""
        self._asked = time.perf_counter()
        return chunk

    read = read1


def sound_files(folder: Path, run: Decoder, limit: int) -> list[Path]:
    """The first files of a folder that the recipe reads."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in run.recipe.suffixes)
    if not found:
        raise SystemExit(f"benchmark_speech: no sound file in {folder}.")
    return found[:limit]


def times_real_time(run: Decoder, files: list[Path], **options: Any) -> float:
    """Seconds of sound for a second of decoding."""
    began = time.perf_counter()
    answers = run.decode([str(path) for path in files], **options)
    return float(sum(answer["seconds"] for answer in answers)) / (time.perf_counter() - began)


def live_share(run: Decoder, data: bytes, rate: int, chunk_seconds: float) -> tuple[float, float]:
    """What a chunk costs of its length: the mean, and the 99th percentile."""
    chunks = Chunks(data, 2 * round(rate * chunk_seconds))
    options = run.options({"stream": True})
    for _ in run.follow(cast(BinaryIO, chunks), options, lambda note: None):
        pass
    work = np.array(chunks.work) / chunk_seconds
    return float(work.mean()), float(np.quantile(work, 0.99))


def measured(rounds: int, once: Callable[[], float]) -> dict[str, float]:
    """Median, least and greatest of so many rounds."""
    values = [once() for _ in range(rounds)]
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def main() -> None:
    """Measure, and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of the recipe speech")
    parser.add_argument("folder", type=Path, help="with sound files")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk-ms", type=float, default=100.0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        run = load_run(arguments.run)
        files = sound_files(arguments.folder, run, arguments.files)
        for name, options in (("greedy", {"greedy": True}), ("beam and language model", {})):
            times_real_time(run, files[:20], **options)
            found = measured(arguments.rounds, lambda chosen=options: times_real_time(run, files, **chosen))  # type: ignore[misc]
            print(json.dumps({"decoding": name, "files": len(files), "threads": arguments.threads, **found}))
        recipe: Any = run.recipe
        if not recipe.config.model.lstm.bidirectional:
            rate = recipe.frontend.bank.sample_rate
            samples = np.concatenate([read_audio(path, rate).samples for path in files[:30]])
            data = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
            mean, tail = live_share(run, data, rate, arguments.chunk_ms / 1000)
            stream = {"chunk_ms": arguments.chunk_ms, "seconds": len(samples) / rate, "share": mean, "share_p99": tail}
            print(json.dumps({"live": stream, "threads": arguments.threads}))
    except SeqkitError as error:
        print(f"benchmark_speech: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
