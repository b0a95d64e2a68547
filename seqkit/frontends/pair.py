"""The front-end of pairs of texts: a source and a target, with one vocabulary for both or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from seqkit.errors import ConfigError
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.storage import disk_errors

SIDES = ("source", "target")


class PairFrontend:
    """Texts of a source and of a target to token ids. Fit it or load it first; then it does not change.

    Attributes:
        source: the source's text front-end.
        target: the target's; the same object where the vocabulary is joint.
    """

    def __init__(self, config: TokenizerConfig, *, joint: bool) -> None:
        self.source = TextFrontend(config)
        self.target = self.source if joint else TextFrontend(config)

    @property
    def joint(self) -> bool:
        """Whether both sides have one vocabulary."""
        return self.source is self.target

    def fit(self, sources: Sequence[str], targets: Sequence[str], seed: int = 0) -> Self:
        """Learn the vocabularies from the training texts.

        Raises what `TextFrontend.fit` does, and ConfigError for a target without a token that can be written.
        """
        if self.joint:
            self.source.fit([*sources, *targets], seed)
        else:
            self.source.fit(sources, seed)
            self.target.fit(targets, seed)
        if self.target.vocab_size <= len((self.target.unk_id, self.target.eos_id)):
            problem = (
                f"tokenizer.vocab_size={self.target.config.vocab_size}: leaves no token to write but <unk>, <eos>."
            )
            raise ConfigError([problem], hint="Give it more.")
        return self

    def save(self, folder: Path) -> None:
        """Write a joint vocabulary to an existing folder, or each side's to a folder within it."""
        if self.joint:
            self.source.save(folder)
            return
        for side in SIDES:
            with disk_errors(folder / side):
                (folder / side).mkdir(exist_ok=True)
            getattr(self, side).save(folder / side)

    @classmethod
    def load(cls, folder: Path, *, joint: bool) -> Self:
        """Read what `save` wrote. Raises RunError for a folder that lacks it or holds something else."""
        places = [folder] if joint else [folder / side for side in SIDES]
        sides = [TextFrontend.load(place) for place in places]
        made = cls(sides[0].config, joint=joint)
        made.source, made.target = sides[0], sides[-1]
        return made
