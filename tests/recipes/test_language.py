"""The language recipe: it can learn, its windows are truncated backpropagation and nothing else, and its keys work."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.cli.train import configure
from seqkit.decoding import load_run
from seqkit.errors import ConfigError, DataError, InterruptedRun
from seqkit.evaluation import evaluate
from seqkit.heads import language
from seqkit.recipe import Recipe
from seqkit.runs.folder import Run
from seqkit.sequences import Sequences
from seqkit.storage import load_tensors, read_json
from seqkit.training import session
from seqkit.training.log import read_log
from seqkit.training.loop import Trainer

QUIET = Console(quiet=True)
LINES = [
    *("the cat sat on the mat", "the dog sat by the cat", "", "a rat ran to the hat", "the rat sat in a hat and ate"),
    *("a dog ran", "the dog ran by the rat and sat", "one cat", "one hat by a mat", "and a cat ate"),
]
SMALL = {
    "data.demo": "false",
    "tokenizer.kind": "word",
    "model.embedding_size": "10",
    "model.embedding_std": "1",
    "model.tied": "false",
    "model.lstm.hidden_size": "12",
    "model.lstm.num_layers": "1",
    "training.batch_examples": "3",
    "training.bptt_steps": "5",
    "training.clip_norm": "0",
    "training.warmup_steps": "0",
}


def _file(folder: Path, lines: list[str] = LINES, name: str = "text.txt") -> dict[str, str]:
    """Settings that train, choose and test on the same lines."""
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return {**SMALL, **{f"data.{part}": str(path) for part in ("train", "validation", "test")}}


def _recipe(settings: dict[str, str]) -> Recipe[Any]:
    return configure("language", [f"{key}={value}" for key, value in settings.items()])[2]


def _fitted(settings: dict[str, str]) -> Recipe[Any]:
    """A recipe with its front-end fitted, before training."""
    recipe = _recipe(settings)
    recipe.fit(recipe.load_data()["train"])
    return recipe


def _items(recipe: Recipe[Any]) -> Any:
    return recipe.items(recipe.load_data()["train"])


def _model(recipe: Recipe[Any], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return recipe.build_model()


def _train(settings: dict[str, str], path: Path) -> Run:
    source, preset, recipe = configure("language", [f"{key}={value}" for key, value in settings.items()])
    return session.train(source, recipe, path, preset=preset, overwrite=False, init_from=None, console=QUIET)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    """Settings for the ten lines."""
    return _file(tmp_path)


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has learned its ten lines by heart."""
    folder = tmp_path_factory.mktemp("language")
    more = {"model.lstm.hidden_size": "32", "training.learning_rate": "0.03", "training.epochs": "60"}
    once = {"training.evaluate_steps": "100000", "training.bptt_steps": "25", "training.batch_examples": "1"}
    return _train({**_file(folder), **more, **once, "training.schedule": "cosine"}, folder / "run")


# Learning ------------------------------------------------------------------------------------------------------------


def test_it_learns_ten_lines_by_heart_and_writes_them(overfitted: Run) -> None:
    result = read_json(overfitted.path / "results.json")["validation"]
    assert result["examples"] == len(LINES)
    assert result["metrics"]["perplexity"] < 1.1
    assert result["metrics"]["loss"] == pytest.approx(math.log(result["metrics"]["perplexity"]))
    assert result["metrics"]["bits"] == pytest.approx(result["metrics"]["loss"] / math.log(2))
    losses = [line["loss"] for line in read_log(overfitted.log) if line["kind"] == "train"]
    assert losses[0] > 2.5
    assert losses[-1] < 0.1
    (answer,) = load_run(overfitted.path).decode(prompt="the cat sat on", temperature=0, length=35)
    assert "\n".join(LINES).startswith(answer["text"])
    assert answer["text"].count("\n") >= 5


