"""The built-in recipes: a folder each. They are found by path and never imported by the library by name."""
