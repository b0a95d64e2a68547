"""From a data configuration to the parts of a data set: found in files, on the hub or made; cut where one is missing.

Every part has the recipe's own column names, all of them text, plus `place`, where each example stands.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkit.data.arrays import array_file, locate
from seqkit.data.config import DataConfig
from seqkit.data.cutting import cut, cut_tail, hold_out
from seqkit.data.files import SPLITS, find_files, roots, where_looked
from seqkit.data.layouts import FolderReader, check_apart, read_folder, suggest_layout
from seqkit.data.readers import has_column, read_table
from seqkit.data.selecting import WHERE, asked_columns, selected
from seqkit.data.templates import is_template, is_there
from seqkit.errors import DataError

if TYPE_CHECKING:
    import datasets

PLACE = "place"
"""Column of every part: where the example stands ("file:line")."""
GROUP = "group"
"""Column of a part whose configuration names a group column: its value."""
_GROUPS_SHOWN = 20
_HELD_OUT = "held_out"
"""Column of parts from which a group is to be held out: `data.held_out_column`, gone once that is done."""


class GroupError(DataError):
    """No group, or one that is not there, was named to be held out; `groups` has the size of each that is there."""

    def __init__(self, message: str, groups: Mapping[str, int]) -> None:
        shown = [f"{name} ({count})" for name, count in list(groups.items())[:_GROUPS_SHOWN]]
        more = f", and {len(groups) - len(shown)} more" if len(groups) > len(shown) else ""
        super().__init__(message, hint=f"Groups there: {', '.join(shown)}{more}.")
        self.groups = dict(groups)


Rows = Mapping[str, Sequence[Mapping[str, str]]]


@dataclass(frozen=True)
class Sources:
    """What a recipe's examples are, besides texts in a manifest."""

    files: frozenset[str] = frozenset()
    """The recipe's columns whose values are paths; relative ones begin at the folder of the manifest."""
    arrays: bool = False
    """Whether they can be names of arrays too, in the .npz file beside the manifest (`seqkit.data.arrays`)."""
    folder: FolderReader | None = None
    """What reads a folder that has no manifest."""


TEXTS = Sources()


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
    files: frozenset[str] = frozenset()
    """The columns whose values are paths of files."""

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
    may_be_empty: Collection[str] = (),
    sources: Sources = TEXTS,
) -> dict[str, Split]:
    """Find the parts "train", "validation" and "test", and cut from train the ones that are missing.

    `columns` maps each of the recipe's columns to its name in the files; `demo` makes the rows of each part, keyed by
    the recipe's columns. An example with nothing in a column is left out, unless `may_be_empty` names the recipe's
    column. The cut is drawn by `seed`, `config.split_seed` if None, and keeps the shares of the values of
    column `stratify` (a label), or keeps the values of `config.group` together; with `config.cut` "tail" nothing is
    drawn. Raises DataError if the data is not found (it names the ways to give it), or is damaged; GroupError if
    `config.held_out_column` is set and `config.held_out_value` is none of its values.
    """
    apart = config.held_out_column
    if apart is not None:
        config = config.model_copy(update={"test": None})  # a test file gives way to the group
        columns = {**columns, _HELD_OUT: apart}
    columns = {**columns, **asked_columns(config)}
    found = _find(config, columns, demo, {*may_be_empty, *asked_columns(config)}, sources)
    splits = {name: selected(part, config) for name, part in found.items()}
    if apart is not None:
        splits = _hold_out(splits, apart, config.held_out_value)
    seed = config.split_seed if seed is None else seed
    fractions = {"validation": config.validation_fraction, "test": config.test_fraction}
    missing = {name: share for name, share in fractions.items() if name not in splits and share > 0}
    if config.cut == "tail":
        splits |= _tail_splits(splits["train"], missing, next(iter(columns)))
    else:
        whole = len(splits["train"])
        for name in reversed(missing):  # test first: what it holds does not hang on whether validation is cut too
            splits["train"], splits[name] = _cut_split(splits["train"], name, missing[name], whole, seed, stratify)
    if config.limit is not None and config.limit < len(splits["train"]):
        splits["train"] = _limited(splits["train"], config.limit, None if config.cut == "tail" else seed)
    return {name: splits[name] for name in SPLITS if name in splits}


def load_file(
    path: str | Path,
    config: DataConfig,
    columns: Mapping[str, str],
    *,
    may_be_empty: Collection[str] = (),
    sources: Sources = TEXTS,
) -> Split:
    """One file as one part, e.g. for `eval --data PATH`; the arguments as in `load_splits`. Raises DataError.

    What `config.where` asks is asked of the columns that the file has.
    """
    path = Path(path).expanduser()
    known = path.is_file() or is_template(path)
    asked = {
        ours: theirs
        for ours, theirs in asked_columns(config).items()
        if known and has_column(path, theirs, config.format)
    }
    part = _from_file(path, config, {**columns, **asked}, {*may_be_empty, *asked}, sources, group=False)
    return selected(part, config)


