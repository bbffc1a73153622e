"""Whatever happens beside it, a session gives bit for bit what it gives alone.

Sessions join, are given more, rest, are reset, cancelled, poisoned and dropped at random moments in
batches of up to eight rows, taken out or masked. DSM_MLX_SEEDS=5000 runs more than the suite does.

A BLAS whose products of one row and of eight differ in the last bit, as OpenBLAS', gives the same
tokens: DSM_MLX_TOKENS=1 compares those, and the sound and probabilities nearly.

Keys and values are kept in full, or in 8 bits or in halves, of which a row has packed values,
scales and biases to be put, grown and taken along.
"""

import os
import random
from functools import cache

import mlx.core as mx
import numpy as np
import pytest
import small as very_small
from mlx.utils import tree_map
from speaking import load as load_tts
from speaking import session_of

from dsm_mlx import CheckpointError, Pause, Word
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.worker import Worker, complete
from dsm_mlx.stt.boost import Boost
from dsm_mlx.stt.core import SttCore
from dsm_mlx.stt.frame import SttFrames
from dsm_mlx.stt.session import Session
from dsm_mlx.transformer import ring
from dsm_mlx.tts.frame import TtsFrames
from dsm_mlx.tts.prompt import SpeechOptions

SEEDS = int(os.environ.get("DSM_MLX_SEEDS", "150"))
NEARLY = os.environ.get("DSM_MLX_TOKENS") == "1"
PARTS = 10  # of the seeds, each a test of its own


class Near:
    """Numbers that are equal to others but for what rounding does."""

    def __init__(self, values):
        self.values = np.array(values, np.float32)

    def __eq__(self, other):
        return np.allclose(self.values, other.values, atol=1e-3)

    __hash__ = None


def nearly(event):
    """An event whose probabilities are near those of another."""
    if isinstance(event, Pause):
        return event.time, Near(list(event.probabilities.values()))
    if isinstance(event, Word):
        return event.text, event.start, event.end, Near(event.confidence)
    return event


class Hearing:
    """Speech to text: a session's script is a list of things to do with it, one after another."""

    def __init__(self, folder, cache=None):
        checkpoint = Checkpoint.find(folder, "stt")
        self.core = complete(SttCore.load(checkpoint, LoadOptions(dtype="float32", cache=cache)))
        self.frames = SttFrames(self.core.step, "stt")
        self.scripts = [self.script(random.Random(i)) for i in range(12)]
        several = {"the one": 9.0, "it is": 20.0, "you": 4.0}
        several = Boost(several, self.core.tokenizer), Boost({"we": 20.0}, self.core.tokenizer)
        self.boosts = [None, *several, None]

    def script(self, rng):
        sound = np.random.default_rng(rng.randrange(99))
        parts = []
        for _ in range(rng.randrange(1, 4)):
            pcm = sound.normal(0, 0.2, rng.randrange(200, 5000)).astype(np.float32)
            parts.append(("feed", pcm))
            if rng.random() < 0.2:
                parts += [("drain", None), ("restart", None)]
            if rng.random() < 0.2:
                parts.append(("mark", len(parts)))
        return parts

    def session(self, script, live):
        temperature = 0.8 if script % 3 == 0 else 0.0
        delay = self.core.config.delay
        session = Session(
            self.core.step.beginning(None, temperature, script),
            self.core.tokenizer,
            self.core.timing(delay),
            options={"temperature": temperature},
            boost=self.boosts[script % 4],
            live=live,
        )
        if script % 4 == 2:  # text comes first, of which some comes late or never
            session.steering.restart([[41, 4, 33, 13], 9, 6])
        session.todo = list(self.scripts[script])
        return session

    def go_on(self, session):
        what, value = session.todo.pop(0)
        getattr(session, what)(*([] if value is None else [value]))

    def outcome(self, session):
        return [nearly(event) if NEARLY else event for event in session.events]


class Speaking:
    """Text to speech: a script is a text in pieces, a voice and a seed."""

    def __init__(self, folder, options, cache=None):
        self.core = load_tts(folder, dtype="float32", cache=cache)
        self.frames = TtsFrames(self.core.step, "tts")
        self.options = options
        core = self.core
        names = [core.voices.find(name) for name in core.voices.names()] or [None]
        self.voices = [
            complete(core.prompts.read(path, [path] if path else [])) for path in names[:2]
        ]
        words = ["one", "two", "three,", "four", "five", '<break time="80ms"/>', "six", "seven"]
        rng = random.Random(1)
        self.scripts = [
            [word + " " for word in rng.sample(words, rng.randrange(1, 4))] for _ in range(8)
        ]

    def session(self, script, live):
        voice = self.voices[script % len(self.voices)]
        session = session_of(self.core, self.core.script(), voice, self.options, seed=script)
        session.live = live
        session.todo = [*self.scripts[script], None]
        return session

    def go_on(self, session):
        piece = session.todo.pop(0)
        session.script.end() if piece is None else session.script.feed(piece)

    def outcome(self, session):
        as_told = Near if NEARLY else np.ndarray.tobytes
        sound = [as_told(chunk.audio) for chunk in session.chunks]
        words = [[(w.text, w.start) for w in chunk.words] for chunk in session.chunks]
        return list(zip(sound, words, strict=True))


