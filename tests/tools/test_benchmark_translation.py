"""The comparison with JoeyNMT, as far as it goes without JoeyNMT: what is given to it, what is asked, what is told."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqkit.errors import SeqkitError
from seqkit.frontends.text import TextFrontend
from seqkit.frontends.tokenizer import TokenizerConfig
from seqkit.lstm import StackedLSTM
from tools import translation_report as report
from tools.benchmark_translation import main
from tools.translation_jobs import MORE_SIGNS, _texts, _trained
from tools.translation_protocol import TrainingRound
from tools.translation_setup import (
    SIGNS,
    Sizes,
    joeynmt_config,
    products,
    write_pieces,
    write_vocabulary,
)
from tools.translation_workers import SPIN, environment, same_work, workers

SIDES = ("seqkit", "joeynmt", "joeynmt+feeding")
TEXTS = ["A man is on a bench.", "Two dogs are on the grass!", "A dog, a man, a bench"]


@pytest.fixture(scope="module")
def tokens() -> TextFrontend:
    return TextFrontend(TokenizerConfig(eos=True, vocab_size=26, character_coverage=1.0)).fit(TEXTS * 3)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for part in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de"):
            with gzip.open(folder / f"{part}.{language}.gz", "wt") as file:
                file.write("a\n")
    return folder


# ---- what each side is given ----


def test_pieces_give_joeynmt_the_ids_of_seqkit(tokens: TextFrontend, tmp_path: Path) -> None:
    texts = [*TEXTS, "An ünknown sign"]
    write_vocabulary(tmp_path / "vocabulary.txt", tokens)
    write_pieces(tmp_path / "train.en", tokens, texts)
    # As JoeyNMT reads them: its own four signs first, then the file's lines; what is not among them is id 0.
    rows = ["<unk>", "<pad>", "<s>", "</s>", *(tmp_path / "vocabulary.txt").read_text().splitlines()]
    assert len(rows) == tokens.vocab_size + MORE_SIGNS == len(set(rows))
    ids = {row: number for number, row in enumerate(rows)}
    lines = (tmp_path / "train.en").read_text().splitlines()
    for text, line in zip(texts, lines, strict=True):
        theirs = [ids.get(piece, 0) for piece in line.split(" ")]
        ours = tokens.encode(text).tolist()
        assert theirs == [i + MORE_SIGNS if i else 0 for i in ours]
    assert 0 in tokens.encode(texts[-1])


def test_a_sentence_without_a_token_is_told(tokens: TextFrontend, tmp_path: Path) -> None:
    with pytest.raises(SeqkitError, match=r"train\.en: sentence 2 has no token"):
        write_pieces(tmp_path / "train.en", tokens, ["A dog", "  ", "A man"])


def test_joeynmt_is_set_up_alike(tmp_path: Path) -> None:
    def config(sizes: Sizes, feeding: bool) -> dict[str, Any]:
        return joeynmt_config(sizes, tmp_path, tmp_path / "model", "en", "de", feeding=feeding, epochs=1)

    made = config(Sizes(attention="bahdanau", dropout=0.3), True)
    network, training = made["model"], made["training"]
    assert (network["encoder"]["hidden_size"], network["decoder"]["hidden_size"]) == (256, 512)
    assert network["decoder"]["attention"] == "bahdanau"
    assert network["decoder"]["input_feeding"]
    assert not config(Sizes(), False)["model"]["decoder"]["input_feeding"]
    assert network["decoder"]["hidden_dropout"] == network["encoder"]["embeddings"]["dropout"] == 0.3
    assert (training["batch_size"], training["batch_type"], training["normalization"]) == (64, "sentence", "tokens")
    assert [config(Sizes(embedding=size), False)["model"]["tied_softmax"] for size in (256, 512)] == [False, True]


@pytest.mark.parametrize("embedding", [256, 512])
def test_products_are_those_of_the_weights(embedding: int) -> None:
    sizes = Sizes(embedding=embedding)
    ours, plain, feeding = (products(sizes, side, source_per_target=1.0) for side in SIDES)

    def weights(lstm: StackedLSTM) -> float:  # a step multiplies each weight once
        return sum(weight.numel() for weight in lstm.parameters() if weight.ndim == 2) / 1e6

    assert ours.encoder == plain.encoder == weights(StackedLSTM(embedding, 256, 1, bidirectional=True))
    assert ours.decoder == plain.decoder == weights(StackedLSTM(embedding, 512, 1, bidirectional=False))
    assert feeding.decoder == weights(StackedLSTM(embedding + 512, 512, 1, bidirectional=False))
    assert (ours.softmax == plain.softmax) == (embedding == 512)
    assert ours.softmax == pytest.approx((1024 * embedding + embedding * 8000) / 1e6)
    assert products(sizes, "seqkit", 2.0).encoder == 2 * ours.encoder


# ---- rounds ----


def test_a_round_counts_only_what_follows_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("tools.translation_protocol.time.perf_counter", lambda: now[0])
    timed = TrainingRound(warm=2.0, seconds=3.0)
    answers = []
    for tokens, nats in ((1000, 1.0), (1000, 1.0), (10, 20.0), (20, 40.0), (30, 120.0)):  # a step a second
        now[0] += 1.0
        answers.append(timed.step(tokens, nats))
    assert answers[:-1] == [None] * 4
    assert answers[-1] == {"tokens": 60, "seconds": 3.0, "steps": 3, "loss": 3.0}


WORKER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tools.translation_protocol import Channel
channel = Channel()
print("not a message")
channel.send({"threads": os.environ["OMP_NUM_THREADS"], "spin": os.environ["GOMP_SPINCOUNT"]})
while (request := channel.receive()) is not None:
    if request == {"end": 3}:
        sys.exit("out of luck")
    channel.send({"twice": 2 * request["number"]})
"""


