"""A recipe whose examples are files, for the tests of the cache."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seqkit.config import Config
from seqkit.data.cache import Caching, opened_cache
from seqkit.data.items import Item, Items, Unusable, prepare_all
from seqkit.data.packed import pack

COUNT = 80


class Features(Config):
    """What prepare hangs on."""

    scale: float = 1.0


class SoundsConfig(Config):
    """A recipe's configuration."""

    features: Features = Features()
    training: dict[str, int] = {"epochs": 1}  # noqa: RUF012
    beam: int = 4


class Sounds:
    """As much of a recipe as the cache asks for. It counts how often it prepares."""

    version: ClassVar[int] = 1
    caching: ClassVar[Caching | None] = Caching(config=("features.scale",), files=("audio",))

    def __init__(self, config: SoundsConfig | None = None, mean: float = 0.5, delay: float = 0.0) -> None:
        self.config, self.mean, self.delay, self.calls = config or SoundsConfig(), mean, delay, 0

    def save_frontend(self, folder: Path) -> None:
        (folder / "mean.txt").write_text(str(self.mean))

    def prepare(self, example: Mapping[str, Any]) -> Item:
        self.calls += 1
        time.sleep(self.delay)
        content = np.frombuffer(Path(example["audio"]).read_bytes(), dtype=np.uint8)
        if not content.any():
            raise Unusable("silence")
        values = ((content - self.mean) * self.config.features.scale).astype(np.float32)
        parts = [values[:2].astype(np.float16), np.asfortranarray(values[:6].reshape(2, 3))]
        return {"values": values, "parts": parts, "text": example["text"], "peak": values.max(), "size": len(content)}

    def items(self, examples: Sequence[Mapping[str, Any]]) -> Items:
        with opened_cache(self) as kept:
            return prepare_all(examples, self.prepare, lambda item: len(item["values"]), None, kept)


def write_sounds(folder: Path, count: int = COUNT, length: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    """Examples with a file each; every tenth is silent."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    examples = []
    for number in range(count):
        path = folder / f"{number}.wav"
        content = rng.integers(0, 256, size=length + number % 7).astype(np.uint8)
        path.write_bytes(bytes(len(content)) if number % 10 == 3 else content.tobytes())
        examples.append({"audio": str(path), "text": f"words {seed} {number}", "place": f"{folder}:{number}"})
    return examples


def image(items: Items) -> list[Any]:
    """All of items, so that equal images are equal items: bits, types and strides."""
    values = [pack(item) for item in items.values]
    writable = [item["values"].flags.writeable for item in items.values]
    return [values, writable, items.lengths.tolist(), list(items.places), dict(items.left_out)]


def plainly(recipe: Sounds, examples: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What there is without a cache."""
    return image(prepare_all(examples, recipe.prepare, lambda item: len(item["values"])))


def heard(recipe: Sounds, examples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Prepare with the cache, compare with what there is without, and return the warnings."""
    expected = plainly(recipe, examples)
    recipe.calls = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert image(recipe.items(examples)) == expected
    return [str(warning.message) for warning in caught]
