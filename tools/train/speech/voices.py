"""Who speaks: settings of a synthesizer, drawn at random; some are kept out of training."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from speech.espeak import Espeak
from speech.flite import Flite
from speech.utterance import Utterance

KINDS = ("known", "new voice", "new synthesizer", "preset")

_LANGUAGES = (
    *["gmw/en-US"] * 5,
    *["gmw/en"] * 2,
    *("gmw/en-GB-x-rp", "gmw/en-US-nyc", "gmw/en-GB-scotland"),
)
_VARIANTS = (
    *("", "", "m1", "m2", "m3", "m4", "m5", "m6", "f1", "f2", "f3", "f4", "klatt", "klatt2"),
    *("klatt4", "Alex", "Andy", "Annie", "Michael", "steph", "paul", "linda", "grandpa", "max"),
    *("shelby", "edward2", "john"),
)
_NEW_VARIANTS = ("m7", "f5", "klatt3", "travis", "anika")
_FLITE = ("slt", "rms", "awb")
_NEW_SYNTHESIZER = "kal16"  # flite's only voice of joined diphones: another way to make speech


@dataclass(frozen=True)
class Speaker:
    """A voice with its settings.

    speed: how much faster it is played than spoken, which moves pitch and formants.
    """

    synthesizer: str
    voice: str
    settings: tuple[float, ...]
    speed: float

    def say(self, text: str) -> Utterance | None:
        """`text` at 24 kHz without silence around it; None if its words have no times."""
        made = _synthesizer(self.synthesizer).say(text, self.voice, *self.settings)
        return made and made.trimmed().at_speed(self.speed)


# The voices of text to speech, each always the same.
PRESETS = {
    "slt": Speaker("flite", "slt", (1.0,), 1.0),
    "michael": Speaker("espeak", "gmw/en-US+Michael", (160, 45, 50), 1.0),
    "annie": Speaker("espeak", "gmw/en-US+Annie", (155, 55, 60), 1.0),
    "linda": Speaker("espeak", "gmw/en-US+linda", (150, 50, 50), 1.0),
    "robin": Speaker("espeak", "gmw/en-GB-x-rp+m1", (160, 50, 60), 1.0),
    "fiona": Speaker("espeak", "gmw/en-GB-scotland+f2", (155, 50, 60), 1.0),
    "max": Speaker("espeak", "gmw/en-US+max", (155, 45, 50), 1.0),
    "emma": Speaker("espeak", "gmw/en-US+f3", (160, 55, 55), 1.0),
}


@cache
def _synthesizer(name: str) -> Espeak | Flite:
    return Espeak() if name == "espeak" else Flite()


def draw(rng: random.Random, kind: str = "known", flite: float = 0.3) -> Speaker:
    """A speaker of one of KINDS. flite: how often a known one is a voice of flite."""
    if kind == "preset":
        return rng.choice(list(PRESETS.values()))
    if kind == "new synthesizer":
        return Speaker("flite", _NEW_SYNTHESIZER, (rng.uniform(0.85, 1.2),), 1.0)
    if kind == "known" and rng.random() < flite:
        stretch = rng.uniform(0.8, 1.25)
        return Speaker("flite", rng.choice(_FLITE), (stretch,), rng.uniform(0.86, 1.18))
    variant = rng.choice(_NEW_VARIANTS if kind == "new voice" else _VARIANTS)
    voice = rng.choice(_LANGUAGES) + (f"+{variant}" if variant else "")
    settings = (rng.randint(120, 205), rng.randint(20, 85), rng.randint(20, 90))
    return Speaker("espeak", voice, settings, rng.uniform(0.9, 1.12))
