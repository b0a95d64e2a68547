"""Speech to text: sound files in, words with their times out, by connectionist temporal classification (CTC).

Log-mel frames -> subsampling -> stacked LSTM -> the probability of each character at each step -> a search for words,
with an n-gram language model. Copy this folder and change it: `seqkit recipes copy speech my-recipe`, then
`seqkit train my-recipe`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqkit.config import Config
from seqkit.data.cache import Caching
from seqkit.data.config import DataConfig
from seqkit.data.demo_speech import demo_speech
from seqkit.data.items import Broken, Item, Unusable
from seqkit.data.splits import Sources, Split, find_file, load_file, load_splits
from seqkit.data.transcripts import read_transcripts
from seqkit.errors import InputError
from seqkit.frontends.audio import AudioConfig, AudioFrontend
from seqkit.frontends.audio_augmentation import AudioAugmentConfig, augment
from seqkit.frontends.pronunciations import read_pronunciations
from seqkit.frontends.subsampling import SubsamplingConfig, build_subsampling
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.heads.ctc import AcousticModel, ctc_loss, steps_needed
from seqkit.heads.listener import Listener
from seqkit.heads.transcriber import Transcriber, Transcript
from seqkit.heads.word_errors import COUNTS, aligned, error_counts, error_rates
from seqkit.heads.word_search import SearchConfig, SearchOptions, WordSearch
from seqkit.lstm import StackedLSTM
from seqkit.media.audio import stream_audio
from seqkit.recipe import Answer, DecodeConfig, Loss, Outcome, Recipe, RecipeConfig
from seqkit.reporting.figures import free_path
from seqkit.reporting.speech import save_utterance
from seqkit.reporting.subtitles import subtitles
from seqkit.reporting.transcripts import save_transcripts
from seqkit.sequences import Sequences
from seqkit.settings import LSTMConfig, TrainingConfig

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".mp4", ".mkv", ".webm", ".mov")
SOURCES = Sources(files=frozenset({"audio"}), folder=read_transcripts)
WHOLE_SECONDS = 60.0
"""A sound up to this long is read at once, a longer one in windows."""


class SpeechData(DataConfig):
    """Sound files and what is said in them."""

    audio: str = "audio"
    """Column with the file's path, from the folder of the manifest; on the hub, a column of sounds."""
    text: str = "text"
    """Column with the words."""
    lexicon: str | None = None
    """File of pronunciations, WORD PHONE PHONE ... on each line (as CMUdict): words are then written by their sound
    (tokenizer.kind=phones), which takes less speech to learn than spelling; null for characters or pieces."""
    max_seconds: float | None = Field(default=30.0, gt=0.0)
    """Longer utterances are left out of training, and counted; null for no limit."""


class SpeechModelConfig(Config):
    """From frames to the labels' probabilities."""

    subsampling: SubsamplingConfig = SubsamplingConfig()
    """Fewer, richer frames."""
    lstm: LSTMConfig = LSTMConfig(hidden_size=256, num_layers=3)
    """The backbone."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Locked dropout before the last layer."""


class SpeechConfig(RecipeConfig):
    """Speech to text."""

    data: SpeechData = SpeechData()
    """The utterances."""
    audio: AudioConfig = AudioConfig()
    """From files to frames."""
    augment: AudioAugmentConfig = AudioAugmentConfig()
    """What training does to the frames."""
    tokenizer: TokenizerConfig = TokenizerConfig(kind="char")
    """How texts are written: characters, pieces of words, or phones."""
    model: SpeechModelConfig = SpeechModelConfig()
    """The network."""
    search: SearchConfig = SearchConfig()
    """The search for words, where decoding does not ask for another. Training evaluates greedily between epochs."""
    training: TrainingConfig = TrainingConfig(batch_tokens=20_000, batch_examples=32)
    """The training loop; a token is a frame."""

    @model_validator(mode="after")
    def _spells(self) -> Self:
        if self.tokenizer.kind == "word" or self.tokenizer.eos:
            raise ValueError("CTC writes characters or pieces, without an end: tokenizer.kind=char, unigram or bpe")
        if (self.tokenizer.kind == "phones") != (self.data.lexicon is not None):
            raise ValueError("tokenizer.kind=phones and data.lexicon=FILE go together: set both, or neither")
        return self