def test_workers_answer_in_turn_and_one_that_ends_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-IS", "-c", WORKER, str(Path(__file__).parents[2])]
    with workers({"a": command, "b": command}, 3, tmp_path) as ready:
        assert [worker.told for worker in ready.values()] == [{"threads": "3", "spin": SPIN}] * 2
        assert [ready[name].ask({"number": n})["twice"] for n, name in enumerate("abab")] == [0, 2, 4, 6]
        with pytest.raises(SeqkitError, match=r"b ended with exit code 1(.|\n)*not a message\nout of luck"):
            ready["b"].ask({"end": 3})
    assert all(worker.process.returncode is not None for worker in ready.values())


def test_a_python_that_is_none(tmp_path: Path) -> None:
    with (
        pytest.raises(SeqkitError, match="cannot be started"),
        workers({"a": [str(tmp_path / "python")]}, 1, tmp_path),
    ):
        pass
    assert environment(5)["OMP_NUM_THREADS"] == "5"


def test_different_work_is_refused() -> None:
    ours = {"sentences": 3, "source_tokens": 8, "target_tokens": 9, "threads": 2, "vocabulary": 40}
    theirs = {**ours, "vocabulary": 42}
    same_work({"a": ours, "b": theirs}, {"b": 2})
    for key in ours:
        with pytest.raises(SeqkitError, match="a and b"):
            same_work({"a": ours, "b": {**theirs, key: 1}}, {"b": 2})


# ---- the report ----


def training(*rates: float) -> report.Training:
    return report.Training(list(rates), 4.5, 7_000_000, products(Sizes(), "seqkit", 1.0), {"torch": "1"})


def decoding(*seconds: float, tokens: float = 12.5) -> report.Decoding:
    return report.Decoding(list(seconds), 100, tokens, 13.0, 33.3, 7_000_000)


def test_the_ratio_is_to_the_faster_one() -> None:
    trained = {
        "seqkit": training(90, 110, 100),
        "joeynmt": training(40, 60, 50),
        "joeynmt+feeding": training(1, 99, 45),
    }
    ratio = report.training_ratio(trained)
    assert (ratio.other, ratio.ratio) == ("joeynmt", 2.0)
    assert [ratio.lowest, ratio.highest] == pytest.approx([110 / 60, 90 / 40])
    translated = {"seqkit": decoding(2.0, 4.0), "joeynmt": decoding(20.0, 9.0), "other": decoding(8.0, 8.5)}
    ratio = report.decoding_ratio(translated)
    assert (ratio.other, ratio.ratio, ratio.lowest, ratio.highest) == ("other", 4.0, 2.125, 4.0)
    found = json.loads(json.dumps(report.as_json({"cpu": "x"}, trained, translated)))
    assert found["training"]["joeynmt"]["rates"] == [40, 60, 50]
    assert found["training_ratio"]["ratio"] == 2.0
    assert found["decoding"]["seqkit"]["sentences_per_second"] == 50.0


