"""The speech recipe: it learns to read tones, a stream is the whole file, and what cannot be used is named."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import torch
from rich.console import Console

from seqkit.cli.train import configure
from seqkit.data.items import Broken
from seqkit.decoding import Decoder, load_run
from seqkit.errors import ConfigError, InputError
from seqkit.heads.ctc import steps_needed
from seqkit.heads.sound_stream import LabelStream
from seqkit.heads.word_errors import error_counts, error_rates
from seqkit.recipe import Recipe
from seqkit.storage import read_json
from seqkit.training.dry_run import dry_run
from tests import tones


def _recipe(manifest: Path, *more: str) -> Any:
    return configure("speech", [*tones.settings(manifest), *more])


@pytest.fixture(scope="module")
def fitted(tones_manifest: Path) -> Recipe[Any]:
    """A recipe with its front-end fitted, before training."""
    recipe = _recipe(tones_manifest, *tones.LIVE)[2]
    recipe.fit(recipe.load_data()["train"])
    return cast(Recipe[Any], recipe)


# Learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["both", "live"])
def test_it_learns_to_read(speech_runs: dict[str, Path], name: str, tmp_path: Path) -> None:
    metrics = read_json(speech_runs[name] / "results.json")["validation"]["metrics"]
    assert metrics["wer"] < 0.05
    assert metrics["loss"] < 0.6
    said = [text for text in tones.texts(40, seed=9) if text not in set(tones.texts(24))][:6]
    files = [tones.write_wav(tmp_path / f"{i}.wav", tones.spoken(text, 100 + i)) for i, text in enumerate(said)]
    answers = load_run(speech_runs[name]).decode([str(file) for file in files])
    assert [answer["text"] for answer in answers] == said


def test_what_a_run_keeps(speech_runs: dict[str, Path]) -> None:
    plots = {path.name for path in (speech_runs["both"] / "plots").iterdir()}
    assert any(name.startswith("confused-words") for name in plots)
    assert (speech_runs["both"] / "frontend" / "language.arpa").is_file()
    assert read_json(speech_runs["both"] / "frontend" / "words.json") == ["AB", "BB", "C", "CAD", "DA"]


def test_loss_of_a_batch_is_the_sum_of_its_rows(fitted: Any) -> None:
    items = fitted.items(fitted.load_data()["train"]).values[:5]
    torch.manual_seed(0)
    model = fitted.build_model().eval()
    together = fitted.loss(model, fitted.collate(items))
    alone = [fitted.loss(model, fitted.collate([item])) for item in items]
    assert float(together.sum.detach()) == pytest.approx(sum(float(one.sum.detach()) for one in alone), rel=1e-5)
    assert int(together.count) == sum(int(one.count) for one in alone) == sum(len(item["ids"]) for item in items)


def test_augmented_items_can_still_be_emitted(tones_manifest: Path) -> None:
    recipe = _recipe(tones_manifest, "augment.speed=0.6", "augment.time_masks=2", "model.subsampling.stride=8")[2]
    recipe.fit(recipe.load_data()["train"])
    for item in recipe.items(recipe.load_data()["train"]).values:
        for seed in range(5):
            varied = recipe.augment(item, np.random.default_rng(seed))
            assert -(-len(varied["frames"]) // 8) >= steps_needed(item["ids"])


# Streams and long sounds ---------------------------------------------------------------------------------------------


class Trickle(io.RawIOBase):
    """Raw sound that comes in chunks of so many bytes."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        chunk, self._data = self._data[: self._size], self._data[self._size :]
        return chunk

    read = read1


def _raw(text: str, seed: int = 50) -> bytes:
    return bytes((np.clip(tones.spoken(text, seed), -1, 1) * 32767).astype("<i2").tobytes())


def _followed(run: Decoder, data: bytes, size: int, **options: Any) -> tuple[list[str], list[str], list[str]]:
    """What is final, what was shown before it, and what was logged."""
    notes: list[str] = []
    chosen = run.options({"stream": True, **options})
    answers = list(run.follow(cast(BinaryIO, Trickle(data, size)), chosen, notes.append))
    return [one.text for one in answers if one.final], [one.text for one in answers if not one.final], notes


@pytest.mark.parametrize("size", [2, 999, 4096, 10**6])
@pytest.mark.parametrize("options", [{}, {"greedy": True}])
def test_a_stream_is_the_whole_file(
    speech_runs: dict[str, Path], tmp_path: Path, size: int, options: dict[str, Any]
) -> None:
    text = "CAD AB DA"
    data = _raw(text)[: 8000 if size == 2 else None]
    path = tmp_path / "whole.wav"
    tones.write_wav(path, np.frombuffer(data, dtype="<i2").astype(np.float32) / 32767)
    run = load_run(speech_runs["live"])
    (expected,) = run.decode([str(path)], **options)
    final, shown, notes = _followed(run, data, size, **options)
    assert " ".join(final) == expected["text"]
    assert size == 10**6 or len(shown) > 3
    assert "s of sound in" in notes[0]


def test_a_long_stream_ends_its_segments(speech_runs: dict[str, Path], tmp_path: Path) -> None:
    said = " ".join(tones.texts(24, seed=3))
    samples = np.concatenate([tones.spoken(part, i) for i, part in enumerate(said.split())] * 2)
    path = tones.write_wav(tmp_path / "long.wav", samples)
    run = load_run(speech_runs["live"])
    (expected,) = run.decode([str(path)])
    data = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    final, _, _ = _followed(run, data, 3000)
    chosen = run.options({"stream": True})
    answers = run.follow(cast(BinaryIO, Trickle(data, 3000)), chosen, lambda note: None)
    next(answers)
    assert not torch.is_inference_mode_enabled()  # between answers, who takes them is in their own mode
    del answers
    assert len(final) > 1
    assert " ".join(final) == expected["text"]
    assert error_rates(error_counts(" ".join([said] * 2), expected["text"]))["wer"] < 0.3


