"""`seqkit decode` and `seqkit eval` of a translation model: lines, scores, pictures, and what bad input does."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import seqkit as package
from seqkit.errors import InputError
from seqkit.storage import read_json

Command = Callable[..., Any]
PAIRS = [("one two", "zwei eins"), ("two three", "drei zwei"), ("one", "eins"), ("three one two", "zwei eins drei")] * 3
SMALL = (
    "data.source=en",
    "data.target=de",
    "data.train=train.{lang}",
    "data.validation=valid.{lang}",
    "data.test=valid.{lang}",
    "model.embedding_size=8",
    "model.encoder.hidden_size=8",
    "model.decoder.hidden_size=12",
    "model.attention_size=8",
    "search.beam_size=3",
    "search.max_tokens=50",
    "tokenizer.kind=word",
    "tokenizer.vocab_size=null",
    "training.batch_examples=4",
    "training.epochs=4",
    "training.learning_rate=0.03",
)
RUNS = {
    "joint": [],
    "other": ["training.seed=1"],
    "separate": ["joint=false", "model.tied=output"],
    "another": ["joint=false", "model.tied=output", "tokenizer.vocab_size=4"],
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trained runs: "other" differs from "joint" in the seed, "another" from "separate" in the vocabulary."""
    from seqkit.cli.train import configure
    from seqkit.training import session

    folder = tmp_path_factory.mktemp("translation")
    for name, pairs in (("train", PAIRS), ("valid", PAIRS[:4])):
        for side, lang in enumerate(("en", "de")):
            (folder / f"{name}.{lang}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "save_curves", lambda *given, **named: folder / "none")  # pictures take most of the time
        patch.setattr("seqkit.reporting.alignment.save_alignments", lambda *given, **named: folder / "none")
        for name, more in RUNS.items():
            source, preset, recipe = configure("translation", [f"data.path={folder}", *SMALL, *more])
            console = Console(quiet=True)
            session.train(
                source, recipe, folder / name, preset=preset, overwrite=False, init_from=None, console=console
            )
    return {name: folder / name for name in RUNS}


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], None]:
    """Give a command its standard input, as a redirected file."""

    def give(content: bytes) -> None:
        (tmp_path / "stdin").write_bytes(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper((tmp_path / "stdin").open("rb")))

    return give


def _objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.split("\n")[:-1]]


# Translations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["joint", "separate"])
def test_each_line_of_stdin_gives_a_line(
    seqkit: Command, runs: dict[str, Path], stdin: Callable[[bytes], None], name: str
) -> None:
    stdin(b"\xef\xbb\xbfone two\r\n\n   \nthree unheard\none two")
    result = seqkit("decode", runs[name], "-")
    assert result.code == 0, result.err
    first, empty, blank, unheard, last = result.out.split("\n")[:-1]
    assert first == last != ""
    assert (empty, blank) == ("", "")
    assert unheard
    assert "<unk>" not in result.out
    assert seqkit("decode", runs[name], "one two", "three unheard").out == f"{first}\n{unheard}\n"


def test_a_line_that_is_not_utf8_or_too_long_keeps_its_place_and_the_others_go_on(
    seqkit: Command, runs: dict[str, Path], stdin: Callable[[bytes], None]
) -> None:
    stdin(b"one\nt\xf6o\n" + b"one " * 50 + b"\none\n")
    result = seqkit("decode", runs["joint"], "-")
    assert result.code == 2
    first, bad, long, last = result.out.split("\n")[:-1]
    assert first == last != ""
    assert (bad, long) == ("", "")
    assert "stdin:2: byte 2 of the line (0xf6) is not UTF-8." in result.said
    assert "stdin:3: 51 tokens, and the run takes 50 (search.max_tokens); cut it into sentences" in result.said


