"""`seqkit decode` and `seqkit eval` of a language model: prompts, scores, and what bad input does."""

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
from seqkit.errors import ConfigError, InputError

Command = Callable[..., Any]
LINES = ["the cat sat on the mat", "the dog ran to the cat", "a cat ran", "", "the dog sat on a mat"] * 4
SMALL = (
    "data.cut=tail",
    "model.embedding_size=8",
    "model.lstm.hidden_size=16",
    "model.lstm.num_layers=1",
    "training.batch_examples=2",
    "training.bptt_steps=12",
    "training.epochs=2",
    "training.learning_rate=0.02",
)


@pytest.fixture(scope="session")
def language_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trained runs: "word" and "other" differ in the seed, "char" reads characters."""
    from seqkit.cli.train import configure
    from seqkit.training.session import train

    folder = tmp_path_factory.mktemp("language")
    (folder / "text.txt").write_text("".join(f"{line}\n" for line in LINES))
    runs = {}
    own = [f"data.path={folder / 'text.txt'}", *SMALL]
    for name, more in {
        "word": ["tokenizer.kind=word"],
        "other": ["tokenizer.kind=word", "training.seed=1"],
        "char": ["tokenizer.kind=char"],
    }.items():
        source, preset, recipe = configure("language", [*own, *more])
        console = Console(quiet=True)
        train(source, recipe, folder / name, preset=preset, overwrite=False, init_from=None, console=console)
        runs[name] = folder / name
    return runs


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Give a command its standard input, as a redirected file."""

    def give(content: str) -> None:
        (tmp_path / "stdin").write_text(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper((tmp_path / "stdin").open("rb")))

    return give


def _objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.split("\n")[:-1]]


# Prompts -------------------------------------------------------------------------------------------------------------


def test_a_prompt_needs_no_input_and_is_continued_over_lines(seqkit: Command, language_runs: dict[str, Path]) -> None:
    result = seqkit("decode", language_runs["word"], "--prompt", "the cat", "--length", 40)
    assert result.code == 0, result.err
    assert result.out.startswith("the cat")
    assert result.out.count("\n") > 2
    assert "<unk>" not in result.out
    assert seqkit("decode", language_runs["word"], "--prompt=the cat", "--length=40").out == result.out
    assert seqkit("decode", language_runs["word"], "--prompt", "the cat", "--length", 40, "--seed", 1).out != result.out


def test_lengths_have_a_default_by_the_kind_of_tokens(seqkit: Command, language_runs: dict[str, Path]) -> None:
    for kind, length in (("word", 100), ("char", 500)):
        (answer,) = _objects(seqkit("decode", language_runs[kind], "--prompt", "a", "--json").out)
        assert answer["tokens"] == length


@pytest.mark.parametrize("kind", ["word", "char"])
def test_an_empty_prompt_is_the_start_of_a_line(seqkit: Command, language_runs: dict[str, Path], kind: str) -> None:
    result = seqkit("decode", language_runs[kind], "--prompt", "", "--json", "--length", 8)
    assert result.code == 0, result.err
    (answer,) = _objects(result.out)
    assert answer["source"] == ""
    assert answer["text"] == answer["continuation"]
    assert kind == "char" or not answer["text"].startswith(" ")


def test_json_holds_source_text_and_continuation(seqkit: Command, language_runs: dict[str, Path]) -> None:
    result = seqkit("decode", language_runs["word"], "--prompt", "The  cat", "--json", "--samples", 3)
    assert result.code == 0, result.err
    (answer,) = _objects(result.out)
    assert list(answer) == ["source", "text", "continuation", "log_prob", "tokens", "samples"]
    assert answer["source"] == "The  cat"
    assert len(answer["samples"]) == 3
    assert answer["samples"][0] == {key: answer[key] for key in ("text", "continuation", "log_prob", "tokens")}
    for sample in answer["samples"]:
        assert sample["text"] == "The  cat" + sample["continuation"]
        assert sample["log_prob"] < 0
    alone = _objects(seqkit("decode", language_runs["word"], "--prompt", "The  cat", "--json").out)[0]
    assert list(alone) == ["source", "text", "continuation", "log_prob", "tokens"]
    assert alone["text"] == answer["text"]
    assert alone["log_prob"] == pytest.approx(answer["log_prob"], rel=1e-5)


