"""The sentiment recipe: it can learn, it leaves the files it names, and each of its keys does what it says."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from seqkit.cli.train import configure
from seqkit.decoding import load_run
from seqkit.errors import DataError, RunError
from seqkit.evaluation import evaluate
from seqkit.recipe import Recipe
from seqkit.runs.folder import Run
from seqkit.storage import read_json
from seqkit.training.log import read_log
from seqkit.training.session import train

ROWS = [
    *(("good film", "pos"), ("a good good plot", "pos"), ("not bad", "pos"), ("not bad at all , not dull", "pos")),
    *(("bad film", "neg"), ("a dull plot", "neg"), ("not good", "neg"), ("not good at all and dull", "neg")),
    *(("it was good", "pos"), ("it was not dull", "pos"), ("it was dull", "neg"), ("it was not good", "neg")),
]
SMALL = {
    "data.demo": "false",
    "tokenizer.kind": "word",
    "model.embedding_size": "12",
    "model.lstm.hidden_size": "12",
    "model.dropout": "0",
}


def _write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    return path


def _recipe(settings: dict[str, str]) -> Recipe[Any]:
    return configure("sentiment", [f"{key}={value}" for key, value in settings.items()])[2]


def _fitted(settings: dict[str, str]) -> Recipe[Any]:
    """A recipe with its front-end fitted, before training."""
    recipe = _recipe(settings)
    recipe.fit(recipe.load_data()["train"])
    return recipe


def _train(settings: dict[str, str], path: Path) -> Run:
    source, preset, recipe = configure("sentiment", [f"{key}={value}" for key, value in settings.items()])
    console = Console(quiet=True)
    return train(source, recipe, path, preset=preset, overwrite=False, init_from=None, console=console)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    """Settings that train and choose on the same dozen texts."""
    file = str(_write(tmp_path / "all.tsv", ROWS))
    return {**SMALL, "data.train": file, "data.validation": file, "data.test": file}


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has learned its dozen texts by heart."""
    folder = tmp_path_factory.mktemp("sentiment")
    file = str(_write(folder / "all.tsv", ROWS))
    settings = {**SMALL, "data.train": file, "data.validation": file, "data.test": file}
    return _train({**settings, "training.epochs": "60", "training.learning_rate": "0.02"}, folder / "run")


# Learning ------------------------------------------------------------------------------------------------------------


def test_it_learns_a_dozen_texts_by_heart(overfitted: Run) -> None:
    result = read_json(overfitted.path / "results.json")["validation"]
    assert result["metrics"]["accuracy"] == 1.0
    assert result["metrics"]["macro_f1"] == 1.0
    losses = [line["loss"] for line in read_log(overfitted.log) if line["kind"] == "train"]
    assert losses[0] > 0.5
    assert losses[-1] < 0.05
    answers = load_run(overfitted.path).decode([text for text, _ in ROWS])
    assert [answer["label"] for answer in answers] == [label for _, label in ROWS]


def test_it_leaves_the_files_that_it_names(overfitted: Run) -> None:
    names = {path.name for path in overfitted.plots.iterdir()}
    assert names == {"confusion-validation.png", "mistakes-validation.tsv", "curves.png"}
    for picture in overfitted.plots.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert set(json.loads((overfitted.frontend / "labels.json").read_text())) >= {"labels", "weights"}


def test_the_mistakes_stand_with_their_places_the_most_confident_first(overfitted: Run, tmp_path: Path) -> None:
    loaded = load_run(overfitted.path)
    wrong = _write(tmp_path / "wrong.tsv", [("good film", "neg"), ("bad film", "neg"), ("not good", "pos")])
    from seqkit.evaluation import evaluate

    items = loaded.recipe.items(loaded.recipe.load_file(wrong))
    evaluation = evaluate(loaded.recipe, loaded.models, items, device=loaded.device)
    assert evaluation.metrics()["accuracy"] == pytest.approx(1 / 3)
    files = loaded.recipe.report(evaluation.outcomes, tmp_path, "mine")
    assert [file.name for file in files] == ["confusion-mine.png", "mistakes-mine.tsv"]
    header, *lines = (tmp_path / "mistakes-mine.tsv").read_text().splitlines()
    assert header.split("\t") == ["place", "label", "predicted", "p_label", "p_predicted", "text"]
    rows = [line.split("\t") for line in lines]
    assert {row[0] for row in rows} == {f"{wrong}:2", f"{wrong}:4"}
    assert {tuple(row[1:3]) for row in rows} == {("neg", "pos"), ("pos", "neg")}
    assert [float(row[3]) for row in rows] == sorted(float(row[3]) for row in rows)


