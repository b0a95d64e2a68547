"""What a run of speech knows of words: its vocabulary and its language model, and how they enter the search.

Both come from the training transcripts, or from files of the user's; both are part of the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from seqkit.config import Config
from seqkit.data.readers import read_lines
from seqkit.errors import ConfigError, DataError, RunError
from seqkit.frontends.text import TextFrontend
from seqkit.heads.ctc import BLANK
from seqkit.heads.ctc_flashlight import FlashlightSearch
from seqkit.heads.ctc_greedy import GreedySearch
from seqkit.heads.ctc_search import CTCSearch
from seqkit.heads.lexicon import Lexicon
from seqkit.heads.ngram import NGram
from seqkit.heads.transcriber import Labels, Search
from seqkit.storage import read_json, write_json

WORDS_FILE, MODEL_FILE = "words.json", "language.arpa"
_HOT = re.compile(r"(\S+?)(?::(-?\d+(?:\.\d+)?))?")


class SearchConfig(Config):
    """How words are looked for."""

    method: Literal["beam", "flashlight", "greedy"] = "beam"
    """Prefix beam search with a language model (Hannun et al. 2014); the same by flashlight-text, compiled, for words
    of the vocabulary (`pip install 'seqkit[flashlight]'`); or the likeliest label of each step."""
    beam_size: int = Field(default=16, ge=1)
    """Beginnings that are kept at each step."""
    bound: bool = True
    """Find words of the vocabulary only: those of the training transcripts, or of `words`."""
    words: str | None = None
    """File with the vocabulary, a word a line; null for the words of the training transcripts."""
    order: int = Field(default=3, ge=0, le=10)
    """Words of an n-gram, for the language model that is estimated from the training transcripts; 0 for no model."""
    language_model: str | None = None
    """ARPA file (plain or .gz) of a language model to use instead."""
    lm_weight: float = Field(default=0.5, ge=0.0)
    """What the logarithm of the language model's probability is multiplied by."""
    word_bonus: float = 0.0
    """Added for each word (nats); a positive one makes for more words."""
    hot_word_bonus: float = Field(default=3.0, ge=0.0)
    """Added for each hot word that comes without a number of its own (nats)."""


