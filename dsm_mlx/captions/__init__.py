"""Transcripts as files: plain text, SubRip (srt), WebVTT (vtt) and JSON.

The pure functions `to_txt`, `to_srt`, `to_vtt` and `to_json` return the text of such a file, which
UTF-8 can always encode; `write` saves it.
"""

from __future__ import annotations

import warnings

from dsm_mlx.captions.cutting import Cue, cues, turns
from dsm_mlx.captions.formats import FORMATS, render, to_json, to_srt, to_txt, to_vtt, write
from dsm_mlx.captions.style import CaptionStyle, doubt

__all__ = [
    "FORMATS",
    "CaptionStyle",
    "Cue",
    "cues",
    "doubt",
    "render",
    "to_json",
    "to_srt",
    "to_txt",
    "to_vtt",
    "turns",
    "write",
]


def __getattr__(name: str) -> object:
    if name == "Layout":
        message = "dsm_mlx.captions.Layout is now called CaptionStyle"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return CaptionStyle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
