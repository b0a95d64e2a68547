"""`python -m seqkit`: the same as the console script."""

from seqkit.cli.app import main

if __name__ == "__main__":
    main()
