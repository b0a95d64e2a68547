"""The translation recipe: it can learn, its loss is what a plain loop says, and its keys work."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn import functional as F

from seqkit.cli.train import configure
from seqkit.data.items import Unusable
from seqkit.decoding import load_run
from seqkit.errors import ConfigError, DataError, InputError, InterruptedRun, RunError
from seqkit.evaluation import evaluate
from seqkit.heads import translations
from seqkit.heads.beam import BeamSearch, beam_search
from seqkit.heads.bleu import COUNTS
from seqkit.recipe import Recipe
from seqkit.runs.folder import Run
from seqkit.storage import load_tensors, read_json
from seqkit.training import session
from seqkit.training.log import read_log
from seqkit.training.loop import Trainer

QUIET = Console(quiet=True)
WORDS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf"}
SMALL = {
    "tokenizer.kind": "word",
    "tokenizer.vocab_size": "null",
    "model.embedding_size": "12",
    "model.encoder.hidden_size": "12",
    "model.decoder.hidden_size": "16",
    "model.attention_size": "12",
    "model.dropout": "0",
    "search.beam_size": "2",
    "training.batch_examples": "8",
    "training.clip_norm": "1",
    "training.warmup_steps": "0",
}


def _pairs(count: int = 24, seed: int = 0) -> list[tuple[str, str]]:
    """Number words, and their German ones backwards."""
    rng = random.Random(seed)
    rows = [[rng.choice(list(WORDS)) for _ in range(rng.randint(1, 5))] for _ in range(count)]
    return [(" ".join(row), " ".join(WORDS[word] for word in reversed(row))) for row in rows]


def _file(folder: Path, pairs: list[tuple[str, str]] | None = None) -> dict[str, str]:
    """Settings that train, choose and test on the same pairs."""
    path = folder / "pairs.tsv"
    rows = _pairs() if pairs is None else pairs
    path.write_text("".join(f"{source}\t{target}\n" for source, target in [("source", "target"), *rows]), "utf-8")
    return {**SMALL, "data.demo": "false", **{f"data.{part}": str(path) for part in ("train", "validation", "test")}}


def _recipe(settings: dict[str, str]) -> Recipe[Any]:
    return configure("translation", [f"{key}={value}" for key, value in settings.items()])[2]


def _fitted(settings: dict[str, str]) -> Any:
    """A recipe with its front-end fitted, before training."""
    recipe = _recipe(settings)
    recipe.fit(recipe.load_data()["train"])
    return recipe


def _model(recipe: Recipe[Any], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return recipe.build_model()


def _train(settings: dict[str, str], path: Path) -> Run:
    source, preset, recipe = configure("translation", [f"{key}={value}" for key, value in settings.items()])
    return session.train(source, recipe, path, preset=preset, overwrite=False, init_from=None, console=QUIET)


def _options(recipe: Recipe[Any], **options: Any) -> Any:
    return recipe.options_type.model_validate(options)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    """Settings for the pairs."""
    return _file(tmp_path)


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has learned its pairs by heart."""
    folder = tmp_path_factory.mktemp("translation")
    more = {"training.learning_rate": "0.02", "training.epochs": "50", "training.schedule": "cosine"}
    return _train({**_file(folder), **more, "training.evaluate_steps": "150"}, folder / "run")


# Learning ------------------------------------------------------------------------------------------------------------


def test_it_learns_pairs_by_heart_and_translates_them(overfitted: Run) -> None:
    result = read_json(overfitted.path / "results.json")["validation"]
    assert result["examples"] == len(_pairs())
    assert list(result["metrics"]) == ["bleu", "chrf", "exact", "perplexity"]
    assert result["metrics"]["bleu"] > 95
    assert result["metrics"]["chrf"] > 95
    assert result["metrics"]["exact"] > 0.95
    assert result["metrics"]["perplexity"] < 1.1
    assert "tok:13a" in result["signatures"]["bleu"]
    assert set(result["signatures"]) == {"bleu", "chrf"}
    assert set(result["interval"]) == set(result["metrics"])
    losses = [line["loss"] for line in read_log(overfitted.log) if line["kind"] == "train"]
    assert losses[0] > 1.5
    assert losses[-1] < 0.1
    answers = load_run(overfitted.path).decode([source for source, _ in _pairs()])
    right = [answer["text"] == target for answer, (_, target) in zip(answers, _pairs(), strict=True)]
    assert np.mean(right) == result["metrics"]["exact"]


