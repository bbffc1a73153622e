"""Whole conversations with `tiny`, in a world whose time passes as its sound is heard."""

import asyncio
import gc
import threading
from difflib import SequenceMatcher
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from test_chat import run

import dsm_mlx
from dsm_mlx import TurnPolicy
from dsm_mlx.audio import read
from dsm_mlx.chat import Conversation, Interrupted, Said, Saying, TakenBack, TurnEnded

ROOT = Path(__file__).parents[1]
SOUND = ROOT / "demos/audio"
RATE, FRAME = 24_000, 1920
LONG = 100.0  # seconds, on a busy machine
STORY = "This is a long story, and nobody will want to hear it to its end. " * 3
SILENCE = np.zeros(FRAME, np.float32)


class World:
    """A loudspeaker, and the time in which it plays: it stands still while the assistant still has
    to make the sound that would be heard."""

    def __init__(self, said_at_once=False):
        self._changed, self._turn = threading.Condition(), 0
        self._at_once = said_at_once
        self.written = self.position = 0.0
        self._chunks, self.utterances = [], []

    def write(self, pcm):
        with self._changed:
            turn = self._turn
            while turn == self._turn and self.written - self.position > 1:
                self._changed.wait()
            if turn == self._turn:
                self.written += len(pcm) / RATE
                self._chunks.append(pcm)
                if self._at_once:
                    self.position = self.written

    def tick(self):
        """80 ms pass."""
        with self._changed:
            self.position = min(self.written, self.position + FRAME / RATE)
            self._changed.notify_all()

    @property
    def dry(self):
        return self.position >= self.written

    def drain(self):
        with self._changed:
            turn = self._turn
            while turn == self._turn and not self.dry:
                self._changed.wait()

    def stop(self):
        with self._changed:
            if self._chunks:
                heard = np.concatenate(self._chunks)[: round(self.position * RATE)]
                self.utterances.append(heard)
            self._chunks, self._turn = [], self._turn + 1
            self.written = self.position = 0.0
            self._changed.notify_all()


class Person:
    """Speaks recordings into the world, and is silent until something has happened."""

    def __init__(self, world):
        self._world, self.events = world, []

    def seen(self, kind):
        return sum(isinstance(event, kind) for event in self.events)

    async def frames(self, pcm):
        for start in range(0, len(pcm) - FRAME, FRAME):
            self._world.tick()
            yield pcm[start : start + FRAME]

    async def until(self, happened):
        while not happened():
            if self.seen(TurnEnded) > self.seen((Said, Interrupted, TakenBack)) and self._world.dry:
                await asyncio.sleep(0.005)  # the assistant thinks, and no time passes
            else:
                self._world.tick()
                yield SILENCE


def close_to(text, expected, least=0.7):
    words, wanted = (value.lower().replace(",", "").replace(".", "").split()
                     for value in (text, expected))  # fmt: skip
    likeness = SequenceMatcher(None, words, wanted, autojunk=False).ratio()
    assert likeness >= least, (text, expected)


async def answer_later():
    for piece in ("Good ", "morning,", " how are you?"):
        await asyncio.sleep(0.001)
        yield piece


def scripted(messages):
    """A str, a generator, an async generator."""
    turn = sum(message["role"] == "user" for message in messages)
    story = (f"{word} " for word in STORY.split())
    return ["The train leaves at nine.", story, answer_later()][turn - 1]


async def somebody(person, world):
    """Asks, asks again, speaks into the answer, and listens to the next one."""
    bus, kitchen, cat = (read(SOUND / name) for name in ("bus.wav", "kitchen.wav", "cat.flac"))
    script = [
        person.frames(bus),
        person.until(lambda: person.seen(Said) == 1),
        person.frames(kitchen),
        person.until(lambda: person.seen(TurnEnded) == 2 and world.position > 3),
        person.frames(cat),
        person.until(lambda: person.seen(Said) == 2),
    ]
    for part in script:
        async for frame in part:
            yield frame


