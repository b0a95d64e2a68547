"""Forecasting: the past of a series in, its next steps out, with bands where the output is a distribution.

Windows of the past -> normalised, cut into segments -> stacked LSTM -> every step ahead at once, or one segment after
the other. Copy this folder and change it: `seqkit recipes copy forecasting my-recipe`, then
`seqkit train my-recipe data.path=sales.csv data.time=date data.target=sales data.horizon=28`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.data.demo_series import demo_forecasting
from seqkit.data.items import Item, Items
from seqkit.data.series import Series
from seqkit.data.series_config import ForecastData
from seqkit.data.splits import Split
from seqkit.errors import DataError, InputError, SeqkitError
from seqkit.frontends.forecast_parts import SeriesParts, load_parts, read_file
from seqkit.frontends.forecast_windows import ForecastFrontend, Places, WindowItems
from seqkit.frontends.series_filling import missing
from seqkit.heads.forecast import Forecast
from seqkit.heads.forecast_outputs import Output, OutputName, PointLoss, build_output
from seqkit.heads.forecast_table import FileForecast
from seqkit.heads.forecast_totals import ForecastTotals
from seqkit.heads.forecaster import ChannelMode, DecoderName, Forecaster, Normalization
from seqkit.recipe import Answer, DecodeConfig, Loss, Outcome, Recipe, RecipeConfig
from seqkit.settings import LSTMConfig, TrainingConfig

PICTURED = 4
"""Windows of an evaluation that are drawn, from the first to the last."""


class WindowConfig(Config):
    """What the network reads."""

    input_length: int | None = Field(default=None, ge=1)
    """Rows of the past that a forecast reads; null for three horizons or two seasons, whichever is more, as far as the
    series are long enough."""
    scaling: Literal["columns", "series"] = "columns"
    """Mean and deviation that values are scaled by, from training rows: one for each column, or for each column of each
    series."""
    calendar: bool = False
    """Read minute, hour, weekday, day and month of each row, past and to come, as far as they vary."""


class ForecastModelConfig(Config):
    """From windows to what is said of each value to come."""

    segment: int = Field(default=24, ge=1)
    """Rows that the LSTM reads, and writes, in one step; a window that is shorter is one segment."""
    normalization: Normalization = "last"
    """What is taken out of each window and put back: the `last` value; or mean and deviation (`revin`, Kim et al.
    2022); or `none`."""
    lstm: LSTMConfig = LSTMConfig(hidden_size=64, bidirectional=False)
    """The backbone; it reads forward only."""
    decoder: DecoderName = "direct"
    """`direct` writes all segments at once, from the final state; `autoregressive` reads each before it writes the
    next."""
    channels: ChannelMode = "independent"
    """`independent` reads each column as a series of its own, with the same weights; `joint` reads rows as a whole."""
    linear: bool = False
    """Add a linear map of each window (Zeng et al. 2023)."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Dropout before the output."""
    output: OutputName = "quantile"
    """What is said of a value: a `point`, quantiles, or a distribution."""
    loss: PointLoss = "mse"
    """What a point is trained by."""
    levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Quantiles that are trained."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lstm.bidirectional:
            raise ValueError("lstm.bidirectional=true would read windows from their end; set it to false")
        build_output(self.output, loss=self.loss, levels=self.levels)
        return self


class ForecastingConfig(RecipeConfig):
    """Forecasting."""

    data: ForecastData = ForecastData()
    """The series."""
    windows: WindowConfig = WindowConfig()
    """What is read."""
    model: ForecastModelConfig = ForecastModelConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig(
        epochs=6,
        batch_examples=64,
        batch_tokens=1_000_000,
        learning_rate=0.002,
        schedule="cosine",
        clip_norm=1.0,
    )
    """The training loop; a token is a row of a window."""