def find_file(config: DataConfig, key: str) -> Path:
    """A further file that the configuration names under `key`: below `path`, or where `load_splits` looks for others.

    Raises DataError where it is in none of these places.
    """
    given = None if config.path is None else Path(config.path).expanduser()
    places = roots() if given is None else [given if given.is_dir() else given.parent, Path()]
    name: str = getattr(config, key)
    for root in places:
        if is_there(root / name):
            return root / name
    looked = " and ".join(str(root.absolute()) for root in places)
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
        values = split.column(name)
        if name in split.files:
            values = [_file_mark(Path(value)) for value in values]
        for text in (name, *values, ""):
            raw = text.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def _file_mark(path: Path) -> str:
    """A file's name and size, -1 where there is none: cheap, and the same wherever the file lies."""
    file = array_file(path)
    return f"{path.name}:{file.stat().st_size if file.is_file() else -1}"


def make_split(columns: Mapping[str, Sequence[str]], places: Sequence[str], *, origin: str) -> Split:
    """A part from columns of text, e.g. of a corpus that is made; `places` as long as each column."""
    return Split(_dataset({**columns, PLACE: places}), {}, origin)


def _find(
    config: DataConfig,
    columns: Mapping[str, str],
    demo: Callable[[], Rows] | None,
    may_be_empty: Collection[str],
    sources: Sources,
) -> dict[str, Split]:
    """The parts that exist, from the first source that has them."""
    if config.demo and config.path is None:
        if demo is None:
            raise DataError("This recipe has no demo corpus.", hint="Set data.demo=false and give data.path=...")
        found = _from_demo(demo(), config.held_out_column, config.where)
        return {name: replace(part, files=sources.files) for name, part in found.items()}
    try:
        files = find_files(config, folders=sources.folder is not None)
    except DataError as error:
        suggest_layout(error, config, sources.folder)
        raise
    if files is not None:
        return _from_files(files, config, columns, may_be_empty, sources)
    looked = where_looked(config)
    if config.hub is not None:
        from seqkit.data.hub import load_hub

        wanted = SPLITS if config.held_out_column is None else SPLITS[:2]
        hint = f"{looked}{_ways(config)}"
        parts = load_hub(config.hub, columns, config.group, hint=hint, may_be_empty=may_be_empty, parts=wanted)
        return {name: _checked(name, replace(_hub_split(part), files=sources.files)) for name, part in parts.items()}
    if config.train is None:
        raise DataError("No data is named.", hint=_ways(config))
    raise DataError(f"The training file '{config.train}' is not found.", hint=f"{looked}{_ways(config)}")


def _from_files(
    files: Mapping[str, Path],
    config: DataConfig,
    columns: Mapping[str, str],
    may_be_empty: Collection[str],
    sources: Sources,
) -> dict[str, Split]:
    check_apart(files)
    needs_cut = ("validation" not in files and config.validation_fraction > 0) or (
        "test" not in files and (config.test_fraction > 0 or config.held_out_column is not None)
    )
    return {
        name: _from_file(path, config, columns, may_be_empty, sources, group=name == "train" and needs_cut)
        for name, path in files.items()
    }


def _from_file(
    path: Path,
    config: DataConfig,
    columns: Mapping[str, str],
    may_be_empty: Collection[str],
    sources: Sources,
    *,
    group: bool,
) -> Split:
    extra = [config.group] if group and config.group is not None else []
    if path.is_dir():
        # A layout has the recipe's own names, whatever those in the files are.
        names = {
            ours: theirs if ours == _HELD_OUT or ours.startswith(WHERE) else ours for ours, theirs in columns.items()
        }
        table = read_folder(path, sources.folder, [*names.values(), *extra], columns.values())
    elif not is_template(path) and not path.is_file():
        raise DataError(f"{path}: there is no such file.", hint="Check the spelling.")
    else:
        # An empty group is allowed: such an example is a group of its own.
        needed = [theirs for ours, theirs in columns.items() if ours not in may_be_empty]
        optional = [theirs for ours, theirs in columns.items() if ours in may_be_empty] + extra
        table, names = read_table(path, needed, optional=optional, format=config.format), dict(columns)
    values = {ours: table.columns[theirs] for ours, theirs in names.items()}
    for ours in sources.files:
        values[ours] = (
            [locate(path, file) for file in values[ours]]
            if sources.arrays
            else [str(path.absolute().parent / Path(file).expanduser()) for file in values[ours]]
        )
    if extra:
        values[GROUP] = table.columns[extra[0]]
    split = Split(_dataset({**values, PLACE: table.places}), table.left_out, str(path), files=sources.files)
    return _checked(str(path), split)


