"""Folders in LibriSpeech's layout (Panayotov et al. 2015): `*.trans.txt` files beside the sounds that they name.

A line of such a file is an utterance's id, a space and its words; the sound is `ID.flac`, or another format, in the
same folder. What stands in front of the id's first hyphen is the speaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqkit.data.readers import Table, read_lines
from seqkit.errors import DataError

ENDING = ".trans.txt"
SOUNDS = (".flac", ".wav", ".opus", ".ogg", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".mkv", ".mov")
"""Endings of the files that an utterance's sound can have, the best ones first."""


def read_transcripts(folder: Path, suffixes: Sequence[str] = SOUNDS) -> Table | None:
    """The utterances below a folder, with columns audio, text and speaker; None where it holds no transcripts.

    An utterance's sound has one of the `suffixes` (lower case, with the dot); of several files the first of these
    counts. A sound that is missing keeps the name that it should have: who opens it says so. Raises DataError for a
    line without words, and for files that cannot be read.
    """
    # macOS packs files that begin with "._" beside the others; they hold no text.
    files = sorted(path for path in folder.rglob(f"*{ENDING}") if not path.name.startswith("."))
    if not files:
        return None
    columns: dict[str, list[str]] = {"audio": [], "text": [], "speaker": []}
    places: list[str] = []
    for path in files:
        sounds = _sounds(path.parent, suffixes)
        for line, text in read_lines(path):
            if not text.strip():
                continue
            name, *words = text.split(maxsplit=1)
            if not words:
                raise DataError(
                    f"{path}:{line}: there are no words after '{name}'.", hint="A line is an id, a space and the words."
                )
            columns["audio"].append(str(sounds.get(name, path.parent / f"{name}.flac").absolute()))
            columns["text"].append(words[0].strip())
            columns["speaker"].append(name.partition("-")[0])
            places.append(f"{path}:{line}")
    if not places:
        raise DataError(f"{folder}: its {len(files)} {ENDING} files hold no utterance.", hint="Give another folder.")
    return Table(columns, places, {})


def _sounds(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The sound files in a folder by their names without the ending."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    # The best ones last: they take the places of the others.
    found.sort(key=lambda path: suffixes.index(path.suffix.lower()), reverse=True)
    return {path.stem: path for path in found}
