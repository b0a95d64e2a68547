"""Folders in LibriSpeech's layout (Panayotov et al. 2015): `*.trans.txt` files beside the sounds that they name.

A line of such a file is an utterance's id, a space and its words; the sound is `ID.flac`, or another format, in the
same folder. What stands in front of the id's first hyphen is the speaker.
"""

from __future__ import annotations

from pathlib import Path

from seqkit.data.readers import Table, read_lines
from seqkit.errors import DataError

ENDING = ".trans.txt"


def read_transcripts(folder: Path) -> Table | None:
    """The utterances below a folder, with columns audio, text and speaker; None where it holds no transcripts.

    A sound that is missing keeps the name that it should have: who opens it says so. Raises DataError for a line
    without words, and for files that cannot be read.
    """
    files = sorted(folder.rglob(f"*{ENDING}"))
    if not files:
        return None
    columns: dict[str, list[str]] = {"audio": [], "text": [], "speaker": []}
    places: list[str] = []
    for path in files:
        sounds = {file.stem: file for file in sorted(path.parent.iterdir()) if not file.name.endswith(ENDING)}
        for line, text in read_lines(path):
            if not text.strip():
                continue
            name, _, words = text.strip().partition(" ")
            if not words.strip():
                raise DataError(
                    f"{path}:{line}: there are no words after '{name}'.", hint="A line is an id, a space and the words."
                )
            columns["audio"].append(str(sounds.get(name, path.parent / f"{name}.flac").absolute()))
            columns["text"].append(words.strip())
            columns["speaker"].append(name.partition("-")[0])
            places.append(f"{path}:{line}")
    if not places:
        raise DataError(f"{folder}: its {len(files)} {ENDING} files hold no utterance.", hint="Give another folder.")
    return Table(columns, places, {})
