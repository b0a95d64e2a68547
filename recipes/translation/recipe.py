"""Translation: a sentence of one language to a sentence of another, by an encoder and a decoder with attention.

Tokens -> embedding -> stacked LSTM, both directions -> attention <- stacked LSTM <- the target so far; softmax over the
target's vocabulary; beam search. Copy this folder and change it: `seqkit recipes copy translation my-recipe`, then
`seqkit train my-recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.data.config import DataConfig
from seqkit.data.demo_numbers import demo_numbers
from seqkit.data.items import Item, Unusable
from seqkit.data.limits import within_limits
from seqkit.data.splits import Split, load_file, load_splits
from seqkit.frontends.embedding import TokenEmbedding
from seqkit.frontends.pair import PairFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.heads.beam import BeamSearch
from seqkit.heads.bleu import COUNTS, overlap_counts, overlap_scores, sentence_chrf, signatures
from seqkit.heads.generation import SamplingOptions
from seqkit.heads.translations import (
    Limits,
    TargetScore,
    Translated,
    sample_translations,
    score_targets,
    search_translations,
)
from seqkit.heads.translator import Translator
from seqkit.lstm import StackedLSTM
from seqkit.recipe import Answer, DecodeConfig, Loss, Outcome, Recipe, RecipeConfig
from seqkit.reporting.alignment import save_alignment, save_translations
from seqkit.sequences import Sequences
from seqkit.settings import LSTMConfig, TrainingConfig

NO_LIMIT = 100_000
"""Tokens of a drawn translation; each source has its own limit."""


class TranslationData(DataConfig):
    """Pairs of sentences."""

    source: str = "source"
    """Column with the source; where the data is a file for each language (train.{lang}.gz), the language, e.g. en."""
    target: str = "target"
    """Column with the translation, or its language."""
    max_characters: int | None = Field(default=1000, ge=1)
    """Pairs of which a side is longer are left out of training, and counted; null for no limit."""
    max_ratio: float | None = Field(default=None, gt=1.0)
    """Pairs of which one side has so many times the characters of the other are left out of training, and counted."""

    @model_validator(mode="after")
    def _two_columns(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are both '{self.source}'; name two columns or languages")
        return self


class TranslatorConfig(Config):
    """From the source's tokens to the probabilities of the target's next one."""

    embedding_size: int = Field(default=256, ge=1)
    """Size of a token's vector."""
    embedding_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the vocabulary whose vectors training drops from a batch (Merity et al. 2017)."""
    word_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the tokens read, of the source and of the target so far, that training replaces by the unknown one."""
    encoder: LSTMConfig = LSTMConfig(hidden_size=256)
    """The stack that reads the source."""
    decoder: LSTMConfig = LSTMConfig(hidden_size=512, bidirectional=False)
    """The stack that writes; residual adds the output of its lowest layer to that of the layers above."""
    attention: Literal["multiplicative", "additive"] = "multiplicative"
    """How the decoder's state is compared with a step of the source (Luong et al. 2015; Bahdanau et al. 2015)."""
    attention_size: int = Field(default=256, ge=1)
    """Units of the comparison."""
    attending: Literal["lowest", "highest", "both"] = "lowest"
    """The decoder's layer that attention asks with. What the lowest finds goes to the layers above and to the softmax,
    what the highest finds to the softmax; with `both` each has an attention of its own."""
    tied: Literal["none", "output", "all"] = "all"
    """`output`: the softmax has the target embedding's weight (Press and Wolf 2017); `all`: the source's embedding is
    the same too, which needs a joint vocabulary."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Locked dropout on the encoder's output, and before and after the layer under the softmax."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each target that is spread over the whole vocabulary (Szegedy et al. 2016)."""

    @model_validator(mode="after")
    def _writes_forward(self) -> Self:
        if self.decoder.bidirectional:
            raise ValueError("decoder.bidirectional=true would read the words that are to be written; set it to false")
        return self


class SearchConfig(Config):
    """How a translation is looked for."""

    beam_size: int = Field(default=5, ge=1)
    """Hypotheses that are kept at each step; 1 is greedy."""
    length_penalty: float = Field(default=1.0, ge=0.0)
    """Scores are log-probabilities over ((5 + length) / 6) to this power (Wu et al. 2016); 0 favours short ones."""
    max_tokens: int = Field(default=1000, ge=1)
    """A source of more tokens is refused."""
    max_ratio: float = Field(default=2.0, gt=0.0)
    """A translation ends at so many times its source's tokens and 10 more, at the latest."""


