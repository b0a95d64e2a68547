"""Kill trainings again and again, go on with them each time, and compare with trainings that nobody disturbed.

    python tools/kill_storm.py                                     the sentiment demo, 50 kills
    python tools/kill_storm.py sentiment training.epochs=2 --kills 200 --seed 1
    python tools/kill_storm.py sentiment model.dropout=0.5 my-recipe training.workers=2    two trainings

Each training runs once through, as `python -m seqkit train`. Then it is started again, killed, resumed by `seqkit train
--resume` (or, killed before its first checkpoint, started anew with `--overwrite`, as the message says), killed again,
and so on until it ends; this is one round, and rounds follow until there were enough kills. After each round the
weights, the metrics log, the checkpoints, the results, the front-end and the pictures must be the undisturbed ones,
byte for byte; else the exit code is 1, and what differs is printed.

Where it is killed (SIGKILL), in turn, then by a draw of the seed:

    begin        at one of the first operations on the run folder: while the folder is made, or a resume begins
    checkpoint   at an operation on a state's folder, or soon after it
    best         at an operation on kept weights, or soon after it
    epoch        when a line with an evaluation has come to the metrics log
    time         at any time
    quick        during the start, twice in a row
    finish       while results, pictures, weights and run.json are written
    interrupt    SIGINT or SIGTERM to the process and its workers; it must save and exit with 130 or 143

"At an operation" means: a Python audit hook in the training counts what it opens, renames, makes and removes in the run
folder, and the process kills itself right before the operation whose number was drawn. So no moment between two
operations is missed for being short.

Starting Python with torch takes seconds, a life between two kills less than one. So this process imports everything
once and forks: a child starts in milliseconds. Forking is safe here because nothing has been computed yet, so there are
no threads to lose. `--spawn` gives each life an interpreter of its own instead. The undisturbed training always has
one, so what hangs on an interpreter (the order of a set of texts, say) shows as a difference.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

AIMS = ("begin", "checkpoint", "best", "epoch", "time", "quick", "quick", "interrupt", "finish")
"""The order of the first kills, over all trainings; later ones are drawn."""
KILLS_A_ROUND = 12
"""After so many a training is left to end."""
_OPERATIONS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"})
# Of an aim at operations: what the path of the first one that counts matches, and how many to draw from.
_AT_OPERATIONS = {
    "begin": ("", 24),
    "checkpoint": ("state-", 40),
    "best": ("best-", 6),
    "finish": (r"results\.json", 10),
}
_SUBREAPER = 36  # prctl: orphans of the trainings come to this process, so that it sees them end
_ORPHAN_SECONDS = 10.0


class StormError(Exception):
    """A life that ended otherwise than it should."""


@dataclass(frozen=True)
class Training:
    """What is trained: a recipe as on the command line, and its settings."""

    recipe: str
    settings: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.recipe, *self.settings))


@dataclass(frozen=True)
class Aim:
    """When a life ends: before operation `number` from the first whose path matches `pattern` on, or by the parent."""

    name: str
    pattern: str | None = None
    number: int = 0
    seconds: float | None = None
    """Time after the start at which the parent sends `signal`."""
    signal: int = signal.SIGKILL


@dataclass
class Tally:
    """What happened to one training."""

    training: Training
    kills: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    rounds: int = 0
    differences: list[str] = field(default_factory=list)


# One life: runs in a child -------------------------------------------------------------------------------------------


def live(arguments: Sequence[str], log: Path, folder: Path, aim: Aim) -> None:
    """Run the command line in this process until it ends or the aim is reached; never returns."""
    os.setsid()  # a group of its own, which `interrupt` signals as a terminal would
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if aim.pattern is not None:
        sys.addaudithook(_Hook(folder, aim))
    sys.argv = ["seqkit", *arguments]
    code: object = 0
    try:
        from seqkit.cli.app import main

        main()
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


class _Hook:
    """Counts the operations on a folder and kills the process before the one that is aimed at."""

    def __init__(self, folder: Path, aim: Aim) -> None:
        assert aim.pattern is not None
        self.folder, self.pattern, self.left = str(folder), re.compile(aim.pattern), aim.number
        self.armed, self.process = False, os.getpid()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _OPERATIONS or os.getpid() != self.process:  # workers inherit the hook
            return
        paths = [path for path in _paths(event, arguments) if path.startswith(self.folder)]
        self.armed = self.armed or any(self.pattern.search(path.removeprefix(self.folder)) for path in paths)
        if paths and self.armed:
            self.left -= 1
            if self.left <= 0:
                os.kill(self.process, signal.SIGKILL)


def _paths(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """The paths of an operation; what is named relative to an open folder, as rmtree does, in full."""
    count = 2 if event == "os.rename" else 1
    where = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2}.get(event)
    for path in arguments[:count]:
        if isinstance(path, str | os.PathLike):
            inside = arguments[where] if where is not None else -1
            root = Path(f"/proc/self/fd/{inside}").readlink() if isinstance(inside, int) and inside >= 0 else Path()
            yield str(root / path)


class Undisturbed:
    """A training that is run through by the command line, beside what else is going on."""

    def __init__(self, training: Training, path: Path) -> None:
        self.training, self.path = training, path
        command = [sys.executable, "-m", "seqkit", "train", training.recipe, *training.settings, "--out", str(path)]
        self.log = path.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> float:
        """See it end; returns the seconds of training and finishing, without the start. Raises SystemExit."""
        tell(f"{self.training}")
        if self.process.wait() != 0:
            raise SystemExit(f"the undisturbed training failed:\n{self.log.read_text()}")
        tell("  undisturbed")
        return (self.path / "run.json").stat().st_mtime - (self.path / "config.yaml").stat().st_mtime


# The storm: runs in the parent ---------------------------------------------------------------------------------------


class Storm:
    """Trains undisturbed, then in rounds of kills, and compares."""

    def __init__(self, folder: Path, seed: int, *, spawn: bool) -> None:
        self.folder, self.spawn = folder, spawn
        self.random, self.deck = random.Random(seed), list(AIMS)
        self.startup = 0.5  # seconds until a training's first checkpoint; measured as soon as one gets there
        self.whole_seconds = 1.0
        self.beside: int | None = None  # a child that is none of a storm's

    def run(self, whole: Undisturbed, kills: int) -> Tally:
        """All rounds of one training."""
        training, tally = whole.training, Tally(whole.training)
        while sum(tally.kills.values()) < kills and not tally.differences:
            tally.rounds += 1
            path = self.folder / f"{whole.path.name}-stormed-{tally.rounds}"
            try:
                self._round(training, path, tally, kills)
                tally.differences = differences(whole.path, path)
            except StormError as error:
                tally.differences = [str(error)]
            tell(f"  round {tally.rounds}, {sum(tally.kills.values())} kills, {verdict(tally)}")
            if not tally.differences:
                shutil.rmtree(path)
        return tally

    def _round(self, training: Training, path: Path, tally: Tally, kills: int) -> None:
        """One training from its start to its end, killed on the way."""
        start = ("train", training.recipe, *training.settings, "--out", str(path))
        command, killed = start, 0
        while True:
            room = killed < KILLS_A_ROUND and sum(tally.kills.values()) < kills
            aim = self._aim(self.deck.pop(0) if self.deck else self.random.choice(AIMS)) if room else Aim("none")
            code, said = self._life(command, path, aim)
            tally.lives += 1
            if code == -signal.SIGKILL or (aim.name == "interrupt" and self._stopped(code, said, aim)):
                killed += 1
                tally.kills[aim.name] += 1
            elif code == 2 and "interrupted before its first checkpoint" in " ".join(said.split()):
                command = (*start, "--overwrite")
                self.deck[:0] = [aim.name] * room
                continue
            elif code != 0 and not _finished(path):
                raise StormError(f"after {dict(tally.kills)}, {' '.join(command)} ended with {code}:\n{said[-3000:]}")
            elif room:
                self.deck.append(aim.name)  # the training ended before; try again in the next round
            if _finished(path):
                break
            there = (path / "run.json").is_file()
            command = ("train", "--resume", str(path), *_recipe_option(path)) if there else start
        self._wait_for_orphans()

    def _aim(self, name: str) -> Aim:
        if name in _AT_OPERATIONS:
            pattern, most = _AT_OPERATIONS[name]
            return Aim(name, pattern=pattern, number=self.random.randint(1, most))
        if name == "quick":
            return Aim(name, seconds=self.random.uniform(0.0, 1.5 * self.startup))
        seconds = self.random.uniform(0.0, self.startup + self.whole_seconds)
        if name == "interrupt":
            return Aim(name, seconds=seconds, signal=self.random.choice((signal.SIGINT, signal.SIGTERM)))
        return Aim(name, seconds=None if name == "epoch" else seconds)

    @staticmethod
    def _stopped(code: int, said: str, aim: Aim) -> bool:
        """Whether a life ended by its interruption, as it should."""
        saved = code == 128 + aim.signal and "the state is saved" in said
        # Before training begins there is nothing to save.
        return saved or (code in (-aim.signal, 128 + aim.signal) and " parameters, " not in said)

    def _life(self, command: Sequence[str], path: Path, aim: Aim) -> tuple[int, str]:
        """Start a life and see it end; returns its exit code (negative: by a signal) and what it said."""
        log = self.folder / "life.log"
        log.unlink(missing_ok=True)
        process = self._start(command, log, path, aim)
        began, fresh = time.monotonic(), not path.is_dir()
        metrics = path / "metrics.jsonl"
        seen = _evaluations(metrics) if aim.name == "epoch" else 0
        sent = False
        try:
            while True:
                ended, status = os.waitpid(process, os.WNOHANG)
                seconds = time.monotonic() - began
                if ended:
                    break
                if fresh and any(path.glob("checkpoints/state-*")):
                    self.startup, fresh = seconds, False
                reached = aim.name == "epoch" and _evaluations(metrics) > seen
                if not sent and (reached or (aim.seconds is not None and seconds >= aim.seconds)):
                    (os.kill if aim.signal == signal.SIGKILL else os.killpg)(process, aim.signal)
                    sent = True
                if seconds > 60 + 20 * (self.whole_seconds + self.startup):
                    raise StormError(f"{' '.join(command)} hangs after {seconds:.0f} s")
                time.sleep(0.001)
        except BaseException:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise
        return os.waitstatus_to_exitcode(status), log.read_text() if log.exists() else ""

    def _start(self, command: Sequence[str], log: Path, path: Path, aim: Aim) -> int:
        if self.spawn:
            life = json.dumps({"arguments": list(command), "log": str(log), "folder": str(path), "aim": asdict(aim)})
            return subprocess.Popen([sys.executable, __file__, "--life", life]).pid
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            live(command, log, path, aim)
        return process

    def _wait_for_orphans(self) -> None:
        """Raise StormError where worker processes of a killed training do not end."""
        until = time.monotonic() + _ORPHAN_SECONDS
        while orphans := self._children() - {self.beside}:
            for process in orphans:
                os.waitpid(process, os.WNOHANG)
            if time.monotonic() > until:
                raise StormError(f"{len(orphans)} worker processes live on {_ORPHAN_SECONDS:.0f} s after a kill.")
            time.sleep(0.01)

    @staticmethod
    def _children() -> set[int]:
        """This process's children, adopted ones included; none where the system does not tell."""
        listed = Path(f"/proc/self/task/{os.getpid()}/children")
        return {int(process) for process in listed.read_text().split()} if listed.exists() else set()


