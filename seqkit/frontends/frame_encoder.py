"""From pictures to vectors, one frame at a time: a small convolutional network, or any of torchvision's classifiers.

Frames do not see each other, so what a frame becomes does not hang on its batch: the small network normalises groups of
channels within a frame (Wu and He 2018), and batch normalisation of torchvision's keeps to its stored statistics.

Shapes: N frames, C channels, H and W height and width, D features.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.errors import ConfigError, RunError, nearest
from seqkit.frontends.motion_histograms import MotionHistograms
from seqkit.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNK = 256
"""Frames that go through the network at once where no gradient is needed."""
_GROUPS = 8


class FrameEncoderConfig(Config):
    """What reads a picture."""

    kind: str = "small"
    """`small` is a network of a few layers, trained from nothing; `motion` is a fixed descriptor of edges and what
    moves, for a few dozen clips (it needs video.grey and video.differences); else the name of one of torchvision's
    classifiers, as resnet18 or mobilenet_v3_small."""
    channels: tuple[int, ...] = Field(default=(16, 32, 64), min_length=1)
    """Of the small network, the outputs of each layer, which halves height and width."""
    grid: tuple[int, int] = (2, 2)
    """Rows and columns of cells in which `small` and `motion` keep where things are."""
    orientations: int = Field(default=8, ge=2, le=64)
    """Directions that `motion` tells apart."""
    output_size: int = Field(default=128, ge=1)
    """Features of a frame; of torchvision's networks it is their own."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of a frame's features that training drops; the same ones over the clip."""
    weights: str | None = None
    """Pretrained weights for one of torchvision's: a file of yours (.safetensors or .pth, a state dict), or
    torchvision's name for some (DEFAULT, IMAGENET1K_V1), which are downloaded; null starts from nothing."""
    frozen: bool = False
    """Leave the pretrained weights as they are: features are then computed once, and can be cached."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if any(channels < 1 or channels % _GROUPS for channels in self.channels):
            raise ValueError(f"channels are multiples of {_GROUPS}; they are {list(self.channels)}")
        if min(self.grid) < 1:
            raise ValueError(f"grid is rows and columns, 1 or more; it is {list(self.grid)}")
        if self.kind in ("small", "motion") and self.weights is not None:
            raise ValueError("weights are for torchvision's networks: set kind=resnet18, for instance")
        if self.frozen and self.weights is None:
            raise ValueError("frozen=true keeps pretrained weights as they are; name some: weights=FILE")
        return self


class FrameEncoder(nn.Module):
    """Sequences of pictures (N, C, H, W) to Sequences of features (N, D)."""

    def __init__(
        self,
        config: FrameEncoderConfig,
        channels: int,
        *,
        pretrained: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        """For pictures of `channels` channels; `pretrained`: with the weights that the configuration names.

        `size`: height and width of the pictures, where they are known: it is tried whether the network can read them.

        Raises ConfigError for a kind that there is not, one that cannot read such pictures, or wrong weights.
        """
        super().__init__()
        self.network: nn.Module
        if config.kind == "small":
            self.network, self.output_size = small_network(config, channels), config.output_size
        elif config.kind == "motion":
            _check_channels(config.kind, channels, 2, "brightness and its change: set video.grey and video.differences")
            histograms = MotionHistograms(config.grid, config.orientations)
            self.network, self.output_size = histograms, histograms.output_size
        else:
            _check_channels(config.kind, channels, 3, "three colours: leave video.grey and video.differences out")
            self.network, self.output_size = torchvision_network(config, pretrained=pretrained)
            if size is not None:
                _check_size(self.network, config.kind, size)
        self.frozen, self.dropout = config.frozen, config.dropout
        if config.frozen:
            self.network.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """As every module; batch normalisation keeps to its stored statistics, whose batches are not frames of one
        clip."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) or self.frozen:
                module.eval()
        return self

    def forward(self, frames: Sequences) -> Sequences:
        """Features of each frame; dropout leaves out the same ones in all frames of a clip."""
        features = frames.map(self._encoded)
        if not (self.training and self.dropout):
            return features
        keep = 1.0 - self.dropout
        mask = features.data.new_empty(frames.batch_size, self.output_size).bernoulli_(keep) / keep  # (B, D)
        return features.replace(features.data * mask[frames.batch_index])

    def _encoded(self, pictures: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not self.frozen:
            encoded: Tensor = self.network(pictures)
            return encoded
        with torch.set_grad_enabled(False):
            parts = [self.network(part) for part in torch.split(pictures, CHUNK)] if len(pictures) else []
        return torch.cat(parts) if parts else pictures.new_zeros(0, self.output_size)


def small_network(config: FrameEncoderConfig, channels: int) -> nn.Sequential:
    """A network of a few layers, which keeps a coarse map of where things are."""
    layers: list[nn.Module] = []
    for wider in config.channels:
        layers += [
            nn.Conv2d(channels, wider, kernel_size=3, stride=2, padding=1),
            nn.GroupNorm(wider // _GROUPS, wider),
            nn.ReLU(),
        ]
        channels = wider
    rows, columns = config.grid
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(config.grid),
        nn.Flatten(),
        nn.Linear(channels * rows * columns, config.output_size),
        nn.ReLU(),
    )


def _check_channels(kind: str, channels: int, wanted: int, reads: str) -> None:
    if channels != wanted:
        raise ConfigError([f"model.encoder.kind={kind} reads {reads}; there are {channels} channels."])


def _check_size(network: nn.Module, kind: str, size: tuple[int, int]) -> None:
    """Raise ConfigError where a network cannot read pictures of a size: some want their own, most a least one."""
    network.eval()  # the caller chooses the mode afterwards
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, *size))
    except (RuntimeError, AssertionError, ValueError) as error:
        height, width = size
        reason = str(error).split("\n")[0].rstrip(".!")
        raise ConfigError(
            [f"model.encoder.kind={kind} cannot read pictures of {height} x {width} ({reason})."],
            hint="Set video.size to what it reads, often [224, 224].",
        ) from error


