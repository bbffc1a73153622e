"""Hostile input: see tools/fuzz.py."""
