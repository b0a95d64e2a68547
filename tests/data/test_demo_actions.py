"""The demo corpus of actions: the same clips each time, nobody in two parts, and no cue but the movement."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from seqkit.data import demo_actions as actions
from seqkit.data.poses import ACTIONS, JOINTS, PACE, TEMPO, Build, Manner, joints
from seqkit.data.scenes import PATTERNS, background, draw_limb, view
from seqkit.errors import RunError

Corpus = Mapping[str, Sequence[Mapping[str, str]]]

SMALL = {"train": 3, "validation": 2, "test": 3}
TINY = {"train": 2, "validation": 1}
PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the corpora are made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seqkit"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A small corpus that only reading tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("shared")))
        return actions.demo_actions(SMALL)


@pytest.fixture(scope="module")
def planned() -> dict[str, list[Any]]:
    """What the whole corpus would show."""
    return {part: actions._plan(part, size) for part, size in actions.SIZES.items()}


# What is in it -------------------------------------------------------------------------------------------------------


def test_rows_name_clips_labels_and_figures(small: Corpus) -> None:
    assert {part: len(rows) for part, rows in small.items()} == SMALL
    for row in (row for rows in small.values() for row in rows):
        assert set(row) == {"clip", "label", "figure"}
        assert Path(row["clip"]).is_absolute()
        assert row["label"] in {"walk", "run", "jump", "wave", "bend"}


def test_every_clip_is_a_short_film_of_the_planned_size(small: Corpus) -> None:
    for part, rows in small.items():
        for row, clip in zip(rows, actions._plan(part, SMALL[part]), strict=True):
            with av.open(row["clip"]) as container:
                stream = container.streams.video[0]
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
                rate = float(stream.average_rate or 0)
                assert stream.codec_context.name == "h264"
            assert (len(frames), rate) == (clip.frames, clip.fps)
            assert frames[0].shape == (*clip.size, 3)
            assert 1.4 < len(frames) / rate < 3.1
            assert 15 <= rate <= 30
            assert np.std(frames[0]) > 5
            drawn = actions._frames(clip)
            assert np.abs(frames[-1].astype(float) - drawn[-1]).mean() < 12  # noise is lost in coding


def test_each_person_does_everything_once(planned: dict[str, list[Any]]) -> None:
    for part, clips in planned.items():
        figures = {clip.figure for clip in clips}
        assert len(figures) == actions.SIZES[part] // 5
        assert {(clip.figure, clip.label) for clip in clips} == {(who, what) for who in figures for what in ACTIONS}
    orders = {tuple(clip.label for clip in planned["train"][n : n + 5]) for n in range(0, 300, 5)}
    assert len(orders) > 20  # so that a place in the table tells nothing


def test_a_person_has_one_build_and_one_look(planned: dict[str, list[Any]]) -> None:
    looks: dict[str, set[Any]] = {}
    for clip in planned["train"]:
        looks.setdefault(clip.figure, set()).add((clip.build, clip.look))
    assert {len(found) for found in looks.values()} == {1}
    assert len({next(iter(found)) for found in looks.values()}) == len(looks)


def test_people_and_backgrounds_of_one_part_are_in_no_other(planned: dict[str, list[Any]]) -> None:
    def found(part: str) -> list[set[Any]]:
        clips = planned[part]
        builds = [{getattr(clip.build, field.name) for clip in clips} for field in dataclasses.fields(Build)]
        kinds = {clip.kind for clip in clips}
        shapes = {(thing.across, thing.down) for clip in clips for thing in clip.things}
        looks = [{clip.look.shirt for clip in clips}, {clip.look.bulk for clip in clips}]
        return [{clip.figure for clip in clips}, kinds, shapes, *builds, *looks]

    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for mine, theirs in zip(found(one), found(other), strict=True):
            assert mine
            assert not mine & theirs
    kinds = [kind for part in PARTS for kind in actions.BACKGROUNDS[part]]
    assert sorted(kinds) == sorted(PATTERNS)


def test_what_is_own_to_a_part_lies_in_its_own_slices() -> None:
    places = {part: [actions._Draws(str(n), part).own(2.0, 4.0) for n in range(400)] for part in PARTS}
    slices = {part: {int((place - 2.0) * 20) for place in found} for part, found in places.items()}
    assert len(slices["train"]) == 24
    assert len(slices["validation"]) == len(slices["test"]) == 8
    assert sum(len(found) for found in slices.values()) == len(set().union(*slices.values())) == 40


def test_labels_do_not_differ_by_size_length_colour_or_background(planned: dict[str, list[Any]]) -> None:
    """Means of each action lie within what chance allows: four standard errors of all clips' mean."""
    clips = planned["train"]
    for value in (
        *(lambda clip: clip.size[0], lambda clip: clip.size[1], lambda clip: clip.fps, lambda clip: clip.frames),
        *(lambda clip: clip.tall, lambda clip: clip.ground, lambda clip: clip.light, lambda clip: clip.noise),
        *(lambda clip: clip.facing, lambda clip: len(clip.things), lambda clip: clip.shake, lambda clip: clip.path[0]),
        *(lambda clip: np.mean(clip.colours), lambda clip: actions.BACKGROUNDS["train"].index(clip.kind)),
    ):
        every = np.array([value(clip) for clip in clips], float)
        for label in ACTIONS:
            own = np.array([value(clip) for clip in clips if clip.label == label], float)
            if value.__code__.co_names == ("path",) and PACE[label]:
                continue  # who goes to the right begins on the left
            assert abs(own.mean() - every.mean()) < 4 * every.std() / np.sqrt(len(own))
    assert Counter(clip.label for clip in clips) == dict.fromkeys(ACTIONS, 60)