@pytest.mark.parametrize("damage", ["{", "[]", '{"labels": ["neg", "pos"]}', '{"labels": ["neg"], "weights": [1, 1]}'])
def test_a_damaged_front_end_is_a_clear_error(overfitted: Run, tmp_path: Path, damage: str) -> None:
    import shutil

    run = Path(shutil.copytree(overfitted.path, tmp_path / "run"))
    (run / "frontend" / "labels.json").write_text(damage)
    with pytest.raises(RunError, match="frontend"):
        load_run(run)


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"kind": "word", "vocab_size": "5"},
        {"kind": "char", "vocab_size": "50"},
        {"kind": "unigram", "vocab_size": "24", "sampling_alpha": "0.2"},
        {"kind": "bpe", "vocab_size": "40", "merge_dropout": "0.2"},
    ],
    ids=lambda tokenizer: tokenizer["kind"],
)
def test_each_kind_of_tokenizer_trains_and_is_kept_in_the_run(
    data: dict[str, str], tmp_path: Path, tokenizer: dict[str, str]
) -> None:
    settings = {**data, **{f"tokenizer.{key}": value for key, value in tokenizer.items()}, "training.max_steps": "2"}
    run = _train(settings, tmp_path / "run")
    assert run.info["steps"] == 2
    loaded = load_run(run.path)
    assert loaded.models[0].get_parameter("embedding.weight").shape[0] <= int(tokenizer["vocab_size"])
    fresh = _fitted(settings)
    for text, _ in ROWS:
        assert loaded.recipe.prepare({"text": text})["ids"].tolist() == fresh.prepare({"text": text})["ids"].tolist()
    assert {answer["label"] for answer in loaded.decode(["good", "unseen ☃ text"])} <= {"neg", "pos"}


# The model -----------------------------------------------------------------------------------------------------------


def _scores(recipe: Recipe[Any], texts: list[str]) -> torch.Tensor:
    torch.manual_seed(0)
    model = recipe.build_model().eval()
    with torch.inference_mode():
        batch = recipe.collate([recipe.prepare({"text": text}) for text in texts])
        scores: torch.Tensor = model(batch.ids, batch.owners)
    return scores


@pytest.mark.parametrize("pool", ["max,mean", "last,attention"])
def test_pieces_as_long_as_the_text_read_it_as_a_whole(data: dict[str, str], pool: str) -> None:
    texts = [text for text, _ in ROWS] + [""]
    longest = max(len(text.split()) for text in texts)
    whole = _scores(_fitted({**data, "model.pool": pool}), texts)
    for size in (longest, longest + 1, 1000):
        chopped = _scores(_fitted({**data, "model.pool": pool, "model.chop": str(size)}), texts)
        torch.testing.assert_close(chopped, whole)
    shorter = _scores(_fitted({**data, "model.pool": pool, "model.chop": "2"}), texts)
    short = [row for row, text in enumerate(texts) if len(text.split()) <= 2]
    torch.testing.assert_close(shorter[short], whole[short])
    assert not torch.allclose(shorter, whole)


def test_each_piece_is_read_from_a_zero_state(data: dict[str, str]) -> None:
    """With the maximum over all steps, a text in pieces scores as the maximum over its pieces read alone."""
    recipe = _fitted({**data, "model.pool": "max", "model.chop": "3"})
    torch.manual_seed(0)
    model = recipe.build_model().eval()
    text = "it was not good at all and dull"
    words = text.split()
    pieces = [" ".join(words[start : start + 3]) for start in range(0, len(words), 3)]

    def pooled(texts: list[str]) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        pooling = model.get_submodule("classifier.pooling")
        hook = pooling.register_forward_hook(lambda module, given, output: seen.append(output))
        with torch.inference_mode():
            batch = recipe.collate([recipe.prepare({"text": one}) for one in texts])
            model(batch.ids, batch.owners)
        hook.remove()
        return seen[0]

    torch.testing.assert_close(pooled([text])[0], pooled(pieces).max(dim=0).values)


