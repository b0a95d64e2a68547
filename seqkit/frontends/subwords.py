"""Pieces of words by sentencepiece, and segmentations drawn from a generator that the caller gives.

sentencepiece samples from a generator of its own, one per thread, that cannot be keyed by example. So sampling is
done here, over the model's pieces and scores. No piece spans two words (sentencepiece splits at whitespace), so a text
is drawn word by word, and what is worked out for a word is kept.
"""

from __future__ import annotations

import bisect
import io
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from seqkit.errors import ConfigError, DataError, RunError
from seqkit.frontends.tokenizer import DEFAULT_SIZE, EOS_ID, TokenizerConfig
from seqkit.storage import write_bytes

FILE = "tokenizer.model"

# sentencepiece's result depends on its number of threads; a fixed one gives the same model on every machine.
_THREADS = 4
# sentencepiece skips lines over 4,192 bytes in silence, and fails on a "word" of a million characters. Cutting long
# texts at whitespace changes nothing, and a run without whitespace is longer than any piece by far.
_MAX_CHARACTERS = 1000
_QUIET = 2  # log level: errors only
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # sentencepiece's sign for the space before a word
_UNKNOWN_PENALTY = 10.0  # below the lowest score, as sentencepiece has it
_KEPT_WORDS = 200_000
_KEPT_LENGTH = 40  # characters of a word that is worth keeping

# For each position of a word, the pieces that can end there: cumulative probabilities, and (start, ids) of each.
Lattice = list[tuple[list[float], list[tuple[int, list[int]]]]]


