"""What `benchmark_translation.py` gives to each side: the same pieces, the same sizes, the same optimizer.

Both sides read the pieces of one sentencepiece model. JoeyNMT gets them written out, with a space between (its level
"word"), so that it cuts at spaces and looks them up: it cannot cut a sentence in another way, and is spared running
sentencepiece, which it would do for each batch anew. A piece's id is 2 higher there: JoeyNMT has a sign for padding and
one for a beginning besides those for the unknown and for the end, so its vocabulary has 2 rows more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seqkit.errors import SeqkitError
from seqkit.frontends.text import TextFrontend
from seqkit.storage import disk_errors

Attention = Literal["luong", "bahdanau"]
SIGNS = 2  # ids of the unknown and of the end, in seqkit's vocabulary; all others are pieces
LEARNING_RATE = 0.001
CLIP_NORM = 5.0
LENGTH_PENALTY = 1.0
SCORING = {"luong": "multiplicative", "bahdanau": "additive"}


@dataclass(frozen=True)
class Sizes:
    """The network, and the batches it is trained on."""

    embedding: int = 256
    encoder: int = 256
    decoder: int = 512
    attention: Attention = "luong"
    vocabulary: int = 8000
    batch: int = 64
    dropout: float = 0.0

    def __str__(self) -> str:
        """In words."""
        return (
            f"embedding {self.embedding}, encoder 2 x {self.encoder}, decoder {self.decoder}, {self.attention} "
            f"attention, {self.vocabulary} joint pieces, {self.batch} sentences a batch, dropout {self.dropout:g}"
        )


@dataclass(frozen=True)
class Products:
    """Multiply-adds of the matrix products of one target token, forward, without padding; in millions."""

    encoder: float
    decoder: float
    attention: float
    softmax: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.encoder + self.decoder + self.attention + self.softmax


def products(sizes: Sizes, side: str, source_per_target: float) -> Products:
    """What the network of a side multiplies for a target token, with so many source tokens for each.

    Of attention the projections are counted, not the scores. `side` is "seqkit", "joeynmt" or "joeynmt+feeding".
    """
    memory, hidden = 2 * sizes.encoder, sizes.decoder
    encoder = source_per_target * 2 * 4 * sizes.encoder * (sizes.embedding + sizes.encoder)
    fed = hidden if side == "joeynmt+feeding" else 0
    decoder = 4 * hidden * (sizes.embedding + fed + hidden)
    attention = source_per_target * memory * hidden
    if side == "seqkit" or sizes.attention == "bahdanau":  # Luong's in JoeyNMT does not project the query
        attention += hidden * hidden
    features = sizes.embedding if side == "seqkit" else hidden  # what the softmax reads
    softmax = (hidden + memory) * features + features * sizes.vocabulary
    return Products(*(count / 1e6 for count in (encoder, decoder, attention, softmax)))


# ---- seqkit ----


def data_overrides(data: Path, source: str, target: str, sizes: Sizes) -> list[str]:
    """Settings of the data and the tokenizer, for the command line of seqkit."""
    return [
        f"data.path={data}",
        "data.train=train.{lang}.gz",
        "data.validation=val.{lang}.gz",
        "data.test=test_2016_flickr.{lang}.gz",
        f"data.source={source}",
        f"data.target={target}",
        f"tokenizer.vocab_size={sizes.vocabulary}",
        "tokenizer.character_coverage=1.0",
    ]


def model_overrides(sizes: Sizes) -> list[str]:
    """Settings of the network and of the optimizer."""
    return [
        f"model.embedding_size={sizes.embedding}",
        f"model.encoder.hidden_size={sizes.encoder}",
        f"model.decoder.hidden_size={sizes.decoder}",
        f"model.attention={SCORING[sizes.attention]}",
        f"model.attention_size={sizes.decoder}",  # JoeyNMT has no other
        "model.tied=all",
        f"model.dropout={sizes.dropout}",
        f"training.batch_examples={sizes.batch}",
        "training.batch_tokens=10000000",  # the number of sentences decides alone
        "training.optimizer=adam",
        f"training.learning_rate={LEARNING_RATE}",
        f"training.clip_norm={CLIP_NORM}",
        "training.device=cpu",
    ]


def endless_overrides(threads: int) -> list[str]:
    """Settings of a training that is neither evaluated nor ends."""
    return ["training.epochs=1000000", "training.evaluate_steps=1000000000", f"training.threads={threads}"]


# ---- JoeyNMT ----


def write_pieces(path: Path, tokens: TextFrontend, texts: Sequence[str]) -> None:
    """Texts as lines of pieces. Raises SeqkitError for one without any, which JoeyNMT does not take."""
    lines = [" ".join(tokens.pieces(tokens.encode(text))) for text in texts]
    empty = [number for number, line in enumerate(lines, 1) if not line]
    if empty:
        raise SeqkitError(
            f"{path.name}: sentence {empty[0]} has no token, which JoeyNMT does not take.", hint="Leave that pair out."
        )
    with disk_errors(path):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_vocabulary(path: Path, tokens: TextFrontend) -> None:
    """The pieces by id; JoeyNMT puts its own signs before them."""
    pieces = tokens.pieces(range(SIGNS, tokens.vocab_size))
    with disk_errors(path):
        path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")


def joeynmt_config(
    sizes: Sizes, pieces: Path, model: Path, source: str, target: str, *, feeding: bool, epochs: int, steps: int = 0
) -> dict[str, Any]:
    """A configuration of JoeyNMT for a new model in folder `model`, on the files train and dev in folder `pieces`.

    `steps` is an epoch's number of batches, 0 where nothing is validated. The embeddings of both sides are one, as
    seqkit's are; the softmax has their weight too where its size allows it, which in JoeyNMT is the decoder's.
    """
    sides = {
        side: {"lang": language, "level": "word", "voc_file": str(pieces / "vocabulary.txt")}
        for side, language in (("src", source), ("trg", target))
    }
    every = max(1, round(steps / 100)) * 100  # JoeyNMT wants it to be a multiple of `logging_freq`
    network = {
        "rnn_type": "lstm",
        "type": "recurrent",
        "num_layers": 1,
        "embeddings": {"embedding_dim": sizes.embedding, "dropout": sizes.dropout},
        "dropout": 0.0,
    }
    return {
        "name": "benchmark",
        "joeynmt_version": "2.3.0",
        "model_dir": str(model),
        "use_cuda": False,
        "data": {
            **sides,
            "dataset_type": "plain",
            "train": str(pieces / "train"),
            **({"dev": str(pieces / "dev")} if steps else {}),
        },
        "training": {
            "optimizer": "adam",
            "learning_rate": LEARNING_RATE,
            "learning_rate_min": 1e-8,
            "scheduling": "plateau",
            "patience": 2,
            "clip_grad_norm": CLIP_NORM,
            "normalization": "tokens",
            "batch_size": sizes.batch,
            "batch_type": "sentence",
            "shuffle": True,
            "epochs": epochs,
            "logging_freq": 100,
            "validation_freq": every,
            "early_stopping_metric": "bleu",
            "keep_best_ckpts": 1,
        },
        "testing": {"batch_size": sizes.batch, "batch_type": "sentence", "beam_size": 1, "eval_metrics": ["bleu"]},
        "model": {
            "initializer": "xavier_uniform",
            "tied_embeddings": True,
            "tied_softmax": sizes.embedding == sizes.decoder,
            "encoder": {**network, "hidden_size": sizes.encoder, "bidirectional": True},
            "decoder": {
                **network,
                "hidden_size": sizes.decoder,
                "hidden_dropout": sizes.dropout,
                "attention": sizes.attention,
                "input_feeding": feeding,
                "init_hidden": "bridge",
            },
        },
    }


def decoding_config(trained: dict[str, Any], model: Path, pieces: Path, batch: int, beam: int) -> dict[str, Any]:
    """A trained model's configuration, to translate the file `test` in folder `pieces` with it.

    Its limit of a translation's length is JoeyNMT's own: 1.5 times the longest source of a batch.
    """
    data = {key: value for key, value in trained["data"].items() if key not in ("train", "dev")}
    testing = {
        "batch_size": batch,
        "batch_type": "sentence",
        "beam_size": beam,
        "beam_alpha": LENGTH_PENALTY,
        "max_output_length": -1,
        "generate_unk": False,  # as seqkit never writes it
        "return_prob": "none",
        "eval_metrics": [],
    }
    return {**trained, "model_dir": str(model), "data": {**data, "test": str(pieces / "test")}, "testing": testing}