def test_piece_dropout_leaves_pieces_of_the_text_in_their_order_and_at_least_one(data: dict[str, str]) -> None:
    settings = {**data, "tokenizer.kind": "char", "model.chop": "4", "model.piece_dropout": "0.6"}
    recipe = _fitted(settings)
    item = recipe.prepare({"text": "not good at all and dull"})
    whole = {**item, "ids": np.arange(40)}  # each token tells its place
    shares, offsets = [], set()
    for seed in range(300):
        pieces = recipe.augment(whole, np.random.default_rng(seed))["pieces"]
        kept = np.concatenate(pieces)
        assert (np.diff(kept) > 0).all()
        assert all((np.diff(piece) == 1).all() and 1 <= len(piece) <= 4 for piece in pieces)
        assert all(len(piece) == 4 or piece[0] == 0 or piece[-1] == 39 for piece in pieces)
        shares.append(len(kept) / 40)
        offsets |= {int(piece[0]) % 4 for piece in pieces if piece[0] > 0}
    assert 0.3 < np.mean(shares) < 0.5
    assert np.ptp(shares) > 0.4
    assert offsets == {0, 1, 2, 3}
    short = recipe.augment(recipe.prepare({"text": "dull"}), np.random.default_rng(0))
    assert "pieces" not in short
    batch = recipe.collate([{**whole, "pieces": [np.arange(4), np.arange(8, 9)]}, short])
    assert batch.ids.lengths.tolist() == [4, 1, 4]
    assert batch.owners.tolist() == [0, 0, 1]


# The loss ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("length_power", [0.0, 1.0])
def test_the_loss_weighs_labels_and_lengths_as_computed_by_hand(
    tmp_path: Path, class_power: float, length_power: float
) -> None:
    rows = [*ROWS, *[("one more good film", "pos"), ("good", "pos"), ("good plot", "pos"), ("a film not dull", "pos")]]
    file = str(_write(tmp_path / "all.tsv", rows))
    weighing = {"model.class_weight_power": str(class_power), "model.length_weight_power": str(length_power)}
    recipe = _fitted({**SMALL, "data.train": file, "data.validation": file, "data.test": file, **weighing})
    torch.manual_seed(0)
    model = recipe.build_model().eval()
    chosen = [rows[index] for index in (0, 3, 4, 7, 13)]
    items = [recipe.prepare({"text": text, "label": label, "place": "here"}) for text, label in chosen]
    with torch.inference_mode():
        loss = recipe.loss(model, recipe.collate(items))
        alone = [recipe.predict([model], recipe.collate([item]))[0] for item in items]

    labels = [label for _, label in rows]
    unnormalised = {label: labels.count(label) ** -class_power for label in ("neg", "pos")}
    mean = sum(unnormalised[label] for label in labels) / len(labels)
    total, count = 0.0, 0.0
    for (text, label), log_probs in zip(chosen, alone, strict=True):
        weight = unnormalised[label] / mean * len(text.split()) ** length_power
        total -= weight * log_probs[["neg", "pos"].index(label)]
        count += weight
    assert loss.sum.item() == pytest.approx(total, rel=1e-5)
    assert loss.count.item() == pytest.approx(count, rel=1e-5)


def test_several_models_answer_with_the_mean_of_their_probabilities(data: dict[str, str]) -> None:
    recipe = _fitted(data)
    models = []
    for seed in range(3):
        torch.manual_seed(seed)
        models.append(recipe.build_model().eval())
    batch = recipe.collate([recipe.prepare({"text": text}) for text, _ in ROWS])
    with torch.inference_mode():
        together = np.exp(recipe.predict(models, batch))
        alone = np.stack([np.exp(recipe.predict([model], batch)) for model in models])
    np.testing.assert_allclose(together, alone.mean(axis=0), rtol=1e-9)
    assert np.ptp(alone, axis=0).max() > 1e-3


# The data ------------------------------------------------------------------------------------------------------------


def test_label_names_rename_labels_and_leave_out_and_count_the_others(tmp_path: Path) -> None:
    rows = [("good film", "1"), ("so so", "2"), ("bad film", "0"), ("meh", "2"), ("what", "x"), ("fine", "1")]
    file = str(_write(tmp_path / "all.tsv", rows))
    names = {"data.label_names": '{"0": "bad", "1": "good"}'}
    recipe = _recipe({**SMALL, "data.train": file, "data.validation": file, "data.test": file, **names})
    split = recipe.load_data()["train"]
    assert list(zip(split.column("text"), split.column("label"), strict=True)) == [
        ("good film", "good"),
        ("bad film", "bad"),
        ("fine", "good"),
    ]
    assert split.left_out == {"label '2'": 2, "label 'x'": 1}
    assert split.column("place") == [f"{file}:2", f"{file}:4", f"{file}:7"]
    assert recipe.load_file(Path(file)).column("label") == ["good", "bad", "good"]


