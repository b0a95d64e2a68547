"""What a language model answers in words: texts written on from prompts, and how likely a text is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seqkit.frontends.continuation import Continuation
from seqkit.heads.generation import Sampling, Writer, Written, generate
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

LINE_END = "\n"


@dataclass(frozen=True)
class Score:
    """How likely a text is: the sum of the log-probabilities (nats) of its tokens."""

    text: str
    log_prob: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp(-log_prob / tokens), at most exp(700), which still is a number."""
        return math.exp(min(-self.log_prob / self.tokens, 700.0))


def write_texts(
    models: Sequence[Writer[LSTMState]],
    read: Sequences,
    prompts: Sequence[str],
    continuation: Continuation,
    sampling: Sampling,
    *,
    one_line: bool,
    stop: str | None = None,
) -> list[list[dict[str, Any]]]:
    """Write on from prompts. The unknown token is never written.

    Args:
        models: an ensemble of language models.
        read: the prompts' ids (N,), each with the end of a line in front.
        prompts: the same as they were typed, which is how they stand in the result.
        continuation: how ids become text.
        sampling: how tokens are drawn.
        one_line: stop at the end of the line.
        stop: stop where this text has come up; neither it nor what is after it is in the result.

    Returns:
        For each prompt its samples: {"text": prompt and continuation, "continuation", "log_prob" (nats) and "tokens" of
        all that was drawn, the end of the line or the text to stop at included}.
    """
    frontend = continuation.frontend

    def stops(row: int, ids: list[int]) -> bool:
        if one_line and ids[-1] == frontend.eos_id:
            return True
        if stop is None:
            return False
        # The last few tokens tell whether it can be there; all of them, whether it is. A sign can take four tokens.
        tail = continuation.text("a", ids[-4 * len(stop) - 4 :])
        return stop in tail and stop in continuation.text(prompts[row], ids)

    def fields(prompt: str, written: Written) -> dict[str, Any]:
        ids = written.ids
        ended = one_line and ids[-1] == frontend.eos_id
        text = continuation.text(prompt, ids[:-1] if ended else ids)
        text = text if stop is None else text.partition(stop)[0]
        return {"text": prompt + text, "continuation": text, "log_prob": written.log_prob, "tokens": len(ids)}

    barred = torch.arange(frontend.vocab_size) == frontend.unk_id
    none = np.zeros(frontend.vocab_size, dtype=bool)
    first = [continuation.barred_first(prompt) for prompt in prompts]
    barred_first = torch.from_numpy(np.stack([none if part is None else part for part in first]))
    rows = generate(models, read, sampling, stops, barred=barred, barred_first=barred_first)
    return [[fields(prompt, one) for one in samples] for prompt, samples in zip(prompts, rows, strict=True)]
