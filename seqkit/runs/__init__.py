"""Run folders: what a training leaves behind, and all that evaluation and decoding need."""
