"""Audio and video files: probe, read, stream, resample, write. The only room that opens a codec."""

from __future__ import annotations

from seqkit.media.audio import Audio, AudioInfo, probe_audio, raw_pcm, read_audio, stream_audio
from seqkit.media.resample import Resampler
from seqkit.media.sampling import Segments, Strided, Uniform
from seqkit.media.video import Clip, VideoInfo, probe_video, read_clip, stream_frames
from seqkit.media.write import write_audio
from seqkit.media.write_video import VideoWriter, write_video

__all__ = [
    "Audio",
    "AudioInfo",
    "Clip",
    "Resampler",
    "Segments",
    "Strided",
    "Uniform",
    "VideoInfo",
    "VideoWriter",
    "probe_audio",
    "probe_video",
    "raw_pcm",
    "read_audio",
    "read_clip",
    "stream_audio",
    "stream_frames",
    "write_audio",
    "write_video",
]
