"""What `benchmark_translation.py` does: it trains in turns, trains one model of JoeyNMT, or decodes in turns."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from seqkit.errors import SeqkitError
from seqkit.frontends.text import TextFrontend
from tools.benchmark_report import tell
from tools.translation_report import OURS, Decoding, Training
from tools.translation_setup import (
    LENGTH_PENALTY,
    SIGNS,
    Sizes,
    data_overrides,
    decoding_config,
    endless_overrides,
    joeynmt_config,
    model_overrides,
    products,
    write_pieces,
    write_vocabulary,
)
from tools.translation_workers import Worker, environment, same_work, workers

HERE = Path(__file__).resolve().parent
PLAIN, FEEDING = "joeynmt", "joeynmt+feeding"
MORE_SIGNS = 2  # of JoeyNMT's vocabulary: padding, and a beginning
SETTLE = 2.0  # seconds of training before a later round is counted: threads and caches warm again


def check_joeynmt(python: Path) -> None:
    """Raise SeqkitError where that Python has no JoeyNMT 2.3 that can be used."""
    code = "import importlib.metadata as m, joeynmt.training; print(m.version('joeynmt'))"
    try:
        ended = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SeqkitError(f"--joeynmt {python}: cannot be started: {error.strerror}.") from error
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["nothing"])[-1]
        raise SeqkitError(f"--joeynmt {python}: JoeyNMT cannot be imported: {last}.", hint="--help says what it needs.")
    if not ended.stdout.startswith("2.3"):
        raise SeqkitError(f"--joeynmt {python}: has JoeyNMT {ended.stdout.strip()}; 2.3 is what is measured here.")


def _driver(options: argparse.Namespace, side: str, mode: str, file: Path) -> list[str]:
    if side == OURS:
        return [sys.executable, str(HERE / "translation_driver.py"), mode, str(file), str(options.threads), "keep"]
    driver = str(HERE / "joeynmt_driver.py")
    return [str(options.joeynmt), driver, mode, str(file), str(options.threads), options.joeynmt_malloc]


def _data(options: argparse.Namespace, sizes: Sizes) -> tuple[Any, list[str]]:
    """The recipe with the data and the network of the comparison, and its settings."""
    from seqkit.cli.train import configure

    overrides = [
        *data_overrides(options.data.resolve(), options.source, options.target, sizes),
        *model_overrides(sizes),
    ]
    return configure("translation", overrides)[2], overrides


def _write_parts(
    folder: Path, tokens: TextFrontend, splits: Mapping[str, Any], options: argparse.Namespace, names: Mapping[str, str]
) -> None:
    """Parts of the data as pieces, each under the name that JoeyNMT's configuration has for it."""
    folder.mkdir()
    write_vocabulary(folder / "vocabulary.txt", tokens)
    for ours, theirs in names.items():
        for column, language in (("source", options.source), ("target", options.target)):
            write_pieces(folder / f"{theirs}.{language}", tokens, splits[ours].column(column))


def _fitted(recipe: Any, splits: Mapping[str, Any]) -> TextFrontend:
    tell("learning the pieces")
    recipe.fit(splits["train"])
    return cast(TextFrontend, recipe.frontend.source)


# ---- training ----


