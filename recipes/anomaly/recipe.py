"""Anomaly detection: series in, a score and a flag for each row out, when the row comes.

Rows, scaled -> an LSTM that expects the next row, or one that writes a window down again -> errors -> a score, and a
threshold from normal rows. Copy this folder and change it: `seqkit recipes copy anomaly my-recipe`, then
`seqkit train my-recipe data.path=sensors.csv data.time=time`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, cast
from warnings import warn

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.data.batching import example_rng
from seqkit.data.demo_series import demo_anomalies
from seqkit.data.items import Item, Items
from seqkit.data.normal_rows import Book, NormalRows, SeriesFiles, make_parts, part_of, rows_of
from seqkit.data.series import Series, StreamReader
from seqkit.data.series_config import SeriesData
from seqkit.data.splits import Split
from seqkit.errors import DataError, InputError
from seqkit.frontends.anomaly_rows import POOLED, RowFrontend
from seqkit.frontends.calendar_features import CalendarName
from seqkit.frontends.series_filling import missing
from seqkit.heads import nab
from seqkit.heads.anomaly_answers import (
    Judged,
    RowWatcher,
    answer_text,
    judged_fields,
    row_answers,
    save_judged,
    save_spells,
)
from seqkit.heads.anomaly_metrics import COUNTS, flag_counts, flag_metrics
from seqkit.heads.anomaly_scores import Calibration, Normal, RowScorer, ScoreConfig, Scored, calibrated
from seqkit.heads.autoencoder import WindowAutoencoder
from seqkit.heads.detector import Detector, Detectors, StepForecaster
from seqkit.heads.nab import LabelledFile
from seqkit.heads.nab_corpus import Window, labelled_file, read_windows
from seqkit.lstm import StackedLSTM
from seqkit.recipe import Answer, DecodeConfig, Loss, Outcome, Recipe, RecipeConfig
from seqkit.sequences import Sequences
from seqkit.settings import LSTMConfig, TrainingConfig

SHOWN = 12
"""Series of a part that pictures are made of."""


class AnomalyData(SeriesData):
    """Series whose first rows are normal."""

    label: str | None = None
    """Column that is above 0 where a row is anomalous, in files that have it: for evaluation alone."""
    windows: str | None = None
    """JSON file with labelled windows of each file, as NAB's combined_windows.json, instead of a label column; an
    evaluation then gives the benchmark's scores too."""
    normal: str | None = None
    """Further files (a name, a folder or a pattern) in which all rows are normal: they train, and are not judged."""
    normal_fraction: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of each series, from its start, that is taken to be normal: the network learns from it, the rest is
    judged. Of a training file all rows are normal where data.test names other files."""
    normal_rows: int | None = Field(default=None, ge=1)
    """Normal rows of a series, at most; null for no limit."""


class AnomalyModelConfig(Config):
    """What knows how normal rows go on."""

    kind: Literal["forecaster", "autoencoder"] = "forecaster"
    """`forecaster` expects the next row; `autoencoder` writes the last `window` rows down again from a short code."""
    expect: Literal["level", "change"] = "level"
    """A forecaster's answer: the next row's values, or how they change, which suits slow series."""
    lstm: LSTMConfig = LSTMConfig(hidden_size=64, bidirectional=False)
    """The backbone; of an autoencoder, the encoder and the decoder."""
    code_size: int = Field(default=4, ge=1)
    """Numbers of an autoencoder's code."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on what a forecaster's LSTM says."""
    separate: bool = False
    """Give each training series a network of its own."""

    @model_validator(mode="after")
    def _reads_forward(self) -> Self:
        if self.lstm.bidirectional:
            raise ValueError("lstm.bidirectional=true would read rows that have not come; set it to false")
        return self


class AnomalyConfig(RecipeConfig):
    """Anomaly detection."""

    data: AnomalyData = AnomalyData(validation_fraction=0.2)
    """The series; validation_fraction is the share of normal rows that is held out, test_fraction has no effect."""
    scale: Literal["series", "all"] = "all"
    """Whether each training series is scaled by its own mean and spread, and has its own threshold, or by those of all.
    A series that training did not see goes by those of all."""
    window: int = Field(default=64, ge=2)
    """Rows of a training window; and what an autoencoder reads to judge a row."""
    stride: int | None = Field(default=None, ge=1)
    """Rows from one training window to the next; null for half a window."""
    calendar: tuple[CalendarName, ...] = ()
    """What the network reads of the time of each row, and does not judge, e.g. [hour, weekday]."""
    model: AnomalyModelConfig = AnomalyModelConfig()
    """The network."""
    score: ScoreConfig = ScoreConfig()
    """From errors to scores and flags."""
    training: TrainingConfig = TrainingConfig(epochs=40, batch_examples=32, batch_tokens=8192, learning_rate=2e-3)
    """The training loop; a token is a row."""


class AnomalyDecode(DecodeConfig):
    """What `seqkit decode` can be asked for."""

    series: str | None = None
    """Judge the input as this training series, with its scaling, threshold and network; by default the one of the
    file's name, else the only one, else what was fitted to all."""
    pictures: Path | None = None
    """Folder for a picture of each series: its columns with the anomalies marked, and the score."""

    @model_validator(mode="after")
    def _a_folder(self) -> Self:
        if self.pictures is not None and self.pictures.exists() and not self.pictures.is_dir():
            raise ValueError(f"--pictures names a folder, and {self.pictures} is a file")
        return self