def test_phrases_join_training_unless_only_held_out_texts_hold_them(tmp_path: Path) -> None:
    train_file = _write(tmp_path / "train.tsv", [("a good film", "1"), ("a dull plot", "0")])
    held_out = _write(tmp_path / "validation.tsv", [("a good cast", "1"), ("a plot without end", "0")])
    (tmp_path / "phrases.tsv").write_text(
        "phrase\tlabel\n"
        "good film\t4\n"  # of a training text
        "a good\t3\n"  # of both
        "good cast\t4\n"  # of a held-out text alone: would give it away
        "without end\t1\n"  # likewise
        "dull\t0\n"
        "plot\t2\n"  # a label without a name
        "a dull plot\t0\n"  # a training text itself
    )
    recipe = _recipe(
        {
            **SMALL,
            "data.train": str(train_file),
            "data.validation": str(held_out),
            "data.test": str(held_out),
            "data.label_names": '{"0": "neg", "1": "pos"}',
            "data.phrases": str(tmp_path / "phrases.tsv"),
            "data.phrase_label_names": '{"0": "neg", "1": "neg", "3": "pos", "4": "pos"}',
        }
    )
    splits = recipe.load_data()
    assert sorted(zip(splits["train"].column("text"), splits["train"].column("label"), strict=True)) == [
        ("a dull plot", "neg"),
        ("a good", "pos"),
        ("a good film", "pos"),
        ("dull", "neg"),
        ("good film", "pos"),
    ]
    assert splits["validation"].column("text") == ["a good cast", "a plot without end"]
    assert sum(splits["train"].left_out.values()) == 4


def test_folded_labels_are_trained_apart_and_answered_together(tmp_path: Path) -> None:
    fine = [("superb film", "++"), ("good film", "+"), ("a film", "0"), ("bad film", "-"), ("awful film", "--")]
    fold = {"++": "pos", "+": "pos", "-": "neg", "--": "neg"}
    file = _write(tmp_path / "fine.tsv", fine * 4)
    coarse = _write(tmp_path / "coarse.tsv", [("good film", "pos"), ("bad film", "neg")])
    settings = {**SMALL, "data.train": str(file), "data.validation": str(file), "data.test": str(coarse)}
    learning = {"training.epochs": "40", "training.learning_rate": "0.02"}
    run = _train({**settings, **learning, "data.fold": json.dumps(fold)}, tmp_path / "run")
    results = read_json(run.path / "results.json")["validation"]
    assert results["examples"] == 16
    assert results["metrics"]["accuracy"] == 1.0
    assert read_json(run.data)["splits"]["validation"]["left_out"] == {"label '0'": 4}
    loaded = load_run(run.path)
    answers = loaded.decode([text for text, _ in fine])
    assert {frozenset(answer["scores"]) for answer in answers} == {frozenset({"pos", "neg"})}
    assert [answer["label"] for answer in answers if answer["source"] != "a film"] == ["pos", "pos", "neg", "neg"]
    assert len(loaded.recipe.items(loaded.recipe.load_data()["test"])) == 2
    assert len(loaded.recipe.items(loaded.recipe.load_file(coarse))) == 2
    train = loaded.recipe.items(loaded.recipe.load_data()["train"])
    evaluation = evaluate(loaded.recipe, loaded.models, train, device=loaded.device)
    assert (len(train), len(evaluation.outcomes)) == (20, 16)  # the neutral texts have no answer to compare with
    assert evaluation.metrics()["accuracy"] == 1.0


def test_a_label_that_training_never_saw_is_named_with_its_place(data: dict[str, str], tmp_path: Path) -> None:
    recipe = _fitted(data)
    file = _write(tmp_path / "other.tsv", [("fine", "pos"), ("so so", "middling")])
    with pytest.raises(DataError, match=r"other\.tsv:3: the label 'middling' was not seen in training") as caught:
        recipe.items(recipe.load_file(file))
    assert "neg, pos" in str(caught.value)


def test_a_text_without_a_known_token_is_answered_too(overfitted: Run) -> None:
    for answer in load_run(overfitted.path).decode(["☃", "zzz zzz"]):
        assert math.fsum(answer["scores"].values()) == pytest.approx(1.0, abs=2e-6)


# Real data -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["sst2", "sst5", "imdb"])
def test_a_preset_runs_one_batch_of_its_real_data(preset: str) -> None:
    from seqkit.training.dry_run import dry_run

    folder = os.environ.get("SEQKIT_DATA")
    if folder is None:
        pytest.skip("SEQKIT_DATA is not set")
    recipe = configure(f"sentiment/{preset}", [])[2]
    for name in (recipe.config.data.train, recipe.config.data.test):
        if not (Path(folder) / name).is_file():
            pytest.skip(f"SEQKIT_DATA={folder} does not hold {name}")
    assert "loss" in dry_run(recipe, Console(quiet=True))
