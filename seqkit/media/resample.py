"""Another sample rate, by FFmpeg's resampler (libswresample): the same bits in any chunking.

It is a filter that is linear and does not change with time: a windowed sinc (Kaiser, 16 zero crossings to each side),
with silence before the first and after the last sample. Sample n of the output stands for the same instant as sample
n * from_rate / to_rate of the input. N samples become ceil(N * to_rate / from_rate).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from seqkit.media.containers import check_rate

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.filter.graph import Graph

_TAPS = 32  # of the filter, at the lower of the two rates
_TABLE = 1 << 23  # values that its table may have: taps times phases; beyond it, the nearest phase is taken
_PUSH = 1 << 16  # samples that are pushed at once


class Resampler:
    """From one rate to another, piece by piece; for equal rates it hands the samples through.

    An output sample comes once the input after it has arrived that the filter needs (`delay_seconds`).
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Rates in Hz. Raises MediaError for a rate that no sound has."""
        for rate in (from_rate, to_rate):
            check_rate(rate, "the resampler")
        self.from_rate, self.to_rate = from_rate, to_rate
        self._pushed = self._given = 0
        common = math.gcd(from_rate, to_rate)
        self._filter = math.ceil(_TAPS * max(1.0, from_rate / to_rate))
        # Silence before the first sample: whole periods of the ratio, so that no output sample moves.
        self._lead = math.ceil(self._filter / (from_rate // common)) * (from_rate // common)
        self._drop = self._lead * to_rate // from_rate
        # As many phases as the ratio has (libswresample wants a power of two to be allowed), so that none is rounded.
        wanted = math.ceil(math.log2(max(1024, to_rate // common)))
        self._phase_shift = min(wanted, int(math.log2(_TABLE / self._filter)))
        self._graph: Graph | None = None

    @property
    def delay_seconds(self) -> float:
        """How much later than its instant an output sample comes at most; 0 for equal rates."""
        return 0.0 if self.from_rate == self.to_rate else (self._filter / 2 + 1) / self.from_rate + 1 / self.to_rate

    def length(self, samples: int) -> int:
        """How many samples so many become in all."""
        return -(-samples * self.to_rate // self.from_rate)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take samples (N,) float32, give those (M,) float32 that are ready; M may be 0."""
        given = np.asarray(samples, dtype=np.float32)
        if given.ndim != 1:
            raise ValueError(f"samples have shape {given.shape}; one dimension is expected")
        if self.from_rate == self.to_rate:
            return given
        if not self._pushed and len(given):
            self._start()
        self._pushed += len(given)
        return self._run(given)

    def flush(self) -> np.ndarray:
        """The samples (M,) that were held back; after it the resampler is as new."""
        rest = np.zeros(0, np.float32)
        if self._graph is not None:
            left = self.length(self._pushed) - self._given
            # What libswresample does at the end of its input depends on how long that is; silence does not.
            rest = self._run(np.zeros(2 * self._filter + 2 * self.from_rate // self.to_rate + 64, np.float32))
            rest = rest[:left]
        self._graph, self._pushed, self._given = None, 0, 0
        self._drop = self._lead * self.to_rate // self.from_rate
        return rest

    def _start(self) -> None:
        from av.filter.graph import Graph

        graph = Graph()
        source = graph.add(
            "abuffer",
            sample_rate=str(self.from_rate),
            sample_fmt="flt",
            channel_layout="mono",
            time_base=f"1/{self.from_rate}",
        )
        resample = graph.add(
            "aresample",
            sample_rate=str(self.to_rate),
            filter_size=str(_TAPS),
            phase_shift=str(self._phase_shift),
            internal_sample_fmt="fltp",
        )
        sink = graph.add("abuffersink")
        source.link_to(resample)
        resample.link_to(sink)
        graph.configure()
        self._graph = graph
        self._run(np.zeros(self._lead, np.float32))

    def _run(self, samples: np.ndarray) -> np.ndarray:
        """Push samples and take all that comes, without what the silence at the beginning made."""
        out: list[np.ndarray] = []
        for begin in range(0, len(samples), _PUSH):
            out += self._through(samples[begin : begin + _PUSH])
        made = np.concatenate(out) if out else np.zeros(0, np.float32)
        dropped = min(self._drop, len(made))
        self._drop -= dropped
        self._given += len(made) - dropped
        return made[dropped:]

    def _through(self, samples: np.ndarray) -> list[np.ndarray]:
        import av.error
        from av.audio.frame import AudioFrame

        graph = self._graph
        if graph is None:
            raise RuntimeError("the resampler runs before it is started")
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        frame.sample_rate = self.from_rate
        graph.push(frame)
        out = []
        while True:
            try:
                made: Any = graph.pull()
                out.append(_samples(made))
            except (av.error.BlockingIOError, av.error.EOFError):
                return out


def _samples(frame: AudioFrame) -> np.ndarray:
    """The samples (M,) of a frame of the graph, copied out of it."""
    if frame.format.name not in ("flt", "fltp"):
        raise RuntimeError(f"the resampler gave samples of type {frame.format.name}")
    plane: Any = frame.planes[0]
    return np.frombuffer(plane, np.float32, frame.samples).copy()
