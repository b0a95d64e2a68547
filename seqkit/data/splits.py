"""From a data configuration to the parts of a data set: found in files, on the hub or made; cut where one is missing.

Every part has the recipe's own column names, all of them text, plus `place`, where each example stands.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkit.data.config import DataConfig
from seqkit.data.cutting import cut
from seqkit.data.readers import read_table
from seqkit.errors import DataError

if TYPE_CHECKING:
    import datasets

SPLITS = ("train", "validation", "test")
PLACE = "place"
"""Column of every part: where the example stands ("file:line")."""
GROUP = "group"
"""Column of a part whose configuration names a group column: its value."""

Rows = Mapping[str, Sequence[Mapping[str, str]]]


@dataclass(frozen=True)
class Split:
    """One part of a data set."""

    examples: datasets.Dataset
    """The recipe's columns, `place`, and `group` where asked for; every value a text."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Why examples were left out -> how many."""
    origin: str = ""
    """Where the part comes from, in words."""
    from_hub: bool = False
    """Whether it comes from the Hugging Face hub, where what lies beside the files is not to be had."""

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The examples, read in blocks, which is far faster than one by one."""
        for block in self.examples.iter(batch_size=1000):
            for values in zip(*block.values(), strict=True):
                yield dict(zip(block, values, strict=True))

    def column(self, name: str) -> list[str]:
        """The values of one column."""
        # One read of the Arrow table: going through rows would take seconds for a hundred thousand of them.
        values: list[str] = self.examples.select_columns([name]).with_format("arrow")[:].column(name).to_pylist()
        return values


def load_splits(
    config: DataConfig,
    columns: Mapping[str, str],
    *,
    demo: Callable[[], Rows] | None = None,
    seed: int | None = None,
    stratify: str | None = None,
) -> dict[str, Split]:
    """Find the parts "train", "validation" and "test", and cut from train the ones that are missing.

    `columns` maps each of the recipe's columns to its name in the files; `demo` makes the rows of each part, keyed by
    the recipe's columns. The cut is drawn by `seed`, `config.split_seed` if None, and keeps the shares of the values of
    column `stratify` (a label), or keeps the values of `config.group` together. Raises DataError if the data is not
    found (it names the ways to give it), or is damaged.
    """
    splits = _find(config, columns, demo)
    seed = config.split_seed if seed is None else seed
    whole = len(splits["train"])
    for name, fraction in (("test", config.test_fraction), ("validation", config.validation_fraction)):
        if name not in splits and fraction > 0:
            splits["train"], splits[name] = _cut_split(splits["train"], name, fraction, whole, seed, stratify)
    if config.limit is not None and config.limit < len(splits["train"]):
        splits["train"] = _limited(splits["train"], config.limit, seed)
    return {name: splits[name] for name in SPLITS if name in splits}


def load_file(path: str | Path, config: DataConfig, columns: Mapping[str, str]) -> Split:
    """One file as one part, e.g. for `eval --data PATH`; `columns` as in `load_splits`. Raises DataError."""
    return _from_file(Path(path).expanduser(), config, columns, group=False)


def find_file(config: DataConfig, key: str) -> Path:
    """A further file that the configuration names under `key`: below `path`, or where `load_splits` looks for others.

    Raises DataError where it is in none of these places.
    """
    given = None if config.path is None else Path(config.path).expanduser()
    roots = _roots() if given is None else [given if given.is_dir() else given.parent, Path()]
    name: str = getattr(config, key)
    for root in roots:
        if (root / name).is_file():
            return root / name
    looked = " and ".join(str(root.absolute()) for root in roots)
    raise DataError(f"data.{key}={name}: there is no such file in {looked}.", hint=f"Or do without: data.{key}=null.")


def relabel(split: Split, column: str, names: Mapping[str, str] | None) -> Split:
    """Rename the values of a column; an example whose value has no name is left out and counted. None changes nothing.

    Raises DataError if no example is left.
    """
    if names is None:
        return split
    values = split.column(column)
    keep = [row for row, value in enumerate(values) if value in names]
    if not keep:
        known = ", ".join(sorted(set(values))[:20])
        raise DataError(
            f"{split.origin}: no value of '{column}' is one of {', '.join(names)}.", hint=f"There: {known}."
        )
    dropped = Counter(f"{column} '{value}'" for value in values if value not in names)
    columns = {name: split.column(name) for name in split.examples.column_names}
    columns[column] = [names.get(value, "") for value in values]
    kept = {name: [cells[row] for row in keep] for name, cells in columns.items()}
    return replace(split, examples=_dataset(kept), left_out={**split.left_out, **dropped})


def fingerprint(split: Split) -> str:
    """SHA-256 (hexadecimal) over the content of the recipe's columns, in order; where a file lies does not matter."""
    digest = hashlib.sha256()
    for name in sorted(set(split.examples.column_names) - {PLACE, GROUP}):
        for text in (name, *split.column(name), ""):
            raw = text.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def make_split(columns: Mapping[str, Sequence[str]], places: Sequence[str], *, origin: str) -> Split:
    """A part from columns of text, e.g. of a corpus that is made; `places` as long as each column."""
    return Split(_dataset({**columns, PLACE: places}), {}, origin)


