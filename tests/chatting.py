"""What the tests of conversations share: models that hear and say what a test tells them to, and a
loudspeaker whose time passes when the test says so."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import numpy as np

from dsm_mlx import Chunk, EndOfTurn, Mark, Pause, Word
from dsm_mlx.chat import Conversation

RATE = 24_000
FRAME = 1920
SOON = 8.0  # seconds in which anything here is over, also on a busy machine


class FakeTranscript:
    """Hears what `say` puts in; a flush brings out the words in `late`."""

    def __init__(self):
        self.pushed, self.late, self.flushes = [], [], 0
        self._events, self._come = [], asyncio.Event()
        self.closed, self.error = False, None

    @property
    def time(self):
        return sum(map(len, self.pushed)) / RATE

    waiting = 0

    async def ready(self):
        pass

    def push(self, pcm):
        self.pushed.append(pcm)
        self.say(Pause(self.time, {0.5: 0.9}))

    def say(self, *events):
        self._events += events
        self._come.set()

    def fail(self, error):
        self.error = error
        self._come.set()

    def flush(self):
        self.flushes += 1
        self.say(*self.late)
        self.late = []

    reset = flush

    def mark(self, value):
        self.say(Mark(value))

    def close(self):
        self.closed = True

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._events and not self.error:
            self._come.clear()
            await self._come.wait()
        if self.error:
            raise self.error
        return self._events.pop(0)


class FakeStt:
    sample_rate, delay = RATE, 0.4

    def stream(self, **options):
        self.options, self.opened = options, FakeTranscript()
        return self.opened


class FakeSpeech:
    """Every word is a chunk of 0.2 s, as soon as a space follows it or the text has ended."""

    cut_short = False

    def __init__(self, tts):
        self._tts = tts
        self.text, self.ended, self.cancelled, self._at = "", False, False, 0
        self._changed = asyncio.Event()

    async def give_async(self, text):
        if "<bad>" in text:
            raise ValueError("an unknown tag")
        self.text += text
        self._changed.set()

    def end(self):
        self.ended = True
        self._changed.set()

    def cancel(self):
        self.cancelled = True
        self._changed.set()

    close = cancel

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self.cancelled:
            words = self.text.split()
            whole = len(words) - (not self.ended and not self.text[-1:].isspace())
            if self._at < whole:
                if self._tts.breaks_at == self._at:
                    raise RuntimeError("a row is not finite")
                word = Word(words[self._at], self._at * 0.2, self._at * 0.2 + 0.2)
                self._at += 1
                return Chunk(np.full(RATE // 5, 0.1, np.float32), [word])
            if self.ended:
                break
            self._changed.clear()
            await self._changed.wait()
        self.cancelled = True
        raise StopAsyncIteration


class FakeTts:
    sample_rate = RATE
    refuses = breaks_at = None

    def __init__(self):
        self.opened, self.options = [], []

    def stream(self, voice=None, **options):
        if self.refuses:
            raise self.refuses
        self.options.append({"voice": voice, **options})
        self.opened.append(FakeSpeech(self))
        return self.opened[-1]


class FakeSink:
    """Plays when the test says that time has passed."""

    def __init__(self, capacity=1.0):
        self._changed, self._capacity, self._turn = threading.Condition(), capacity, 0
        self.written = self.position = 0.0
        self.stops, self.stopped_at, self.fails, self.fast = 0, 0.0, None, False

    def write(self, pcm):
        if self.fails:
            raise self.fails
        with self._changed:
            turn = self._turn
            while turn == self._turn and self.written - self.position > self._capacity:
                assert self._changed.wait(SOON)
            if turn == self._turn:
                self.written += len(pcm) / RATE
                self.position = self.written if self.fast else self.position
                self._changed.notify_all()

    def play(self, seconds):
        """So much time passes, as soon as there is so much to play."""
        with self._changed:
            until = self.position + seconds
            while self.position < until - 1e-9:
                assert self._changed.wait_for(lambda: self.written > self.position, SOON)
                self.position = min(until, self.written)
                self._changed.notify_all()

    def drain(self):
        with self._changed:
            turn = self._turn
            while turn == self._turn and self.position < self.written - 1e-9:
                if self.fast:
                    self.position = self.written
                else:
                    assert self._changed.wait(SOON)

    def stop(self):
        with self._changed:
            if self.written:
                self.stops, self.stopped_at = self.stops + 1, time.monotonic()
            self._turn += 1
            self.written = self.position = 0.0
            self._changed.notify_all()


class Source:
    """Sound of a person, frame by frame, as the test says."""

    def __init__(self):
        self._blocks, self._more = [], asyncio.Event()

    def give(self, seconds, level=0.5):
        """So much sound, in whole frames."""
        frames = round(seconds * RATE / FRAME)
        self._blocks += [np.full(FRAME, level, np.float32)] * frames
        self._more.set()

    def end(self, error=None):
        self._blocks.append(error)
        self._more.set()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._blocks:
            self._more.clear()
            await self._more.wait()
        block = self._blocks.pop(0)
        if isinstance(block, np.ndarray):
            return block
        raise block or StopAsyncIteration


class Scene:
    """A conversation with all its fakes, for a test that is its person and its loudspeaker."""

    def __init__(self, reply, **options):
        self.stt, self.tts, self.source = FakeStt(), FakeTts(), Source()
        self.sink = options.pop("sink", None) or FakeSink()
        self.talk = Conversation(
            self.stt, self.tts, reply, source=self.source, sink=self.sink, **options
        )
        self.events = []

    @property
    def stream(self):
        return self.stt.opened

    @property
    def speech(self):
        return self.tts.opened[-1]

    async def until(self, kind, count=1):
        """Take events until there were so many of a kind since the last one that was waited for;
        the last of them."""
        while True:
            event = await asyncio.wait_for(anext(self.talk), SOON)
            self.events.append(event)
            count -= isinstance(event, kind)
            if not count:
                return event

    async def hears(self, seconds):
        """So much sound is heard."""
        end = self.stream.time + seconds
        self.source.give(seconds)
        while self.stream.time < end - 0.05 or self.stream._events:
            await asyncio.sleep(0)

    async def says(self, text, gap=0.3):
        """The person speaks, and each word becomes known."""
        for word in text.split():
            await self.hears(gap)
            self.stream.say(Word(word, self.stream.time - 0.1, self.stream.time))
            await self.hears(0.08)

    def ends(self):
        """The end of the turn is seen."""
        self.stream.say(EndOfTurn(self.stream.time))

    async def asks(self, text):
        await self.says(text)
        self.ends()

    async def plays(self, seconds):
        await asyncio.to_thread(self.sink.play, seconds)

    def kinds(self):
        """Which events there were, without those that only tell of words."""
        names = [type(event).__name__ for event in self.events]
        return [name for name in names if name not in ("Heard", "Partial", "Writing", "Saying")]

    def put_together(self, kind):
        return "".join(event.text for event in self.events if isinstance(event, kind))


@asynccontextmanager
async def scene(reply, **options):
    found = Scene(reply, **options)
    async with found.talk:
        yield found