@dataclass(frozen=True)
class Windows:
    """Training windows: rows (N, D + C), whose each is (B,), and which values (N, D) are real, None for all."""

    rows: Sequences
    series: Tensor
    real: Tensor | None

    def to(self, device: torch.device) -> Windows:
        """The batch on another device."""
        return Windows(self.rows.to(device), self.series, None if self.real is None else self.real.to(device))


@dataclass(frozen=True)
class Whole:
    """Parts of series that are judged, each on its own."""

    items: tuple[Item, ...]
    device: torch.device

    def to(self, device: torch.device) -> Whole:
        """The batch for another device."""
        return replace(self, device=device)


class Anomaly(Recipe[AnomalyConfig]):
    """Anomaly detection in series of one or more columns."""

    config_type = AnomalyConfig
    options_type = AnomalyDecode
    metric = "loss"
    lower_is_better = frozenset({"loss", "far", "mar"})
    key_column = None
    unit = "rows"
    reads = "files"
    suffixes = (".csv", ".tsv", ".gz")
    sample = "sensors.csv"
    decode_chunk = 1
    follows_stdin = True

    def __init__(self, config: AnomalyConfig) -> None:
        super().__init__(config)
        self.book = Book()
        self.labelled: dict[str, LabelledFile] = {}
        self.frontend = RowFrontend(
            each=config.scale == "series", mask=config.data.missing == "mask", calendar=config.calendar
        )

    # Data ------------------------------------------------------------------------------------------------------------

    def load_data(self) -> dict[str, Split]:
        """Normal rows to train on, those held out, and the rows to judge."""
        config = self.config.data
        files = self._files()
        self.book, names, origin = files.load(demo_anomalies)
        if config.windows is not None:
            self._label(read_windows(files.further(config.windows)[0]))
        rows = NormalRows(config.normal_fraction, config.normal_rows, config.validation_fraction)
        return make_parts(self.book, rows, names, origin, self.config.window)

    def _label(self, windows: Mapping[str, Sequence[Window]]) -> None:
        """Mark the rows of each series within the windows of its file."""
        for name, series in self.book.series.items():
            own = [spans for file, spans in windows.items() if Path(series.place).as_posix().endswith(f"/{file}")]
            if not own:
                continue
            if series.times is None:
                raise DataError("data.windows are given by time.", hint="Name the column of time: data.time=COLUMN.")
            self.labelled[name] = labelled_file(series.times, own[0], series.place)
            self.book.labels[name] = (self.labelled[name].window_of >= 0).astype(np.float64)

    def load_file(self, path: Path) -> Split:
        """All rows of a file, to be judged."""
        names = self.book.add(self._files(self.frontend.columns).read(path), self.config.data.label)
        rows = [self.book.example(name, 0, len(self.book.series[name].values)) for name in names]
        return part_of(rows, str(path))

    def _files(self, columns: Sequence[str] = ()) -> SeriesFiles:
        config = self.config.data
        return SeriesFiles(config, config.label, config.normal, tuple(columns))

    # Front-end -------------------------------------------------------------------------------------------------------

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Learn the mean and the spread of each column from the rows that train."""
        values = {}
        for example in train:
            start, stop = rows_of(example)
            values[example["series"]] = self.book.series[example["series"]].values[start:stop]
        first = next(iter(self.book.series.values()))
        constant = self.frontend.fit(values, first.columns, first.header)
        if constant:
            warn(f"columns that never change in the training rows: {', '.join(constant)}.", stacklevel=2)

    def save_frontend(self, folder: Path) -> None:
        """Write what `fit` found."""
        self.frontend.save(folder)

    def load_frontend(self, folder: Path) -> None:
        """Read what `save_frontend` wrote."""
        self.frontend.load(folder)

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """A part of a series: all rows up to its last one, of which those from its first one on are judged."""
        name = example["series"]
        start, stop = rows_of(example)
        series = self.book.series[name]
        known = self.frontend.known(None, [name, _with_folder(series)])
        lacking = missing(series.values[start:stop])
        odd = [*(series.notes if start == 0 else ()), *([f"{lacking:,} values are missing."] if lacking else [])]
        return {
            **self._part(name, series, stop, known),
            "start": start,
            **({"trouble": " ".join(odd)} if odd else {}),
        }

    def _part(self, name: str, series: Series, stop: int, known: str) -> Item:
        """The first rows of a series, up to `stop`, as the network reads them, judged as the series `known`."""
        values = series.values[:stop]
        times = None if series.times is None else series.times[:stop]
        return {
            "name": name,
            "series": replace(series, values=values, times=times),
            "known": known,
            "rows": self.frontend.rows(series, stop, known),
            "real": ~np.isnan(values),
            "labels": self.book.labels.get(name),
            "start": 0,
        }

    def epoch_items(self, items: Items, epoch: int) -> Items:
        """Windows of the normal rows, cut at other places in each epoch."""
        size = self.config.window
        stride = self.config.stride or max(1, size // 2)
        values, places = list[Item](), list[str]()
        for index, (item, place) in enumerate(zip(items.values, items.places, strict=True)):
            total = len(item["rows"])
            first = int(example_rng(self.config.training.seed, epoch, index).integers(min(stride, total - size + 1)))
            for start in range(first, total - size + 1, stride):
                rows = slice(start, start + size)
                whole = bool(item["real"][rows].all())
                values.append(
                    {"window": item["rows"][rows], "real": None if whole else item["real"][rows], "item": item}
                )
                places.append(f"{place}+{start}")
        return Items(values, np.full(len(values), size, dtype=np.int64), places)

    def batches(self, items: Items, epoch: int) -> list[list[int]]:
        """Windows of all series mixed; where each has a network of its own, of one series."""
        if not self.config.model.separate:
            return super().batches(items, epoch)
        rng = example_rng(self.config.training.seed, epoch, len(items))
        own: dict[str, list[int]] = {}
        for index in rng.permutation(len(items)).tolist():
            own.setdefault(items.values[index]["item"]["known"], []).append(index)
        size = self.config.training.batch_examples
        made = [windows[start : start + size] for windows in own.values() for start in range(0, len(windows), size)]
        return [made[index] for index in rng.permutation(len(made)).tolist()]

    def length(self, item: Item) -> int:
        """Rows."""
        return len(item["window"] if "window" in item else item["rows"]) - int(item.get("start", 0))

    def collate(self, items: Sequence[Item]) -> Windows | Whole:
        """A batch of training windows, or of parts to be judged."""
        if "window" not in items[0]:
            return Whole(tuple(items), torch.device("cpu"))
        rows = Sequences.from_list([torch.from_numpy(item["window"]) for item in items])
        series = torch.tensor([self._network(item["item"]["known"]) for item in items])
        real = None
        if any(item["real"] is not None for item in items):
            all_real = np.ones((self.config.window, len(self.frontend.columns)), bool)
            masks = [all_real if item["real"] is None else item["real"] for item in items]
            real = Sequences.from_list([torch.from_numpy(mask) for mask in masks]).data
        return Windows(rows, series, real)

    # Model -----------------------------------------------------------------------------------------------------------

    def build_model(self) -> Detectors:
        """The untrained network; or one for each training series."""
        return Detectors([self._built() for _ in (self.frontend.names if self.config.model.separate else [POOLED])])

    def _built(self) -> Detector:
        config = self.config.model
        count = len(self.frontend.columns)
        lstm = StackedLSTM(self.frontend.width, **config.lstm.model_dump())
        if config.kind == "forecaster":
            return StepForecaster(count, lstm, change=config.expect == "change", dropout=config.dropout)
        decoder = StackedLSTM(config.code_size, **config.lstm.model_dump())
        return WindowAutoencoder(count, lstm, decoder, code_size=config.code_size, window=self.config.window)

    def _network(self, known: str) -> int:
        """The number of a series' network. Raises InputError where it has none."""
        if not self.config.model.separate:
            return 0
        if known not in self.frontend.names:
            raise InputError(
                "each training series has a network of its own (model.separate), and this is none of them.",
                hint=f"Name the one to judge it by: --series {self.frontend.names[0]}.",
            )
        return self.frontend.names.index(known)

    def loss(self, model: nn.Module, batch: Windows, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """Squared errors of scaled values, over values."""
        return Loss(*cast(Detectors, model).loss(batch.rows, batch.series, batch.real))

    # Scores ----------------------------------------------------------------------------------------------------------

    def predict(
        self, models: Sequence[nn.Module], batch: Whole, options: DecodeConfig | None = None
    ) -> list[list[Judged]]:
        """Of each part what is said of its series; of a file that is decoded, of all its series."""
        return [
            [Judged(part, self._scored(models, part, batch.device)) for part in item.get("parts", [item])]
            for item in batch.items
        ]

    def _scored(self, models: Sequence[nn.Module], item: Item, device: torch.device) -> Scored:
        errors = self._errors(models, item, device)
        calibration = self._calibration(item["known"])
        scores, columns = RowScorer(self.config.score, calibration).whole(errors, self._values(item))
        flags = scores > calibration.threshold  # False where there is no score
        return Scored(scores, flags, columns, errors**2, calibration.threshold)

    def _errors(self, models: Sequence[nn.Module], item: Item, device: torch.device) -> np.ndarray:
        """Errors (T, D) float64, the mean of the models', NaN where a value is missing or has no rows before it."""
        rows, network = torch.from_numpy(item["rows"]).to(device), self._network(item["known"])
        found = [cast(Detectors, model).of(network).errors(rows).cpu().numpy() for model in models]
        return np.where(item["real"], np.mean(found, axis=0, dtype=np.float64), np.nan)

    def _values(self, item: Item) -> np.ndarray:
        """Scaled values (T, D), NaN where one is missing."""
        return np.where(item["real"], item["rows"][:, : len(self.frontend.columns)], np.nan)

    def _calibration(self, known: str) -> Calibration:
        """What was fitted after training; before, errors as they are, and no flag."""
        if not self.calibration:
            ones = np.ones(len(self.frontend.columns))
            return Calibration(ones, ones, np.inf)
        return Calibration.from_json(self.calibration[known if self.config.scale == "series" else POOLED])

    def calibrate(self, model: nn.Module, items: Mapping[str, Items]) -> None:
        """The usual errors of normal rows, and the threshold that a stated share of them is above."""
        held_out = "validation" in items and self.config.score.calibrate_on == "held_out"
        parts = [
            item
            for name in (("validation",) if held_out else ("train", "validation"))
            if name in items
            for item in items[name].values
        ]
        device = next(model.parameters()).device
        with torch.inference_mode():
            errors = [(item, self._errors([model.eval()], item, device)) for item in parts]
        groups = {POOLED: errors}
        if self.config.scale == "series":
            groups |= {name: [one for one in errors if one[0]["known"] == name] for name in self.frontend.names}
        for name, own in groups.items():
            judged = [Normal(found, self._values(item), item["start"]) for item, found in (own or errors)]
            what = name or "the training series"
            self.calibration[name] = calibrated(judged, self.config.score, what).to_json()

    # Metrics ---------------------------------------------------------------------------------------------------------

    def statistics(self, item: Item, prediction: list[Judged]) -> np.ndarray | None:
        """Squared errors and their number; flags against labels; flags and rows; with windows, NAB's points at each
        threshold, and their number."""
        scored, rows = prediction[0].scored, slice(item["start"], None)
        squares = scored.squares[rows]
        real = ~np.isnan(squares)
        labels = item["labels"]
        counts = (
            np.zeros(COUNTS) if labels is None else flag_counts(scored.flags[rows], labels[: len(scored.flags)][rows])
        )
        flags = scored.flags[rows]
        found = [np.where(real, squares, 0.0).sum(), real.sum(), *counts, flags.sum(), len(flags)]
        if self.config.data.windows is not None:
            labelled = self.labelled.get(item["name"])
            if labelled is None or labelled.rows != len(scored.scores):
                return None  # held-out rows of a file: the benchmark scores whole ones
            return np.concatenate([found, nab.statistics(labelled, scored.scores)])
        return np.array(found, dtype=np.float64)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """The mean squared error of scaled values; of flags the rates that labels allow; NAB's score from 0 to 100."""
        found = {"loss": float(totals[0] / max(totals[1], 1.0))}
        if not self.calibration:
            return found
        found["flagged"] = float(totals[COUNTS + 2] / max(totals[COUNTS + 3], 1.0))
        found |= flag_metrics(totals[2 : COUNTS + 2])
        return found | (nab.metrics(totals[COUNTS + 4 :]) if len(totals) > COUNTS + 4 else {})

    # Answers ---------------------------------------------------------------------------------------------------------

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A file with series."""
        return {"path": str(source)}

    def decoded_item(self, source: str | Path, options: DecodeConfig, paired: str | None = None) -> Item:
        """All series of a file, each judged as the training series that it is."""
        assert isinstance(options, AnomalyDecode)
        try:
            found = self._files(self.frontend.columns).read(Path(source), labelled=False)
        except DataError as error:
            raise InputError(error.message, hint=error.hint) from error
        parts = []
        for series in found:
            known = self.frontend.known(options.series, [series.name, _with_folder(series)])
            self._network(known)
            parts.append(self._part(series.name, series, len(series.values), known))
        return {"parts": parts, "rows": np.concatenate([part["rows"] for part in parts])}

    def answer(self, prediction: list[Judged], options: DecodeConfig) -> Answer:
        """A CSV with time, score, flag and the column that deviates most, of each row."""
        assert isinstance(options, AnomalyDecode)
        if options.pictures is not None:
            for judged in prediction:
                judged.picture(options.pictures)
        return Answer(answer_text(prediction), judged_fields(prediction), suffix=".csv")

    def follow(
        self, models: Sequence[nn.Module], file: BinaryIO, options: DecodeConfig, log: Callable[[str], None]
    ) -> Iterator[Answer]:
        """The same row by row: each is answered before the next one comes."""
        assert isinstance(options, AnomalyDecode)
        if options.pictures is not None:
            raise InputError("--pictures draws whole files, and a stream has no end.", hint="Name a file.")
        known = self.frontend.known(options.series, [])
        network, calibration = self._network(known), self._calibration(known)
        watcher = RowWatcher(
            [cast(Detectors, model).of(network) for model in models],
            self.frontend.reader(known),
            RowScorer(self.config.score, calibration),
            calibration.threshold,
            self.config.calendar,
        )
        reader = StreamReader(
            time=self.config.data.time,
            target=self.frontend.columns,
            separator=self.config.data.separator,
            header=self.frontend.header,
        )
        problems: list[DataError] = []
        for text, fields in row_answers(reader.rows(file, problems.append), watcher, self.frontend.columns):
            yield from _told(problems)
            yield Answer(text, fields, suffix=".csv")
        yield from _told(problems)

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """The anomalies of each series as a table, and pictures of the first series."""
        judged = [
            (one.item["name"], one.item["series"], one.prediction[0].scored, one.item["start"]) for one in outcomes
        ]
        files = [save_spells(judged, folder / f"anomalies-{split}.tsv")]
        for name, series, scored, _ in judged[:SHOWN]:
            labels = self.book.labels.get(name)
            labels = None if labels is None else labels[: len(scored.scores)]
            safe = name.replace("/", "-")
            files.append(save_judged(series, scored, folder / f"anomalies-{split}-{safe}.png", labels))
        return files


def _with_folder(series: Series) -> str:
    """What a series is called where files of several folders share their names."""
    return f"{Path(series.place).absolute().parent.name}/{series.name}"


def _told(problems: list[DataError]) -> Iterator[Answer]:
    """An empty answer for each problem with a row, which are then told."""
    while problems:
        problem = str(problems.pop(0))
        yield Answer("", {"problem": problem}, problem=problem)
