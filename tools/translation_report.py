"""What `benchmark_translation.py` found: rates of each side, round by round, as tables and as a JSON object."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tools.benchmark_report import table
from tools.translation_setup import Products

OURS = "seqkit"


@dataclass(frozen=True)
class Training:
    """A side's training.

    Attributes:
        rates: target tokens a second, of each round.
        loss: nats a target token, the mean over the last round.
        parameters: of the network; a weight that is shared counts once.
        products: what it multiplies for a target token.
        told: what the process said when it was ready.
    """

    rates: list[float]
    loss: float
    parameters: int
    products: Products
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Decoding:
    """A side's translation of the test set.

    Attributes:
        seconds: of each round.
        sentences: translated in each.
        tokens: mean length of a translation, in pieces, as the tokenizer cuts its text.
        reference: the same of the references.
        bleu: sacrebleu's, cased, 13a tokens.
        parameters: of the network.
    """

    seconds: list[float]
    sentences: int
    tokens: float
    reference: float
    bleu: float
    parameters: int

    @property
    def best(self) -> float:
        """Sentences a second, in the fastest round."""
        return self.sentences / min(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as `other` seqkit is: by the medians (or the best), and in the rounds taken in pairs."""

    other: str
    ratio: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        """A sentence."""
        return (
            f"seqkit is {self.ratio:.2f} times as fast as {self.other}, the faster one of JoeyNMT's "
            f"(round by round {self.lowest:.2f} to {self.highest:.2f})."
        )


def training_ratio(found: Mapping[str, Training]) -> Ratio:
    """Against the faster one of the others, by the median rate."""
    medians = {name: statistics.median(side.rates) for name, side in found.items()}
    other = max((name for name in found if name != OURS), key=lambda name: medians[name])
    pairs = [ours / theirs for ours, theirs in zip(found[OURS].rates, found[other].rates, strict=True)]
    return Ratio(other, medians[OURS] / medians[other], min(pairs), max(pairs))


def decoding_ratio(found: Mapping[str, Decoding]) -> Ratio:
    """Against the faster one of the others, by the best round."""
    other = max((name for name in found if name != OURS), key=lambda name: found[name].best)
    pairs = [theirs / ours for ours, theirs in zip(found[OURS].seconds, found[other].seconds, strict=True)]
    return Ratio(other, found[OURS].best / found[other].best, min(pairs), max(pairs))


def unlike(found: Mapping[str, Decoding]) -> str | None:
    """A warning where the sides' translations differ by more than a tenth in mean length, and so in work."""
    means = {name: side.tokens for name, side in found.items()}
    if max(means.values()) <= 1.1 * min(means.values()):
        return None
    each = ", ".join(f"{mean:.1f} ({name})" for name, mean in means.items())
    return f"The translations are not of like length, {each} tokens, so this compares different work: train longer."


def training_table(found: Mapping[str, Training]) -> str:
    """A line for each side."""
    header = ["training", "tokens/s", "lowest", "highest", "loss", "parameters", "MMAC/token", "of it softmax"]
    rows = [
        [
            name,
            f"{statistics.median(side.rates):.0f}",
            f"{min(side.rates):.0f}",
            f"{max(side.rates):.0f}",
            f"{side.loss:.2f}",
            f"{side.parameters / 1e6:.2f} M",
            f"{side.products.total:.2f}",
            f"{side.products.softmax:.2f}",
        ]
        for name, side in found.items()
    ]
    return table(header, rows, left=1)


def decoding_table(found: Mapping[str, Decoding]) -> str:
    """A line for each side."""
    header = ["decoding", "sentences/s", "slowest", "tokens a sentence", "of the reference", "BLEU", "parameters"]
    rows = [
        [
            name,
            f"{side.best:.1f}",
            f"{side.sentences / max(side.seconds):.1f}",
            f"{side.tokens:.2f}",
            f"{side.reference:.2f}",
            f"{side.bleu:.2f}",
            f"{side.parameters / 1e6:.2f} M",
        ]
        for name, side in found.items()
    ]
    return table(header, rows, left=1)


def headline(settings: Mapping[str, Any]) -> str:
    """The machine and the settings in one line."""
    parts = [
        settings["cpu"],
        f"{settings['threads']} thread{'s' * (settings['threads'] > 1)} on {settings['cores']} cores",
        f"load average {settings['load']:.2f} before",
        f"malloc {settings['malloc']}",
        f"GOMP_SPINCOUNT {settings['spin']}",
        "float32",
    ]
    return ", ".join(parts)


def versions(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The torch of each side, or the one torch of all."""
    of_each = {name: told["torch"] for name, told in found.items()}
    if len(set(of_each.values())) == 1:
        return f"torch {next(iter(of_each.values()))} on all sides"
    return "torch " + ", ".join(f"{version} ({name})" for name, version in of_each.items())


def as_json(
    settings: Mapping[str, Any], training: Mapping[str, Training], decoding: Mapping[str, Decoding]
) -> dict[str, Any]:
    """All that was measured, every round too."""
    found: dict[str, Any] = {"machine_and_settings": dict(settings)}
    if training:
        found["training"] = {name: asdict(side) for name, side in training.items()}
        found["training_ratio"] = asdict(training_ratio(training))
    if decoding:
        found["decoding"] = {
            name: {**asdict(side), "sentences_per_second": side.best} for name, side in decoding.items()
        }
        found["decoding_ratio"] = asdict(decoding_ratio(decoding))
    return found