def _find(config: DataConfig, columns: Mapping[str, str], demo: Callable[[], Rows] | None) -> dict[str, Split]:
    """The parts that exist, from the first source that has them."""
    if config.path is not None:
        return _from_path(Path(config.path).expanduser(), config, columns)
    if config.demo:
        if demo is None:
            raise DataError("This recipe has no demo corpus.", hint="Set data.demo=false and give data.path=...")
        return _from_demo(demo())
    files = _files_at_hand(config)
    if files is not None:
        return _from_files(files, config, columns)
    if config.hub is not None:
        from seqkit.data.hub import load_hub

        looked = _where_looked(config)
        found = load_hub(config.hub, columns, config.group, hint=f"{looked}{_ways(config)}")
        return {name: _checked(name, _hub_split(part)) for name, part in found.items()}
    if config.train is None:
        raise DataError("No data is named.", hint=_ways(config))
    raise DataError(f"The training file '{config.train}' is not found.", hint=f"{_where_looked(config)}{_ways(config)}")


def _from_path(path: Path, config: DataConfig, columns: Mapping[str, str]) -> dict[str, Split]:
    """`data.path`: a folder with the files that the configuration names, or one file, which is the training part."""
    if not path.exists():
        raise DataError(f"data.path={path} does not exist (looked from {Path.cwd()}).", hint="Check the spelling.")
    if path.is_file():
        files = {"train": path} | _named_files(config, [path.parent, Path()], skip="train")
    elif config.train is None:
        hint = "Give the training file itself, data.path=FILE, or name it: data.train=FILE."
        raise DataError(f"data.path={path} is a folder, and the configuration names no training file.", hint=hint)
    else:
        files = _named_files(config, [path])
    return _from_files(files, config, columns)


def _files_at_hand(config: DataConfig) -> dict[str, Path] | None:
    """The named files, from the working directory or SEQKIT_DATA; None if the training file is in neither."""
    if config.train is None:
        return None
    for root in _roots():
        if (root / config.train).is_file():
            return _named_files(config, [root])
    return None


def _roots() -> list[Path]:
    """Where files are looked for that no path is given for. An absolute name stands for itself in any of them."""
    given = os.environ.get("SEQKIT_DATA")
    return [Path()] + ([Path(given).expanduser()] if given else [])


def _named_files(config: DataConfig, roots: Sequence[Path], skip: str = "") -> dict[str, Path]:
    """Each file that the configuration names, in the first root that has it. Raises DataError for one that none has."""
    found = {}
    for name in SPLITS:
        file = getattr(config, name)
        if file is None or name == skip:
            continue
        path = next((root / file for root in roots if (root / file).is_file()), None)
        if path is None:
            looked = " and ".join(str(root.absolute()) for root in roots)
            hint = f"Put it there, or set data.{name}=null to cut that part from the training part."
            if name == "train":
                hint = "Put it there, or give another folder or file as data.path=..."
            raise DataError(f"The {name} file '{file}' is not found in {looked}.", hint=hint)
        found[name] = path
    return found


def _from_files(files: Mapping[str, Path], config: DataConfig, columns: Mapping[str, str]) -> dict[str, Split]:
    needs_cut = ("validation" not in files and config.validation_fraction > 0) or (
        "test" not in files and config.test_fraction > 0
    )
    return {
        name: _from_file(path, config, columns, group=name == "train" and needs_cut) for name, path in files.items()
    }


