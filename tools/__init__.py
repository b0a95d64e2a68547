"""What a contributor runs by hand: benchmarks and baselines, each from the command line."""
