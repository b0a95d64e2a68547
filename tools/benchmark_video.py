"""How fast frames of a video are read: as a ratio to what PyAV takes to decode, and not convert, the frames they need.

    python tools/benchmark_video.py
    python tools/benchmark_video.py clips/*.avi --frames 16 --size 112

Without files, a clip of 10 s is made: 640 x 480, 30 frames a second, H.264. `read_clip` opens the file, finds, decodes,
resizes and stacks the frames. It is held against two bare loops over PyAV's packets, in the same rounds, which open the
file and decode, and do no more: `all` decodes each packet up to that of the last wanted frame, as a plain loop would;
`least` leaves out the frames that no other builds on, and is told beforehand which they are. Every figure is the median
of --rounds, in which the three take turns; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from seqkit.errors import SeqkitError
from seqkit.media import Uniform, probe_video, read_clip

HEIGHT, WIDTH, FPS, SECONDS = 480, 640, 30, 10


def make_clip(path: Path) -> None:
    """A camera that moves over a picture of smooth noise, with a little grain: about as hard as a real film."""
    rng = np.random.default_rng(0)
    coarse = VideoFrame.from_ndarray(rng.integers(0, 256, (80, 110, 3)).astype(np.uint8), format="rgb24")
    scene = coarse.reformat(WIDTH + 300, HEIGHT + 300, "rgb24", interpolation="BICUBIC").to_ndarray()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FPS * SECONDS):
            part = scene[number // 2 : number // 2 + HEIGHT, number : number + WIDTH].astype(np.int16)
            grain = rng.integers(-4, 5, part.shape, np.int16)
            frame = VideoFrame.from_ndarray(np.clip(part + grain, 0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def needed(path: str, count: int) -> tuple[int, set[int]]:
    """How many packets lead to the last wanted frame, and which of them hold a wanted frame."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        shown = [packet.pts or 0 for packet in container.demux(stream) if packet.size]
        base, begin = float(stream.time_base or 1), min(shown)
    seconds = probe_video(path).seconds or (max(shown) - begin) * base
    wanted = set()
    for time_ in Uniform(count).times(seconds):
        wanted.add(max((pts for pts in shown if (pts - begin) * base <= time_), default=begin))
    numbers = {number for number, pts in enumerate(shown) if pts in wanted}
    return max(numbers) + 1, numbers


def bare(path: str, packets: int, wanted: set[int] | None, threads: int) -> int:
    """Decode the first packets of a file; with `wanted`, leave out what neither is wanted nor needed by others."""
    frames = 0
    with av.open(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        stream.thread_type, stream.thread_count = "AUTO", threads
        for number, packet in enumerate(container.demux(stream)):
            if number == packets:
                break
            if wanted is not None:
                context.skip_frame = "DEFAULT" if number in wanted else "NONREF"
            frames += len(context.decode(packet))
        return frames + len(context.decode(None))


def rounds_of(rounds: int, work: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """The seconds that each took in each round; they take turns, and each begins as often."""
    names, taken = list(work), {name: [0.0] * rounds for name in work}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            began = time.perf_counter()
            work[name]()
            taken[name][number] = time.perf_counter() - began
    return taken


def measure(path: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one file."""
    size, threads = (arguments.size, arguments.size), arguments.threads
    packets, wanted = needed(path, arguments.frames)
    work: dict[str, Callable[[], object]] = {
        "read_clip": lambda: read_clip(path, Uniform(arguments.frames), size, threads=threads),
        "all": lambda: bare(path, packets, None, threads),
        "least": lambda: bare(path, packets, wanted, threads),
    }
    for once in work.values():
        once()
    taken = rounds_of(arguments.rounds, work)
    figures: dict[str, Any] = {f"{name}_ms": 1000 * statistics.median(times) for name, times in taken.items()}
    for name in ("all", "least"):
        ratios = [one / other for one, other in zip(taken["read_clip"], taken[name], strict=True)]
        figures |= {f"ratio_to_{name}": statistics.median(ratios), f"ratio_to_{name}_highest": max(ratios)}
    return {"frames": arguments.frames, "size": arguments.size, "packets": packets, "threads": threads, **figures}


def main() -> None:
    """Measure, and print one JSON object a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="videos; without any, a clip is made")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112, help="pixels of a side")
    parser.add_argument("--threads", type=int, default=1, help="of the decoder; 0: as many as there are processors")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "clip.mp4"
            if not arguments.files:
                make_clip(made)
            for path in arguments.files or [str(made)]:
                print(json.dumps({"file": Path(path).name, **measure(path, arguments)}), flush=True)
    except SeqkitError as error:
        print(f"benchmark_video: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
