"""seqkit's side of `benchmark_translation.py`: a process that trains or translates as it is asked to.

    python translation_driver.py train SETTINGS     rounds of the training loop's own steps
    python translation_driver.py decode SETTINGS    the test set by beam search, as `seqkit decode` answers a file

SETTINGS is a JSON file that `benchmark_translation.py` writes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

if not __package__:  # started as a file: its folder is on the path, the repository is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from seqkit.cli.train import configure
from seqkit.decoding import load_run
from seqkit.recipe import Recipe
from seqkit.runs.folder import Run
from seqkit.training.checkpoints import Checkpoints, Position
from seqkit.training.loop import Trainer
from seqkit.training.machine import build_accelerator
from seqkit.training.warm_start import initial_model
from tools.translation_protocol import Channel, TrainingRound, keep_freed_memory


class Rounds:
    """Watches a training and times the rounds that are asked for; nothing is trained between them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.answer: dict[str, Any] | None = None
        self.count = 0.0
        self.next()

    def next(self) -> None:
        """Wait for a request."""
        request = self.channel.receive()
        self.round = None if request is None else TrainingRound(**request)

    def step(self, position: Position, values: Mapping[str, float], fraction: float) -> None:
        """A step is done."""
        assert self.round is not None
        tokens = round(position.count - self.count)  # `count` sums up the target tokens of all steps
        self.count = position.count
        self.answer = self.round.step(tokens, values["loss"] * tokens)

    def evaluation(self, position: Position, metrics: Mapping[str, float], improved: bool) -> None:
        """Never comes: `training.evaluate_steps` puts it off for good."""
        raise RuntimeError("the training was evaluated while it was timed")

    def should_stop(self) -> bool:
        """Whether no more rounds are asked for; waits here between two of them."""
        if self.answer is not None:
            self.channel.send(self.answer)
            self.answer = None
            self.next()
        return self.round is None


def described(recipe: Recipe[Any], model: torch.nn.Module, malloc: bool, **more: Any) -> dict[str, Any]:
    """What was loaded, as the first message."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "malloc": "keep" if malloc else "default",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": cast(Any, recipe).frontend.target.vocab_size,
        **more,
    }


def train(settings: dict[str, Any], channel: Channel, malloc: bool) -> None:
    """The training loop on the training part, for as long as is asked for."""
    recipe = configure("translation", settings["overrides"])[2]
    recipe.load_frontend(Path(settings["frontend"]))
    part = recipe.load_data()["train"]
    items = recipe.items(part)
    config = recipe.config.training
    model = initial_model(recipe, None, settings_console())
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", {"recipe": {}, "state": "comparison"}, recipe.config)
        trainer = Trainer(recipe, model, {"train": items}, build_accelerator(config), Checkpoints(run))
        # What an epoch holds: source and target tokens, the signs of an end included.
        source = sum(len(item["source_ids"]) for item in items.values)
        target = sum(len(item["target_ids"]) - 1 for item in items.values)  # the first one is only read
        told = described(recipe, model, malloc, source_tokens=source, target_tokens=target, sentences=len(items))
        channel.send(told)
        rounds = Rounds(channel)
        if rounds.round is not None:
            trainer.train(None, rounds, rounds.should_stop)


def settings_console() -> Any:
    """A console on stderr, which becomes the log of this process."""
    from rich.console import Console

    return Console(stderr=True)


def decode(settings: dict[str, Any], channel: Channel, malloc: bool) -> None:
    """The lines of the source file, as `seqkit decode RUN FILE --beam-size 5` answers them."""
    decoder = load_run(settings["run"], device="cpu")
    config = decoder.recipe.config
    # Decoding takes twice the batch of training, since no gradient is kept: so half of what is asked for.
    training = config.training.model_copy(update={"batch_examples": settings["batch"] // 2, "batch_tokens": 10_000_000})
    decoder.recipe.config = config.model_copy(update={"training": training})
    options = decoder.options({"beam_size": settings["beam"], "length_penalty": settings["length_penalty"]})
    channel.send(described(decoder.recipe, decoder.models[0], malloc))
    while (request := channel.receive()) is not None:
        start = time.perf_counter()
        answers = list(decoder.stream(decoder.inputs([settings["source"]], options), options))
        texts = [decoded.answer.text if decoded.answer is not None else "" for decoded in answers]
        seconds = time.perf_counter() - start
        Path(request["output"]).write_text(json.dumps(texts), encoding="utf-8")
        channel.send({"seconds": seconds, "sentences": len(texts)})


if __name__ == "__main__":
    mode, file, threads, memory = sys.argv[1:]
    torch.set_num_threads(int(threads))
    line = Channel()
    kept = memory == "keep" and keep_freed_memory()
    {"train": train, "decode": decode}[mode](json.loads(Path(file).read_text(encoding="utf-8")), line, kept)
