"""A vocabulary of whole words or characters, as given: a JSON list, whose place in the list is the id."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from seqkit.errors import RunError
from seqkit.storage import read_json, write_json

FILE = "vocabulary.json"
UNKNOWN = "<unk>"
EOS = "<eos>"


class Vocabulary:
    """Words (between whitespace) or characters; id 0 is <unk>, then comes <eos> where the vocabulary has one; the
    others stand by falling frequency.
    """

    unk_id = 0

    def __init__(self, tokens: Sequence[str], kind: str) -> None:
        """`tokens` begins with "<unk>" and holds nothing twice."""
        self.tokens = list(tokens)
        self._kind = kind
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    @classmethod
    def fit(cls, texts: Iterable[str], kind: str, vocab_size: int, *, eos: bool = False) -> Self:
        """The most frequent tokens of the texts, `vocab_size` with the signs in front; ties go by code order."""
        parts = (text.split() if kind == "word" else text for text in texts)
        counts = Counter(itertools.chain.from_iterable(parts))
        signs = [UNKNOWN, EOS] if eos else [UNKNOWN]
        for sign in signs:
            del counts[sign]  # a corpus that has it as a word means the same by it
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        return cls([*signs, *ranked[: vocab_size - len(signs)]], kind)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return [self._ids.get(token, self.unk_id) for token in (text.split() if self._kind == "word" else text)]

    def sample(self, text: str, rng: np.random.Generator) -> list[int]:
        """The ids of a text, which has one segmentation only."""
        return self.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; words stand with one space between."""
        return (" " if self._kind == "word" else "").join(self.tokens[i] for i in ids)

    def piece(self, token: int) -> str:
        """An id as the vocabulary holds it."""
        return self.tokens[token]

    def save(self, folder: Path) -> None:
        """Write the list."""
        write_json(folder / FILE, self.tokens)

    @classmethod
    def load(cls, folder: Path, kind: str) -> Self:
        """Read the list. Raises RunError for one that is missing or not a vocabulary."""
        tokens = read_json(folder / FILE)
        fine = isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)
        if not fine or tokens[:1] != [UNKNOWN] or len(set(tokens)) != len(tokens):
            raise RunError(f"{folder / FILE}: not a vocabulary.", hint="The run is foreign or damaged.")
        return cls(tokens, kind)
