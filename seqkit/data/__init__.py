"""Where examples come from: the user's files, the hub, the demo corpora; how they are checked and batched."""
