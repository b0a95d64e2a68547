"""Where the C++ sources and the compiled libraries lie, and what ties one to the other.

`setup.py` reads this file too, while neither torch nor seqkit is installed: it imports the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE / "src"
LIBRARIES = HERE / "lib"
INSTRUCTION_SETS = ("avx512", "avx2", "portable")  # the best first


def source_hash(folder: Path = SOURCES) -> str:
    """A hash of all sources' names and contents."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".h", ".cpp"):
            content = file.read_bytes()
            digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:32]


def library_file(instruction_set: str) -> str:
    """The file name of one library."""
    return f"lstm_{instruction_set}{'.dylib' if sys.platform == 'darwin' else '.so'}"


def file_hash(path: Path) -> str:
    """A hash of a library: loading one that is cut short would end the process, so it is compared before."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


@dataclass(frozen=True)
class Record:
    """What an install compiled, kept beside the libraries.

    Args:
        built: the hash of each library's file, by instruction set, the best first.
        left_out: the reason, for each instruction set that could not be compiled.
    """

    built: dict[str, str]
    left_out: dict[str, str]

    def write(self, folder: Path) -> None:
        """Put it into the folder of the libraries."""
        (folder / "built.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """The record that lies there, if one does.

        Raises:
            ValueError: it is damaged.
            OSError: it cannot be read.
        """
        file = folder / "built.json"
        if not file.exists():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return cls(dict(content["built"]), dict(content["left_out"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} holds no record of an install") from error
