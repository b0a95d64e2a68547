"""A person of thirteen joints, seen from the side, who walks, runs, jumps, waves or bends: where the joints are when.

Lengths are shares of the standing height, the origin is the ground below the hips, x points where the person looks and
y up. Angles are in degrees, from hanging straight down, positive to the front.

Shapes: N joints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

JOINTS = (
    *("hip", "neck", "head"),
    *("elbow", "hand", "knee", "foot", "toe"),  # of the near side
    *("far_elbow", "far_hand", "far_knee", "far_foot", "far_toe"),
)
"""What `joints` gives, in this order."""


@dataclass(frozen=True)
class Build:
    """A person's proportions, as shares of the standing height."""

    legs: float
    """Length of the legs."""
    thigh: float
    """Share of the legs that is thigh."""
    arms: float
    upper_arm: float
    """Share of the arms that is upper arm."""
    head: float
    """Radius."""


@dataclass(frozen=True)
class Manner:
    """How somebody does it; what an action does not use is not looked at."""

    size: float
    """Of the movement; 1 is usual."""
    arms: float
    """Where or how far the arms go; 1 is usual."""
    lean: float
    """Degrees that the trunk leans forward, besides what the action does."""
    stance: float
    """Degrees between the thighs of somebody who stands."""
    both: bool
    """Whether both arms wave."""
    rest: float
    """Share of the time in which an arm that waves is let down."""


@dataclass
class _Pose:
    """Angles; the knees and elbows are how far they are bent. `lift` is the height of the lower foot."""

    lean: float = 0.0
    thigh: float = 0.0
    knee: float = 0.0
    far_thigh: float = 0.0
    far_knee: float = 0.0
    arm: float = 0.0
    elbow: float = 10.0
    far_arm: float = 0.0
    far_elbow: float = 10.0
    lift: float = 0.0


def joints(action: str, build: Build, manner: Manner, cycles: float) -> np.ndarray:
    """Where the joints (N, 2) are after so many cycles of the action (of a walk, two steps are one)."""
    pose = ACTIONS[action](manner, cycles)
    pose.lean += manner.lean
    thigh, shin = build.legs * build.thigh, build.legs * (1 - build.thigh)
    upper, fore = build.arms * build.upper_arm, build.arms * (1 - build.upper_arm)
    hip = np.zeros(2)
    trunk = 1 - build.legs - 2.4 * build.head
    neck = hip - trunk * _down(-pose.lean)
    head = neck - 1.4 * build.head * _down(-0.7 * pose.lean)
    shoulder = hip + 0.94 * (neck - hip)
    placed = [hip, neck, head]
    for arm, elbow, leg, knee in (
        (pose.arm, pose.elbow, pose.thigh, pose.knee),
        (pose.far_arm, pose.far_elbow, pose.far_thigh, pose.far_knee),
    ):
        at_elbow = shoulder + upper * _down(arm)
        at_knee = hip + thigh * _down(leg)
        at_foot = at_knee + shin * _down(leg - knee)
        at_toe = at_foot + 0.075 * _down(0.6 * (leg - knee) + 85)
        placed += [at_elbow, at_elbow + fore * _down(arm + elbow), at_knee, at_foot, at_toe]
    points = np.stack(placed)  # (N, 2)
    points[:, 1] += pose.lift - points[:, 1].min()
    return points


def _down(angle: float) -> np.ndarray:
    """The direction (2,) of a limb that hangs at an angle."""
    return np.array([math.sin(math.radians(angle)), -math.cos(math.radians(angle))])


# What is done --------------------------------------------------------------------------------------------------------


def _walk(manner: Manner, cycles: float) -> _Pose:
    turn, size = 2 * math.pi * cycles, manner.size
    swing, arms = math.sin(turn), 27 * manner.arms
    return _Pose(
        lean=2,
        thigh=3 + 27 * size * swing,
        knee=6 + 52 * size * _positive(math.cos(turn)),
        far_thigh=3 - 27 * size * swing,
        far_knee=6 + 52 * size * _positive(-math.cos(turn)),
        arm=-arms * swing,
        elbow=14 + 8 * _positive(-swing),
        far_arm=arms * swing,
        far_elbow=14 + 8 * _positive(swing),
    )