def _finished(path: Path) -> bool:
    return (path / "run.json").is_file() and json.loads((path / "run.json").read_text())["state"] == "finished"


def _evaluations(log: Path) -> int:
    return log.read_bytes().count(b'"kind": "validation"') if log.exists() else 0


def _recipe_option(path: Path) -> tuple[str, ...]:
    """What a resume of a recipe of one's own needs."""
    recipe = json.loads((path / "run.json").read_text())["recipe"]
    return () if recipe["built_in"] else ("--recipe", recipe["folder"])


# The comparison ------------------------------------------------------------------------------------------------------


def differences(whole: Path, stormed: Path) -> list[str]:
    """What differs between two runs that should be the same, a line each; times and places may differ."""
    ours, theirs = _content(whole), _content(stormed)
    found = [f"{name}: only in the {where} run" for name, where in _missing(ours, theirs)]
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name] != theirs[name]:
            found.append(f"{name}: differs{_where(ours[name], theirs[name])}")
    return found


def _missing(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(n, "undisturbed") for n in sorted(ours.keys() - theirs)] + [
        (n, "stormed") for n in sorted(theirs.keys() - ours)
    ]


def _where(ours: bytes, theirs: bytes) -> str:
    """From which line or byte on two contents differ."""
    place = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    if place is None:
        return f": {len(ours)} bytes and {len(theirs)} bytes, one the beginning of the other"
    return f" from byte {place} on, line {ours[:place].count(10) + 1}"