def test_it_leaves_the_files_that_it_names(overfitted: Run) -> None:
    names = {path.name for path in overfitted.plots.iterdir()}
    assert names == {"passage-validation.png", "nats-validation.png", "lines-validation.tsv", "curves.png"}
    for picture in overfitted.plots.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    header, *rows = (overfitted.plots / "lines-validation.tsv").read_text().splitlines()
    assert header.split("\t") == ["line", "nats_per_token", "tokens", "text"]
    cells = [row.split("\t") for row in rows]
    assert all(LINES[int(cell[0]) - 1] == cell[3] for cell in cells)
    assert all(len(cell[3].split()) + 1 == int(cell[2]) for cell in cells)
    values = [float(cell[1]) for cell in cells]
    assert values == sorted(values, reverse=True)
    assert {path.name for path in overfitted.frontend.iterdir()} == {"tokenizer.json", "vocabulary.json"}


VARIANTS = {
    "tied": {"model.tied": "true", "model.embedding_size": "12", "model.embedding_std": "0.1"},
    "tied through a projection": {"model.tied": "true"},
    "adaptive": {"model.cutoffs": "[4,9]"},
    "adaptive and tied": {"model.cutoffs": "[6]", "model.tied": "true"},
    "learned initial state": {"model.initial_state": "learned", "model.lstm.num_layers": "2"},
    "penalties": {"model.activation_penalty": "0.1", "model.change_penalty": "0.1", "model.output_dropout": "0.1"},
    "characters": {"tokenizer.kind": "char"},
    "pieces": {"tokenizer.kind": "unigram", "tokenizer.vocab_size": "24"},
    "vanilla cell": {"model.lstm.cell": "rnn"},
    "every dropout": {
        "model.embedding_dropout": "0.05",
        "model.word_dropout": "0.05",
        "model.lstm.locked_dropout": "0.05",
        "model.lstm.weight_dropout": "0.05",
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains(data: dict[str, str], name: str) -> None:
    recipe = _fitted({**data, **VARIANTS[name], "training.bptt_steps": "20"})
    items = recipe.epoch_items(_items(recipe), 0)
    batches = [recipe.collate([items.values[i] for i in indices]) for indices in recipe.batches(items, 0)]
    model = _model(recipe)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(15):
        carry, total, count = None, 0.0, 0
        for batch in batches:
            loss = recipe.loss(model, batch, carry)
            (loss.sum / loss.count).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            carry = {key: value.detach() for key, value in (loss.carry or {}).items()}
            total, count = total + loss.sum.item(), count + int(loss.count)
        losses.append(total / count)
    assert losses[-1] < 0.75 * losses[0]
    text = recipe.decoded_item("the", recipe.options_type())
    with torch.inference_mode():
        (written,) = recipe.predict([model.eval()], recipe.collate([text]), recipe.options_type())
    assert written[0]["text"].startswith("the")


# Truncated backpropagation through time ------------------------------------------------------------------------------


def _plain(model: Any, rows: Tensor, cuts: list[int]) -> Tensor:
    """The summed loss of rows of ids (B, T + 1), by torch.nn.LSTM, its state detached at each cut."""
    lstm = model.lstm.to_torch()
    total, state = torch.zeros(()), None
    for start, end in zip([0, *cuts], [*cuts, rows.shape[1] - 1], strict=True):
        read, targets = rows[:, start:end], rows[:, start + 1 : end + 1]
        output, state = lstm(F.embedding(read, model.embedding.weight).transpose(0, 1), state)
        state = tuple(part.detach() for part in state)
        scores = F.linear(output, model.softmax.weight, model.softmax.bias).transpose(0, 1)
        total = total + F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="sum")
    total.backward()  # type: ignore[no-untyped-call]
    for ours, theirs in zip(model.lstm._all_weights(), [w for group in lstm.all_weights for w in group], strict=True):
        ours.grad = theirs.grad
    return total


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("steps", [None, 1000, 7])
def test_loss_and_gradients_are_those_of_plain_backpropagation(
    data: dict[str, str], rows: int, steps: int | None
) -> None:
    """Over the whole text where a window holds it; else truncated at the windows, the state carried on."""
    settings = {**data, "training.batch_examples": str(rows), "model.lstm.num_layers": "2"}
    recipe = _fitted({**settings, "training.bptt_steps": "null" if steps is None else str(steps)})
    whole = _items(recipe)
    ids = torch.from_numpy(whole.values[0]["ids"]).long()
    even = (len(ids) - 1) // rows * rows  # rows of the same length, so that the plain loop needs no masks
    whole.values[0]["ids"] = whole.values[0]["ids"][: even + 1]
    items = recipe.epoch_items(whole, 0)
    model, carry, total, sizes = _model(recipe), None, 0.0, []
    for indices in recipe.batches(items, 0):
        loss = recipe.loss(model, recipe.collate([items.values[i] for i in indices]), carry)
        loss.sum.backward()  # type: ignore[no-untyped-call]
        assert loss.carry is not None
        carry = {key: value.detach() for key, value in loss.carry.items()}
        total += loss.sum.item()
        sizes.append(int(loss.count) // rows)
    assert len(sizes) == 1 if steps is None or steps == 1000 else len(sizes) > 2
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    track = even // rows
    starts = torch.arange(rows) * track
    plain = _plain(model, ids[starts[:, None] + torch.arange(track + 1)], np.cumsum(sizes)[:-1].tolist())
    assert total == pytest.approx(plain.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_a_learned_initial_state_gets_its_gradient_from_first_windows_alone(data: dict[str, str]) -> None:
    recipe = _fitted({**data, "model.initial_state": "learned"})
    items = recipe.epoch_items(_items(recipe), 0)
    first, second, *_ = [recipe.collate([items.values[i] for i in indices]) for indices in recipe.batches(items, 0)]
    model = _model(recipe)
    loss = recipe.loss(model, first)
    loss.sum.backward()  # type: ignore[no-untyped-call]
    assert model.initial_state.grad.abs().sum() > 0.1
    assert loss.carry is not None
    carry = {key: value.detach() for key, value in loss.carry.items()}
    model.initial_state.grad = None
    recipe.loss(model, second, carry).sum.backward()  # type: ignore[no-untyped-call]
    assert model.initial_state.grad is None
    # And it is what a text is read from, in evaluation and writing too.
    whole = recipe.collate([recipe.prepare({"text": "the cat"})])
    with torch.inference_mode():
        before = recipe.predict([model.eval()], whole)[0]
        model.initial_state.add_(1.0)
        assert np.abs(recipe.predict([model], whole)[0] - before).max() > 1e-3


def test_penalties_are_those_of_a_plain_computation(data: dict[str, str]) -> None:
    """AR: the mean square of the output; TAR: of its change; a mean over features, a sum over steps."""
    weights = {"model.activation_penalty": "0.3", "model.change_penalty": "0.7"}
    plain, penalised = _fitted(data), _fitted({**data, **weights})
    items = [plain.prepare({"text": line}) for line in LINES[:5]]
    model = _model(plain).eval()
    batch = plain.collate(items)
    output = model(batch.read)[0].padded()
    activation = change = 0.0
    for row, item in zip(output, items, strict=True):
        steps = row[: len(item["ids"]) - 1]
        activation += steps.square().mean(1).sum().item()
        change += (steps[1:] - steps[:-1]).square().mean(1).sum().item()
    added = penalised.loss(model, batch).sum - plain.loss(model, batch).sum
    assert added.item() == pytest.approx(0.3 * activation + 0.7 * change, rel=1e-4)
    assert min(activation, change) > 0.05


def test_training_dropout_on_the_output_is_one_mask_for_a_window(data: dict[str, str]) -> None:
    recipe = _fitted({**data, "model.output_dropout": "0.5"})
    model = _model(recipe).train()
    read = Sequences.from_list([torch.arange(6), torch.arange(4)])
    output, dropped, _ = model(read)
    masks = [part.ne(0) for part in dropped.unpack()]
    for mask in masks:
        assert torch.equal(mask, mask[:1].expand_as(mask))
    assert not torch.equal(masks[0][0], masks[1][0])
    kept = dropped.data != 0
    torch.testing.assert_close(dropped.data[kept], 2 * output.data[kept])


# Evaluation and scoring ----------------------------------------------------------------------------------------------


def _read_at_once(recipe: Recipe[Any], monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(language, "READ_STEPS", steps)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_evaluation_in_windows_is_one_pass(data: dict[str, str], monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    recipe = _fitted({**data, "model.initial_state": "learned", "model.lstm.num_layers": "2"})
    model, items = _model(recipe).eval(), _items(recipe)
    nn.init.normal_(model.initial_state)
    ids = torch.from_numpy(items.values[0]["ids"]).long()
    with torch.no_grad():
        output, _, _ = model(Sequences.from_list([ids[:-1]]))
        expected = F.cross_entropy(
            F.linear(output.data, model.softmax.weight, model.softmax.bias), ids[1:], reduction="none"
        )
    _read_at_once(recipe, monkeypatch, steps)
    evaluation = evaluate(recipe, [model], items, device=torch.device("cpu"))
    torch.testing.assert_close(torch.from_numpy(evaluation.outcomes[0].prediction).float(), expected)
    assert evaluation.statistics.shape == (len(LINES), 2)
    assert evaluation.statistics[:, 1].tolist() == [len(line.split()) + 1 for line in LINES]
    assert evaluation.metrics()["loss"] == pytest.approx(expected.mean().item(), rel=1e-5)
    low, high = evaluation.intervals()["perplexity"]
    assert low < evaluation.metrics()["perplexity"] < high


@pytest.mark.parametrize("steps", [3, 2048])
def test_scores_of_ragged_lines_are_those_of_each_line_alone(
    data: dict[str, str], monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    recipe = _fitted(data)
    models = [_model(recipe, seed).eval() for seed in range(2)]
    _read_at_once(recipe, monkeypatch, steps)
    options = recipe.options_type.model_validate({"score": True})
    items = [recipe.decoded_item(line, options) for line in [*LINES, "unheard of"]]
    with torch.inference_mode():
        together = recipe.predict(models, recipe.collate(items), options)
        for item, score in zip(items, together, strict=True):
            probabilities = []
            for model in models:
                ids = torch.from_numpy(item["ids"]).long()
                output, _, _ = model(Sequences.from_list([ids[:-1]]))
                log_probs = F.linear(output.data, model.softmax.weight, model.softmax.bias).log_softmax(1)
                probabilities.append(log_probs.gather(1, ids[1:, None]).exp())
            expected = torch.stack(probabilities).mean(0).log().sum().item()
            assert score.log_prob == pytest.approx(expected, rel=1e-4)
            assert score.tokens == len(item["text"].split()) + 1
            assert score.perplexity == pytest.approx(math.exp(-expected / score.tokens), rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"tokenizer.kind": "char"}, {"model.cutoffs": "[4,9]"}], ids=str)
def test_a_batch_of_prompts_is_written_on_as_each_alone(data: dict[str, str], settings: dict[str, str]) -> None:
    recipe = _fitted({**data, "model.lstm.num_layers": "2", "model.initial_state": "learned", **settings})
    model = _model(recipe).eval()
    options = recipe.options_type.model_validate({"length": 12, "samples": 2, "top_k": 9})
    items = [recipe.decoded_item(text, options) for text in ("the cat sat on", "a", "", "one hat by a mat")]
    with torch.inference_mode():
        together = recipe.predict([model], recipe.collate(items), options)
        alone = [recipe.predict([model], recipe.collate([item]), options)[0] for item in items]
    for one, other in zip(together, alone, strict=True):
        assert [sample["text"] for sample in one] == [sample["text"] for sample in other]
        logs = [[sample["log_prob"] for sample in part] for part in (one, other)]
        assert logs[0] == pytest.approx(logs[1], rel=1e-4)


def test_what_is_written_costs_what_scoring_says(overfitted: Run) -> None:
    """Prompt and answer: the log-probability of the whole line is that of the prompt's words and of what came after."""
    model = load_run(overfitted.path)
    (written,) = model.decode("the dog", seed=3)
    assert "\n" not in written["text"]
    (whole,) = model.decode(written["text"], score=True)
    (longer,) = model.decode("the dog", score=True)
    recipe = model.recipe
    nats = recipe.predict(model.models, recipe.collate([recipe.prepare({"text": "the dog"})]))[0]
    assert -float(nats.sum()) == pytest.approx(longer["log_prob"], rel=1e-5)
    assert written["log_prob"] == pytest.approx(whole["log_prob"] + float(nats[:2].sum()), rel=1e-3, abs=1e-4)


# Resume --------------------------------------------------------------------------------------------------------------


def test_a_run_stopped_at_any_step_of_an_epoch_ends_with_the_same_bits(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The carried state is part of a checkpoint."""
    monkeypatch.setattr(session, "save_curves", lambda *given, **named: tmp_path / "none")
    settings = {**data, "training.bptt_steps": "7", "training.epochs": "2", "model.output_dropout": "0.2"}
    _without_report(monkeypatch)
    whole = _train(settings, tmp_path / "whole")
    steps = whole.info["steps"]
    epoch = sum(line["kind"] == "train" and line["epoch"] == 0 for line in read_log(whole.log))
    assert 3 <= epoch < steps
    step = Trainer._step
    for stop_at in range(1, epoch + 2):

        def stopping(self: Trainer, group: Any, stop_at: int = stop_at) -> None:
            step(self, group)
            if self.position.step == stop_at:
                os.kill(os.getpid(), signal.SIGINT)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", stopping)
            with pytest.raises(InterruptedRun):
                _train(settings, tmp_path / f"cut{stop_at}")
        run, _ = session.resume(tmp_path / f"cut{stop_at}", recipe_folder=None, console=QUIET)
        assert run.log.read_bytes() == whole.log.read_bytes()
        for name, tensor in load_tensors(whole.weights).items():
            assert torch.equal(load_tensors(run.weights)[name], tensor)


def _without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of the time of a tiny training."""
    for name in ("save_passage", "save_nats", "save_surprising_lines"):
        monkeypatch.setattr(f"seqkit.reporting.surprise.{name}", lambda *given, **named: Path("none"))


# Small and bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [["the"], ["a b", "", "c"], ["one two three four five six seven eight nine"]],
    ids=["one word", "short lines", "one line"],
)
def test_a_text_shorter_than_a_window_or_the_number_of_rows_trains(tmp_path: Path, lines: list[str]) -> None:
    settings = _file(tmp_path, lines)
    recipe = _fitted({**settings, "training.batch_examples": "50", "training.bptt_steps": "100"})
    whole = _items(recipe)
    items = recipe.epoch_items(whole, 0)
    batches = recipe.batches(items, 0)
    assert sorted(index for batch in batches for index in batch) == list(range(len(items)))
    assert int(items.lengths.sum()) == int(whole.lengths[0])
    model, carry = _model(recipe), None
    for indices in batches:
        loss = recipe.loss(model, recipe.collate([items.values[i] for i in indices]), carry)
        assert torch.isfinite(loss.sum)
        carry = loss.carry


@pytest.mark.parametrize(
    ("lines", "words"), [([], "holds no examples"), (["", " ", ""], "no text to learn a tokenizer from")]
)
def test_a_text_without_a_word_is_a_clear_error(tmp_path: Path, lines: list[str], words: str) -> None:
    recipe = _recipe(_file(tmp_path, lines))
    with pytest.raises(DataError, match=words):
        recipe.fit(recipe.load_data()["train"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model.lstm.bidirectional": "true"}, "would read the word that is to be predicted"),
        ({"tokenizer.eos": "false"}, "without the end of a line"),
        ({"model.embedding_std": "0"}, "embedding_std"),
        ({"model.output_dropout": "1"}, "output_dropout"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _recipe({**SMALL, **settings})


def test_the_parts_of_one_file_are_its_beginning_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("".join(f"line number {number}\n" for number in range(100)))
    splits = _recipe({"data.path": str(path), "tokenizer.kind": "word"}).load_data()
    parts = [splits[name].column("text") for name in ("train", "validation", "test")]
    assert [line for part in parts for line in part] == path.read_text().splitlines()
    assert [8 <= len(part) <= 12 for part in parts[1:]] == [True, True]
