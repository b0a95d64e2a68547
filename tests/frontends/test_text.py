"""The text front-end: each kind of token, what is kept of it, and sampling that only the given generator decides."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.config import resolve
from seqkit.data.demo_reviews import demo_reviews
from seqkit.errors import ConfigError, DataError, RunError
from seqkit.frontends.subwords import Subwords
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig

PLAIN = [
    "the",
    "a",
    "film",
    "plot",
    "was",
    "is",
    "not",
    "very",
    "good",
    "bad",
    "forgettable",
    "unforgettable",
    "brilliant",
]
# Enough different words that the trainer finds more pieces than the tests ask for.
MADE = [
    first + second + third
    for first in ("ba", "ke", "lo", "mi")
    for second in ("ran", "ti", "su")
    for third in ("ng", "ler", "da")
]
WORDS = [*PLAIN, *MADE]


def corpus(count: int = 300) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(count)]


TEXTS = corpus()
ODD = ["", "  ", "Hello 漢字漢 film 漢", "\u2581\u2581x y", "ﬁne\u3000a\tb", "a" * 300, "日本語のテキスト", *TEXTS[:50]]
SIZES = {"unigram": 60, "bpe": 60, "word": 100, "char": 100}


def fitted(kind: str = "unigram", **values: Any) -> TextFrontend:
    size = SIZES[kind] + (256 if values.get("byte_fallback") else 0)
    return TextFrontend(resolve(TokenizerConfig, {"kind": kind, "vocab_size": size, **values})).fit(TEXTS)


@pytest.mark.parametrize("kind", ["unigram", "bpe", "word", "char"])
def test_encode_decode_and_unknown(kind: str, tmp_path: Path) -> None:
    frontend = fitted(kind)
    ids = frontend.encode(TEXTS[0])
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert frontend.decode(ids) == TEXTS[0]
    assert 0 <= ids.min() <= ids.max() < frontend.vocab_size
    assert frontend.unk_id in frontend.encode("film 漢字").tolist()
    assert frontend.encode("").shape == (0,)
    frontend.save(tmp_path)
    loaded = TextFrontend.load(tmp_path)
    assert loaded.config == frontend.config
    assert loaded.vocab_size == frontend.vocab_size
    for text in ODD:
        np.testing.assert_array_equal(loaded.encode(text), frontend.encode(text))


def test_words_are_taken_as_given() -> None:
    frontend = TextFrontend(TokenizerConfig(kind="word", vocab_size=5)).fit(["b a `` a Film", "a b c"])
    assert frontend.vocab_size == 5
    assert frontend.decode(frontend.encode("a  b\t``")) == "a b ``"
    assert frontend.encode("c film").tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["unigram", "word", "char"])
def test_lowercase(kind: str) -> None:
    np.testing.assert_array_equal(fitted(kind, lowercase=True).encode("FILM Good"), fitted(kind).encode("film good"))


def test_byte_fallback_writes_any_character() -> None:
    frontend = fitted(byte_fallback=True)
    ids = frontend.encode("film 漢")
    assert frontend.unk_id not in ids.tolist()
    assert frontend.decode(ids) == "film 漢"


@pytest.mark.parametrize(
    ("truncate", "expected"), [("head", "abcdefgh"), ("tail", "mnopqrst"), ("head+tail", "abopqrst")]
)
def test_truncation(truncate: str, expected: str) -> None:
    text = "abcdefghijklmnopqrst"
    config = resolve(TokenizerConfig, {"kind": "char", "max_length": 8, "truncate": truncate})
    frontend = TextFrontend(config).fit([text])
    assert frontend.decode(frontend.encode(text)) == expected
    assert frontend.decode(frontend.encode(text[:8])) == text[:8]


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize(
    ("kind", "values"), [("unigram", {"sampling_alpha": 1000.0}), ("bpe", {"merge_dropout": 1e-300})]
)
def test_sampling_at_its_limit_is_the_best_segmentation(kind: str, values: dict[str, Any], byte_fallback: bool) -> None:
    frontend = fitted(kind, byte_fallback=byte_fallback, **values)
    for text in ODD:
        sampled = frontend.sample(text, np.random.default_rng(0))
        np.testing.assert_array_equal(sampled, frontend.encode(text), err_msg=repr(text))


@pytest.mark.parametrize(("kind", "values"), [("unigram", {"sampling_alpha": 0.02}), ("bpe", {"merge_dropout": 0.3})])
def test_sampling_is_keyed_by_the_generator_alone(kind: str, values: dict[str, Any]) -> None:
    frontend, other = fitted(kind, **values), fitted(kind, **values)
    text = "unforgettable film was brilliant"
    drawn = [tuple(frontend.sample(text, np.random.default_rng(i)).tolist()) for i in range(30)]
    assert len(set(drawn)) > 3
    for i in reversed(range(30)):  # another order, and a tokenizer that has seen other texts before
        other.sample(TEXTS[i], np.random.default_rng(7))
        assert tuple(other.sample(text, np.random.default_rng(i)).tolist()) == drawn[i]
    assert all(frontend.decode(ids) == text for ids in drawn)


def test_unigram_sampling_has_the_distribution_of_sentencepiece() -> None:
    texts = [row["text"] for row in demo_reviews()["train"]]
    frontend = TextFrontend(TokenizerConfig(vocab_size=100, sampling_alpha=0.3)).fit(texts)
    text, count = "disappointing", 8000
    ours = Counter(tuple(frontend.sample(text, np.random.default_rng(i)).tolist()) for i in range(count))
    units = frontend._fitted
    assert isinstance(units, Subwords)
    options = {"enable_sampling": True, "alpha": 0.3, "nbest_size": -1}
    theirs = Counter(tuple(units._processor.encode(text, **options)) for _ in range(count))
    distance = sum(abs(ours[key] - theirs[key]) for key in ours | theirs) / (2 * count)
    assert len(ours) >= 4
    # Two samples of one distribution over k outcomes differ by about sqrt(k / (pi * count)); this allows twice that.
    assert distance < 2 * (len(ours | theirs) / (np.pi * count)) ** 0.5


def test_without_sampling_asked_for_sample_is_encode() -> None:
    frontend = fitted()
    np.testing.assert_array_equal(frontend.sample(TEXTS[0], np.random.default_rng(0)), frontend.encode(TEXTS[0]))


@pytest.mark.parametrize("kind", ["unigram", "bpe", "word"])
def test_texts_of_a_megabyte_count_in_fitting_and_encode(kind: str) -> None:
    long = "zebra quagga " * 80_000
    blob = "xyz" * 350_000
    frontend = TextFrontend(resolve(TokenizerConfig, {"kind": kind, "vocab_size": 70})).fit([*TEXTS, long, blob])
    # A line that sentencepiece skipped would leave "zebra" in single characters or unknown.
    assert len(frontend.encode("zebra quagga")) <= 4
    assert frontend.unk_id not in frontend.encode("zebra quagga").tolist()
    assert len(frontend.encode(long)) >= 160_000
    assert frontend.encode(blob).size > 0


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_too_large_names_the_largest_possible(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"Set tokenizer.vocab_size=(\d+) or less") as caught:
        fitted(kind, vocab_size=5000)
    most = int(caught.value.problems[0].split("at most ")[1].split()[0])
    assert fitted(kind, vocab_size=most).vocab_size == most


def test_a_vocabulary_too_small() -> None:
    with pytest.raises(ConfigError, match="characters of the training texts alone take"):
        fitted(vocab_size=5)


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_no_text_at_all(texts: list[str]) -> None:
    with pytest.raises(DataError, match="no text"):
        TextFrontend(TokenizerConfig()).fit(texts)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "bpe", "sampling_alpha": 0.1},
        {"kind": "unigram", "merge_dropout": 0.1},
        {"kind": "word", "byte_fallback": True},
    ],
)
def test_options_of_another_kind_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is for kind="):
        resolve(TokenizerConfig, values)


@pytest.mark.parametrize("kind", ["unigram", "word"])
def test_a_damaged_folder(tmp_path: Path, kind: str) -> None:
    with pytest.raises(RunError):
        TextFrontend.load(tmp_path)
    fitted(kind).save(tmp_path)
    file = tmp_path / ("tokenizer.model" if kind == "unigram" else "vocabulary.json")
    for damage in (file.read_bytes()[:20], b'["x"]', b""):
        file.write_bytes(damage)
        with pytest.raises(RunError, match=file.name):
            TextFrontend.load(tmp_path)
    file.unlink()
    with pytest.raises(RunError, match=file.name):
        TextFrontend.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"format": 1, "config": {"kind": "other"}}')
    with pytest.raises(RunError, match="not a tokenizer's configuration"):
        TextFrontend.load(tmp_path)


def test_fitting_is_the_same_again_and_a_draw_is_seeded() -> None:
    def model(seed: int, **values: Any) -> bytes:
        units = TextFrontend(resolve(TokenizerConfig, {"vocab_size": 50, **values})).fit(TEXTS, seed)._fitted
        assert isinstance(units, Subwords)
        return units._model

    assert model(0) == model(1)
    assert model(0, fit_characters=3000) == model(0, fit_characters=3000) != model(1, fit_characters=3000)


def test_nothing_is_printed(tmp_path: Path) -> None:
    code = (
        "from seqkit.frontends.text import *\n"
        f"TextFrontend(TokenizerConfig(vocab_size=40)).fit({TEXTS[:100]!r}).encode('film')"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("", "")
