"""Which joint of a skeleton is which: indices, from 0, that a configuration holds."""

from __future__ import annotations

from itertools import combinations
from typing import Self

from pydantic import Field, model_validator

from seqkit.config import Config


class JointsConfig(Config):
    """The joints of a body. The default is the 20 joints of MSR Action3D (Li et al. 2010).

    They are, by index: 0 left shoulder, 1 right shoulder, 2 chest (between the shoulders), 3 spine, 4 left hip, 5 right
    hip, 6 centre of the hips, 7 left elbow, 8 right elbow, 9 left wrist, 10 right wrist, 11 left hand, 12 right hand,
    13 left knee, 14 right knee, 15 left ankle, 16 right ankle, 17 left foot, 18 right foot, 19 head. The order is that
    of `J` in the data set's own drawing script (drawskt.m), less one. Kinect's own library (its enumeration
    NUI_SKELETON_POSITION_INDEX) has the same 20 joints in another order: 0 hip centre, 1 spine, 2 shoulder centre,
    3 head, 4-7 left shoulder to hand, 8-11 right shoulder to hand, 12-15 left hip to foot, 16-19 right hip to foot.
    """

    count: int = Field(default=20, ge=2, le=500)
    """Joints of a body."""
    center: int = 6
    """Where the body is: the centre of the hips."""
    chest: int = 2
    """The upper end of the torso; its lower end is the centre."""
    left_shoulder: int = 0
    """With the other three, which way the body faces."""
    right_shoulder: int = 1
    """See left_shoulder."""
    left_hip: int = 4
    """See left_shoulder."""
    right_hip: int = 5
    """See left_shoulder."""
    ends: tuple[int, ...] = (19, 11, 12, 17, 18)
    """Head, hands and feet: what `reach` goes between."""
    bones: tuple[tuple[int, int], ...] = (
        *((6, 3), (3, 2), (2, 19)),
        *((2, 0), (0, 7), (7, 9), (9, 11)),
        *((2, 1), (1, 8), (8, 10), (10, 12)),
        *((6, 4), (4, 13), (13, 15), (15, 17)),
        *((6, 5), (5, 14), (14, 16), (16, 18)),
    )
    """From joint to joint, from the centre outwards: a bone begins at the centre or where an earlier one ends."""
    pairs: tuple[tuple[int, int], ...] = ((0, 1), (4, 5), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 18))
    """The left and the right one of each pair of joints; what a mirror swaps."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        single = ("center", "chest", "left_shoulder", "right_shoulder", "left_hip", "right_hip")
        named = [(name, getattr(self, name)) for name in single]
        named += [("ends", end) for end in self.ends]
        named += [(name, joint) for name in ("bones", "pairs") for two in getattr(self, name) for joint in two]
        for name, joint in named:
            if not 0 <= joint < self.count:
                raise ValueError(f"{name} names joint {joint}; of {self.count} joints the last is {self.count - 1}")
        if self.center == self.chest:
            raise ValueError(f"center and chest are one joint, {self.center}; they are the ends of the torso")
        reached = {self.center}
        for start, end in self.bones:
            if start not in reached or end in reached:
                raise ValueError(
                    f"the bone [{start}, {end}] should begin at the centre ({self.center}) or where an earlier bone "
                    "ends, and lead to a joint that none has led to"
                )
            reached.add(end)
        paired = [joint for pair in self.pairs for joint in pair]
        if len(set(paired)) < len(paired):
            raise ValueError("a joint stands in two pairs")
        return self

    def girdles(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The left and right shoulder, and the left and right hip."""
        return (self.left_shoulder, self.right_shoulder), (self.left_hip, self.right_hip)

    def meeting(self) -> list[tuple[int, int]]:
        """Every two bones (their numbers) that share a joint."""
        numbered = enumerate(self.bones)
        return [(a, b) for (a, first), (b, second) in combinations(numbered, 2) if set(first) & set(second)]
