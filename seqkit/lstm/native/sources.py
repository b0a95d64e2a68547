"""Where the C++ sources and the compiled libraries lie, and the hash that ties one to the other.

`setup.py` reads this file too, while neither torch nor seqkit is installed: it imports the standard library only.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE / "src"
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