class ForecastingDecode(DecodeConfig):
    """What `seqkit decode` can be asked for."""

    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    """Quantiles to write, where the run knows any."""
    pictures: Path | None = None
    """Folder for a picture of each series: the past, the forecast and its bands."""

    @field_validator("levels")
    @classmethod
    def _probabilities(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if not levels or not all(0.0 < level < 1.0 for level in levels) or list(levels) != sorted(set(levels)):
            raise ValueError("levels increase and lie between 0 and 1, e.g. 0.1,0.5,0.9")
        return levels

    @model_validator(mode="after")
    def _folder(self) -> Self:
        if self.pictures is not None and self.pictures.exists() and not self.pictures.is_dir():
            raise ValueError(f"--pictures names a folder, and {self.pictures} is a file")
        return self


@dataclass(frozen=True)
class Batch:
    """Windows (B, L, D), what is to come (B, H, D), both scaled, NaN where missing, and the calendar (B, L + H, C).

    `items` are what they were made of, where an answer is to be made of them.
    """

    read: Tensor
    target: Tensor
    calendar: Tensor
    items: tuple[Item, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(self.read.to(device), self.target.to(device), self.calendar.to(device), self.items)


class Forecasting(Recipe[ForecastingConfig]):
    """Forecasting of one or several series, of one or several columns."""

    config_type = ForecastingConfig
    options_type = ForecastingDecode
    metric = "mse"
    lower_is_better = ForecastTotals.lower_is_better
    key_column = None
    unit = "rows read"
    reads = "files"
    suffixes = (".csv", ".tsv", ".gz")
    sample = "sales.csv"
    decode_chunk = 16

    def __init__(self, config: ForecastingConfig) -> None:
        super().__init__(config)
        data, windows = config.data, config.windows
        self.frontend = ForecastFrontend(
            horizon=data.horizon,
            input_length=windows.input_length,
            each=windows.scaling == "series",
            calendar=windows.calendar,
            mask=data.missing == "mask",
            season=data.season,
        )
        self.output: Output = build_output(config.model.output, loss=config.model.loss, levels=config.model.levels)
        self.totals = ForecastTotals(owa=data.owa)
        self.parts = SeriesParts()

    # Data ------------------------------------------------------------------------------------------------------------

    def load_data(self) -> dict[str, Split]:
        """The parts of each series, in the order of time."""
        self.parts = load_parts(self.config.data, demo_forecasting)
        return self.parts.splits()

    def load_file(self, path: Path) -> Split:
        """All rows of a file, as far as there is enough of the past before them."""
        found = read_file(self.config.data, path, self.frontend.columns)
        self.parts = SeriesParts.whole(found, self.frontend.input_length)
        return self.parts.splits()["test"]

    # Front-end -------------------------------------------------------------------------------------------------------

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Find the length of windows, the season and the scaling, in training rows."""
        if inherit is not None:
            self.frontend.load(inherit)
        else:
            series, rows = self.parts.rows(train)
            self.frontend.fit(series, rows)

    def save_frontend(self, folder: Path) -> None:
        """Write what `fit` found."""
        self.frontend.save(folder)

    def load_frontend(self, folder: Path) -> None:
        """Read what `save_frontend` wrote."""
        self.frontend.load(folder)

    def items(self, split: Split, progress: Callable[[int, int], None] | None = None) -> Items:
        """The windows of a part: of training rows all, of others one every `data.stride` rows."""
        series, rows = self.parts.rows(split)
        encoded = [self.frontend.encode(one, self.parts.known(one)) for one in series]
        training = [part.start == 0 for part in rows]
        stride = 1 if all(training) else self.config.data.stride
        windows = self.frontend.windows(encoded, rows, stride)
        lengths = np.full(len(windows), self.frontend.input_length, dtype=np.int64)
        short = sum(not len(begins) for begins in windows.begins)
        needed = self.frontend.input_length + self.frontend.horizon
        left_out = {f"series with no {needed} rows for a window": short} if short else {}
        return Items(windows, lengths, Places(windows), left_out, damaged=self._odd(series, rows))

    def _odd(self, series: Sequence[Series], rows: Sequence[range]) -> list[str]:
        """What a user should know of the rows of a part: what their reading noted, and what is missing in them."""
        noted = [note for one, part in zip(series, rows, strict=True) if part.start == 0 for note in one.notes]
        counts = [missing(one.values[part.start : part.stop]) for one, part in zip(series, rows, strict=True)]
        if not any(counts):
            return noted
        done = (
            "shown to the network as missing" if self.config.data.missing == "mask" else "filled from their neighbours"
        )
        held = sum(count > 0 for count in counts)
        return [*noted, f"{sum(counts):,} values are missing in {held} of {len(series)} series; they are {done}."]

    def epoch_items(self, items: Items, epoch: int) -> Items:
        """All windows; or as many as `data.epoch_windows`, drawn anew, where they are fewer each several times."""
        wanted = self.config.data.epoch_windows
        if wanted is None:
            return items
        rng = np.random.default_rng([self.config.training.seed, epoch])
        rounds, rest = divmod(wanted, len(items))
        drawn = np.sort(np.concatenate([np.tile(np.arange(len(items)), rounds), rng.choice(len(items), rest, False)]))
        windows = cast(WindowItems, items.values).chosen(drawn)
        return Items(windows, items.lengths[drawn], Places(windows))

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """The windows that end with the series of a file."""
        return self.decoded_item(example["file"], self.options_type())

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        """Only what a training batch is made of."""
        return {name: item[name] for name in ("read", "target", "calendar")}

    def length(self, item: Item) -> int:
        """Rows that are read."""
        return sum(len(one["read"]) for one in item.get("windows", [item]))

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch of windows; of a file all its series'."""
        windows = [one for item in items for one in item.get("windows", [item])]
        stacked = {
            name: torch.from_numpy(np.stack([one[name] for one in windows])) for name in ("read", "target", "calendar")
        }
        return Batch(**stacked, items=tuple(items) if "scaling" in windows[0] else ())

    # Model -----------------------------------------------------------------------------------------------------------

    def build_model(self) -> Forecaster:
        """The untrained network."""
        config = self.config.model
        return Forecaster(
            len(self.frontend.columns),
            self.frontend.input_length,
            self.frontend.horizon,
            self.output,
            lstm=config.lstm.model_dump(),
            segment=min(config.segment, self.frontend.input_length),
            normalization=config.normalization,
            decoder=config.decoder,
            channels=config.channels,
            linear=config.linear,
            dropout=config.dropout,
            calendar=self.frontend.features,
            mask=self.config.data.missing == "mask",
        )

    def loss(self, model: nn.Module, batch: Batch, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """The output's loss of each value that is there, over windows."""
        parameters = self._forecast(model, batch)
        real = ~torch.isnan(batch.target)
        losses = self.output.loss(parameters, torch.where(real, batch.target, 0.0))
        each = torch.where(real, losses, 0.0).sum((1, 2)) / real.sum((1, 2)).clamp(min=1)
        return Loss(each.sum(), torch.tensor(float(len(each)), device=each.device))

    def _forecast(self, model: nn.Module, batch: Batch) -> Tensor:
        calendar = batch.calendar if self.frontend.features else None
        parameters: Tensor = model(batch.read, calendar=calendar)
        return parameters

    # Answers ---------------------------------------------------------------------------------------------------------

    def predict(
        self, models: Sequence[nn.Module], batch: Batch, options: DecodeConfig | None = None
    ) -> list[Forecast] | list[FileForecast]:
        """A forecast for each window; where options say that it is to be an answer, for each file those of its series.
        Several models are averaged quantile by quantile."""
        parameters = torch.stack([self._forecast(model, batch) for model in models]).mean(0).float().cpu().numpy()
        windows = [one for item in batch.items for one in item.get("windows", [item])]
        forecasts = [
            Forecast(self.output, own, one["scaling"].mean, one["scaling"].scale)
            for own, one in zip(parameters, windows, strict=True)
        ]
        if options is None:
            return forecasts
        rest = iter(forecasts)
        return [FileForecast(item, [next(rest) for _ in item.get("windows", [item])]) for item in batch.items]

    def statistics(self, item: Item, prediction: Forecast) -> np.ndarray:
        """Errors of the forecast, of naive and of seasonal-naive, over the values that are there."""
        return self.totals.of(item, prediction, self.frontend.season)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """MSE and MAE in training deviations, sMAPE, MASE, OWA where asked for; of bands CRPS and coverage; and what
        naive and seasonal-naive have."""
        return self.totals.metrics(totals)

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A file with series."""
        return {"file": str(source)}

    def decoded_item(self, source: str | Path, options: DecodeConfig, paired: str | None = None) -> Item:
        """The window that ends each series of a file. What cannot be forecast is kept as a problem of the others."""
        problems: list[SeqkitError] = []
        windows = []
        try:
            found = read_file(self.config.data, Path(source), self.frontend.columns, problems)
        except DataError as error:
            raise InputError(error.message, hint=error.hint) from error
        for series in found:
            try:
                windows.append(self.frontend.newest(series))
            except InputError as problem:
                problems.append(problem)
        if not windows:
            raise InputError(str(problems[0]))
        return {"windows": windows, "problems": [str(problem) for problem in problems], "source": str(source)}

    def answer(self, prediction: FileForecast, options: DecodeConfig) -> Answer:
        """The forecast as a table; the same as JSON fields."""
        assert isinstance(options, ForecastingDecode)
        if options.pictures is not None:
            prediction.draw(options.pictures, options.levels)
        text, fields = prediction.table(options.levels)
        return Answer(text, fields, suffix=".csv", problem=prediction.problem)

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """Some forecasts beside what came, and the error by how far ahead it is."""
        drawn = np.unique(np.linspace(0, len(outcomes) - 1, PICTURED).round().astype(int))
        files = [
            self.totals.draw(outcomes[index], folder / f"forecast-{split}-{number}.png")
            for number, index in enumerate(drawn, 1)
        ]
        title = f"{split}: error by steps ahead, {len(outcomes):,} forecasts"
        return [*files, self.totals.backtest(outcomes, folder / f"backtest-{split}.png", self.frontend.season, title)]
