"""The CPU kernel in C++: `kernel.py` is what the op runs, `library.py` loads what `setup.py` compiled from `src/`."""