def _run(manner: Manner, cycles: float) -> _Pose:
    turn, size = 2 * math.pi * cycles, manner.size
    swing, arms = math.sin(turn), 42 * manner.arms
    return _Pose(
        lean=11,
        thigh=14 + 40 * size * swing,
        knee=20 + 82 * size * _positive(math.cos(turn + 0.35)),
        far_thigh=14 - 40 * size * swing,
        far_knee=20 + 82 * size * _positive(-math.cos(turn + 0.35)),
        arm=-6 - arms * swing,
        elbow=88,
        far_arm=-6 + arms * swing,
        far_elbow=88,
        lift=0.06 * size * swing * swing,
    )


def _jump(manner: Manner, cycles: float) -> _Pose:
    """Down, up into the air, and down again where one lands."""
    part, size = cycles % 1.0, manner.size
    crouch = flight = 0.0
    if part < 0.36:
        crouch = math.sin(math.pi * part / 0.36)
    elif part < 0.74:
        flight = (part - 0.36) / 0.38
    else:
        crouch = 0.7 * math.sin(math.pi * (part - 0.74) / 0.26)
    raised = math.sin(math.pi * flight)
    leg = 48 * size * crouch + 12 * raised
    knee = 84 * size * crouch + 26 * raised
    arm = (-45 * crouch + 130 * raised) * manner.arms
    return _Pose(
        lean=30 * size * crouch,
        thigh=leg + manner.stance / 2,
        knee=knee,
        far_thigh=leg - manner.stance / 2,
        far_knee=knee,
        arm=arm,
        elbow=15 + 20 * crouch,
        far_arm=arm - 8,
        far_elbow=15 + 20 * crouch,
        lift=0.24 * size * 4 * flight * (1 - flight),
    )


def _wave(manner: Manner, cycles: float) -> _Pose:
    """An arm goes up, waves, and is let down now and then."""
    turn = 2 * math.pi * cycles
    up = _smooth((0.5 + 0.5 * math.cos(turn / 3.4) - manner.rest) * 5)
    swing = math.sin(turn)
    arm = up * (128 * manner.arms + 9 * swing)
    elbow = 12 + up * (28 + 34 * manner.size * swing)
    return _Pose(
        lean=1.5 * math.sin(turn / 2),
        thigh=manner.stance / 2,
        knee=4,
        far_thigh=-manner.stance / 2,
        far_knee=4,
        arm=arm,
        elbow=elbow,
        far_arm=arm - 10 if manner.both else 6 * math.sin(turn / 3),
        far_elbow=elbow if manner.both else 12,
    )


def _bend(manner: Manner, cycles: float) -> _Pose:
    """The trunk goes down and comes up again; the arms hang."""
    down = (0.5 - 0.5 * math.cos(2 * math.pi * cycles)) ** 0.8
    arm = 22 * manner.arms * down
    return _Pose(
        lean=82 * manner.size * down,
        thigh=-9 * down + manner.stance / 2,
        knee=14 * down,
        far_thigh=-9 * down - manner.stance / 2,
        far_knee=14 * down,
        arm=arm,
        elbow=10,
        far_arm=arm - 9,
        far_elbow=10,
    )


def _positive(value: float) -> float:
    """The upper half of a wave, with soft feet."""
    return math.pow(max(0.0, value), 1.4)


def _smooth(value: float) -> float:
    """0 up to 0, 1 from 1 on, without a corner."""
    value = min(max(value, 0.0), 1.0)
    return value * value * (3 - 2 * value)


ACTIONS: Mapping[str, Callable[[Manner, float], _Pose]] = {
    **{"bend": _bend, "jump": _jump, "run": _run, "walk": _walk, "wave": _wave}
}
TEMPO = {"bend": (0.5, 0.8), "jump": (0.75, 1.1), "run": (1.25, 1.75), "walk": (0.75, 1.1), "wave": (1.2, 2.0)}
"""Cycles a second, the slowest and the fastest."""
PACE = {"bend": 0.0, "jump": 0.25, "run": 1.35, "walk": 0.7, "wave": 0.0}
"""Standing heights that one gets ahead in a cycle."""
