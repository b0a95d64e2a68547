"""Several processes: the steps of one, one writer, one voice; killed, stopped and resumed."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from seqkit.cli.app import app
from seqkit.errors import ConfigError
from seqkit.storage import load_tensors, read_json
from seqkit.training import processes
from seqkit.training.carry import deal_carry
from seqkit.training.log import read_log
from seqkit.training.processes import Processes, alone, current, joined
from seqkit.training.seeds import stream_seed

TOY = Path(__file__).parents[1] / "toy"
EXACT = ("training.optimizer=sgd", "training.learning_rate=0.1", "training.device=cpu")
LANGUAGE = (
    "language",
    "data.path=lines.txt",
    "tokenizer.kind=char",
    "model.embedding_size=8",
    "model.lstm.hidden_size=8",
    "model.lstm.num_layers=2",
    "training.bptt_steps=10",
    "training.batch_examples=5",  # three rows go to one process, two to the other
    "training.epochs=1",
    *EXACT,
)
SENTIMENT = (
    "sentiment",
    "data.path=reviews.csv",
    "tokenizer.kind=word",
    "model.embedding_size=8",
    "model.lstm.hidden_size=8",
    "model.dropout=0",
    "model.class_weight_power=1",
    "training.batch_tokens=40",
    "training.accumulate=2",
    "training.normalize=mean_batch",
    "training.epochs=4",
    *EXACT,
)
ONE_BY_ONE = (str(TOY), "data.examples=24", "training.batch_examples=1", "training.epochs=1", "dropout=0", *EXACT)

# Types each command of a list, in processes that meet once.
TYPE_ALL = """
import json, sys
from seqkit.cli.app import app
from seqkit.training.processes import joined
with joined(print):
    for command in json.loads(sys.argv[1]):
        app(command, standalone_mode=False)
"""
# What `seqkit` does; at a step of the first attempt, process 1 does something else too.
AT_A_STEP = """
import os, signal, sys
from seqkit.cli.app import main
from seqkit.training.loop import Trainer
step = Trainer._step
def watched(self, group):
    step(self, group)
    if self.position.step == 8:
        {action}
