"""Mimi: sound <-> codes, whole or frame by frame."""
