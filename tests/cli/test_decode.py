"""`seqkit decode` and `seqkit.load`: what is answered, and what bad input does."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seqkit as package
from seqkit.errors import ConfigError, InputError
from seqkit.recipe import Recipe

Command = Callable[..., Any]
TOY = Path(__file__).parents[1] / "toy"
TEXTS = ["good film", "it was bad", "", "the plot was good", "a bad bad plot n3", "unheard of words", "good"]


def _objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.split("\n")[:-1]]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], None]:
    """Give a command its standard input, as a redirected file."""

    def give(content: bytes) -> None:
        file = tmp_path / "stdin"
        file.write_bytes(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file.open("rb")))

    return give


# Decoding: where inputs come from ------------------------------------------------------------------------------------


def test_decode_answers_arguments_a_line_each_and_an_empty_one_with_an_empty_line(
    seqkit: Command, sentiment_run: Path
) -> None:
    result = seqkit("decode", sentiment_run, "good film", "", "it was bad", "  ")
    assert result.code == 0, result.err
    assert result.out == "up\n\ndown\n\n"


def test_decode_reads_files_folders_and_stdin_in_the_order_given(
    seqkit: Command, sentiment_run: Path, tmp_path: Path, stdin: Callable[[bytes], None]
) -> None:
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("good\n\nbad\n")
    (folder / "deep" / "b.TXT").write_text("good")
    (folder / "note.md").write_text("bad\n")
    one = tmp_path / "one.list"
    one.write_bytes(b"bad film\r\ngood film\r\n")
    stdin(b"bad\ngood\n")
    result = seqkit("decode", sentiment_run, "bad", folder, "-", one, "good")
    assert result.code == 0, result.err
    assert result.out.split("\n")[:-1] == ["down", "up", "", "down", "up", "down", "up", "down", "up", "up"]


def test_a_line_ends_at_a_newline_and_nowhere_else(seqkit: Command, sentiment_run: Path, tmp_path: Path) -> None:
    lines = ["good\u2028film", "bad\x0cfilm\x85plot", "a good\rfilm"]
    (tmp_path / "a.txt").write_text("\n".join(lines), newline="")
    result = seqkit("decode", sentiment_run, tmp_path / "a.txt", "--json")
    assert [line["source"] for line in _objects(result.out)] == lines


def test_a_byte_order_mark_does_not_belong_to_the_text(seqkit: Command, sentiment_run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfgood\nbad\n")
    result = seqkit("decode", sentiment_run, tmp_path / "a.txt", "--json")
    assert [line["source"] for line in _objects(result.out)] == ["good", "bad"]


def test_a_growing_pipe_is_answered_as_its_lines_come(
    seqkit: Command, sentiment_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The writer sends its second line only when the first one's answer is in the file."""
    read, write = os.pipe()
    answers = tmp_path / "answers"
    first: list[str] = []

    def feed() -> None:
        os.write(write, b"good\n")
        for _ in range(3000):
            if answers.is_file() and answers.read_text():
                first.append(answers.read_text())
                break
            threading.Event().wait(0.01)
        os.write(write, b"bad\n")
        os.close(write)

    monkeypatch.setattr(sys, "stdin", os.fdopen(read))
    writer = threading.Thread(target=feed)
    writer.start()
    result = seqkit("decode", sentiment_run, "-", "--output", answers)
    writer.join()
    assert result.code == 0
    assert first == ["up\n"]
    assert answers.read_text() == "up\ndown\n"


def test_order_is_kept_over_more_than_one_chunk(seqkit: Command, toy_run: Path, tmp_path: Path) -> None:
    count = 2 * Recipe.decode_chunk + 7
    numbers = [f"{index} 0 0 {-count + 0.5}" if index % 3 else "" for index in range(count)]
    (tmp_path / "a.txt").write_text("\n".join(numbers) + "\n")
    result = seqkit("decode", toy_run, "--recipe", TOY, tmp_path / "a.txt", "--json")
    assert [line["source"] for line in _objects(result.out)] == numbers