class SearchOptions(Config):
    """The options of the search that a user can give; the base of a recipe's decoding options."""

    greedy: bool = False
    """Take the likeliest label of each step: no language model, no vocabulary."""
    flashlight: bool = False
    """Search with flashlight-text."""
    beam_size: int | None = Field(default=None, ge=1)
    """Beginnings kept at each step; null for the run's own (`search.beam_size`)."""
    lm_weight: float | None = Field(default=None, ge=0.0)
    """Weight of the language model; null for the run's own, 0 for none."""
    word_bonus: float | None = None
    """Added for each word (nats); null for the run's own."""
    free: bool = False
    """Find any words, not those of the vocabulary only."""
    words: Path | None = None
    """File with the vocabulary to find words of, a word a line, instead of the run's own."""
    language_model: Path | None = None
    """ARPA file of a language model to use instead of the run's own."""
    hot_words: tuple[str, ...] = ()
    """Words to be expected, with commas between; WORD:5 adds 5 nats for it."""

    @model_validator(mode="after")
    def _one_search(self) -> Self:
        given = self.model_fields_set & set(SearchOptions.model_fields) - {"greedy"}
        if self.greedy and given:
            raise ValueError(f"--{min(given).replace('_', '-')} does nothing in a greedy search; leave it out")
        return self

    @field_validator("hot_words", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [part for part in re.split(r"[,\s]+", value) if part] if isinstance(value, str) else value


class WordSearch:
    """The words of a run, and the searches that use them. Fit or load it before anything else."""

    def __init__(self, config: SearchConfig, texts: TextFrontend) -> None:
        self.config, self.texts = config, texts
        self.words: list[str] = []
        self.language_model: NGram | None = None
        self._made: tuple[dict[str, Any], Search] | None = None  # the last search, with its options

    @property
    def labels(self) -> Labels:
        """What the network's outputs stand for."""
        tokens = self.texts.pieces(range(self.texts.vocab_size))
        space = tokens.index(" ") if self.texts.config.kind in ("char", "phones") and " " in tokens else None
        return Labels(tokens, space, self.texts.decode)

    def fit(self, transcripts: Iterable[str]) -> Self:
        """Take the words and the language model from training transcripts, or from the configuration's files.

        Where words are written by their sound, the words are those of the lexicon. Raises DataError for a file that is
        not there or damaged.
        """
        self._made = None
        sentences = [text.split() for text in transcripts]
        if self.config.words is None and self.texts.lexicon is not None:
            self.words = list(self.texts.lexicon)
        elif self.config.words is None:
            self.words = sorted({word for sentence in sentences for word in sentence})
        else:
            self.words = read_words(Path(self.config.words))
        if self.config.language_model is not None:
            self.language_model = NGram.from_arpa(Path(self.config.language_model))
        elif self.config.order > 0:
            self.language_model = NGram.estimate(sentences, self.config.order)
        return self

    def save(self, folder: Path) -> None:
        """Write words and language model into an existing folder."""
        write_json(folder / WORDS_FILE, self.words)
        if self.language_model is not None:
            self.language_model.save_arpa(folder / MODEL_FILE)

    @classmethod
    def load(cls, folder: Path, config: SearchConfig, texts: TextFrontend) -> Self:
        """Read what `save` wrote. Raises RunError where it is damaged."""
        loaded = cls(config, texts)
        words = read_json(folder / WORDS_FILE)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise RunError(f"{folder / WORDS_FILE}: not a list of words.", hint="The run is foreign or damaged.")
        loaded.words = words
        if (folder / MODEL_FILE).is_file():
            loaded.language_model = NGram.from_arpa(folder / MODEL_FILE)
        return loaded

    def search(self, options: SearchOptions) -> Search:
        """The search that options ask for, else that of the configuration. Raises ConfigError, DataError.

        For the same options as the last time it is the same one: a model's file is read once, not for each batch.
        """
        asked = options.model_dump(include=set(SearchOptions.model_fields))
        if self._made is None or self._made[0] != asked:
            self._made = (asked, self._new(options))
        return self._made[1]

    def _new(self, options: SearchOptions) -> Search:
        method = "greedy" if options.greedy else "flashlight" if options.flashlight else self.config.method
        if method == "greedy":
            return GreedySearch(self.texts.decode)
        labels = self.labels
        model = self.language_model if options.language_model is None else NGram.from_arpa(options.language_model)
        weight = self.config.lm_weight if options.lm_weight is None else options.lm_weight
        bonuses = dict(self._hot(word) for word in options.hot_words)
        bound = (self.config.bound and not options.free) or options.words is not None
        if not bound and self.texts.lexicon is not None:
            raise ConfigError(["This run writes words by their sound, and knows no others than those of its lexicon."])
        settings: dict[str, Any] = {
            "blank": BLANK,
            "space": labels.space,
            "beam_size": options.beam_size or self.config.beam_size,
            "lexicon": self._lexicon(options, bonuses) if bound else None,
            "language_model": model if weight > 0 else None,
            "lm_weight": weight,
            "word_bonus": self.config.word_bonus if options.word_bonus is None else options.word_bonus,
        }
        if method == "flashlight":
            if bonuses or not bound:
                raise ConfigError(["The flashlight search finds words of the vocabulary, and knows no hot words."])
            return FlashlightSearch(labels.tokens, **settings)
        return CTCSearch(labels.tokens, **settings, hot_words=bonuses)

    def _lexicon(self, options: SearchOptions, hot_words: Iterable[str]) -> Lexicon:
        """The words to find, hot ones among them; those that the labels cannot write are left out."""
        words = self.words if options.words is None else read_words(options.words)
        spellings = {word: self.texts.spellings(word) for word in dict.fromkeys([*words, *hot_words])}
        return Lexicon({word: found for word, found in spellings.items() if found})

    def _hot(self, text: str) -> tuple[str, float]:
        """A hot word and its bonus. Raises ConfigError for one that the labels cannot write."""
        found = _HOT.fullmatch(text)
        word, bonus = (text, None) if found is None else (found[1], found[2])
        if not self.texts.spellings(word):
            lacks = "has characters that the run cannot write; write it as it does"
            if self.texts.lexicon is not None:
                lacks = "is not in the run's lexicon"
            raise ConfigError([f"--hot-words: '{word}' {lacks}."])
        return word, self.config.hot_word_bonus if bonus is None else float(bonus)


def read_words(path: Path) -> list[str]:
    """The words of a file, one a line, each once; what follows a word on its line is not read. Raises DataError."""
    words = dict.fromkeys(text.split()[0] for _, text in read_lines(path) if text.strip())
    if not words:
        raise DataError(f"{path}: holds no words.", hint="It needs a word a line.")
    return list(words)