def train(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Training]:
    """Rounds of training of all sides in turn."""
    recipe, overrides = _data(options, sizes)
    splits = recipe.load_data()
    tokens = _fitted(recipe, splits)
    (folder / "frontend").mkdir()
    recipe.save_frontend(folder / "frontend")
    _write_parts(folder / "pieces", tokens, splits, options, {"train": "train"})
    ours = {"overrides": [*overrides, *endless_overrides(options.threads)], "frontend": str(folder / "frontend")}
    (folder / "seqkit.json").write_text(json.dumps(ours), encoding="utf-8")
    commands = {OURS: _driver(options, OURS, "train", folder / "seqkit.json")}
    for side in (PLAIN, FEEDING):
        config = joeynmt_config(
            sizes,
            folder / "pieces",
            folder / side,
            options.source,
            options.target,
            feeding=side == FEEDING,
            epochs=1,
        )
        file = folder / f"{side}.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        commands[side] = _driver(options, side, "train", file)
    with workers(commands, options.threads, folder) as ready:
        same_work({name: worker.told for name, worker in ready.items()}, dict.fromkeys((PLAIN, FEEDING), MORE_SIGNS))
        answers = _train_in_turns(ready, options.rounds, options.warm_up, options.seconds)
        told = {name: worker.told for name, worker in ready.items()}
    source_per_target = told[OURS]["source_tokens"] / told[OURS]["target_tokens"]
    return {
        name: Training(
            rates=[answer["tokens"] / answer["seconds"] for answer in own],
            loss=own[-1]["loss"],
            parameters=told[name]["parameters"],
            products=products(sizes, name, source_per_target),
            told=told[name],
        )
        for name, own in answers.items()
    }


def _train_in_turns(
    ready: Mapping[str, Worker], rounds: int, warm_up: float, seconds: float
) -> dict[str, list[dict[str, Any]]]:
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in ready}
    for number in range(1, rounds + 1):
        for name, worker in ready.items():
            warm = warm_up if number == 1 else min(warm_up, SETTLE)
            answer = worker.ask({"warm": warm, "seconds": seconds})
            answers[name].append(answer)
            rate = answer["tokens"] / answer["seconds"]
            tell(
                f"round {number} of {rounds}, {name}: {rate:.0f} target tokens/s in {answer['steps']} steps, "
                f"loss {answer['loss']:.2f}"
            )
    return answers