# Decoding: bad input -------------------------------------------------------------------------------------------------


def test_a_line_that_is_not_utf8_keeps_its_place_and_the_others_are_answered(
    seqkit: Command, sentiment_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"good film\nb\xff\xfed film\nbad film\n")
    result = seqkit("decode", sentiment_run, tmp_path / "a.txt")
    assert result.code == 2
    assert result.out == "up\n\ndown\n"
    assert f"{tmp_path}/a.txt:2: byte 2 of the line (0xff) is not UTF-8" in result.said
    as_json = _objects(seqkit("decode", sentiment_run, tmp_path / "a.txt", "--json").out)
    assert [set(line) for line in as_json] == [
        {"source", "label", "scores"},
        {"source", "error"},
        {"source", "label", "scores"},
    ]


def test_an_argument_that_is_not_utf8_is_a_problem_of_its_own(seqkit: Command, sentiment_run: Path) -> None:
    """Python hands such bytes over as lone surrogates, which no output can be written in."""
    result = seqkit("decode", sentiment_run, "b\udce4d film", "good", "--json")
    assert result.code == 2
    bad, good = _objects(result.out)
    assert "not UTF-8" in bad["error"]
    assert good["label"] == "up"


def test_an_input_that_the_recipe_cannot_use_keeps_its_place(seqkit: Command, toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 1 1 1\nfour words stand here\n-1 -1 -1 -1\n1 2\n")
    result = seqkit("decode", toy_run, "--recipe", TOY, tmp_path / "a.txt")
    assert result.code == 2
    assert result.out == "positive\n\nnegative\n\n"
    assert f"{tmp_path}/a.txt:2: not numbers" in result.said
    assert f"{tmp_path}/a.txt:4: not four numbers" in result.said


@pytest.mark.parametrize("text", ["x" * 10**6, "bad " * 250_000, "bad \x00 film", "\x00"])
def test_long_lines_and_nul_bytes_are_texts_like_others(
    seqkit: Command, sentiment_runs: dict[str, Path], tmp_path: Path, text: str
) -> None:
    (tmp_path / "a.txt").write_text(f"good\n{text}\ngood\n")
    from_file = seqkit("decode", sentiment_runs["short"], tmp_path / "a.txt")
    assert from_file.code == 0, from_file.err
    lines = from_file.out.splitlines()
    assert len(lines) == 3
    assert lines[1] in ("up", "down")
    assert seqkit("decode", sentiment_runs["short"], text).out.splitlines() == [lines[1]]


@pytest.mark.parametrize("path", ["reviews.txt", "./reviews", "/no/such/place", "../x", "data/reviews.csv"])
def test_what_looks_like_a_path_and_is_not_there_is_an_error_and_the_others_go_on(
    seqkit: Command, sentiment_run: Path, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = seqkit("decode", sentiment_run, "bad", path, "good")
    assert result.code == 2
    assert result.out == "down\n\nup\n"
    assert f"{path}: no such file" in result.said


@pytest.mark.parametrize("text", ["good", "and/or", "good...", "10/10.", "3.5/5", "e.g.", "good.bad"])
def test_what_does_not_look_like_a_path_is_a_text(
    seqkit: Command, sentiment_run: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = seqkit("decode", sentiment_run, text, "--json")
    assert result.code == 0, result.err
    assert [line["source"] for line in _objects(result.out)] == [text]


def test_a_folder_without_a_fitting_file_is_an_error(seqkit: Command, sentiment_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = seqkit("decode", sentiment_run, tmp_path / "empty", "good")
    assert result.code == 2
    assert result.out == "\nup\n"
    assert "no .txt file in this folder" in result.said


def test_an_empty_file_gives_no_line(seqkit: Command, sentiment_run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    result = seqkit("decode", sentiment_run, tmp_path / "a.txt")
    assert (result.code, result.out) == (0, "")


# Decoding: options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "positive"),
        (["--loud"], "POSITIVE"),
        (["--loud=false"], "positive"),
        (["--digits", "4"], "positive"),
        (["--digits=4", "--loud"], "POSITIVE"),
    ],
)
def test_a_recipes_own_options_stand_before_or_after_inputs(
    seqkit: Command, toy_run: Path, options: list[str], expected: str
) -> None:
    for arguments in ([*options, "1 2 3 4"], ["1 2 3 4", *options]):
        result = seqkit("decode", toy_run, "--recipe", TOY, *arguments)
        assert (result.code, result.out) == (0, f"{expected}\n"), result.err


def test_an_option_sets_what_it_says(seqkit: Command, toy_run: Path) -> None:
    scores = {}
    for digits in (1, 5):
        result = seqkit("decode", toy_run, "--recipe", TOY, "0.1 0.2 -0.2 0", "--json", "--digits", digits)
        scores[digits] = _objects(result.out)[0]["score"]
    assert scores[1] == round(scores[5], 1) != scores[5]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--digitz", "3"],
            ["--digitz: neither the command nor this recipe's decoding has such an option. Did you mean '--digits'?"],
        ),
        (["--digitz", "3", "--lood"], ["Did you mean '--digits'?", "Did you mean '--loud'?"]),
        (["--digits", "many"], ["digits", "integer"]),
        (["--digits"], ["--digits: a value is needed"]),
        (["--loud=perhaps"], ["loud", "boolean"]),
        (["--device", "abacus"], ["abacus"]),
    ],
)
def test_a_wrong_option_is_explained_and_nothing_is_answered(
    seqkit: Command, toy_run: Path, options: list[str], words: list[str]
) -> None:
    result = seqkit("decode", toy_run, "--recipe", TOY, "1 2 3 4", *options)
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.said


