"""The contract: what a recipe must answer.

A recipe is one class in one file. It names a front-end, a backbone and a head, and answers the questions below; the
library does the rest (loop, devices, checkpoints, evaluation with intervals, decoding of files and streams). The order
in which the library asks:

    training    load_data -> fit -> items -> build_model
                -> per epoch: epoch_items -> batches -> augment -> collate -> loss
                -> per evaluation: predict -> statistics -> metrics -> at the end: calibrate, report
    evaluation  load_data or load_file -> items -> collate -> predict -> statistics -> metrics -> report
    decoding    decoded_item (example -> prepare) -> collate -> predict -> answer

How the seven tasks answer it (what differs from text classification, which is `recipes/sentiment`):

    text classification   items: one per text. loss: weighted cross-entropy, count = sum of weights. statistics: the
                          cell of the confusion matrix, so that accuracy and F1 follow from sums.
    video classification  reads files; prepare samples frames (cacheable), augment crops and jitters; length = frames.
                          Everything after the head is text classification's.
    CTC                   prepare raises Unusable where an utterance has fewer frames than labels + repeats: it is left
                          out and counted. predict runs the beam search, with what DecodeConfig asks for. statistics:
                          (word edits, words, character edits, characters), so that WER is corpus-level.
    sequence to sequence  items hold source and target ids; count = target tokens. predict is beam search, answer the
                          text. statistics: BLEU's n-gram matches and totals, lengths.
    language modelling    items makes one item of a whole text; epoch_items cuts the training text into windows, and
                          batches returns window t of every track as batch t: contiguous. loss returns the LSTM's
                          state as `carry`; the loop hands it to the next batch, detached, keeps it in checkpoints, and
                          starts each epoch from None. statistics: (nats, tokens, ...) of each line. `prompt` and
                          `score` are DecodeConfig keys.
    forecasting           items are windows, made when they are asked for, views of a scaled series. statistics: sums
                          and counts of each error, of the forecast and of naive ones; predictions undo the scaling.
                          A decoded item holds the newest window of every series of a file; answer writes a CSV.
    anomaly detection     train examples are normal. calibrate runs after training, on the chosen weights: it scores
                          normal data and stores the threshold in `calibration`, which the run keeps as JSON.
                          statistics: (hits, false alarms, misses, ...). `-` is followed row by row.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Generic, Literal, TypeVar

import numpy as np

from seqkit.config import Config
from seqkit.data.batching import bucket_batches
from seqkit.data.cache import Caching, opened_cache
from seqkit.data.items import Item, Items, prepare_all
from seqkit.settings import TrainingConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from seqkit.data.splits import Split


class RecipeConfig(Config):
    """Base of a recipe's configuration; a recipe adds its data, front-end and model keys."""

    training: TrainingConfig = TrainingConfig()
    """The training loop."""


class DecodeConfig(Config):
    """Options that a recipe's decoding takes on the command line (`--beam-size 5`); this base has none."""


RecipeConfigType = TypeVar("RecipeConfigType", bound=RecipeConfig)


@dataclass(frozen=True)
class Loss:
    """What one batch costs: `sum` (a scalar with a graph) over `count` terms.

    Sum and count stay apart so that accumulated batches and several processes give what one big batch gives. `carry`
    (tensors by name, the batch's rows on dimension 1) is handed to the next batch of the epoch, detached; None where
    batches are independent.
    """

    sum: Tensor
    count: Tensor
    carry: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Answer:
    """What decoding says about one example: `text` is the line on a terminal, `fields` the rest of the JSON object."""

    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ".txt"
    """What the name of a file with the text ends in."""
    problem: str | None = None
    """What was wrong with the input, where there is an answer all the same."""
    final: bool = True
    """Whether it stays as it is; of a stream that is followed, the beginning of an answer comes before it does."""


@dataclass(frozen=True)
class Outcome:
    """One evaluated example, as `report` sees it: its place in the data, the item and the prediction."""

    place: str
    item: Item
    prediction: Any


