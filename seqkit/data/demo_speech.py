"""Spoken numbers in English, by many voices: an honest small task for the demo of speech to text.

A small grammar draws them from a fixed seed: numbers ("TWO HUNDRED AND FIVE") and digits one by one ("FOUR OH NINE
SEVEN"), of one to five words. espeak-ng speaks them, offline: an accent with a variant (the shape of the throat, so to
say) is a voice, and speed, pitch and pauses are drawn for each utterance, loudness and noise too. Each is a file of one
of four codecs.

The variants of validation are not those of training, and those of test are others again: both ask for unknown voices.
Numbers of three words and more are in one part only.

The files are made once and kept in the cache. espeak-ng is GPL, and therefore runs as a program of its own
(see `seqkit.data.espeak`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from seqkit.data.embedded import cache_folder
from seqkit.data.espeak import Job, Voices, find_voices, speak
from seqkit.data.making import Draws, is_whole, make_folder
from seqkit.errors import DataError
from seqkit.media.resample import Resampler
from seqkit.media.write import write_audio
from seqkit.reporting.progress import counting

SIZES = {"train": 1500, "validation": 200, "test": 200}
SAMPLE_RATE = 16_000
"""Hz; a codec that does not know it takes the next higher one."""
ACCENTS = (*("en", "en-us", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us-nyc"),)
# Those that sound alike (klatt2 and klatt3, Reed and adam) are in one part.
VARIANTS = {
    "train": (
        *("m1", "m3", "m4", "m5", "m6", "m8", "f1", "f3", "f4", "Alex", "Alicia", "Andy", "Annie", "Diogo", "Gene"),
        *("Mario", "Michael", "Nguyen", "Reed", "adam", "announcer", "aunty", "grandma", "grandpa", "klatt2"),
        *("klatt3", "marcelo", "max", "miguel", "norbert", "pablo", "shelby"),
    ),
    "validation": ("m7", "f2", "Mike", "belinda", "boris", "travis"),
    "test": ("m2", "f5", "Denis", "quincy", "steph", "rob"),
}
_CODECS = (".opus", ".mp3", ".flac", ".m4a")
_VERSION = 1  # of what is done to a sound; the plan has a digest of its own
_SEED = 1997
_BATCH = 200  # utterances that one process speaks
_WRITERS = 8

_UNITS = (
    *("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN", "TWELVE"),
    *("THIRTEEN", "FOURTEEN", "FIFTEEN", "SIXTEEN", "SEVENTEEN", "EIGHTEEN", "NINETEEN"),
)
_TENS = ("TWENTY", "THIRTY", "FORTY", "FIFTY", "SIXTY", "SEVENTY", "EIGHTY", "NINETY")
_SHARES = {0: "validation", 1: "test"}  # of ten; the rest is training's


@dataclass(frozen=True)
class _Utterance:
    """What is said, and how it sounds."""

    file: str
    """Its place in the folder."""
    text: str
    voice: str
    rate: int
    """Words a minute."""
    pitch: int
    """0 to 100."""
    range: int
    """How much the pitch moves, 0 to 100."""
    gap: int
    """Pause between words, in 10 ms at usual speed."""
    seed: int
    before: float
    """Silence, in seconds."""
    after: float
    peak: float
    """The loudest sample, 0 to 1."""
    noise: float | None
    """Of white noise, in dB below the speech; None for none."""


def demo_speech(sizes: Mapping[str, int] = SIZES) -> dict[str, list[dict[str, str]]]:
    """The corpus: {part: rows}, each row with "audio" (path of a file), "text" (words in capitals) and "speaker".

    Parts: train, validation and test, as many utterances as `sizes` says; the first n of a part are always the same.
    The files are made at the first call, in the cache, and stay there. Raises DataError where they have to be made and
    the package with the voices is not installed, or cannot speak; RunError and MediaError where the disk cannot hold
    them.
    """
    plan = {part: _plan(part, size) for part, size in sizes.items()}
    described = json.dumps([_VERSION, {part: [asdict(said) for said in spoken] for part, spoken in plan.items()}])
    folder = cache_folder() / f"demo-speech-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    if not is_whole(folder, [said.file for spoken in plan.values() for said in spoken]):
        _make(folder, list(plan.values()))
    return {
        part: [{"audio": str(folder / said.file), "text": said.text, "speaker": said.voice} for said in spoken]
        for part, spoken in plan.items()
    }


# What is said --------------------------------------------------------------------------------------------------------


def _plan(part: str, size: int) -> list[_Utterance]:
    draws = _Draws(f"{_SEED} {part}")
    return [
        _Utterance(
            file=f"{part}/{number:05d}{_CODECS[number % len(_CODECS)]}",
            text=draws.text(part),
            voice=f"{draws.pick(ACCENTS)}+{draws.pick(VARIANTS[part])}",
            rate=draws.whole(100, 241),
            pitch=draws.whole(25, 76),
            range=draws.whole(20, 81),
            gap=draws.whole(0, 4),
            seed=draws.whole(1, 1 << 30),
            before=draws.real(0.03, 0.3),
            after=draws.real(0.05, 0.3),
            peak=draws.real(0.15, 0.95),
            noise=draws.real(15.0, 35.0) if draws.whole(0, 3) == 0 else None,
        )
        for number in range(size)
    ]


class _Draws(Draws):
    """Draws what is said."""

    def text(self, part: str) -> str:
        """One to five words that may be in a part."""
        kinds: list[Callable[[], list[str]]] = [self._below_hundred, self._hundreds, self._thousands, self._digits]
        length = self.whole(1, 6)  # first of all, so that it is drawn alike in all parts
        while True:
            words = self.pick(kinds)()
            text = " ".join(words)
            if len(words) == length and (length < 3 or _part_of(text) == part):
                return text

    def _below_hundred(self) -> list[str]:
        return _small(self.whole(0, 100))

    def _hundreds(self) -> list[str]:
        rest = _small(self.whole(1, 100)) if self.whole(0, 6) else []
        return [_UNITS[self.whole(1, 10)], "HUNDRED", *(["AND"] if rest and self.whole(0, 2) else []), *rest]

    def _thousands(self) -> list[str]:
        rest = self.pick((lambda: [], lambda: ["AND", *self._below_hundred()], self._hundreds))()
        return [*_small(self.whole(1, 100)), "THOUSAND", *rest]

    def _digits(self) -> list[str]:
        nought = self.pick(("OH", "ZERO"))
        digits = [self.whole(0, 10) for _ in range(self.whole(2, 6))]
        return [_UNITS[digit] if digit else nought for digit in digits]


def _small(number: int) -> list[str]:
    """The words of a number below 100."""
    if number < 20:
        return [_UNITS[number]]
    tens, units = divmod(number, 10)
    return [_TENS[tens - 2], *([_UNITS[units]] if units else [])]


def _part_of(text: str) -> str:
    """The part that a text belongs to, drawn by its hash, which is the same everywhere."""
    return _SHARES.get(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 10, "train")


# How it sounds -------------------------------------------------------------------------------------------------------


def _make(folder: Path, parts: Sequence[Sequence[_Utterance]]) -> None:
    """Make the files of all parts."""
    voices = find_voices()
    console = Console(stderr=True)
    begun = time.monotonic()
    seconds: list[float] = []
    files = [said.file for part in parts for said in part]
    make_folder(folder, files, lambda temporary: seconds.extend(_fill(temporary, parts, voices, console)))
    console.print(
        f"Made the demo corpus, {len(files):,} spoken numbers ({sum(seconds) / 60:.0f} minutes), "
        f"in {time.monotonic() - begun:.0f} s: {folder}",
        soft_wrap=True,
        highlight=False,
    )


def _fill(folder: Path, parts: Sequence[Sequence[_Utterance]], voices: Voices, console: Console) -> list[float]:
    """Write all files; returns how many seconds of sound each has."""
    seconds: list[float] = []
    with counting(console, "Speaking numbers for the demo") as progress:
        for batch in _batches(parts):
            rate, sounds = speak([_job(said) for said in batch], voices)
            # Each file waits for the disk until it is safe there: several wait together.
            with ThreadPoolExecutor(_WRITERS) as pool:
                for written in pool.map(partial(_write, folder, rate), batch, sounds):
                    seconds.append(written)
                    progress(len(seconds), sum(map(len, parts)))
    return seconds


def _batches(parts: Sequence[Sequence[_Utterance]]) -> Iterator[Sequence[_Utterance]]:
    """What one process speaks, of one part: how espeak-ng says a thing hangs a little on what it has said before."""
    for part in parts:
        for begin in range(0, len(part), _BATCH):
            yield part[begin : begin + _BATCH]


def _job(said: _Utterance) -> Job:
    """What the program is asked for."""
    return {
        **{"text": said.text.lower(), "voice": said.voice, "seed": said.seed},
        **{"rate": said.rate, "pitch": said.pitch, "range": said.range, "gap": said.gap},
    }


def _write(folder: Path, rate: int, said: _Utterance, sound: np.ndarray) -> float:
    """Write an utterance, of the voice's samples (N,) int16 at `rate` Hz; returns its seconds."""
    if not sound.any():
        raise DataError(f"espeak-ng says nothing for '{said.text}' with the voice '{said.voice}'.")
    samples = _recorded(said, sound, rate)
    write_audio(folder / said.file, samples, SAMPLE_RATE)
    return len(samples) / SAMPLE_RATE


def _recorded(said: _Utterance, sound: np.ndarray, rate: int) -> np.ndarray:
    """Samples (N,) as a microphone would have them: at `SAMPLE_RATE`, with silence around them, with noise."""
    resampler = Resampler(rate, SAMPLE_RATE)
    speech = np.concatenate([resampler.push(sound.astype(np.float32) / 32768), resampler.flush()])
    speech *= said.peak / np.abs(speech).max()
    before, after = (round(seconds * SAMPLE_RATE) for seconds in (said.before, said.after))
    samples = np.pad(speech, (before, after))
    if said.noise is not None:
        level = np.sqrt(np.mean(speech**2)) * 10 ** (-said.noise / 20)
        # RandomState's numbers are the same in every version of NumPy.
        samples += level * np.random.RandomState(said.seed).standard_normal(len(samples))
    clipped: np.ndarray = np.clip(samples, -1.0, 1.0).astype(np.float32)
    return clipped
