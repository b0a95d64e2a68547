"""ARPA files: n-gram language models as text, the form that SRILM, KenLM and other toolkits share.

A head tells how many n-grams there are of each length; a section for each length has an n-gram a line: its log10
probability, its words, and its log10 back-off weight, which is 0 where it is missing. What is not so is an error.
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from seqkit.data.readers import read_lines
from seqkit.errors import DataError
from seqkit.heads.kneser_ney import Gram
from seqkit.storage import write_bytes

_HEAD, _END = "\\data\\", "\\end\\"
_COUNT = re.compile(r"ngram[ \t]+(\d+)[ \t]*=[ \t]*(\d+)")
_fields = re.compile(r"[^ \t]+").findall  # words may have other spaces of Unicode

Line = tuple[int, str]


def read_arpa(path: Path) -> tuple[dict[Gram, float], dict[Gram, float]]:
    """The log10 probabilities of a file's n-grams, and their log10 back-off weights where these are not 0.

    A file whose name ends in .gz is unpacked. Raises DataError, with the line, for what is no ARPA file.
    """
    lines = ((number, text.strip(" \t\r")) for number, text in read_lines(path))
    filled = (line for line in lines if line[1])
    counts, header = _read_counts(path, filled)
    log_probs: dict[Gram, float] = {}
    back_offs: dict[Gram, float] = {}
    for order, count in enumerate(counts, start=1):
        expected = f"\\{order}-grams:"
        if header[1] != expected:
            raise DataError(f"{path}:{header[0]}: the section '{expected}' must begin here, not '{header[1][:40]}'.")
        before = len(log_probs)
        header = _read_section(path, filled, order, order == len(counts), log_probs, back_offs)
        if len(log_probs) - before != count:
            raise DataError(
                f"{path}:{header[0]}: the section '{expected}' ends here with {len(log_probs) - before} n-grams, but "
                f"the head of the file says {count}."
            )
    if header[1] != _END:
        raise DataError(f"{path}:{header[0]}: '{_END}' must stand here, not '{header[1][:40]}'.")
    return log_probs, back_offs


def _read_counts(path: Path, lines: Iterator[Line]) -> tuple[list[int], Line]:
    """How many n-grams the head tells of each length, and the line that ends the head."""
    for _, text in lines:
        if text == _HEAD:
            break
    else:
        raise DataError(f"{path}: no line '{_HEAD}'.", hint="Give a language model in ARPA form, as text or .gz.")
    counts: list[int] = []
    for number, text in lines:
        if text.startswith("\\"):
            if not counts:
                raise DataError(f"{path}:{number}: no line 'ngram 1=...' under '{_HEAD}'.")
            return counts, (number, text)
        match = _COUNT.fullmatch(text)
        if match is None or int(match[1]) != len(counts) + 1:
            raise DataError(f"{path}:{number}: 'ngram {len(counts) + 1}=...' must stand here, not '{text[:40]}'.")
        counts.append(int(match[2]))
    raise DataError(f"{path}: ends without '{_END}'.", hint="The file was cut off; copy or make it again.")


def _read_section(
    path: Path,
    lines: Iterator[Line],
    order: int,
    last: bool,
    log_probs: dict[Gram, float],
    back_offs: dict[Gram, float],
) -> Line:
    """Read the n-grams of one length; returns the line that ends them."""
    for number, text in lines:
        if text.startswith("\\"):
            return number, text
        fields = _fields(text)
        if len(fields) not in (order + 1, order + 2):
            raise DataError(
                f"{path}:{number}: a log-probability, {order} word{'s' * (order > 1)} and at most a back-off weight "
                f"must stand here; found {len(fields)} fields."
            )
        gram = tuple(fields[1 : order + 1])
        if gram in log_probs:
            raise DataError(f"{path}:{number}: the n-gram '{' '.join(gram)}' stands here again.")
        for word in gram if order > 1 else ():
            if (word,) not in log_probs:
                raise DataError(f"{path}:{number}: the word '{word}' is not among the 1-grams.")
        log_prob = _number(path, number, fields[0])
        if log_prob > 0:
            raise DataError(f"{path}:{number}: the log-probability {fields[0]} is above 0.")
        log_probs[gram] = log_prob
        back_off = _number(path, number, fields[-1]) if len(fields) == order + 2 else 0.0
        if back_off and last:
            raise DataError(f"{path}:{number}: n-grams of the last section have no back-off weight, but for 0.")
        if back_off:
            back_offs[gram] = back_off
    raise DataError(f"{path}: ends without '{_END}'.", hint="The file was cut off; copy or make it again.")


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}:{line}: '{text[:40]}' is no number.")
    return value


def write_arpa(path: Path, log_probs: Mapping[Gram, float], back_offs: Mapping[Gram, float]) -> None:
    """Write what `read_arpa` reads, digit for digit; packed where the name ends in .gz. The same model, the same file.

    Raises RunError where the disk refuses.
    """
    order = max(map(len, log_probs))
    sections = [sorted(gram for gram in log_probs if len(gram) == length) for length in range(1, order + 1)]
    lines = [_HEAD, *(f"ngram {length}={len(grams)}" for length, grams in enumerate(sections, start=1))]
    for length, grams in enumerate(sections, start=1):
        lines += ["", f"\\{length}-grams:"]
        for gram in grams:
            back_off = f"\t{back_offs[gram]!r}" if back_offs.get(gram) else ""
            lines.append(f"{log_probs[gram]!r}\t{' '.join(gram)}{back_off}")
    content = "\n".join([*lines, "", _END, ""]).encode()
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)
