"""Learning from sequences: text, speech, video and time series, with one stacked LSTM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqkit.decoding import load_run as load
    from seqkit.sequences import Sequences

__version__ = "0.1.0"
__all__ = ["Sequences", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use: `seqkit --help` must not wait for torch."""
    if name == "Sequences":
        from seqkit.sequences import Sequences

        return Sequences
    if name == "load":
        from seqkit.decoding import load_run

        return load_run
    raise AttributeError(f"module 'seqkit' has no attribute '{name}'")