def torchvision_network(config: FrameEncoderConfig, *, pretrained: bool) -> tuple[nn.Module, int]:
    """One of torchvision's classifiers without its last layer, and the features that it gives. Raises ConfigError."""
    from torchvision import models

    known = models.list_models(module=models)
    if config.kind not in known:
        raise ConfigError([f"model.encoder.kind={config.kind}: {nearest(config.kind, ['small', 'motion', *known])}"])
    network = _without_side_answers(_built(config, _named_weights(config) if pretrained else None))
    if pretrained and config.weights is not None and _is_file(config.weights):
        _load(network, Path(config.weights).expanduser(), config.kind)
    return _without_classifier(network)


def _built(config: FrameEncoderConfig, weights: Any) -> nn.Module:
    """A network of torchvision's, with weights that may have to be downloaded. Raises ConfigError."""
    from torchvision import models

    if weights is None:
        bare: nn.Module = models.get_model(config.kind, weights=None)
        return bare
    try:
        filled: nn.Module = models.get_model(config.kind, weights=weights)
    except (OSError, RuntimeError) as error:  # no network, no room, or a file that came damaged
        raise ConfigError(
            [f"model.encoder.weights={config.weights}: {weights.url} cannot be fetched ({error})."],
            hint="Fetch it on another machine, and set model.encoder.weights to that file.",
        ) from error
    return filled


def _without_side_answers(network: nn.Module) -> nn.Module:
    """A network without the classifiers beside its last one, which GoogLeNet and Inception answer with in training."""
    for name, nothing in (("aux1", None), ("aux2", None), ("AuxLogits", None), ("aux_logits", False)):
        if hasattr(network, name):
            setattr(network, name, nothing)
    return network


def _is_file(weights: str) -> bool:
    return "/" in weights or Path(weights).suffix != ""


def _named_weights(config: FrameEncoderConfig) -> Any:
    """The weights that torchvision has under a name; None for a file's. Raises ConfigError."""
    from torchvision import models

    if config.weights is None or _is_file(config.weights):
        return None
    found = models.get_model_weights(config.kind)
    try:
        return found[config.weights]
    except KeyError:
        there = ", ".join(["DEFAULT", *(one.name for one in found)])
        raise ConfigError(
            [f"model.encoder.weights={config.weights}: {config.kind} has {there}; or name a file."]
        ) from None


def _load(network: nn.Module, path: Path, kind: str) -> None:
    """Fill a network from a file. Raises ConfigError where that does not hold its weights."""
    if not path.is_file():
        raise ConfigError([f"model.encoder.weights={path}: there is no such file."])
    state = _read(path)
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            raise ConfigError([f"{path}: these are no weights of {kind}: there is no '{name}'."])
        if state[name].shape != tensor.shape:
            shapes = f"{list(state[name].shape)}, where {list(tensor.shape)} is expected"
            raise ConfigError([f"{path}: these are no weights of this {kind}: '{name}' is {shapes}."])
    network.load_state_dict({name: state[name] for name in wanted})


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a state dict. Raises ConfigError."""
    import pickle

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError([f"{path}: not a file of weights ({reason})."]) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError([f"{path}: not a state dict, tensors by name."])
    return state


def _without_classifier(network: nn.Module) -> tuple[nn.Module, int]:
    """A classifier whose last linear layer gives what it read instead, and how much that is."""
    last = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not last:
        message = f"model.encoder.kind: {type(network).__name__} ends in no linear layer, so it gives no features."
        raise ConfigError([message])
    name, linear = last[-1]
    network.set_submodule(name, nn.Identity())
    return network, linear.in_features


def load_encoder(path: Path, encoder: FrameEncoder) -> None:
    """Fill an encoder from a run's file. Raises RunError where it does not fit."""
    from seqkit.storage import load_tensors

    state = load_tensors(path)
    if state.keys() != encoder.state_dict().keys():
        raise RunError(f"{path}: not the weights of this encoder.", hint="The run is damaged.")
    encoder.load_state_dict(state)
