"""Words that are written by their sound: every search finds them in the probabilities of phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqkit.cli.train import configure
from seqkit.errors import ConfigError
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.heads.word_search import SearchConfig, SearchOptions, WordSearch

LEXICON: dict[str, list[tuple[str, ...]]] = {
    "A": [("AH",), ("EY",)],
    "B": [("B", "IY")],
    "ZERO": [("Z", "IH", "R", "OW"), ("Z", "IY", "R", "OW")],
    "OH": [("OW",)],
    "NEVER": [("N", "EH", "V", "ER")],
}
TEXTS = ["A B", "ZERO B OH", "B"]


@pytest.fixture
def words() -> WordSearch:
    texts = TextFrontend(TokenizerConfig(kind="phones")).fit(TEXTS, lexicon=LEXICON)
    return WordSearch(SearchConfig(beam_size=8, lm_weight=0.1), texts).fit(TEXTS)


def _heard(words: WordSearch, phones: str) -> np.ndarray:
    """log P (T', V) of phones that are heard clearly; | is the space between words, and _ a blank."""
    tokens = words.labels.tokens
    log_probs = np.full((len(phones.split()), len(tokens)), np.log(0.01 / len(tokens)), dtype=np.float32)
    for step, phone in enumerate(phones.split()):
        token = {"|": " ", "_": tokens[0]}.get(phone, phone)
        log_probs[step, tokens.index(token)] = np.log(0.99)
    return log_probs


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize(
    ("phones", "text"),
    [
        ("B IY", "B"),
        ("Z Z IY _ R OW | _ EY", "ZERO A"),  # the second ways to say them
        ("_ Z IH R OW | | B IY _ | OW", "ZERO B OH"),
        ("N EH V ER", "NEVER"),  # a word of the lexicon that training did not have
        ("Z IH R R | B IY", "ZERO B"),
        ("_ _", ""),
    ],
)
def test_words_are_found_by_their_sound(words: WordSearch, phones: str, text: str, greedy: bool) -> None:
    search = words.search(SearchOptions(greedy=True) if greedy else SearchOptions())
    best = search.finish(search.advance(search.start(), _heard(words, phones)))[0]
    assert best.text == text
    assert words.texts.decode(best.ids) == text


def test_a_run_keeps_its_lexicon(words: WordSearch, tmp_path: Path) -> None:
    words.texts.save(tmp_path)
    words.save(tmp_path)
    loaded = WordSearch.load(tmp_path, words.config, TextFrontend.load(tmp_path))
    assert loaded.words == list(LEXICON)
    assert loaded.labels.tokens == words.labels.tokens
    search = loaded.search(SearchOptions())
    assert search.finish(search.advance(search.start(), _heard(words, "EY | OW")))[0].text == "A OH"


def test_other_words_than_those_of_the_lexicon_are_refused(words: WordSearch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no others than those of its lexicon"):
        words.search(SearchOptions(free=True))
    with pytest.raises(ConfigError, match="'YES' is not in the run's lexicon"):
        words.search(SearchOptions(hot_words=("YES",)))
    own = tmp_path / "own.txt"
    own.write_text("OH\nYES\n")
    search = words.search(SearchOptions(words=own))
    assert search.finish(search.advance(search.start(), _heard(words, "OW")))[0].text == "OH"


def test_phones_and_a_lexicon_go_together() -> None:
    for setting in ("tokenizer.kind=phones", "data.lexicon=words.dic"):
        with pytest.raises(ConfigError, match="go together"):
            configure("speech/demo", [setting])
