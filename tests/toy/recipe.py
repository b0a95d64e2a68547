"""A toy recipe for tests: the sign of a sum, by a linear model with dropout; trains in a blink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.config import Config
from seqkit.data.items import Item, Unusable
from seqkit.data.splits import Split, make_split
from seqkit.recipe import Answer, DecodeConfig, Loss, Recipe, RecipeConfig
from seqkit.storage import read_json, write_json


class ToyData(Config):
    """Numbers."""

    examples: int = 60
    """Training examples."""
    poison: int = 0
    """Training examples whose loss is not finite."""
    validation: bool = True
    """Whether there is a validation part."""


class ToyConfig(RecipeConfig):
    """The toy."""

    data: ToyData = ToyData()
    """Numbers."""
    dropout: float = 0.2
    """Dropout on the input."""
    noise: float = 0.1
    """Augmentation."""


class ToyDecode(DecodeConfig):
    """Options."""

    digits: int = 2
    """Digits of the score."""
    loud: bool = False
    """Shout."""


@dataclass(frozen=True)
class Batch:
    """Numbers (B, 4) and signs (B,)."""

    values: Tensor
    signs: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(self.values.to(device), self.signs.to(device))


class Toy(Recipe[ToyConfig]):
    """The sign of a sum."""

    config_type = ToyConfig
    options_type = ToyDecode
    metric = "accuracy"
    key_column = "text"

    def load_data(self) -> dict[str, Split]:
        """Numbers as text."""
        data = self.config.data
        return {
            "train": self._split("train", data.examples, data.poison),
            **({"validation": self._split("validation", 40)} if data.validation else {}),
            "test": self._split("test", 40),
        }

    def _split(self, name: str, count: int, poison: int = 0) -> Split:
        rng = np.random.default_rng(len(name))
        texts = [" ".join(f"{value:.3f}" for value in row) for row in rng.normal(size=(count, 4))]
        texts[:poison] = ["nan 0 0 0"] * poison
        return make_split({"text": texts}, [f"{name}:{i}" for i in range(count)], origin="made")

    def load_file(self, path: Path) -> Split:
        """A line an example."""
        lines = path.read_text().splitlines()
        return make_split({"text": lines}, [f"{path}:{i}" for i in range(1, len(lines) + 1)], origin=str(path))

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Nothing to fit."""

    def save_frontend(self, folder: Path) -> None:
        """A file, so that there is one."""
        write_json(folder / "toy.json", {"size": 4})

    def load_frontend(self, folder: Path) -> None:
        """Read it."""
        assert read_json(folder / "toy.json") == {"size": 4}

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """Four numbers."""
        try:
            values = np.array([float(part) for part in example["text"].split()], dtype=np.float32)
        except ValueError as error:
            raise Unusable("not numbers") from error
        if values.shape != (4,):
            raise Unusable("not four numbers")
        return {"values": values, "sign": float(values.sum() > 0)}

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        """Noise."""
        noise = rng.normal(scale=self.config.noise, size=4).astype(np.float32)
        return {**item, "values": item["values"] + noise}

    def length(self, item: Item) -> int:
        """Always four."""
        return len(item["values"])

    def collate(self, items: Sequence[Item]) -> Batch:
        """Stack."""
        values = torch.from_numpy(np.stack([item["values"] for item in items]))
        return Batch(values, torch.tensor([item["sign"] for item in items]))

    def build_model(self) -> nn.Module:
        """Linear."""
        return nn.Sequential(nn.Dropout(self.config.dropout), nn.Linear(4, 1))

    def loss(self, model: nn.Module, batch: Batch, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """Logistic."""
        total = F.binary_cross_entropy_with_logits(model(batch.values)[:, 0], batch.signs, reduction="sum")
        return Loss(total, torch.tensor(float(len(batch.signs))))

    def predict(self, models: Sequence[nn.Module], batch: Batch, options: DecodeConfig | None = None) -> list[float]:
        """Probabilities."""
        return [float(p) for p in torch.stack([model(batch.values)[:, 0].sigmoid() for model in models]).mean(dim=0)]

    def statistics(self, item: Item, prediction: float) -> np.ndarray:
        """Hits, loss, examples."""
        p = prediction if item["sign"] else 1.0 - prediction
        return np.array([p > 0.5, -np.log(max(p, 1e-9)), 1.0])

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Accuracy and loss."""
        return {"accuracy": float(totals[0] / totals[2]), "loss": float(totals[1] / totals[2])}

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A line of numbers."""
        return {"text": str(source)}

    def answer(self, prediction: float, options: DecodeConfig) -> Answer:
        """The sign."""
        assert isinstance(options, ToyDecode)
        label = "positive" if prediction > 0.5 else "negative"
        text = label.upper() if options.loud else label
        return Answer(text, {"label": label, "score": round(prediction, options.digits)})
