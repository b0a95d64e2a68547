"""What `benchmark_lstm.py` found: its lines, and these as a table, as a JSON object and as a picture.

No torch is imported here: the tool sets variables first that torch reads when it is loaded.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from seqkit.reporting.figures import BLUE, GREY, ORANGE, new_figure, save_figure

CONTENDERS = ("native", "eager", "packed", "padded")
PEERS = ("packed", "padded", "eager")  # what native is compared with, the most telling one first
COLOURS = {"native": BLUE, "eager": "#90cdf4", "packed": ORANGE, "padded": GREY}


class Shape(NamedTuple):
    """One layer and its batch: B, T, I, H, and 1 or 2 directions."""

    rows: int
    longest: int
    inputs: int
    hidden: int
    directions: int

    def __str__(self) -> str:
        """`B,T,I,H`, and `x2` after it for both directions: how the command line takes it."""
        sizes = f"{self.rows},{self.longest},{self.inputs},{self.hidden}"
        return sizes if self.directions == 1 else f"{sizes}x{self.directions}"


@dataclass(frozen=True)
class Line:
    """Timings of one shape.

    Attributes:
        shape: of the layer and the batch.
        lengths: "ragged" or "dense".
        mode: "train" or "inference".
        steps: N, real steps.
        threads: that computed.
        seconds: of each contender, one number a sample; samples of one place were taken one after another.
        peak: floating-point operations a second of so many threads; None where no native kernel could measure it.
    """

    shape: Shape
    lengths: str
    mode: str
    steps: int
    threads: int
    seconds: dict[str, list[float]]
    peak: float | None

    def flop(self) -> int:
        """Floating-point operations of the matrix products of one pass, on real steps."""
        _, _, inputs, hidden, directions = self.shape
        forward = 2 * self.steps * 4 * hidden * (inputs + hidden) * directions
        return 3 * forward if self.mode == "train" else forward

    def rate(self, name: str) -> float | None:
        """Floating-point operations a second, from the median time; None for one that was left out."""
        return self.flop() / statistics.median(self.seconds[name]) if name in self.seconds else None

    def share(self, name: str) -> float | None:
        """That rate as a fraction of the peak."""
        rate = self.rate(name)
        return None if rate is None or self.peak is None else rate / self.peak

    def ratio(self, other: str) -> float | None:
        """How many times as fast as `other` native is."""
        native, theirs = self.rate("native"), self.rate(other)
        return None if native is None or theirs is None else native / theirs


@dataclass(frozen=True)
class Scaling:
    """Native alone, on one thread and on all, sample by sample in turn."""

    one: Line
    several: Line

    def speedup(self) -> float:
        """How many times as fast all threads are as one."""
        times = [statistics.median(line.seconds["native"]) for line in (self.one, self.several)]
        return times[0] / times[1]


def means(lines: Sequence[Line]) -> dict[str, tuple[float, int]]:
    """Of ragged training: the geometric mean of native's ratio to each peer, and over how many shapes it goes."""
    found = {}
    for peer in PEERS:
        ratios = [r for line in _chosen(lines, "train") if (r := line.ratio(peer)) is not None]
        if ratios:
            found[peer] = (math.exp(statistics.fmean(map(math.log, ratios))), len(ratios))
    return found


def _chosen(lines: Sequence[Line], mode: str) -> list[Line]:
    return [line for line in lines if line.lengths == "ragged" and line.mode == mode]


# ---- as text ----