class TranslationConfig(RecipeConfig):
    """Translation."""

    data: TranslationData = TranslationData()
    """The pairs."""
    tokenizer: TokenizerConfig = TokenizerConfig(eos=True)
    """How texts are cut into tokens, on both sides; of separate vocabularies each has `vocab_size`."""
    joint: bool = True
    """One vocabulary, learned from both sides; false for one each."""
    model: TranslatorConfig = TranslatorConfig()
    """The network."""
    search: SearchConfig = SearchConfig()
    """The search, where decoding does not ask for another. Training evaluates greedily between epochs."""
    training: TrainingConfig = TrainingConfig(batch_examples=64)
    """The training loop."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.tokenizer.eos:
            raise ValueError("tokenizer.eos=false leaves a translation without an end; set it to true")
        if self.model.tied == "all" and not self.joint:
            raise ValueError("model.tied=all needs one vocabulary for both sides; set joint=true or model.tied=output")
        return self


class TranslationDecode(SamplingOptions, DecodeConfig):
    """What `seqkit decode` can be asked for: to translate, or to score given translations."""

    beam_size: int | None = Field(default=None, ge=1)
    """Hypotheses kept at each step; null for the run's own (`search.beam_size`)."""
    length_penalty: float | None = Field(default=None, ge=0.0)
    """0 favours short translations, 1 longer ones; null for the run's own."""
    n_best: int = Field(default=1, ge=1)
    """Translations of each source, best first, or as they were drawn: with more than one a line each, with its score
    and a tab in front."""
    sample: bool = False
    """Draw the translations from the model instead of looking for the likeliest."""
    score: bool = False
    """Translate nothing: give the log-probability (nats), tokens and perplexity of the lines of `target`."""
    target: Path | None = None
    """File with the translation to score of each input, line by line."""
    pictures: Path | None = None
    """Folder for a picture of each source's attention."""

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        given = self.model_fields_set
        if self.score != (self.target is not None):
            raise ValueError("--score and --target FILE go together: the lines of FILE are what is scored")
        idle = given - {"score", "target"} if self.score else set()
        idle |= given & {"beam_size", "length_penalty"} if self.sample else set()
        idle |= given & {"temperature", "top_k", "top_p", "seed"} if not self.sample else set()
        if idle:
            task = "--score" if self.score else "--sample" if self.sample else "a beam search (without --sample)"
            raise ValueError(f"--{min(idle).replace('_', '-')} does nothing in {task}; leave it out")
        if self.sample and self.temperature == 0 and self.n_best > 1:
            raise ValueError(f"temperature=0 draws the same translation each time; n_best is {self.n_best}")
        if self.beam_size is not None and self.n_best > self.beam_size:
            raise ValueError(f"n_best={self.n_best} needs a beam of as many; beam_size is {self.beam_size}")
        return self


@dataclass(frozen=True)
class Batch:
    """Sources (N,) int64; targets as read (N',) and as predicted (N',), where there are any."""

    source: Sequences
    read: Sequences | None = None
    targets: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        if self.read is None or self.targets is None:
            return replace(self, source=self.source.to(device))
        return Batch(self.source.to(device), self.read.to(device), self.targets.to(device))


