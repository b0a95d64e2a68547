"""NAB's score: by hand, against the benchmark's program written plainly, and against its published results."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from seqkit.errors import DataError
from seqkit.heads.nab import (
    GRID,
    PROFILES,
    STANDARD,
    LabelledFile,
    best_totals,
    corpus_totals,
    metrics,
    normalised,
    probation,
    statistics,
)
from seqkit.heads.nab_corpus import WINDOWS_FILE, labelled_file, read_windows

NAB = Path(os.environ.get("SEQKIT_DATA", "")) / "nab"
needs_nab = pytest.mark.skipif(
    "SEQKIT_DATA" not in os.environ or not NAB.is_dir(), reason="SEQKIT_DATA does not name a folder with nab"
)


def _sigmoid(place: float) -> float:
    return -1.0 if place > 3.0 else 2.0 / (1.0 + math.exp(5.0 * place)) - 1.0


def _plain_points(
    scores: np.ndarray, windows: list[tuple[int, int]], threshold: float, found: float, missed: float, alarm: float
) -> float:
    """The rules row by row, as the paper tells them."""
    skipped = min(math.floor(0.15 * len(scores)), 750)
    points = 0.0
    for row in range(skipped, len(scores)):
        if scores[row] >= threshold and not any(first <= row <= last for first, last in windows):
            before = [(first, last) for first, last in windows if last < row]
            place = (row - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else math.inf
            points += alarm * _sigmoid(place)
    for first, last in windows:
        rows = [row for row in range(max(first, skipped), last + 1) if scores[row] >= threshold]
        if rows:
            points += found * _sigmoid(-(last - rows[0] + 1) / (last - first + 1)) / _sigmoid(-1.0)
        elif last >= skipped:
            points -= missed
    return points


def _random_case(seed: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(40, 200))
    edges = sorted(rng.choice(rows, size=2 * int(rng.integers(0, 4)), replace=False).tolist())
    scores = rng.integers(0, 12, size=rows) / 4.0  # many alike
    return scores, list(zip(edges[::2], edges[1::2], strict=True))


def test_probation_is_15_percent_at_most_750() -> None:
    assert [probation(rows) for rows in (0, 6, 100, 4032, 5000, 22695)] == [0, 0, 15, 604, 750, 750]


def test_points_by_hand() -> None:
    file = LabelledFile(100, [(40, 49)])
    only = {row: np.where(np.arange(100) == row, 1.0, 0.0) for row in (10, 20, 40, 49, 50, 99)}
    assert file.totals(only[10], 0.5).points == -1.0  # probation: neither found nor alarmed
    assert file.totals(only[20], 0.5).points == pytest.approx(-1.0 - 0.11)
    assert file.totals(only[40], 0.5).points == pytest.approx(1.0)
    assert file.totals(only[49], 0.5).points == pytest.approx(math.tanh(0.25) / math.tanh(2.5))
    assert file.totals(only[50], 0.5).points == pytest.approx(-1.0 - 0.11 * math.tanh(2.5 / 9))  # just behind: cheap
    assert file.totals(only[99], 0.5).points == pytest.approx(-1.0 - 0.11)
    twice = np.maximum(only[40], only[49])
    assert file.totals(twice, 0.5).points == pytest.approx(1.0)  # the second detection adds nothing
    totals = file.totals(np.maximum(twice, only[99]), 0.5)
    counts = (totals.true_positives, totals.false_positives, totals.false_negatives, totals.true_negatives)
    assert counts == (2, 1, 8, 100 - 15 - 10 - 1)
    assert (totals.windows, totals.found) == (1, 1)


def test_nothing_found_is_0_and_all_at_once_is_100() -> None:
    file = LabelledFile(200, [(60, 70), (120, 150)])
    perfect = np.isin(np.arange(200), [60, 120]).astype(float)
    for profile in PROFILES.values():
        assert file.totals(np.zeros(200), 0.5, profile).score(profile) == 0.0
        assert file.totals(perfect, 0.5, profile).score(profile) == pytest.approx(100.0)


@pytest.mark.parametrize("seed", range(20))
def test_totals_and_curve_agree_with_the_rules_row_by_row(seed: int) -> None:
    scores, windows = _random_case(seed)
    file = LabelledFile(len(scores), windows)
    thresholds = np.unique(np.append(scores, np.inf))
    for profile in PROFILES.values():
        weights = (profile.found, profile.missed, profile.false_alarm)
        plain = [_plain_points(scores, windows, threshold, *weights) for threshold in thresholds]
        assert file.curve(scores, thresholds, profile) == pytest.approx(plain)
        assert [file.totals(scores, t, profile).points for t in thresholds] == pytest.approx(plain)


def test_threshold_is_the_best_for_the_corpus_not_for_each_file() -> None:
    cases = [_random_case(seed) for seed in range(8)]
    files, scores = [LabelledFile(len(s), w) for s, w in cases], [s for s, _ in cases]
    best = best_totals(files, scores)
    each = {t: corpus_totals(files, scores, t) for t in np.unique(np.concatenate([*scores, [np.inf]]))}
    assert best.points == max(totals.points for totals in each.values())
    assert best.points < sum(best_totals([f], [s]).points for f, s in zip(files, scores, strict=True))


def test_statistics_add_up_to_the_corpus() -> None:
    cases = [_random_case(seed) for seed in range(8)]
    files = [LabelledFile(len(s), w) for s, w in cases]
    scores = [GRID[2000 + np.round(4 * s).astype(int)] for s, _ in cases]  # scores on the grid: nothing is lost
    found = metrics(np.sum([statistics(f, s) for f, s in zip(files, scores, strict=True)], axis=0))
    for name, profile in PROFILES.items():
        assert found[f"nab_{name.lower()}"] == pytest.approx(best_totals(files, scores, profile).score(profile))
    assert found["nab_threshold"] == best_totals(files, scores).threshold


def test_no_window_has_no_score() -> None:
    found = metrics(statistics(LabelledFile(50, []), np.zeros(50)))
    assert all(math.isnan(value) for value in found.values())


def test_a_row_without_a_score_detects_nothing() -> None:
    file = LabelledFile(50, [(20, 30)])
    assert file.totals(np.full(50, np.nan), 0.0).points == -1.0
    assert best_totals([file], [np.full(50, np.nan)]).points == -1.0


def test_a_window_within_probation_is_not_counted() -> None:
    assert LabelledFile(100, [(3, 9), (12, 20)]).scored_windows == 1


def test_wrong_windows_and_scores_are_told() -> None:
    with pytest.raises(ValueError, match="follow each other"):
        LabelledFile(100, [(10, 20), (15, 30)])
    with pytest.raises(ValueError, match="rows 0 to 99"):
        LabelledFile(100, [(90, 100)])
    with pytest.raises(ValueError, match="100 rows need as many scores"):
        LabelledFile(100, []).totals(np.zeros(99), 0.5)
    with pytest.raises(ValueError, match="No file"):
        best_totals([], [])


def test_windows_are_read_by_their_times(tmp_path: Path) -> None:
    path = tmp_path / "windows.json"
    path.write_text(json.dumps({"a/b.csv": [["2014-04-10 00:02:00.000000", "2014-04-10 00:05:00.000000"]], "c": []}))
    windows = read_windows(path)
    times = np.datetime64("2014-04-10T00:00", "ns") + np.arange(10) * np.timedelta64(1, "m")
    assert labelled_file(times, windows["a/b.csv"], "b.csv").windows == ((2, 5),)
    assert windows["c"] == []
    with pytest.raises(DataError, match=r"b\.csv: a window begins or ends at 2014-04-10T00:05.* no row has this time"):
        labelled_file(times[:5], windows["a/b.csv"], "b.csv")
    with pytest.raises(DataError, match=r"b\.csv: the windows do not fit"):
        labelled_file(times, windows["a/b.csv"] * 2, "b.csv")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "expected an object"),
        ('{"a": 1}', "a: expected a list"),
        ('{"a": [["2014-01-01"]]}', "a: expected a window of two times"),
        ('{"a": [["yesterday", "today noon"]]}', "a: expected a window of two times"),
    ],
)
def test_a_file_that_holds_no_windows_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "windows.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_windows(path)


# ---- the published results -----------------------------------------------------------------------------------------


def _published(detector: str, profile: str) -> dict[str, dict[str, str]]:
    with (NAB / "results" / detector / f"{detector}_{profile}_scores.csv").open(newline="") as file:
        return {row["File"]: row for row in csv.DictReader(file) if row["File"]}


@needs_nab
def test_published_final_scores_follow_from_published_points() -> None:
    final = json.loads((NAB / "results" / "final_results.json").read_text())
    windows = sum(len(each) for each in read_windows(NAB / WINDOWS_FILE).values())
    assert windows == 116
    final.pop("random")  # the mean of several runs; the points are those of a part of the files
    assert len(final) >= 14
    for detector, scores in final.items():
        for name, profile in PROFILES.items():
            points = math.fsum(float(row["Score"]) for row in _published(detector, name).values())
            assert normalised(points, windows, profile) == pytest.approx(scores[name], abs=1e-6), (detector, name)


def _windowed_gaussian(values: np.ndarray, window: int = 6400, refresh: int = 100) -> np.ndarray:
    """The benchmark's simplest detector: the two-sided tail of a Gaussian of the values before."""
    centered = values - values[0]
    count = np.arange(1, len(values) + 1)
    means, squares = np.cumsum(centered) / count, np.cumsum(centered**2) / count
    deviations = np.sqrt(np.maximum(squares - means**2, 0.0))
    scores = np.zeros(len(values))
    for row in range(1, len(values)):
        if row <= window:  # a window that grows
            mean, deviation = means[row - 1], deviations[row - 1]
        elif (row - window) % refresh == 0:
            slid = centered[row - window : row]
            mean, deviation = slid.mean(), slid.std()
        scores[row] = 1.0 - 0.5 * math.erfc(abs(centered[row] - mean) / (deviation or 1e-6) / 1.4142)
    # The published run wrote its scores with 12 decimals, and many are 1 to that many.
    return np.round(scores, 12)