@pytest.mark.parametrize("stop", ["\\n", "\n"])
def test_stop_at_the_end_of_the_line(seqkit: Command, language_runs: dict[str, Path], stop: str) -> None:
    result = seqkit("decode", language_runs["word"], "--prompt", "the cat", "--stop", stop, "--samples", 4)
    assert result.code == 0, result.err
    lines = result.out.split("\n")[:-1]
    assert len(lines) == 4
    assert all(line.startswith("the cat") for line in lines)


def test_stop_at_a_text(seqkit: Command, language_runs: dict[str, Path]) -> None:
    whole = seqkit("decode", language_runs["char"], "--prompt", "the ", "--length", 60).out
    cut = seqkit("decode", language_runs["char"], "--prompt", "the ", "--length", 60, "--stop", "a").out
    assert "a" in whole
    assert cut == whole.partition("a")[0] + "\n"


def test_lines_are_prompts_that_are_continued_to_their_end(
    seqkit: Command, language_runs: dict[str, Path], stdin: Callable[[str], None], tmp_path: Path
) -> None:
    prompts = ["the cat", "", "a dog ran", "the cat"]
    stdin("\n".join(prompts) + "\n")
    result = seqkit("decode", language_runs["word"], "-")
    assert result.code == 0, result.err
    lines = result.out.split("\n")[:-1]
    assert len(lines) == 4
    assert lines[1] == ""
    assert all(line.startswith(prompt) for line, prompt in zip(lines, prompts, strict=True))
    assert lines[0] == lines[3]
    (tmp_path / "prompts.txt").write_text("a dog ran\n")
    assert seqkit("decode", language_runs["word"], tmp_path / "prompts.txt", "the cat").out == (
        f"{lines[2]}\n{lines[0]}\n"
    )


def test_an_ensemble_writes_too(seqkit: Command, language_runs: dict[str, Path]) -> None:
    arguments = ("--prompt", "the cat", "--json", "--temperature", 0, "--length", 1)
    both = _objects(seqkit("decode", language_runs["word"], *arguments, "--ensemble", language_runs["other"]).out)[0]
    swapped = _objects(seqkit("decode", language_runs["other"], *arguments, "--ensemble", language_runs["word"]).out)[0]
    assert both["text"] == swapped["text"]
    assert both["log_prob"] == pytest.approx(swapped["log_prob"], rel=1e-9)


# Scores --------------------------------------------------------------------------------------------------------------


def test_score_gives_figures_before_the_text_and_a_blank_line_for_a_blank_line(
    seqkit: Command, language_runs: dict[str, Path], stdin: Callable[[str], None]
) -> None:
    stdin("the cat sat\n\na\ttab\n")
    result = seqkit("decode", language_runs["word"], "-", "--score")
    assert result.code == 0, result.err
    first, blank, last = result.out.split("\n")[:-1]
    assert blank == ""
    log_prob, tokens, perplexity, text = first.split("\t")
    assert (tokens, text) == ("4", "the cat sat")
    assert float(perplexity) == pytest.approx(math.exp(-float(log_prob) / 4), rel=1e-3)
    assert last.split("\t", 3)[3] == "a\ttab"
    (record,) = _objects(seqkit("decode", language_runs["word"], "--score", "the cat sat", "--json").out)
    assert list(record) == ["source", "log_prob", "tokens", "perplexity"]
    assert record["log_prob"] == pytest.approx(float(log_prob), abs=1e-4)