def test_an_answer_says_where_the_model_looked(overfitted: Run) -> None:
    pairs = [pair for pair in _pairs() if len(pair[0].split()) == 4]
    for (source, target), answer in zip(
        pairs, load_run(overfitted.path).decode([source for source, _ in pairs]), strict=True
    ):
        alignment = answer["alignment"]
        assert alignment["source"] == [*source.split(), "<eos>"]
        assert alignment["target"] == [*target.split(), "<eos>"]
        assert np.asarray(alignment["weights"]).sum(1) == pytest.approx(np.ones(5), abs=1e-3)


def test_it_leaves_the_files_that_it_names(overfitted: Run) -> None:
    names = {path.name for path in overfitted.plots.iterdir()}
    assert names == {"attention-validation.png", "translations-validation.tsv", "curves.png"}
    for picture in overfitted.plots.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    header, *rows = (overfitted.plots / "translations-validation.tsv").read_text("utf-8").splitlines()
    assert header.split("\t") == ["place", "score", "source", "reference", "translation"]
    cells = [row.split("\t") for row in rows]
    assert sorted((cell[2], cell[3]) for cell in cells) == sorted(_pairs())
    scores = [float(cell[1]) for cell in cells]
    assert scores == sorted(scores)
    assert {path.name for path in overfitted.frontend.iterdir()} == {"tokenizer.json", "vocabulary.json"}


def test_epochs_are_evaluated_greedily_and_the_end_by_the_whole_search(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_pictures(monkeypatch)
    sizes: list[int] = []
    search = beam_search

    def counting(models: Any, read: Any, how: BeamSearch, **named: Any) -> Any:
        sizes.append(how.beam_size)
        return search(models, read, how, **named)

    monkeypatch.setattr(translations, "beam_search", counting)
    run = _train({**data, "training.epochs": "2", "training.batch_examples": "50"}, tmp_path / "run")
    assert sizes == [1, 1, 2]
    epochs = [line for line in read_log(run.log) if line["kind"] == "validation"]
    assert len(epochs) == 2
    assert all({"bleu", "chrf", "exact", "perplexity"} <= set(line) for line in epochs)


@pytest.mark.parametrize(
    ("options", "size", "penalty"),
    [({}, 2, 0.7), ({"beam_size": 4}, 4, 0.7), ({"n_best": 5}, 5, 0.7), ({"length_penalty": 0.0}, 2, 0.0)],
)
def test_decoding_searches_as_it_is_asked_else_as_the_run_says(
    data: dict[str, str], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], size: int, penalty: float
) -> None:
    recipe = _fitted({**data, "search.length_penalty": "0.7"})
    searches: list[BeamSearch] = []
    search = beam_search

    def noting(models: Any, read: Any, how: BeamSearch, **named: Any) -> Any:
        searches.append(how)
        return search(models, read, how, **named)

    monkeypatch.setattr(translations, "beam_search", noting)
    chosen = _options(recipe, **options)
    with torch.inference_mode():
        recipe.predict([_model(recipe).eval()], recipe.collate([recipe.decoded_item("one", chosen)]), chosen)
    assert searches == [BeamSearch(beam_size=size, n_best=options.get("n_best", 1), length_penalty=penalty)]


