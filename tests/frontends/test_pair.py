"""One vocabulary for both sides or one each: what is learned from what, and what is written is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqkit.errors import ConfigError, RunError
from seqkit.frontends.pair import SIDES, PairFrontend
from seqkit.frontends.tokenizer import TokenizerConfig

SOURCES = ["one two three", "two three", "four one", "three four two"]
TARGETS = ["eins zwei drei", "zwei drei", "vier eins", "drei vier zwei"]
KINDS = [
    TokenizerConfig(kind="word", eos=True),
    TokenizerConfig(kind="char", eos=True),
    TokenizerConfig(kind="unigram", eos=True),
    TokenizerConfig(kind="bpe", eos=True, lowercase=True),
]


def _fitted(config: TokenizerConfig, *, joint: bool) -> PairFrontend:
    return PairFrontend(config, joint=joint).fit(SOURCES, TARGETS)


def test_a_joint_vocabulary_holds_the_words_of_both_sides() -> None:
    pair = _fitted(KINDS[0], joint=True)
    assert pair.joint
    assert pair.source is pair.target
    assert pair.source.vocab_size == 2 + 8
    for text in (*SOURCES, *TARGETS):
        assert pair.source.unk_id not in pair.source.encode(text)
        assert pair.target.decode(pair.source.encode(text)) == text


def test_separate_vocabularies_hold_the_words_of_their_own_side() -> None:
    pair = _fitted(KINDS[0], joint=False)
    assert not pair.joint
    assert pair.source.vocab_size == pair.target.vocab_size == 2 + 4
    assert set(pair.source.encode("eins zwei")) == {pair.source.unk_id}
    assert set(pair.target.encode("one two")) == {pair.target.unk_id}
    for source, target in zip(SOURCES, TARGETS, strict=True):
        assert pair.source.decode(pair.source.encode(source)) == source
        assert pair.target.decode(pair.target.encode(target)) == target


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_what_is_saved_is_loaded(tmp_path: Path, config: TokenizerConfig, joint: bool) -> None:
    pair = _fitted(config, joint=joint)
    pair.save(tmp_path)
    pair.save(tmp_path)  # again, over what is there
    loaded = PairFrontend.load(tmp_path, joint=joint)
    assert loaded.joint == joint
    for side in SIDES:
        one, other = getattr(pair, side), getattr(loaded, side)
        assert other.config == config
        assert other.vocab_size == one.vocab_size
        for text in (*SOURCES, *TARGETS, "unheard of"):
            assert other.encode(text).tolist() == one.encode(text).tolist()
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert folders == (set() if joint else set(SIDES))


@pytest.mark.parametrize("joint", [True, False])
def test_an_unfinished_or_foreign_folder_is_a_clear_error(tmp_path: Path, joint: bool) -> None:
    with pytest.raises(RunError, match=str(tmp_path)):
        PairFrontend.load(tmp_path, joint=joint)
    _fitted(KINDS[0], joint=not joint).save(tmp_path)
    with pytest.raises(RunError, match=str(tmp_path)):
        PairFrontend.load(tmp_path, joint=joint)


@pytest.mark.parametrize(("joint", "place"), [(True, ""), (False, "source"), (False, "target")])
@pytest.mark.parametrize("content", [None, b"", b"{}", b'["<unk>", "twice", "twice"]', b"\xff"])
def test_a_damaged_vocabulary_is_a_clear_error(tmp_path: Path, joint: bool, place: str, content: bytes | None) -> None:
    _fitted(KINDS[0], joint=joint).save(tmp_path)
    file = tmp_path / place / "vocabulary.json"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(RunError, match=str(file)):
        PairFrontend.load(tmp_path, joint=joint)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("in the way")
    with pytest.raises(RunError, match="target"):
        _fitted(KINDS[0], joint=False).save(tmp_path)


def test_a_vocabulary_without_a_token_to_write_is_refused() -> None:
    frontend = PairFrontend(TokenizerConfig(kind="word", vocab_size=2, eos=True), joint=True)
    with pytest.raises(ConfigError, match="leaves no token to write"):
        frontend.fit(["a b"], ["c d"])