def test_scores_add_up_to_what_eval_measures_where_a_text_is_one_line(
    seqkit: Command, language_runs: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("the dog sat on the cat\n")
    (record,) = _objects(seqkit("eval", language_runs["word"], "--data", tmp_path / "one.txt", "--json").out)
    (score,) = _objects(seqkit("decode", language_runs["word"], tmp_path / "one.txt", "--score", "--json").out)
    assert record["examples"] == 1
    assert set(record["metrics"]) == {"perplexity", "loss", "bits"}
    assert record["metrics"]["perplexity"] == pytest.approx(score["perplexity"], rel=1e-5)
    assert record["metrics"]["loss"] == pytest.approx(-score["log_prob"] / 7, rel=1e-5)


def test_an_ensemble_averages_probabilities_of_tokens(seqkit: Command, language_runs: dict[str, Path]) -> None:
    one, other = language_runs["word"], language_runs["other"]
    alone = [package.load(run).decode("cat", score=True)[0]["log_prob"] for run in (one, other)]
    (both,) = _objects(seqkit("decode", one, "cat", "--score", "--json", "--ensemble", other).out)
    assert min(alone) < both["log_prob"] < max(alone)


def test_a_very_long_line_is_scored(language_runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("the cat " * 3_000 + "\nthe cat\n")
    long, short = package.load(language_runs["word"]).decode(str(tmp_path / "long.txt"), score=True)
    assert long["tokens"] == 6_001
    assert math.isfinite(long["perplexity"])
    assert short["tokens"] == 3


# Mistakes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "a", "--score"], "--score reads texts and --prompt is for writing"),
        (["a", "--score", "--top-k", "3"], "--top-k is for writing"),
        (["--prompt", "a", "b"], "--prompt is the input, and 'b' is another"),
        (["a", "--temperature", "-1"], "temperature: input should be greater than or equal to 0"),
        (["a", "--temperature", "nan"], "temperature"),
        (["a", "--top-p", "0"], "top_p: input should be greater than 0"),
        (["a", "--top-p", "1.1"], "top_p: input should be less than or equal to 1"),
        (["a", "--top-k", "0"], "top_k"),
        (["a", "--length", "0"], "length"),
        (["a", "--samples", "0"], "samples"),
        (["a", "--samples", "2", "--temperature", "0"], "writes the same text each time"),
        (["a", "--stop", ""], "stop"),
        (["a", "--seed", "-1"], "seed"),
        (["a", "--promt", "b"], "Did you mean '--prompt'?"),
        (["--prompt"], "--prompt: a value is needed"),
        ([], "What is to be decoded?"),
        (["--score"], "What is to be decoded?"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(
    seqkit: Command, language_runs: dict[str, Path], arguments: list[str], words: str
) -> None:
    result = seqkit("decode", language_runs["word"], *arguments)
    assert result.code == 2
    assert result.out == ""
    assert words in result.said


def test_unknown_characters_are_named_and_the_other_prompts_go_on(
    seqkit: Command, language_runs: dict[str, Path], stdin: Callable[[str], None]
) -> None:
    stdin("the\nROMEO☃\nthe\n")
    result = seqkit("decode", language_runs["char"], "-")
    assert result.code == 2
    first, bad, last = result.out.split("\n")[:-1]
    assert first == last != ""
    assert bad == ""
    assert "stdin:2: the vocabulary does not hold 'R', 'O', 'M', 'E', '☃'." in result.said
    alone = seqkit("decode", language_runs["char"], "--prompt", "Z")
    assert (alone.code, alone.out) == (2, "\n")
    assert "--prompt: the vocabulary does not hold 'Z'." in alone.said
    assert seqkit("decode", language_runs["char"], "ROMEO☃", "--score").code == 0


def test_unknown_words_are_read_as_unk_and_named(seqkit: Command, language_runs: dict[str, Path]) -> None:
    result = seqkit("decode", language_runs["word"], "--prompt", "the zebra and the cat", "--stop", "\\n")
    assert result.code == 0
    assert result.out.startswith("the zebra and the cat")
    assert "read as <unk>: 'zebra', 'and'" in result.said


def test_a_prompt_that_is_not_utf8_is_a_problem(seqkit: Command, language_runs: dict[str, Path]) -> None:
    result = seqkit("decode", language_runs["word"], "--prompt", "a\udce4")
    assert result.code == 2
    assert "not UTF-8" in result.said


def test_from_python_it_is_the_same(seqkit: Command, language_runs: dict[str, Path]) -> None:
    model = package.load(language_runs["word"])
    typed = _objects(seqkit("decode", language_runs["word"], "--prompt", "the cat", "--json", "--top-p", "0.8").out)
    assert model.decode(prompt="the cat", top_p=0.8) == typed
    with pytest.raises(InputError, match="is another"):
        model.decode("a", prompt="b")
    with pytest.raises(ConfigError, match="temperature"):
        model.decode("a", temperature=-1)
    assert model.decode() == []


def test_a_dry_run_writes_a_little_text(seqkit: Command, language_runs: dict[str, Path]) -> None:
    path = language_runs["word"].parent / "text.txt"
    result = seqkit("train", "language", f"data.path={path}", "tokenizer.kind=word", *SMALL, "--dry-run")
    assert result.code == 0, result.err
    assert "decoded:" in result.out
