"""Encoders of frames: a frame is what it is alone, pieces are the whole, and weights are those of the file."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from seqkit.errors import ConfigError, RunError
from seqkit.frontends import frame_encoder
from seqkit.frontends.frame_encoder import FrameEncoder, FrameEncoderConfig, load_encoder
from seqkit.frontends.motion_histograms import MotionHistograms
from seqkit.sequences import Sequences
from seqkit.storage import save_tensors

LENGTHS = [3, 1, 5]


def _clips(channels: int, size: int = 32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, channels, size, size, generator=generator) for length in LENGTHS]


def _encoder(kind: str, channels: int, **settings: object) -> FrameEncoder:
    torch.manual_seed(0)
    return FrameEncoder(FrameEncoderConfig.model_validate({"kind": kind, **settings}), channels)


@pytest.mark.parametrize(
    ("kind", "channels"),
    [("small", 1), ("small", 6), ("motion", 2), ("resnet18", 3), ("mobilenet_v3_small", 3), ("shufflenet_v2_x0_5", 3)],
)
@pytest.mark.parametrize("training", [False, True])
def test_a_frame_in_a_batch_is_what_it_is_alone(kind: str, channels: int, training: bool) -> None:
    encoder = _encoder(kind, channels).train(training)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    clips = _clips(channels)
    together = encoder(Sequences.from_list(clips))
    assert together.data.shape == (sum(LENGTHS), encoder.output_size)
    for clip, rows in zip(clips, together.unpack(), strict=True):
        torch.testing.assert_close(encoder(Sequences.from_list([clip])).data, rows, rtol=1e-4, atol=1e-4)


def test_pieces_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = _encoder("small", 3).eval()
    clips = Sequences.from_list(_clips(3))
    with torch.no_grad():
        whole = encoder(clips).data
        monkeypatch.setattr(frame_encoder, "CHUNK", 2)
        torch.testing.assert_close(encoder(clips).data, whole)
        assert encoder(Sequences.from_list([torch.zeros(0, 3, 32, 32)])).data.shape == (0, encoder.output_size)


def test_dropout_leaves_out_the_same_features_in_all_frames_of_a_clip() -> None:
    encoder = _encoder("small", 3, dropout=0.5)
    clips = Sequences.from_list(_clips(3))
    plain = encoder.eval()(clips).data
    rows = encoder.train()(clips).unpack()
    for row, whole in zip(rows, clips.replace(plain).unpack(), strict=True):
        kept = (row != 0).any(dim=0) | (whole == 0).all(dim=0)
        torch.testing.assert_close(row[:, kept], 2 * whole[:, kept])
    assert any((row == 0).all(dim=0).any() for row in rows)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(7)
    network = models.shufflenet_v2_x0_5(weights=None).eval()
    path = tmp_path / f"own{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_file(network.state_dict(), path)
    encoder = _encoder("shufflenet_v2_x0_5", 3, weights=str(path), frozen=True)
    network.fc = torch.nn.Identity()
    pictures = _clips(3)[0]
    with torch.no_grad():
        torch.testing.assert_close(encoder(Sequences.from_list([pictures])).data, network(pictures))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    # A run that was trained so does not need the file again.
    path.unlink()
    settings = FrameEncoderConfig(kind="shufflenet_v2_x0_5", weights=str(path), frozen=True)
    again = FrameEncoder(settings, 3, pretrained=False)
    save_tensors(tmp_path / "encoder.safetensors", encoder.state_dict())
    load_encoder(tmp_path / "encoder.safetensors", again)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(Sequences.from_list([pictures])).data, network(pictures))
    with pytest.raises(RunError, match="not the weights of this encoder"):
        load_encoder(tmp_path / "encoder.safetensors", _encoder("small", 3))


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pth"
    torch.save({"a": torch.zeros(1)}, wrong)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not weights")
    narrow = tmp_path / "narrow.pth"
    torch.save(models.shufflenet_v2_x0_5(weights=None, num_classes=3).state_dict(), narrow)
    for weights, said in [
        (wrong, r"wrong\.pth: these are no weights of shufflenet_v2_x0_5: there is no '"),
        (narrow, r"'fc\.weight' is \[3, 1024\], where \[1000, 1024\]"),
        (broken, r"broken\.pth: not a file of weights"),
        (tmp_path / "gone.pth", "no such file"),
        ("BEST", "has DEFAULT, IMAGENET1K_V1"),
    ]:
        with pytest.raises(ConfigError, match=said):
            _encoder("shufflenet_v2_x0_5", 3, weights=str(weights))


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"resnet18"):
        _encoder("resnet81", 3)
    with pytest.raises(ConfigError, match="three colours"):
        _encoder("resnet18", 6)
    with pytest.raises(ConfigError, match="brightness and its change"):
        _encoder("motion", 3)
    for settings, said in [
        ({"channels": (12,)}, "multiples of 8"),
        ({"grid": (0, 2)}, "1 or more"),
        ({"kind": "small", "weights": "x.pth"}, "torchvision"),
        ({"kind": "resnet18", "frozen": True}, "name some"),
    ]:
        with pytest.raises(ValueError, match=said):
            FrameEncoderConfig.model_validate(settings)


@pytest.mark.parametrize("kind", ["vit_b_32", "inception_v3"])
def test_a_size_that_a_network_cannot_read_is_named(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"kind={kind} cannot read pictures of 32 x 40 .*video\\.size"):
        FrameEncoder(FrameEncoderConfig(kind=kind), 3, size=(32, 40))


def test_a_network_keeps_its_mode_and_its_numbers_when_its_size_is_tried() -> None:
    plain = _encoder("shufflenet_v2_x0_5", 3)
    torch.manual_seed(0)
    tried = FrameEncoder(FrameEncoderConfig(kind="shufflenet_v2_x0_5"), 3, size=(32, 32))
    assert tried.network.training
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(tried.state_dict()[name], tensor, rtol=0, atol=0)


def test_googlenet_s_side_answers_are_left_out_in_training() -> None:
    encoder = _encoder("googlenet", 3).train()
    assert encoder(Sequences.from_list([_clips(3)[1]])).data.shape == (1, 1024)


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value")])
def test_weights_that_cannot_be_fetched_are_named(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refused)
    with pytest.raises(ConfigError, match=r"https://.*resnet18.*cannot be fetched \(.*set model\.encoder\.weights"):
        _encoder("resnet18", 3, weights="DEFAULT")


# Histograms ----------------------------------------------------------------------------------------------------------


def _moving(direction: tuple[int, int]) -> torch.Tensor:
    """A smooth spot and its change (1, 2, H, W) as it moves by a pixel in a direction (down, right)."""
    rows, columns = np.mgrid[:24, :24]

    def spot(row: float, column: float) -> np.ndarray:
        return np.asarray(np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18))

    now, before = spot(12, 12), spot(12 - direction[0], 12 - direction[1])
    return torch.from_numpy(np.stack([now, now - before])[None]).float()


@pytest.mark.parametrize("direction", [(0, 1), (1, 0), (0, -1), (-1, 0)])
def test_motion_is_counted_where_it_goes(direction: tuple[int, int]) -> None:
    motion = MotionHistograms((1, 1), 4)(_moving(direction))[0, 4:]
    wanted = {(0, 1): 0, (1, 0): 1, (0, -1): 2, (-1, 0): 3}[direction]  # right, down, left, up
    assert int(motion.argmax()) == wanted


def test_edges_have_no_direction_and_a_still_picture_no_motion() -> None:
    stripes = torch.zeros(1, 2, 16, 16)
    stripes[:, 0, :, ::4] = 1.0
    histograms = MotionHistograms((1, 1), 4)(stripes)[0]
    across = histograms[:4]
    assert int(across.argmax()) == 0
    assert float(histograms[4:].abs().max()) == 0.0
    turned = MotionHistograms((1, 1), 4)(stripes.transpose(2, 3))[0, :4]
    assert int(turned.argmax()) == 2
    torch.testing.assert_close(MotionHistograms((1, 1), 4)(1 - stripes)[0, :4], across, rtol=0.1, atol=0.05)


def test_cells_are_apart() -> None:
    picture = torch.zeros(1, 2, 16, 16)
    picture[:, 0, :8, :8] = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    cells = MotionHistograms((2, 2), 8)(picture)[0, : 8 * 4].view(8, 2, 2)
    assert float(cells[:, 0, 0].sum()) > 5 * float(cells[:, 1, 1].sum())
