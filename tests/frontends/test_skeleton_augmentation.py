"""Variations of joints: what each changes, what it leaves, and that all hangs on the generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqkit.frontends.joints import JointsConfig
from seqkit.frontends.skeleton import SkeletonConfig, SkeletonFrontend
from seqkit.frontends.skeleton_augmentation import (
    SkeletonAugmentConfig,
    augment_skeleton,
    mirrored,
    rotation,
    with_limbs,
)
from tests.frontends.test_skeleton import POSE, clip

JOINTS = JointsConfig()
EVERYTHING = {
    **{"yaw": 20, "pitch": 5, "roll": 5, "scale": 0.2, "limbs": 0.2, "speed": 0.3, "warp": 0.3, "crop": 0.2},
    **{"jitter": 0.01, "shift": 0.02, "joint_dropout": 0.1, "mirror": 0.5},
}


def vary(body: np.ndarray, seed: int = 0, **values: Any) -> np.ndarray:
    config = SkeletonAugmentConfig(**values)
    return augment_skeleton(body, config, JOINTS, np.random.default_rng(seed))


def lengths(body: np.ndarray) -> np.ndarray:
    start, end = np.array(JOINTS.bones).T
    return np.asarray(np.linalg.norm(body[:, end] - body[:, start], axis=2))


def test_nothing_is_asked_for() -> None:
    np.testing.assert_array_equal(vary(clip()), clip())


def test_the_generator_is_all_it_hangs_on() -> None:
    body = clip()
    first, again, other = (vary(body, seed, **EVERYTHING) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    np.testing.assert_array_equal(body, clip())  # the item itself is as it was
    assert first.dtype == np.float32


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_each_does_something(name: str) -> None:
    value = 0.9 if name in ("mirror", "joint_dropout") else EVERYTHING[name]
    varied = [vary(clip(), seed, **{name: value}) for seed in range(5)]
    assert any(one.shape != (20, 20, 3) or np.abs(one - clip()).max() > 1e-4 for one in varied)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(frames: int) -> None:
    for seed in range(10):
        varied = vary(clip(frames), seed, **EVERYTHING)
        assert len(varied) >= 1
        assert np.isfinite(varied).all()


def test_turning_keeps_the_body() -> None:
    body = clip()
    varied = vary(body, yaw=90, pitch=20, roll=20)
    np.testing.assert_allclose(lengths(varied), lengths(body), atol=1e-5)
    np.testing.assert_allclose(np.median(varied[:, 6], axis=0), np.median(body[:, 6], axis=0), atol=0.03)
    only_yaw = vary(body, yaw=90)
    np.testing.assert_allclose(only_yaw[..., 1], body[..., 1], atol=1e-6)  # heights stay
    matrix = rotation(0.3, 0.2, -0.4)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation(np.pi / 2, 0, 0) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(0, np.pi / 2, 0) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(0, 0, np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_how_far_it_turns() -> None:
    across = POSE[1] - POSE[0]
    angles = []
    for seed in range(200):
        varied = vary(POSE[None].astype(np.float32), seed, yaw=30)[0]
        turned = varied[1] - varied[0]
        angles.append(np.rad2deg(np.arctan2(turned[2], turned[0]) - np.arctan2(across[2], across[0])))
    assert -30 <= min(angles) < -25
    assert 25 < max(angles) <= 30


def test_limbs_keep_every_direction() -> None:
    body = clip().astype(np.float64)
    scales = np.random.default_rng(0).uniform(0.8, 1.2, len(JOINTS.bones))
    made = with_limbs(body, JOINTS, scales)
    np.testing.assert_allclose(lengths(made), lengths(body) * scales)
    bones = SkeletonFrontend(SkeletonConfig(features=("bones", "angles")))
    np.testing.assert_allclose(bones.raw_features(made), bones.raw_features(body), atol=1e-9)
    np.testing.assert_array_equal(made[:, 6], body[:, 6])
    varied = vary(POSE[None].astype(np.float32), limbs=0.3)
    np.testing.assert_allclose(mirrored(varied, JOINTS), varied, atol=1e-5)  # left as right
    assert np.abs(lengths(varied) / lengths(POSE[None]) - 1).max() < 0.3 + 1e-4


def test_the_front_end_undoes_scale() -> None:
    made = SkeletonFrontend(SkeletonConfig())
    np.testing.assert_allclose(made.raw_features(vary(clip(), scale=0.5)), made.raw_features(clip()), atol=1e-4)


def test_time() -> None:
    line = (np.arange(50.0)[:, None, None] + np.zeros((50, 20, 3))).astype(np.float32)  # a frame holds its number
    counts = {len(vary(line, seed, speed=0.2)) for seed in range(100)}
    assert min(counts) in (42, 43)
    assert max(counts) in (60, 61, 62)
    crops = [vary(line, seed, crop=0.4)[[0, -1], 0, 0] for seed in range(20)]
    assert max(start for start, _ in crops) > 5  # at either end
    assert min(end for _, end in crops) < 44
    for seed in range(20):
        played = vary(line, seed, speed=0.2)[:, 0, 0]
        assert played[0] == 0
        assert played[-1] == 49
        cropped = vary(line, seed, crop=0.4)[:, 0, 0]
        assert 29 <= len(cropped) <= 50
        assert cropped[-1] - cropped[0] == pytest.approx(len(cropped) - 1, abs=0.51)
        warped = vary(line, seed, warp=0.5)[:, 0, 0]
        assert len(warped) == 50
        assert (warped[0], warped[-1]) == (0, 49)
        steps = np.diff(warped)
        assert steps.min() > 0.3  # time goes on
        assert np.ptp(steps) > 0.05


def test_noise_is_of_the_body_s_size() -> None:
    body = np.repeat(POSE[None], 400, axis=0).astype(np.float32)
    torso = np.linalg.norm(POSE[2] - POSE[6])
    jittered = vary(body, jitter=0.02) - body
    assert jittered.std() == pytest.approx(0.02 * torso, rel=0.02)
    assert jittered.std(axis=0).mean() == pytest.approx(0.02 * torso, rel=0.02)
    shifted = vary(body, shift=0.05) - body
    assert np.ptp(shifted, axis=0).max() < 1e-6
    assert shifted[0].std() == pytest.approx(0.05 * torso, rel=0.3)


def test_lost_joints_stay_with_the_body() -> None:
    body = clip() + np.linspace(0, 1, 20, dtype=np.float32)[:, None, None]  # it walks
    lost = 0
    for seed in range(30):
        varied = vary(body, seed, joint_dropout=0.3)
        still = np.ptp(varied - varied[:, 6, None], axis=0).max(axis=1) < 1e-5
        same = (varied == body).all(axis=(0, 2))
        assert (still | same).all()
        assert same[[6, 2]].all()
        lost += int(still.sum()) - 1  # the centre is still to itself
    assert lost / (30 * 18) == pytest.approx(0.3, abs=0.06)


def test_a_mirror_swaps_left_and_right() -> None:
    body = clip()
    image = vary(body, mirror=1.0)
    np.testing.assert_allclose(image[:, 12], body[:, 11] * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(image[:, 19], body[:, 19] * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(vary(image, mirror=1.0), body, atol=1e-6)
