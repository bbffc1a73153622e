"""The special tokens of the text and audio streams. Plain numbers, no arrays.

Reference: `TokenIds` in moshi/models/tts.py and the constants of `LMModel` in models/lm.py.
"""

NEW_WORD = 0
"""Text: a word begins; to speech to text, the end of padding."""

MAIN_SPEAKER, OTHER_SPEAKER = 1, 2
"""Text: whose turn begins, before its first word."""

PADDING = 3
"""Text: nothing new in this frame."""

NOTHING = -1
"""Any stream: embeds to exactly 0."""

UNGENERATED = -2
"""Audio: not given from outside; the model's own code stands."""