class Translation(Recipe[TranslationConfig]):
    """Translation."""

    config_type = TranslationConfig
    options_type = TranslationDecode
    paired_option = "target"
    evaluated_options = frozenset({"beam_size", "length_penalty"})
    metric = "bleu"
    lower_is_better = frozenset({"loss", "perplexity"})
    key_column = "source"
    sample = '"the third of may"'

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__(config)
        self.frontend = PairFrontend(config.tokenizer, joint=config.joint)

    # Data ------------------------------------------------------------------------------------------------------------

    def load_data(self) -> dict[str, Split]:
        """The splits; overlong pairs are left out of the training part."""
        data = self.config.data
        splits = load_splits(data, {"source": data.source, "target": data.target}, demo=demo_numbers)
        return {**splits, "train": within_limits(splits["train"], data.max_characters, data.max_ratio)}

    def load_file(self, path: Path) -> Split:
        """Pairs from a file, or from a file for each language (`test.{lang}`)."""
        data = self.config.data
        return load_file(str(path), data, {"source": data.source, "target": data.target})

    # Front-end -------------------------------------------------------------------------------------------------------

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Learn the tokens from the training texts."""
        if inherit is None:
            self.frontend.fit(train.column("source"), train.column("target"), self.config.data.split_seed)
        else:
            self.load_frontend(inherit)

    def save_frontend(self, folder: Path) -> None:
        """Write the tokenizers."""
        self.frontend.save(folder)

    def load_frontend(self, folder: Path) -> None:
        """Read the tokenizers."""
        self.frontend = PairFrontend.load(folder, joint=self.config.joint)

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """Token ids of the source with its end, and of the target, where there is one, between two signs of an end."""
        source, target = example["source"], example.get("target")
        item: Item = {"source": source, "source_ids": self._source_ids(self.frontend.source.encode(source))}
        if target is not None:
            item |= {"target": target, "target_ids": self._target_ids(self.frontend.target.encode(target))}
        return item

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        """Other segmentations of the same texts, with subword regularisation."""
        if not self.config.tokenizer.sampling:
            return item
        source_ids = self._source_ids(self.frontend.source.sample(item["source"], rng))
        return {
            **item,
            "source_ids": source_ids,
            "target_ids": self._target_ids(self.frontend.target.sample(item["target"], rng)),
        }

    def _source_ids(self, ids: np.ndarray) -> np.ndarray:
        return np.append(ids, np.int32(self.frontend.source.eos_id))

    def _target_ids(self, ids: np.ndarray) -> np.ndarray:
        eos_id = np.int32(self.frontend.target.eos_id)
        return np.concatenate([[eos_id], ids, [eos_id]])

    def length(self, item: Item) -> int:
        """Tokens of both sides."""
        return len(item["source_ids"]) + len(item.get("target_ids", ()))

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch of pairs, or of sources."""
        source = Sequences.from_list([torch.from_numpy(item["source_ids"].astype(np.int64)) for item in items])
        if any("target_ids" not in item for item in items):
            return Batch(source)
        rows = [torch.from_numpy(item["target_ids"].astype(np.int64)) for item in items]
        pairs = Sequences.from_list([torch.stack([row[:-1], row[1:]], dim=1) for row in rows])  # (N', 2)
        return Batch(source, pairs.replace(pairs.data[:, 0].contiguous()), pairs.data[:, 1].contiguous())

    # Model -----------------------------------------------------------------------------------------------------------

    def build_model(self) -> Translator:
        """The untrained network."""
        config, frontend = self.config.model, self.frontend
        source, target = (
            TokenEmbedding(
                side.vocab_size,
                config.embedding_size,
                unk_id=side.unk_id,
                word_dropout=config.word_dropout,
                embedding_dropout=config.embedding_dropout,
                init_std=config.embedding_size**-0.5,
                scale=config.embedding_size**0.5,
            )
            for side in (frontend.source, frontend.target)
        )
        encoder = StackedLSTM(config.embedding_size, **config.encoder.model_dump())
        decoder = config.decoder.model_dump()
        lowest = StackedLSTM(config.embedding_size, **{**decoder, "num_layers": 1})
        upper = None
        if config.decoder.num_layers > 1:
            width = lowest.output_size + (encoder.output_size if config.attending != "highest" else 0)
            upper = StackedLSTM(width, **{**decoder, "num_layers": config.decoder.num_layers - 1})
        return Translator(
            target if config.tied == "all" else source,
            target,
            encoder,
            lowest,
            upper,
            attending=config.attending,
            attention_size=config.attention_size,
            scoring=config.attention,
            tied=config.tied != "none",
            dropout=config.dropout,
            residual=config.decoder.residual,
            start_id=frontend.target.eos_id,
        )

    def loss(self, model: nn.Module, batch: Batch, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """Cross-entropy in nats, over target tokens."""
        assert batch.read is not None
        assert batch.targets is not None
        translator = cast(Translator, model)
        total = translator.nats_sum(batch.source, batch.read, batch.targets, self.config.model.label_smoothing)
        return Loss(total, torch.tensor(batch.read.steps))

    # Answers ---------------------------------------------------------------------------------------------------------

    def predict(self, models: Sequence[nn.Module], batch: Batch, options: DecodeConfig | None = None) -> list[Any]:
        """A `Translated` of each source; a `TargetScore` of each target where decoding asks for scores."""
        translators = [cast(Translator, model) for model in models]
        chosen = options if isinstance(options, TranslationDecode) else TranslationDecode()
        scores: Sequence[TargetScore | None] = [None] * batch.source.batch_size
        if batch.read is not None and batch.targets is not None:
            scores = score_targets(translators, batch.source, batch.read, batch.targets)
        if chosen.score:
            return list(scores)
        limits = Limits(self.config.search.max_ratio)
        if chosen.sample:
            sampling = chosen.sampling(length=NO_LIMIT, samples=chosen.n_best)
            found = sample_translations(translators, batch.source, self.frontend, sampling, limits)
        else:
            found = search_translations(translators, batch.source, self.frontend, self._search(chosen), limits)
        return [replace(one, reference=score) for one, score in zip(found, scores, strict=True)]

    def _search(self, options: TranslationDecode) -> BeamSearch:
        """The search that decoding asks for, else that of the configuration."""
        search, penalty = self.config.search, options.length_penalty
        return BeamSearch(
            beam_size=options.beam_size or max(search.beam_size, options.n_best),
            n_best=options.n_best,
            length_penalty=search.length_penalty if penalty is None else penalty,
        )

    def quick_options(self) -> TranslationDecode:
        """Greedy search."""
        return TranslationDecode(beam_size=1)

    def statistics(self, item: Item, prediction: Translated) -> np.ndarray:
        """What BLEU and chrF count, whether the translation is the given one, and the nats and tokens of that."""
        assert prediction.reference is not None
        exact = float(prediction.text == item["target"])
        nats, tokens = -prediction.reference.log_prob, prediction.reference.tokens
        return np.array([*overlap_counts(prediction.text, item["target"]), exact, 1.0, nats, tokens])

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """BLEU and chrF (0 to 100), the share of exact matches, and the perplexity of the given translations."""
        exact, sentences, nats, tokens = totals[COUNTS:]
        perplexity = float(np.exp(min(nats / tokens, 700.0)))
        return {**overlap_scores(totals), "exact": float(exact / sentences), "perplexity": perplexity}

    def signatures(self) -> Mapping[str, str]:
        """Those of sacrebleu."""
        return signatures()

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A sentence to translate."""
        return {"source": str(source)}

    def decoded_item(self, source: str | Path, options: DecodeConfig, paired: str | None = None) -> Item:
        """A sentence to translate, with the translation to score where there is one."""
        given = {} if paired is None else {"target": paired}
        item = self.prepare({**self.example(source), **given})
        tokens, most = max(len(item["source_ids"]), len(item.get("target_ids", ()))), self.config.search.max_tokens
        if tokens > most:
            raise Unusable(f"{tokens} tokens, and the run takes {most} (search.max_tokens); cut it into sentences")
        return item

    def answer(self, prediction: Translated | TargetScore, options: DecodeConfig) -> Answer:
        """The translation, or several with their scores; or the figures of a given one, separated by tabs."""
        assert isinstance(options, TranslationDecode)
        if isinstance(prediction, TargetScore):
            log_prob, tokens, perplexity = prediction.log_prob, prediction.tokens, prediction.perplexity
            fields: dict[str, Any] = {"log_prob": log_prob, "tokens": tokens, "perplexity": perplexity}
            return Answer(f"{log_prob:.4f}\t{tokens}\t{perplexity:.4f}", fields)
        if options.pictures is not None:
            save_alignment(prediction.alignment, options.pictures)
        candidates = [{"text": one.text, "score": one.score, "log_prob": one.log_prob} for one in prediction.candidates]
        fields = {**candidates[0], "alignment": prediction.alignment.to_json()}
        if options.n_best == 1:
            return Answer(prediction.text, fields)
        lines = [f"{one.score:.4f}\t{one.text}" for one in prediction.candidates]
        return Answer("\n".join(lines), {**fields, "n_best": candidates})

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """The attention of a few sentences as a picture, and all translations, the worst first."""
        return save_translations(outcomes, sentence_chrf, folder, split)