def test_n_best_gives_a_line_each_with_its_score_in_front(seqkit: Command, runs: dict[str, Path]) -> None:
    result = seqkit("decode", runs["joint"], "one two", "three", "--n-best", 3)
    assert result.code == 0, result.err
    rows = [line.split("\t") for line in result.out.split("\n")[:-1]]
    assert len(rows) == 6
    for group in (rows[:3], rows[3:]):
        scores = [float(score) for score, _ in group]
        assert scores == sorted(scores, reverse=True)
        assert len({text for _, text in group}) == 3
    best = seqkit("decode", runs["joint"], "one two", "three").out.split("\n")[:-1]
    assert [rows[0][1], rows[3][1]] == best


def test_json_holds_text_scores_and_alignment(seqkit: Command, runs: dict[str, Path]) -> None:
    (answer,) = _objects(seqkit("decode", runs["joint"], "one  two", "--json", "--n-best=2").out)
    assert list(answer) == ["source", "text", "score", "log_prob", "alignment", "n_best"]
    assert answer["source"] == "one  two"
    assert [list(one) for one in answer["n_best"]] == [["text", "score", "log_prob"]] * 2
    assert answer["n_best"][0] == {key: answer[key] for key in ("text", "score", "log_prob")}
    alignment = answer["alignment"]
    assert alignment["source"] == ["one", "two", "<eos>"]
    assert alignment["target"] == [*answer["text"].split(), "<eos>"]
    assert len(alignment["weights"]) == len(alignment["target"])
    assert all(sum(row) == pytest.approx(1.0, abs=1e-3) for row in alignment["weights"])
    (alone,) = _objects(seqkit("decode", runs["joint"], "one  two", "--json").out)
    assert list(alone) == ["source", "text", "score", "log_prob", "alignment"]


def test_the_search_can_be_chosen(seqkit: Command, runs: dict[str, Path]) -> None:
    (plain,) = _objects(seqkit("decode", runs["joint"], "one two three", "--json", "--length-penalty", 0).out)
    assert plain["score"] == plain["log_prob"]
    (penalised,) = _objects(seqkit("decode", runs["joint"], "one two three", "--json").out)
    tokens = len(penalised["alignment"]["target"])
    assert penalised["score"] == pytest.approx(penalised["log_prob"] / ((5 + tokens) / 6))
    (greedy,) = _objects(
        seqkit("decode", runs["joint"], "one two three", "--json", "--beam-size", 1, "--length-penalty", 0).out
    )
    assert greedy["log_prob"] <= plain["log_prob"] + 1e-9


def test_samples_are_keyed_by_the_seed(seqkit: Command, runs: dict[str, Path]) -> None:
    arguments = ("decode", runs["joint"], "one two", "--sample", "--n-best", 4, "--temperature", 1.5)
    once = seqkit(*arguments)
    assert once.code == 0, once.err
    assert once.out.count("\n") == 4
    assert seqkit(*arguments).out == once.out
    assert seqkit(*arguments, "--seed", 1).out != once.out
    together = seqkit("decode", runs["joint"], "three", *arguments[2:]).out.split("\n")
    assert together[4:] == once.out.split("\n")


def test_an_ensemble_translates_too(seqkit: Command, runs: dict[str, Path]) -> None:
    arguments = ("one two three", "--json", "--n-best", 3)
    (one,) = _objects(seqkit("decode", runs["joint"], *arguments, "--ensemble", runs["other"]).out)
    (other,) = _objects(seqkit("decode", runs["other"], *arguments, "--ensemble", runs["joint"]).out)
    assert [part["text"] for part in one["n_best"]] == [part["text"] for part in other["n_best"]]
    assert one["log_prob"] == pytest.approx(other["log_prob"], rel=1e-6)
    alone = [_objects(seqkit("decode", runs[name], *arguments).out)[0] for name in ("joint", "other")]
    assert all(part["log_prob"] != pytest.approx(one["log_prob"], rel=1e-6) for part in alone)


@pytest.mark.parametrize("pair", [("joint", "separate"), ("separate", "another"), ("another", "separate")])
def test_an_ensemble_of_other_vocabularies_is_refused(
    seqkit: Command, runs: dict[str, Path], pair: tuple[str, str]
) -> None:
    for command in (["decode", runs[pair[0]], "one"], ["eval", runs[pair[0]]]):
        result = seqkit(*command, "--ensemble", runs[pair[1]])
        assert result.code == 2
        assert result.out == ""
        assert "have different front-ends" in result.said