async def conversation(person, world):
    """The messages, and what `tiny` hears in what was heard of the second answer."""
    with dsm_mlx.load_stt("tiny") as stt, dsm_mlx.load_tts("tiny") as tts:
        talk = Conversation(
            stt,
            tts,
            scripted,
            source=somebody(person, world),
            sink=world,
            full_duplex=True,
            voice="linda",
            speech={"seed": 1},
        )
        async with talk:
            async for event in talk:
                person.events.append(event)
        assert (stt.streams, tts.streams) == (0, 0)
        heard = await stt.atranscribe(world.utterances[1], sample_rate=RATE)
        return talk.messages, heard.text


@pytest.mark.thorough
def test_three_turns_and_an_interruption():
    world, found = World(), []
    person = Person(world)

    async def main():
        found.extend(await conversation(person, world))

    run(main(), LONG)
    messages, heard_by_tiny = found
    said = [message["content"] for message in messages]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 3
    for name, text in zip(("bus", "kitchen", "cat"), said[::2], strict=True):
        close_to(text, (SOUND / f"{name}.txt").read_text())
    first, cut, last = said[1::2]
    assert (first, last) == ("The train leaves at nine.", "Good morning, how are you?")
    (interrupted,) = (event for event in person.events if isinstance(event, Interrupted))
    assert interrupted.heard == cut and STORY.startswith(cut) and len(cut) < len(STORY) / 2
    close_to(heard_by_tiny, cut, 0.6)
    assert abs(len(heard_by_tiny.split()) - len(cut.split())) <= 4
    assert "".join(e.text for e in person.events if isinstance(e, Saying)) == first + cut + last
    assert all(e.latency.total > 0 for e in person.events if isinstance(e, Said))


@pytest.mark.thorough
def test_the_program_of_the_docs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    parts = (ROOT / "docs/conversation.md").read_text().split("```python\n")[1:]
    programs = [part.split("```")[0] for part in parts]
    (program,) = (program for program in programs if "Microphone" not in program)
    exec(program, {"__name__": "docs"})
    heard, said = capsys.readouterr().out.splitlines()
    close_to(heard, (SOUND / "bus.txt").read_text())
    assert said.strip() == "The train leaves at nine."


@pytest.fixture
def models(small):
    stt, tts = dsm_mlx.load_stt(small("stt-tiny")), dsm_mlx.load_tts(small("tts-tiny"))
    with stt, tts:
        yield stt, tts


def measured():
    gc.collect()
    return len(gc.get_objects()), mx.get_active_memory(), threading.active_count()


@pytest.mark.thorough
@pytest.mark.parametrize("turns", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_turns(models, turns):
    """Random models: noise makes words, and the policy ends a turn at every one of them."""
    stt, tts = models
    world, measures = World(said_at_once=True), []

    async def noise():
        sound = np.random.default_rng(0).normal(0, 0.2, (50, FRAME)).astype(np.float32)
        while len(measures) < turns:
            for frame in sound:
                yield frame
                await asyncio.sleep(0)

    async def main():
        talk = Conversation(
            stt,
            tts,
            lambda messages: iter(["one ", "two"]),
            source=noise(),
            sink=world,
            turns=TurnPolicy(threshold=0.0, frames=1, rearm=1.0),
            patience=0.0,
            settle=0.0,
            speech={"max_seconds": 0.4},
        )
        async with talk:
            async for event in talk:
                if isinstance(event, (Said, Interrupted)):
                    world.utterances.clear()
                    measures.append(measured())

    run(main(), LONG)
    early, late = measures[turns // 5 :][:10], measures[-10:]
    # Whatever is in use at the moment: the least of ten turns. Messages may grow.
    grown = [min(after[i] for after in late) - min(before[i] for before in early) for i in range(3)]
    assert grown[0] < 2 * turns + 100 and grown[1] < 2**16 and grown[2] <= 0, grown
    assert (stt.streams, tts.streams) == (0, 0)
