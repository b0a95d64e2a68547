"""The cache of prepared examples: what a front-end makes of an example is kept between runs, where SEQKIT_CACHE says.

SEQKIT_CACHE       a folder; unset, nothing is kept and nothing is written
SEQKIT_CACHE_SIZE  how large it may grow: 10 GiB, or e.g. 50, 50G, 500M; the least recently used examples go first

An entry's key is a SHA-256 over all that `prepare` can depend on: the recipe's code and version, the library's code for
front-ends and the packages below it, the configuration, the fitted front-end, and the example itself, which is all of
its columns except `place`. A change in any of them is another key; nothing is ever looked up by date or by name.

Of a column that names a file, the file's whole content counts. Its size and date would be quicker, and wrong when a
tool sets dates (cp -p, rsync, tar, git); a digest costs a small part of what decoding the file does, and a data set
that moves to another folder keeps its entries. Augmentation comes after, and is never kept.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import seqkit
from seqkit.config import Config
from seqkit.data.items import Broken, Item, Unusable, attempt
from seqkit.data.packed import pack, unpack
from seqkit.errors import ConfigError, RunError

if TYPE_CHECKING:
    from seqkit.data.store import Store

FOLDER, SIZE = "SEQKIT_CACHE", "SEQKIT_CACHE_SIZE"
DEFAULT_LIMIT = 10 * 2**30

_FORMAT = 1  # of an entry: raised when `pack` changes
_BLOCK = 64  # examples that are looked up at once
_PLACE = "place"
_ROOMS = ("data", "frontends", "media")
# What computes values for a front-end; another version of one of them may give other bits.
_PACKAGES = ("av", "numpy", "sentencepiece", "soundfile", "torch", "torchaudio", "torchvision")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Caching:
    """What a recipe says of its `prepare`, so that items can be kept. They must not depend on where an example lies."""

    config: tuple[str, ...] | None = None
    """The keys of the configuration that `prepare` depends on, e.g. ("features", "data.language"); None for all of it
    but `training`. With fewer keys, fewer changes of other settings prepare everything again."""
    files: tuple[str, ...] = ()
    """The columns that name a file, or hold {"path": ..., "bytes": ...}: the content counts, not the name."""


class Preparing(Protocol):
    """What the cache asks of a recipe."""

    config: Any
    version: ClassVar[int]
    caching: ClassVar[Caching | None]

    def save_frontend(self, folder: Path) -> None:
        """Write what `fit` found into an existing folder."""


@dataclass(frozen=True)
class CacheSettings:
    """What the environment says."""

    folder: Path
    limit: int
    """Bytes."""


def cache_settings() -> CacheSettings | None:
    """Where the cache is and how large it may grow; None where it is off.

    Raises ConfigError where SEQKIT_CACHE names a file, or SEQKIT_CACHE_SIZE is not a size.
    """
    given = os.environ.get(FOLDER)
    if not given:
        return None
    folder = Path(given).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError([f"{FOLDER}={given}: this is a file; name a folder, which is made if there is none."])
    size = os.environ.get(SIZE)
    return CacheSettings(folder, _bytes(size) if size else DEFAULT_LIMIT)


def _bytes(text: str) -> int:
    """Bytes of "20", "20G", "1.5 GiB", "500M"; a bare number is in GiB."""
    found = _SIZE.fullmatch(text.strip())
    size = 0 if found is None else int(float(found[1]) * 1024 ** (" KMGT".index((found[2] or "G").upper())))
    if size < 2**20:
        raise ConfigError(
            [f"{SIZE}={text}: not a size of 1 MiB or more; write e.g. 20G, 500M, or a number of GiB."],
            hint=f"To have no cache, unset {FOLDER}.",
        )
    return size


@contextlib.contextmanager
def opened_cache(recipe: Preparing) -> Iterator[Kept | None]:
    """What is kept of a recipe with a fitted front-end; None where the cache is off, or the recipe is not for it.

    Raises ConfigError where the environment is wrong. Anything else that is in the way is a warning.
    """
    settings = cache_settings()
    if settings is None or recipe.caching is None:
        yield None
        return
    from seqkit.data.store import Store

    try:
        scope = _scope(recipe, recipe.caching)
    except (OSError, RunError) as error:
        warnings.warn(f"{settings.folder}: prepared examples are not kept: {error}", stacklevel=2)
        yield None
        return
    with Store(settings.folder, settings.limit) as store:
        yield Kept(store, scope, recipe.caching.files)


class Kept:
    """The prepared examples of one recipe, configuration and fitted front-end."""

    def __init__(self, store: Store, scope: bytes, files: tuple[str, ...] = ()) -> None:
        """`scope` is a digest of all that `prepare` depends on, besides the example."""
        self.store, self.scope, self.files = store, scope, files

    def prepare(
        self, examples: Iterable[Mapping[str, Any]], prepare: Callable[[Mapping[str, Any]], Item]
    ) -> Iterator[tuple[Mapping[str, Any], Item | Unusable]]:
        """Each example with its item, or with the verdict that it is unusable: from the cache, or prepared and kept."""
        remaining = iter(examples)
        while block := list(itertools.islice(remaining, _BLOCK)):
            keys = [self.key(example) if self.store.usable else None for example in block]
            found = self.store.get([key for key in keys if key is not None])
            for example, key in zip(block, keys, strict=True):
                outcome = None if key is None else _restored(found.get(key))
                if outcome is None:
                    outcome = attempt(prepare, example)
                    # What is broken may be mended, beside the file that the key is made of.
                    if key is not None and not isinstance(outcome, Broken):
                        self.store.put(key, pack(str(outcome) if isinstance(outcome, Unusable) else outcome))
                yield example, outcome

    def key(self, example: Mapping[str, Any]) -> bytes | None:
        """The example's key (32 bytes); None where a file cannot be read, about which `prepare` has its own word."""
        content = {name: value for name, value in sorted(example.items()) if name != _PLACE}
        try:
            content.update({name: _file_content(content[name]) for name in self.files})
        except OSError:
            return None
        return hashlib.sha256(self.scope + pack(content)).digest()


