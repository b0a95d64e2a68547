"""`seqkit decode --output DIR/`, and inputs that are files: through stdin too, and answered in spite of a problem."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import seqkit as package
from seqkit.decoding import Input, Spooled

Command = Callable[..., Any]
TOY, TOY_FILES = (Path(__file__).parents[1] / name for name in ("toy", "toy_files"))
UP, DOWN, BROKEN = "9 9 9 9", "-9 -9 -9 -9", "not numbers at all"


def _objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.split("\n")[:-1]]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], None]:
    """Give a command its standard input, as a redirected file."""

    def give(content: bytes) -> None:
        (tmp_path / "stdin").write_bytes(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper((tmp_path / "stdin").open("rb")))

    return give


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """Files for the recipe that reads files, one of them unusable, two of one name."""
    folder = tmp_path / "numbers"
    for name, text in {"a.num": UP, "b.num": BROKEN, "c.num": DOWN, "deep/a.num": DOWN, "deep/d.num": UP}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def decode_files(seqkit: Command, toy_run: Path) -> Command:
    """Type `seqkit decode` with a run of the recipe that reads files."""

    def command(*arguments: object) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* is not the code that trained")
            return seqkit("decode", toy_run, "--recipe", TOY_FILES, *arguments)

    return command


def _contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


# Into a folder -------------------------------------------------------------------------------------------------------


def test_each_input_file_is_answered_in_a_file_of_its_name(
    decode_files: Command, numbers: Path, tmp_path: Path
) -> None:
    """One that is unusable has none, and of two with one name the second gets a number."""
    answers = tmp_path / "new" / "answers"
    result = decode_files(numbers, numbers / "no.num", "--output", f"{answers}/")
    assert (result.code, result.out) == (2, "")
    assert _contents(answers) == {
        "a.txt": "positive\n",
        "c.txt": "negative\n",
        "a-2.txt": "negative\n",
        "d.txt": "positive\n",
    }
    assert f"{numbers}/b.num: not numbers" in result.said
    assert f"{numbers}/no.num: no such file" in result.said
    assert f"{numbers}/deep/a.num: answered in {answers}/a-2.txt; another input has this name too" in result.said


def test_an_answer_in_a_folder_is_never_written_over(decode_files: Command, numbers: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    answers.mkdir()
    (answers / "a.txt").write_text("mine")
    result = decode_files(numbers / "a.num", numbers / "c.num", "--output", answers)
    assert result.code == 2
    assert f"{answers}/a.txt exists already" in result.said
    assert _contents(answers) == {"a.txt": "mine", "c.txt": "negative\n"}
    assert decode_files(numbers / "c.num", numbers / "c.num", "--output", answers).code == 2
    assert _contents(answers) == {"a.txt": "mine", "c.txt": "negative\n", "c-2.txt": "negative\n"}


def test_names_that_would_meet_a_numbered_one_do_not(decode_files: Command, numbers: Path, tmp_path: Path) -> None:
    (numbers / "c-2.num").write_text(UP)
    (numbers / "deep" / "c.num").write_text(DOWN)
    inputs = [numbers / "c-2.num", numbers / "c.num", numbers / "deep" / "c.num"]
    assert decode_files(*inputs, "--output", f"{tmp_path}/answers/").code == 0
    assert _contents(tmp_path / "answers") == {
        "c-2.txt": "positive\n",
        "c.txt": "negative\n",
        "c-3.txt": "negative\n",
    }


@pytest.mark.parametrize(
    ("options", "name", "content"),
    [
        (["--form", "table"], "a.tsv", "sign\npositive\n"),
        (["--form", "empty"], "a.txt", ""),
        (["--form", "table", "--json"], "a.json", None),
    ],
)
def test_the_answer_says_what_its_file_is(
    decode_files: Command, numbers: Path, tmp_path: Path, options: list[str], name: str, content: str | None
) -> None:
    assert decode_files(numbers / "a.num", *options, "--output", f"{tmp_path}/answers/").code == 0
    ((found, text),) = _contents(tmp_path / "answers").items()
    assert found == name
    if content is None:
        (line,) = _objects(text)
        assert line == {"source": str(numbers / "a.num"), "label": "positive", "score": 1.0}
    else:
        assert text == content


def test_the_lines_of_a_file_are_answered_in_one_file(
    seqkit: Command, sentiment_run: Path, tmp_path: Path, stdin: Callable[[bytes], None]
) -> None:
    texts, answers = tmp_path / "texts", tmp_path / "answers"
    texts.mkdir()
    (texts / "one.txt").write_bytes(b"\ngood\nb\xffd\nbad\n")
    (texts / "two.txt").write_text("bad\n")
    stdin(b"good\nbad\n")
    result = seqkit("decode", sentiment_run, texts, "-", "good film", "no.txt", "--output", f"{answers}/")
    assert result.code == 2
    assert _contents(answers) == {
        "one.txt": "\nup\n\ndown\n",
        "two.txt": "down\n",
        "stdin.txt": "up\ndown\n",
        "argument.txt": "up\n",
    }
    again = seqkit("decode", sentiment_run, texts, "--output", answers)
    assert again.said.count("one.txt exists already") == 1
    assert "".join(_contents(answers).values()).count("\n") == 8
    (texts / "three.txt").write_text("good\n")
    assert seqkit("decode", sentiment_run, texts / "three.txt", texts / "one.txt", "--output", answers).code == 2
    assert (answers / "three.txt").read_text() == "up\n"
    assert seqkit("decode", sentiment_run, texts / "two.txt", "--json", "--output", answers).code == 0
    assert [set(line) for line in _objects((answers / "two.jsonl").read_text())] == [{"source", "label", "scores"}]


def test_a_folder_that_cannot_be_made_is_a_clear_error(seqkit: Command, sentiment_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = seqkit("decode", sentiment_run, "good", "--output", f"{tmp_path}/file/")
    assert result.code == 2
    assert f"{tmp_path}/file/: this folder cannot be made" in result.said


# Answers in spite of a problem, and files through stdin --------------------------------------------------------------


def test_an_answer_with_a_problem_is_given_and_the_problem_told(
    decode_files: Command, numbers: Path, tmp_path: Path, toy_run: Path
) -> None:
    inputs = (numbers / "a.num", numbers / "c.num", "--doubt")
    result = decode_files(*inputs, "--output", f"{tmp_path}/answers/")
    assert result.code == 2
    assert _contents(tmp_path / "answers") == {"a.txt": "positive\n", "c.txt": "negative\n"}
    assert result.said.count(f"seqkit: {numbers}/a.num: too good") == 1
    doubtful, fine = _objects(decode_files(*inputs, "--json").out)
    assert doubtful == {
        "source": str(numbers / "a.num"),
        "label": "positive",
        "score": 1.0,
        "warning": f"{numbers}/a.num: too good",
    }
    assert set(fine) == {"source", "label", "score"}
    with pytest.warns(UserWarning, match="not the code"):
        model = package.load(toy_run, recipe=str(TOY_FILES))
    assert model.decode([str(numbers / "a.num")], doubt=True) == [doubtful]


def test_an_input_that_turns_out_to_have_no_answer_keeps_its_place(
    decode_files: Command, numbers: Path, tmp_path: Path
) -> None:
    inputs = (numbers / "c.num", numbers / "a.num", numbers / "c.num", "--refuse")
    result = decode_files(*inputs)
    assert (result.code, result.out) == (2, "negative\n\nnegative\n")
    assert f"seqkit: {numbers}/a.num: far too good" in result.said
    refused = _objects(decode_files(*inputs, "--json").out)[1]
    assert refused == {"source": str(numbers / "a.num"), "error": f"{numbers}/a.num: far too good"}
    assert decode_files(*inputs, "--output", f"{tmp_path}/answers/").code == 2
    assert set(_contents(tmp_path / "answers")) == {"c.txt", "c-2.txt"}


def test_a_file_may_come_through_stdin(
    decode_files: Command,
    numbers: Path,
    tmp_path: Path,
    stdin: Callable[[bytes], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is one input, however many lines it has, and nothing is left of it on the disk."""
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    stdin(b"9 9\n9\n9\n")
    result = decode_files("-", numbers / "c.num", "--json", "--doubt")
    assert result.code == 2
    piped, _ = _objects(result.out)
    assert piped == {"source": "-", "label": "positive", "score": 1.0, "warning": "stdin: too good"}
    stdin(BROKEN.encode())
    result = decode_files(numbers / "a.num", numbers / "c.num", "-", "--output", f"{tmp_path}/answers/")
    assert "seqkit: stdin: not numbers" in result.said
    stdin(DOWN.encode())
    assert decode_files("-", "--output", f"{tmp_path}/answers/").code == 0
    assert _contents(tmp_path / "answers") == {"a.txt": "positive\n", "c.txt": "negative\n", "stdin.txt": "negative\n"}
    assert list(spool.iterdir()) == []


