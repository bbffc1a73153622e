"""Twenty seconds of sound to learn from: who speaks, what, and when each word begins.

Everything follows from the seed. Speech comes in bursts with pauses inside and between
sentences, by one speaker or by two that take turns; a few sessions hold no speech at all, so
that a model learns to say nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from speech import effects, text, voices
from speech.phones import SILENCE
from speech.utterance import SAMPLE_RATE, Utterance

SECONDS = 20
FRAMES = 250
FRAME_SIZE = 1920
SAMPLES = FRAMES * FRAME_SIZE
PHONE_RATE = 50  # labels a second: four a frame
_LAST_START = 19.2  # nothing that is said begins later
LAST_WORD = SECONDS - 0.1  # seconds; a word that begins later is not told of
_LOUDNESS = 0.1  # root mean square of each utterance
_SPLIT = 0.12  # of the sentences have a pause inside
_PLAIN = 0.08  # of the sessions are left as the synthesizer made them
_TURNS, _NO_SPEECH = 0.2, 0.04
_TRIES = 20


@dataclass(frozen=True)
class Spoken:
    """A word, when it is spoken in seconds, and by which speaker of the session."""

    text: str
    start: float
    end: float
    speaker: int


@dataclass
class Session:
    """pcm float32 (SAMPLES,); phones uint8 (SECONDS * PHONE_RATE,) of phones.PHONES."""

    pcm: np.ndarray
    phones: np.ndarray
    words: list[Spoken] = field(default_factory=list)
    speakers: list[voices.Speaker] = field(default_factory=list)


@dataclass(frozen=True)
class Mix:
    """What sessions are made of.

    kind: one of voices.KINDS. flite: share of its voices. turns, no_speech: share of the sessions
    with two speakers and with none. effects, level: whether they are changed at random. brisk: what
    is said follows at once, in pauses too short for a script to tell of.
    """

    kind: str = "known"
    flite: float = 0.3
    held_out_text: bool = False
    turns: float = _TURNS
    no_speech: float = _NO_SPEECH
    effects: bool = True
    level: bool = True
    brisk: bool = False


def make(seed: int, mix: Mix | None = None) -> Session:
    """The session of a seed; no mix is that of training."""
    mix = mix or Mix()
    rng, noise_rng = random.Random(seed), np.random.default_rng(seed)
    session = Session(np.zeros(SAMPLES), np.full(SECONDS * PHONE_RATE, SILENCE, np.uint8))
    if rng.random() < mix.no_speech:
        session.pcm = _no_speech(noise_rng)
        return session
    count = 2 if rng.random() < mix.turns else 1
    session.speakers = [voices.draw(rng, mix.kind, mix.flite) for _ in range(count)]
    _talk(session, rng, mix)
    if mix.level:
        session.pcm *= 10 ** (rng.uniform(-14, 3) / 20)
    if mix.effects and rng.random() >= _PLAIN:
        session.pcm = effects.at_random(session.pcm, noise_rng)
    session.pcm = np.clip(session.pcm, -0.99, 0.99).astype(np.float32)
    return session


def _no_speech(rng: np.random.Generator) -> np.ndarray:
    """Digital silence, noise or tones at any level."""
    level = 10 ** (rng.uniform(-70, -18) / 20)
    which = rng.integers(0, 4)
    if which == 0:
        return np.zeros(SAMPLES, np.float32)
    made = effects.tones(SAMPLES, rng) if which == 1 else effects.noise(SAMPLES, rng)
    return np.clip(made * level, -0.99, 0.99).astype(np.float32)


def _talk(session: Session, rng: random.Random, mix: Mix) -> None:
    """Fill a session with bursts of one to three sentences."""
    time, speaker, tries = rng.uniform(0.1, 0.9), 0, 0
    while time < _LAST_START and tries < _TRIES:
        for _ in range(rng.choice((1, 1, 2, 2, 3))):
            for part, pause in _parts(text.sentence(rng, mix.held_out_text), rng):
                said = session.speakers[speaker].say(part) if time < _LAST_START else None
                tries += said is None
                if said:
                    _place(session, said, time, speaker)
                    time += said.seconds + pause
            time += rng.uniform(0.05, 0.4)
        if len(session.speakers) > 1:
            speaker = 1 - speaker
        time += _pause(rng, mix)


def _pause(rng: random.Random, mix: Mix) -> float:
    """Seconds between two bursts."""
    if mix.brisk:
        return rng.uniform(0.0, 0.25)  # a sentence's own pause comes before it
    # Some longer than each of the pauses that the model has to tell apart: 0.5, 1, 2 and 3 s.
    return rng.choice((rng.uniform(0.1, 1.2), rng.uniform(0.6, 2.5), rng.uniform(2, 4.5)))


def _parts(sentence: str, rng: random.Random) -> list[tuple[str, float]]:
    """A sentence in one piece, or in two with seconds of thinking between them."""
    words = sentence.split()
    if len(words) <= 4 or rng.random() >= _SPLIT:
        return [(sentence, 0.0)]
    cut = rng.randint(2, len(words) - 2)
    first = " ".join(words[:cut]).rstrip(",") + ","
    return [(first, rng.uniform(0.25, 0.9)), (" ".join(words[cut:]), 0.0)]


def _place(session: Session, said: Utterance, time: float, speaker: int) -> None:
    """Put an utterance into a session; what does not fit is cut off, word by word."""
    start = int(time * SAMPLE_RATE)
    pcm = said.pcm[: SAMPLES - start].astype(np.float64)
    pcm *= _LOUDNESS / (np.sqrt((said.pcm**2).mean()) + 1e-4)
    edge = min(120, pcm.size // 2)  # 5 ms: no click
    pcm[:edge] *= np.linspace(0, 1, edge)
    pcm[pcm.size - edge :] *= np.linspace(1, 0, edge)
    session.pcm[start : start + pcm.size] += pcm
    session.words += [
        Spoken(w.text, w.start + time, w.end + time, speaker)
        for w in said.words
        if w.start + time < LAST_WORD
    ]
    ends = [begin for begin, _ in said.phones[1:]] + [said.seconds]
    for (begin, phone), end in zip(said.phones, ends, strict=True):
        first, last = (round((x + time) * PHONE_RATE) for x in (begin, end))
        session.phones[first:last] = phone
