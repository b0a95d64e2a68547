"""torchaudio's beam search for CTC (flashlight-text, with KenLM), with hypotheses like those of `ctc_search`.

It is compiled, searches in single precision, and takes whole utterances only; it serves where it is asked for by name.
It looks for the same texts by the same score as `CTCSearch`, but for this:

- Bound to a lexicon it needs a space token: it counts the repeats of a word's last token wrongly where no space token
  follows. It adds the probabilities of labellings that differ in the number of spaces only, where `CTCSearch` takes the
  best of them: its `ctc_log_prob` is a little greater.
- Without a lexicon it knows no words: a language model is then one of tokens (an `NGram` of their texts, '|' for the
  space), and there is no bonus for words.
- There are no hot words and no `unknown_log_prob`.
- It does not tell the parts of a score apart, so `ctc_log_prob` is what is left of it once the language model's part,
  taken from the same model, and the bonuses are taken off.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np

from seqkit.errors import ConfigError
from seqkit.heads.ctc_prefixes import WORD_BEGIN
from seqkit.heads.ctc_search import NOTHING, CTCHypothesis, checked
from seqkit.heads.lexicon import Lexicon
from seqkit.heads.ngram import NGram

SPACE = "|"
"""The space's name in a language model of tokens."""
_SILENCE, _BLANK = "<silence>", "<blank>"
_IMPOSSIBLE = -1e4
"""Stands for -inf, of which the compiled search would make NaN; far below any threshold."""

_Array = np.ndarray[Any, np.dtype[Any]]