def test_pictures_are_written_one_for_each_source(seqkit: Command, runs: dict[str, Path], tmp_path: Path) -> None:
    result = seqkit("decode", runs["joint"], "one two", " ", "three", "--pictures", tmp_path / "new")
    assert result.code == 0, result.err
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["alignment-1.png", "alignment-2.png"]
    (tmp_path / "file").write_text("in the way")
    result = seqkit("decode", runs["joint"], "one", "--pictures", tmp_path / "file")
    assert result.code == 2
    assert f"{tmp_path / 'file'}" in result.said
    assert "Traceback" not in result.err


# Scores --------------------------------------------------------------------------------------------------------------


def _target(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "target.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["joint", "separate"])
def test_given_translations_are_scored_line_by_line(
    seqkit: Command, runs: dict[str, Path], stdin: Callable[[bytes], None], tmp_path: Path, name: str
) -> None:
    target = _target(tmp_path, "zwei eins\n\ndrei fünf\n\n".encode())
    stdin(b"one two\n\nthree\nthree\n")
    result = seqkit("decode", runs[name], "-", "--score", "--target", target)
    assert result.code == 0, result.err
    first, blank, unheard, nothing = result.out.split("\n")[:-1]
    assert blank == ""
    rows = [line.split("\t") for line in (first, unheard, nothing)]
    assert [row[1] for row in rows] == ["3", "3", "1"]
    for log_prob, tokens, perplexity in rows:
        assert float(perplexity) == pytest.approx(math.exp(-float(log_prob) / int(tokens)), rel=1e-3)
    stdin(b"one two\n")
    found = seqkit("decode", runs[name], "-", "--json", "--score", "--target", _target(tmp_path, b"zwei eins"))
    (record,) = _objects(found.out)
    assert list(record) == ["source", "log_prob", "tokens", "perplexity"]
    assert record["log_prob"] == pytest.approx(float(rows[0][0]), abs=1e-4)


def test_a_translation_found_is_scored_as_it_was(seqkit: Command, runs: dict[str, Path], tmp_path: Path) -> None:
    (found,) = _objects(seqkit("decode", runs["joint"], "one two", "--json").out)
    target = _target(tmp_path, found["text"].encode())
    (scored,) = _objects(seqkit("decode", runs["joint"], "one two", "--json", "--score", "--target", target).out)
    assert scored["log_prob"] == pytest.approx(found["log_prob"], rel=1e-4)
    assert package.load(runs["joint"]).decode("one two", score=True, target=str(target)) == [scored]


def test_too_few_lines_are_a_problem_of_the_inputs_without_one(
    seqkit: Command, runs: dict[str, Path], tmp_path: Path
) -> None:
    target = _target(tmp_path, b"eins\n")
    result = seqkit("decode", runs["joint"], "one", "two", "three", "--score", "--target", target)
    assert result.code == 2
    assert [bool(line) for line in result.out.split("\n")[:-1]] == [True, False, False]
    assert f"input 2 has no line in {target}, which has 1" in result.said
    assert f"input 3 has no line in {target}" in result.said


def test_too_many_lines_are_one_clear_sentence(seqkit: Command, runs: dict[str, Path], tmp_path: Path) -> None:
    target = _target(tmp_path, b"eins\nzwei\ndrei\n")
    result = seqkit("decode", runs["joint"], "one", "two", "--score", "--target", target)
    assert result.code == 2
    assert f"{target} has 3 lines, and the inputs are 2." in result.said
    assert "Traceback" not in result.err
    with pytest.raises(InputError, match="has 3 lines"):
        package.load(runs["joint"]).decode("one", score=True, target=target)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"eins\nf\xfcnf\n", "target.txt:2: byte 2 of the line (0xfc) is not UTF-8"), (None, "target.txt: No such file")],
)
def test_a_file_of_targets_that_cannot_be_read_is_named(
    seqkit: Command, runs: dict[str, Path], tmp_path: Path, content: bytes | None, words: str
) -> None:
    target = tmp_path / "target.txt" if content is None else _target(tmp_path, content)
    result = seqkit("decode", runs["joint"], "one", "two", "--score", "--target", target)
    assert result.code == 2
    assert result.out == ""
    assert words in result.said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one", "--score"], "--score and --target FILE go together"),
        (["one", "--target", "file"], "--score and --target FILE go together"),
        (["one", "--n-best", "0"], "n_best"),
        (["one", "--n-best", "4", "--beam-size", "3"], "n_best=4 needs a beam of as many"),
        (["one", "--top-k", "3"], "--top-k does nothing in a beam search"),
        (["one", "--beam-sise", "3"], "Did you mean '--beam-size'?"),
        (["one", "--beam-size"], "--beam-size: a value is needed"),
        ([], "What is to be decoded?"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(
    seqkit: Command, runs: dict[str, Path], arguments: list[str], words: str
) -> None:
    result = seqkit("decode", runs["joint"], *arguments)
    assert result.code == 2
    assert result.out == ""
    assert words in result.said


# Evaluation ----------------------------------------------------------------------------------------------------------


def test_eval_takes_the_search_and_leaves_the_run_alone(seqkit: Command, runs: dict[str, Path]) -> None:
    before = {path: path.read_bytes() for path in runs["joint"].rglob("*") if path.is_file()}
    result = seqkit("eval", runs["joint"], "--beam-size", 1, "--length-penalty=0.5", "--json")
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert record["examples"] == 4
    assert list(record["metrics"]) == ["bleu", "chrf", "exact", "perplexity"]
    assert "tok:13a" in record["signatures"]["bleu"]
    ensemble = seqkit("eval", runs["joint"], "--ensemble", runs["other"], "--json")
    assert ensemble.code == 0, ensemble.err
    assert json.loads(ensemble.out)["metrics"]["perplexity"] != pytest.approx(record["metrics"]["perplexity"], rel=1e-4)
    assert {path: path.read_bytes() for path in runs["joint"].rglob("*") if path.is_file()} == before


def test_eval_prints_signatures_and_keeps_the_result(
    seqkit: Command, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqkit.reporting.alignment.save_alignments", lambda *given, **named: given[1])
    result = seqkit("eval", runs["other"])
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()[1:]]
    assert [line[0] for line in lines] == ["bleu", "chrf", "exact", "perplexity", "bleu", "chrf"]
    assert "tok:13a" in lines[4][1]
    assert read_json(runs["other"] / "results.json")["test"]["signatures"]["chrf"] == lines[5][1]
    assert (runs["other"] / "plots" / "translations-test.tsv").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--n-best", "2"], "--n-best changes nothing that is measured; eval takes only --beam-size, --length-penalty"),
        (["--score"], "--score changes nothing that is measured"),
        (["stray"], "'stray': eval takes one RUN, and a file as --data PATH."),
        (["--beam-size", "0"], "beam_size"),
        (["--beam-sise", "1"], "Did you mean '--beam-size'?"),
    ],
)
def test_eval_refuses_what_it_cannot_use(
    seqkit: Command, runs: dict[str, Path], arguments: list[str], words: str
) -> None:
    result = seqkit("eval", runs["joint"], *arguments)
    assert result.code == 2
    assert result.out == ""
    assert words in result.said


def test_eval_of_a_file_for_each_language(seqkit: Command, runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine.en").write_text("one two\nthree\n")
    missing = seqkit("eval", runs["joint"], "--data", tmp_path / "mine.{lang}")
    assert missing.code == 2
    assert "mine.de" in missing.said
    assert "Traceback" not in missing.err
    (tmp_path / "mine.de").write_text("zwei eins\ndrei\n")
    result = seqkit("eval", runs["joint"], "--data", tmp_path / "mine.{lang}", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["examples"] == 2
