"""The page at `/`: live captions of the browser's microphone, and texts that are said."""
