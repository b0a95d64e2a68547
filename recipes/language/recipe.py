"""Language modelling: the next word, piece or character of a running text, and texts that go on from a beginning.

Tokens -> embedding -> stacked LSTM, forward in time, its state carried from window to window -> softmax over the
vocabulary. Copy this folder and change it: `seqkit recipes copy language my-recipe`, then `seqkit train my-recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, cast
from warnings import warn

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.data.config import DataConfig
from seqkit.data.corpus import cut_windows, first_window, join_lines
from seqkit.data.demo_tales import demo_tales
from seqkit.data.items import Item, Items
from seqkit.data.splits import Split, load_file, load_splits
from seqkit.errors import InputError
from seqkit.frontends.continuation import Continuation
from seqkit.frontends.embedding import TokenEmbedding
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.heads.generation import SamplingOptions
from seqkit.heads.language import LanguageModel, change_square
from seqkit.heads.texts import LINE_END, Score, write_texts
from seqkit.lstm import StackedLSTM
from seqkit.lstm.state import LSTMState
from seqkit.recipe import Answer, DecodeConfig, Loss, Outcome, Recipe, RecipeConfig
from seqkit.reporting.surprise import save_nats, save_passage, save_surprising_lines
from seqkit.sequences import Sequences
from seqkit.settings import LSTMConfig, TrainingConfig

WRITTEN = {"char": 500}
"""Tokens that are written where `length` does not say, by the kind of tokens; 100 for other kinds."""
UNKNOWN_NAMED = 10
"""Unknown words of a prompt that are named."""


class LanguageData(DataConfig):
    """A running text."""

    text: str = "text"
    """Column with the text, in a file that has columns; of a .txt file, every line is a text."""


class LanguageModelConfig(Config):
    """From tokens to the probabilities of the next one."""

    embedding_size: int = Field(default=256, ge=1)
    """Size of a token's vector."""
    embedding_std: float = Field(default=0.1, gt=0.0)
    """Standard deviation of the vectors at the start. Little text is learned faster from 1, if it is not tied."""
    embedding_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the vocabulary whose vectors training drops from a batch (Merity et al. 2017)."""
    word_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the tokens read that training replaces by the unknown one."""
    lstm: LSTMConfig = LSTMConfig(hidden_size=256, num_layers=2, bidirectional=False)
    """The backbone; it reads forward only."""
    initial_state: Literal["zero", "learned"] = "zero"
    """What a text begins with: zeros, or a state that is learned."""
    output_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Locked dropout on what the last layer says."""
    tied: bool = True
    """The softmax has the embedding's weight (Press and Wolf 2017); where the LSTM is wider or narrower than the
    embedding, a linear layer stands between."""
    cutoffs: tuple[int, ...] = ()
    """Adaptive softmax (Grave et al. 2017) for a large vocabulary: ids at which a cluster of rarer words begins, e.g.
    [4000, 20000]; empty for a full softmax."""
    activation_penalty: float = Field(default=0.0, ge=0.0)
    """Weight of the mean square of the last layer's output after dropout (AR, Merity et al. 2017)."""
    change_penalty: float = Field(default=0.0, ge=0.0)
    """Weight of the mean square of its change from one step to the next (TAR, Merity et al. 2017)."""

    @model_validator(mode="after")
    def _reads_forward(self) -> Self:
        if self.lstm.bidirectional:
            raise ValueError("lstm.bidirectional=true would read the word that is to be predicted; set it to false")
        return self


class LanguageConfig(RecipeConfig):
    """Language modelling."""

    data: LanguageData = LanguageData(cut="tail")
    """The text."""
    tokenizer: TokenizerConfig = TokenizerConfig(eos=True)
    """How the text is cut into tokens."""
    model: LanguageModelConfig = LanguageModelConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig(bptt_steps=70, batch_examples=32)
    """The training loop; `batch_examples` is the number of places at which the text is read at once."""

    @model_validator(mode="after")
    def _has_eos(self) -> Self:
        if not self.tokenizer.eos:
            raise ValueError("tokenizer.eos=false leaves a language model without the end of a line; set it to true")
        return self


class LanguageDecode(SamplingOptions, DecodeConfig):
    """What `seqkit decode` can be asked for: to write on from a prompt, or to score texts."""

    prompt: str | None = None
    """Text to write on from, over as many lines as it takes; empty for the start of a line. Without it every line of
    the inputs is a prompt, and its answer ends with that line at the latest."""
    length: int | None = Field(default=None, ge=1)
    """Most tokens to write; null for 500 characters, or 100 words or pieces."""
    samples: int = Field(default=1, ge=1)
    """Texts for each prompt."""
    stop: str | None = Field(default=None, min_length=1)
    """Text before which writing stops; \\n for the end of a line."""
    score: bool = False
    """Write nothing: give each line's log-probability (nats), tokens and perplexity, its own end counted."""

    @property
    def one_line(self) -> bool:
        """Whether a text ends with its line at the latest."""
        return self.prompt is None or self.stop == LINE_END

    @field_validator("stop")
    @classmethod
    def _line_end(cls, stop: str | None) -> str | None:
        return LINE_END if stop == r"\n" else stop

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        writing = [name for name in type(self).model_fields if name in self.model_fields_set - {"score"}]
        if self.score and writing:
            raise ValueError(f"--score reads texts and --{writing[0].replace('_', '-')} is for writing; give one")
        if self.temperature == 0 and self.samples > 1:
            raise ValueError(f"temperature=0 writes the same text each time; {self.samples} samples need more")
        return self