# The share of the seeds that each takes: frames of some cost more.
WINGS = {
    "hearing": 0.5,
    "hearing late": 0.05,
    "hearing, cache q8": 0.04,
    "hearing, cache bfloat16": 0.04,
    "speaking": 0.3,
    "speaking guided": 0.15,
    "speaking, cache q8": 0.04,
    "speaking guided, cache bfloat16": 0.04,
}


@pytest.fixture(scope="module")
def wing(tmp_path_factory):
    @cache
    def made(name):
        kind, _, kept = name.partition(", cache ")
        models = {"hearing": "stt-tiny", "hearing late": "stt-tiny-26", "speaking": "tts-tiny"}
        model = models.get(kind, "tts-tiny-nativecfg")
        wide = {"num_heads": 1} if kept == "q8" else {}
        folder = very_small.checkpoint(model, tmp_path_factory.mktemp("wing") / model, **wide)
        if kind.startswith("hearing"):
            return Hearing(folder, kept or None)
        options = {"cfg": "2.0"} if kind == "speaking" else {"guidance": 2.0}
        return Speaking(folder, SpeechOptions(0.6, **options), kept or None)

    return made


def poisoned(session):
    """A row of NaN, as only damaged weights could make it."""
    session.beginning = tree_map(
        lambda a: a * float("nan") if mx.issubdtype(a.dtype, mx.floating) else a,
        session.beginning,
    )
    return session


def alone(wing, script):
    if not hasattr(wing, "known"):
        wing.known = {}
    if script not in wing.known:
        worker, batch = Worker(), Batch(wing.frames, "alone")
        worker.add(batch)
        session = wing.session(script, live=False)
        batch.join(session)
        while session.todo:
            wing.go_on(session)
        while worker.turn():
            pass
        wing.known[script] = wing.outcome(session)
    return wing.known[script]


class Game:
    """One batch in which everything happens at random moments."""

    def __init__(self, wing, seed):
        self.wing, self.rng = wing, random.Random(seed)
        self.worker = Worker()
        masked = self.rng.random() < 0.3
        self.batch = Batch(wing.frames, "together", limit=8, masked=masked)
        self.worker.add(self.batch)
        self.sessions, self.stopped = [], set()

    def play(self):
        for _ in range(self.rng.randrange(6, 20)):
            doing = self.rng.random()
            if doing < 0.35 and len(self.batch.open) < 8:
                self.join()
            elif doing < 0.42 and self.batch.open:
                session = self.rng.choice(self.batch.open)
                self.stopped.add(session)
                self.worker.post(session.stop)
            for session in self.batch.open:
                if session.todo and self.rng.random() < 0.4:
                    self.wing.go_on(session)
            for _ in range(self.rng.randrange(3)):
                self.worker.turn()
        for session, _, _ in self.sessions:
            while session.todo and not session.gone:
                self.wing.go_on(session)
        while self.worker.turn():
            pass
        for session in self.batch.open:
            if session.beginning is None:
                state = self.batch.value(session)
                assert session.position == self.wing.frames.position(state)

    def join(self):
        script = self.rng.randrange(len(self.wing.scripts))
        session = self.wing.session(script, live=self.rng.random() < 0.7)
        bad = self.rng.random() < 0.1
        self.batch.join(poisoned(session) if bad else session)
        self.sessions.append((session, script, bad))

    def check(self):
        for session, script, bad in self.sessions:
            outcome, expected = self.wing.outcome(session), alone(self.wing, script)
            if bad and session.error:
                assert isinstance(session.error, CheckpointError)
                assert outcome in ([], expected[: len(outcome)])
            elif session in self.stopped:
                assert outcome == expected[: len(outcome)]
            else:
                assert session.error is None
                assert outcome == expected


@pytest.mark.parametrize("name", WINGS)
@pytest.mark.parametrize("part", range(PARTS))
def test_as_alone(wing, name, part, monkeypatch):
    # Alone a session looks at the whole ring, together at what may be filled of it.
    for script in range(len(wing(name).scripts)):
        alone(wing(name), script)
    assert wing(name).frames.step.lm.seen(1) is None
    monkeypatch.setattr(ring, "_BLOCK", 4)
    assert wing(name).frames.step.lm.seen(1) == 4
    share = round(SEEDS * WINGS[name] / PARTS)
    played = 0
    for seed in range(part * share, (part + 1) * share):
        game = Game(wing(name), seed)
        game.play()
        game.check()
        played += len(game.sessions)
    assert played > share or share < 5
