"""The demo corpus of speech: the same sounds each time, unknown voices in the held-out parts, and faults that speak."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.data import demo_speech as speech
from seqkit.data import espeak, espeak_worker
from seqkit.data.espeak import Job, Voices, find_voices, speak
from seqkit.errors import DataError, RunError
from seqkit.media.audio import probe_audio, read_audio

pytest.importorskip("espeakng_loader")

Corpus = Mapping[str, Sequence[Mapping[str, str]]]

SMALL = {"train": 12, "validation": 8, "test": 8}
TINY = {"train": 2, "validation": 1}
UNITS = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN", "TWELVE"]
UNITS += ["THIRTEEN", "FOURTEEN", "FIFTEEN", "SIXTEEN", "SEVENTEEN", "EIGHTEEN", "NINETEEN"]
TENS = ["TWENTY", "THIRTY", "FORTY", "FIFTY", "SIXTY", "SEVENTY", "EIGHTY", "NINETY"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the corpora are made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seqkit"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A small corpus that only reading tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("shared")))
        return speech.demo_speech(SMALL)


@pytest.fixture(scope="module")
def planned() -> dict[str, list[Any]]:
    """What the whole corpus would say."""
    return {part: speech._plan(part, size) for part, size in speech.SIZES.items()}


def _samples(corpus: Corpus) -> dict[str, list[np.ndarray]]:
    return {part: [read_audio(row["audio"]).samples for row in rows] for part, rows in corpus.items()}


# What is in it -------------------------------------------------------------------------------------------------------


def test_rows_name_files_texts_and_voices(small: Corpus) -> None:
    assert {part: len(rows) for part, rows in small.items()} == SMALL
    for row in (row for rows in small.values() for row in rows):
        assert set(row) == {"audio", "text", "speaker"}
        assert Path(row["audio"]).is_absolute()
        assert Path(row["audio"]).is_file()


def test_every_file_is_a_sound_of_one_of_four_codecs(small: Corpus) -> None:
    codecs = set()
    for row in (row for rows in small.values() for row in rows):
        sound = read_audio(row["audio"], sample_rate=16_000)
        assert sound.warnings == ()
        words = len(row["text"].split())
        assert 0.12 * words < sound.seconds < 1.2 + 1.2 * words, row
        assert 0.1 < np.abs(sound.samples).max() < 1.1, row
        assert 0.01 < np.sqrt(np.mean(sound.samples**2)) < 0.4, row
        codecs.add(probe_audio(row["audio"]).codec)
    assert codecs == {"opus", "mp3float", "flac", "aac"}


def test_more_words_and_a_slower_voice_last_longer() -> None:
    usual: Job = {"text": "six", "voice": "en-us+m1", "seed": 1, "rate": 170, "pitch": 50, "range": 50, "gap": 0}
    longer: Job = {**usual, "text": "six nine two"}
    jobs: list[Job] = [usual, longer, {**longer, "rate": 100}, {**longer, "voice": "en-us+f1"}]
    hertz, sounds = speak(jobs, find_voices())
    assert hertz == 22050
    word, words, slow, woman = sounds
    assert 1.6 * len(word) < len(words)
    assert 1.3 * len(words) < len(slow)
    assert not np.array_equal(words, woman)


def test_loudness_silence_and_noise_are_as_planned() -> None:
    one = vars(speech._plan("train", 1)[0])
    tone = (8000 * np.sin(np.arange(22050) * 0.1)).astype(np.int16)
    planned = {"before": 0.25, "after": 0.125, "peak": 0.5}
    clean = speech._recorded(speech._Utterance(**(one | planned | {"noise": None})), tone, 22050)
    assert len(clean) == 16_000 + 4000 + 2000
    assert np.abs(clean).max() == pytest.approx(0.5)
    assert not clean[:4000].any()
    assert not clean[-2000:].any()
    noisy = speech._recorded(speech._Utterance(**(one | planned | {"noise": 20.0})), tone, 22050)
    speech_power, noise_power = np.mean(clean[4000:-2000] ** 2), np.mean((noisy - clean) ** 2)
    assert 10 * np.log10(speech_power / noise_power) == pytest.approx(20.0, abs=0.3)


def test_texts_are_numbers_of_one_to_five_words(planned: dict[str, list[Any]]) -> None:
    small = rf"(?:{'|'.join(UNITS)}|(?:{'|'.join(TENS)})(?: (?:{'|'.join(UNITS[1:10])}))?)"
    hundreds = rf"(?:{'|'.join(UNITS[1:10])}) HUNDRED(?: (?:AND )?{small})?"
    thousands = rf"{small} THOUSAND(?: AND {small}| {hundreds})?"
    digit = rf"(?:OH|{'|'.join(UNITS[:10])})"
    number = re.compile(rf"{small}|{hundreds}|{thousands}|{digit}(?: {digit}){{1,4}}")
    texts = [said.text for part in planned.values() for said in part]
    assert [text for text in texts if not number.fullmatch(text)] == []
    assert {len(text.split()) for text in texts} == {1, 2, 3, 4, 5}
    assert {word for text in texts for word in text.split()} == {*UNITS, *TENS, "OH", "AND", "HUNDRED", "THOUSAND"}


def test_held_out_parts_have_voices_and_longer_numbers_of_their_own(planned: dict[str, list[Any]]) -> None:
    for one, other in [("train", "validation"), ("train", "test"), ("validation", "test")]:
        variants = [{said.voice.partition("+")[2] for said in planned[part]} for part in (one, other)]
        assert all(variants)
        assert not variants[0] & variants[1]
        texts = [{said.text for said in planned[part] if len(said.text.split()) > 2} for part in (one, other)]
        assert all(texts)
        assert not texts[0] & texts[1]


def test_each_voice_and_each_accent_can_be_spoken() -> None:
    voices = [f"en+{variant}" for variants in speech.VARIANTS.values() for variant in variants]
    voices += [f"{accent}+m1" for accent in speech.ACCENTS]
    jobs: list[Job] = [{"text": "nine", "voice": voice, "seed": 1, "rate": 240} for voice in voices]
    sounds = speak(jobs, find_voices())[1]
    assert min(np.abs(sound.astype(int)).max() for sound in sounds) > 1000


# How it is made ------------------------------------------------------------------------------------------------------


def test_it_is_the_same_each_time_and_a_smaller_one_is_its_beginning(small: Corpus) -> None:
    fewer = {"test": 5, "train": 3}
    again = _samples(speech.demo_speech(fewer))
    before = _samples({part: small[part][:size] for part, size in fewer.items()})
    for part, size in fewer.items():
        assert len(again[part]) == size
        for one, other in zip(again[part], before[part], strict=True):
            np.testing.assert_array_equal(one, other)


def test_it_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = speech.demo_speech(TINY)
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(r"Made the demo corpus, 3 spoken numbers .*demo-speech-\w{16}$", said.err.strip())
    monkeypatch.setattr(speech, "find_voices", lambda: pytest.fail("made again"))
    assert speech.demo_speech(TINY) == first
    assert capsys.readouterr().err == ""
    assert [path.name for path in cache.iterdir()] == [Path(first["train"][0]["audio"]).parents[1].name]


def test_a_folder_that_lacks_a_file_is_made_again(cache: Path) -> None:
    rows = speech.demo_speech(TINY)
    lost = Path(rows["train"][1]["audio"])
    lost.unlink()
    assert speech.demo_speech(TINY) == rows
    assert lost.is_file()
    assert len(list(cache.iterdir())) == 1


def test_what_a_killed_process_left_is_removed_when_it_is_old(cache: Path) -> None:
    folder = Path(speech.demo_speech(TINY)["train"][0]["audio"]).parents[1]
    shutil.rmtree(folder)
    old, new = (cache / f".partial-{folder.name}-{name}" for name in ("old", "new"))
    for left, age in ((old, 48 * 3600.0), (new, 60.0)):
        left.mkdir()
        os.utime(left, (time.time() - age,) * 2)
    speech.demo_speech(TINY)
    assert set(cache.iterdir()) == {folder, new}


def _maker(barrier: Any, queue: Any) -> None:
    barrier.wait()
    queue.put(speech.demo_speech(TINY))


def test_two_processes_can_make_it_at_once(cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    makers = [context.Process(target=_maker, args=(barrier, queue)) for _ in range(2)]
    for maker in makers:
        maker.start()
    first, second = queue.get(timeout=60), queue.get(timeout=60)
    for maker in makers:
        maker.join(60)
        assert maker.exitcode == 0
    assert first == second
    assert all(read_audio(row["audio"]).seconds > 0.1 for rows in first.values() for row in rows)
    assert len(list(cache.iterdir())) == 1


def test_an_interrupt_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(speech, "write_audio", interrupted)
    with pytest.raises(KeyboardInterrupt):
        speech.demo_speech(TINY)
    assert list(cache.iterdir()) == []


# Faults --------------------------------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_what_to_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match=r"needs the package espeakng-loader.*pip install 'seqkit\[demo\]'"):
        speech.demo_speech(TINY)
    assert not cache.exists()


@pytest.mark.parametrize("voice", ["en-us+nobody", "xx-yy+m1"])
def test_a_voice_that_is_not_there_is_named(voice: str) -> None:
    usual: Job = {"text": "six", "voice": "en-us+m1", "seed": 1}
    with pytest.raises(DataError, match=rf"there is no voice '{re.escape(voice)}'"):
        speak([usual, {**usual, "voice": voice}], find_voices())


def test_a_library_or_voices_that_are_not_there_are_named(tmp_path: Path) -> None:
    there = find_voices()
    with pytest.raises(DataError, match="espeak-ng cannot speak: the library cannot be loaded"):
        speak([], Voices(f"{there.library}.not", there.data))
    with pytest.raises(DataError, match="espeak-ng cannot speak: there are no voices in"):
        speak([], Voices(there.library, str(tmp_path)))


def test_a_sound_without_speech_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "speak", lambda jobs, voices: (22050, [np.zeros(9, np.int16) for _ in jobs]))
    with pytest.raises(DataError, match="espeak-ng says nothing for 'SIX THREE' with the voice"):
        speech.demo_speech(TINY)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("import os; os.kill(os.getpid(), 11)", "it ended with signal 11"),
        ("import sys; sys.exit(3)", "it ended with exit code 3"),
        (
            "import sys; sys.stdout.buffer.write(b'V\\0\\0\\0' + b'\\2\\0\\0\\0xx' + b'\\4\\0\\0\\0xx')",
            "1 of 2 sounds came",
        ),
        ("import time; time.sleep(60)", "it did not answer within 0.3 s"),
    ],
    ids=["killed", "failed", "cut", "hung"],
)
def test_a_program_that_dies_or_hangs_is_an_error(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, fault: str
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(program)
    monkeypatch.setattr(espeak_worker, "__file__", str(worker))
    monkeypatch.setattr(espeak, "_PATIENCE", 0.3 if "sleep" in program else 30.0)
    with pytest.raises(DataError, match=f"espeak-ng cannot speak: {fault}"):
        speech.demo_speech({"train": 2})
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match="cannot be written"):
        speech.demo_speech(TINY)


def test_the_program_knows_nothing_of_seqkit() -> None:
    listed = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", listed, espeak_worker.__file__]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "ctypes" in modules
    assert {name.partition(".")[0] for name in modules} - {"__main__"} <= set(sys.stdlib_module_names)
