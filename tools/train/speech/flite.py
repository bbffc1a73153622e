"""flite through its library: the times of words and phones are read off the utterance."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator

import numpy as np

from speech import libraries
from speech.phones import class_of
from speech.text import words_of
from speech.utterance import Utterance, Word

VOICES = ("slt", "rms", "awb", "kal16")
_FIRST_PHONE = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"
_LAST_PHONE = b"R:SylStructure.daughtern.daughtern.R:Segment.end"


class _Wave(c.Structure):
    _fields_ = (
        ("type", c.c_char_p),
        ("sample_rate", c.c_int),
        ("count", c.c_int),
        ("channels", c.c_int),
        ("samples", c.POINTER(c.c_short)),
    )


class _Voice(c.Structure):
    _fields_ = (("name", c.c_char_p), ("features", c.c_void_p))


class Flite:
    def __init__(self):
        self._library = libraries.load("libflite.so.1")
        libraries.load("libflite_usenglish.so.1")
        libraries.load("libflite_cmulex.so.1")
        self._library.flite_init()
        self._declare()
        self._voices = {name: self._register(name) for name in VOICES}

    def say(self, text: str, voice: str, stretch: float) -> Utterance | None:
        """`text` spoken, `stretch` times as long; None if flite reads other words than we do."""
        library, handle = self._library, self._voices[voice]
        features = c.cast(handle, c.POINTER(_Voice)).contents.features
        library.feat_set_float(features, b"duration_stretch", stretch)
        spoken = library.flite_synth_text(text.encode(), handle)
        try:
            wave = c.cast(library.utt_wave(spoken), c.POINTER(_Wave)).contents
            pcm = np.ctypeslib.as_array(wave.samples, (wave.count,)).astype(np.float32) / 32768
            rate = wave.sample_rate  # read here: the wave goes with the utterance
            words, phones = self._words(spoken), self._phones(spoken)
        finally:
            library.delete_utterance(spoken)
        texts = words_of(text)
        if len(texts) != len(words):
            return None
        timed = [Word(text, start, end) for text, (_, start, end) in zip(texts, words, strict=True)]
        return Utterance(pcm, rate, timed, phones)

    def _words(self, spoken: int) -> list[tuple[str, float, float]]:
        words: list[tuple[str, float, float]] = []
        for item in self._items(spoken, b"Word"):
            name = self._library.flite_ffeature_string(item, b"name").decode()
            start = self._library.flite_ffeature_float(item, _FIRST_PHONE)
            end = self._library.flite_ffeature_float(item, _LAST_PHONE)
            if name.startswith("'") and words:  # flite splits "don't" off its end
                head, start, _ = words.pop()
                name = head + name
            words.append((name, start, end))
        return words

    def _phones(self, spoken: int) -> list[tuple[float, int]]:
        phones, begins = [], 0.0
        for item in self._items(spoken, b"Segment"):
            name = self._library.flite_ffeature_string(item, b"name").decode()
            phones.append((begins, class_of(name)))
            begins = self._library.flite_ffeature_float(item, b"end")
        return phones

    def _items(self, spoken: int, relation: bytes) -> Iterator[int]:
        item = self._library.relation_head(self._library.utt_relation(spoken, relation))
        while item:
            yield item
            item = self._library.item_next(item)

    def _register(self, name: str) -> int:
        register = getattr(
            libraries.load(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}"
        )
        register.restype, register.argtypes = c.c_void_p, [c.c_char_p]
        return register(None)

    def _declare(self) -> None:
        """The functions' types: ctypes would cut pointers to 32 bits."""
        pointer, text = c.c_void_p, c.c_char_p
        for name, result, arguments in (
            ("flite_synth_text", pointer, [text, pointer]),
            ("utt_relation", pointer, [pointer, text]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("utt_wave", pointer, [pointer]),
            ("flite_ffeature_string", text, [pointer, text]),
            ("flite_ffeature_float", c.c_float, [pointer, text]),
            ("delete_utterance", None, [pointer]),
            ("feat_set_float", None, [pointer, text, c.c_float]),
        ):
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
