"""Words written by how they are spoken: a lexicon gives the phones of each word, and phones are the tokens.

From little speech, phones are learned sooner than letters: the same vowel ends B, C and THREE, and a word that training
hardly has is made of sounds that it has often. What is written are words of the lexicon, and no others.

A lexicon is a text file as CMUdict and Kaldi have it: a word and its phones, with spaces between, on each line; another
way to say a word is another line, WORD(2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from rapidfuzz.distance import Levenshtein

from seqkit.data.readers import read_lines
from seqkit.errors import DataError, RunError
from seqkit.frontends.vocabulary import UNKNOWN
from seqkit.storage import read_json, write_json

FILE = "pronunciations.json"
SPACE = " "
"""The token between two words."""
_VARIANT = re.compile(r"\(\d+\)$")
_COMMENT = ";;;"  # CMUdict's

Phones = tuple[str, ...]


def read_pronunciations(path: Path) -> dict[str, list[Phones]]:
    """The ways to say each word of a lexicon, in the file's order. Raises DataError with file and line."""
    found: dict[str, list[Phones]] = {}
    for number, text in read_lines(path):
        if not text.strip() or text.startswith(_COMMENT):
            continue
        name, *phones = text.split()
        if not phones:
            raise DataError(f"{path}:{number}: '{name}' has no phones.", hint="A line is a word and its phones.")
        ways = found.setdefault(_VARIANT.sub("", name), [])
        if tuple(phones) not in ways:
            ways.append(tuple(phones))
    if not found:
        raise DataError(f"{path}: holds no words.", hint="A line is a word and its phones.")
    return found


class Pronunciations:
    """A lexicon as a vocabulary: id 0 is what it does not hold, 1 the space between words, then come the phones."""

    unk_id = 0

    def __init__(self, ways: Mapping[str, Sequence[Phones]]) -> None:
        self.ways = {word: [tuple(way) for way in found] for word, found in ways.items()}
        phones = sorted({phone for found in self.ways.values() for way in found for phone in way})
        self.tokens = [UNKNOWN, SPACE, *phones]
        self._ids = {token: number for number, token in enumerate(self.tokens)}

    @classmethod
    def fit(cls, ways: Mapping[str, Sequence[Phones]], spoken: Mapping[str, str]) -> Self:
        """A lexicon, in which the words of `spoken` are said so (phones, with spaces) before any other way.

        Raises DataError where a way to say a word is none that the lexicon has.
        """
        chosen = {word: list(found) for word, found in ways.items()}
        for word, text in spoken.items():
            way = tuple(text.split())
            if way not in chosen.get(word, ()):
                there = " or ".join(" ".join(one) for one in chosen.get(word, ())) or "nothing"
                raise DataError(f"The lexicon says '{word}' as {there}, and tokenizer.spoken as {text}.")
            chosen[word] = [way, *(one for one in chosen[word] if one != way)]
        return cls(chosen)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """The phones of a text, each word said in its first way; the unknown id for a word that is not there."""
        ids: list[int] = []
        for word in text.split():
            if ids:
                ids.append(self._ids[SPACE])
            ids += self.spellings(word)[0] if word in self.ways else [self.unk_id]
        return ids

    def sample(self, text: str, rng: np.random.Generator) -> list[int]:
        """As `encode`."""
        return self.encode(text)

    def spellings(self, word: str) -> list[list[int]]:
        """All ways to say a word, as ids; none for a word that is not there."""
        return [[self._ids[phone] for phone in way] for way in self.ways.get(word, ())]

    def decode(self, ids: Sequence[int]) -> str:
        """The words of ids: of what stands between spaces, the word whose phones are the nearest.

        That is the one with the least edit distance, as a share of its own length; of equals, the lexicon's first.
        """
        spoken, words = [self.tokens[i] for i in ids], list[str]()
        while spoken:
            end = spoken.index(SPACE) if SPACE in spoken else len(spoken)
            if end:
                words.append(self._nearest(tuple(spoken[:end])))
            spoken = spoken[end + 1 :]
        return " ".join(words)

    def piece(self, token: int) -> str:
        """An id as the vocabulary holds it."""
        return self.tokens[token]

    def save(self, folder: Path) -> None:
        """Write the lexicon."""
        write_json(folder / FILE, {word: [" ".join(way) for way in found] for word, found in self.ways.items()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises RunError where it is damaged."""
        stored = read_json(folder / FILE)
        try:
            return cls({word: [tuple(way.split()) for way in found] for word, found in stored.items()})
        except (AttributeError, TypeError) as error:
            raise RunError(f"{folder / FILE}: not a lexicon.", hint="The run is foreign or damaged.") from error

    @cached_property
    def _exact(self) -> dict[Phones, str]:
        """What each way to say something means; where words sound alike, the first of them."""
        meant: dict[Phones, str] = {}
        for word, found in self.ways.items():
            for way in found:
                meant.setdefault(way, word)
        return meant

    def _nearest(self, spoken: Phones) -> str:
        if spoken not in self._exact:
            return self._searched(spoken)
        return self._exact[spoken]

    @lru_cache(maxsize=4096)  # noqa: B019 (as many as a run has lexicons)
    def _searched(self, spoken: Phones) -> str:
        ways = self._exact
        return ways[min(ways, key=lambda way: Levenshtein.distance(spoken, way) / len(way))]