class Recipe(abc.ABC, Generic[RecipeConfigType]):
    """One task, from examples to answers. Subclass it in a file `recipe.py`; see `recipes/sentiment`."""

    config_type: ClassVar[type[RecipeConfig]]
    """The configuration class; its defaults are the recipe's defaults."""
    options_type: ClassVar[type[DecodeConfig]] = DecodeConfig
    """What `seqkit decode` can be asked for."""
    version: ClassVar[int] = 1
    """Raised when a trained run of an older version can no longer be loaded."""
    metric: ClassVar[str]
    """The metric by which checkpoints are compared; `lower_is_better` names those that should fall."""
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"loss"})
    key_column: ClassVar[str | None]
    """The column by which duplicates between splits are found; None where a repeated example means nothing."""
    label_column: ClassVar[str | None] = None
    """The column with a class label, where there is one: its values are counted and checked."""
    unit: ClassVar[str] = "tokens"
    """What a step of a sequence is called in reports."""
    reads: ClassVar[Literal["lines", "files"]] = "lines"
    """Whether a decoded file holds an example a line, or is one example."""
    sample: str = "-"
    """An input to try decoding with, as it is typed."""
    input_option: ClassVar[str | None] = None
    """The decoding option whose text is itself the input, blank or not (`--prompt TEXT`), where there is one."""
    paired_option: ClassVar[str | None] = None
    """The decoding option that names a file with a line for each input (`--target FILE`), where there is one: the line
    stands in `decoded_item`'s `paired`."""
    live_option: ClassVar[str | None] = None
    """The decoding option by which stdin is raw data that is answered as it comes (`--stream`), where there is one."""
    follows_stdin: ClassVar[bool] = False
    """Whether `-` as the only input is followed, row by row, as a stream that may have no end (`tail -f log.csv |
    seqkit decode RUN -`)."""
    evaluated_options: ClassVar[frozenset[str]] = frozenset()
    """The decoding options that change an evaluation too, and that `seqkit eval` therefore takes (`beam_size`)."""
    suffixes: tuple[str, ...] = (".txt",)
    """The files that decoding takes out of a folder; of a recipe with several kinds of input, those of this one."""
    decode_chunk: ClassVar[int] = 1024
    """Inputs that are read before they are answered; fewer where each is a heavy file."""
    caching: ClassVar[Caching | None] = None
    """How items are kept where SEQKIT_CACHE is set; None, where preparing is as quick as reading back (texts): they are
    not. A recipe that decodes audio or video names the columns of its files: `Caching(files=("audio",))`."""

    def __init__(self, config: RecipeConfigType) -> None:
        self.config = config
        self.calibration: dict[str, Any] = {}

    # Data ------------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def load_data(self) -> dict[str, Split]:
        """The splits, among them "train" and "validation". Raises DataError."""

    @abc.abstractmethod
    def load_file(self, path: Path) -> Split:
        """Labelled examples from a file of the user's, for `seqkit eval --data`. Raises DataError."""

    # Front-end -------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Fit the front-end (vocabulary, mean and variance, label set) on the training split alone.

        `inherit` is the front-end folder of a run whose weights training starts from: what those weights depend on (the
        vocabulary) is taken from there instead. Raises RunError where it does not serve.
        """

    @abc.abstractmethod
    def save_frontend(self, folder: Path) -> None:
        """Write what `fit` found into an existing folder, without pickles."""

    @abc.abstractmethod
    def load_frontend(self, folder: Path) -> None:
        """Read what `save_frontend` wrote. Raises RunError or OSError where it is damaged."""

    @abc.abstractmethod
    def prepare(self, example: Mapping[str, Any]) -> Item:
        """Turn one raw example into arrays: deterministic, so that it can be cached. Raises Unusable with a reason."""

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        """A random variation of a training item, drawn from `rng` alone (keyed by seed, epoch and index)."""
        return item

    @abc.abstractmethod
    def length(self, item: Item) -> int:
        """Real steps of an item: what batches are filled and bucketed by."""

    def items(self, split: Split, progress: Callable[[int, int], None] | None = None) -> Items:
        """The split's items, by default one per example; a windowed or contiguous recipe cuts its own."""
        with opened_cache(self) as kept:
            return prepare_all(split, self.prepare, self.length, progress, kept)

    def epoch_items(self, items: Items, epoch: int) -> Items:
        """What an epoch trains on: `items` as they are, or cut anew, keyed by (seed, epoch)."""
        return items

    def batches(self, items: Items, epoch: int) -> list[list[int]]:
        """Indices of the items of each training batch of an epoch, keyed by (seed, epoch)."""
        training = self.config.training
        return bucket_batches(
            items.lengths,
            batch_tokens=training.batch_tokens,
            max_examples=training.batch_examples,
            bucket=training.bucket,
            seed=training.seed,
            epoch=epoch,
        )

    @abc.abstractmethod
    def collate(self, items: Sequence[Item]) -> Any:
        """A batch of items: an object with `.to(device)`."""

    # Model -----------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def build_model(self) -> nn.Module:
        """The untrained model, after `fit` or `load_frontend`; initialised from torch's global generator."""

    @abc.abstractmethod
    def loss(self, model: nn.Module, batch: Any, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """The batch's loss as sum and count, and the state that the next batch of the epoch starts from."""

    # Answers ---------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def predict(self, models: Sequence[nn.Module], batch: Any, options: DecodeConfig | None = None) -> list[Any]:
        """One prediction per item of the batch, in its order, on the CPU.

        Several models are an ensemble with one front-end: their probabilities are averaged. They are in eval mode, and
        no gradient is kept.
        """

    @abc.abstractmethod
    def statistics(self, item: Item, prediction: Any) -> np.ndarray | None:
        """What an example adds to the metrics: a float64 vector (S,) whose sum over examples `metrics` can read.

        A matrix (R, S) where an item holds R parts (the lines of a text) that intervals should be drawn over. None for
        an example that has nothing to compare the prediction with; it is left out of the evaluation.
        """

    @abc.abstractmethod
    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Metrics from the sum (S,) of the statistics. Rates are fractions; also called on bootstrap resamples."""

    @abc.abstractmethod
    def answer(self, prediction: Any, options: DecodeConfig) -> Answer:
        """A prediction as text and JSON fields. Raises InputError where the input turned out to have no answer."""

    @abc.abstractmethod
    def example(self, source: str | Path) -> Mapping[str, Any]:
        """An example to decode from a line of text (`reads = "lines"`) or a file's path. Raises InputError."""

    def decoded_item(self, source: str | Path, options: DecodeConfig, paired: str | None = None) -> Item:
        """What decoding makes of a line or a file; overridden where the options, or a line paired with it, matter.

        Raises InputError, Unusable.
        """
        return self.prepare(self.example(source))

    def follow(
        self, models: Sequence[nn.Module], file: BinaryIO, options: DecodeConfig, log: Callable[[str], None]
    ) -> Iterator[Answer]:
        """Answer raw data as it comes, for `live_option` or `follows_stdin`; what a person may want to know besides
        goes to `log`. An answer's `problem` is told on stderr, and the stream goes on.

        Raises InputError.
        """
        raise NotImplementedError(f"{type(self).__name__} names what is live, and does not follow streams")

    def quick_options(self) -> DecodeConfig | None:
        """What evaluations between the epochs of a training predict with, where the whole search would be slow."""
        return None

    def signatures(self) -> Mapping[str, str]:
        """How metrics were computed, in the words of the library that did: what makes figures comparable."""
        return {}

    def calibrate(self, model: nn.Module, items: Mapping[str, Items]) -> None:
        """Fit what is chosen after training (a threshold, a temperature) into `self.calibration`."""

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """Pictures and tables of an evaluation, written to a folder; returns the files."""
        return []


def better(recipe: Recipe[Any], metric: str, new: float, old: float) -> bool:
    """Whether a value of a metric beats another one."""
    return new < old if metric in recipe.lower_is_better else new > old