# How it moves --------------------------------------------------------------------------------------------------------

USUAL = Manner(size=1.0, arms=1.0, lean=0.0, stance=10.0, both=False, rest=-0.1)
BODY = Build(legs=0.5, thigh=0.5, arms=0.42, upper_arm=0.5, head=0.07)


def _moves(action: str) -> dict[str, np.ndarray]:
    """Places (T, 2) of each joint in ten cycles."""
    path = np.stack([joints(action, BODY, USUAL, cycle) for cycle in np.linspace(0, 10, 400)])
    return {name: path[:, number] for number, name in enumerate(JOINTS)}


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_limbs_keep_their_length_and_feet_the_ground(action: str) -> None:
    at = _moves(action)
    for side in ("", "far_"):
        for start, end, length in (("hip", side + "knee", 0.25), (side + "knee", side + "foot", 0.25)):
            np.testing.assert_allclose(np.hypot(*(at[start] - at[end]).T), length)
        np.testing.assert_allclose(np.hypot(*(at[f"{side}elbow"] - at[f"{side}hand"]).T), 0.21)
    lowest = np.stack(list(at.values())).min(axis=0)[:, 1]
    assert lowest.min() == pytest.approx(0, abs=1e-6)
    assert (lowest.max() > 0.02) == (action in ("run", "jump"))


def test_actions_are_what_their_names_say() -> None:
    at = {action: _moves(action) for action in ACTIONS}
    rise = {action: np.ptp(path["hip"][:, 1]) for action, path in at.items()}
    assert rise["jump"] > 0.3
    assert max(rise["walk"], rise["wave"], rise["bend"]) < 0.1
    assert at["wave"]["hand"][:, 1].max() > at["wave"]["head"][:, 1].max()
    assert at["bend"]["head"][:, 1].min() < 0.65 < 0.85 < at["bend"]["head"][:, 1].max()
    stride = {action: np.ptp(at[action]["foot"][:, 0]) for action in ("walk", "run")}
    assert stride["run"] > 1.3 * stride["walk"]
    bent = {action: np.median(np.hypot(*(at[action]["hand"] - at[action]["neck"]).T)) for action in ("walk", "run")}
    assert bent["run"] < 0.8 * bent["walk"]
    assert TEMPO["walk"][1] < TEMPO["run"][0]


# How it is drawn -----------------------------------------------------------------------------------------------------


def test_a_limb_covers_its_area_without_jagged_edges() -> None:
    picture = np.zeros((40, 60, 3), np.float32)
    start, end = np.array([15.3, 18.8]), np.array([41.1, 24.4])
    draw_limb(picture, start, end, (5.0, 5.0), (1.0, 0.5, 0.0))
    area = np.pi * 25 + 10 * np.hypot(*(end - start))
    assert picture[..., 0].sum() == pytest.approx(area, rel=0.01)
    np.testing.assert_allclose(picture[..., 1], picture[..., 0] / 2)
    edge = (picture[..., 0] > 0.01) & (picture[..., 0] < 0.99)
    assert edge.sum() > 40


