"""Variations of pictures: nothing where nothing is asked for, the same for the same draw, and what each one says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqkit.frontends.video_augmentation import VideoAugmentConfig, augment_video

EVERYTHING = {"zoom": 0.3, "shift": 0.2, "flip": 0.5, "speed": 0.4, "crop": 0.3, "brightness": 0.3, "contrast": 0.3}
COLOURS = {"saturation": 0.5, "hue": 0.2}


def _clip(length: int = 12) -> np.ndarray:
    """Frames that tell their number by their brightness."""
    clip = np.random.default_rng(0).integers(0, 20, (length, 10, 14, 3)).astype(np.uint8)
    return clip + (np.arange(length, dtype=np.uint8) * 18)[:, None, None, None]


def _vary(clip: np.ndarray, seed: int = 0, **settings: float) -> np.ndarray:
    return augment_video(clip, VideoAugmentConfig(**settings), np.random.default_rng(seed))


def test_nothing_asked_for_nothing_done() -> None:
    np.testing.assert_array_equal(_vary(_clip()), _clip())


@pytest.mark.parametrize("length", [1, 2, 12])
def test_the_same_draw_gives_the_same_and_torch_has_no_say(length: int) -> None:
    clip = _clip(length)
    torch.manual_seed(1)
    first = _vary(clip, 3, **EVERYTHING, **COLOURS)
    torch.manual_seed(2)
    np.testing.assert_array_equal(_vary(clip, 3, **EVERYTHING, **COLOURS), first)
    assert first.dtype == np.uint8
    assert first.shape[1:] == clip.shape[1:]
    assert len(first) >= 1
    if length == 12:
        assert any(not np.array_equal(_vary(clip, seed, **EVERYTHING, **COLOURS), first) for seed in range(4, 8))
    np.testing.assert_array_equal(clip, _clip(length))  # what was given is as it was


def _numbers(clip: np.ndarray) -> list[int]:
    return [int(frame.min() // 18) for frame in clip]


def test_speed_and_crop_keep_the_order_of_frames() -> None:
    lengths = set()
    for seed in range(30):
        numbers = _numbers(_vary(_clip(), seed, speed=0.5, crop=0.5))
        assert numbers == sorted(numbers)
        lengths.add(len(numbers))
    assert min(lengths) < 8
    assert max(lengths) > 14
    cut = [_numbers(_vary(_clip(), seed, crop=0.5)) for seed in range(30)]
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in cut)
    assert {numbers[0] for numbers in cut} > {0, 1}


def test_flip_is_a_mirror_of_the_whole_clip() -> None:
    flipped = _vary(_clip(), flip=1.0)
    np.testing.assert_array_equal(flipped, _clip()[:, :, ::-1])
    some = [np.array_equal(_vary(_clip(), seed, flip=0.3), _clip()) for seed in range(200)]
    assert 0.6 < np.mean(some) < 0.8


def test_a_shift_moves_all_frames_alike() -> None:
    clip = _clip()
    for seed in range(10):
        moved = _vary(clip, seed, shift=0.3)
        places = []
        for frame, shown in zip(clip, moved, strict=True):
            found = [
                (down, right)
                for down in range(-3, 4)
                for right in range(-4, 5)
                if np.array_equal(_inner(np.roll(frame, (down, right), (0, 1))), _inner(shown))
            ]
            places.append(found)
        assert all(places)
        assert set(places[0]).intersection(*map(set, places[1:]))


def _inner(frame: np.ndarray) -> np.ndarray:
    return frame[4:6, 5:9]


def test_zoom_shows_less_of_the_picture() -> None:
    clip = np.zeros((2, 20, 20, 3), np.uint8)
    clip[:, :, :2] = clip[:, :, -2:] = 255  # borders left and right
    shown = [int((_vary(clip, seed, zoom=0.6) > 127).all(axis=(0, 1, 3)).sum()) for seed in range(40)]
    assert min(shown) < 2
    assert max(shown) > 2


def test_colours_change_alike_in_all_frames() -> None:
    clip = np.full((3, 4, 4, 3), 100, np.uint8)
    brighter = [_vary(clip, seed, brightness=0.5) for seed in range(20)]
    values = {int(one[0, 0, 0, 0]) for one in brighter}
    assert min(values) < 80
    assert max(values) > 120
    assert all((one == one[0, 0, 0, 0]).all() for one in brighter)
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert any(_vary(red, seed, hue=0.4)[..., 1:].max() > 100 for seed in range(20))
