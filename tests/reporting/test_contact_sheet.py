"""The picture of clips with their answers: which are drawn, in which order, with which frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.reporting.contact_sheet import ClipAnswer, save_contact_sheet


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, kept instead."""
    kept: list[Any] = []

    def save(figure: Any, path: Path) -> Path:
        kept.append(figure)
        return path

    monkeypatch.setattr("seqkit.reporting.contact_sheet.save_figure", save)
    return kept


def _clip(place: str, probability: float, count: int = 5, size: tuple[int, int] = (20, 30)) -> ClipAnswer:
    """Frame n is of one grey, 10 n."""
    frames = np.repeat(np.arange(count, dtype=np.uint8) * 10, size[0] * size[1] * 3).reshape(count, *size, 3)
    return ClipAnswer(frames, place, "walk", "run", probability)


def _titles(figure: Any) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes]


def _picture(axis: Any) -> np.ndarray:
    """What a row shows (H, W, 3), without the white to its right."""
    image = np.asarray(axis.images[0].get_array())
    columns = np.flatnonzero((image != 255).any(axis=(0, 2)))
    return image[:, : columns.max() + 1]


def _greys(axis: Any) -> list[int]:
    """The greys of the frames that a row shows, from left to right."""
    row = np.asarray(axis.images[0].get_array())[48, :, 0]
    return [int(value) for before, value in zip([255, *row[:-1]], row, strict=True) if value != before and value != 255]


def test_the_most_confident_come_first_and_the_rest_is_counted(tmp_path: Path, figures: list[Any]) -> None:
    clips = [_clip(f"{n}.mp4", n / 10) for n in (3, 9, 5)]
    path = save_contact_sheet(iter(clips), tmp_path / "x.png", title="test", most=2)
    assert path == tmp_path / "x.png"
    (figure,) = figures
    assert _titles(figure) == ["9.mp4\nwalk, taken for run (90%)", "5.mp4\nwalk, taken for run (50%)"]
    assert figure.get_suptitle() == "test (2 of 3)"
    save_contact_sheet(clips, tmp_path / "x.png", title="test")
    assert figures[1].get_suptitle() == "test"


def test_there_are_never_more_rows_than_one_can_look_at(tmp_path: Path, figures: list[Any]) -> None:
    save_contact_sheet([_clip(str(n), 0.5, 1) for n in range(60)], tmp_path / "x.png", most=1000)
    assert len(figures[0].axes) == 40


def test_frames_go_from_the_first_to_the_last(tmp_path: Path, figures: list[Any]) -> None:
    save_contact_sheet([_clip("long", 0.9, 21), _clip("short", 0.5, 3)], tmp_path / "x.png", frames=5)
    long, short = figures[0].axes
    assert _greys(long) == [0, 50, 100, 150, 200]
    assert _greys(short) == [0, 10, 20]


@pytest.mark.parametrize(("size", "width"), [((96, 144), 144), ((24, 36), 144), ((480, 720), 144), ((480, 240), 48)])
def test_frames_of_any_size_are_brought_to_one_height(
    size: tuple[int, int], width: int, tmp_path: Path, figures: list[Any]
) -> None:
    save_contact_sheet([_clip("x", 0.9, 1, size)], tmp_path / "x.png")
    (axis,) = figures[0].axes
    assert _picture(axis).shape == (96, width, 3)


def test_a_frame_is_made_smaller_by_means(tmp_path: Path, figures: list[Any]) -> None:
    frame = np.zeros((192, 192, 3), np.uint8)
    frame[::2, ::2] = (200, 100, 40)  # one of four pixels
    save_contact_sheet([ClipAnswer(frame[None], "x", "a", "b", 0.5)], tmp_path / "x.png")
    assert np.unique(_picture(figures[0].axes[0]).reshape(-1, 3), axis=0).tolist() == [[50, 25, 10]]


def test_strange_names_and_clips_without_frames_are_drawn(tmp_path: Path) -> None:
    strange = ClipAnswer(np.zeros((1, 1, 1, 3), np.uint8), "folder/" * 30 + "x.mp4", "$x^{$ 猫\n", "y" * 300, 1.0)
    empty = ClipAnswer(np.zeros((0, 8, 8, 3), np.uint8), "", "a", "a", 0.5)
    content = save_contact_sheet([strange, empty], tmp_path / "x.png", title="$x^{$").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert save_contact_sheet([strange, empty], tmp_path / "y.png", title="$x^{$").read_bytes() == content


def test_long_names_lose_what_tells_least(tmp_path: Path, figures: list[Any]) -> None:
    long = ClipAnswer(np.zeros((1, 8, 8, 3), np.uint8), "folder/" * 30 + "x.mp4", "a" * 300, "a" * 300, 0.5)
    save_contact_sheet([long], tmp_path / "x.png")
    place, said = _titles(figures[0])[0].split("\n")
    assert place.startswith("…")
    assert place.endswith("folder/x.mp4")
    assert len(place) == 60
    assert said == f"{'a' * 59}… (50%)"


def test_no_clip_gives_a_picture_that_says_so(tmp_path: Path, figures: list[Any]) -> None:
    save_contact_sheet([], tmp_path / "x.png")
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["no clip to show"]
