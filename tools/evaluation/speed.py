"""How fast a model is when several streams go together."""

from __future__ import annotations

import math

from benchmark import run, stt, tts

_FRAMES = 100  # of each number of rows


def measured(model: str, kind: str, rows: int, dtype: str | None) -> dict:
    """The real-time factor (a frame's time by the time that it lasts), the median and the 95th
    percentile of a frame in milliseconds: what a live frame waits for its words or its sound, the
    model's delay aside; and for a model that speaks the time to its first sound."""
    subject = (tts.Speaker if kind == "tts" else stt.Listener).load(model, None, dtype, None)
    figures, _ = run.time_rows(subject, rows, _FRAMES, math.inf)
    frame = figures["frame ms"]
    found = {
        "rows": rows,
        "real_time_factor": figures["real-time factor"],
        "frame_ms": frame["median"],
        "frame_ms_p95": frame["p95"],
    }
    if "first sound ms" in figures:
        found["first_sound_ms"] = figures["first sound ms"]
    return found