def test_a_pipe_is_copied_piece_by_piece_and_one_that_breaks_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Pipe(io.RawIOBase):
        """40 MB, or fewer before it breaks."""

        def __init__(self, breaks_at: int) -> None:
            self.given, self.largest, self.breaks_at = 0, 0, breaks_at

        def read(self, size: int = -1) -> bytes:
            if self.given >= self.breaks_at:
                raise OSError(5, "Input/output error")
            size = min(size, 40_000_000 - self.given) if size >= 0 else 40_000_000 - self.given
            self.given, self.largest = self.given + size, max(self.largest, size)
            return bytes(size)

    pipe = Pipe(10**9)
    spooled = Spooled(pipe, "stdin")  # type: ignore[arg-type]
    assert spooled.path.stat().st_size == 40_000_000
    assert pipe.largest <= 2**22
    with pytest.raises(OSError, match="Input/output"):
        Spooled(Pipe(10**7), "stdin")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [spooled.path.parent]
    del spooled
    assert list(tmp_path.iterdir()) == []


def test_few_heavy_files_are_read_before_they_are_answered(toy_run: Path, numbers: Path) -> None:
    with pytest.warns(UserWarning, match="not the code"):
        model = package.load(toy_run, recipe=str(TOY_FILES))
    read: list[int] = []

    def inputs() -> Iterator[Input]:
        for number in range(5):
            read.append(number)
            yield Input(numbers / "a.num", "a.num")

    stream = model.stream(inputs(), model.options({}))
    next(stream)
    assert read == [0, 1]


def test_a_signal_while_stdin_is_read_ends_decoding_at_once_and_leaves_nothing(toy_run: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(TOY.parents[1])}
    processes: list[Any] = []
    for recipe in (TOY, TOY_FILES):
        command = [sys.executable, "-m", "seqkit", "decode", str(toy_run), "--recipe", str(recipe), "-"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # What a shell starts in the background ignores SIGINT, and so do its children.
        heeding: dict[str, Any] = {**pipes, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        processes.append(subprocess.Popen(command, env=environment, **heeding))
    lines, files = processes
    lines.stdin.write(b"9 9 9 9\n")
    lines.stdin.flush()
    assert lines.stdout.readline() == b"positive\n"  # it waits for the next line now
    for _ in range(3000):
        if list(tmp_path.glob("seqkit-*/stdin")):
            break
        time.sleep(0.01)
    assert list(tmp_path.glob("seqkit-*/stdin"))
    lines.send_signal(signal.SIGINT)
    files.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=60) for process in processes] == [130, 143]
    assert list(tmp_path.glob("seqkit-*")) == []
    assert all(b"Traceback" not in process.stderr.read() for process in processes)
    for process in processes:
        process.communicate()