def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time of a tiny training."""
    monkeypatch.setattr(session, "save_curves", lambda *given, **named: Path("none"))
    monkeypatch.setattr("seqkit.reporting.alignment.save_alignments", lambda *given, **named: Path("none"))


# Loss and statistics -------------------------------------------------------------------------------------------------

VARIANTS = {
    "plain": {},
    "separate, tied to the output": {"joint": "false", "model.tied": "output"},
    "not tied, additive": {"model.tied": "none", "model.attention": "additive"},
    "three layers, residual": {"model.decoder.num_layers": "3", "model.decoder.residual": "true"},
    "attending from the highest": {"model.decoder.num_layers": "2", "model.attending": "highest"},
    "two layers of an encoder": {"model.encoder.num_layers": "2", "model.encoder.residual": "true"},
    "one way": {"model.encoder.bidirectional": "false"},
    "characters": {"tokenizer.kind": "char"},
    "pieces": {"tokenizer.kind": "unigram", "tokenizer.sampling_alpha": "0.2"},
    "smoothed": {"model.label_smoothing": "0.1"},
    "every dropout": {
        "model.embedding_dropout": "0.05",
        "model.word_dropout": "0.05",
        "model.dropout": "0.05",
        "model.encoder.locked_dropout": "0.05",
        "model.decoder.locked_dropout": "0.05",
        "model.decoder.weight_dropout": "0.05",
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_and_translates(data: dict[str, str], name: str) -> None:
    recipe = _fitted({**data, **VARIANTS[name]})
    batch = recipe.collate([recipe.prepare({"source": source, "target": target}) for source, target in _pairs(8)])
    model = _model(recipe)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        loss = recipe.loss(model, batch)
        (loss.sum / loss.count).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.sum.item() / int(loss.count))
    assert losses[-1] < 0.8 * losses[0]
    source = recipe.collate([recipe.decoded_item("one two", _options(recipe))])
    with torch.inference_mode():
        (found,) = recipe.predict([model.eval()], source, _options(recipe))
    assert found.text.strip()
    assert np.isfinite(found.candidates[0].log_prob)


@pytest.mark.parametrize("smoothing", ["0", "0.1"])
def test_loss_and_perplexity_are_cross_entropy_over_target_tokens(data: dict[str, str], smoothing: str) -> None:
    recipe = _fitted({**data, "model.label_smoothing": smoothing})
    pairs = _pairs(5)
    items = [recipe.prepare({"source": source, "target": target}) for source, target in pairs]
    model = _model(recipe).eval()
    smoothed = plain = 0.0
    tokens = sum(len(target.split()) + 1 for _, target in pairs)
    batch = recipe.collate(items)
    with torch.inference_mode():
        for item in items:
            one = recipe.collate([item])
            assert one.read.data.tolist() == item["target_ids"][:-1].tolist()
            features, _ = model(one.source, one.read)
            scores = F.linear(features.data, model.softmax.weight, model.softmax.bias)
            ids = torch.from_numpy(item["target_ids"][1:].astype(np.int64))
            smoothed += F.cross_entropy(scores, ids, reduction="sum", label_smoothing=float(smoothing)).item()
            plain += F.cross_entropy(scores, ids, reduction="sum").item()
        loss = recipe.loss(model, batch)
        totals = np.sum(
            [recipe.statistics(*pair) for pair in zip(items, recipe.predict([model], batch), strict=True)], 0
        )
    assert int(loss.count) == tokens
    assert loss.sum.item() == pytest.approx(smoothed, rel=1e-5)
    assert recipe.metrics(totals)["perplexity"] == pytest.approx(np.exp(plain / tokens), rel=1e-5)
    assert totals[COUNTS:].tolist() == [0.0, 5.0, pytest.approx(plain, rel=1e-5), tokens]


def test_a_score_that_exp_cannot_hold_stays_a_number(data: dict[str, str]) -> None:
    totals = np.concatenate([np.zeros(COUNTS), [0.0, 1.0, 1e6, 2.0]])
    metrics = _recipe(data).metrics(totals)
    assert metrics["perplexity"] == pytest.approx(np.exp(700.0))
    assert metrics["bleu"] == 0.0


# Items ---------------------------------------------------------------------------------------------------------------


def test_a_pair_becomes_ids_between_signs_of_an_end(data: dict[str, str]) -> None:
    recipe = _fitted(data)
    eos = recipe.frontend.target.eos_id
    item = recipe.prepare({"source": "one two", "target": "zwei eins"})
    assert item["source_ids"].tolist() == [*recipe.frontend.source.encode("one two").tolist(), eos]
    assert item["target_ids"].tolist() == [eos, *recipe.frontend.target.encode("zwei eins").tolist(), eos]
    assert recipe.length(item) == 3 + 4
    alone = recipe.prepare({"source": "one two"})
    assert "target_ids" not in alone
    assert recipe.length(alone) == 3
    batch = recipe.collate([item, recipe.prepare({"source": "five", "target": ""})])
    assert batch.source.unpack()[0].tolist() == item["source_ids"].tolist()
    assert [part.tolist() for part in batch.read.unpack()] == [item["target_ids"][:-1].tolist(), [eos]]
    assert [part.tolist() for part in batch.read.replace(batch.targets).unpack()] == [
        item["target_ids"][1:].tolist(),
        [eos],
    ]
    assert recipe.collate([item, alone]).read is None


@pytest.mark.parametrize("joint", ["true", "false"])
def test_subword_sampling_changes_ids_but_not_texts(data: dict[str, str], joint: str) -> None:
    pieces = {"tokenizer.kind": "unigram", "tokenizer.sampling_alpha": "0.1", "joint": joint, "model.tied": "none"}
    recipe = _fitted({**data, **pieces})
    item = recipe.prepare({"source": "one two three four", "target": "vier drei zwei eins"})
    drawn = [recipe.augment(item, np.random.default_rng(seed)) for seed in range(20)]
    again = [recipe.augment(item, np.random.default_rng(seed)) for seed in range(20)]
    for side, frontend in (("source", recipe.frontend.source), ("target", recipe.frontend.target)):
        ids = [tuple(one[f"{side}_ids"].tolist()) for one in drawn]
        assert len(set(ids)) > 3
        assert ids == [tuple(one[f"{side}_ids"].tolist()) for one in again]
        inner = slice(0 if side == "source" else 1, -1)
        assert {frontend.decode(one[inner]) for one in ids} == {item[side]}
        assert all(one[-1] == frontend.eos_id for one in ids)
        assert side == "source" or all(one[0] == frontend.eos_id for one in ids)
    plain = _fitted(data)
    item = plain.prepare({"source": "one two", "target": "zwei eins"})
    assert plain.augment(item, np.random.default_rng(0)) is item


def test_separate_vocabularies_are_learned_from_their_sides_and_inherited(data: dict[str, str], tmp_path: Path) -> None:
    settings = {**data, "joint": "false", "model.tied": "output"}
    recipe = _fitted(settings)
    assert recipe.frontend.source.vocab_size == recipe.frontend.target.vocab_size == 2 + len(WORDS)
    (tmp_path / "frontend").mkdir()
    recipe.save_frontend(tmp_path / "frontend")
    other = _recipe({**settings, "data.train": str(tmp_path / "nowhere.tsv")})
    other.fit(recipe.load_data()["train"], inherit=tmp_path / "frontend")
    for text in ("five one unheard", "fünf"):
        one, two = recipe.prepare({"source": text, "target": text}), other.prepare({"source": text, "target": text})
        assert one["source_ids"].tolist() == two["source_ids"].tolist()
        assert one["target_ids"].tolist() == two["target_ids"].tolist()
    model = _model(recipe)
    assert model.source is not model.target
    assert model.softmax.weight is model.target.weight
    joint = _model(_fitted(data))
    assert joint.source is joint.target
    with pytest.raises(RunError):
        _recipe(data).load_frontend(tmp_path / "frontend")


# Limits --------------------------------------------------------------------------------------------------------------


def test_overlong_pairs_are_left_out_of_training_alone_and_counted(tmp_path: Path) -> None:
    pairs = [*_pairs(6), ("one " * 20, "eins"), ("one two three four five", "x")]
    settings = _file(tmp_path, pairs)
    splits = _recipe({**settings, "data.max_characters": "40", "data.max_ratio": "4"}).load_data()
    assert len(splits["train"]) == 6
    assert splits["train"].left_out == {
        "a side of more than 40 characters": 1,
        "one side more than 4 times as long as the other": 1,
    }
    assert len(splits["validation"]) == len(splits["test"]) == 8
    assert len(_recipe(settings).load_data()["train"]) == 8
    with pytest.raises(DataError, match="every pair has a side of more than 2 characters"):
        _recipe({**settings, "data.max_characters": "2"}).load_data()


def test_a_source_of_more_tokens_than_the_run_takes_is_refused(overfitted: Run) -> None:
    recipe: Any = load_run(overfitted.path).recipe
    most = recipe.config.search.max_tokens
    options = _options(recipe)
    assert len(recipe.decoded_item("one " * (most - 1), options)["source_ids"]) == most
    for source, target in (("one " * most, None), ("one", "eins " * most)):
        with pytest.raises(Unusable, match=rf"{most + 1 + (target is not None)} tokens, and the run takes {most}"):
            recipe.decoded_item(source, options, target)


def test_an_overlong_line_is_a_problem_and_the_others_are_translated(overfitted: Run) -> None:
    model = load_run(overfitted.path)
    options = model.options({})
    lines = ["one two", "one " * 2000, "three"]
    found = list(model.stream(model.inputs(lines, options), options))
    assert [one.problem is None for one in found] == [True, False, True]
    assert "search.max_tokens" in str(found[1].problem)
    assert [found[row].answer.text for row in (0, 2)] == [  # type: ignore[union-attr]
        answer["text"] for answer in model.decode(["one two", "three"])
    ]
    with pytest.raises(InputError, match=r"search\.max_tokens"):
        model.decode(lines)


# Keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data.target": "source"}, "source and target are both 'source'"),
        ({"joint": "false"}, "tied=all needs one vocabulary"),
        ({"tokenizer.eos": "false"}, "leaves a translation without an end"),
        ({"model.decoder.bidirectional": "true"}, "would read the words that are to be written"),
        ({"model.tied": "some"}, "tied"),
        ({"model.label_smoothing": "1"}, "label_smoothing"),
        ({"search.beam_size": "0"}, "beam_size"),
        ({"data.max_ratio": "1"}, "max_ratio"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _recipe({**SMALL, **settings})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"score": True}, "--score and --target FILE go together"),
        ({"target": "file"}, "--score and --target FILE go together"),
        ({"score": True, "target": "file", "beam_size": 2}, "--beam-size does nothing in --score"),
        ({"score": True, "target": "file", "n_best": 2}, "--n-best does nothing in --score"),
        ({"score": True, "target": "file", "sample": True}, "--sample does nothing in --score"),
        ({"score": True, "target": "file", "pictures": "x"}, "--pictures does nothing in --score"),
        ({"sample": True, "beam_size": 2}, "--beam-size does nothing in --sample"),
        ({"sample": True, "length_penalty": 2}, "--length-penalty does nothing in --sample"),
        ({"top_p": 0.5}, "--top-p does nothing in a beam search"),
        ({"seed": 1}, "--seed does nothing in a beam search"),
        ({"beam_size": 2, "n_best": 3}, "n_best=3 needs a beam of as many"),
        ({"beam_size": 0}, "beam_size"),
        ({"n_best": 0}, "n_best"),
        ({"sample": True, "temperature": -1}, "temperature"),
        ({"sample": True, "temperature": 0, "n_best": 2}, "the same translation each time"),
        ({"length_penalty": -1}, "length_penalty"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(overfitted: Run, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_run(overfitted.path).options(options)


def test_a_vocabulary_that_the_texts_cannot_give_is_a_clear_error(data: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size=5000: the training texts give at most \d+ pieces"):
        _fitted({**data, "tokenizer.kind": "unigram", "tokenizer.vocab_size": "5000"})


@pytest.mark.parametrize(("pairs", "words"), [([], "no examples"), ([(" ", "")] * 2, "holds no examples")])
def test_data_without_a_pair_is_a_clear_error(tmp_path: Path, pairs: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        _fitted(_file(tmp_path, pairs))


def test_one_pair_is_enough_to_evaluate(tmp_path: Path) -> None:
    recipe = _fitted(_file(tmp_path, [("one", "eins")]))
    items = recipe.items(recipe.load_data()["train"])
    evaluation = evaluate(recipe, [_model(recipe)], items, device=torch.device("cpu"), options=recipe.quick_options())
    assert evaluation.metrics()["perplexity"] > 1
    assert 0 <= evaluation.metrics()["chrf"] <= 100


# Resume --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [2, 4])
def test_a_run_stopped_at_any_step_ends_with_the_same_bits(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Segmentations and dropout go on where they were."""
    _without_pictures(monkeypatch)
    noise = {"tokenizer.kind": "unigram", "tokenizer.sampling_alpha": "0.2", "model.dropout": "0.2"}
    settings = {**data, **noise, "model.word_dropout": "0.1", "training.epochs": "2"}
    whole = _train(settings, tmp_path / "whole")
    assert whole.info["steps"] == 6
    step = Trainer._step

    def stopping(self: Trainer, group: Any) -> None:
        step(self, group)
        if self.position.step == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises(InterruptedRun):
            _train(settings, tmp_path / "cut")
    run, _ = session.resume(tmp_path / "cut", recipe_folder=None, console=QUIET)
    assert run.log.read_bytes() == whole.log.read_bytes()
    for name, tensor in load_tensors(whole.weights).items():
        assert torch.equal(load_tensors(run.weights)[name], tensor)