class SpeechDecode(SearchOptions, DecodeConfig):
    """What `seqkit decode` can be asked for."""

    n_best: int = Field(default=1, ge=1)
    """Transcripts of each file, best first: with more than one a line each, with its score and a tab in front."""
    format: Literal["text", "srt", "vtt"] = "text"
    """Write plain text, or subtitles."""
    align: str | None = None
    """Look for no words: say when these ones are said, as lines of start, end (seconds) and word."""
    pictures: Path | None = None
    """Folder for a picture of each file: spectrogram, label probabilities, words."""
    stream: bool = False
    """Follow raw sound on stdin: 16-bit signed little-endian samples, one channel; for a run that reads in one
    direction."""
    rate: int | None = Field(default=None, ge=1000)
    """Samples a second of raw sound; null for the run's own (`audio.filterbank.sample_rate`)."""

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if self.align is not None and (self.n_best > 1 or self.format != "text" or self.stream):
            raise ValueError("--align gives times as text: --n-best, --format and --stream do not go with it")
        if self.format != "text" and self.n_best > 1:
            raise ValueError("subtitles show one transcript: --n-best does not go with --format")
        if self.stream and (self.pictures is not None or self.n_best > 1 or self.format != "text"):
            raise ValueError("--stream gives text as it comes: --pictures, --n-best and --format do not go with it")
        if self.greedy and self.n_best > 1:
            raise ValueError("a greedy search finds one transcript: --n-best does not go with --greedy")
        if self.pictures is not None and self.pictures.exists() and not self.pictures.is_dir():
            raise ValueError(f"--pictures names a folder, and {self.pictures} is a file")
        if self.rate is not None and not self.stream:
            raise ValueError("--rate is for --stream: a file says itself how many samples a second it has")
        return self


@dataclass(frozen=True)
class Batch:
    """Normalised frames (N, M) of B sounds, and the labels (L_b,) int64 of each where they are known."""

    frames: Sequences
    targets: tuple[Tensor | None, ...]
    items: tuple[Item, ...]

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return replace(self, frames=self.frames.to(device))


