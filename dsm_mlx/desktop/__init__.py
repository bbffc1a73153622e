"""Live captions on the desktop: a window, and an entry in the menu bar of macOS.

`captions` is what is shown and `listening` where it comes from; neither knows of windows.
"""
