"""Action recognition: clips in, what is done in them out, with times where a recording is long.

Frames of a video -> a small convolutional network, frame by frame; or joints of a skeleton -> features of pose and
motion -> stacked LSTM -> an answer from the pooled outputs, or at every frame. Copy this folder and change it:
`seqkit recipes copy action my-recipe`, then `seqkit train my-recipe data.path=my_clips/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.data.cache import Caching
from seqkit.data.check import check_labels
from seqkit.data.class_folders import read_class_folders
from seqkit.data.config import DataConfig
from seqkit.data.demo_actions import demo_actions
from seqkit.data.items import Broken, Item
from seqkit.data.splits import Sources, Split, load_file, load_splits, relabel
from seqkit.errors import DataError, InputError
from seqkit.frontends.clips import ClipInput, ClipLengths, ViewsConfig, readable, views
from seqkit.frontends.frame_encoder import FrameEncoderConfig
from seqkit.frontends.skeleton import SkeletonConfig
from seqkit.frontends.skeleton_augmentation import SkeletonAugmentConfig
from seqkit.frontends.skeleton_clips import SkeletonClips
from seqkit.frontends.video import VideoConfig
from seqkit.frontends.video_augmentation import VideoAugmentConfig
from seqkit.frontends.video_clips import VideoClips
from seqkit.heads.classifier import (
    classification_metrics,
    classification_statistics,
    confusion_matrix,
    recalls,
)
from seqkit.heads.clips import ClipModel, PooledHead, StepHead, mean_log_probs
from seqkit.heads.labels import Labels, order_labels
from seqkit.heads.pooling import PoolName
from seqkit.heads.seen import Format, Seen
from seqkit.heads.watcher import TimelineMode, Watcher
from seqkit.lstm import StackedLSTM
from seqkit.recipe import Answer, DecodeConfig, Loss, Outcome, Recipe, RecipeConfig
from seqkit.reporting.confusion import save_confusion
from seqkit.reporting.contact_sheet import ClipAnswer, save_contact_sheet
from seqkit.reporting.mistakes import mistakes, save_mistakes
from seqkit.sequences import Sequences
from seqkit.settings import LSTMConfig, TrainingConfig
from seqkit.storage import read_json, write_json

FIT_CLIPS = 200
"""Training clips, drawn, that statistics and lengths are taken from."""
LONG = 2.0
"""A recording is long that is so many times as long as the longest training clip: it gets a time line."""
SHOWN, FRAMES = 20, 8
"""Mistakes on the contact sheet of a run, and frames of each."""
TOP = 3
"""A metric says how often the right action is among so many likeliest ones."""


class ActionData(DataConfig):
    """Clips and what is done in them."""

    clip: str = "clip"
    """Column with the clip's file, from the folder of the manifest; for skeletons also the name of an array in the
    .npz file beside it. A folder with a sub-folder for each action needs no manifest."""
    label: str = "label"
    """Column with the action."""
    label_names: dict[str, str] | None = None
    """Names for labels, e.g. {"1": wave}; examples with another label are left out."""


class ActionModelConfig(Config):
    """From features of frames to scores of actions."""

    encoder: FrameEncoderConfig = FrameEncoderConfig()
    """What reads a picture; skeletons have none."""
    lstm: LSTMConfig = LSTMConfig(hidden_size=128)
    """The backbone."""
    head: Literal["pool", "steps"] = "pool"
    """`pool`: one answer from the pooled outputs. `steps`: an answer at every frame, later ones counting for more; with
    one direction, the state can then be carried through a recording."""
    pool: tuple[PoolName, ...] = ("max", "mean")
    """What `pool` takes from the outputs of all frames: any of last, mean, max, attention."""
    growth: float = Field(default=1.0, ge=0.0)
    """With `steps`, frame t of T counts (t / T) to this power."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout before the classifier."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability that the target gives to all actions alike."""


class ActionConfig(RecipeConfig):
    """Action recognition."""

    data: ActionData = ActionData()
    """The clips."""
    input: Literal["video", "skeleton"] = "video"
    """What a clip is: a video, or an array of joints (frames, joints, 3)."""
    video: VideoConfig = VideoConfig()
    """From files to pictures."""
    augment: VideoAugmentConfig = VideoAugmentConfig()
    """What training does to pictures."""
    skeleton: SkeletonConfig = SkeletonConfig()
    """From files to joints and their features."""
    skeleton_augment: SkeletonAugmentConfig = SkeletonAugmentConfig()
    """What training does to joints."""
    views: ViewsConfig = ViewsConfig()
    """What an evaluation reads of each clip."""
    model: ActionModelConfig = ActionModelConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig(batch_tokens=1024, batch_examples=16)
    """The training loop; a token is a frame."""

    @model_validator(mode="after")
    def _for_its_input(self) -> Self:
        others = ("video", "augment") if self.input == "skeleton" else ("skeleton", "skeleton_augment")
        for name in others:
            if getattr(self, name) != type(getattr(self, name))():
                raise ValueError(f"{name} has no effect where input={self.input}: leave it as it is")
        if self.input == "skeleton" and self.model.encoder != FrameEncoderConfig():
            raise ValueError("model.encoder has no effect where input=skeleton: it reads pictures")
        return self


class ActionDecode(DecodeConfig):
    """What `seqkit decode` can be asked for."""

    top_k: int = Field(default=1, ge=1)
    """Write so many actions, likeliest first, each with its probability where they are more than one."""
    timeline: Literal["auto", "never", "windows", "state"] = "auto"
    """Say when what is done: `windows` slide over the recording, or the LSTM's `state` is carried through it; `auto`
    takes windows for a recording that is much longer than training's clips, or where subtitles are asked for."""
    window: float | None = Field(default=None, gt=0.0)
    """Seconds of a window; null for the median of training's clips."""
    hop: float | None = Field(default=None, gt=0.0)
    """Seconds from one window to the next; null for a quarter of a window."""
    format: Format = "text"
    """Write plain text, or subtitles."""
    annotate: Path | None = None
    """Write the video with the answer drawn in: to this file, or for each input into this folder."""
    pictures: Path | None = None
    """Folder for a picture of each time line."""

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if self.timeline == "never" and self.format != "text":
            raise ValueError("subtitles are a time line: --format does not go with --timeline never")
        if self.format != "text" and self.top_k > 1:
            raise ValueError("subtitles show one action: --top-k does not go with --format")
        if self.pictures is not None and self.pictures.exists() and not self.pictures.is_dir():
            raise ValueError(f"--pictures names a folder, and {self.pictures} is a file")
        return self


