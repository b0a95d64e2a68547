"""The text front-end: a text becomes a row of token ids, by a vocabulary learned from the training texts.

Kinds: unigram (Kudo 2018) and bpe (Sennrich et al. 2016) cut words into pieces, through sentencepiece; word takes what
stands between whitespace as it is; char takes every character as it is; phones takes the sounds of words, which a
lexicon gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import pydantic

from seqkit.errors import ConfigError, DataError, RunError
from seqkit.frontends.pronunciations import Pronunciations
from seqkit.frontends.tokenizer import DEFAULT_SIZE, EOS_ID, TokenizerConfig
from seqkit.storage import read_json, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIG_FILE = "tokenizer.json"
_FORMAT = 1
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,80}>")
_PUNCTUATION = re.compile(r"[^\w\s']")


class Units(Protocol):
    """A fitted vocabulary: what each kind of tokenizer answers."""

    unk_id: int

    @property
    def size(self) -> int:
        """Number of ids."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    def sample(self, text: str, rng: np.random.Generator) -> list[int]:
        """The ids of one segmentation, drawn by `rng` alone."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""

    def piece(self, token: int) -> str:
        """An id as the vocabulary holds it."""

    def save(self, folder: Path) -> None:
        """Write the vocabulary's file."""


class TextFrontend:
    """Texts to token ids (L,) int32. Fit it or load it first; then it does not change."""

    def __init__(self, config: TokenizerConfig) -> None:
        self.config = config
        self._fitted: Units | None = None

    def fit(
        self, texts: Iterable[str], seed: int = 0, *, lexicon: Mapping[str, Sequence[tuple[str, ...]]] | None = None
    ) -> Self:
        """Learn the vocabulary from the training texts; `seed` draws some where `fit_characters` does not take all.

        `lexicon` has the ways to say each word (`read_pronunciations`), for kind=phones. Raises DataError where there
        is no text, ConfigError where the texts cannot give `vocab_size` pieces, or phones have no lexicon.
        """
        if self.config.kind == "phones":
            self._fitted = _pronunciations(lexicon, self.config)
            return self
        lowered = [self._prepare(text) for text in texts]
        if not any(text.strip() for text in lowered):
            raise DataError("The training texts hold no text to learn a tokenizer from.", hint="Check the text column.")
        if self.config.kind in ("word", "char"):
            from seqkit.frontends.vocabulary import Vocabulary

            size = self.config.vocab_size or DEFAULT_SIZE
            self._fitted = Vocabulary.fit(lowered, self.config.kind, size, eos=self.config.eos)
        else:
            from seqkit.frontends.subwords import Subwords, draw_texts

            drawn = draw_texts(lowered, self.config.fit_characters, seed)
            self._fitted = Subwords.fit(drawn, self.config)
        return self

    @property
    def vocab_size(self) -> int:
        """Number of ids; each id is below it."""
        return self._units.size

    @property
    def unk_id(self) -> int:
        """The id of what the vocabulary does not hold."""
        return self._units.unk_id

    @property
    def lexicon(self) -> Mapping[str, Sequence[tuple[str, ...]]] | None:
        """The ways to say each word, where words are written by their sound."""
        return self._units.ways if isinstance(self._units, Pronunciations) else None

    @property
    def eos_id(self) -> int:
        """The id of the end of a line. Raises ValueError where the vocabulary has none (`tokenizer.eos`)."""
        if not self.config.eos:
            raise ValueError("this vocabulary has no sign for the end of a line; set tokenizer.eos=true")
        return EOS_ID

    def encode(self, text: str) -> NDArray[np.int32]:
        """The ids (L,) int32 of a text; L = 0 for one without any token."""
        return self._shorten(self._units.encode(self._prepare(text)))

    def spellings(self, word: str) -> list[list[int]]:
        """The ways to write a word as ids: one, but for phones; none where the vocabulary cannot write it."""
        if isinstance(self._units, Pronunciations):
            return self._units.spellings(word)
        ids = self.encode(word).tolist()
        return [ids] if ids and self.unk_id not in ids else []

    def encode_batch(self, texts: Iterable[str]) -> list[NDArray[np.int32]]:
        """The ids of each text."""
        return [self.encode(text) for text in texts]

    def sample(self, text: str, rng: np.random.Generator) -> NDArray[np.int32]:
        """As `encode`; where the configuration asks for sampling, a segmentation drawn by `rng` and nothing else."""
        if not self.config.sampling:
            return self.encode(text)
        return self._shorten(self._units.sample(self._prepare(text), rng))

    def decode(self, ids: Sequence[int] | NDArray[np.int32]) -> str:
        """The text of ids (L,), normalised as the tokenizer saw it; an unknown token shows as a sign of its own.

        Where the vocabulary has a sign for the end of a line, it becomes one.
        """
        row = [int(i) for i in ids]
        if not self.config.eos:
            return self._units.decode(row)
        ends = [place for place, token in enumerate(row) if token == EOS_ID]
        starts = [0, *(place + 1 for place in ends)]
        return "\n".join(
            self._units.decode(row[start:end]) for start, end in zip(starts, [*ends, len(row)], strict=True)
        )

    def pieces(self, ids: Sequence[int] | NDArray[np.int32]) -> list[str]:
        """Each id (L,) as the vocabulary holds it, the space that a piece begins with and the end of a line shown."""
        return [self._units.piece(int(i)) for i in ids]

    def save(self, folder: Path) -> None:
        """Write the configuration (JSON) and the vocabulary to an existing folder."""
        self._units.save(folder)
        write_json(
            folder / CONFIG_FILE,
            {"format": _FORMAT, "vocab_size": self.vocab_size, "config": self.config.model_dump(mode="json")},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises RunError for a folder that lacks it or holds something else."""
        stored = read_json(folder / CONFIG_FILE)
        if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
            raise RunError(
                f"{folder / CONFIG_FILE}: not a tokenizer of this version.", hint="The run is foreign or damaged."
            )
        try:
            config = TokenizerConfig.model_validate(stored.get("config"))
        except pydantic.ValidationError as error:
            message = f"{folder / CONFIG_FILE}: not a tokenizer's configuration: {error.errors()[0]['msg']}."
            raise RunError(message, hint="The run is foreign or damaged.") from error
        loaded = cls(config)
        loaded._fitted = _loader(config)(folder)
        size = stored.get("vocab_size")
        if loaded.vocab_size != size:
            message = f"{folder}: the tokenizer has {loaded.vocab_size} tokens, and was saved with {size}."
            raise RunError(message, hint="The run is foreign or damaged.")
        return loaded

    @property
    def _units(self) -> Units:
        if self._fitted is None:
            raise RuntimeError("the text front-end is not fitted: call fit, or load one")
        return self._fitted

    def _prepare(self, text: str) -> str:
        if self.config.strip_tags:
            text = _TAG.sub(" ", text)
        if self.config.split_punctuation:
            text = _PUNCTUATION.sub(r" \g<0> ", text)
        return text.lower() if self.config.lowercase else text

    def _shorten(self, ids: list[int]) -> NDArray[np.int32]:
        row = np.asarray(ids, dtype=np.int32)
        limit = self.config.max_length
        if limit is None or len(row) <= limit:
            return row
        # How much stays of the head. A quarter is what Sun et al. 2019 found best for reviews.
        head = {"head": limit, "tail": 0, "head+tail": limit // 4}[self.config.truncate]
        return np.concatenate([row[:head], row[len(row) - (limit - head) :]])


def _pronunciations(lexicon: Mapping[str, Sequence[tuple[str, ...]]] | None, config: TokenizerConfig) -> Pronunciations:
    if lexicon is None:
        raise ConfigError(["tokenizer.kind=phones needs a lexicon, which speech takes from data.lexicon=FILE."])
    return Pronunciations.fit(lexicon, config.spoken)


def _loader(config: TokenizerConfig) -> Callable[[Path], Units]:
    if config.kind == "phones":
        return Pronunciations.load
    if config.kind in ("word", "char"):
        from seqkit.frontends.vocabulary import Vocabulary

        return lambda folder: Vocabulary.load(folder, config.kind)
    from seqkit.frontends.subwords import Subwords

    return lambda folder: Subwords.load(folder, config)
