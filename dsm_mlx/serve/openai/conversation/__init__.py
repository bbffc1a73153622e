"""Conversations of realtime clients: sound or text in, sound or text out."""
