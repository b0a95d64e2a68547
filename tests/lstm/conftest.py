"""What tests of the LSTM share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seqkit.lstm import kernels
from seqkit.lstm.native import library
from seqkit.lstm.native.sources import INSTRUCTION_SETS


@pytest.fixture(params=INSTRUCTION_SETS, scope="module")
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let the kernel `native` run on each instruction set that is compiled and that this CPU has."""
    name: str = request.param
    reason = kernels.available("native")
    if reason is not None:
        pytest.skip(f"kernel native: {reason}")
    if not library.load().calls.seqkit_cpu_runs(name.encode()):
        pytest.skip("this CPU does not run it")
    if name in library.left_out():
        pytest.skip("not built here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(library.VARIABLE, name)
        patch.setattr(library, "found", None)
        assert library.load().instruction_set == name
        yield name
