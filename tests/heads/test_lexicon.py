"""The lexicon: its trie says what was put in, with shared beginnings, homophones and several pronunciations."""

from __future__ import annotations

import random

import pytest

from seqkit.errors import DataError
from seqkit.heads.lexicon import ROOT, Lexicon


def spelled(lexicon: Lexicon) -> dict[tuple[int, ...], set[str]]:
    """What the trie says: each spelling with its words, found by walking all of it."""
    found: dict[tuple[int, ...], set[str]] = {}
    waiting: list[tuple[int, tuple[int, ...]]] = [(ROOT, ())]
    while waiting:
        node, ids = waiting.pop()
        if lexicon.ends[node]:
            found[ids] = {lexicon.words[number] for number in lexicon.ends[node]}
        waiting += [(child, (*ids, token)) for token, child in lexicon.children[node].items()]
    return found


def test_the_trie_has_every_spelling_and_no_other() -> None:
    rng = random.Random(0)
    spellings = {
        f"word{number}": [[rng.randrange(4) for _ in range(rng.randint(1, 5))] for _ in range(rng.randint(1, 3))]
        for number in range(200)
    }
    expected: dict[tuple[int, ...], set[str]] = {}
    for word, found in spellings.items():
        for spelling in found:
            expected.setdefault(tuple(spelling), set()).add(word)
    lexicon = Lexicon(spellings)
    assert spelled(lexicon) == expected
    assert lexicon.tokens == {0, 1, 2, 3}
    assert len(lexicon) == 200


def test_words_share_their_beginnings() -> None:
    lexicon = Lexicon.from_words(["car", "cart", "cat"], lambda word: [ord(letter) for letter in word])
    assert len(lexicon.children) == 1 + len("cart") + len("t")
    assert lexicon.path([ord(letter) for letter in "cart"]) == [1, 2, 3, 4]
    assert spelled(lexicon)[tuple(map(ord, "car"))] == {"car"}


def test_a_spelling_that_is_given_twice_is_one() -> None:
    lexicon = Lexicon({"a": [[1], (1,), [2]]})
    assert lexicon.spellings == (((1,), (2,)),)
    assert lexicon.ends == [(), (0,), (0,)]


def test_smearing_gives_each_node_the_best_word_behind_it() -> None:
    lexicon = Lexicon({"a": [[1]], "ab": [[1, 2], [3]], "abc": [[1, 2, 4]]})
    values = [-5.0, -2.0, -1.0]
    smeared = lexicon.smear(values)
    assert smeared[ROOT] == -1.0
    assert [smeared[node] for node in lexicon.path([1, 2, 4])] == [-1.0, -1.0, -1.0]
    assert smeared[lexicon.path([3])[0]] == -2.0
    assert lexicon.smear([0.0, -2.0, -1.0])[lexicon.path([1])[0]] == 0.0


@pytest.mark.parametrize(
    ("spellings", "fault"),
    [
        ({}, "has no words"),
        ({"": [[1]]}, "has the word ''"),
        ({"new york": [[1]]}, "has the word 'new york'"),
        ({"a": []}, "no spelling for 'a'"),
        ({"a": [[1], []]}, "no spelling for 'a'"),
        ({"a": [[1, -1]]}, "spells 'a' with the token -1"),
    ],
)
def test_what_cannot_be_looked_for_is_an_error(spellings: dict[str, list[list[int]]], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        Lexicon(spellings)
