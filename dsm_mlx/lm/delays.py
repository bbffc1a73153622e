"""The delay pattern: stream k of a frame is written `delays[k]` steps later than its text.

It is needed in both directions. A model that hears is given each code late (*line up*); what a
model says comes out late, and a frame is complete when its slowest stream is (*undo*). On the
device both read the same window, the newest `longest + 1` steps of every stream.

Reference: `_delay_sequence` and `_undelay_sequence` in moshi/models/lm_utils.py, and the cache of
`LMGen` in models/lm.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

Window = list[mx.array]
"""The newest steps of all streams, the oldest first: each int32 (batch, streams). Apart, so that to
push one moves nothing."""


@dataclass(frozen=True)
class DelayPattern:
    """Delays in steps of some audio streams."""

    delays: tuple[int, ...]

    @property
    def longest(self) -> int:
        """The longest of the delays, in steps."""
        return max(self.delays, default=0)

    def window(self, batch: int, fill: int) -> Window:
        """A window in which nothing has been pushed: `fill` stands everywhere."""
        return [mx.full((batch, len(self.delays)), fill, mx.int32)] * (self.longest + 1)

    def push(self, window: Window, codes: mx.array) -> Window:
        """The window one step later; codes int32 (batch, streams)."""
        return [*window[1:], codes]

    def line_up(self, window: Window) -> mx.array:
        """What a model hears now: of each stream the code `delay` steps ago; int32 (batch,
        streams)."""
        return self._pick(window, [self.longest - delay for delay in self.delays])

    def undo(self, window: Window) -> mx.array:
        """The frame that is complete now, `longest` steps after it began; int32 (batch,
        streams)."""
        return self._pick(window, list(self.delays))

    def _pick(self, window: Window, places: list[int]) -> mx.array:
        """Of each stream what stands at its place. Few places differ, and to choose among them is
        element-wise: a compiled step does it within what comes before, where a gather would be
        kernels of its own."""
        picked = window[places[0]]
        for place in sorted(set(places) - {places[0]}):
            here = mx.array([at == place for at in places])
            picked = mx.where(here, window[place], picked)
        return picked

    def begun(self, step: int) -> np.ndarray:
        """Which streams have begun, in so many steps after the first: bool (streams,)."""
        return np.array(self.delays) <= step

    def lined_up(self, codes: np.ndarray, step: int, fill: int) -> np.ndarray:
        """What belongs into a step of whole recordings: int32 (..., streams).

        codes: int32 (..., streams, frames). `fill` stands where a stream has no frame then.
        """
        found = np.full(codes.shape[:-1], fill, np.int32)
        for k, delay in enumerate(self.delays):
            if 0 <= step - delay < codes.shape[-1]:
                found[..., k] = codes[..., k, step - delay]
        return found