def _from_file(path: Path, config: DataConfig, columns: Mapping[str, str], *, group: bool) -> Split:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.", hint="Check the spelling.")
    extra = [config.group] if group and config.group is not None else []
    # An empty group is allowed: such an example is a group of its own.
    table = read_table(path, list(columns.values()), optional=extra, format=config.format)
    values = {ours: table.columns[theirs] for ours, theirs in columns.items()}
    if extra:
        values[GROUP] = table.columns[extra[0]]
    split = Split(_dataset({**values, PLACE: table.places}), table.left_out, str(path))
    return _checked(str(path), split)


def _from_demo(rows: Rows) -> dict[str, Split]:
    splits = {}
    for name, part in rows.items():
        columns = {column: [row[column] for row in part] for column in part[0]}
        places = [f"demo:{name}:{number}" for number in range(1, len(part) + 1)]
        splits[name] = make_split(columns, places, origin="the demo corpus, made here")
    return splits


def _hub_split(part: Any) -> Split:
    return Split(_dataset(part.columns), part.left_out, part.origin, from_hub=True)


def _checked(name: str, split: Split) -> Split:
    """The split, unless nothing of it is left. Raises DataError."""
    if len(split) == 0:
        reasons = "; ".join(f"{count} with {reason}" for reason, count in split.left_out.items()) or "it is empty"
        raise DataError(f"{name}: no example can be used ({reasons}).", hint="Check the names of the columns.")
    return split


def _cut_split(
    train: Split, name: str, fraction: float, whole: int, seed: int, stratify: str | None
) -> tuple[Split, Split]:
    """Cut `fraction` of the `whole` examples that train once had from what it has now."""
    grouped = GROUP in train.examples.column_names
    kept, taken = cut(
        len(train),
        max(1, round(fraction * whole)),
        key=(seed, SPLITS.index(name)),
        groups=train.column(GROUP) if grouped else None,
        labels=train.column(stratify) if stratify is not None and not grouped else None,
    )
    if not kept or not taken:
        what = f"{len(set(train.column(GROUP)))} groups" if grouped else f"{len(train)} examples"
        hint = f"Give more data, a data.{name} file, or set data.{name}_fraction=0."
        raise DataError(f"{train.origin}: {what} are too few to cut a {name} part of {fraction:.0%} from.", hint=hint)
    how = f"{fraction:.0%} of {train.origin}" + (", no group in two parts" if grouped else "")
    part = Split(train.examples.select(taken), {}, how)
    return replace(train, examples=train.examples.select(kept)), part


def _limited(train: Split, limit: int, seed: int) -> Split:
    kept, taken = cut(len(train), limit, key=(seed, len(SPLITS)))
    origin = f"{limit} of the {len(kept) + limit} examples of {train.origin}"
    return replace(train, examples=train.examples.select(taken), origin=origin)


def _dataset(columns: Mapping[str, Sequence[str]]) -> datasets.Dataset:
    import datasets

    features = datasets.Features({name: datasets.Value("string") for name in columns})
    return datasets.Dataset.from_dict({name: list(values) for name, values in columns.items()}, features=features)


def _where_looked(config: DataConfig) -> str:
    if config.train is None:
        return ""
    given = os.environ.get("SEQKIT_DATA")
    places = [str(Path.cwd())] + ([f"SEQKIT_DATA={given}"] if given else [])
    return f"Looked for '{config.train}' in {' and '.join(places)}. "


def _ways(config: DataConfig) -> str:
    """The ways to give the data, as the end of an error."""
    file = config.train or "train.csv"
    hub = (
        f"let the Hugging Face hub be reached ({config.hub.name})"
        if config.hub
        else "name a data set of the Hugging Face hub, data.hub.name=NAME"
    )
    return f"Give data.path=FOLDER (with {file} in it) or data.path=FILE, or set SEQKIT_DATA=FOLDER, or {hub}."


def label_counts(split: Split, column: str) -> dict[str, int]:
    """How often each value of a column stands in a part, by value."""
    return dict(sorted(Counter(split.column(column)).items()))