def _content(path: Path) -> dict[str, bytes]:
    """The content of each file of a run, without what may differ: times, the run's own place, a state's number."""
    content = {}
    for file in sorted(path.rglob("*")):
        name = re.sub(r"^checkpoints/state-\d+", "checkpoints/state", str(file.relative_to(path)))
        if not file.is_file() or name == ".lock" or name.startswith("tensorboard/"):
            continue
        content[name] = file.read_bytes()
    run = json.loads(content["run.json"])
    for key in ("started", "training_seconds", "training_rate", "data_wait"):
        run.pop(key, None)
    results = json.loads(content.get("results.json", b"{}"))
    for result in results.values():
        del result["run"], result["seconds"]
    return {**content, "run.json": _json(run), "results.json": _json(results)}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


# The command ---------------------------------------------------------------------------------------------------------


def tell(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def verdict(tally: Tally) -> str:
    """In a word."""
    return "identical" if not tally.differences else f"{len(tally.differences)} DIFFERENCES"


def parse_trainings(words: Sequence[str]) -> list[Training]:
    """`RECIPE key=value ... RECIPE key=value ...`: a word without "=" begins the next training."""
    found: list[Training] = []
    for word in words or ["sentiment"]:
        if "=" not in word:
            found.append(Training(word, ()))
        elif found:
            found[-1] = Training(found[-1].recipe, (*found[-1].settings, word))
        else:
            raise SystemExit(f"{word}: which recipe? Name it first.")
    return found


def preload(trainings: Sequence[Training]) -> None:
    """Import what trainings import, and compute nothing."""
    from seqkit.cli.app import share_cores

    share_cores()
    import datasets  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import sentencepiece  # noqa: F401
    import torch._dynamo  # noqa: F401 (an optimizer imports it)

    import seqkit.training.session  # noqa: F401
    from seqkit.registry import find, load

    for training in trainings:
        load(find(training.recipe)[0])


def print_table(tallies: Sequence[Tally]) -> None:
    """The result, on stdout."""
    print(f"{'rounds':>6} {'lives':>6} {'kills':>6}  {'':<16} training and kills by aim")
    for tally in tallies:
        by_aim = ", ".join(f"{name} {tally.kills[name]}" for name in dict.fromkeys(AIMS) if tally.kills[name])
        total = sum(tally.kills.values())
        print(f"{tally.rounds:>6} {tally.lives:>6} {total:>6}  {verdict(tally):<16} {tally.training}")
        print(f"{'':>38} {by_aim}")
        for difference in tally.differences:
            print(f"    {difference}")


def storm_all(trainings: Sequence[Training], folder: Path, arguments: argparse.Namespace) -> list[Tally]:
    """Storm each training; the next one's undisturbed run goes on beside."""
    coming: Undisturbed | None = Undisturbed(trainings[0], folder / "1")
    storm, tallies = Storm(folder, arguments.seed, spawn=arguments.spawn), []
    try:
        preload(trainings)
        for number in range(1, len(trainings) + 1):
            whole, coming = coming, None
            assert whole is not None
            storm.whole_seconds = whole.wait()
            if number < len(trainings):
                coming = Undisturbed(trainings[number], folder / str(number + 1))
                storm.beside = coming.process.pid
            tallies.append(storm.run(whole, arguments.kills))
    finally:
        if coming is not None:
            coming.process.kill()
    return tallies


def main() -> None:
    """Parse the arguments, storm each training, print the table; exit code 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", nargs="*", metavar="RECIPE[/PRESET] [KEY=VALUE ...]", help="default: sentiment")
    parser.add_argument("--kills", type=int, default=50, help="kills of each training [50]")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is drawn [0]")
    parser.add_argument("--spawn", action="store_true", help="an interpreter for each life, instead of a fork")
    parser.add_argument("--out", type=Path, help="keep the runs in this folder; it must not exist")
    parser.add_argument("--life", help=argparse.SUPPRESS)
    arguments = parser.parse_intermixed_args()
    if arguments.life is not None:
        life = json.loads(arguments.life)
        live(life["arguments"], Path(life["log"]), Path(life["folder"]), Aim(**life["aim"]))
    trainings = parse_trainings(arguments.training)
    folder = arguments.out if arguments.out is not None else Path(tempfile.mkdtemp(prefix="kill-storm-"))
    folder.mkdir(parents=True, exist_ok=arguments.out is None)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    tallies = storm_all(trainings, folder.resolve(), arguments)
    print_table(tallies)
    if any(tally.differences for tally in tallies):
        raise SystemExit(f"The runs are kept in {folder}.")
    if arguments.out is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