def test_translations_of_other_lengths_are_told() -> None:
    assert report.unlike({"seqkit": decoding(1.0), "joeynmt": decoding(1.0, tokens=13.5)}) is None
    told = report.unlike({"seqkit": decoding(1.0), "joeynmt": decoding(1.0, tokens=14.0)})
    assert told is not None
    assert "12.5 (seqkit), 14.0 (joeynmt)" in told


def test_tables_and_words() -> None:
    rows = report.training_table({"seqkit": training(90, 110, 100)}).splitlines()
    assert [cell.strip() for cell in rows[-1].split("|")][1:7] == ["seqkit", "100", "90", "110", "4.50", "7.00 M"]
    rows = report.decoding_table({"seqkit": decoding(4.0, 2.0)}).splitlines()
    assert [cell.strip() for cell in rows[-1].split("|")][1:7] == ["seqkit", "50.0", "25.0", "12.50", "13.00", "33.30"]
    assert report.versions({"a": {"torch": "1"}, "b": {"torch": "1"}}) == "torch 1 on all sides"
    assert "2 (b)" in report.versions({"a": {"torch": "1"}, "b": {"torch": "2"}})


def test_pieces_become_text_again(tokens: TextFrontend) -> None:
    assert _texts([tokens.pieces(tokens.encode(text)) for text in TEXTS]) == TEXTS
    assert _texts(["as it is"]) == ["as it is"]


# ---- mistakes ----


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--decode-seqkit", "RUN"], "go together"),
        (["--train-joeynmt", "DIR"], "go together"),
        (["--epochs", "3"], "go together"),
        (["--input-feeding"], "--input-feeding is for"),
        (["--seconds", "0"], "more than 0"),
        (["--target", "en"], "both en"),
        (["--dropout", "1"], "below 1"),
        (["--attention", "none"], "invalid choice"),
        (["--train-joeynmt", "DIR", "--epochs", "1", "--json", "x.json"], "only trains"),
    ],
)
def test_options_that_do_not_fit(more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--joeynmt", "python", "--data", "data", *more])
    assert raised.value.code == 2
    assert sentence in capsys.readouterr().err


def without_joeynmt(data: Path) -> list[str]:
    return ["--joeynmt", sys.executable, "--data", str(data)]


def nothing_there(data: Path) -> list[str]:
    return ["--joeynmt", str(data / "python"), "--data", str(data)]


def no_folder(data: Path) -> list[str]:
    return ["--joeynmt", sys.executable, "--data", str(data / "no")]


def no_file(data: Path) -> list[str]:
    return [*without_joeynmt(data), "--target", "fr"]


def taken(data: Path) -> list[str]:
    return [*without_joeynmt(data), "--json", str(data / "train.en.gz")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (nothing_there, "cannot be started"),
        (no_folder, "no such folder"),
        (no_file, "train.fr.gz is not in it"),
        (taken, "exists already"),
    ],
)
def test_mistakes_get_a_sentence(
    arguments: Callable[[Path], list[str]], sentence: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(data)) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_python_without_joeynmt(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    assert main(without_joeynmt(data)) == 2
    assert "No module named 'joeynmt'" in capsys.readouterr().err


def test_a_model_of_other_pieces(tokens: TextFrontend, tmp_path: Path) -> None:
    with pytest.raises(SeqkitError, match=r"config\.yaml is not in it"):
        _trained(tmp_path, tokens)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.yaml").write_text("data: {src: {voc_file: x}, trg: {}}\nmodel: {}\n")
    rows = ["<unk>", "<pad>", "<s>", "</s>", *tokens.pieces(range(SIGNS, tokens.vocab_size))]
    (folder / "trg_vocab.txt").write_text("\n".join([*rows, ""]))
    assert _trained(tmp_path, tokens) == ({"data": {"src": {}, "trg": {}}, "model": {}}, folder)
    (folder / "trg_vocab.txt").write_text("\n".join([*rows[:-1], "other", ""]))
    with pytest.raises(SeqkitError, match="other pieces"):
        _trained(tmp_path, tokens)
