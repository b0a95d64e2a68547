"""Text classification: what a sentence or a review says, as one of a set of labels.

Tokens -> embedding -> stacked LSTM in both directions -> pooling -> classifier. Copy this folder and change it:
`seqkit recipes copy sentiment my-recipe`, then `seqkit train my-recipe`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.data.check import check_labels
from seqkit.data.config import DataConfig
from seqkit.data.demo_reviews import demo_reviews
from seqkit.data.items import Item
from seqkit.data.phrases import add_phrases
from seqkit.data.splits import Split, find_file, load_file, load_splits, relabel
from seqkit.errors import DataError, RunError
from seqkit.frontends.cooccurrence import cooccurrence_vectors
from seqkit.frontends.embedding import TokenEmbedding
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.heads.classifier import (
    Classifier,
    class_weights,
    classification_loss,
    classification_metrics,
    classification_statistics,
    confusion_matrix,
)
from seqkit.heads.labels import Labels, order_labels
from seqkit.heads.pooling import PoolName
from seqkit.lstm import StackedLSTM
from seqkit.recipe import Answer, DecodeConfig, Loss, Outcome, Recipe, RecipeConfig
from seqkit.reporting.confusion import save_confusion
from seqkit.reporting.mistakes import save_mistakes
from seqkit.sequences import Sequences
from seqkit.settings import LSTMConfig
from seqkit.storage import read_json, write_json

EMBEDDING_STD = 0.2
"""Standard deviation of an embedding's values at the start."""


class SentimentData(DataConfig):
    """Labelled texts."""

    text: str = "text"
    """Column with the text."""
    label: str = "label"
    """Column with the label."""
    label_names: dict[str, str] | None = None
    """Names for labels, e.g. {"0": negative, "1": positive}; examples with another label are left out."""
    test_label_names: dict[str, str] | None = None
    """As label_names, for the test part where its labels are other ones; null where they are the same."""
    fold: dict[str, str] | None = None
    """Label -> answer, where training has finer labels than the answers, e.g. {very positive: positive, ...}; training
    examples whose label has no answer are trained on all the same, in other parts they are left out."""
    phrases: str | None = None
    """A file of labelled phrases of the training texts, which are trained on too (a treebank's, say); a copy of
    the data set on the hub comes without."""
    phrase_text: str = "phrase"
    """Column with the phrase in the file of phrases."""
    phrase_label_names: dict[str, str] | None = None
    """As label_names, for the phrases."""


