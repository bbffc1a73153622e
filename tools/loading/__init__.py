"""Clients of a server, many at a time: see tools/load.py."""
