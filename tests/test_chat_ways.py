"""A conversation in `for` and in `async for`, and its end at any moment."""

import asyncio
import threading
import time

import numpy as np
import pytest
from chatting import SOON, FakeSink, FakeStt, FakeTts, Scene
from test_chat import ANSWER, Closing, Endless, no_threads, run

from dsm_mlx import EndOfTurn, Word
from dsm_mlx.chat import Conversation, Said, TurnEnded, Writing

pytestmark = pytest.mark.filterwarnings("error")  # such as a coroutine never awaited

FRAMES = [np.full(1920, 0.5, np.float32)] * 20


class SayingStt(FakeStt):
    """Hears a turn in every source, at its beginning."""

    def stream(self, **options):
        stream = super().stream(**options)
        stream.say(Word("hello", 0.1, 0.3), EndOfTurn(0.4))
        return stream


def conversation(reply, source, sink=None):
    stt, tts = SayingStt(), FakeTts()
    found = Conversation(stt, tts, reply, source=source, sink=sink or fast())
    found.stt, found.tts = stt, tts
    return found


def fast():
    sink = FakeSink()
    sink.fast = True
    return sink


def forever(gate):
    """A person who says nothing any more, until the test lets the source go."""
    yield from FRAMES
    gate.wait(SOON)


def texts(talk):
    return [event.text for event in talk if isinstance(event, (TurnEnded, Said))]


def test_for_gives_everything_and_ends_with_the_source():
    talk = conversation(Closing("generator"), FRAMES)
    assert texts(talk) == ["hello", ANSWER]
    assert list(talk) == [] and no_threads()
    with pytest.raises(ValueError, match="the conversation is closed"):
        talk.say("more")


def test_what_is_to_be_said_after_the_end_is_not():
    async def main():
        it = Scene(Closing("text"))
        async with it.talk:
            it.source.end()
            while not it.talk._running.done():
                await asyncio.sleep(0.001)
            it.talk.say("Too late.")
            await asyncio.sleep(0.01)
            assert it.talk.messages == [] and await anext(it.talk, None) is None

    run(main())
    assert no_threads()


def test_in_a_with_block_it_is_closed_when_that_is_left():
    gate, reply = threading.Event(), Endless("generator")
    with conversation(reply, forever(gate)) as talk:
        next(event for event in talk if isinstance(event, Writing))
    assert reply.closed.wait(SOON) and talk.stt.opened.closed
    gate.set()
    assert no_threads()


def test_closing_from_another_thread_ends_the_iteration():
    gate = threading.Event()
    talk = conversation(Closing("text"), forever(gate))
    closer = threading.Thread(target=talk.close)
    for event in talk:
        if isinstance(event, Said):
            closer.start()
    closer.join(SOON)
    assert not closer.is_alive()
    gate.set()
    assert no_threads()


def test_closing_by_several_threads_at_once_at_any_moment():
    gate = threading.Event()
    for i in range(20):
        talk = conversation(Closing("text"), forever(gate))
        next(talk)
        closers = [threading.Timer(0.0003 * i, talk.close) for _ in range(3)]
        for closer in closers:
            closer.start()
        assert texts(talk) in ([], ["hello"], ["hello", ANSWER])
        for closer in closers:
            closer.join(SOON)
            assert not closer.is_alive()
    gate.set()
    assert no_threads()


def test_closing_from_the_reply():
    def reply(messages):
        talk.close()
        return "Goodbye."

    talk = conversation(reply, FRAMES)
    assert "Goodbye." not in texts(talk)
    assert no_threads()


def test_saying_and_interrupting_while_another_thread_iterates():
    gate = threading.Event()
    talk = conversation(Closing("text"), forever(gate))
    found = []
    for event in talk:
        if isinstance(event, Said):
            found.append(event.text)
            if len(found) == 2:
                break
            talk.say("One more thing.")
    assert found == [ANSWER, "One more thing."]
    talk.close()
    gate.set()
    assert no_threads()


def test_what_goes_wrong_at_the_beginning_is_raised_there():
    for begin in (lambda talk: next(talk), lambda talk: talk.__enter__()):
        talk = conversation(print, FRAMES)
        talk.tts.refuses = ValueError("no such voice")
        with pytest.raises(ValueError, match="no such voice"):
            begin(talk)
        assert no_threads()


