"""Random variations of a clip of joints: seen from another side, another body, another pace, badly tracked.

All of it works on clean positions, before features are made of them. Every choice comes from the generator that is
given. What the front-end undoes has no effect: `yaw` where it turns the body, `scale` where it divides by the torso.

Shapes: T frames, J joints.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from seqkit.config import Config
from seqkit.frontends.joints import JointsConfig
from seqkit.frontends.skeleton import resample

_KNOTS = 4  # stretches of a clip that a warp plays at speeds of their own


class SkeletonAugmentConfig(Config):
    """What training does to joints, anew in each epoch."""

    yaw: float = Field(default=0.0, ge=0.0, le=180.0)
    """Turn about the vertical axis by up to so many degrees, either way."""
    pitch: float = Field(default=0.0, ge=0.0, le=90.0)
    """Tilt, as a camera that looks down does, by up to so many degrees."""
    roll: float = Field(default=0.0, ge=0.0, le=90.0)
    """Lean to a side by up to so many degrees."""
    scale: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Scale the whole body between 1 - this and 1 + this."""
    limbs: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Scale each bone between 1 - this and 1 + this, left and right alike, its direction staying what it is: another
    person's proportions."""
    speed: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Play at a speed between 1 - this and 1 + this."""
    warp: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Play stretches of the clip at speeds of their own, between 1 - this and 1 + this; its length stays."""
    crop: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Cut off up to this share of the frames, at either end."""
    jitter: float = Field(default=0.0, ge=0.0)
    """Standard deviation of noise on each joint in each frame, as a share of the body's size."""
    shift: float = Field(default=0.0, ge=0.0)
    """As jitter, one draw for a joint that it keeps over the clip: a tracker's error that stays."""
    joint_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the joints that are lost: each stays in its mean place over the clip."""
    mirror: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the clips that are mirrored, left for right; for actions that either hand can do."""


def augment_skeleton(
    clip: np.ndarray, config: SkeletonAugmentConfig, joints: JointsConfig, rng: np.random.Generator
) -> np.ndarray:
    """A variation (T', J, 3) float32 of a clean clip (T, J, 3)."""
    body = clip.astype(np.float64)
    body = _in_time(body, config, rng)
    if config.mirror and rng.random() < config.mirror:
        body = mirrored(body, joints)
    if config.limbs:
        body = with_limbs(body, joints, _limb_scales(config.limbs, joints, rng))
    if config.yaw or config.pitch or config.roll:
        angles = [rng.uniform(-limit, limit) for limit in (config.yaw, config.pitch, config.roll)]
        middle = np.median(body[:, joints.center], axis=0)
        body = (body - middle) @ rotation(*np.deg2rad(angles)).T + middle
    if config.scale:
        body = body * (1.0 + rng.uniform(-config.scale, config.scale))
    body = _badly_tracked(body, config, joints, rng)
    return body.astype(np.float32)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The matrix (3, 3) that rolls about z, then pitches about x, then turns about the vertical y; radians."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    about_z = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(about_y @ about_x @ about_z)


def mirrored(clip: np.ndarray, joints: JointsConfig) -> np.ndarray:
    """The clip (T, J, 3) as a mirror shows it: x is negated, and left joints are right ones."""
    order = np.arange(clip.shape[1])
    for left, right in joints.pairs:
        order[left], order[right] = right, left
    return np.asarray(clip[:, order] * np.array([-1.0, 1.0, 1.0]))


def with_limbs(clip: np.ndarray, joints: JointsConfig, scales: np.ndarray) -> np.ndarray:
    """The clip (T, J, 3) with each bone's length times its scale (bones,), every direction and the centre as it was.

    A joint that no bone leads to stays where it is.
    """
    made = clip.copy()
    for (start, end), scale in zip(joints.bones, scales, strict=True):
        made[:, end] = made[:, start] + scale * (clip[:, end] - clip[:, start])
    return made


def _in_time(body: np.ndarray, config: SkeletonAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Cropped, faster or slower, and warped."""
    first, last = 0.0, len(body) - 1.0
    if config.crop:
        share, where = rng.uniform(0.0, config.crop), rng.random()
        first, last = first + share * where * last, last - share * (1.0 - where) * last
    frames = last - first + 1.0
    if config.speed:
        frames /= 1.0 + rng.uniform(-config.speed, config.speed)
    total = max(round(frames), 1)
    if total == len(body) and not config.warp:
        return body
    along = np.linspace(0.0, 1.0, total)  # of the way from the first to the last frame
    if config.warp:
        knots = np.concatenate([[0.0], np.cumsum(1.0 + rng.uniform(-config.warp, config.warp, _KNOTS))])
        along = np.interp(along, np.linspace(0.0, 1.0, _KNOTS + 1), knots / knots[-1])
    return resample(body, first + along * (last - first))


def _limb_scales(limit: float, joints: JointsConfig, rng: np.random.Generator) -> np.ndarray:
    """A scale for each bone (bones,); the two bones of a pair have one."""
    twin = {right: left for left, right in joints.pairs}
    drawn = 1.0 + rng.uniform(-limit, limit, joints.count)  # by the joint that a bone leads to
    return np.array([drawn[twin.get(end, end)] for _, end in joints.bones])


def _badly_tracked(
    body: np.ndarray, config: SkeletonAugmentConfig, joints: JointsConfig, rng: np.random.Generator
) -> np.ndarray:
    """With noise, and with joints that are lost."""
    if config.jitter or config.shift:
        size = np.median(np.linalg.norm(body[:, joints.chest] - body[:, joints.center], axis=1))
        noise = config.shift * rng.standard_normal(body.shape[1:]) + config.jitter * rng.standard_normal(body.shape)
        body = body + size * noise
    if config.joint_dropout:
        lost = np.asarray(rng.random(body.shape[1]) < config.joint_dropout)
        lost[[joints.center, joints.chest]] = False  # features are relative to them
        centers = body[:, joints.center, None]
        body = np.where(lost[None, :, None], (body - centers).mean(axis=0) + centers, body)
    return body
