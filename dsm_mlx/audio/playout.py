"""How much of what was written to a loudspeaker has been heard."""

from __future__ import annotations

import math
from collections import deque

LOOKS = 50  # callbacks, 1 s: one of them came without a delay
MOST_SECONDS = 5.0  # no device holds as much (AirPlay 2 s); what says so does not know


class DeviceClock:
    """When what a callback gives to the device is heard, by `time.monotonic`.

    PortAudio tells, by a clock of its own, when the callback was asked for and when its first
    sample will be heard. How far the two clocks are apart is known best from the look that waited
    least for the interpreter.
    """

    def __init__(self) -> None:
        self._apart: deque[float] = deque(maxlen=LOOKS)

    def look(self, now: float, current: float) -> None:
        """now: by `time.monotonic`, at the moment that is `current` by PortAudio's clock."""
        self._apart.append(now - current)

    def heard_at(self, now: float, when: object, latency: float) -> float:
        """The time at which the first sample is heard; it is not before `now`.

        now: by `time.monotonic`. when: PortAudio's times of this callback. latency: of the stream,
        in seconds, for where the times are of no use; without a latency either, it is `now`.
        """
        current = getattr(when, "currentTime", 0.0)
        heard = getattr(when, "outputBufferDacTime", 0.0)
        if current > 0 and 0 <= heard - current <= MOST_SECONDS:
            self.look(now, current)
            return max(now, heard + min(self._apart))
        usable = math.isfinite(latency) and 0 < latency <= MOST_SECONDS
        return now + latency if usable else now


class Playout:
    """Counts of one utterance, in seconds of the sound that was written at `sample_rate` Hz.

    `written`: all of it. `given`: what the device has taken. Nothing here is locked.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        # Of what the device holds: begin and end by the clock, and `given` at its end.
        self._held: deque[tuple[float, float, float]] = deque()
        self.clear()

    def clear(self) -> None:
        """Begin again: nothing is written, given or heard."""
        self._samples = 0
        self.given = self._heard = 0.0
        self._held.clear()

    def write(self, samples: int) -> None:
        """So many more samples were written."""
        self._samples += samples

    @property
    def written(self) -> float:
        return self._samples / self._rate

    def give(self, seconds: float, begin: float, last: bool) -> None:
        """The device took the next `seconds`, to be heard from the time `begin` on.

        last: there is no more, so that all that was written is given, to the sample.
        """
        self._end_by(begin)
        self.given = self.written if last else min(self.given + seconds, self.written)
        self._held.append((begin, begin + seconds, self.given))

    def _end_by(self, time: float) -> None:
        """What the device holds is over then: the newest word on it is the best."""
        for index in reversed(range(len(self._held))):
            begin, end, given = self._held[index]
            if end <= time:
                break
            self._held[index] = begin - end + time, time, given
            time += begin - end

    def heard(self, now: float) -> float:
        """How much has been heard at the time `now`. It never goes back."""
        while self._held and self._held[0][0] <= now:
            _, end, given = self._held[0]
            self._heard = max(self._heard, given - max(0.0, end - now))
            if end > now:
                break
            self._held.popleft()
        return self._heard

    def is_heard(self, now: float) -> bool:
        """Whether nothing of what the device has taken is still to be heard."""
        self.heard(now)
        return not self._held
