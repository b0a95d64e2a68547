"""A lexicon: which words there are, and how each is spelled in tokens; held as a trie.

A node of the trie is what spellings begin with; the root, 0, is the empty beginning. A word may have several spellings
(pronunciations), and several words may share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from seqkit.errors import DataError

ROOT = 0


class Lexicon:
    """Words and their spellings.

    Attributes:
        words: the words; elsewhere a number stands for the word at this place.
        spellings: of each word by number, its different spellings in token ids.
        children: of each node: token id -> the node behind it.
        ends: of each node: the words that end here, by number.
        tokens: the ids of all tokens that are in some spelling.
    """

    def __init__(self, spellings: Mapping[str, Iterable[Sequence[int]]]) -> None:
        """From each word's spellings.

        Raises DataError where there are no words, for a word that is empty, has spaces or has no spelling, and for a
        spelling that is empty or has a negative id.
        """
        self.words = tuple(spellings)
        self.spellings = tuple(
            tuple(dict.fromkeys(tuple(map(int, ids)) for ids in spellings[word])) for word in self.words
        )
        if not self.words:
            raise DataError("The lexicon has no words.", hint="Give it at least one.")
        self.children: list[dict[int, int]] = [{}]
        ends: list[list[int]] = [[]]
        for number, (word, found) in enumerate(zip(self.words, self.spellings, strict=True)):
            _check(word, found)
            for spelling in found:
                node = ROOT
                for token in spelling:
                    after = self.children[node].setdefault(token, len(self.children))
                    if after == len(self.children):
                        self.children.append({})
                        ends.append([])
                    node = after
                ends[node].append(number)
        self.ends = [tuple(numbers) for numbers in ends]
        self.tokens = frozenset(token for children in self.children for token in children)

    @classmethod
    def from_words(cls, words: Iterable[str], spell: Callable[[str], Sequence[int]]) -> Lexicon:
        """Words that are spelled by a function, such as the ids of their characters, or of their pieces."""
        return cls({word: [spell(word)] for word in words})

    def __len__(self) -> int:
        return len(self.words)

    def smear(self, values: Sequence[float]) -> list[float]:
        """Of each node the greatest value of the words that end in it or behind it; `values` has one for each word."""
        best = [max((values[number] for number in numbers), default=float("-inf")) for numbers in self.ends]
        for node in reversed(range(len(best))):  # what is behind a node has a greater number
            for child in self.children[node].values():
                best[node] = max(best[node], best[child])
        return best

    def path(self, spelling: Sequence[int]) -> list[int]:
        """The nodes after each token of a spelling. Raises KeyError where it leaves the trie."""
        nodes, node = [], ROOT
        for token in spelling:
            node = self.children[node][token]
            nodes.append(node)
        return nodes


def _check(word: str, spellings: Sequence[Sequence[int]]) -> None:
    """Raise DataError for what cannot be looked for."""
    if not word or word.split() != [word]:
        raise DataError(f"The lexicon has the word {word!r}: words are not empty, and have no spaces.")
    if not spellings or not all(spellings):
        raise DataError(f"The lexicon has no spelling for '{word}'.", hint="Leave the word out, or spell it in tokens.")
    if min(map(min, spellings)) < 0:
        raise DataError(f"The lexicon spells '{word}' with the token {min(map(min, spellings))}; ids are 0 or more.")