def _from_demo(rows: Rows, held_out: str | None, asked: Collection[str]) -> dict[str, Split]:
    splits = {}
    for name, part in rows.items():
        if held_out is not None and name == "test":
            continue
        columns = {column: [row[column] for row in part] for column in part[0]}
        if held_out is not None:
            if held_out not in columns:
                hint = f"Columns there: {', '.join(columns)}."
                raise DataError(f"The demo corpus has no column '{held_out}'.", hint=hint)
            columns[_HELD_OUT] = columns[held_out]
        for column in asked:
            if column not in columns:
                hint = f"Columns there: {', '.join(columns)}."
                raise DataError(f"The demo corpus has no column '{column}', which data.where names.", hint=hint)
            columns[WHERE + column] = columns[column]
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


def _hold_out(splits: Mapping[str, Split], column: str, value: str | None) -> dict[str, Split]:
    """The parts with the examples of one group as test part, and without them elsewhere.

    Where the training part has groups of its own that are to stay together (`data.group`), what shares one with a
    held-out example is left out of it.
    """
    train = splits["train"]
    values = [name.strip() for name in train.column(_HELD_OUT)]
    groups = Counter(values)
    if value is None:
        raise GroupError(f"data.held_out_column={column}: which group? Set data.held_out_value.", groups)
    if value.strip() not in groups:
        raise GroupError(f"{train.origin}: no example has the {column} '{value}'.", groups)
    together = train.column(GROUP) if GROUP in train.examples.column_names else None
    kept, taken, shared = hold_out(values, value.strip(), together)
    if not kept:
        raise DataError(
            f"{train.origin}: without the {column} '{value}' no example is left to train on.",
            hint="Hold out another group, or name another column.",
        )
    left_out = dict(train.left_out)
    if shared:
        left_out["a group that is held out in part"] = len(shared)
    parts = {name: _without(part, name, column, value.strip()) for name, part in splits.items() if name != "train"}
    bare = train.examples.remove_columns(_HELD_OUT)
    rest = f"{train.origin} without {column} '{value}'"
    parts["train"] = replace(train, examples=bare.select(kept), left_out=left_out, origin=rest)
    parts["test"] = Split(bare.select(taken), {}, f"{train.origin}, held out: {column} '{value}'")
    return parts


def _without(part: Split, name: str, column: str, value: str) -> Split:
    """A part of its own (a validation file) without the examples of the held-out group."""
    values = part.column(_HELD_OUT)
    kept = [row for row, own in enumerate(values) if own.strip() != value]
    left_out = dict(part.left_out)
    if len(kept) < len(values):
        left_out[f"{column} '{value}', which is held out"] = len(values) - len(kept)
    return _checked(
        f"The {name} part ({part.origin})",
        replace(part, examples=part.examples.remove_columns(_HELD_OUT).select(kept), left_out=left_out),
    )


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


def _tail_splits(train: Split, missing: Mapping[str, float], column: str) -> dict[str, Split]:
    """The training part and, from its end, the parts in `missing` (their shares of its characters, in order)."""
    if not missing:
        return {}
    cuts = cut_tail([len(text) for text in train.column(column)], list(missing.values()))
    if cuts is None:
        hint = f"Give more data, or a file for each part, or set data.{'_fraction=0, data.'.join(missing)}_fraction=0."
        raise DataError(
            f"{train.origin}: {len(train)} examples are too few to cut a {' and a '.join(missing)} part from.",
            hint=hint,
        )
    parts = {"train": replace(train, examples=train.examples.select(range(cuts[0])))}
    for (name, share), start, end in zip(missing.items(), cuts, [*cuts[1:], len(train)], strict=True):
        where = "last" if end == len(train) else "next to last"
        parts[name] = Split(train.examples.select(range(start, end)), {}, f"the {where} {share:.0%} of {train.origin}")
    return parts


def _limited(train: Split, limit: int, seed: int | None) -> Split:
    """So many examples: drawn by the seed, or without one the first."""
    taken = list(range(limit)) if seed is None else cut(len(train), limit, key=(seed, len(SPLITS)))[1]
    origin = f"{limit} of the {len(train)} examples of {train.origin}"
    return replace(train, examples=train.examples.select(taken), origin=origin)


def _dataset(columns: Mapping[str, Sequence[str]]) -> datasets.Dataset:
    import datasets

    features = datasets.Features({name: datasets.Value("string") for name in columns})
    return datasets.Dataset.from_dict({name: list(values) for name, values in columns.items()}, features=features)


def _ways(config: DataConfig) -> str:
    """The ways to give the data, as the end of an error."""
    file = config.train or "train.csv"
    hub = (
        f"let the Hugging Face hub be reached ({config.hub.name})"
        if config.hub
        else "name a data set of the Hugging Face hub, data.hub.name=NAME"
    )
    return f"Give data.path=FOLDER (with {file} in it) or data.path=FILE, or set SEQKIT_DATA=FOLDER, or {hub}."
