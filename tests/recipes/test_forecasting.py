"""Forecasting: from a CSV file to a CSV file and a picture; what is wrong is told, and what can be forecast is."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from seqkit.cli.train import configure
from seqkit.decoding import Decoder, load_run
from seqkit.errors import ConfigError, DataError, InputError
from seqkit.evaluation import Evaluation, evaluate
from seqkit.training.dry_run import dry_run
from seqkit.training.session import train

QUIET = Console(quiet=True)
SMALL = ("model.lstm.hidden_size=16", "model.segment=7", "training.epochs=2", "data.epoch_windows=640")
OWN = ("data.time=date", "data.target=sales", "data.series=store", "data.horizon=7")


def write_sales(path: Path, stores: dict[str, int], *, seed: int = 0) -> Path:
    """Sales by the day of stores of very different size, with a week that repeats; so many rows of each."""
    rng = np.random.default_rng(seed)
    lines = ["date,store,sales"]
    for number, (store, days) in enumerate(stores.items()):
        for day in range(days):
            value = 10.0**number * (10.0 + 5.0 * np.sin(2.0 * np.pi * day / 7) + 0.5 * rng.standard_normal())
            lines.append(f"{np.datetime64('2023-01-01') + day},{store},{value:.3f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sales(tmp_path_factory.mktemp("sales") / "sales.csv", {"a": 200, "b": 150})


def _train(run: Path, *settings: str) -> Path:
    source, preset, recipe = configure("forecasting", [*SMALL, *settings])
    train(source, recipe, run, preset=preset, overwrite=False, init_from=None, console=QUIET)
    return run


@pytest.fixture(scope="module")
def run(sales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return _train(folder, f"data.path={sales}", *OWN, "windows.scaling=series", "data.epoch_windows=6400")


def _evaluated(decoder: Decoder) -> Evaluation:
    items = decoder.recipe.items(decoder.recipe.load_data()["test"])
    return evaluate(decoder.recipe, decoder.models, items, device=decoder.device)


def _answer(decoder: Decoder, path: Path, **options: Any) -> tuple[list[dict[str, str]], str | None]:
    chosen = decoder.options(options)
    (found,) = decoder.stream(decoder.inputs([str(path)], chosen), chosen)
    return list(csv.DictReader(found.answer.text.splitlines())) if found.answer else [], found.problem


def test_it_learns_the_week_and_says_what_naive_would(run: Path) -> None:
    metrics = _evaluated(load_run(run)).metrics()
    assert metrics["mae"] < 0.5 * metrics["naive_mae"]
    assert metrics["mase"] < 1.5
    assert metrics["mase"] / metrics["mae"] == pytest.approx(metrics["naive_mase"] / metrics["naive_mae"], rel=0.05)
    assert 0.0 < metrics["coverage_80"] <= 1.0
    assert {"seasonal_naive_mse", "seasonal_naive_smape", "crps"} <= metrics.keys()


def test_a_file_is_answered_with_times_and_bands(run: Path, sales: Path) -> None:
    rows, problem = _answer(load_run(run), sales, levels="0.1,0.5,0.9")
    assert problem is None
    assert list(rows[0]) == ["time", "series", "column", "mean", "q0.1", "q0.5", "q0.9"]
    assert [row["series"] for row in rows] == ["a"] * 7 + ["b"] * 7
    assert [row["time"] for row in rows[:2]] == ["2023-07-20", "2023-07-21"]  # 200 days from the first of January
    assert all(float(row["q0.1"]) < float(row["q0.5"]) < float(row["q0.9"]) for row in rows)
    assert all(3.0 < float(row["mean"]) < 17.0 for row in rows[:7])
    assert all(30.0 < float(row["mean"]) < 170.0 for row in rows[7:])


def test_pictures_are_new_files(run: Path, sales: Path, tmp_path: Path) -> None:
    decoder = load_run(run)
    for _ in range(2):
        _answer(decoder, sales, pictures=str(tmp_path / "p"))
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["a-2.png", "a.png", "b-2.png", "b.png"]


def test_an_evaluation_draws_its_report(run: Path, tmp_path: Path) -> None:
    decoder = load_run(run)
    files = decoder.recipe.report(_evaluated(decoder).outcomes, tmp_path, "test")
    assert [path.name for path in files] == [*(f"forecast-test-{n}.png" for n in (1, 2, 3, 4)), "backtest-test.png"]
    assert all(path.is_file() for path in files)


def test_what_can_be_forecast_is(run: Path, tmp_path: Path) -> None:
    mixed = write_sales(tmp_path / "mixed.csv", {"a": 100, "short": 5, "new": 100})
    rows, problem = _answer(load_run(run), mixed)
    assert [row["series"] for row in rows] == ["a"] * 7 + ["new"] * 7
    assert problem is not None
    assert "series 'short' has 5 rows, and the run reads 21" in problem


def test_a_series_with_a_gap_is_named_and_the_others_are_forecast(run: Path, tmp_path: Path) -> None:
    path = write_sales(tmp_path / "gap.csv", {"a": 100, "b": 100})
    lines = path.read_text().splitlines()
    del lines[50]
    path.write_text("\n".join(lines) + "\n")
    rows, problem = _answer(load_run(run), path)
    assert {row["series"] for row in rows} == {"b"}
    assert problem is not None
    assert f"{path}:51" in problem


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("sales", "turnover", 1), "no column 'sales'"),
        (lambda text: text.replace("2023-01-05,a,", "2023-01-05,a,lots", 1), ":6"),
        (lambda text: "\n".join([*text.splitlines()[:5], "2023-01-05,a,inf", *text.splitlines()[6:]]), ":6"),
        (lambda text: text.splitlines()[0] + "\n", "no rows"),
        (lambda text: "\n".join(text.splitlines()[:2]) + "\n", "row"),
        (lambda text: "", "empty"),
    ],
)
def test_a_file_at_fault(run: Path, sales: Path, tmp_path: Path, change: Any, told: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(change(sales.read_text()))
    rows, problem = _answer(load_run(run), path)
    assert rows == []
    assert problem is not None
    assert told in problem
    assert str(path) in problem


def test_mistakes_of_a_configuration(sales: Path) -> None:
    with pytest.raises(ConfigError, match="read windows from their end"):
        configure("forecasting", ["model.lstm.bidirectional=true"])
    with pytest.raises(ConfigError, match="quantile levels"):
        configure("forecasting", ["model.levels=0.1,0.9"])
    with pytest.raises(DataError, match="no column 'dat'"):
        configure("forecasting", [f"data.path={sales}", "data.time=dat"])[2].load_data()
    with pytest.raises(DataError, match="rows do not reach"):
        configure("forecasting", [f"data.path={sales}", *OWN[:-1], "data.horizon=150"])[2].load_data()
    with pytest.raises(DataError, match="No series were named"):
        configure("forecasting", ["data.demo=false"])[2].load_data()
    settings = [f"data.path={sales}", "data.target=sales", "data.series=store", "windows.calendar=true"]
    recipe = configure("forecasting", settings)[2]
    train_part = recipe.load_data()["train"]
    with pytest.raises(InputError, match=r"data\.time=COLUMN"):
        recipe.fit(train_part)


def test_options_that_cannot_be(run: Path, sales: Path) -> None:
    with pytest.raises(ConfigError, match="levels increase"):
        load_run(run).decode(str(sales), levels="0.9,0.1")


@pytest.mark.parametrize(
    "settings",
    [
        ("model.decoder=autoregressive", "model.output=gaussian", "windows.calendar=true", "data.missing=mask"),
        ("model.channels=joint", "model.output=student_t", "model.normalization=revin"),
        ("model.output=point", "model.linear=true", "data.owa=true", "data.season=7"),
    ],
)
def test_other_networks_train_and_answer(sales: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    holed = tmp_path / "holed.csv"
    lines = sales.read_text().splitlines()
    lines[30] = lines[30].rpartition(",")[0] + ","  # a value that is missing
    lines = lines if "data.owa=true" not in settings else sales.read_text().splitlines()
    holed.write_text("\n".join(lines) + "\n")
    recipe = configure("forecasting", [*SMALL, f"data.path={holed}", *OWN, *settings])[2]
    parts = recipe.load_data()
    recipe.fit(parts["train"])
    told = " ".join(recipe.items(parts["train"]).damaged)
    assert ("1 values are missing in 1 of 2 series" in told) is ("data.owa=true" not in settings)
    assert ("shown to the network" in told) is ("data.missing=mask" in settings)
    run = _train(tmp_path / "run", f"data.path={holed}", *OWN, "training.epochs=1", "data.epoch_windows=64", *settings)
    decoder = load_run(run)
    metrics = _evaluated(decoder).metrics()
    assert np.isfinite(list(metrics.values())).all()
    assert ("owa" in metrics) is ("data.owa=true" in settings)
    rows, problem = _answer(decoder, holed)
    assert problem is None
    assert len(rows) == 14
    assert ("q0.5" in rows[0]) is ("model.output=point" not in settings)


def test_rows_that_are_series_with_a_test_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    series = {
        f"H{n}": 10.0 * n + np.sin(np.arange(60 + 10 * n)) + 0.1 * rng.standard_normal(60 + 10 * n) for n in (1, 2)
    }
    for name, part in (("train", slice(None, -5)), ("test", slice(-5, None))):
        width = max(len(values[part]) for values in series.values())
        cells = [[key, *(f"{value:.4f}" for value in values[part])] for key, values in series.items()]
        lines = [[f"V{n}" for n in range(1, width + 2)], *([*row, *[""] * (width + 1 - len(row))] for row in cells)]
        (tmp_path / f"{name}.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    settings = ["data.layout=rows", "data.train=train.csv", "data.test=test.csv", "data.horizon=5", "data.owa=true"]
    run = _train(tmp_path / "run", f"data.path={tmp_path}", *settings, "data.season=6", "training.epochs=1")
    decoder = load_run(run)
    found = _evaluated(decoder)
    assert len(found.statistics) == 2  # one window of each: what the test file holds
    np.testing.assert_allclose(found.outcomes[0].item["actual"][:, 0], series["H1"][-5:], atol=1e-4)
    rows, problem = _answer(decoder, tmp_path / "train.csv")
    assert problem is None
    assert [row["time"] for row in rows[:2]] == ["66", "67"]


def test_demo_data() -> None:
    recipe = configure("forecasting", [])[2]
    splits = recipe.load_data()
    assert {name: len(split) for name, split in splits.items()} == {"train": 8, "validation": 8, "test": 8}
    again = configure("forecasting", [])[2].load_data()
    assert again["test"].column("digest") == splits["test"].column("digest")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["etth1", "m4-hourly"])
@pytest.mark.skipif("SEQKIT_DATA" not in os.environ, reason="SEQKIT_DATA does not name a folder with the data")
def test_presets_on_real_data(preset: str) -> None:
    """One batch through everything."""
    recipe = configure(f"forecasting/{preset}", [])[2]
    assert dry_run(recipe, QUIET).startswith("dry run: one step")
