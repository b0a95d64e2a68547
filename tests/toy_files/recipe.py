"""The toy recipe for inputs that are files: the numbers stand in a file of their own. A run of the toy serves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from seqkit.errors import InputError
from seqkit.recipe import Answer, DecodeConfig
from tests.toy.recipe import Toy, ToyDecode


class FilesDecode(ToyDecode):
    """Options."""

    form: Literal["plain", "empty", "table"] = "plain"
    """What the answer's text is."""
    doubt: bool = False
    """Call a positive sum a problem of the input."""
    refuse: bool = False
    """Have no answer for a positive sum."""


class ToyFiles(Toy):
    """The sign of the sum of a file's numbers."""

    options_type = FilesDecode
    reads = "files"
    suffixes = (".num",)
    decode_chunk = 2

    def example(self, source: str | Path) -> Mapping[str, Any]:
        """The file's numbers."""
        assert isinstance(source, Path)
        return {"text": source.read_text()}

    def answer(self, prediction: float, options: DecodeConfig) -> Answer:
        """The sign; as a table of two lines; or nothing."""
        assert isinstance(options, FilesDecode)
        if options.refuse and prediction > 0.5:
            raise InputError("far too good")
        sign = super().answer(prediction, options)
        text = {"plain": sign.text, "empty": "", "table": f"sign\n{sign.text}\n"}[options.form]
        problem = "too good" if options.doubt and prediction > 0.5 else None
        return Answer(text, sign.fields, ".tsv" if options.form == "table" else ".txt", problem)
