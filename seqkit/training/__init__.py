"""Training: the loop, what it keeps on disk, and how a run starts and goes on."""