class Subwords:
    """A sentencepiece model, unigram or BPE."""

    def __init__(self, model: bytes, config: TokenizerConfig) -> None:
        """`model` is the content of a sentencepiece model file."""
        import sentencepiece

        sentencepiece.set_min_log_level(_QUIET)
        self._model = model
        self._config = config
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.unk_id: int = self._processor.unk_id()
        self._lattices: dict[str, Lattice] = {}
        special = (self._processor.is_control, self._processor.is_unknown, self._processor.is_byte)
        ids = [i for i in range(self.size) if not any(check(i) for check in special)]
        self._ids: dict[str, int] = {self._processor.id_to_piece(i): i for i in ids}
        self._scores: dict[str, float] = {piece: self._processor.get_score(i) for piece, i in self._ids.items()}
        self._longest = max(map(len, self._ids), default=1)
        self._unknown_score = min(self._scores.values(), default=0.0) - _UNKNOWN_PENALTY

    @classmethod
    def fit(cls, texts: Iterable[str], config: TokenizerConfig) -> Self:
        """Train a model. Raises ConfigError where the texts cannot give `config.vocab_size` pieces."""
        import sentencepiece

        written = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=itertools.chain.from_iterable(map(_cut_long, texts)),
                model_writer=written,
                model_type=config.kind,
                vocab_size=config.vocab_size or DEFAULT_SIZE,
                hard_vocab_limit=config.vocab_size is not None,
                character_coverage=config.character_coverage,
                byte_fallback=config.byte_fallback,
                unk_id=0,
                bos_id=-1,
                eos_id=EOS_ID if config.eos else -1,
                eos_piece="<eos>",
                pad_id=-1,
                max_sentence_length=8 * _MAX_CHARACTERS,
                num_threads=_THREADS,
                minloglevel=_QUIET,
            )
        except RuntimeError as error:
            raise _explained(str(error), config.vocab_size or DEFAULT_SIZE) from error
        return cls(written.getvalue(), config)

    @property
    def size(self) -> int:
        """Number of ids."""
        return int(self._processor.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """The ids of the best segmentation."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return str(self._processor.decode(list(ids)))

    def piece(self, token: int) -> str:
        """An id as the model holds it, a space before it as sentencepiece's own sign."""
        return str(self._processor.id_to_piece(token))

    def sample(self, text: str, rng: np.random.Generator) -> list[int]:
        """The ids of one segmentation: unigram by probability ** alpha over all of them, BPE with merges left out."""
        words = self._words(text)
        if self._config.kind == "bpe":
            pieces = (self._drop_merges(word, rng) for word in words)
            ids = [i for word in pieces for piece in word for i in self._piece_ids(piece)]
        else:
            # One number per character is drawn at once: more than are used, and far cheaper than one by one.
            draws = iter(rng.random(sum(map(len, words))).tolist())
            ids = [i for word in words for i in self._draw(word, draws)]
        if self._config.byte_fallback:
            return ids
        # As sentencepiece does, a run of unknown characters is one unknown token.
        return [i for before, i in itertools.pairwise([-1, *ids]) if i != self.unk_id or before != self.unk_id]

    def save(self, folder: Path) -> None:
        """Write the model file."""
        write_bytes(folder / FILE, self._model)

    @classmethod
    def load(cls, folder: Path, config: TokenizerConfig) -> Self:
        """Read a model file. Raises RunError for one that is missing or damaged."""
        try:
            model = (folder / FILE).read_bytes()
            if not model:  # which sentencepiece would take for "no model yet"
                raise RuntimeError("the file is empty")
            return cls(model, config)
        except OSError as error:
            raise RunError(f"{folder / FILE}: {error.strerror}.", hint="The run folder is not complete.") from error
        except RuntimeError as error:
            raise RunError(f"{folder / FILE}: not a sentencepiece model.", hint="The file is damaged.") from error

    def _words(self, text: str) -> list[str]:
        """The normalised words, each with the sign for the space before it."""
        normal: str = self._processor.normalize(text)
        return [_SPACE + word for word in normal.removeprefix(_SPACE).split(_SPACE)] if normal else []

    def _piece_ids(self, piece: str) -> list[int]:
        """The id of a piece; of a character that is none, <unk> or its bytes."""
        known = self._ids.get(piece)
        if known is not None:
            return [known]
        if not self._config.byte_fallback:
            return [self.unk_id]
        return [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in piece.encode("utf-8")]

    def _draw(self, word: str, draws: Iterator[float]) -> list[int]:
        """Draw a segmentation from the word's lattice, from its end to its beginning."""
        lattice = self._lattices.get(word)
        if lattice is None:
            lattice = self._lattice(word)
            if len(word) <= _KEPT_LENGTH and len(self._lattices) < _KEPT_WORDS:
                self._lattices[word] = lattice
        chosen: list[list[int]] = []
        end = len(word)
        while end > 0:
            cumulative, edges = lattice[end]
            place = bisect.bisect_right(cumulative, next(draws) * cumulative[-1])
            end, ids = edges[min(place, len(edges) - 1)]
            chosen.append(ids)
        return [i for ids in reversed(chosen) for i in ids]

    def _lattice(self, word: str) -> Lattice:
        """Forward filtering: for each end of a piece, how probable each piece is, given that one ends there."""
        alpha = self._config.sampling_alpha
        total = [0.0] + [-math.inf] * len(word)  # log of the summed weight of all segmentations up to each position
        lattice: Lattice = [([], [])]
        for end in range(1, len(word) + 1):
            weights: list[float] = []
            edges: list[tuple[int, list[int]]] = []
            for start in range(max(0, end - self._longest), end):
                score = self._scores.get(word[start:end])
                if score is None and start == end - 1:
                    score = self._unknown_score
                if score is not None:
                    weights.append(total[start] + alpha * score)
                    edges.append((start, self._piece_ids(word[start:end])))
            top = max(weights)
            cumulative = list(itertools.accumulate(math.exp(weight - top) for weight in weights))
            total[end] = top + math.log(cumulative[-1])
            lattice.append((cumulative, edges))
        return lattice

    def _drop_merges(self, word: str, rng: np.random.Generator) -> list[str]:
        """Merge characters as BPE does, with each possible merge left out by chance at each step."""
        pieces = list(word)
        while len(pieces) > 1:
            dropped = (rng.random(len(pieces) - 1) < self._config.merge_dropout).tolist()
            best, best_score = -1, -math.inf
            for i, drop in enumerate(dropped):
                score = self._scores.get(pieces[i] + pieces[i + 1])
                if score is not None and not drop and score > best_score:
                    best, best_score = i, score
            if best < 0:
                break
            pieces[best : best + 2] = [pieces[best] + pieces[best + 1]]
        return pieces


def draw_texts(texts: Sequence[str], characters: int, seed: int) -> list[str]:
    """The texts, or, if they have more than `characters`, a random draw of about so many, in the texts' order."""
    sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    if sizes.sum() <= characters:
        return list(texts)
    order = np.random.default_rng(seed).permutation(len(texts))
    count = int(np.searchsorted(np.cumsum(sizes[order]), characters)) + 1
    return [texts[i] for i in np.sort(order[:count])]


def _cut_long(text: str) -> Iterator[str]:
    """A text in parts that sentencepiece does not skip, cut at whitespace where there is any."""
    if len(text) <= _MAX_CHARACTERS:
        yield text
        return
    part: list[str] = []
    size = 0
    for word in text.split():
        for start in range(0, len(word), _MAX_CHARACTERS):
            chunk = word[start : start + _MAX_CHARACTERS]
            if size + len(chunk) + 1 > _MAX_CHARACTERS and part:
                yield " ".join(part)
                part, size = [], 0
            part.append(chunk)
            size += len(chunk) + 1
    if part:
        yield " ".join(part)


def _explained(message: str, vocab_size: int) -> ConfigError | DataError:
    """What sentencepiece's trainer complains about, as a mistake to mend."""
    too_high = re.search(r"set it to a value <= (\d+)", message)
    if too_high:
        most = too_high[1]
        problem = f"tokenizer.vocab_size={vocab_size}: the training texts give at most {most} pieces."
        return ConfigError([problem], hint=f"Set tokenizer.vocab_size={most} or less, or give more text.")
    too_low = re.search(r"required_chars\. (\d+) vs (\d+)", message)
    if too_low:
        problem = f"tokenizer.vocab_size={vocab_size}: the characters of the training texts alone take {too_low[2]}."
        hint = f"Set tokenizer.vocab_size to more than {too_low[2]}, or lower tokenizer.character_coverage."
        return ConfigError([problem], hint=hint)
    return DataError(f"sentencepiece cannot learn from the training texts: {message}", hint="Look at the text column.")