class FlashlightSearch:
    """Beam search over whole utterances by `torchaudio.models.decoder.ctc_decoder`."""

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        blank: int = 0,
        space: int | None,
        beam_size: int = 50,
        lexicon: Lexicon | None = None,
        language_model: NGram | None = None,
        lm_weight: float = 0.5,
        word_bonus: float = 0.0,
        beam_threshold: float = 50.0,
        log_add: bool = True,
    ) -> None:
        """Tell what is looked for: see `CTCSearch`, and above.

        `log_add` adds the probabilities of paths that meet; without it the best of them counts. KenLM writes a bar to
        stderr as it reads the language model.

        Raises:
            ConfigError: flashlight-text is not installed; a lexicon without a space token; a bonus for words without a
                lexicon; a language model of an order that KenLM does not read.
        """
        if lexicon is None and word_bonus:
            raise ConfigError(["The flashlight search has a bonus for words only with a lexicon; set it to 0."])
        if lexicon is not None and space is None:
            raise ConfigError(["The flashlight search needs a space token between the words of a lexicon."])
        if language_model is not None and not 2 <= language_model.order <= 6:
            raise ConfigError([f"KenLM reads n-grams of 2 to 6 words; the model has {language_model.order}."])
        self._names, self._space, self._size = _names(tokens, blank, space, lexicon is None), space, len(tokens)
        self._texts = ["" if token == blank else " " if token == space else text for token, text in enumerate(tokens)]
        self._blank, self._bound, self._model = blank, lexicon is not None, language_model
        self._lm_weight, self._word_bonus = lm_weight, word_bonus
        with tempfile.TemporaryDirectory() as folder:
            spellings, model, order = (Path(folder) / name for name in ("lexicon.txt", "model.arpa", "order.txt"))
            if lexicon is not None:
                spellings.write_text("\n".join(_spelled(lexicon, self._names)) + "\n", encoding="utf-8")
            if language_model is not None:
                language_model.save_arpa(model)
            # A model of tokens is asked by their numbers, which it must be told: they are not kept else.
            order.write_text("\n".join(self._names) + "\n", encoding="utf-8")
            self._search = _ctc_decoder()(
                lexicon=None if lexicon is None else str(spellings),
                tokens=self._names,
                lm=None if language_model is None else str(model),
                lm_dict=str(order) if lexicon is None else None,
                beam_size=beam_size,
                beam_threshold=beam_threshold,
                lm_weight=lm_weight * math.log(10.0),  # KenLM gives log10
                word_score=word_bonus,
                log_add=log_add,
                blank_token=self._names[blank],
                sil_token=_SILENCE if lexicon is None else SPACE,
            )

    def start(self) -> tuple[_Array, ...]:
        """The state before the first frame: it is the frames so far, for this search takes them all at once."""
        return ()

    def advance(self, state: tuple[_Array, ...], log_probs: _Array) -> tuple[_Array, ...]:
        """The state after log_probs (T, V)."""
        return (*state, log_probs)

    def finish(self, state: tuple[_Array, ...], n_best: int = 1) -> list[CTCHypothesis]:
        """What was said if the utterance ends here, as `decode`."""
        return self.decode(np.concatenate(state) if state else np.zeros((0, self._size)), n_best)

    def best(self, state: tuple[_Array, ...]) -> CTCHypothesis:
        """The likeliest so far, if it ended here: all of it is searched again."""
        return next(iter(self.finish(state)), NOTHING)

    def decode(self, log_probs: _Array, n_best: int = 1) -> list[CTCHypothesis]:
        """The best hypotheses with different texts for log_probs (T, V), best first; fewer where there are fewer.

        Raises ValueError for what `CTCSearch.advance` refuses.
        """
        import torch

        rows = checked(log_probs, self._size)
        frames = len(rows)
        emissions = np.full((frames + 1, len(self._names)), _IMPOSSIBLE, dtype=np.float32)
        emissions[:frames, : self._size] = np.maximum(rows, _IMPOSSIBLE)
        # Words end at a space, so with a lexicon there is one more frame, which is a space and costs nothing.
        emissions[frames, self._space or 0] = 0.0
        tensor = torch.from_numpy(emissions)
        results = self._search.decoder.decode(tensor.data_ptr(), frames + self._bound, len(self._names))
        found = [self._hypothesis(result, frames) for result in results]
        found.sort(key=lambda hypothesis: -hypothesis.score)
        distinct: dict[str, CTCHypothesis] = {}
        for hypothesis in found:
            distinct.setdefault(hypothesis.text, hypothesis)
        return list(distinct.values())[:n_best]

    def _hypothesis(self, result: Any, frames: int) -> CTCHypothesis:
        """What the compiled search found: `result.tokens` is its path, between two silences."""
        path = result.tokens[1 : frames + 1]
        ids = tuple(token for token, _ in groupby(path) if token != self._blank)
        if self._bound:
            words = tuple(self._search.word_dict.get_entry(word) for word in result.words if word >= 0)
        else:
            text = "".join(self._texts[token] for token in ids)
            words = tuple((text if self._space is not None else text.replace(WORD_BEGIN, " ")).split())
        spoken = words if self._bound else [self._names[token] for token in ids]
        lm_log_prob = 0.0 if self._model is None else self._model.sentence(spoken)
        rest = self._lm_weight * lm_log_prob + self._word_bonus * len(words)
        return CTCHypothesis(ids, " ".join(words), words, result.score, result.score - rest, lm_log_prob)


def _names(tokens: Sequence[str], blank: int, space: int | None, free: bool) -> list[str]:
    """A name for each token, different ones and without spaces: numbers, or texts for a language model of tokens.

    What the search takes for silence is the space between words of a lexicon, and else one more token that is never
    possible: before the first frame there is silence, and a first space would be taken for more of it.
    """
    names = [*tokens, _SILENCE] if free else [str(token) for token in range(len(tokens))]
    names[blank] = _BLANK
    if space is not None:
        names[space] = SPACE
    wrong = [name for name in names if name.split() != [name] or names.count(name) > 1]
    if wrong:
        raise ValueError(f"tokens: {wrong[0]!r} has spaces, or is there more than once")
    return names


def _spelled(lexicon: Lexicon, names: Sequence[str]) -> list[str]:
    """The lines of a lexicon: a word and a spelling each, with the space that ends it."""
    return [
        " ".join([word, *(names[token] for token in spelling), SPACE])
        for word, spellings in zip(lexicon.words, lexicon.spellings, strict=True)
        for spelling in spellings
    ]


def _ctc_decoder() -> Callable[..., Any]:
    try:
        from torchaudio.models.decoder import ctc_decoder
    except (ImportError, RuntimeError) as error:  # torchaudio turns the former into the latter
        raise ConfigError(
            ["The flashlight search needs flashlight-text, which is not installed."],
            hint="Install it: pip install 'seqkit[flashlight]'.",
        ) from error
    return cast(Callable[..., Any], ctc_decoder)
