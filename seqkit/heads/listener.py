"""From sounds to transcripts: short ones in batches, long ones in windows, raw ones as they come.

Shapes: N frames in all, T frames, T' steps, M mel bands, V labels, S samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from seqkit.data.items import Unusable
from seqkit.errors import InputError
from seqkit.frontends.audio import AudioFrontend
from seqkit.frontends.filterbank import FilterbankStream
from seqkit.heads.ctc import AcousticModel, given_log_prob
from seqkit.heads.sound_stream import LabelStream, streamed_log_probs, whole_log_probs
from seqkit.heads.transcriber import Heard, Transcriber, Transcript
from seqkit.media.audio import stream_audio
from seqkit.media.pcm import raw_pcm
from seqkit.sequences import Sequences

WINDOW_SECONDS, OVERLAP_SECONDS = 30.0, 3.0
"""How a long sound is read by models that read in both directions."""
SHOWN_SECONDS = 30.0
"""How much of a sound a picture shows."""


class Listener:
    """Models with one front-end, and what makes words of what they say."""

    def __init__(
        self, models: Sequence[AcousticModel], frontend: AudioFrontend, transcriber: Transcriber, *, pictured: bool
    ) -> None:
        """`pictured`: keep of each sound what a picture is drawn from."""
        self.models, self.frontend, self.transcriber, self.pictured = models, frontend, transcriber, pictured
        self.pace = Pace()

    @property
    def stride(self) -> int:
        """Frames a step."""
        return self.models[0].subsampling.stride

    @property
    def step_seconds(self) -> float:
        """Seconds from one step to the next."""
        return self.frontend.seconds(self.stride)

    # Whole sounds ----------------------------------------------------------------------------------------------------

    def hear(self, frames: Sequences, items: Sequence[Mapping[str, Any]]) -> list[Transcript]:
        """A transcript of each item, whose normalised frames (N, M) are the batch."""
        log_probs = whole_log_probs(self.models, frames)
        return [self._heard(one, item) for one, item in zip(log_probs, items, strict=True)]

    def _heard(self, log_probs: np.ndarray, item: Mapping[str, Any]) -> Transcript:
        name = str(item.get("name", ""))
        try:
            return replace(self._of(log_probs, item), name=name)
        except Unusable as verdict:  # of this sound: the others of the batch go on
            return Transcript("", (), (), 0.0, name, trouble=str(verdict), failed=True)

    def _of(self, log_probs: np.ndarray, item: Mapping[str, Any]) -> Transcript:
        if "path" in item:
            return self._long(item["path"], item.get("align"))
        heard = Heard(item["frames"], log_probs) if self.pictured else None
        seconds = float(item.get("seconds", self.frontend.seconds(len(item["frames"]))))
        if "ids" in item:
            found = self.transcriber.transcribe([log_probs], lambda: seconds, timed=False)
            return replace(found, log_prob=given_log_prob(log_probs, item["ids"]))
        found = self._found([log_probs], lambda: seconds, item.get("align"))
        return replace(found, trouble=item.get("trouble"), heard=heard)

    def _found(
        self, pieces: Iterable[np.ndarray], seconds: Callable[[], float], wanted: Sequence[int] | None
    ) -> Transcript:
        """The words in log P (T', V), or the times of the wanted labels (L,)."""
        if wanted is None:
            return self.transcriber.transcribe(pieces, seconds)
        return self.transcriber.aligned(np.concatenate(list(pieces)), wanted, seconds())

    def _long(self, path: Path, wanted: Sequence[int] | None) -> Transcript:
        """A transcript of a file that is read in windows."""
        rate, shown = self.frontend.bank.sample_rate, round(SHOWN_SECONDS * self.frontend.bank.sample_rate)
        troubles: list[str] = []
        beginning: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        total = 0

        def blocks() -> Iterator[np.ndarray]:
            nonlocal total
            try:
                for block in stream_audio(path, rate, warn=troubles.append):
                    if self.pictured and total < shown:
                        beginning.append(block[: shown - total])
                    total += len(block)
                    yield block
            except InputError as error:  # what came before it is used, and the answer carries it
                troubles.append(str(error))

        def pieces() -> Iterator[np.ndarray]:
            for piece in streamed_log_probs(
                self.models,
                self.frontend,
                blocks(),
                window_seconds=WINDOW_SECONDS,
                overlap_seconds=OVERLAP_SECONDS,
            ):
                if self.pictured and sum(map(len, labels)) * self.step_seconds < SHOWN_SECONDS:
                    labels.append(piece)
                yield piece

        found = self._found(pieces(), lambda: total / rate, wanted)
        heard = None
        if self.pictured:
            frames = self.frontend.frames(np.concatenate(beginning))
            heard = Heard(frames, np.concatenate(labels)[: -(-len(frames) // self.stride)])
        return replace(found, trouble=troubles[0] if troubles else None, heard=heard)

    # Sounds that arrive ----------------------------------------------------------------------------------------------

    def follow(self, file: BinaryIO, rate: int) -> Iterator[tuple[str, bool]]:
        """The words of the open segment as raw sound comes in, and of each segment as it ends (True).

        Raises ValueError for models that cannot follow a stream, and InputError for one that is empty or breaks off,
        after the words of what was heard until then.
        """
        stream = LabelStream(self.models, self.frontend.bank.mels)
        blocks = raw_pcm(file, rate, to_rate=self.frontend.bank.sample_rate)
        faults: list[InputError] = []

        def heard() -> Iterator[np.ndarray]:
            try:
                yield from blocks
            except InputError as fault:
                if not self.pace.chunks:
                    raise
                faults.append(fault)

        for best, segment in self.transcriber.follow(self._live(stream, heard())):
            yield best.text, segment is not None
        if faults:
            raise faults[0]

    def _live(self, stream: LabelStream, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        bank = FilterbankStream(self.frontend.bank)
        for block in blocks:
            started = time.perf_counter()
            yield stream.push(self.frontend.normalize(bank.push(block)))
            # The consumer has searched the piece by the time it asks for the next one.
            self.pace.add(time.perf_counter() - started, len(block) / self.frontend.bank.sample_rate)
        yield stream.finish()

    def describe_pace(self) -> str:
        """How much work a stream was, and how far its text is behind."""
        sampling = self.models[0].subsampling
        behind = self.frontend.bank.window_ms / 1000 + self.frontend.seconds(sampling.stride + sampling.reach)
        pace = self.pace
        share = pace.work / pace.seconds if pace.seconds else 0.0
        return (
            f"{pace.seconds:.1f} s of sound in {pace.chunks} chunks; computing took {pace.work:.2f} s, {share:.1%} of "
            f"that, and {1000 * pace.longest:.0f} ms for the slowest chunk; the network hears {1000 * behind:.0f} ms "
            "of sound before it gives a label"
        )


@dataclass
class Pace:
    """How much work a stream makes."""

    chunks: int = 0
    work: float = 0.0
    """Seconds of computing."""
    longest: float = 0.0
    """Seconds for the chunk that took longest."""
    seconds: float = 0.0
    """Of sound."""

    def add(self, work: float, seconds: float) -> None:
        """A chunk of so many seconds took so many to compute."""
        self.chunks, self.work, self.seconds = self.chunks + 1, self.work + work, self.seconds + seconds
        self.longest = max(self.longest, work)
