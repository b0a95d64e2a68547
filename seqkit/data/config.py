"""The data keys that every recipe shares; a recipe subclasses `DataConfig` and adds the names of its columns."""

from __future__ import annotations

from typing import Literal, Self

import pydantic

from seqkit.config import Config
from seqkit.data.readers import FileFormat

SplitName = Literal["train", "validation", "test"]


class HubConfig(Config):
    """Where a data set stands on the Hugging Face hub, and what its parts and columns are called there."""

    name: str
    """Data set on the hub, e.g. stanfordnlp/imdb; or a local folder that is laid out as the hub's are."""
    config: str | None = None
    """Configuration (subset) of the data set, where it has several."""
    revision: str | None = None
    """Branch, tag or commit to read; null for the newest."""
    splits: dict[SplitName, str] = pydantic.Field(default_factory=dict)
    """Our part -> the hub's part, e.g. {train: train, test: validation}; empty takes the parts of the same names."""
    columns: dict[str, str] = pydantic.Field(default_factory=dict)
    """The recipe's column -> the hub's column, where the hub's name is not the one in the files. A column within
    another goes by both names (a.b); one within `translation`, such as a language, by its own too."""
    labels: Literal["names", "numbers"] = "names"
    """How the hub's class labels are written: by their names (positive) or by their numbers (1)."""


class DataConfig(Config):
    """Which examples a recipe reads. The search goes: `path`, the demo corpus, `SEQKIT_DATA`, the hub."""

    demo: bool = False
    """Use the small corpus that the recipe makes itself, offline; `path` wins over it."""
    path: str | None = None
    """A folder that holds the files named below, or one file of your own examples (the parts are cut from it)."""
    train: str | None = None
    """File of the training part: below `path` or SEQKIT_DATA, or from the working directory, or absolute. As with every
    file here, a name with {lang} is a text file for each column (train.{lang}.gz: train.en.gz, train.de.gz)."""
    validation: str | None = None
    """File of the part by which training chooses; null cuts it from the training part."""
    test: str | None = None
    """File of the part that is scored once at the end; null cuts it from the training part."""
    hub: HubConfig | None = None
    """Where the data set stands on the Hugging Face hub."""
    format: FileFormat = "auto"
    """Format of the files; auto goes by the name's ending (.csv, .tsv, .jsonl, .txt, each plain or .gz)."""
    validation_fraction: float = pydantic.Field(default=0.1, ge=0, lt=1)
    """Share of the training part that becomes the validation part where there is none; 0 for no such part."""
    test_fraction: float = pydantic.Field(default=0.1, ge=0, lt=1)
    """Share of the training part that becomes the test part where there is none; 0 for no such part."""
    cut: Literal["random", "tail"] = "random"
    """How a missing part is cut from the training part: drawn by `split_seed`, or taken from its end (train,
    validation, test, in the order of the file), as a running text needs; the end's share is one of the characters."""
    group: str | None = None
    """Column of the training file whose equal values stay together when a part is cut, e.g. the movie of a review."""
    held_out_column: str | None = None
    """Column of the training file that names groups of examples, e.g. the speaker, to hold one of them out: its
    examples are the test part (a test file is not read), and stand in no other part. A validation file needs it too."""
    held_out_value: str | None = None
    """The group that is held out: a value of `held_out_column`."""
    where: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    """Only the examples that have one of these values in a column, e.g. {quality: [good], action: [kick, jump]}; with
    several columns, in each. It is asked before a part is cut or held out; of a file that `eval --data` names it is
    asked where that has the column. On the command line: data.where.action=kick,jump."""
    split_seed: int = pydantic.Field(default=0, ge=0)
    """Seed of the cut alone, so that runs with different seeds share their parts."""
    limit: int | None = pydantic.Field(default=None, ge=1)
    """Train on only so many examples, drawn by `split_seed` (with cut=tail the first); for trying things out."""

    @pydantic.field_validator("where", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        """As everywhere, a text is cut at its commas; and a number is the text that stands in the file."""
        if not isinstance(value, dict):
            return value
        return {
            column: [str(one) if type(one) in (int, float) else one for one in _values(given)]
            for column, given in value.items()
        }

    @pydantic.field_validator("where")
    @classmethod
    def _some_value(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for column, values in value.items():
            if not values:
                raise ValueError(f"no value is named for column '{column}'; leave the column out, or name some")
        return value

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.demo and self.path is None and self.train is not None:
            raise ValueError(f"demo=true and train={self.train} ask for two data sets; set demo=false or train=null")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction together must be below 1")
        if self.cut == "tail" and self.group is not None:
            raise ValueError(f"cut=tail goes by order and group={self.group} by group; set cut=random or group=null")
        if self.held_out_value is not None and self.held_out_column is None:
            raise ValueError(f"held_out_value={self.held_out_value} is a value of which column? Set held_out_column")
        return self


def _values(given: object) -> list[object]:
    """The values that a text, a number or a list names."""
    if isinstance(given, str):
        return [part.strip() for part in given.strip().removeprefix("[").removesuffix("]").split(",")]
    return list(given) if isinstance(given, list | tuple) else [given]