def test_errors_of_the_source_are_raised_at_the_end():
    def source():
        yield from FRAMES
        raise OSError("unplugged")

    talk, found = conversation(Closing("text"), source()), []
    with pytest.raises(OSError, match="unplugged"):
        found += (event for event in talk if isinstance(event, Said))
    assert no_threads()


def test_one_way_at_a_time():
    gate = threading.Event()

    async def main():
        async with conversation(Closing("text"), forever(gate)) as talk:
            with pytest.raises(ValueError, match=r"by async for \(so not by for as well\)"):
                next(talk)

    run(main())
    match = r"by for \(so not by async for as well\)"
    with (
        conversation(Closing("text"), forever(gate)) as talk,
        pytest.raises(ValueError, match=match),
    ):
        run(talk.__anext__())
    gate.set()
    closed = conversation(Closing("text"), FRAMES)
    closed.close()
    with pytest.raises(ValueError, match="is closed"):
        next(closed)


def test_closed_in_the_moment_in_which_it_begins():
    async def main():
        talk = conversation(Closing("text"), FRAMES)
        beginning = asyncio.ensure_future(anext(talk, None))
        closing = asyncio.ensure_future(talk.aclose())
        assert await beginning is None
        await closing

    run(main())
    assert no_threads()


def test_a_loop_that_ends_before_the_conversation():
    gate, reply = threading.Event(), Endless("async_generator")

    async def main():
        talk = conversation(reply, forever(gate))
        while not isinstance(await anext(talk), Writing):
            pass
        return talk

    talk = asyncio.run(main())
    assert reply.closed.is_set() and talk.stt.opened.closed
    talk.close()
    gate.set()
    assert no_threads()


def test_a_next_that_is_cancelled_loses_nothing():
    async def main():
        it = Scene(Closing("text"))
        it.sink.fast = True
        async with it.talk:
            for _ in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(it.talk), 0.001)
            await it.asks("hello")
            await it.until(Said)
            assert it.kinds() == ["TurnEnded", "Thinking", "Said"]

    run(main())


@pytest.mark.parametrize("kind", ["generator", "async_generator", "awaited_text"])
def test_closed_at_any_moment_nothing_is_left(kind):
    """After so many turns of the event loop, from before the beginning to after the end."""

    async def closed_after(turns):
        reply = Closing(kind)
        it = Scene(reply)
        it.sink.fast = turns % 2 == 0
        it.source.give(2.0)
        opening = asyncio.ensure_future(anext(it.talk))
        told = False
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 3 else 0.0005)
            if hasattr(it.stt, "opened") and not told:
                told = True
                it.stream.say(Word("hello", 0.1, 0.3), EndOfTurn(0.4))
        await it.talk.aclose()
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            opening.exception()
        assert it.talk._running is None or it.talk._running.done()
        assert all(speech.cancelled for speech in it.tts.opened)
        if hasattr(it.stt, "opened"):
            until = time.monotonic() + SOON
            while not it.stream.closed:
                assert time.monotonic() < until
                await asyncio.sleep(0.001)

    async def main():
        for turns in (*range(40), *range(40, 400, 15)):
            await closed_after(turns)

    run(main())
    assert no_threads()


def test_closing_while_speech_is_written_to_a_full_loudspeaker():
    async def main():
        it = Scene(Closing("text", ["word " * 50]), sink=FakeSink(capacity=0.5))
        async with it.talk:
            await it.asks("hello")
            await it.until(Writing)
            while it.sink.written <= 0.5:
                await asyncio.sleep(0.001)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        assert it.talk.messages == [{"role": "user", "content": "hello"}]

    run(main())
    assert no_threads()


def test_events_that_nobody_takes_stop_the_hearing():
    async def main():
        it = Scene(Closing("text"))
        async with it.talk:
            for i in range(1200):
                it.stream.say(Word("word", i * 0.1, i * 0.1 + 0.1))
            while it.stream._events:
                await asyncio.sleep(0)
            heard = it.stream.time
            it.source.give(1.0)
            await asyncio.sleep(0.02)
            assert it.stream.time <= heard + 0.09
            for _ in range(300):
                await anext(it.talk)
            await asyncio.sleep(0.02)
            assert it.stream.time > heard + 0.9

    run(main())