def test_without_an_input_decode_says_what_to_give(seqkit: Command, toy_run: Path) -> None:
    result = seqkit("decode", toy_run, "--recipe", TOY)
    assert result.code == 2
    assert f"seqkit decode {toy_run} -" in result.said


@pytest.mark.parametrize("text", ["- the film was good", "-the film was good"])
def test_a_text_may_begin_with_a_dash(seqkit: Command, sentiment_run: Path, text: str) -> None:
    result = seqkit("decode", sentiment_run, text, "--json")
    assert [line["source"] for line in _objects(result.out)] == [text]
    assert seqkit("decode", "-h").out == seqkit("decode", "--help").out != ""


def test_output_is_a_new_file_and_a_taken_one_is_refused(seqkit: Command, sentiment_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.txt"
    result = seqkit("decode", sentiment_run, "good", "", "bad", "--output", file)
    assert (result.code, result.out) == (0, "")
    assert file.read_text() == "up\n\ndown\n"
    again = seqkit("decode", sentiment_run, "bad", "--output", file)
    assert again.code == 2
    assert f"{file} exists already" in again.said
    assert file.read_text() == "up\n\ndown\n"
    nowhere = seqkit("decode", sentiment_run, "bad", "--output", tmp_path / "no" / "answers.txt")
    assert nowhere.code == 2
    assert "cannot be written" in nowhere.said


# Decoding: answers ---------------------------------------------------------------------------------------------------


def test_json_lines_hold_source_label_and_scores_that_sum_to_one(seqkit: Command, sentiment_run: Path) -> None:
    result = seqkit("decode", sentiment_run, *TEXTS, "--json")
    assert result.code == 0, result.err
    lines = _objects(result.out)
    assert [line["source"] for line in lines] == TEXTS
    for text, line in zip(TEXTS, lines, strict=True):
        if not text:
            assert line == {"source": "", "text": ""}
            continue
        assert list(line) == ["source", "label", "scores"]
        assert set(line["scores"]) == {"up", "down"}
        assert sum(line["scores"].values()) == pytest.approx(1.0, abs=2e-6)
        assert line["label"] == max(line["scores"], key=lambda label: line["scores"][label])


def test_scores_stand_behind_the_label_when_asked_for(seqkit: Command, sentiment_run: Path) -> None:
    (line,) = seqkit("decode", sentiment_run, "good film", "--scores").out.splitlines()
    label, *scores = line.split("\t")
    assert label == "up"
    values = dict(score.split("=") for score in scores)
    assert sum(map(float, values.values())) == pytest.approx(1.0, abs=2e-4)
    assert float(values["up"]) > 0.5


def test_a_batch_gives_what_each_text_gives_alone(sentiment_run: Path) -> None:
    model = package.load(sentiment_run)
    texts = [text for text in TEXTS if text] + ["n1 " * length + "good" for length in range(12)]
    together = model.decode(texts)
    for text, answer in zip(texts, together, strict=True):
        alone = model.decode(text)[0]
        assert alone["scores"] == pytest.approx(answer["scores"], abs=1e-5)


def test_from_python_it_is_the_same_as_on_the_command_line(
    seqkit: Command, sentiment_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n")
    result = seqkit("decode", sentiment_run, tmp_path / "a.txt", "good", "--json")
    model = package.load(str(sentiment_run))
    assert model.decode([str(tmp_path / "a.txt"), "good"]) == _objects(result.out)
    assert model.decode("good") == model.decode(["good"])
    with pytest.raises(ConfigError, match="score"):
        model.decode("good", scroes=True)
    with pytest.raises(InputError, match=r"no\.txt: no such file"):
        model.decode("no.txt")


def test_an_ensemble_averages_probabilities(seqkit: Command, sentiment_runs: dict[str, Path]) -> None:
    one, other = sentiment_runs["a"], sentiment_runs["b"]
    alone = [_objects(seqkit("decode", run, *TEXTS, "--json").out) for run in (one, other)]
    result = seqkit("decode", one, *TEXTS, "--json", "--ensemble", other)
    assert result.code == 0, result.err
    assert alone[0] != alone[1]
    for first, second, both in zip(*alone, _objects(result.out), strict=True):
        for label, score in both.get("scores", {}).items():
            assert score == pytest.approx((first["scores"][label] + second["scores"][label]) / 2, abs=2e-6)


def test_an_ensemble_of_a_users_own_recipe_averages_too(seqkit: Command, toy_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert seqkit("train", TOY, "--seed", 5, "training.max_steps=1", "--out", other).code == 0
    own = ("--recipe", TOY, "--json", "--digits", 6, "0.1 0.2 -0.2 0.1")
    alone = [_objects(seqkit("decode", run, *own).out)[0]["score"] for run in (toy_run, other)]
    result = seqkit("decode", toy_run, *own, "--ensemble", other)
    assert _objects(result.out)[0]["score"] == pytest.approx(sum(alone) / 2, abs=2e-6)
    assert abs(alone[0] - alone[1]) > 1e-3


def test_an_ensemble_of_different_front_ends_is_refused(seqkit: Command, sentiment_runs: dict[str, Path]) -> None:
    result = seqkit("decode", sentiment_runs["a"], "good", "--ensemble", sentiment_runs["short"])
    assert result.code == 2
    assert "different front-ends" in result.said
    assert result.out == ""


def test_a_run_moves_with_its_folder(seqkit: Command, sentiment_run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(sentiment_run, moved)
    assert seqkit("decode", moved, *TEXTS).out == seqkit("decode", sentiment_run, *TEXTS).out


def test_a_reader_that_goes_away_ends_decoding_without_a_traceback(toy_run: Path, tmp_path: Path) -> None:
    """As in `seqkit decode RUN big.txt | head -1`; more is answered than a pipe holds."""
    (tmp_path / "big.txt").write_text("1 2 3 4\n" * 20_000)
    command = [sys.executable, "-m", "seqkit", "decode", str(toy_run), "--recipe", str(TOY), str(tmp_path / "big.txt")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"positive\n"
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
