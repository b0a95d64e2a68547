"""Features of joints: what they do not hang on, what they say, and what is done about joints that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqkit.config import resolve
from seqkit.data.items import Broken
from seqkit.errors import ConfigError, DataError, RunError
from seqkit.frontends.joints import JointsConfig
from seqkit.frontends.skeleton import SkeletonConfig, SkeletonFrontend, resample, smoothed
from seqkit.frontends.skeleton_augmentation import mirrored, rotation
from seqkit.storage import read_json, write_json

JOINTS = JointsConfig()
ALL = ("positions", "velocities", "bones", "angles", "reach", "speed")
# A body that stands two and a half metres before the camera: x to its right, y up, z away from the camera.
POSE = np.array(
    [
        *([-0.15, 0.28, 2.4], [0.15, 0.28, 2.4], [0.0, 0.32, 2.4], [0.0, 0.1, 2.45], [-0.1, -0.04, 2.4]),
        *([0.1, -0.04, 2.4], [0.0, 0.0, 2.45], [-0.2, 0.05, 2.4], [0.2, 0.05, 2.4], [-0.2, -0.17, 2.35]),
        *([0.2, -0.17, 2.35], [-0.2, -0.25, 2.35], [0.2, -0.25, 2.35], [-0.1, -0.5, 2.4], [0.1, -0.5, 2.4]),
        *([-0.1, -0.9, 2.5], [0.1, -0.9, 2.5], [-0.1, -0.95, 2.4], [0.1, -0.95, 2.4], [0.0, 0.55, 2.35]),
    ]
)


def clip(frames: int = 20, seed: int = 0) -> np.ndarray:
    """The body with limbs that drift at random, float32 (T, 20, 3)."""
    steps = np.random.default_rng(seed).normal(0, 0.01, (frames, 20, 3))
    return (POSE + np.cumsum(steps, axis=0)).astype(np.float32)


def frontend(**values: Any) -> SkeletonFrontend:
    return SkeletonFrontend(resolve(SkeletonConfig, values))


def raw(joints: np.ndarray, **values: Any) -> np.ndarray:
    return frontend(**values).raw_features(joints)


def turned(joints: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(joints @ rotation(np.deg2rad(degrees), 0.0, 0.0).T)


@pytest.mark.parametrize("center", ["frame", "clip"])
def test_where_a_body_stands_and_how_tall_it_is_does_not_matter(center: str) -> None:
    body = clip().astype(np.float64)
    expected = raw(body, features=ALL, center=center, lags=[1, 5])
    moved = raw(1.7 * body + [0.5, -0.3, 1.0], features=ALL, center=center, lags=[1, 5])
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    metres = raw(1.7 * body, features=["positions"], scale="none")
    np.testing.assert_allclose(metres, 1.7 * raw(body, features=["positions"], scale="none"), atol=1e-6)


def test_which_way_a_body_faces_matters_only_where_it_is_not_turned() -> None:
    body = clip().astype(np.float64)
    for degrees in (30.0, 180.0, -75.0):
        for turn in ("clip", "frame"):
            np.testing.assert_allclose(
                raw(turned(body, degrees), features=ALL, turn=turn), raw(body, features=ALL, turn=turn), atol=1e-6
            )
        assert np.abs(raw(turned(body, degrees)) - raw(body)).max() > 0.1
    right = raw(turned(body, 40.0), features=["positions"], turn="frame").reshape(20, 20, 3)
    across = right[:, [1, 5]].sum(axis=1) - right[:, [0, 4]].sum(axis=1)
    np.testing.assert_allclose(across[:, 2], 0.0, atol=1e-9)  # shoulders and hips lie along x, the right ones to +x
    assert (across[:, 0] > 0).all()


def test_a_body_that_turns_within_a_clip_is_seen_to_turn() -> None:
    still = np.repeat(POSE[None], 30, axis=0)
    spun = np.stack([turned(frame, 6.0 * t) for t, frame in enumerate(still)])
    assert np.ptp(raw(spun, features=["positions"], turn="frame"), axis=0).max() < 1e-9
    assert np.ptp(raw(spun, features=["positions"], turn="clip"), axis=0).max() > 0.5


def test_what_each_feature_says() -> None:
    body = clip(9).astype(np.float64)
    torso = np.median(np.linalg.norm(body[:, 2] - body[:, 6], axis=1))
    positions = raw(body, features=["positions"]).reshape(9, 20, 3)
    np.testing.assert_allclose(positions[4, 12], (body[4, 12] - body[4, 6]) / torso)
    at_clip = raw(body, features=["positions"], center="clip").reshape(9, 20, 3)
    np.testing.assert_allclose(at_clip[4, 12], (body[4, 12] - np.median(body[:, 6], axis=0)) / torso)
    velocities = raw(body, features=["velocities"], lags=[1, 3]).reshape(9, 2, 20, 3)
    np.testing.assert_allclose(velocities[5, 0], positions[5] - positions[4])
    np.testing.assert_allclose(velocities[5, 1], positions[5] - positions[2])
    np.testing.assert_allclose(velocities[2, 1], positions[2] - positions[0])
    np.testing.assert_array_equal(velocities[0], 0.0)
    speed = raw(body, features=["speed"], lags=[1, 3]).reshape(9, 2, 20)
    np.testing.assert_allclose(speed, np.linalg.norm(velocities, axis=3))
    bones = raw(body, features=["bones"]).reshape(9, 19, 3)
    forearm = JOINTS.bones.index((8, 10))
    along = body[3, 10] - body[3, 8]
    np.testing.assert_allclose(bones[3, forearm], along / np.linalg.norm(along))
    angles = raw(body, features=["angles"])
    elbow = JOINTS.meeting().index((JOINTS.bones.index((1, 8)), forearm))
    upper = body[3, 8] - body[3, 1]
    cosine = along @ upper / np.linalg.norm(along) / np.linalg.norm(upper)
    np.testing.assert_allclose(angles[3, elbow], cosine)
    reach = raw(body, features=["reach"]).reshape(9, 10, 3)
    np.testing.assert_allclose(reach[3, 1], (body[3, 12] - body[3, 19]) / torso)  # from the head to the right hand


def test_sizes_and_order() -> None:
    for values in ({"features": ALL, "lags": [1, 2]}, {"features": ["angles"]}, {"features": ["speed", "bones"]}):
        assert frontend(**values).size == raw(clip(), **values).shape[1]
    both = raw(clip(), features=["bones", "positions"])
    np.testing.assert_array_equal(both, np.hstack([raw(clip(), features=[f]) for f in ("bones", "positions")]))


def test_a_clip_alone_and_again() -> None:
    """Features hang on the clip and on what was fitted, not on the clips before."""
    clips = [clip(frames, seed) for seed, frames in enumerate((1, 2, 20, 33))]
    made = frontend(features=ALL, smooth=1.5, turn="clip").fit(clips)
    together = [made.features(one) for one in clips]
    for one, features in zip(reversed(clips), reversed(together), strict=True):
        assert torch.equal(made.features(one), features)
        assert features.shape == (len(one), made.size)
        assert features.dtype == torch.float32
        assert features.isfinite().all()


def test_fitted_on_train() -> None:
    clips = [clip(30, seed) for seed in range(5)]
    each = frontend(normalize="each").fit(clips)
    values = torch.cat([each.features(one) for one in clips])
    moving = values.std(dim=0, unbiased=False) > 1e-2
    assert moving.sum() == each.size - 6  # the centre is always at its own place
    torch.testing.assert_close(values.mean(dim=0), torch.zeros(each.size), atol=1e-3, rtol=0)
    torch.testing.assert_close(values.std(dim=0, unbiased=False)[moving], torch.ones(each.size - 6), atol=1e-3, rtol=0)
    kind = frontend(normalize="kind", lags=[1, 5]).fit(clips)
    assert len(set(kind.deviation.tolist())) == 3  # positions, and velocities of each lag
    values = torch.cat([kind.features(one) for one in clips])
    for part in (values[:, :60], values[:, 60:120], values[:, 120:]):
        assert float(part.square().mean()) == pytest.approx(1.0, abs=1e-3)
    none = frontend(normalize="none").fit(clips)
    np.testing.assert_allclose(none.features(clips[0]).numpy(), none.raw_features(clips[0]), atol=1e-6)
    with pytest.raises(DataError, match="No training clip"):
        frontend().fit([])


def test_saved_and_loaded(tmp_path: Path) -> None:
    made = frontend().fit([clip()])
    made.save(tmp_path)
    loaded = SkeletonFrontend.load(tmp_path, made.config)
    assert torch.equal(loaded.features(clip(seed=3)), made.features(clip(seed=3)))
    with pytest.raises(RunError, match="'mean' should hold 60 numbers"):
        SkeletonFrontend.load(tmp_path, SkeletonConfig(features=("positions",)))
    stored = read_json(tmp_path / "skeleton.json")
    for damage in (["x"] * made.size, [0.0] * made.size, [float("nan")] * made.size, None):
        write_json(tmp_path / "skeleton.json", {**stored, "deviation": damage})
        with pytest.raises(RunError, match="'deviation' should hold"):
            SkeletonFrontend.load(tmp_path, made.config)
    write_json(tmp_path / "skeleton.json", [])
    with pytest.raises(RunError, match="'mean' should hold"):
        SkeletonFrontend.load(tmp_path, made.config)


def test_context_is_what_a_frame_needs() -> None:
    assert frontend().context is None
    live = {"scale": "none", "lags": [1, 4], "features": ["positions", "velocities", "bones"], "turn": "frame"}
    made = frontend(**live)
    assert made.context == 4
    assert frontend(**{**live, "features": ["bones"]}).context == 0
    for whole in (
        {"scale": "torso"},
        {"center": "clip"},
        {"turn": "clip"},
        {"smooth": 1},
        {"frames": 9},
        {"stride": 2},
    ):
        assert frontend(**{**live, **whole}).context is None
    body = clip(40)
    np.testing.assert_allclose(made.raw_features(body)[20:], made.raw_features(body[16:])[4:])


def test_what_is_missing_is_filled_in() -> None:
    body, made = clip(20), frontend()
    np.testing.assert_array_equal(made.clean(body), body)
    with_confidence = np.concatenate([body, np.ones((20, 20, 1), np.float32)], axis=2)
    np.testing.assert_array_equal(made.clean(with_confidence), body)
    for missing in (0.0, np.nan, np.inf):
        damaged = body.copy()
        damaged[:3] = damaged[17:] = missing  # cut off
        damaged[8:10] = missing  # no body in the middle
        damaged[12, 5, 1] = np.nan  # one joint
        damaged[3, 7] = damaged[16, 8] = missing  # at the ends: nearest
        clean = made.clean(damaged)
        assert clean.shape == (14, 20, 3)
        assert np.isfinite(clean).all()
        expected = body[3:17].copy()
        expected[5] = body[7] + (body[10] - body[7]) / 3
        expected[6] = body[7] + (body[10] - body[7]) * 2 / 3
        expected[9, 5] = (body[11, 5] + body[13, 5]) / 2
        expected[0, 7], expected[13, 8] = body[4, 7], body[15, 8]
        np.testing.assert_allclose(clean, expected, atol=1e-6)


def gaps(start: int, end: int, joint: int | slice = slice(None)) -> np.ndarray:
    body = clip(100)
    body[start:end, joint] = 0.0
    return body


@pytest.mark.parametrize(
    ("joints", "sentence"),
    [
        (np.zeros((0, 20, 3)), "there is no frame"),
        (np.zeros((9, 20, 4)), "no body is seen in any of the 9 frames"),
        (np.full((9, 20, 3), np.nan), "no body is seen"),
        (clip()[:, :15], "a body of 15 joints, where the configuration has 20"),
        (clip()[:, :, :2], r"the shape \[20, 20, 2\]"),
        (clip()[0], r"the shape \[20, 3\]"),
        (gaps(30, 80), "joint 0 is missing in 50 frames in a row, of which 30"),
        (gaps(0, 100, 7), "joint 7 is missing in 100 frames"),
        (gaps(50, 100, 7), "joint 7 is missing in 50 frames"),
        (np.ones((9, 20, 3)), "the torso has no length"),
    ],
)
def test_what_cannot_be_used(joints: np.ndarray, sentence: str) -> None:
    with pytest.raises(Broken, match=sentence):
        frontend().clean(joints)


def test_one_frame_is_a_clip() -> None:
    made = frontend(features=ALL, smooth=2.0, turn="clip", lags=[1, 9])
    features = made.features(made.clean(clip(1)))
    assert features.shape == (1, made.size)
    assert features.isfinite().all()
    assert frontend(frames=7).features(clip(1)).shape[0] == 7


def test_time() -> None:
    body = clip(31).astype(np.float64)
    assert frontend(frames=16).features(body).shape[0] == 16
    np.testing.assert_array_equal(raw(body, stride=3, smooth=1.0), raw(body, smooth=1.0)[::3])
    assert frontend(stride=3).features(clip(1)).shape[0] == 1
    np.testing.assert_allclose(resample(body, np.arange(0, 31, 2)), body[::2])
    np.testing.assert_allclose(resample(body, np.array([2.25])), [0.75 * body[2] + 0.25 * body[3]])
    line = np.arange(30.0)[:, None] * np.ones(3)
    np.testing.assert_allclose(smoothed(line, 1.5)[10:20], line[10:20], atol=1e-6)  # a straight line stays one
    np.testing.assert_allclose(smoothed(np.ones((5, 2)), 3.0), 1.0)
    noise = np.random.default_rng(0).normal(size=(200, 1))
    assert smoothed(noise, 2.0).std() < 0.5 * noise.std()


def test_configuration_that_makes_no_sense() -> None:
    for values, sentence in (
        ({"joints": {"count": 15}}, "of 15 joints the last is 14"),
        ({"joints": {"chest": 6}}, "center and chest are one joint"),
        ({"joints": {"bones": [[2, 3]]}}, r"the bone \[2, 3\] should begin at the centre"),
        ({"joints": {"pairs": [[0, 1], [1, 4]]}}, "two pairs"),
        ({"features": []}, "features"),
        ({"features": ["bones", "bones"]}, "named twice"),
        ({"features": ["limbs"]}, "'limbs' is not one of"),
        ({"lags": [0]}, "lags are frames, 1 to 1000"),
        ({"lags": []}, "velocities and speed need a lag"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            resolve(SkeletonConfig, values)
    assert frontend(features=["bones"], lags=[]).size == 57


def test_another_skeleton() -> None:
    """A body of six joints; and the default's joints in another order give the same, in that order."""
    small = {
        **{"count": 6, "center": 0, "chest": 1, "left_shoulder": 2, "right_shoulder": 3, "left_hip": 4},
        **{"right_hip": 5, "ends": [2, 3], "bones": [[0, 1], [1, 2], [1, 3]], "pairs": [[2, 3], [4, 5]]},
    }
    body = clip()[:, [6, 2, 0, 1, 4, 5]]
    made = frontend(joints=small, features=ALL)
    assert made.features(made.clean(body)).shape == (20, made.size)
    positions = frontend(joints=small, features=["positions"]).raw_features(body).reshape(20, 6, 3)
    whole = raw(clip(), features=["positions"]).reshape(20, 20, 3)
    np.testing.assert_allclose(positions, whole[:, [6, 2, 0, 1, 4, 5]])


def test_default_pairs_are_left_and_right() -> None:
    """The pose is symmetric, so its mirror image is the pose itself."""
    np.testing.assert_allclose(mirrored(POSE[None], JOINTS)[0], POSE, atol=1e-12)