@dataclass(frozen=True)
class Batch:
    """Windows of text: the token read at each step and the one to be predicted, both of (N,) int64.

    `texts` are the rows as they were typed, where they were.
    """

    read: Sequences
    targets: Tensor
    texts: Sequence[str] = ()

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return replace(self, read=self.read.to(device), targets=self.targets.to(device))


class Language(Recipe[LanguageConfig]):
    """Language modelling."""

    config_type = LanguageConfig
    options_type = LanguageDecode
    metric = "perplexity"
    lower_is_better = frozenset({"loss", "perplexity"})
    key_column = None
    sample = '--prompt "one day"'
    input_option = "prompt"
    _continuation: Continuation | None = None

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config)
        self.frontend = TextFrontend(config.tokenizer)

    @property
    def continuation(self) -> Continuation:
        """How prompts are read and go on."""
        if self._continuation is None or self._continuation.frontend is not self.frontend:
            self._continuation = Continuation(self.frontend)
        return self._continuation

    # Data ------------------------------------------------------------------------------------------------------------

    def load_data(self) -> dict[str, Split]:
        """The splits, a line an example, blank ones included."""
        data = self.config.data
        return load_splits(data, {"text": data.text}, demo=demo_tales, may_be_empty=("text",))

    def load_file(self, path: Path) -> Split:
        """The lines of a file."""
        return load_file(str(path), self.config.data, {"text": self.config.data.text}, may_be_empty=("text",))

    # Front-end -------------------------------------------------------------------------------------------------------

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Learn the tokens from the training text."""
        if inherit is None:
            self.frontend.fit(train.column("text"), self.config.data.split_seed)
        else:
            self.frontend = TextFrontend.load(inherit)

    def save_frontend(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.frontend.save(folder)

    def load_frontend(self, folder: Path) -> None:
        """Read the tokenizer."""
        self.frontend = TextFrontend.load(folder)

    def items(self, split: Split, progress: Any = None) -> Items:
        """One item: the whole text."""
        lines = self.frontend.encode_batch(split.column("text"))
        ids, ends = join_lines(lines, self.frontend.eos_id)
        return Items([{"ids": ids, "ends": ends}], np.array([len(ids) - 1]), [split.origin])

    def epoch_items(self, items: Items, epoch: int) -> Items:
        """Windows of the training text, cut at other places in each epoch."""
        training = self.config.training
        steps = training.bptt_steps
        first = None if steps is None else first_window(steps, training.seed, epoch)
        return cut_windows(items.values[0]["ids"], training.batch_examples, steps, first)

    def batches(self, items: Items, epoch: int) -> list[list[int]]:
        """The windows of one time."""
        rows = min(self.config.training.batch_examples, int(items.lengths.sum()))
        return [list(range(start, start + rows)) for start in range(0, len(items), rows)]

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """Token ids of a text of a line or more."""
        ids, ends = join_lines(self.continuation.lines(example["text"]), self.frontend.eos_id)
        return {"ids": ids, "ends": ends, "text": example["text"]}

    def length(self, item: Item) -> int:
        """Tokens to predict."""
        return len(item["ids"]) - 1

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch of windows, or of whole texts."""
        rows = [torch.from_numpy(item["ids"].astype(np.int64)) for item in items]
        pairs = Sequences.from_list([torch.stack([row[:-1], row[1:]], dim=1) for row in rows])  # (N, 2)
        texts = [item["text"] for item in items if "text" in item]
        return Batch(pairs.replace(pairs.data[:, 0].contiguous()), pairs.data[:, 1].contiguous(), texts)

    # Model -----------------------------------------------------------------------------------------------------------

    def build_model(self) -> LanguageModel:
        """The untrained network."""
        config = self.config.model
        embedding = TokenEmbedding(
            self.frontend.vocab_size,
            config.embedding_size,
            unk_id=self.frontend.unk_id,
            word_dropout=config.word_dropout,
            embedding_dropout=config.embedding_dropout,
            init_std=config.embedding_std,
        )
        return LanguageModel(
            embedding,
            StackedLSTM(config.embedding_size, **config.lstm.model_dump()),
            tied=config.tied,
            cutoffs=config.cutoffs,
            output_dropout=config.output_dropout,
            learned_start=config.initial_state == "learned",
        )

    def loss(self, model: nn.Module, batch: Batch, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """Cross-entropy in nats, with the penalties on the output."""
        config = self.config.model
        state = None if carry is None else LSTMState(carry["hidden"], carry["cell"])
        language = cast(LanguageModel, model)
        output, dropped, final = language(batch.read, state)
        total = language.softmax.nats_sum(language.projection(dropped.data), batch.targets)
        if config.activation_penalty:
            total = total + config.activation_penalty * dropped.data.square().mean(1).sum()
        if config.change_penalty:
            total = total + config.change_penalty * change_square(output)
        return Loss(total, torch.tensor(batch.read.steps), {"hidden": final.hidden, "cell": final.cell})

    # Answers ---------------------------------------------------------------------------------------------------------

    def predict(self, models: Sequence[nn.Module], batch: Batch, options: DecodeConfig | None = None) -> list[Any]:
        """Nats of each token (T,); or what decoding asks for: texts (see `write_texts`), or a `Score`."""
        language = [cast(LanguageModel, model) for model in models]
        if isinstance(options, LanguageDecode) and not options.score:
            prompts = batch.texts or [""] * batch.read.batch_size
            length = options.length or WRITTEN.get(self.frontend.config.kind, 100)
            sampling = options.sampling(length=length, samples=options.samples)
            # A row ends in the end of its line, which is not read: there the text goes on.
            return write_texts(
                language,
                batch.read,
                prompts,
                self.continuation,
                sampling,
                one_line=options.one_line,
                stop=options.stop,
            )
        log_probs = torch.stack([-model.nats(batch.read, batch.targets).double() for model in language])
        mean = log_probs.logsumexp(dim=0) - np.log(len(models))
        nats = [part.cpu().numpy() for part in batch.read.replace(-mean).unpack()]
        if options is None:
            return nats
        return [Score(text, -float(part.sum()), len(part)) for text, part in zip(batch.texts, nats, strict=True)]

    def statistics(self, item: Item, prediction: np.ndarray) -> np.ndarray:
        """(nats, tokens) of each line."""
        starts = np.concatenate([[0], item["ends"][:-1]])
        return np.stack([np.add.reduceat(prediction, starts), item["ends"] - starts], axis=1)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Perplexity; loss, in nats a token; bits a token."""
        loss = float(totals[0] / totals[1])
        return {"perplexity": float(np.exp(min(loss, 700.0))), "loss": loss, "bits": loss / float(np.log(2))}

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A prompt, or a line to score."""
        return {"text": str(source)}

    def decoded_item(self, source: str | Path, options: DecodeConfig, paired: str | None = None) -> Item:
        """A line to score, or a prompt: it may hold unknown words, of which is warned, but no unknown characters."""
        assert isinstance(options, LanguageDecode)
        unknown = [] if options.score else self.continuation.unknown(str(source))
        if unknown:
            named = ", ".join(f"'{part}'" for part in unknown[:UNKNOWN_NAMED])
            named += f" and {len(unknown) - UNKNOWN_NAMED} more" if len(unknown) > UNKNOWN_NAMED else ""
            if self.frontend.config.kind == "char":
                raise InputError(f"the vocabulary does not hold {named}.", hint="Write the prompt without.")
            warn(f"a prompt has words that the vocabulary does not hold, read as <unk>: {named}.", stacklevel=2)
        return super().decoded_item(source, options, paired)

    def answer(self, prediction: Score | Sequence[Mapping[str, Any]], options: DecodeConfig) -> Answer:
        """The figures of a text before it, separated by tabs; or what was written, all samples."""
        assert isinstance(options, LanguageDecode)
        if isinstance(prediction, Score):
            log_prob, tokens, perplexity = prediction.log_prob, prediction.tokens, prediction.perplexity
            text = f"{log_prob:.4f}\t{tokens}\t{perplexity:.4f}\t{prediction.text}"
            return Answer(text, {"log_prob": log_prob, "tokens": tokens, "perplexity": perplexity})
        more = {"samples": list(prediction)} if len(prediction) > 1 else {}
        between = "\n" if options.one_line else "\n\n"
        return Answer(between.join(sample["text"] for sample in prediction), {**prediction[0], **more})

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """Pictures of where the model is surprised, in a passage and on the whole; and the most surprising lines."""
        item, nats = outcomes[0].item, np.asarray(outcomes[0].prediction)
        ids, ends = item["ids"][1:], item["ends"]
        return [
            save_passage(ids, nats, self._shown, folder / f"passage-{split}.png", title=split),
            save_nats(ids, nats, ends, folder / f"nats-{split}.png", title=split),
            save_surprising_lines(ids, nats, ends, self.frontend.decode, folder / f"lines-{split}.tsv"),
        ]

    def _shown(self, token: int) -> str:
        """A token as it is written after a word, its space included."""
        return "\n" if token == self.frontend.eos_id else self.continuation.text("a", [token])