class Speech(Recipe[SpeechConfig]):
    """Speech to text."""

    config_type = SpeechConfig
    options_type = SpeechDecode
    evaluated_options = frozenset(SearchOptions.model_fields)
    live_option = "stream"
    metric = "wer"
    lower_is_better = frozenset({"loss", "wer", "cer", "substitutions", "deletions", "insertions"})
    key_column = None
    unit = "frames"
    reads = "files"
    suffixes = SUFFIXES
    sample = "talk.mp3"
    decode_chunk = 16
    caching = Caching(config=("audio", "tokenizer", "data", "model.subsampling"), files=("audio",))

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__(config)
        self.frontend = AudioFrontend(config.audio)
        self.texts = TextFrontend(config.tokenizer)
        self.words = WordSearch(config.search, self.texts)

    # Data ------------------------------------------------------------------------------------------------------------

    def load_data(self) -> dict[str, Split]:
        """The splits: from manifests, from folders with transcripts, or from the hub."""
        return load_splits(self.config.data, self._columns(), demo=demo_speech, sources=SOURCES)

    def load_file(self, path: Path) -> Split:
        """Utterances from a manifest or a folder with transcripts."""
        return load_file(str(path), self.config.data, self._columns(), sources=SOURCES)

    def _columns(self) -> dict[str, str]:
        return {"audio": self.config.data.audio, "text": self.config.data.text}

    # Front-end -------------------------------------------------------------------------------------------------------

    def fit(self, train: Split, inherit: Path | None = None) -> None:
        """Learn the characters, the words and how they follow each other, and what the sounds are like."""
        texts = [_spaced(text) for text in train.column("text")]
        if inherit is None:
            self.texts.fit(texts, self.config.data.split_seed, lexicon=self._lexicon())
        else:
            self.texts = TextFrontend.load(inherit)
        self.words = WordSearch(self.config.search, self.texts).fit(texts)
        if self.config.audio.normalize == "utterance":
            return
        if inherit is not None:
            self.frontend = AudioFrontend.load(inherit, self.config.audio)
            return
        drawn = np.random.default_rng(self.config.data.split_seed).permutation(len(train))
        chosen = train.examples.select(drawn[: self.config.audio.fit_utterances].tolist())
        self.frontend.fit(self._readable(chosen))

    def _lexicon(self) -> dict[str, list[tuple[str, ...]]] | None:
        data = self.config.data
        return None if data.lexicon is None else read_pronunciations(find_file(data, "lexicon"))

    def _readable(self, examples: Any) -> Iterator[np.ndarray]:
        """The frames of the examples that can be read; `prepare` names the others."""
        for example in examples:
            try:
                yield self.frontend.frames(self.frontend.read(example["audio"]).samples)
            except InputError:
                continue

    def save_frontend(self, folder: Path) -> None:
        """Write the vocabulary, the words and their language model, and the statistics of the sounds."""
        self.texts.save(folder)
        self.words.save(folder)
        self.frontend.save(folder)

    def load_frontend(self, folder: Path) -> None:
        """Read what `save_frontend` wrote."""
        self.texts = TextFrontend.load(folder)
        self.words = WordSearch.load(folder, self.config.search, self.texts)
        self.frontend = AudioFrontend.load(folder, self.config.audio)

    def prepare(self, example: Mapping[str, Any]) -> Item:
        """Log-mel frames (T, M) and labels (L,); Broken names what is wrong with a file or its text."""
        text = _spaced(example["text"])
        ids = self.texts.encode(text)
        if not len(ids):
            raise Broken("the transcript is empty")
        if (ids == self.texts.unk_id).any():
            raise Broken(f"the transcript '{text}': {self._unknown(text)}")
        try:
            audio = self.frontend.read(example["audio"])
        except InputError as error:
            raise Broken(str(error)) from error
        if audio.warnings:
            raise Broken(audio.warnings[0])
        limit = self.config.data.max_seconds
        if limit is not None and len(audio.samples) > limit * audio.sample_rate:
            raise Unusable(f"longer than {limit:g} s (data.max_seconds)")
        frames = self.frontend.frames(audio.samples)
        steps, needed = -(-len(frames) // self.config.model.subsampling.stride), steps_needed(ids)
        if steps < needed:
            seconds = len(audio.samples) / audio.sample_rate
            raise Broken(
                f"{example['audio']}: its {seconds:.2f} s make {steps} steps, and the {len(ids)} labels of its "
                f"transcript need {needed}: the transcript is too long, or the file is cut off"
            )
        return {"frames": frames, "ids": ids, "text": text}

    def _unknown(self, text: str) -> str:
        if self.texts.lexicon is not None:
            lacking = dict.fromkeys(word for word in text.split() if word not in self.texts.lexicon)
            return f"the lexicon (data.lexicon) does not have {', '.join(lacking)}."
        known = set("".join(self.texts.pieces(range(self.texts.vocab_size))))
        unknown = sorted(set(text) - known - {" "})
        return f"it has characters that the training transcripts do not have: {' '.join(map(repr, unknown))}."

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        """Another speed and vocal tract, noise and masks, as long as the text still fits."""
        least = steps_needed(item["ids"]) * self.config.model.subsampling.stride
        frames = augment(item["frames"], self.config.augment, self.frontend.bank, rng, least)
        return {**item, "frames": frames.astype(np.float32, copy=False)}

    def length(self, item: Item) -> int:
        """Frames."""
        return len(item["frames"])

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch of normalised frames."""
        frames = [torch.from_numpy(self.frontend.normalize(item["frames"])) for item in items]
        targets = [torch.from_numpy(item["ids"].astype(np.int64)) if "ids" in item else None for item in items]
        return Batch(Sequences.from_list(frames), tuple(targets), tuple(items))

    # Model -----------------------------------------------------------------------------------------------------------

    def build_model(self) -> AcousticModel:
        """The untrained network."""
        config = self.config.model
        subsampling = build_subsampling(config.subsampling, self.frontend.bank.mels)
        lstm = StackedLSTM(subsampling.output_size, **config.lstm.model_dump())
        return AcousticModel(subsampling, lstm, self.texts.vocab_size, config.dropout)

    def loss(self, model: nn.Module, batch: Batch, carry: Mapping[str, Tensor] | None = None) -> Loss:
        """-log P(labels | sound) in nats, over labels."""
        targets = [target for target in batch.targets if target is not None]
        nats, count = ctc_loss(model(batch.frames), targets)
        return Loss(nats, count)

    # Answers ---------------------------------------------------------------------------------------------------------

    def predict(self, models: Sequence[nn.Module], batch: Batch, options: DecodeConfig | None = None) -> list[Any]:
        """A `Transcript` of each sound."""
        chosen = options if isinstance(options, SpeechDecode) else SpeechDecode()
        return self._listener(models, chosen).hear(batch.frames, batch.items)

    def _listener(self, models: Sequence[nn.Module], options: SpeechDecode) -> Listener:
        """What makes transcripts of the models' probabilities, as decoding asks for them."""
        transcriber = Transcriber(
            self.words.search(options),
            self.words.labels,
            self.frontend.seconds(self.config.model.subsampling.stride),
            n_best=options.n_best,
        )
        acoustic = [cast(AcousticModel, model) for model in models]
        return Listener(acoustic, self.frontend, transcriber, pictured=options.pictures is not None)

    def quick_options(self) -> SpeechDecode:
        """Greedy search."""
        return SpeechDecode(greedy=True)

    def statistics(self, item: Item, prediction: Transcript) -> np.ndarray:
        """The errors of words and characters, the nats of the given labels, and their number."""
        assert prediction.log_prob is not None
        return np.array([*error_counts(item["text"], prediction.text), -prediction.log_prob, len(item["ids"])])

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Error rates over all words and characters, and the loss in nats a label."""
        return {**error_rates(totals[:COUNTS]), "loss": float(totals[COUNTS] / max(totals[COUNTS + 1], 1.0))}

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """A sound file."""
        return {"audio": str(source)}

    def decoded_item(self, source: str | Path, options: DecodeConfig, paired: str | None = None) -> Item:
        """The frames of a sound file; of a long one, no more than where it is."""
        assert isinstance(options, SpeechDecode)
        rate, troubles = self.frontend.bank.sample_rate, list[str]()
        blocks: list[np.ndarray] = []
        item: Item = {"name": Path(source).name}
        if options.align is not None:
            item["align"] = self._labels(options.align)
        for block in stream_audio(source, rate, warn=troubles.append):
            blocks.append(block)
            if sum(map(len, blocks)) > WHOLE_SECONDS * rate:
                return {**item, "path": Path(source), "frames": self.frontend.frames(np.zeros(0, dtype=np.float32))}
        samples = np.concatenate(blocks)
        item |= {"frames": self.frontend.frames(samples), "seconds": len(samples) / rate}
        return {**item, "trouble": troubles[0]} if troubles else item

    def _labels(self, text: str) -> np.ndarray:
        """The labels of given words. Raises InputError for none, and for characters that the run does not know."""
        ids = self.texts.encode(_spaced(text))
        if not len(ids):
            raise InputError("--align has no words.", hint="Give what is said in the file.")
        if (ids == self.texts.unk_id).any():
            raise InputError(f"--align '{text}': {self._unknown(text)}", hint="Write it as the transcripts do.")
        return ids

    def answer(self, prediction: Transcript, options: DecodeConfig) -> Answer:
        """The words; or several transcripts, or subtitles, or times."""
        assert isinstance(options, SpeechDecode)
        if prediction.failed:
            raise InputError(str(prediction.trouble))
        if options.pictures is not None and prediction.heard is not None:
            self._picture(prediction, options.pictures)
        words = [
            {"word": one.word, "start": one.start, "end": one.end, "confidence": round(one.confidence, 4)}
            for one in prediction.words
        ]
        fields: dict[str, Any] = {"text": prediction.text, "words": words, "seconds": round(prediction.seconds, 3)}
        if options.n_best > 1:
            fields["n_best"] = [
                {"text": one.text, "score": one.score, "log_prob": one.ctc_log_prob} for one in prediction.candidates
            ]
        suffix = ".txt" if options.format == "text" else f".{options.format}"
        return Answer(_lines(prediction, options), fields, suffix=suffix, problem=prediction.trouble)

    def _picture(self, prediction: Transcript, folder: Path) -> None:
        assert prediction.heard is not None
        bank, heard = self.frontend.bank, prediction.heard
        save_utterance(
            free_path(folder, Path(prediction.name).stem),
            heard.frames,
            np.exp(heard.log_probs),
            self.words.labels.tokens,
            seconds_per_frame=bank.frame_seconds,
            seconds_per_step=bank.frame_seconds * self.config.model.subsampling.stride,
            title=prediction.name,
            words=prediction.words,
            seconds=prediction.seconds,
        )

    def follow(
        self, models: Sequence[nn.Module], file: BinaryIO, options: DecodeConfig, log: Callable[[str], None]
    ) -> Iterator[Answer]:
        """The words in raw sound, as it comes; at the end how much work it was, and how far behind the text is."""
        assert isinstance(options, SpeechDecode)
        acoustic = [cast(AcousticModel, model) for model in models]
        if any(model.lstm.bidirectional for model in acoustic) or self.config.audio.normalize == "utterance":
            raise InputError(
                "--stream needs a run that reads in one direction, with sounds normalised by the training part.",
                hint="Train one: seqkit train speech/an4-streaming; or with model.lstm.bidirectional=false "
                "audio.normalize=global.",
            )
        listener = self._listener(models, options)
        for text, final in listener.follow(file, options.rate or self.frontend.bank.sample_rate):
            yield Answer(text, {"text": text}, final=final)
        log(listener.describe_pace())

    def report(self, outcomes: Sequence[Outcome], folder: Path, split: str) -> list[Path]:
        """All transcripts, the worst first, with their errors side by side; the words that are confused most."""
        return save_transcripts(outcomes, aligned, folder, split)


def _lines(prediction: Transcript, options: SpeechDecode) -> str:
    """What a terminal shows."""
    if options.align is not None:
        return "\n".join(f"{one.start:.3f}\t{one.end:.3f}\t{one.word}" for one in prediction.words)
    if options.format != "text":
        return subtitles(prediction.words, options.format)
    if options.n_best > 1:
        return "\n".join(f"{one.score:.4f}\t{one.text}" for one in prediction.candidates)
    return prediction.text


def _spaced(text: str) -> str:
    """Words with one space between them."""
    return " ".join(text.split())
