"""Speaks sentences with espeak-ng: a program of its own, not a module of seqkit.

espeak-ng is under the GNU General Public License, seqkit under another one. So its library is loaded here and nowhere
else, in a process that imports nothing but the standard library and shares nothing with seqkit but two pipes:

    python espeak_worker.py LIBRARY DATA_FOLDER < jobs > sounds

A job is a line of JSON: "text", "voice" (as "en-us+f3": an accent and a variant), "seed" (of the voice's own noise),
and any of "rate" (words a minute), "pitch", "range" (0 to 100) and "gap" (between words, in 10 ms at usual speed).
The answer is the sample rate in Hz as a little-endian 32-bit number, and for each job such a number of bytes and so
many bytes of 16-bit samples, mono, little-endian. On a fault the last line on stderr says what it was, and the exit
code is 1.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

_SYNCHRONOUS = 2  # espeak_Synth returns when the sound is made, and plays nothing
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_BY_CHARACTER = 1
_PARAMETERS = {"rate": 1, "pitch": 3, "range": 4, "gap": 7}

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Fault(Exception):  # noqa: N818 (a sentence for stderr)
    """What espeak-ng could not do."""


class Speaker:
    """espeak-ng's library, ready to speak."""

    def __init__(self, library: str, data: str) -> None:
        self._variants = Path(data) / "voices" / "!v"
        try:
            self._espeak = ctypes.CDLL(library)
        except OSError as error:
            raise Fault(f"the library cannot be loaded: {error}") from error
        self._espeak.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        self._espeak.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        ]
        self.sample_rate: int = self._espeak.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT)
        """Hz."""
        if self.sample_rate <= 0:
            raise Fault(f"there are no voices in {data}")
        self._sound = bytearray()
        self._callback = _Callback(self._collect)  # held, for espeak-ng only borrows it
        self._espeak.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._sound += ctypes.string_at(samples, 2 * count)
        return 0

    def speak(self, job: dict[str, Any]) -> bytes:
        """The 16-bit samples of a job. Raises Fault for a voice that is not there."""
        self._choose(job["voice"])
        for name, number in _PARAMETERS.items():
            if name in job:
                self._check(self._espeak.espeak_SetParameter(number, int(job[name]), 0), f"{name} {job[name]}")
        self._espeak.espeak_ng_SetRandSeed(int(job["seed"]))
        self._sound.clear()
        text = job["text"].encode() + b"\0"
        made = self._espeak.espeak_Synth(text, len(text), 0, _BY_CHARACTER, 0, _UTF8, None, None)
        self._check(made, f"the text '{job['text']}'")
        self._check(self._espeak.espeak_Synchronize(), f"the text '{job['text']}'")
        return bytes(self._sound)

    def _choose(self, voice: str) -> None:
        # espeak-ng leaves out a variant that it does not find, without a word.
        variant = voice.partition("+")[2]
        if variant and not (self._variants / variant).is_file():
            raise Fault(f"there is no voice '{voice}': no variant '{variant}'")
        self._check(self._espeak.espeak_SetVoiceByName(voice.encode()), f"there is no voice '{voice}'")

    def _check(self, status: int, what: str) -> None:
        if status != 0:
            raise Fault(f"{what} (status {status})")


def work(library: str, data: str, jobs: BinaryIO, sounds: BinaryIO) -> None:
    """Speak all jobs in turn."""
    speaker = Speaker(library, data)
    sounds.write(struct.pack("<I", speaker.sample_rate))
    for line in jobs:
        sound = speaker.speak(json.loads(line))
        sounds.write(struct.pack("<I", len(sound)) + sound)
    sounds.flush()


def main() -> int:
    """Run the program; returns its exit code."""
    try:
        work(sys.argv[1], sys.argv[2], sys.stdin.buffer, sys.stdout.buffer)
    except Fault as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
