"""How a text is cut into tokens: the settings that the text front-end and its tokenizers share."""

from __future__ import annotations

from typing import Literal, Self

import pydantic

from seqkit.config import Config

DEFAULT_SIZE = 8000
"""Size of a vocabulary where none is asked for."""


EOS_ID = 1
"""The id of the sign for the end of a line, in a vocabulary that has one."""


class TokenizerConfig(Config):
    """How a text is cut into tokens."""

    kind: Literal["unigram", "bpe", "word", "char", "phones"] = "unigram"
    """unigram and bpe learn pieces of words; word takes words as given (between whitespace); char takes characters;
    phones takes the sounds of words, from a lexicon (speech only: data.lexicon)."""
    spoken: dict[str, str] = pydantic.Field(default_factory=dict)
    """Of words that the lexicon has several ways to say, the one that training reads where it is not the first, e.g.
    {A: EY}; for kind=phones."""
    vocab_size: int | None = pydantic.Field(default=None, ge=2)
    """Size of the vocabulary, <unk> included: exact for unigram and bpe, at most so many for word and char; null for
    8000, or as many as the texts give."""
    character_coverage: float = pydantic.Field(default=0.9995, gt=0, le=1)
    """Share of the characters of the training texts that unigram and bpe can write; the rarest rest is unknown."""
    byte_fallback: bool = False
    """Write an unknown character as its UTF-8 bytes instead (unigram and bpe; takes 256 of the vocabulary)."""
    eos: bool = False
    """Hold a sign for the end of a line, <eos>, as a language model needs; a text itself never gives it."""
    lowercase: bool = False
    """Make every text lower-case first."""
    strip_tags: bool = False
    """Take out what looks like an HTML tag, <br /> for instance."""
    split_punctuation: bool = False
    """Put spaces around every sign that is no letter, digit, underscore or apostrophe: so that "word" gives words."""
    max_length: int | None = pydantic.Field(default=None, ge=1)
    """Most tokens of a text; null for no limit."""
    truncate: Literal["head", "tail", "head+tail"] = "head"
    """What stays of a longer text: its head, its tail, or a quarter from the head and the rest from the tail."""
    sampling_alpha: float = pydantic.Field(default=0.0, ge=0)
    """Subword regularisation for unigram: draw segmentations by P ** alpha (Kudo 2018); 0.1 is free, 0 off."""
    merge_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    """Subword regularisation for bpe: share of merges left out (Provilkov et al. 2020), e.g. 0.1; 0 is off."""
    fit_characters: int = pydantic.Field(default=10_000_000, ge=1)
    """Learn pieces from a random draw of the training texts of about so many characters, if they have more."""

    @property
    def sampling(self) -> bool:
        """Whether training draws another segmentation each time."""
        return self.sampling_alpha > 0 or self.merge_dropout > 0

    @pydantic.model_validator(mode="after")
    def _options_fit_kind(self) -> Self:
        for name, kinds in (
            ("sampling_alpha", ("unigram",)),
            ("merge_dropout", ("bpe",)),
            ("byte_fallback", ("unigram", "bpe")),
            ("spoken", ("phones",)),
        ):
            if getattr(self, name) and self.kind not in kinds:
                raise ValueError(f"{name} is for kind={' or '.join(kinds)}, and kind is {self.kind}")
        return self
