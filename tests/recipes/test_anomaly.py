"""The anomaly recipe: it learns normal rows, finds what is not, reads a user's files, and follows a stream."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from seqkit.cli.train import configure
from seqkit.decoding import Decoder, load_run
from seqkit.errors import ConfigError, DataError, InputError
from seqkit.recipe import Answer
from seqkit.storage import read_json
from seqkit.training.dry_run import dry_run
from seqkit.training.session import train

QUIET = Console(quiet=True)
SMALL = ("window=20", "stride=5", "model.lstm.hidden_size=16", "training.epochs=12", "training.learning_rate=0.02")
BROKEN = slice(420, 440)
"""Rows of `write_sensors` in which the second sensor is stuck."""


def write_sensors(
    path: Path, *, rows: int = 500, seed: int = 0, broken: bool = True, separator: str = ",", label: bool = False
) -> Path:
    """Two sensors that turn together, by the minute; one of them is stuck for 20 rows."""
    rng = np.random.default_rng(seed)
    turns = np.arange(rows) / 4.0 + seed
    values = np.stack([10 + np.sin(turns), 5 * np.cos(turns)], axis=1) + 0.02 * rng.standard_normal((rows, 2))
    labels = np.zeros(rows, dtype=np.int64)
    if broken:
        values[BROKEN, 1] = values[BROKEN.start, 1]
        labels[BROKEN] = 1
    times = np.datetime64("2024-03-01T00:00:00") + np.arange(rows) * np.timedelta64(60, "s")
    lines = [separator.join(["when", "speed", "heat", *(["fault"] if label else [])])]
    for time, row, fault in zip(times, values, labels, strict=True):
        cells = [str(time).replace("T", " "), f"{row[0]:.5f}", f"{row[1]:.5f}", *([str(fault)] if label else [])]
        lines.append(separator.join(cells))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _train(run: Path, *settings: str) -> Path:
    source, preset, recipe = configure("anomaly", [*SMALL, *settings])
    train(source, recipe, run, preset=preset, overwrite=False, init_from=None, console=QUIET)
    return run


def _measured(run: Path, split: str = "test") -> dict[str, float]:
    from seqkit.evaluation import evaluate

    loaded = load_run(run)
    items = loaded.recipe.items(loaded.recipe.load_data()[split])
    return evaluate(loaded.recipe, loaded.models, items, device=loaded.device).metrics()


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of files with the same names, semicolons between cells, and labels."""
    folder = tmp_path_factory.mktemp("plants")
    for seed, name in enumerate(["east/1.csv", "east/2.csv", "west/1.csv"]):
        write_sensors(folder / name, seed=seed, separator=";", label=True)
    write_sensors(folder / "normal.csv", seed=7, broken=False, separator=";")
    return folder


OWN = ("data.time=when", "data.target=speed,heat", "data.normal_fraction=0.6")


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the user's own."""
    return write_sensors(tmp_path_factory.mktemp("own") / "sensors.csv")