if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    Trainer._step = watched
main()
"""
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Start a Python script, or with none seqkit, in two processes, in a folder with a text and a table of reviews."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    texts = [" ".join(rng.choices(("the", "cat", "sat", "on", "a", "mat"), k=rng.randint(1, 12))) for _ in range(60)]
    Path("lines.txt").write_text("\n".join(texts), encoding="utf-8")
    with Path("reviews.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"{text} {number}", "good" if number % 3 else "bad") for number, text in enumerate(texts)]
        csv.writer(file).writerows([("text", "label"), *rows])

    def start(script: str | None, *arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        Path("script.py").write_text(script or "", encoding="utf-8")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *options]
        command += ["-m", "seqkit"] if script is None else ["script.py"]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=300)

    return start


def _train_lines(path: str | Path) -> list[dict[str, Any]]:
    return [line for line in read_log(Path(path) / "metrics.jsonl") if line["kind"] == "train"]


def _same_training(one: Path, other: Path, *, steps: int) -> None:
    """Loss and gradient of each step, and the weights, agree within the rounding of float32 sums."""
    ours, theirs = _train_lines(one), _train_lines(other)
    assert len(ours) >= steps
    assert [line["step"] for line in theirs] == list(range(1, len(ours) + 1))  # each once: there is one writer
    for key in ("loss", "grad_norm", "tokens", "learning_rate"):
        assert [line[key] for line in theirs] == pytest.approx([line[key] for line in ours], rel=2e-5)
    weights = load_tensors(other / "weights.safetensors")
    for name, tensor in load_tensors(one / "weights.safetensors").items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-6)


def test_two_processes_do_the_steps_of_one(launch: Launch) -> None:
    """With ragged batches, weights and accumulation; with carried states; with no row for one of the two."""
    commands = {"sentiment": SENTIMENT, "language": LANGUAGE, "one-by-one": ONE_BY_ONE}
    for name, command in commands.items():
        app(["train", *command, "--out", f"one/{name}"], standalone_mode=False)
    typed = [["train", *command, "--out", f"two/{name}"] for name, command in commands.items()]
    done = launch(TYPE_ALL, json.dumps(typed))
    assert done.returncode == 0, done.stderr
    for name in commands:
        _same_training(Path("one") / name, Path("two") / name, steps=20)
    printed = [line for line in done.stdout.splitlines() if line.startswith("seqkit")]
    assert [line.split()[2] for line in printed[::2]] == [f"two/{name}" for name in commands]
    assert done.stderr.count("2 processes of 1 threads") == 3
    assert read_json(Path("two/language/run.json"))["environment"]["processes"] == 2


@pytest.fixture
def whole(launch: Launch) -> Path:
    """A training in two processes, with dropout, that nothing disturbs."""
    done = launch(None, *_stochastic("whole"))
    assert done.returncode == 0, done.stderr
    return Path("whole")


def _stochastic(out: str) -> tuple[str, ...]:
    return ("train", *LANGUAGE, "model.output_dropout=0.3", "training.checkpoint_steps=3", "--out", out)


def _same_bits(one: Path, other: Path) -> None:
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_a_killed_process_is_restarted_and_the_run_goes_on(launch: Launch, whole: Path, named: bool) -> None:
    kill = AT_A_STEP.format(action="os.kill(os.getpid(), signal.SIGKILL)")
    (Path("runs") / "language-own").mkdir(parents=True)  # the name is taken
    command = _stochastic("killed")
    killed = launch(kill, *(command if named else command[:-2]), options=("--max-restarts", "1"))
    assert killed.returncode == 0, killed.stderr
    assert "going on at epoch 0, step 6" in killed.stderr  # the last checkpoint before step 8
    assert "Traceback" not in killed.stderr
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "language-own",
        *([] if named else ["language-own-2"]),
    ]
    _same_bits(whole, Path("killed") if named else Path("runs/language-own-2"))


@pytest.mark.slow
def test_sigterm_saves_and_the_run_goes_on_in_two_processes_or_one(launch: Launch, whole: Path) -> None:
    stopped = launch(AT_A_STEP.format(action="os.kill(os.getppid(), signal.SIGTERM)"), *_stochastic("two"))
    assert stopped.returncode != 0
    said = re.findall(r"seqkit: Interrupted at step (\d+); the state is saved\. (.*)", stopped.stderr)
    assert len(said) == 1, stopped.stderr
    assert said[0][1] == "Go on with: torchrun --nproc_per_node 2 -m seqkit train --resume two"
    step = int(said[0][0])
    assert step >= 8
    assert [path.name for path in Path("two/checkpoints").glob(".partial*")] == []
    shutil.copytree("two", "one")
    resumed = launch(None, "train", "--resume", "two")
    assert resumed.returncode == 0, resumed.stderr
    _same_bits(whole, Path("two"))
    alone = subprocess.run(
        [sys.executable, "-m", "seqkit", "train", "--resume", "one"], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    assert "processes (each draws its own dropout) 2 then, 1 now" in " ".join(alone.stderr.split())
    assert _train_lines("one")[:step] == _train_lines(whole)[:step]
    ours, theirs = _train_lines(whole), _train_lines("one")
    assert [line["loss"] for line in theirs] == pytest.approx([line["loss"] for line in ours], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", *LANGUAGE, "training.epoch=3"), "seqkit: training.epoch=3: there is no key"),
        (("train", "language", "data.path=nowhere.txt"), "seqkit: data.path=nowhere.txt does not exist"),
        (("train", "language", "--sed", "1"), "No such option"),
        (("train", *LANGUAGE, "--seeds", "2"), "runs in one process, and 2 were started"),
        (("eval", "run"), "seqkit: 'seqkit eval' runs in one process, and 2 were started"),
    ],
)
def test_a_mistake_is_said_once_and_ends_all(launch: Launch, arguments: tuple[str, ...], words: str) -> None:
    done = launch(None, *arguments)
    assert done.stderr.count(words) == 1, done.stderr
    assert done.stdout == ""
    assert "(exitcode: 2)" in done.stderr  # of a process; torchrun itself always ends with 1
    assert not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_fault_in_one_process_ends_the_other(launch: Launch, rank: int) -> None:
    fault = AT_A_STEP.format(action="raise ZeroDivisionError('a fault')").replace(
        '"RANK"] == "1"', f'"RANK"] == "{rank}"'
    )
    done = launch(fault, "train", *LANGUAGE, "--out", "run")
    assert done.returncode == 1
    assert done.stderr.count("ZeroDivisionError: a fault") == 1
    assert "LostProcess" not in done.stderr
    assert "seqkit: Another process" not in done.stderr


def test_every_row_is_dealt_to_one_process_and_stays_with_it() -> None:
    both = [Processes(rank, 2) for rank in (0, 1)]
    assert [process.share([7, 3, 5]) for process in both] == [[7, 5], [3]]
    assert [process.share([4]) for process in both] == [[4], []]
    assert Processes().share([7, 3, 5]) == [7, 3, 5]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2), (2, 6), (6, 2)])
def test_carried_states_are_dealt_out_as_rows_are(before: int, after: int) -> None:
    whole = {"hidden": torch.randn(2, 5, 3), "cell": torch.randn(1, 5)}

    def dealt(count: int) -> list[dict[str, torch.Tensor] | None]:
        rows = [Processes(rank, count).share(range(5)) for rank in range(count)]
        return [{name: part[:, own] for name, part in whole.items()} if own else None for own in rows]

    found = deal_carry(dealt(before), 5, after)
    assert found is not None
    assert len(found) == after
    for ours, theirs in zip(found, dealt(after), strict=True):
        assert (ours is None) == (theirs is None)
        for name in theirs or {}:
            assert ours is not None
            assert torch.equal(ours[name], theirs[name])  # type: ignore[index]


def test_a_state_without_rows_is_not_dealt_out() -> None:
    assert deal_carry([{"sum": torch.zeros(3)}], 5, 2) is None
    assert deal_carry([{"sum": torch.zeros(1, 4)}], 5, 2) is None
    assert deal_carry([{"a": torch.zeros(1, 3)}, {"b": torch.zeros(1, 2)}], 5, 3) is None


def test_without_a_launcher_there_is_one_process_and_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def collective(*_: Any, **__: Any) -> None:
        raise AssertionError("one process has nobody to talk to")

    for name in ("all_reduce", "broadcast", "broadcast_object_list", "gather_object", "init_process_group"):
        monkeypatch.setattr(torch.distributed, name, collective)
    app(["train", str(TOY), "training.epochs=1", "--dry-run"], standalone_mode=False)
    with joined(print):
        assert current() == Processes()
    alone("this")


def test_several_processes_are_refused_where_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_current", Processes(0, 3))
    with pytest.raises(ConfigError, match="this runs in one process, and 3 were started"):
        alone("this")


def test_each_process_draws_from_a_stream_of_its_own() -> None:
    assert len({stream_seed(0, "model", step, *rank) for step in range(4) for rank in ((), (1,), (2,))}) == 12


def test_only_the_first_process_speaks_and_it_passes_its_error_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a meeting; the others are waited for so that a launcher does not end the one that speaks."""
    monkeypatch.setattr(processes, "_GRACE", processes._GRACE * 0)
    told: list[str] = []
    for rank in ("0", "1"):
        for key, value in {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"}.items():
            monkeypatch.setitem(os.environ, key, value)
        with pytest.raises(SystemExit) as stop, joined(lambda error: told.append(str(error)), training=False):
            alone(f"process {rank}")
        assert stop.value.code == 2
        assert current() == Processes()
    assert len(told) == 1
    assert told[0].startswith("process 0 runs in one process")
