"""Text that goes on from a prompt: what the prompt is in tokens, and what drawn tokens are as text behind it.

The prompt stays as it was typed. Whether a space stands before a drawn token is the tokenizer's affair: a word has
one, a character has none, and a piece may begin a word or carry on the prompt's last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from seqkit.frontends.text import TextFrontend
from seqkit.frontends.vocabulary import UNKNOWN

_SIGNS = 2
"""Ids that are no text: <unk> and <eos>."""


class Continuation:
    """Prompts and what follows them, for a fitted front-end that knows the end of a line."""

    def __init__(self, frontend: TextFrontend) -> None:
        self.frontend = frontend
        self._by_character = frontend.config.kind == "char"

    def lines(self, prompt: str) -> list[np.ndarray]:
        """The ids of each line of a prompt."""
        return self.frontend.encode_batch(prompt.split("\n"))

    def unknown(self, prompt: str) -> list[str]:
        """The characters or words of a prompt that the vocabulary does not hold, each once, in order."""
        parts = prompt.replace("\n", "") if self._by_character else prompt.split()
        unk_id = self.frontend.unk_id
        different = dict.fromkeys(part for part in parts if part != UNKNOWN)
        return [part for part in different if unk_id in self.frontend.encode(part)]

    def text(self, prompt: str, ids: Sequence[int]) -> str:
        """What ids (L,) are as text behind a prompt, a space in front included where one belongs there."""
        line = prompt.rpartition("\n")[2]
        if self._by_character or self._anchor is None or not line.strip():
            return self.frontend.decode(ids)
        # Decoding drops the space before a first word: so a token stands before it, and is taken away again.
        anchor = [self._anchor]
        written = self.frontend.decode([*anchor, *ids]).removeprefix(self.frontend.decode(anchor))
        return written.removeprefix(" ") if line[-1].isspace() else written

    def barred_first(self, prompt: str) -> np.ndarray | None:
        """The ids (V,) bool that cannot come first, or None: after a space, pieces that carry on a word."""
        line = prompt.rpartition("\n")[2]
        if not line.strip() or not line[-1].isspace() or self.frontend.config.kind not in ("unigram", "bpe"):
            return None
        return self._inner_pieces

    @cached_property
    def _anchor(self) -> int | None:
        """An id that is a text by itself; None in a vocabulary without any."""
        for token in range(_SIGNS, self.frontend.vocab_size):
            shown = self.frontend.decode([token])
            if shown.strip() and "\N{REPLACEMENT CHARACTER}" not in shown:
                return token
        return None

    @cached_property
    def _inner_pieces(self) -> np.ndarray:
        """The pieces (V,) bool that do not begin a word."""
        inner = np.zeros(self.frontend.vocab_size, dtype=bool)
        for token in range(_SIGNS, len(inner)):
            inner[token] = not self.text("a", [token]).startswith(" ")
        return inner
