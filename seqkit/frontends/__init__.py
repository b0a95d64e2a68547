"""From raw examples to `Sequences`: each front-end is fitted on the training part and prepares single examples."""
