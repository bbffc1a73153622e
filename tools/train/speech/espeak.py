"""espeak-ng through its library, which tells when each word and phone begins."""

from __future__ import annotations

import ctypes as c
import os
import re

import numpy as np

from speech import libraries
from speech.phones import SILENCE, class_of
from speech.utterance import Utterance, Word, fill_gaps

_SYNCHRONOUS, _PHONE_EVENTS = 2, 1
_UTF8, _END_PAUSE = 0x1, 0x1000
_WORD, _PHONE = 1, 7  # event types; 0 ends a list of events
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_LEAST_KNOWN = 0.6  # of the words must have a time of their own


class _Id(c.Union):
    _fields_ = (("number", c.c_int), ("name", c.c_char_p), ("string", c.c_char * 8))


class _Event(c.Structure):
    _fields_ = (
        ("type", c.c_int),
        ("unique_identifier", c.c_uint),
        ("text_position", c.c_int),
        ("length", c.c_int),
        ("audio_position", c.c_int),
        ("sample", c.c_int),
        ("user_data", c.c_void_p),
        ("id", _Id),
    )


_Callback = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_int, c.POINTER(_Event))


class Espeak:
    """One per process: the library keeps its state in global variables."""

    def __init__(self):
        self._library = libraries.load("libespeak-ng.so.1")
        brought = libraries.folder()
        data = os.fsencode(brought) if brought and (brought / "espeak-ng-data").exists() else None
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONE_EVENTS)
        if rate <= 0:
            raise OSError("espeak-ng does not start: is espeak-ng-data installed?")
        self.sample_rate = rate
        self._callback = _Callback(self._collect)  # kept, or it would be freed
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice = ""
        self._sound: list[np.ndarray] = []
        self._words: list[tuple[int, float]] = []
        self._phones: list[tuple[float, int]] = []

    def say(self, text: str, voice: str, rate: int, pitch: int, variation: int) -> Utterance | None:
        """`text` spoken; None if the library does not say when its words are.

        voice: such as "gmw/en-US+f2". rate: words a minute. pitch, variation: 0 to 100.
        """
        self._set(voice, {_RATE: rate, _VOLUME: 100, _PITCH: pitch, _RANGE: variation})
        self._sound, self._words, self._phones = [], [], []
        data = text.encode()
        flags = _UTF8 | _END_PAUSE
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, flags, None, None)
        if not self._sound:
            return None
        pcm = np.concatenate(self._sound).astype(np.float32) / 32768
        words = self._align(text, pcm.size / self.sample_rate)
        return words and Utterance(pcm, self.sample_rate, words, self._phones)

    def _set(self, voice: str, parameters: dict[int, int]) -> None:
        if voice != self._voice:
            if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            self._voice = voice
        for number, value in parameters.items():
            self._library.espeak_SetParameter(number, value, 0)

    def _collect(self, samples, count, events) -> int:
        """What the library calls with each piece of sound and its events."""
        if samples and count > 0:
            self._sound.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in events:
            seconds = event.audio_position / 1000
            if event.type == 0:
                break
            if event.type == _WORD:
                self._words.append((event.text_position - 1, seconds))
            elif event.type == _PHONE:
                name = event.id.string.decode("utf8", "ignore")
                self._phones.append((seconds, class_of(name)))
        return 0

    def _align(self, text: str, seconds: float) -> list[Word]:
        """Give each word of `text` the time of the event that lies in it."""
        matches = list(re.finditer(r"[a-z][a-z']*", text.lower()))
        starts: list[float | None] = [None] * len(matches)
        begins = np.array([match.start() for match in matches])
        for position, time in self._words:
            i = int(np.searchsorted(begins, position, "right")) - 1
            if i >= 0 and starts[i] is None:
                starts[i] = time
        known = sum(start is not None for start in starts)
        if not starts or starts[0] is None or known < _LEAST_KNOWN * len(starts):
            return []
        end = max((time for time, _ in self._phones), default=seconds)
        times = [*fill_gaps(starts, end), end]
        silences = [time for time, phone in self._phones if phone == SILENCE]
        words = []
        for match, start, following in zip(matches, times, times[1:], strict=False):
            # A word ends where the next begins, or at a silence before that.
            pause = next((t for t in silences if start + 0.05 < t < following), following)
            words.append(Word(match[0], start, pause))
        return words