def test_more_than_a_minute_in_windows(
    speech_runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in windows, a sound gives the words that it gives at once, at the same times."""
    said = tones.texts(30, seed=4)
    path = tones.write_wav(tmp_path / "long.wav", np.concatenate([tones.spoken(t, i) for i, t in enumerate(said)]))
    for name in ("both", "live"):
        run = load_run(speech_runs[name])
        (whole,) = run.decode([str(path)])
        module = __import__(type(run.recipe).__module__, fromlist=["WHOLE_SECONDS"])
        with monkeypatch.context() as patch:
            patch.setattr(module, "WHOLE_SECONDS", 2.0)
            patch.setattr("seqkit.heads.listener.WINDOW_SECONDS", 5.0)
            (pieces,) = run.decode([str(path)])
        assert pieces["seconds"] == whole["seconds"]
        if name == "live":
            assert pieces["text"] == whole["text"]
            times = [[(word["start"], word["end"]) for word in one["words"]] for one in (whole, pieces)]
            np.testing.assert_allclose(times[0], times[1], atol=1e-3)
        # Of both directions each window is normalised by itself, which is not quite the same.
        assert error_rates(error_counts(whole["text"], pieces["text"]))["wer"] < 0.15
        assert error_rates(error_counts(" ".join(said), whole["text"]))["wer"] < 0.3


def test_log_probs_of_a_stream(speech_runs: dict[str, Path]) -> None:
    run = load_run(speech_runs["live"])
    recipe, samples = cast(Any, run.recipe), tones.spoken("AB CAD", 7)
    frames = recipe.frontend.normalize(recipe.frontend.frames(samples))
    with torch.inference_mode():
        stream = LabelStream(cast(Any, run.models), recipe.frontend.bank.mels)
        pieces = [stream.push(frames[start : start + 3]) for start in range(0, len(frames), 3)]
        got = np.concatenate([*pieces, stream.finish()])
        batch = recipe.collate([{"frames": recipe.frontend.frames(samples)}])
        expected = run.models[0](batch.frames).data.log_softmax(dim=-1).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_run_of_both_directions_cannot_follow(speech_runs: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="an4-streaming"):
        _followed(load_run(speech_runs["both"]), b"", 100)


@pytest.mark.parametrize("data", [b"", b"\0\0\0"])
def test_a_stream_that_is_empty_or_ends_within_a_sample(speech_runs: dict[str, Path], data: bytes) -> None:
    with pytest.raises(InputError):
        _followed(load_run(speech_runs["live"]), data, 100)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["an4", "an4-streaming"])
@pytest.mark.skipif("SEQKIT_DATA" not in os.environ, reason="SEQKIT_DATA does not name a folder with AN4")
def test_presets_on_real_speech(preset: str) -> None:
    """One batch through everything."""
    recipe = configure(f"speech/{preset}", [])[2]
    assert dry_run(recipe, Console(quiet=True)).startswith("dry run: one step")


# What cannot be used -------------------------------------------------------------------------------------------------


def _broken(fitted: Any, tmp_path: Path, **changed: Any) -> str:
    path = tones.write_wav(tmp_path / "x.wav", tones.spoken("AB"))
    with pytest.raises(Broken) as caught:
        fitted.prepare({"audio": str(path), "text": "AB", **changed})
    return str(caught.value)


def test_broken_examples_say_why(fitted: Any, tmp_path: Path) -> None:
    assert "gone.wav does not exist" in _broken(fitted, tmp_path, audio=str(tmp_path / "gone.wav"))
    assert "empty" in _broken(fitted, tmp_path, text="  ")
    assert "'E' 'é'" in _broken(fitted, tmp_path, text="AB Eé")
    assert "need" in _broken(fitted, tmp_path, text="AB" * 40)
    text = tmp_path / "text.wav"
    text.write_text("not a sound")
    assert "text.wav" in _broken(fitted, tmp_path, audio=str(text))


def test_the_others_of_a_manifest_are_used(tones_manifest: Path, tmp_path: Path) -> None:
    lines = tones_manifest.read_text().splitlines()
    rows = [str(tones_manifest.parent / line) for line in lines[1:9]]
    (tmp_path / "bad.tsv").write_text("\n".join([lines[0], *rows, "gone.wav\tAB\ts1", f"{rows[0].split()[0]}\tXY\ts1"]))
    recipe = _recipe(tones_manifest)[2]
    recipe.fit(recipe.load_data()["train"])
    items = recipe.items(recipe.load_file(tmp_path / "bad.tsv"))
    assert len(items) == 8
    assert len(items.broken) == items.left_out["broken"] == 2
    assert items.broken[0].startswith(f"{tmp_path / 'bad.tsv'}:10: ")
    assert "gone.wav" in items.broken[0]
    assert "'X' 'Y'" in items.broken[1]


def test_too_long_for_training_is_left_out(tones_manifest: Path) -> None:
    recipe = _recipe(tones_manifest, "data.max_seconds=0.5")[2]
    recipe.fit(recipe.load_data()["train"])
    items = recipe.items(recipe.load_data()["train"])
    assert items.left_out["longer than 0.5 s (data.max_seconds)"] == 24 - len(items) > 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [(["tokenizer.kind=word"], "tokenizer.kind"), (["tokenizer.eos=true"], "without an end")],
)
def test_settings_that_do_not_fit(tones_manifest: Path, settings: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        _recipe(tones_manifest, *settings)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
