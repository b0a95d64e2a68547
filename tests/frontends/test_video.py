"""The video front-end: pictures become what the formula says, and a clip in a batch is what it is alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seqkit.errors import DataError, RunError
from seqkit.frontends.video import VideoConfig, VideoFrontend


def _clip(seed: int, length: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (length, 16, 24, 3)).astype(np.uint8)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("differences", [False, True])
def test_features_have_mean_0_and_variance_1_over_training(grey: bool, differences: bool) -> None:
    clips = [_clip(seed, length) for seed, length in enumerate([5, 1, 9])]
    frontend = VideoFrontend(VideoConfig(grey=grey, differences=differences)).fit(clips)
    values = torch.cat([frontend.features(clip) for clip in clips])
    assert values.shape == (15, frontend.channels, 16, 24)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.mean(dim=(0, 2, 3)), torch.zeros(frontend.channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        values.std(dim=(0, 2, 3), correction=0), torch.ones(frontend.channels), atol=1e-3, rtol=0
    )


def test_differences_are_those_to_the_frame_before() -> None:
    clip = _clip(0)
    plain = VideoFrontend(VideoConfig())
    both = VideoFrontend(VideoConfig(differences=True))
    colours = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(plain.features(clip), colours)
    features = both.features(clip)
    torch.testing.assert_close(features[:, :3], colours)
    assert not features[0, 3:].any()
    torch.testing.assert_close(features[1:, 3:], colours[1:] - colours[:-1])
    # Read in two pieces, the second one with the frame before it, it is the same.
    assert both.context == 1
    torch.testing.assert_close(both.features(clip[2:])[1:], features[3:])


def test_grey_is_television_s() -> None:
    clip = np.zeros((1, 8, 8, 3), np.uint8)
    clip[..., 1] = 255
    assert float(VideoFrontend(VideoConfig(grey=True)).features(clip).mean()) == pytest.approx(0.587)


def test_statistics_for_torchvision_s_networks_and_their_file(tmp_path: Path) -> None:
    config = VideoConfig(normalize="imagenet")
    frontend = VideoFrontend(config).fit(iter([]))  # nothing has to be read
    white = np.full((1, 8, 8, 3), 255, np.uint8)
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(frontend.features(white)[0, :, 0, 0].numpy(), expected, rtol=1e-5)
    frontend.save(tmp_path)
    torch.testing.assert_close(VideoFrontend.load(tmp_path, config).features(white), frontend.features(white))
    with pytest.raises(RunError, match="should hold 1 numbers"):
        VideoFrontend.load(tmp_path, VideoConfig(grey=True))


def test_bad_settings_and_no_clip() -> None:
    with pytest.raises(ValueError, match="height and width"):
        VideoConfig(size=(4, 64))
    with pytest.raises(ValueError, match="for colours"):
        VideoConfig(normalize="imagenet", grey=True)
    with pytest.raises(DataError, match="No training clip"):
        VideoFrontend(VideoConfig()).fit(iter([]))