@pytest.fixture(scope="module")
def run(one_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of it."""
    return _train(tmp_path_factory.mktemp("run") / "run", f"data.path={one_file}", "data.time=when")


def _lines(answer: dict[str, Any] | Answer) -> list[list[str]]:
    text = answer.text if isinstance(answer, Answer) else answer["text"]
    return [line.split(",") for line in text.splitlines()]


def _decoded(decoder: Decoder, path: Path, **options: Any) -> Answer:
    chosen = decoder.options(options)
    found = next(iter(decoder.stream(decoder.inputs([str(path)], chosen), chosen)))
    assert found.problem is None
    assert found.answer is not None
    return found.answer


# Learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        ("model.expect=change",),
        ("model.kind=autoencoder", "window=8", "stride=2"),
        ("scale=series", "model.separate=true", "score.units=values"),
        ("score.method=tail", "score.warm_up=20", "score.false_alarms=1e-4", "calendar=minute,hour"),
        ("score.method=rare", "score.warm_up=20", "data.missing=mask"),
    ],
)
def test_it_finds_the_stuck_sensor(plants: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    run = _train(tmp_path / "run", f"data.path={plants}/*st/*.csv", "data.label=fault", *OWN, *settings)
    decoder = load_run(run)
    calibration = read_json(run / "calibration.json")
    assert set(calibration) == ({"", "east/1", "east/2", "west/1"} if "scale=series" in settings else {""})
    for name in ("east/1", "west/1"):
        (found,) = _decoded(decoder, plants / f"{name}.csv").fields["series"]
        worst = max(found["anomalies"], key=lambda spell: float(spell["score"]))
        assert worst["start"] <= "2024-03-01 07:25:00"  # row 420 is minute 420
        assert worst["end"] >= "2024-03-01 07:00:00"
        table = list(csv.DictReader(_decoded(decoder, plants / f"{name}.csv").text.splitlines()))
        blamed = [row["column"] for row in table[BROKEN] if row["flag"] == "1"]
        assert blamed.count("heat") >= len(blamed) / 2
        assert blamed
    metrics = _measured(run)
    assert metrics["f1_all_flagged"] == pytest.approx(2 * 20 / (20 + 200), abs=0.01)
    if "score.method=rare" not in settings:  # which alarms once for an event
        assert metrics["recall"] > 0.5
        assert metrics["far"] < 0.3


def test_normal_files_train_and_are_not_judged(plants: Path) -> None:
    settings = [f"data.path={plants}/*st/*.csv", f"data.normal={plants}/normal.csv", "data.label=fault", *OWN]
    splits = configure("anomaly", settings)[2].load_data()
    assert splits["train"].column("series")[:3] == ["east/1", "east/2", "west/1"]
    assert splits["train"].column("rows") == ["0:240"] * 3 + ["0:400"]
    assert splits["validation"].column("rows") == ["240:300"] * 3 + ["400:500"]
    assert splits["test"].column("rows") == ["300:500"] * 3


def test_a_named_test_file_is_judged_whole_and_training_files_are_normal(plants: Path) -> None:
    settings = [f"data.path={plants}/normal.csv", f"data.test={plants}/east/1.csv", "data.time=when"]
    splits = configure("anomaly", [*settings, "data.target=speed,heat"])[2].load_data()
    assert splits["train"].column("rows") == ["0:400"]
    assert splits["validation"].column("rows") == ["400:500"]
    assert splits["test"].column("rows") == ["0:500"]


def test_what_trains_holds_nothing_of_what_is_judged(one_file: Path, tmp_path: Path) -> None:
    def fitted(path: Path) -> Any:
        recipe = configure("anomaly", [*SMALL, f"data.path={path}", "data.time=when"])[2]
        splits = recipe.load_data()
        recipe.fit(splits["train"])
        return recipe, recipe.epoch_items(recipe.items(splits["train"]), 0)

    lines = one_file.read_text(encoding="utf-8").splitlines()
    changed = tmp_path / "changed.csv"
    far = [
        line if number <= 200 else ",".join([line.split(",")[0], "1e6", "-1e6"]) for number, line in enumerate(lines)
    ]
    changed.write_text("\n".join(far) + "\n", encoding="utf-8")
    (one, its), (other, theirs) = fitted(one_file), fitted(changed)
    np.testing.assert_array_equal(one.frontend.scalings[""].mean, other.frontend.scalings[""].mean)
    np.testing.assert_array_equal(one.frontend.scalings[""].scale, other.frontend.scalings[""].scale)
    assert len(its) == len(theirs) > 0
    for mine, others in zip(its.values, theirs.values, strict=True):
        np.testing.assert_array_equal(mine["window"], others["window"])


def test_windows_are_views_and_move_from_epoch_to_epoch(one_file: Path) -> None:
    recipe = configure("anomaly", [*SMALL, f"data.path={one_file}", "data.time=when"])[2]
    splits = recipe.load_data()
    recipe.fit(splits["train"])
    items = recipe.items(splits["train"])
    epochs = [recipe.epoch_items(items, epoch) for epoch in range(5)]
    assert all(np.shares_memory(value["window"], items.values[0]["rows"]) for value in epochs[0].values)
    assert len({epoch.places[0] for epoch in epochs}) > 1
    assert recipe.epoch_items(items, 3).places == epochs[3].places


# Answers -------------------------------------------------------------------------------------------------------------


def test_a_file_is_answered_row_by_row(run: Path, one_file: Path) -> None:
    answer = _decoded(load_run(run), one_file)
    lines = _lines(answer)
    assert answer.suffix == ".csv"
    assert lines[0] == ["time", "score", "flag", "column"]
    assert len(lines) == 501
    assert lines[1] == ["2024-03-01 00:00:00", "", "0", ""]
    flags = np.array([line[2] == "1" for line in lines[1:]])
    assert flags[BROKEN].mean() > 0.5
    assert flags[:400].mean() < 0.1
    assert lines[1 + 425][3] == "heat"


def test_the_time_of_a_row_is_read_in_a_stream_too(one_file: Path, tmp_path: Path) -> None:
    settings = ("data.time=when", "calendar=minute", "training.epochs=1")
    decoder = load_run(_train(tmp_path / "run", f"data.path={one_file}", *settings))
    whole = _lines(_decoded(decoder, one_file))
    rows, _ = _followed(decoder, one_file.read_bytes())
    scores = [[float(row[1] or "nan") for row in found[1:]] for found in (rows, whole)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3)
    recipe = configure("anomaly", [f"data.path={one_file}", "data.target=speed", "calendar=hour"])[2]
    parts = recipe.load_data()
    recipe.fit(parts["train"])
    with pytest.raises(InputError, match="no times, and calendar reads them"):
        recipe.items(parts["train"])


def _followed(decoder: Decoder, content: bytes, **options: Any) -> tuple[list[list[str]], list[str]]:
    answers = list(decoder.follow(io.BytesIO(content), decoder.options(options), print))
    text = "\n".join(answer.text for answer in answers if answer.text)
    return [line.split(",") for line in text.splitlines()], [a.problem for a in answers if a.problem is not None]


@pytest.mark.parametrize("change", [lambda text: text, lambda text: text.replace("07:10:00,", "07:10:00,,", 1)])
def test_a_stream_is_answered_as_the_whole_file(
    run: Path, one_file: Path, tmp_path: Path, change: Callable[[str], str]
) -> None:
    text = one_file.read_text(encoding="utf-8")
    lines = text.splitlines()
    cells = lines[300].split(",")
    lines[300] = ",".join([cells[0], "", cells[2]])  # a value that is missing
    path = tmp_path / "sensors.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    decoder = load_run(run)
    whole = _lines(_decoded(decoder, path))
    rows, problems = _followed(decoder, path.read_bytes())
    assert problems == []
    assert [(row[0], row[2], row[3]) for row in rows] == [(row[0], row[2], row[3]) for row in whole]
    scores = [[float(row[1] or "nan") for row in found[1:]] for found in (rows, whole)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3)


def test_a_stream_goes_on_after_a_row_that_cannot_be_used(run: Path, one_file: Path) -> None:
    lines = one_file.read_text(encoding="utf-8").splitlines()[:30]
    lines[10] = lines[10].replace(lines[10].split(",")[1], "warm")
    decoder = load_run(run)
    rows, problems = _followed(decoder, ("\n".join(lines) + "\n2024-03-01 00:40").encode())
    assert len(rows) == 1 + 29 - 1
    assert "stdin:11" in problems[0]
    assert "'warm'" in problems[0]
    assert "ends in the middle" in problems[1]


def test_columns_are_found_in_any_order_and_missing_ones_are_named(run: Path, one_file: Path, tmp_path: Path) -> None:
    lines = [line.split(",") for line in one_file.read_text(encoding="utf-8").splitlines()]
    swapped = tmp_path / "swapped.csv"
    swapped.write_text(
        "\n".join(",".join([c[2], "1", c[0], c[1]]) for c in lines).replace("heat,1,", "heat,x,", 1) + "\n"
    )
    decoder = load_run(run)
    assert _lines(_decoded(decoder, swapped)) == _lines(_decoded(decoder, one_file))
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("\n".join(f"{c[0]},{c[1]}" for c in lines) + "\n")
    with pytest.raises(InputError, match="no column 'heat'"):
        decoder.decode(str(lacking))
    with pytest.raises(DataError, match="does not name 'heat'"):
        _followed(decoder, lacking.read_bytes())


def test_a_series_is_judged_as_the_one_it_is(plants: Path, tmp_path: Path) -> None:
    settings = ("scale=series", "model.separate=true", "training.epochs=1")
    decoder = load_run(_train(tmp_path / "run", f"data.path={plants}/*st/*.csv", *OWN, *settings))
    path = plants / "west" / "1.csv"
    own, named = _decoded(decoder, path), _decoded(decoder, path, series="west/1")
    assert own.text == named.text != _decoded(decoder, path, series="east/2").text
    with pytest.raises(InputError, match="network of its own"):
        decoder.decode(str(plants / "normal.csv"))
    with pytest.raises(InputError, match="Did you mean 'west/1'"):
        decoder.decode(str(path), series="west1")


# Mistakes ------------------------------------------------------------------------------------------------------------


def test_mistakes_are_told(one_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rows that have not come"):
        configure("anomaly", ["data.demo=true", "model.lstm.bidirectional=true"])
    with pytest.raises(DataError, match="no column 'wen'"):
        configure("anomaly", [f"data.path={one_file}", "data.time=wen"])[2].load_data()
    with pytest.raises(DataError, match="no such file"):
        configure("anomaly", [f"data.path={tmp_path}/none.csv"])[2].load_data()
    with pytest.raises(DataError, match="no series has 20 normal rows"):
        _train(tmp_path / "short", f"data.path={one_file}", "data.time=when", "data.normal_rows=15")


def test_a_constant_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "flat.csv"
    path.write_text("a,b\n" + "\n".join(f"{number % 7},3" for number in range(100)) + "\n")
    recipe = configure("anomaly", [f"data.path={path}", "window=20"])[2]
    with pytest.warns(UserWarning, match="never change in the training rows: b"):
        recipe.fit(recipe.load_data()["train"])


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["skab", "nab"])
@pytest.mark.skipif("SEQKIT_DATA" not in os.environ, reason="SEQKIT_DATA does not name a folder with the data")
def test_presets_on_real_data(preset: str) -> None:
    """One batch through everything."""
    recipe = configure(f"anomaly/{preset}", [])[2]
    assert dry_run(recipe, QUIET).startswith("dry run: one step")