@pytest.mark.parametrize("place", [(-50.0, 5.0), (5.0, 900.0), (-2.0, -2.0), (19.5, 9.0)])
def test_what_is_drawn_beyond_the_edge_is_cut(place: tuple[float, float]) -> None:
    large, small = np.zeros((120, 220, 3), np.float32), np.zeros((10, 20, 3), np.float32)
    one, other = np.array(place), np.array([place[0] + 3, place[1] + 1])
    draw_limb(small, one, other, (2.0, 1.0), (1.0, 1.0, 1.0))
    draw_limb(large, one + 100, other + 100, (2.0, 1.0), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(small, large[100:110, 100:120], atol=1e-4)


def test_a_view_lies_between_pixels() -> None:
    picture = np.arange(8 * 9, dtype=np.float32).reshape(8, 9)[..., None].repeat(3, 2)
    np.testing.assert_array_equal(view(picture, 2, 1, (4, 5)), picture[1:5, 2:7])
    np.testing.assert_allclose(view(picture, 2.25, 1.5, (4, 5)), picture[1:5, 2:7] + 0.25 + 4.5)


@pytest.mark.parametrize("kind", sorted(PATTERNS))
def test_backgrounds_lie_between_their_colours(kind: str) -> None:
    picture = background(kind, 64, 200, ((0.2, 0.3, 0.4), (0.4, 0.3, 0.1)), 3)
    assert picture.shape == (64, 200, 3)
    assert picture.min(axis=(0, 1)) == pytest.approx([0.2, 0.3, 0.1], abs=0.12)
    assert np.ptp(picture[..., 0]) > 0.05
    assert 0.2 - 1e-6 <= picture[..., 0].min() < picture[..., 0].max() <= 0.4 + 1e-6
    assert not np.array_equal(picture, background(kind, 64, 200, ((0.2, 0.3, 0.4), (0.4, 0.3, 0.1)), 4))


# How it is made ------------------------------------------------------------------------------------------------------


def test_it_is_the_same_each_time_and_a_smaller_one_is_its_beginning(small: Corpus) -> None:
    again = actions.demo_actions({"test": 2, "train": 1})
    for part, rows in again.items():
        for one, other in zip(rows, small[part], strict=False):
            assert Path(one["clip"]).read_bytes() == Path(other["clip"]).read_bytes()
            assert (one["label"], one["figure"]) == (other["label"], other["figure"])


def test_it_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = actions.demo_actions(TINY)
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(r"Made the demo corpus, 3 videos, .*demo-actions-\w{16}$", said.err.strip())
    monkeypatch.setattr(actions, "_write", lambda *_: pytest.fail("made again"))
    assert actions.demo_actions(TINY) == first
    assert capsys.readouterr().err == ""
    assert [path.name for path in cache.iterdir()] == [Path(first["train"][0]["clip"]).parents[1].name]


def test_a_folder_that_lacks_a_file_is_made_again(cache: Path) -> None:
    rows = actions.demo_actions(TINY)
    lost = Path(rows["train"][1]["clip"])
    lost.unlink()
    assert actions.demo_actions(TINY) == rows
    assert lost.is_file()
    assert len(list(cache.iterdir())) == 1


def test_what_a_killed_process_left_is_removed_when_it_is_old(cache: Path) -> None:
    folder = Path(actions.demo_actions({"train": 1})["train"][0]["clip"]).parents[1]
    shutil.rmtree(folder)
    old, new = (cache / f".partial-{folder.name}-{name}" for name in ("old", "new"))
    for left, age in ((old, 48 * 3600.0), (new, 60.0)):
        left.mkdir()
        os.utime(left, (time.time() - age,) * 2)
    actions.demo_actions({"train": 1})
    assert set(cache.iterdir()) == {folder, new}


def test_an_interrupt_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(clip: Any) -> list[np.ndarray]:
        if clip.file.endswith("1.mp4"):
            raise KeyboardInterrupt
        return [np.zeros((*clip.size, 3), np.uint8)]

    monkeypatch.setattr(actions, "_frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        actions.demo_actions(TINY)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match="cannot be written"):
        actions.demo_actions(TINY)
