"""The picture of a long recording's answers: bars where the segments are, lines of the classes that matter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from seqkit.reporting.figures import GREY
from seqkit.reporting.timeline import MOST_CLASSES, save_timeline


@dataclass(frozen=True)
class Part:
    """A segment."""

    label: str
    start: float
    end: float


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, kept instead."""
    kept: list[Any] = []

    def save(figure: Any, path: Path) -> Path:
        kept.append(figure)
        return path

    monkeypatch.setattr("seqkit.reporting.timeline.save_figure", save)
    return kept


LABELS = ["walk", "run", "$x^{$", "never"]
SCORES = np.array([[0.8, 0.1, 0.06, 0.04], [0.7, 0.2, 0.08, 0.02], [0.2, 0.7, 0.1, 0.0], [0.1, 0.8, 0.1, 0.0]])
PARTS = [Part("walk", 0.0, 4.0), Part("run", 4.0, 7.0)]
TIMES = [0.0, 2.0, 4.0, 6.0, 7.0]


def test_bars_stand_where_segments_are_in_the_colours_of_their_lines(tmp_path: Path, figures: list[Any]) -> None:
    save_timeline(PARTS, SCORES, TIMES, LABELS, tmp_path / "x.png", "film.mp4")
    bars, lines = figures[0].axes
    spans = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_facecolor()) for bar in bars.patches]
    assert spans == [(0.0, 4.0, to_rgba("C0")), (4.0, 7.0, to_rgba("C1"))]
    assert [text.get_text() for text in bars.texts] == ["walk", "run"]
    assert [text.get_position()[0] for text in bars.texts] == [2.0, 5.5]
    assert bars.get_xlim() == lines.get_xlim() == (0.0, 7.0)
    drawn = {stairs.get_label(): stairs for stairs in lines.patches}
    assert list(drawn) == ["walk", "run", "$x^{$"]  # one never reaches 5 %
    for name, color in (("walk", "C0"), ("run", "C1")):
        data = drawn[name].get_data()
        np.testing.assert_array_equal(data.values, SCORES[:, LABELS.index(name)])
        np.testing.assert_array_equal(data.edges, TIMES)
        assert drawn[name].get_edgecolor() == to_rgba(color)
    assert figures[0].get_suptitle() == "film.mp4"


def test_of_many_classes_those_that_lead_are_drawn_and_other_bars_are_grey(tmp_path: Path, figures: list[Any]) -> None:
    count = 2 * MOST_CLASSES
    scores = np.eye(count) * 0.9 + 0.005
    times = np.cumsum([0.0, *(1.0 if n % 2 else 0.5 for n in range(count))])
    labels = [f"class {n}" for n in range(count)]
    parts = [Part(name, *times[n : n + 2]) for n, name in enumerate(labels)]
    save_timeline(parts, scores, times, labels, tmp_path / "x.png", "")
    bars, lines = figures[0].axes
    assert {stairs.get_label() for stairs in lines.patches} == {f"class {n}" for n in range(1, count, 2)}
    grey = [bar.get_facecolor() == to_rgba(GREY) for bar in bars.patches]
    assert grey == [n % 2 == 0 for n in range(count)]


def test_names_are_written_only_where_there_is_room(tmp_path: Path, figures: list[Any]) -> None:
    parts = [Part("walk", 0.0, 99.0), Part("run", 99.0, 99.5), Part("a" * 80, 99.5, 200.0)]
    scores = np.full((2, 2), 0.5)
    save_timeline(parts, scores, [0.0, 99.0, 200.0], ["walk", "run"], tmp_path / "x.png", "")
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["walk", f"{'a' * 29}…"]


def test_pictures_stay_of_a_size_and_are_the_same_each_time(tmp_path: Path, figures: list[Any]) -> None:
    for seconds in (0.001, 5.0, 86_400.0):
        save_timeline([Part("a", 0, seconds)], np.ones((1, 1)), [0, seconds], ["a"], tmp_path / "x.png", "")
    assert all(9 <= figure.get_size_inches()[0] <= 26 for figure in figures)


@pytest.mark.parametrize("title", ["film.mp4", "$x^{$ 猫"])
def test_it_is_a_picture_and_the_same_each_time(tmp_path: Path, title: str) -> None:
    first = save_timeline(PARTS, SCORES, TIMES, LABELS, tmp_path / "x.png", title).read_bytes()
    assert first.startswith(b"\x89PNG")
    assert save_timeline(PARTS, SCORES, TIMES, LABELS, tmp_path / "y.png", title).read_bytes() == first


def test_nothing_is_drawn_too(tmp_path: Path) -> None:
    path = save_timeline([], np.zeros((0, 2)), [0.0], ["a", "b"], tmp_path / "x.png", "empty.mp4")
    assert path.stat().st_size > 1000


def test_scores_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in 3 cells"):
        save_timeline([], SCORES, TIMES[:4], LABELS, tmp_path / "x.png", "")