def _restored(packed: bytes | None) -> Item | Unusable | None:
    if packed is None:
        return None
    try:
        value = unpack(packed)
    except ValueError:
        return None  # whole, but not ours: it is prepared again, and replaced
    return Unusable(value) if isinstance(value, str) else value


def _file_content(value: Any) -> Any:
    """What stands for a file in a key: its ending, by which decoders may go, and a digest of its content."""
    path, content = (value.get("path"), value.get("bytes")) if isinstance(value, Mapping) else (value, None)
    if content is not None:
        digest = hashlib.sha256(content)
    elif path is None:
        return None
    else:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    return ("file", Path(path).suffix if path else "", digest.digest())


# What prepare depends on besides the example --------------------------------------------------------------------------


def _scope(recipe: Preparing, caching: Caching) -> bytes:
    """A digest of the code, the configuration and the fitted front-end. Raises OSError, RunError."""
    described = {
        "format": _FORMAT,
        "seqkit": [seqkit.__version__, platform.machine(), *_library()],
        "recipe": [type(recipe).__qualname__, recipe.version, *_code(type(recipe))],
        "config": _chosen(recipe.config, caching.config),
        "frontend": _fitted(recipe),
    }
    return hashlib.sha256(json.dumps(described).encode()).digest()


def _chosen(config: Config, keys: tuple[str, ...] | None) -> dict[str, Any]:
    values = config.model_dump(mode="json")
    if keys is None:
        return {name: value for name, value in values.items() if name != "training"}
    return {key: functools.reduce(lambda value, name: value[name], key.split("."), values) for key in keys}


def _fitted(recipe: Preparing) -> list[tuple[str, str]]:
    """The files of the front-end, by which it would be rebuilt from a run, each with its digest."""
    with tempfile.TemporaryDirectory(prefix="seqkit-") as name:
        folder = Path(name)
        recipe.save_frontend(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [(path.relative_to(folder).as_posix(), _digest(path)) for path in files]


def _code(recipe_class: type) -> list[str]:
    """Digests of the files with the recipe's class and the classes that it builds on. Raises OSError."""
    digests = []
    for part in recipe_class.__mro__:
        if part.__module__.partition(".")[0] in sys.stdlib_module_names:
            continue
        file = getattr(sys.modules.get(part.__module__), "__file__", None)
        if file is None:
            raise OSError(f"the code of {part.__qualname__} is in no file, so it cannot be told when it changes.")
        digests.append(_digest(Path(file)))
    return digests


@functools.cache
def _library() -> tuple[str, ...]:
    """Digests of the code that front-ends are made of, and the versions of the packages that it uses."""
    root = Path(seqkit.__file__).parent
    parts = [_digest(path) for room in _ROOMS for path in sorted((root / room).rglob("*.py"))]
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}")
    return tuple(parts)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
