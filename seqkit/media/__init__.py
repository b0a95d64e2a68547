"""Audio and video files: probe, read, stream, resample, write. The only room that opens a codec."""

from __future__ import annotations

from seqkit.media.audio import Audio, AudioInfo, probe_audio, raw_pcm, read_audio, stream_audio
from seqkit.media.resample import Resampler
from seqkit.media.write import write_audio

__all__ = ["Audio", "AudioInfo", "Resampler", "probe_audio", "raw_pcm", "read_audio", "stream_audio", "write_audio"]
