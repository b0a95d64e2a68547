"""Heads: what turns the backbone's output into an answer."""