@dataclass(frozen=True)
class Batch:
    """Features (N, ...) of V views of B clips, owners (V,) int64 and labels (B,) int64 (-1: unknown)."""

    views: Sequences
    owners: Tensor
    labels: Tensor
    items: tuple[Item, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(self.views.to(device), self.owners.to(device), self.labels.to(device), self.items)


class Action(Recipe[ActionConfig]):
    """Action recognition; actions are whatever the data's label column, or sub-folders, are called."""

    config_type = ActionConfig
    options_type = ActionDecode
    metric = "accuracy"
    key_column = None
    label_column = "label"
    unit = "frames"
    reads = "files"
    sample = "clip.mp4"
    decode_chunk = 16
    caching = Caching(
        config=("data.clip", "data.label", "input", "video", "skeleton", "model.encoder"), files=("clip",)
    )

    def __init__(self, config: ActionConfig) -> None:
        super().__init__(config)
        self.clips = self._input()
        self.suffixes, self.sample = self.clips.suffixes, f"clip{self.clips.suffixes[0]}"
        self.labels = Labels([])
        self.lengths = ClipLengths()

    def _input(self) -> ClipInput:
        config = self.config
        if config.input == "skeleton":
            return SkeletonClips(config.skeleton, config.skeleton_augment)
        return VideoClips(config.video, config.augment, config.model.encoder)

    # Data ------------------------------------------------------------------------------------------------------------

    def load_data(self) -> dict[str, Split]:
        """The splits, from manifests or from a sub-folder for each action."""
        config = self.config.data
        splits = load_splits(config, self._columns(), demo=demo_actions, stratify="label", sources=self._sources())
        named = {name: relabel(split, "label", config.label_names) for name, split in splits.items()}
        check_labels(named, "label")
        return named

    def load_file(self, path: Path) -> Split:
        """Labelled clips from a manifest, or from a sub-folder for each action."""
        split = load_file(str(path), self.config.data, self._columns(), sources=self._sources())
        return relabel(split, "label", self.config.data.label_names)

    def _columns(self) -> dict[str, str]:
        return {"clip": self.config.data.clip, "label": self.config.data.label}

    def _sources(self) -> Sources:
        folder = partial(read_class_folders, suffixes=self.clips.suffixes, file="clip")
        return Sources(files=frozenset({"clip"}), arrays=self.config.input == "skeleton", folder=folder)

    # Front-end -------------------------------------------------------------------------------------------------------

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Learn the actions, how long clips are, and what their features are like."""
        self.labels = Labels(order_labels(list(dict.fromkeys(train.column("label"))), self.config.data.label_names))
        drawn = np.random.default_rng(self.config.data.split_seed).permutation(len(train))[:FIT_CLIPS]
        sources = train.examples.select(drawn.tolist())["clip"]
        lengths = readable(self.clips.seconds, sources)
        self.lengths = ClipLengths.of(seconds for seconds in lengths if seconds is not None)
        if inherit is not None:
            self.clips.load(inherit)
        else:
            self.clips.fit(clip.frames for clip in readable(self.clips.read, sources))

    def save_frontend(self, folder: Path) -> None:
        """Write the actions, the clips' lengths and the statistics."""
        write_json(folder / "labels.json", self.labels.to_json())
        self.lengths.save(folder)
        self.clips.save(folder)

    def load_frontend(self, folder: Path) -> None:
        """Read what `save_frontend` wrote."""
        self.labels = Labels(list(read_json(folder / "labels.json")["labels"]))
        self.lengths = ClipLengths.load(folder)
        self.clips.load(folder)

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """Raw frames (T, ...) and the number of the action, -1 where it is not known."""
        label = example.get("label")
        number = -1 if label is None else self.labels.number(label)
        if label is not None and number < 0:
            known = ", ".join(self.labels.names)
            raise DataError(
                f"{example['place']}: the action '{label}' was not seen in training.", hint=f"Seen: {known}."
            )
        try:
            clip = self.clips.read(example["clip"])
        except InputError as error:
            raise Broken(str(error)) from error
        trouble = {} if clip.trouble is None else {"trouble": clip.trouble}
        return {"frames": clip.frames, "label": number, "answer": number, "text": example["clip"], **trouble}

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        """Another crop, colour and pace; or another side, body and pace."""
        return {**item, "frames": self.clips.augment(item["frames"], rng), "varied": True}

    def length(self, item: Item) -> int:
        """Frames."""
        return len(item["frames"])

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch: of a training clip what augmentation made of it, of another one its views."""
        seen = [
            [item["frames"]] if "varied" in item else views(self.clips, item["frames"], self.config.views)
            for item in items
        ]
        owners = torch.repeat_interleave(torch.tensor([len(own) for own in seen], dtype=torch.int64))
        features = Sequences.from_list([self.clips.features(view) for own in seen for view in own])
        return Batch(features, owners, torch.tensor([item.get("label", -1) for item in items]), tuple(items))

    # Model -----------------------------------------------------------------------------------------------------------

    def build_model(self) -> ClipModel:
        """The untrained network."""
        config = self.config.model
        lstm = StackedLSTM(self.clips.feature_size, **config.lstm.model_dump())
        features = config.lstm.hidden_size * (2 if config.lstm.bidirectional else 1)
        head: PooledHead | StepHead
        if config.head == "pool":
            head = PooledHead(
                features,
                len(self.labels.names),
                config.pool,
                bidirectional=config.lstm.bidirectional,
                dropout=config.dropout,
            )
        else:
            head = StepHead(features, len(self.labels.names), growth=config.growth, dropout=config.dropout)
        return ClipModel(self.clips.encoder(), lstm, head)

    def loss(self, model: nn.Module, batch: Batch, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """Cross-entropy of each clip, over clips."""
        output, _ = model(batch.views)
        losses = cast(ClipModel, model).head.losses(
            output, batch.labels[batch.owners], self.config.model.label_smoothing
        )
        return Loss(losses.sum(), torch.tensor(float(len(losses)), device=losses.device))

    # Answers ---------------------------------------------------------------------------------------------------------

    def predict(self, models: Sequence[nn.Module], batch: Batch, options: DecodeConfig | None = None) -> list[Seen]:
        """What is seen in each clip; of several models the mean probability."""
        chosen = options if isinstance(options, ActionDecode) else ActionDecode()
        clip_models = [cast(ClipModel, model) for model in models]
        means = [mean_log_probs(model.log_probs(batch.views), batch.owners, len(batch.items)) for model in clip_models]
        log_probs = (torch.stack(means).logsumexp(dim=0) - np.log(len(means))).cpu().numpy()
        watcher = Watcher(clip_models, self.clips, self.clips.rate)
        return [
            self._watched(watcher, item, chosen)
            if "long" in item
            else Seen(own, item.get("source"), trouble=item.get("trouble"))
            for item, own in zip(batch.items, log_probs, strict=True)
        ]

    def _watched(self, watcher: Watcher, item: Item, options: ActionDecode) -> Seen:
        """What is seen in a recording over time. Raises InputError where its state should be carried, and cannot be."""
        mode: TimelineMode = "state" if options.timeline == "state" else "windows"
        if mode == "state" and watcher.carries() is not None:
            raise InputError(
                f"--timeline state carries the LSTM's state on, which this run cannot: {watcher.carries()}.",
                hint="Use --timeline windows.",
            )
        window = self._window(options)
        stream = partial(self.clips.stream, str(item["source"]))
        hop = options.hop or window / 4
        return watcher.recording(item["source"], stream, mode, window_seconds=window, hop_seconds=hop)

    def _window(self, options: ActionDecode) -> float:
        return options.window or self.lengths.median

    def statistics(self, item: Item, prediction: Seen) -> np.ndarray:
        """The clip's cell of the confusion matrix, its loss, and whether its action is among the likeliest few."""
        log_probs = prediction.log_probs
        among = (log_probs > log_probs[item["answer"]]).sum() < TOP
        return np.append(classification_statistics(item["answer"], log_probs), float(among))

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Accuracy, macro F1, loss; how often the action is among the three likeliest; each action's recall."""
        matrix = confusion_matrix(totals[:-1])
        found = classification_metrics(totals[:-1])
        if len(matrix) > TOP:
            found[f"top_{TOP}"] = float(totals[-1] / matrix.sum())
        return found | recalls(matrix, self.labels.names)

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A file with a clip."""
        return {"clip": str(source)}

    def decoded_item(self, source: str | Path, options: DecodeConfig, paired: str | None = None) -> Item:
        """A clip; of a long recording its beginning, and where it is."""
        assert isinstance(options, ActionDecode)
        if options.annotate is not None and self.config.input != "video":
            raise InputError("--annotate draws into a video, and this run reads skeletons.")
        seconds = self.clips.seconds(str(source))
        far = seconds is None or seconds > LONG * self.lengths.longest or options.format != "text"
        long = options.timeline in ("windows", "state") or (options.timeline == "auto" and far)
        clip = self.clips.read(str(source), self._window(options) if long else seconds)
        trouble = {} if clip.trouble is None else {"trouble": clip.trouble}
        return {"frames": clip.frames, "source": Path(source), **trouble, **({"long": True} if long else {})}

    def answer(self, prediction: Seen, options: DecodeConfig) -> Answer:
        """The likeliest actions; or, of a long recording, when what is done."""
        assert isinstance(options, ActionDecode)
        names = self.labels.names
        prediction.check()
        if options.annotate is not None:
            prediction.annotate(options.annotate, names)
        if options.pictures is not None:
            prediction.picture(options.pictures, names)
        suffix = ".txt" if options.format == "text" else f".{options.format}"
        text = prediction.text(names, options.top_k, options.format)
        return Answer(text, prediction.fields(names), suffix=suffix, problem=prediction.trouble)

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """The confusion matrix, and the clips that the model is most wrong about, as a table and as pictures."""
        totals = sum(self.statistics(outcome.item, outcome.prediction) for outcome in outcomes)
        names, matrix = self.labels.names, confusion_matrix(np.asarray(totals)[:-1])
        title = f"{split}: {len(outcomes)} clips"
        files = [save_confusion(matrix, names, folder / f"confusion-{split}.png", title=title)]
        judged = [replace(outcome, prediction=outcome.prediction.log_probs) for outcome in outcomes]
        files.append(save_mistakes(judged, names, folder / f"mistakes-{split}.tsv"))
        shown = [row for outcome in mistakes(judged)[:SHOWN] if (row := self._shown(outcome)) is not None]
        if shown:
            title = f"{split}: mistakes, the most certain first"
            files.append(save_contact_sheet(shown, folder / f"mistakes-{split}.png", title=title))
        return files

    def _shown(self, outcome: Outcome) -> ClipAnswer | None:
        """A clip of a contact sheet; None where there is nothing to see."""
        pictures = self.clips.pictures(outcome.item["text"], FRAMES)
        if pictures is None:
            return None
        best = int(outcome.prediction.argmax())
        label, predicted = self.labels.names[outcome.item["answer"]], self.labels.names[best]
        return ClipAnswer(pictures, outcome.place, label, predicted, float(np.exp(outcome.prediction[best])))
