"""Text to speech: text, while it is being written -> frames of sound."""