def tell(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def headline(found: Mapping[str, Any]) -> str:
    """The machine, the libraries and the load beside."""
    native = "not there" if found["native"] is None else found["native"]["instruction_set"]
    parts = [
        found["cpu"],
        f"{found['threads']} thread{'s' * (found['threads'] > 1)} on {found['cores']} cores",
        f"torch {found['torch']}",
        f"native {native}",
        f"{found['busy'] or 'no'} busy process{'es' * (found['busy'] != 1)} beside",
    ]
    return ", ".join(parts)


def described(found: Mapping[str, Any]) -> str:
    """The machine and the settings in one line."""
    parts = [
        headline(found),
        "malloc keeps freed memory" if found["malloc"] == "keep" else "malloc as it is",
        f"GOMP_SPINCOUNT {found['spin'] or 'not set'}",
        f"float32, medians of up to {found['repeats']} samples",
    ]
    return ", ".join(parts)


def _cell(value: float | None, form: str = "{:.0f}", scale: float = 1.0) -> str:
    return "-" if value is None else form.format(value * scale)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A table in markdown, aligned to be read as it is too: the first `left` columns to the left, others right."""
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width) if place < left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def lines_table(lines: Sequence[Line]) -> str:
    """Rates in GFLOP/s, native's share of the peak, and how many times as fast as its peers native is."""
    header = ["B,T,I,H", "lengths", "pass", *CONTENDERS, "peak", "of peak", *(f"/ {peer}" for peer in PEERS)]
    rows = [
        [
            str(line.shape),
            line.lengths,
            line.mode,
            *(_cell(line.rate(name), scale=1e-9) for name in CONTENDERS),
            _cell(line.peak, scale=1e-9),
            _cell(line.share("native"), "{:.0%}"),
            *(_cell(line.ratio(peer), "{:.2f}") for peer in PEERS),
        ]
        for line in lines
    ]
    return table(header, rows, left=3)


def scaling_table(scalings: Sequence[Scaling]) -> str:
    """Native on one thread and on several: GFLOP/s, share of so many threads' peak, and the speed-up."""
    several = scalings[0].several.threads
    header = ["B,T,I,H", "1 thread", "of peak", f"{several} threads", "of peak", "times as fast"]
    rows = []
    for scaling in scalings:
        cells = [str(scaling.one.shape)]
        for line in (scaling.one, scaling.several):
            cells += [_cell(line.rate("native"), scale=1e-9), _cell(line.share("native"), "{:.0%}")]
        rows.append([*cells, f"{scaling.speedup():.2f}"])
    return table(header, rows, left=1)


def summary(lines: Sequence[Line]) -> str | None:
    """The geometric means as one sentence; None without ragged training of native."""
    found = means(lines)
    if not found:
        return None
    ratios = ", ".join(f"{ratio:.2f} times as fast as {peer}" for peer, (ratio, _) in found.items())
    count = max(count for _, count in found.values())
    return f"Ragged training, geometric mean over {count} shape{'s' * (count > 1)}: native is {ratios}."


# ---- as JSON ----


def as_json(lines: Sequence[Line], scalings: Sequence[Scaling]) -> dict[str, Any]:
    """All that was measured, every sample too; times in seconds, rates in floating-point operations a second."""
    return {
        "lines": [_line_as_json(line) for line in lines],
        "scaling": [
            {"one": _line_as_json(s.one), "several": _line_as_json(s.several), "speedup": s.speedup()} for s in scalings
        ],
        "ragged_training_geometric_mean": {
            peer: {"ratio": ratio, "shapes": count} for peer, (ratio, count) in means(lines).items()
        },
    }


def _line_as_json(line: Line) -> dict[str, Any]:
    def of_each(function: Callable[[str], float | None]) -> dict[str, float | None]:
        return {name: function(name) for name in line.seconds}

    return {
        **line.shape._asdict(),
        "lengths": line.lengths,
        "mode": line.mode,
        "steps": line.steps,
        "threads": line.threads,
        "flop": line.flop(),
        "peak": line.peak,
        "median_seconds": {name: statistics.median(times) for name, times in line.seconds.items()},
        "flop_per_second": of_each(line.rate),
        "share_of_peak": of_each(line.share),
        "native_times_as_fast_as": {peer: r for peer in PEERS if (r := line.ratio(peer)) is not None},
        "seconds": line.seconds,
    }


# ---- as a picture ----


def save_picture(lines: Sequence[Line], path: Path, title: str) -> Path:
    """Draw GFLOP/s on ragged batches by shape as a PNG, a panel for each mode there is; the peak is a dashed line."""
    panels = {mode: chosen for mode in ("train", "inference") if (chosen := _chosen(lines, mode))}
    most = max(map(len, panels.values()))
    figure, axes = new_figure(max(6.5, 1.7 * most), 3.6 * len(panels), rows=len(panels))
    for axis, (mode, chosen) in zip(axes[:, 0], panels.items(), strict=True):
        names = [name for name in CONTENDERS if any(name in line.seconds for line in chosen)]
        width = 0.8 / len(names)
        for number, name in enumerate(names):
            places = [place - 0.4 + (number + 0.5) * width for place in range(len(chosen))]
            rates = [(line.rate(name) or 0.0) / 1e9 for line in chosen]
            bars = axis.bar(places, rates, width, color=COLOURS[name], label=name)
            axis.bar_label(bars, fmt="%.0f", fontsize=7, padding=1)
        peaks = [line.peak for line in chosen if line.peak is not None]
        if peaks:
            axis.axhline(max(peaks) / 1e9, color="black", linewidth=0.8, linestyle="--", label="peak, measured")
        axis.set_xticks(range(len(chosen)), [str(line.shape) for line in chosen])
        axis.set(title=f"{mode}, ragged batches", xlabel="B,T,I,H", ylabel="GFLOP/s on real steps")
        axis.legend(frameon=False, ncols=5, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, path)
