"""Trainings that are killed again and again end with the bits of trainings that nobody disturbed."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOOL = REPOSITORY / "tools" / "kill_storm.py"
TOY = REPOSITORY / "tests" / "toy"
TINY = ("model.embedding_size=4", "model.lstm.hidden_size=4", "training.learning_rate=0.02")
SEVERAL = (
    "training.workers=2",
    "training.accumulate=2",
    "training.keep_best=2",
    "training.ema_decay=0.9",
    "training.warmup_steps=4",
    "training.schedule=plateau",
    "training.plateau_patience=0",
    "training.early_stopping=4",
    "training.evaluate_steps=3",
    "training.epochs=4",
)

_SPEC = importlib.util.spec_from_file_location("kill_storm", TOOL)
assert _SPEC is not None
assert _SPEC.loader is not None
kill_storm = importlib.util.module_from_spec(_SPEC)
sys.modules["kill_storm"] = kill_storm
_SPEC.loader.exec_module(kill_storm)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the storm sees processes end as Linux tells it")


@pytest.fixture
def reviews(tmp_path: Path) -> tuple[str, ...]:
    """Labelled texts in which one word decides, as settings that name them."""
    rng = random.Random(0)
    lines = []
    for number in range(60):
        word, label = (("good", "up"), ("bad", "down"))[number % 2]
        words = [rng.choice(("film", "plot", "the", "a", "was", "it")) for _ in range(rng.randint(1, 9))]
        lines.append(f"{' '.join([*words, word])} n{number},{label}")
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["text,label", *lines]))
    return (f"data.path={path}", "training.batch_examples=6", *TINY)


@pytest.fixture
def tales(tmp_path: Path) -> tuple[str, ...]:
    """A running text, as settings that name it."""
    rng = random.Random(1)
    lines = [" ".join(rng.choice(("the", "cat", "saw", "a", "dog", "and")) for _ in range(8)) for _ in range(60)]
    path = tmp_path / "tales.txt"
    path.write_text("\n".join(lines))
    carried = ("training.batch_examples=4", "training.bptt_steps=7")
    return (f"data.path={path}", "tokenizer.kind=word", *carried, *TINY)


def storm(*arguments: str, folder: Path) -> tuple[int, list[str]]:
    """Exit code and table of a storm."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TOOL), *arguments, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=REPOSITORY)
    assert done.stdout, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_a_dozen_kills_change_no_bit(tmp_path: Path, reviews: tuple[str, ...], tales: tuple[str, ...]) -> None:
    """Workers, subword sampling of both kinds, a carried state, three schedules, and every aim of the storm."""
    unigram = ("tokenizer.kind=unigram", "tokenizer.sampling_alpha=0.2", *SEVERAL)
    bpe = ("tokenizer.kind=bpe", "tokenizer.merge_dropout=0.3")
    cosine = ("training.schedule=cosine", "training.optimizer=rmsprop", "training.epochs=2")
    linear = ("training.schedule=linear", "training.optimizer=sgd", "training.epochs=2", "training.max_steps=24")
    often = "training.checkpoint_steps=4"
    code, table = storm(
        *("sentiment", *reviews, *unigram, "training.checkpoint_steps=2"),
        *("sentiment", *reviews, *bpe, *cosine, often),
        *("language", *tales, *linear, often),
        *("--kills", "4"),
        folder=tmp_path / "storm",
    )
    assert code == 0, "\n".join(table)
    assert [line.split()[2:4] for line in table[1::2]] == [["4", "identical"]] * 3
    counts = " ".join(table[2::2])
    for aim in ("begin", "checkpoint", "best", "finish", "quick"):
        assert aim in counts


@pytest.mark.slow
def test_hundreds_of_kills_change_no_bit(tmp_path: Path, reviews: tuple[str, ...], tales: tuple[str, ...]) -> None:
    kinds = (
        ("tokenizer.kind=unigram", "tokenizer.sampling_alpha=0.2"),
        ("tokenizer.kind=word",),
    )
    often = "training.checkpoint_steps=3"
    average = ("training.optimizer=sgd", "training.momentum=0", "training.average_patience=0", "training.workers=1")
    code, table = storm(
        *("sentiment", *reviews, *kinds[0], *SEVERAL, often),
        *("sentiment", *reviews, *kinds[1], "training.schedule=constant", "training.epochs=3", often),
        *("language", *tales, *average, "training.evaluate_steps=7", "training.epochs=3", often),
        *("--kills", "70", "--seed", "1"),
        folder=tmp_path / "storm",
    )
    assert code == 0, "\n".join(table)


FORGETFUL = """

class Forgetful(Toy):
    \"\"\"A recipe whose draws hang on what this process drew before: what the storm must find.\"\"\"

    drawn = np.random.default_rng(0)

    def augment(self, item: Item, rng: np.random.Generator) -> Item:
        \"\"\"Not from `rng`.\"\"\"
        return super().augment(item, self.drawn)


del Toy
"""


@pytest.mark.slow
def test_a_hidden_state_shows(tmp_path: Path) -> None:
    recipe = Path(shutil.copytree(TOY, tmp_path / "forgetful", ignore=shutil.ignore_patterns("__pycache__")))
    code_file = recipe / "recipe.py"
    code_file.write_text(code_file.read_text() + FORGETFUL)
    code, table = storm(str(recipe), "training.checkpoint_steps=2", "--kills", "4", folder=tmp_path / "storm")
    assert code == 1
    assert any("weights.safetensors: differs from byte" in line for line in table), table


def test_the_comparison_sees_each_difference(tmp_path: Path) -> None:
    names = ("weights.safetensors", "metrics.jsonl", "config.yaml", "checkpoints/best-3.safetensors")
    for run in ("whole", "stormed"):
        for name in (*names, f"checkpoints/state-{len(run)}/state.json", "frontend/labels.json"):
            (tmp_path / run / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / run / name).write_text("one\ntwo\n")
        (tmp_path / run / "run.json").write_text(f'{{"state": "finished", "started": "{run}", "steps": 3}}')
        (tmp_path / run / "results.json").write_text(
            f'{{"validation": {{"run": "{run}", "seconds": {len(run)}, "metrics": {{"loss": 0.5}}}}}}'
        )
    whole, stormed = tmp_path / "whole", tmp_path / "stormed"
    assert kill_storm.differences(whole, stormed) == []
    for name in names:
        content = (stormed / name).read_text()
        (stormed / name).write_text("one\ntwO\n")
        assert kill_storm.differences(whole, stormed) == [f"{name}: differs from byte 6 on, line 2"]
        (stormed / name).write_text(content)
    (stormed / "results.json").write_text((stormed / "results.json").read_text().replace("0.5", "0.6"))
    (stormed / "checkpoints" / ".partial-best-4.safetensors").touch()
    (stormed / "checkpoints" / "best-3.safetensors").unlink()
    assert [line.split(":")[0] for line in kill_storm.differences(whole, stormed)] == [
        "checkpoints/best-3.safetensors",
        "checkpoints/.partial-best-4.safetensors",
        "results.json",
    ]