def fit_joeynmt(options: argparse.Namespace, sizes: Sizes) -> None:
    """Train a model with JoeyNMT's own command into a new folder; what it says goes where this tool's does."""
    recipe, overrides = _data(options, sizes)
    splits = recipe.load_data()
    tokens = _fitted(recipe, splits)
    folder = options.train_joeynmt.resolve()
    folder.mkdir(parents=True)
    _write_parts(folder / "pieces", tokens, splits, options, {"train": "train", "validation": "dev"})
    config = joeynmt_config(
        sizes,
        folder / "pieces",
        folder / "model",
        options.source,
        options.target,
        feeding=options.input_feeding,
        epochs=options.epochs,
        steps=-(-len(splits["train"]) // sizes.batch),
    )
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    same = " ".join(overrides)
    tell(f"a run of the same sizes: seqkit train translation {same} training.epochs={options.epochs} --out RUN\n")
    command = _driver(options, PLAIN, "fit", file)
    code = subprocess.run(command, env=environment(options.threads), check=False).returncode
    if code != 0:
        raise SeqkitError(f"JoeyNMT's training ended with exit code {code}.", hint="What it said stands above.")


# ---- decoding ----


def decode(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Decoding]:
    """Rounds of translating the test set by all sides in turn."""
    tokens = _run_pieces(options.decode_seqkit)
    test = _data(options, sizes)[0].load_data()["test"]
    sources, references = test.column("source"), test.column("target")
    (folder / "pieces").mkdir()
    write_pieces(folder / "pieces" / f"test.{options.source}", tokens, sources)
    (folder / "source.txt").write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
    ours = {
        "run": str(options.decode_seqkit),
        "source": str(folder / "source.txt"),
        "batch": sizes.batch,
        "beam": options.beam,
        "length_penalty": LENGTH_PENALTY,
    }
    (folder / "seqkit.json").write_text(json.dumps(ours), encoding="utf-8")
    commands = {OURS: _driver(options, OURS, "decode", folder / "seqkit.json")}
    for number, place in enumerate(options.decode_joeynmt):
        trained, model = _trained(place, tokens)
        config = decoding_config(trained, model, folder / "pieces", sizes.batch, options.beam)
        file = folder / f"{number}.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        fed = trained["model"]["decoder"].get("input_feeding", True)
        commands[f"{FEEDING if fed else PLAIN} {place.name}"] = _driver(options, PLAIN, "decode", file)
    outputs = {name: folder / f"{number}.json" for number, name in enumerate(commands)}
    with workers(commands, options.threads, folder) as ready:
        same_work(
            {name: worker.told for name, worker in ready.items()}, {name: MORE_SIGNS for name in ready if name != OURS}
        )
        seconds = _decode_in_turns(ready, options.rounds, outputs)
        told = {name: worker.told for name, worker in ready.items()}
    mean = _mean_tokens(tokens, references)
    found = {}
    for name, output in outputs.items():
        texts = _texts(json.loads(output.read_text(encoding="utf-8")))
        found[name] = Decoding(
            seconds=seconds[name],
            sentences=len(sources),
            tokens=_mean_tokens(tokens, texts),
            reference=mean,
            bleu=_bleu(texts, references),
            parameters=told[name]["parameters"],
        )
    return found


def _decode_in_turns(ready: Mapping[str, Worker], rounds: int, outputs: Mapping[str, Path]) -> dict[str, list[float]]:
    """Seconds of each round; one before them is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(rounds + 1):
        for name, worker in ready.items():
            answer = worker.ask({"output": str(outputs[name])})
            rate = answer["sentences"] / answer["seconds"]
            if number:
                seconds[name].append(answer["seconds"])
            tell(f"{f'round {number} of {rounds}' if number else 'to warm up'}, {name}: {rate:.1f} sentences/s")
    return seconds


def _run_pieces(path: Path) -> TextFrontend:
    """The pieces of a run. Raises SeqkitError where it is no run of a translator with one vocabulary."""
    from seqkit.runs.folder import Run
    from seqkit.runs.load import load_recipe

    frontend = getattr(load_recipe(Run.open(path)), "frontend", None)
    if not getattr(frontend, "joint", False):
        raise SeqkitError(f"--decode-seqkit {path}: not a run of the recipe translation with one joint vocabulary.")
    return cast(TextFrontend, cast(Any, frontend).source)


def _trained(place: Path, tokens: TextFrontend) -> tuple[dict[str, Any], Path]:
    """The configuration and the folder of a trained model. Raises SeqkitError where it does not fit to the pieces."""
    model = (place / "model" if (place / "model").is_dir() else place).resolve()
    for name in ("config.yaml", "trg_vocab.txt"):
        if not (model / name).is_file():
            raise SeqkitError(f"--decode-joeynmt {place}: {name} is not in it.", hint="--train-joeynmt makes one.")
    config: dict[str, Any] = yaml.safe_load((model / "config.yaml").read_text(encoding="utf-8"))
    rows = (model / "trg_vocab.txt").read_text(encoding="utf-8").splitlines()
    if rows[SIGNS + MORE_SIGNS :] != tokens.pieces(range(SIGNS, tokens.vocab_size)):
        raise SeqkitError(
            f"--decode-joeynmt {place}: was trained on other pieces than the run of seqkit.",
            hint="Train both on the same data with the same --vocabulary.",
        )
    for side in ("src", "trg"):
        config["data"][side].pop("voc_file", None)  # the model's folder has it too, wherever that is moved to
    return config, model


def _texts(written: Sequence[str | list[str]]) -> list[str]:
    """Translations as texts; pieces are joined as sentencepiece does."""
    return [
        row if isinstance(row, str) else "".join(row).replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()
        for row in written
    ]


def _mean_tokens(tokens: TextFrontend, texts: Sequence[str]) -> float:
    return sum(len(tokens.encode(text)) for text in texts) / len(texts)


def _bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    from seqkit.heads.bleu import overlap_counts, overlap_scores

    counted = [overlap_counts(text, reference) for text, reference in zip(texts, references, strict=True)]
    return overlap_scores(sum(counted[1:], counted[0]))["bleu"]
