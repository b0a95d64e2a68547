"""The action recipe: it learns what moves where, views are averaged, and what cannot be used is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torchvision import models

from seqkit.cli.train import configure
from seqkit.data.items import Broken, Unusable
from seqkit.decoding import load_run
from seqkit.errors import ConfigError, DataError
from seqkit.evaluation import evaluate
from seqkit.frontends.clips import ViewsConfig, views
from seqkit.storage import read_json
from seqkit.training.dry_run import dry_run
from seqkit.training.session import train
from tests import spots

QUIET = Console(quiet=True)


def _recipe(folder: Path, *more: str) -> Any:
    return configure("action", [f"data.path={folder}", *spots.SETTINGS, *more])[2]


def _train(folder: Path, run: Path, *more: str) -> Path:
    source, preset, recipe = configure("action", [f"data.path={folder}", *spots.SETTINGS, *more])
    train(source, recipe, run, preset=preset, overwrite=False, init_from=None, console=QUIET)
    return run


@pytest.fixture(scope="module")
def fitted(action_clips: Path) -> Any:
    """A recipe with its front-end fitted, before training."""
    recipe = _recipe(action_clips, "views.mirror=true")
    recipe.fit(recipe.load_data()["train"])
    return recipe


# Learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pool", "steps"])
def test_it_learns_what_moves_where(action_runs: dict[str, Path], name: str, tmp_path: Path) -> None:
    metrics = read_json(action_runs[name] / "results.json")["validation"]["metrics"]
    assert metrics["accuracy"] == 1.0
    assert {"loss", "recall across", "recall down"} <= metrics.keys()
    assert "top_3" not in metrics  # of two actions both are among the likeliest three
    unseen = {action: str(spots.write_clip(tmp_path / f"{action}.mp4", action, 77)) for action in spots.MOVES}
    answers = load_run(action_runs[name]).decode(list(unseen.values()))
    assert [answer["label"] for answer in answers] == list(unseen)
    assert sum(answers[0]["scores"].values()) == pytest.approx(1.0, abs=1e-5)


def test_an_ensemble_is_the_mean_of_its_members(action_runs: dict[str, Path], tmp_path: Path) -> None:
    path = str(spots.write_clip(tmp_path / "a.mp4", "down", 5))
    run = load_run(action_runs["pool"])
    members = [run.models[0], run.recipe.build_model().eval()]
    item = run.recipe.decoded_item(path, run.recipe.options_type())
    batch = run.recipe.collate([item])
    with torch.no_grad():
        alone = [np.exp(run.recipe.predict([model], batch)[0].log_probs) for model in members]
        together = run.recipe.predict(members, batch)[0].log_probs
    np.testing.assert_allclose(np.exp(together), np.mean(alone, axis=0), rtol=1e-6)


def test_skeletons_are_learnt_too(tmp_path: Path) -> None:
    for part, seeds in {"train": range(12), "dev": range(50, 56)}.items():
        rows = [(f"{action}-{seed}", action, seed) for action in spots.MOVES for seed in seeds]
        arrays: dict[str, Any] = {name: spots.skeleton(action, seed) for name, action, seed in rows}
        np.savez(tmp_path / f"{part}.npz", **arrays)
        table = "\n".join(["name\tdone", *(f"{name}\t{action}" for name, action, _ in rows)])
        (tmp_path / f"{part}.tsv").write_text(table)
    settings = [
        *("input=skeleton", "data.clip=name", "data.label=done", "data.demo=false", "model.lstm.hidden_size=12"),
        *(f"data.train={tmp_path / 'train.tsv'}", f"data.test={tmp_path / 'dev.tsv'}", "data.validation_fraction=0"),
        *("training.epochs=8", "training.learning_rate=0.03", "training.batch_examples=4", "training.choose=last"),
    ]
    source, preset, recipe = configure("action/msr-action3d", [*settings, "data.where={}"])
    run = train(source, recipe, tmp_path / "run", preset=preset, overwrite=False, init_from=None, console=QUIET)
    loaded = load_run(run.path)
    test = loaded.recipe.items(loaded.recipe.load_data()["test"])
    outcome = evaluate(loaded.recipe, loaded.models, test, device=torch.device("cpu"))
    assert outcome.metrics()["accuracy"] == 1.0
    np.save(tmp_path / "new.npy", spots.skeleton("down", 99))
    assert loaded.decode(str(tmp_path / "new.npy"))[0]["label"] == "down"


# Batches -------------------------------------------------------------------------------------------------------------


def test_loss_of_a_batch_is_the_sum_of_its_clips(fitted: Any) -> None:
    items = fitted.items(fitted.load_data()["train"]).values[:5]
    varied = [fitted.augment(item, np.random.default_rng(number)) for number, item in enumerate(items)]
    torch.manual_seed(0)
    model = fitted.build_model().eval()
    together = fitted.loss(model, fitted.collate(varied))
    alone = [fitted.loss(model, fitted.collate([item])) for item in varied]
    assert float(together.sum.detach()) == pytest.approx(sum(float(one.sum.detach()) for one in alone), rel=1e-5)
    assert float(together.count) == 5


def test_an_evaluation_is_the_mean_over_views(fitted: Any) -> None:
    items = fitted.items(fitted.load_data()["train"]).values[:3]
    model = fitted.build_model().eval()
    with torch.no_grad():
        seen = fitted.predict([model], fitted.collate(items))
        for item, found in zip(items, seen, strict=True):
            probs = []
            for frames in (item["frames"], item["frames"][:, :, ::-1]):
                batch = fitted.collate([{**item, "frames": np.ascontiguousarray(frames), "varied": True}])
                probs.append(np.exp(fitted.predict([model], batch)[0].log_probs))
            np.testing.assert_allclose(np.exp(found.log_probs), np.mean(probs, axis=0), rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 7, 30])
@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_views_are_pieces_that_are_spread_over_the_clip(fitted: Any, length: int, windows: int, share: float) -> None:
    frames = np.arange(length * 12).reshape(length, 2, 2, 3)
    config = ViewsConfig(windows=windows, share=share, mirror=True)
    pieces = views(fitted.clips, frames, config)
    assert len(pieces) == 2 * windows
    size = max(1, round(length * share))
    assert {len(piece) for piece in pieces} == {size}
    if windows > 1:
        np.testing.assert_array_equal(pieces[0], frames[:size])
        np.testing.assert_array_equal(pieces[windows - 1], frames[length - size :])
    np.testing.assert_array_equal(pieces[windows], pieces[0][:, :, ::-1])


# Data ----------------------------------------------------------------------------------------------------------------


def test_items_are_cached_and_a_frozen_network_reads_each_picture_once(
    action_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    weights = tmp_path / "own.pth"
    torch.save(models.shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    settings = [
        *("model.encoder.kind=shufflenet_v2_x0_5", f"model.encoder.weights={weights}", "model.encoder.frozen=true"),
        *("video.grey=false", "video.differences=false", "video.normalize=imagenet", "video.size=32,32"),
        *("augment.zoom=0", "training.epochs=1"),
    ]
    monkeypatch.setenv("SEQKIT_CACHE", str(tmp_path / "cache"))
    run = _train(action_clips, tmp_path / "run", *settings)
    weights.unlink()  # the run has what it needs
    loaded = load_run(run)
    items = loaded.recipe.items(loaded.recipe.load_data()["train"])
    assert items.values[0]["frames"].shape == (10, 1024)
    recipe: Any = loaded.recipe
    monkeypatch.setattr(recipe.clips, "read", None)  # from the cache now
    again = loaded.recipe.items(loaded.recipe.load_data()["train"])
    np.testing.assert_array_equal(again.values[0]["frames"], items.values[0]["frames"])
    monkeypatch.undo()
    path = action_clips / "down" / "0.mp4"
    assert load_run(run).decode(str(path))[0]["label"] in spots.MOVES


def test_what_cannot_be_used_is_named(fitted: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video" * 50)
    with pytest.raises(Broken, match=r"bad\.mp4"):
        fitted.prepare({"clip": str(bad), "label": "down"})
    with pytest.raises(Broken, match=r"gone\.mp4 does not exist"):
        fitted.prepare({"clip": str(tmp_path / "gone.mp4"), "label": "down"})
    long = spots.write_clip(tmp_path / "long.mp4", "down", 0, seconds=3.0)
    short = _recipe(tmp_path, "video.max_seconds=2")
    short.labels = fitted.labels
    with pytest.raises(Unusable, match="longer than 2 s"):
        short.prepare({"clip": str(long), "label": "down"})
    with pytest.raises(DataError, match="'up' was not seen in training"):
        fitted.prepare({"clip": str(long), "label": "up", "place": "x.tsv:2"})


def test_the_others_of_a_table_are_used_and_a_damaged_one_with_a_warning(
    fitted: Any, action_clips: Path, tmp_path: Path
) -> None:
    whole = (action_clips / "down" / "1.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    rows = [f"{action_clips / 'down' / '0.mp4'}\tdown", "cut.mp4\tdown", "gone.mp4\tacross"]
    (tmp_path / "table.tsv").write_text("\n".join(["clip\tlabel", *rows]))
    items = fitted.items(fitted.load_file(tmp_path / "table.tsv"))
    assert len(items) == 2
    assert items.broken[0].startswith(f"{tmp_path / 'table.tsv'}:4: ")
    assert items.damaged[0].startswith(f"{tmp_path / 'table.tsv'}:3: ")
    assert "cut.mp4" in items.damaged[0]


def test_folders_that_say_nothing(tmp_path: Path, action_clips: Path) -> None:
    for action in ("Wave", "wave"):
        spots.write_clip(tmp_path / "two" / action / "a.mp4", "down", 0)
    with pytest.raises(DataError, match="differ in case alone"):
        _recipe(tmp_path / "two").load_data()
    (tmp_path / "none" / "wave").mkdir(parents=True)
    with pytest.raises(DataError, match="holds a file to read"):
        _recipe(tmp_path / "none").load_data()
    (action_clips / "empty").mkdir(exist_ok=True)
    recipe = _recipe(action_clips)
    assert any("'empty'" in reason for reason in recipe.load_data()["train"].left_out)
    (action_clips / "empty").rmdir()


def test_settings_of_the_other_input_are_refused() -> None:
    with pytest.raises(ConfigError, match="skeleton has no effect where input=video"):
        configure("action/demo", ["skeleton.smooth=1"])
    with pytest.raises(ConfigError, match="augment has no effect where input=skeleton"):
        configure("action/msr-action3d", ["augment.flip=0.5"])
    with pytest.raises(ConfigError, match=r"model\.encoder has no effect where input=skeleton"):
        configure("action/msr-action3d", ["model.encoder.grid=3,3"])


def test_a_folder_gives_the_files_of_its_kind() -> None:
    videos, skeletons = (configure(f"action/{preset}", [])[2] for preset in ("demo", "msr-action3d"))
    assert ".mp4" in videos.suffixes
    assert ".npy" not in videos.suffixes
    assert skeletons.suffixes == (".npy", ".npz")
    assert (videos.sample, skeletons.sample) == ("clip.mp4", "clip.npy")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["ut-interaction", "msr-action3d"])
@pytest.mark.skipif("SEQKIT_DATA" not in os.environ, reason="SEQKIT_DATA does not name a folder with the data")
def test_presets_on_real_data(preset: str) -> None:
    """One batch through everything."""
    recipe = configure(f"action/{preset}", [])[2]
    assert dry_run(recipe, QUIET).startswith("dry run: one step")