class SentimentModelConfig(Config):
    """From tokens to label scores."""

    embedding_size: int = Field(default=128, ge=1)
    """Size of a token's vector."""
    embedding_init: Literal["normal", "cooccurrence"] = "normal"
    """How the vectors start: at random, or from which tokens stand near each other in the training texts."""
    word_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of tokens that training replaces by the unknown one."""
    embedding_noise: float = Field(default=0.0, ge=0.0)
    """Standard deviation of Gaussian noise added to the vectors in training."""
    embedding_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the vocabulary whose vectors training drops from a batch (Merity et al. 2017)."""
    lstm: LSTMConfig = LSTMConfig(hidden_size=128)
    """The backbone."""
    chop: int | None = Field(default=None, ge=1)
    """Read a long text in pieces of so many tokens, each from a zero state, and pool over all of them (Johnson and
    Zhang 2016); null reads it in one."""
    piece_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the pieces of a chopped text that training leaves out, one at least staying: so the label cannot hang on
    one sentence, and an epoch takes less time."""
    pool: tuple[PoolName, ...] = ("max", "mean")
    """What is taken from the outputs of all steps: any of last, mean, max, attention."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout before the classifier."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability that the target gives to all labels alike."""
    class_weight_power: float = Field(default=0.0, ge=0.0, le=1.0)
    """Weigh a label by its frequency to the minus this: 0 not at all, 1 so that all labels count alike."""
    length_weight_power: float = Field(default=0.0, ge=0.0)
    """Weigh a text by its tokens to this power: with phrases, whole sentences should count for more than words."""


class SentimentConfig(RecipeConfig):
    """Text classification."""

    data: SentimentData = SentimentData()
    """The texts."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """How a text is cut into tokens."""
    model: SentimentModelConfig = SentimentModelConfig()
    """The network."""


class SentimentDecode(DecodeConfig):
    """What `seqkit decode` can be asked for."""

    scores: bool = False
    """Write the probability behind each label, not only into --json."""


@dataclass(frozen=True)
class Batch:
    """Token ids (N,) of B' pieces of B texts, owners (B',), labels (B,) int64 (-1: unknown) and weights (B,)."""

    ids: Sequences
    owners: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(self.ids.to(device), self.owners, self.labels.to(device), self.weights.to(device))


class SentimentModel(nn.Module):
    """Token ids to label scores."""

    def __init__(self, config: SentimentModelConfig, vocab_size: int, unk_id: int, num_labels: int) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(
            vocab_size,
            config.embedding_size,
            unk_id=unk_id,
            word_dropout=config.word_dropout,
            noise=config.embedding_noise,
            embedding_dropout=config.embedding_dropout,
            init_std=EMBEDDING_STD,
        )
        self.lstm = StackedLSTM(config.embedding_size, **config.lstm.model_dump())
        directions = 2 if config.lstm.bidirectional else 1
        self.classifier = Classifier(
            directions * config.lstm.hidden_size,
            num_labels,
            config.pool,
            bidirectional=config.lstm.bidirectional,
            dropout=config.dropout,
        )

    def forward(self, ids: Sequences, owners: Tensor) -> Tensor:
        """Scores (B, num_labels), before the softmax, of the ids (N,) of pieces and the text (B',) of each piece.

        Every piece is read from a zero state; the pieces of a text are pooled together.
        """
        output, _ = self.lstm(self.embedding(ids))
        if len(owners) and int(owners[-1]) + 1 < len(owners):
            output = output.join(owners)
        scores: Tensor = self.classifier(output)
        return scores


def cut_pieces(ids: np.ndarray, size: int | None, offset: int = 0) -> list[np.ndarray]:
    """Ids (L,) in consecutive pieces of at most `size`, the first of `offset` ids where that is not 0; at least one."""
    if size is None or len(ids) <= size:
        return [ids]
    starts = [*([0] if offset else []), *range(offset, len(ids), size)]
    return [ids[start:end] for start, end in zip(starts, [*starts[1:], len(ids)], strict=True)]


def drop_pieces(pieces: Sequence[np.ndarray], rate: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The pieces, each dropped with probability `rate`; one stays."""
    kept = rng.random(len(pieces)) >= rate
    kept[rng.integers(len(pieces))] |= not kept.any()
    return [piece for piece, keep in zip(pieces, kept, strict=True) if keep]


class Sentiment(Recipe[SentimentConfig]):
    """Text classification; labels are whatever the data's label column holds."""

    config_type = SentimentConfig
    options_type = SentimentDecode
    metric = "accuracy"
    sample = '"the film was not dull at all"'
    key_column = "text"
    label_column = "label"

    def __init__(self, config: SentimentConfig) -> None:
        super().__init__(config)
        self.frontend = TextFrontend(config.tokenizer)
        self.labels = Labels([])
        self.label_weights: np.ndarray = np.ones(0)
        self.start_vectors: Tensor | None = None

    # Data ------------------------------------------------------------------------------------------------------------

    def load_data(self) -> dict[str, Split]:
        """The splits, with renamed labels and, in train, the phrases."""
        data = self.config.data
        columns = {"text": data.text, "label": data.label}
        splits = load_splits(data, columns, demo=demo_reviews, stratify="label")
        # A group that is held out of the training file has that file's labels.
        own = data.test_label_names if data.held_out_column is None else None
        names = {"test": own or data.label_names}
        splits = {name: relabel(split, "label", names.get(name, data.label_names)) for name, split in splits.items()}
        splits = {name: split if name == "train" else self._with_answers(split) for name, split in splits.items()}
        check_labels(splits, "label", known=(data.fold or {}).values())
        if data.phrases is not None and not splits["train"].from_hub:
            columns = {"text": data.phrase_text, "label": data.label}
            phrases = relabel(load_file(find_file(data, "phrases"), data, columns), "label", data.phrase_label_names)
            held_out = [split for name, split in splits.items() if name != "train"]
            splits = {**splits, "train": add_phrases(splits["train"], phrases, *held_out)}
        return splits

    def load_file(self, path: Path) -> Split:
        """Labelled texts from a file."""
        data = self.config.data
        split = load_file(str(path), data, {"text": data.text, "label": data.label})
        return self._with_answers(relabel(split, "label", data.label_names))

    def _with_answers(self, split: Split) -> Split:
        """The examples whose label is an answer, or has one."""
        fold = self.config.data.fold
        return split if fold is None else relabel(split, "label", {**{name: name for name in fold.values()}, **fold})

    # Front-end -------------------------------------------------------------------------------------------------------

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Learn the tokens, the labels and their weights from the training texts."""
        if inherit is None:
            self.frontend.fit(train.column("text"), self.config.data.split_seed)
        else:
            self.frontend = TextFrontend.load(inherit)
        if self.config.model.embedding_init == "cooccurrence" and inherit is None:
            self.start_vectors = cooccurrence_vectors(
                self.frontend.encode_batch(train.column("text")),
                self.frontend.vocab_size,
                self.config.model.embedding_size,
                unk_id=self.frontend.unk_id,
                std=EMBEDDING_STD,
                seed=self.config.training.seed,
            )
        counts = Counter(train.column("label"))
        names = order_labels(list(counts), self.config.data.label_names)
        self.labels = Labels(names, self.config.data.fold)
        frequencies = np.array([counts[name] for name in names])
        self.label_weights = class_weights(frequencies, self.config.model.class_weight_power)

    def save_frontend(self, folder: Path) -> None:
        """Write the tokenizer and the labels."""
        self.frontend.save(folder)
        write_json(folder / "labels.json", {**self.labels.to_json(), "weights": self.label_weights.tolist()})

    def load_frontend(self, folder: Path) -> None:
        """Read the tokenizer and the labels."""
        self.frontend = TextFrontend.load(folder)
        stored = read_json(folder / "labels.json")
        self.labels = Labels(list(stored["labels"]), stored["fold"])
        self.label_weights = np.array(stored["weights"])
        if len(self.labels.names) != len(self.label_weights):
            raise RunError(f"{folder / 'labels.json'}: labels and weights do not fit.", hint="The run is damaged.")

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """Token ids, and the numbers of the label and of its answer, -1 for what is not known."""
        label = example.get("label")
        number = -1 if label is None else self.labels.number(label)
        answer = -1 if label is None else self.labels.answer_number(label)
        if label is not None and number < 0 and answer < 0:
            known = ", ".join(self.labels.names)
            raise DataError(
                f"{example['place']}: the label '{label}' was not seen in training.", hint=f"Seen: {known}."
            )
        ids = self.frontend.encode(example["text"])
        return {"ids": ids, "label": number, "answer": answer, "text": example["text"]}

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        """Another segmentation of the same text, with subword regularisation; only some pieces, with piece dropout."""
        ids = self.frontend.sample(item["text"], rng) if self.config.tokenizer.sampling else item["ids"]
        chop, rate = self.config.model.chop, self.config.model.piece_dropout
        if chop is None or not rate or len(ids) <= chop:
            return {**item, "ids": ids}
        # No two epochs cut a text at the same places.
        pieces = cut_pieces(ids, chop, int(rng.integers(chop)))
        return {**item, "ids": ids, "pieces": drop_pieces(pieces, rate, rng)}

    def length(self, item: Item) -> int:
        """Tokens."""
        return len(item["ids"])

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch; a text weighs what its length and its label say."""
        labels = np.array([item["label"] for item in items], dtype=np.int64)
        lengths = np.array([len(item["ids"]) for item in items], dtype=np.float64)
        weights = np.maximum(lengths, 1.0) ** self.config.model.length_weight_power
        weights *= np.where(labels < 0, 1.0, self.label_weights[labels])
        pieces = [item.get("pieces") or cut_pieces(item["ids"], self.config.model.chop) for item in items]
        owners = torch.repeat_interleave(torch.tensor([len(own) for own in pieces], dtype=torch.int64))
        ids = Sequences.from_list([torch.from_numpy(piece.astype(np.int64)) for own in pieces for piece in own])
        return Batch(ids, owners, torch.from_numpy(labels), torch.from_numpy(weights).float())

    # Model -----------------------------------------------------------------------------------------------------------

    def build_model(self) -> SentimentModel:
        """The untrained network."""
        config, frontend = self.config.model, self.frontend
        model = SentimentModel(config, frontend.vocab_size, frontend.unk_id, len(self.labels.names))
        if self.start_vectors is not None:
            model.embedding.weight.data.copy_(self.start_vectors)
        return model

    def loss(self, model: nn.Module, batch: Batch, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """Weighted cross-entropy."""
        scores, smoothing = model(batch.ids, batch.owners), self.config.model.label_smoothing
        return Loss(*classification_loss(scores, batch.labels, weights=batch.weights, label_smoothing=smoothing))

    # Answers ---------------------------------------------------------------------------------------------------------

    def predict(
        self, models: Sequence[nn.Module], batch: Batch, options: DecodeConfig | None = None
    ) -> list[np.ndarray]:
        """Log-probabilities of the answers, an array (answers,) for each text; of several models, of their mean."""
        log_probs_MBK = torch.stack([model(batch.ids, batch.owners).double().log_softmax(dim=1) for model in models])
        mean_BK = log_probs_MBK.logsumexp(dim=0) - np.log(len(models))
        return list(self.labels.log_answers(mean_BK).cpu().numpy())

    def statistics(self, item: Item, prediction: np.ndarray) -> np.ndarray | None:
        """The text's cell of the confusion matrix, and its loss; None for a label without an answer."""
        return None if item["answer"] < 0 else classification_statistics(item["answer"], prediction)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Accuracy, macro F1 and loss."""
        return classification_metrics(totals)

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A text to label."""
        return {"text": str(source)}

    def answer(self, prediction: np.ndarray, options: DecodeConfig) -> Answer:
        """The likeliest label, and the probability of each."""
        probabilities = np.exp(prediction)
        scores = {label: round(float(p), 6) for label, p in zip(self.labels.answers, probabilities, strict=True)}
        label = self.labels.answers[int(prediction.argmax())]
        shown = isinstance(options, SentimentDecode) and options.scores
        text = "\t".join([label, *(f"{name}={p:.4f}" for name, p in scores.items())]) if shown else label
        return Answer(text, {"label": label, "scores": scores})

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """The confusion matrix as a picture, and the texts that the model is most wrong about."""
        totals = sum(classification_statistics(outcome.item["answer"], outcome.prediction) for outcome in outcomes)
        title = f"{split}: {len(outcomes)} texts"
        answers, matrix = self.labels.answers, confusion_matrix(np.asarray(totals))
        picture = save_confusion(matrix, answers, folder / f"confusion-{split}.png", title=title)
        return [picture, save_mistakes(outcomes, answers, folder / f"mistakes-{split}.tsv")]
