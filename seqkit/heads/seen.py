"""What was seen in a clip or a recording, and how it is told: as text, as JSON, as subtitles, in pictures.

Shapes: K actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqkit.errors import InputError
from seqkit.heads.timeline import Segment, Timeline
from seqkit.media.write_video import VIDEO_SUFFIXES
from seqkit.reporting.annotate import annotate_video
from seqkit.reporting.figures import free_path
from seqkit.reporting.subtitles import segment_subtitles
from seqkit.reporting.timeline import save_timeline

Format = Literal["text", "srt", "vtt"]


@dataclass(frozen=True)
class Seen:
    """The probabilities of actions in a clip, and of a recording over time."""

    log_probs: np.ndarray
    """(K,); of a recording the mean over time, of one that could not be read none (0,)."""
    source: Path | None = None
    timeline: Timeline | None = None
    trouble: str | None = None
    """What was wrong with the file, in a sentence."""

    def check(self) -> None:
        """Raise InputError where nothing could be read."""
        if not len(self.log_probs):
            raise InputError(str(self.trouble))

    def scores(self, names: Sequence[str]) -> dict[str, float]:
        """The probability of each action, the likeliest first."""
        order = np.argsort(-self.log_probs, kind="stable")
        return {names[k]: round(float(np.exp(self.log_probs[k])), 6) for k in order}

    def fields(self, names: Sequence[str]) -> dict[str, Any]:
        """What a program would read."""
        scores = self.scores(names)
        told: dict[str, Any] = {"label": next(iter(scores)), "scores": scores}
        if self.timeline is not None:
            told["segments"] = [_rounded(segment) for segment in self.timeline.segments(names)]
            told["seconds"] = round(self.timeline.seconds, 3)
        return told

    def text(self, names: Sequence[str], top_k: int, format: Format) -> str:
        """What a person reads: the likeliest actions; of a recording a line, or a cue, for each segment."""
        if self.timeline is not None:
            segments = self.timeline.segments(names)
            if format != "text":
                return segment_subtitles(segments, format)
            return "\n".join(f"{s.start:.2f}\t{s.end:.2f}\t{s.label}\t{s.probability:.4f}" for s in segments)
        scores = list(self.scores(names).items())[:top_k]
        return scores[0][0] if top_k == 1 else "\t".join(f"{name}={score:.4f}" for name, score in scores)

    def annotate(self, out: Path, names: Sequence[str]) -> None:
        """Write the video with the answer drawn in: to a file that is not there yet, or into a folder.

        Raises MediaError where it cannot be written.
        """
        assert self.source is not None
        if out.suffix.lower() not in VIDEO_SUFFIXES:
            out = free_path(out, self.source.stem, ".mp4")
        best = int(self.log_probs.argmax())
        whole = (names[best], float(np.exp(self.log_probs[best])))
        timeline = self.timeline

        def shown(second: float) -> tuple[str, float]:
            if timeline is None:
                return whole
            number, probability = timeline.at(second)
            return names[number], probability

        annotate_video(self.source, out, shown)

    def picture(self, folder: Path, names: Sequence[str]) -> None:
        """Draw a recording's probabilities over time; nothing of a clip."""
        timeline = self.timeline
        if timeline is None:
            return
        assert self.source is not None
        path = free_path(folder, self.source.stem)
        segments, borders = timeline.segments(names), timeline.borders()
        save_timeline(segments, timeline.probabilities, borders, names, path, self.source.name)


def _rounded(segment: Segment) -> dict[str, Any]:
    return {
        "label": segment.label,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "probability": round(segment.probability, 4),
    }