@needs_nab
def test_windowed_gaussian_made_again_scores_as_published() -> None:
    labels = read_windows(NAB / WINDOWS_FILE)
    files, scores = {}, {}
    for name, windows in labels.items():
        with (NAB / "data" / name).open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        files[name] = labelled_file(np.array([row[0] for row in rows], dtype="datetime64[ns]"), windows, name)
        scores[name] = _windowed_gaussian(np.array([float(row[1]) for row in rows]))
    for profile in PROFILES.values():
        published = _published("windowedGaussian", profile.name)
        assert published.keys() == files.keys()
        for name, row in published.items():
            ours = files[name].totals(scores[name], float(row["Threshold"]), profile)
            counts = (ours.true_positives, ours.true_negatives, ours.false_positives, ours.false_negatives)
            assert counts == tuple(int(row[key]) for key in ("TP", "TN", "FP", "FN")), name
            assert ours.points == pytest.approx(float(row["Score"]), abs=1e-9), name
    final = json.loads((NAB / "results" / "final_results.json").read_text())["windowedGaussian"]
    found = metrics(np.sum([statistics(files[name], scores[name]) for name in files], axis=0))
    assert next(iter(found)) == f"nab_{STANDARD.name}"
    for profile in PROFILES.values():
        best = best_totals([files[name] for name in files], [scores[name] for name in files], profile)
        assert best.score(profile) == pytest.approx(final[profile.name], abs=1e-9)
