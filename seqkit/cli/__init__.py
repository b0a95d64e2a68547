"""The command line: a small module per command, with nothing but argument handling and printing."""
