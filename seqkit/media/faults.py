"""What was wrong in a file that could be used all the same, and how that is told."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Faults:
    """Counts and places of faults that sound and video share; times are seconds of the file."""

    broken: int = 0
    """Packets that could not be decoded."""
    broken_at: float = 0.0
    jumps: list[float] = dataclasses.field(default_factory=list)
    """Seconds that the file's clock leaps, too many to fill."""

    def broke(self, seconds: float) -> None:
        """A packet that should begin at `seconds` could not be decoded."""
        if not self.broken:
            self.broken_at = seconds
        self.broken += 1


@dataclasses.dataclass
class SoundFaults(Faults):
    """Faults of sound."""

    gaps: int = 0
    """Places where silence stands in for what is missing."""
    gap_at: float = 0.0
    silence: float = 0.0
    """Seconds of silence in those gaps."""
    rates: list[str] = dataclasses.field(default_factory=list)
    """Changes of the sample rate."""

    def missed(self, seconds: float, silence: float) -> None:
        """At `seconds` so many seconds of silence were put in."""
        if not self.gaps:
            self.gap_at = seconds
        self.gaps += 1
        self.silence += silence

    def sentences(self) -> list[str]:
        """What to tell the user, one sentence for each kind of fault; none about the file's end."""
        said = []
        if self.broken:
            packets = "1 packet" if self.broken == 1 else f"{self.broken} packets"
            left_out = "it is left out" if self.broken == 1 else "they are left out"
            stands_in = f"silence stands in for {self.silence:.2f} s" if self.gaps else left_out
            said.append(f"{packets} from {self.broken_at:.2f} s on could not be decoded; {stands_in}.")
        elif self.gaps:
            where = f"at {self.gap_at:.2f} s" if self.gaps == 1 else f"in {self.gaps} gaps from {self.gap_at:.2f} s on"
            said.append(f"{self.silence:.2f} s {where} are missing; silence stands in for them.")
        if self.jumps:
            said.append(f"the clock leaps by {self.jumps[0]:.0f} s; the sound goes on without a pause.")
        if self.rates:
            said.append(f"the sample rate changes {self.rates[0]}; all is brought to one rate.")
        return said


@dataclasses.dataclass
class PictureFaults(Faults):
    """Faults of video. What is counted as broken are frames."""

    sizes: list[str] = dataclasses.field(default_factory=list)
    """Changes of the picture's size, where none was asked for."""
    disordered: int = 0
    """Frames that the file's clock puts before one that was shown already."""

    def sentences(self) -> list[str]:
        """What to tell the user, one sentence for each kind of fault; none about the file's end."""
        said = []
        if self.broken:
            frames, are = ("1 frame", "is") if self.broken == 1 else (f"{self.broken} frames", "are")
            said.append(f"{frames} from {self.broken_at:.2f} s on could not be decoded and {are} left out.")
        if self.disordered:
            frames, are = ("1 frame", "is") if self.disordered == 1 else (f"{self.disordered} frames", "are")
            said.append(f"{frames} {are} out of order and left out.")
        if self.jumps:
            said.append(f"the clock leaps by {self.jumps[0]:.0f} s; the video goes on without a pause.")
        if self.sizes:
            said.append(f"the size of the picture changes {self.sizes[0]}; all is brought to one size.")
        return said
