"""A conversation on models, a source and a loudspeaker that do what the test says."""

import asyncio
import gc
import threading
import time

import numpy as np
import pytest
from chatting import SOON, FakeSink, FakeStt, FakeTts, Scene, scene

from dsm_mlx import AudioError, BusyError, TurnPolicy, Word
from dsm_mlx.chat import (
    Conversation,
    DeviceChanged,
    DeviceLost,
    Failed,
    Heard,
    Interrupted,
    Said,
    Saying,
    TakenBack,
    Thinking,
    TurnEnded,
    Writing,
)
from dsm_mlx.chat import asking as asking_module

pytestmark = pytest.mark.filterwarnings("error")  # such as a coroutine never awaited

ASKED = {"role": "user", "content": "what time is it"}
ANSWER = "It is nine o'clock, more or less."


def run(coroutine, seconds=2 * SOON):
    """As asyncio.run, but not for ever; nothing may be left in the loop."""

    async def bounded():
        loop, wrong = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: wrong.append(context["message"]))
        await asyncio.wait_for(coroutine, seconds)
        await asyncio.sleep(0)
        gc.collect()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert (left, wrong) == (set(), [])

    asyncio.run(bounded())


def threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("dsm_mlx ")]


def no_threads():
    """Whether none of ours is left but the models' own; they end by themselves, soon."""
    until = time.monotonic() + SOON
    while left := [name for name in threads() if name != "dsm_mlx worker"]:
        if time.monotonic() > until:
            raise AssertionError(left)
        time.sleep(0.005)
    return True


class Closing:
    """Replies of one kind, which tell when they are closed."""

    def __init__(self, kind, pieces=("It is ", "nine o'clock, ", "more or less.")):
        self.kind, self.pieces, self.asked, self.closed = kind, pieces, [], threading.Event()

    def __call__(self, messages):
        self.asked.append(messages)
        return getattr(self, self.kind)()

    def text(self):
        return "".join(self.pieces)

    def pieces_(self):
        return list(self.pieces)

    def generator(self):
        try:
            yield from self.pieces
        finally:
            self.closed.set()

    async def async_generator(self):
        try:
            for piece in self.pieces:
                await asyncio.sleep(0)
                yield piece
        finally:
            self.closed.set()

    async def awaited_text(self):
        return self.text()

    async def awaited_generator(self):
        return self.async_generator()


class Endless(Closing):
    """Such as say a word, and then think for ever."""

    def generator(self):
        try:
            yield "Well, "
            while not self.closed.wait(0.01):
                yield ""
        finally:
            self.closed.set()

    async def async_generator(self):
        try:
            yield "Well, "
            await asyncio.sleep(1000)
        finally:
            self.closed.set()

    async def awaited_text(self):
        try:
            await asyncio.sleep(1000)
        finally:
            self.closed.set()


# ---- turns


@pytest.mark.parametrize(
    "kind",
    ["text", "pieces_", "generator", "async_generator", "awaited_text", "awaited_generator"],
)
def test_a_turn_is_answered_by_every_kind_of_reply(kind):
    reply = Closing(kind)

    async def main():
        async with scene(reply, system="Be brief.", sink=FakeSink()) as it:
            it.sink.fast = True
            await it.asks("what time is it")
            said = await it.until(Said)
            assert reply.asked == [[{"role": "system", "content": "Be brief."}, ASKED]]
            assert it.kinds() == ["TurnEnded", "Thinking", "Said"]
            assert it.put_together(Writing) == it.put_together(Saying) == said.text == ANSWER
            assert it.talk.messages[1:] == [ASKED, {"role": "assistant", "content": ANSWER}]
            assert "generator" not in kind or reply.closed.wait(SOON)

    run(main())
    assert no_threads()


def test_what_is_told_and_when():
    async def main():
        async with scene(Closing("text")) as it:
            await it.says("what time is")
            it.stream.late = [Word("it", 1.2, 1.4)]
            it.ends()
            ended = await it.until(TurnEnded)
            heard = [event.text for event in it.events if isinstance(event, Heard)]
            assert heard == ["what", "what time", "what time is", "what time is it"]
            assert ended.text == heard[-1] and it.stream.flushes == 1
            await it.until(Writing)
            await it.plays(0.2)
            assert (await it.until(Saying)).text == "It"
            await it.plays(0.3)  # half of the next but one
            assert (await it.until(Saying)).text == " is"
            await it.plays(0.9)
            said = await it.until(Said)
            assert all(a.time <= b.time for a, b in zip(it.events, it.events[1:], strict=False))
            assert said.latency.last_word >= 0 and said.latency.first_token >= 0
            assert said.latency.first_sound > 0
            parts = said.latency.last_word + said.latency.first_token + said.latency.first_sound
            assert said.latency.total == pytest.approx(parts)

    run(main())


def test_it_speaks_while_the_reply_is_still_being_written():
    heard = threading.Event()

    def reply(messages):
        yield "It is nine. "
        assert heard.wait(SOON)
        yield "More or less."

    async def main():
        async with scene(reply) as it:
            await it.asks("what time is it")
            await it.plays(0.6)  # all of the first sentence
            assert it.speech.text == "It is nine. "
            heard.set()
            await it.plays(0.6)
            assert (await it.until(Said)).text == "It is nine. More or less."

    run(main())


@pytest.mark.parametrize("kind", ["generator", "async_generator", "awaited_text"])
def test_an_end_that_came_too_early_is_taken_back(kind):
    reply = Endless(kind)

    async def main():
        async with scene(reply) as it:
            await it.asks("what time")
            await it.until(Thinking)
            if kind != "awaited_text":
                await it.until(Writing)
            await it.says("is", gap=0.08)
            assert (await it.until(TakenBack)).text == "what time is"
            assert await asyncio.to_thread(reply.closed.wait, SOON)
            assert all(speech.cancelled for speech in it.tts.opened)
            assert it.talk.messages == []
            await it.asks("it")
            assert (await it.until(TurnEnded)).text == "what time is it"
            await it.until(Thinking)
            assert it.talk.messages == [ASKED]

    run(main())
    assert no_threads()


def test_more_that_is_said_while_it_thinks_for_long_is_a_turn_of_its_own():
    reply = Endless("async_generator")

    async def main():
        async with scene(reply) as it:
            await it.asks("what time is it")
            await it.until(Thinking)
            await it.hears(2.0)
            await it.says("or wait")
            cut = await it.until(Interrupted)
            assert cut.heard == "" and reply.closed.is_set()
            it.ends()
            assert (await it.until(TurnEnded)).text == "or wait"
            assert it.talk.messages == [{"role": "user", "content": "what time is it\nor wait"}]

    run(main())


def test_an_end_without_words_is_no_turn():
    async def main():
        async with scene(Closing("text")) as it:
            it.ends()
            await it.asks("hello")
            assert (await it.until(TurnEnded)).text == "hello"
            assert it.kinds() == ["TurnEnded"]

    run(main())


# ---- interruptions


@pytest.mark.parametrize("kind", ["generator", "async_generator"])
def test_two_words_over_the_assistant_stop_it(kind):
    reply = Endless(kind)
    reply.text_before = "It is **nine** o'clock. And a long story. "

    def long(messages):
        inner = Endless.__call__(reply, messages)
        if kind == "generator":
            yield reply.text_before
            yield from inner

    async def long_async(messages):
        yield reply.text_before
        inner = reply.async_generator()
        try:
            async for piece in inner:
                yield piece
        finally:
            await inner.aclose()

    async def main():
        asked = long if kind == "generator" else long_async
        async with scene(asked, full_duplex=True) as it:
            await it.asks("what time is it")
            await it.plays(0.75)  # three words, and most of the fourth
            await it.until(Saying, 3)
            await it.hears(0.8)
            await it.says("no wait")
            known = time.monotonic()
            cut = await it.until(Interrupted)
            assert it.sink.stops == 1 and it.sink.stopped_at < known + 0.3
            assert it.speech.cancelled and it.sink.written == 0
            assert cut.heard == "It is **nine**" == it.put_together(Saying)
            assert cut.text.startswith(reply.text_before)
            assert await asyncio.to_thread(reply.closed.wait, SOON)
            assert it.talk.messages == [ASKED, {"role": "assistant", "content": cut.heard}]
            it.ends()
            assert (await it.until(TurnEnded)).text == "no wait"

    run(main())
    assert no_threads()


def test_of_what_was_not_heard_there_is_no_message():
    async def main():
        async with scene(Closing("text"), full_duplex=True) as it:
            await it.asks("what time is it")
            await it.plays(0.1)  # of the first word
            await it.hears(0.8)
            await it.asks("never mind")
            assert (await it.until(Interrupted)).heard == ""
            await it.until(Thinking)
            assert it.talk.messages == [
                {"role": "user", "content": f"{ASKED['content']}\nnever mind"}
            ]

    run(main())


def test_from_outside():
    async def main():
        async with scene(Closing("text")) as it:
            it.talk.interrupt()  # nobody speaks
            await it.asks("what time is it")
            await it.plays(0.4)
            await it.until(Saying, 2)
            await asyncio.to_thread(it.talk.interrupt)
            assert (await it.until(Interrupted)).heard == "It is"
            it.sink.fast = True
            await it.asks("go on")
            await it.until(Said)
            assert it.kinds().count("Interrupted") == 1

    run(main())


def test_half_duplex_hears_silence_while_it_speaks_and_a_moment_after():
    async def main():
        async with scene(Closing("text"), settle=0.4) as it:
            await it.asks("what time is it")
            await it.plays(0.2)
            await it.until(Saying)
            await it.hears(1.0)
            await it.plays(1.2)
            await it.until(Said)
            spoken = it.stream.time
            await it.hears(1.0)
            levels = [float(np.abs(pcm).max()) for pcm in it.stream.pushed]
            quiet = [i * 0.08 for i, level in enumerate(levels) if not level]
            assert spoken - 1.0 == pytest.approx(quiet[0], abs=0.09)
            assert spoken + 0.4 == pytest.approx(quiet[-1] + 0.08, abs=0.09)
            assert set(levels) == {0.0, 0.5}

    run(main())


def test_full_duplex_hears_all_the_time():
    async def main():
        async with scene(Closing("text"), full_duplex=True) as it:
            await it.asks("what time is it")
            await it.plays(0.2)
            await it.until(Saying)
            await it.hears(1.0)
            assert all(pcm.all() for pcm in it.stream.pushed)

    run(main())


def test_a_reply_that_blocks_is_left_behind_and_the_next_one_is_asked(monkeypatch):
    monkeypatch.setattr(asking_module, "_LATE_SECONDS", 0.05)
    hang, order = threading.Event(), []

    def reply(messages):
        order.append(messages[-1]["content"])
        if len(order) == 1:
            hang.wait(SOON)
        return "Yes."

    async def main():
        async with scene(reply) as it:
            it.sink.fast = True
            await it.asks("one")
            await it.until(Thinking)
            it.talk.interrupt()
            await it.until(Interrupted)
            await it.asks("two")
            assert (await it.until(Said)).text == "Yes."
            assert order == ["one", "one\ntwo"]
        hang.set()

    run(main())
    assert no_threads()


def test_a_reply_ends_before_the_next_one_is_asked():
    order, go_on = [], threading.Event()

    def reply(messages):
        order.append("begun")
        try:
            yield "Well, "
            go_on.wait(SOON)
            yield "well."
        finally:
            order.append("closed")

    async def main():
        async with scene(reply) as it:
            it.sink.fast = True
            await it.asks("one")
            await it.until(Writing)
            it.talk.interrupt()
            await it.until(Interrupted)
            await it.asks("two")
            await it.until(Thinking)
            go_on.set()
            await it.until(Said)
            assert order == ["begun", "closed", "begun", "closed"]

    run(main())


# ---- what is said without being asked


def test_a_greeting_and_what_waits_for_it():
    it = Scene(Closing("text"))
    it.talk.say("Good morning.")  # before it begins

    async def main():
        async with it.talk:
            it.talk.say("How are you?")
            it.sink.fast = True
            first, second = await it.until(Said), await it.until(Said)
            assert (first.text, second.text) == ("Good morning.", "How are you?")
            assert first.latency is None
            assert it.talk.messages == [
                {"role": "assistant", "content": "Good morning.\nHow are you?"}
            ]

    run(main())


# ---- what goes wrong


def fails_at_once(messages):
    raise OSError("no connection")


def breaks_off(messages):
    yield "It is "
    raise OSError("no connection")


async def breaks_off_later(messages):
    yield "It is "
    raise OSError("no connection")


@pytest.mark.parametrize(
    ("reply", "said"), [(fails_at_once, ""), (breaks_off, "It is"), (breaks_off_later, "It is")]
)
@pytest.mark.parametrize("sorry", [None, "Sorry, what?"])
def test_a_reply_that_fails_is_told_and_the_loop_goes_on(reply, said, sorry):
    async def main():
        async with scene(reply, sorry=sorry) as it:
            it.sink.fast = True
            for turns in (1, 2):
                await it.asks("what time is it")
                assert (await it.until(Failed)).message == "the reply failed: no connection"
                assert (await it.until(Said)).text.strip() == said
                spoken = f"{said}\n{sorry}".split() if sorry else said.split()
                assert it.speech.text.split() == spoken
                contents = [message["content"] for message in it.talk.messages]
                asked = ASKED["content"]
                both = [asked, said] * turns if said else ["\n".join([asked] * turns)]
                assert contents == both

    run(main())


@pytest.mark.parametrize("found", [None, 3, [3], ["It ", None]])
def test_a_reply_that_is_no_text(found):
    async def main():
        async with scene(lambda messages: found) as it:
            it.sink.fast = True
            await it.asks("what time is it")
            assert "expected str" in (await it.until(Failed)).message
            await it.until(Said)

    run(main())


def test_a_tag_that_nobody_knows_is_left_out():
    async def main():
        async with scene(lambda messages: iter(["It is ", "<bad>", "nine."])) as it:
            it.sink.fast = True
            await it.asks("what time is it")
            await it.until(Said)
            assert it.speech.text == "It is nine."

    run(main())


def test_speech_that_fails_is_told_and_the_loop_goes_on():
    reply = Closing("async_generator")

    async def main():
        async with scene(reply) as it:
            it.sink.fast = True
            it.tts.refuses = BusyError("all streams are in use")
            await it.asks("what time is it")
            message = (await it.until(Failed)).message
            assert message == "the speech failed: all streams are in use"
            it.tts.refuses, it.tts.breaks_at = None, 2
            await it.asks("hello")
            assert (await it.until(Failed)).message == "the speech failed: a row is not finite"
            heard = it.talk.messages[1:]
            assert it.talk.messages[0]["content"] == "what time is it\nhello"
            assert heard == [{"role": "assistant", "content": "It is"}]
            it.tts.breaks_at = None
            await it.asks("again")
            assert (await it.until(Said)).text == ANSWER

    run(main())


def test_a_loudspeaker_that_is_lost():
    async def main():
        async with scene(Closing("text")) as it:
            it.sink.fails = AudioError("the loudspeaker is lost")
            await it.asks("what time is it")
            await it.until(Failed)
            assert it.kinds()[-2:] == ["DeviceLost", "Failed"]
            it.sink.fails, it.sink.fast = None, True
            await it.asks("again")
            await it.until(Said)

    run(main())


def test_a_source_that_fails_is_told_after_all_that_was_said():
    async def main():
        it = Scene(Closing("text"))
        it.sink.fast = True
        with pytest.raises(AudioError, match="the microphone is lost"):
            async with it.talk:
                await it.says("what time is it")
                it.source.end(AudioError("the microphone is lost"))
                await it.until(DeviceLost)
                assert (await it.until(Said)).text == ANSWER
                await it.until(Said)
        assert it.kinds() == ["DeviceLost", "TurnEnded", "Thinking", "Said"]

    run(main())


def test_hearing_that_fails_ends_it():
    async def main():
        it = Scene(Closing("text"))
        with pytest.raises(RuntimeError, match="not finite"):
            async with it.talk:
                it.stream.fail(RuntimeError("a row is not finite"))
                await it.until(Said)
        assert it.stream.closed

    run(main())


def test_devices_tell_what_happens_to_them():
    class Event:
        def __init__(self, kind):
            self.kind, self.message = kind, f"it is {kind}"

    async def main():
        async with scene(Closing("text")) as it:
            for kind in ("changed", "overflow", "lost", "lost"):
                it.talk.device(Event(kind))
            assert (await it.until(DeviceChanged)).message == "it is changed"
            assert (await it.until(DeviceLost)).message == "it is lost"
            it.source.end()
            with pytest.raises(StopAsyncIteration):
                await it.until(Said)
            assert it.kinds() == ["DeviceChanged", "DeviceLost"]

    run(main())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"reply": "hello"}, "reply is 'hello' .expected a function"),
        ({"source": 3}, "source is 3 .expected an iterable"),
        ({"sink": 3}, "sink is 3, without write, drain, stop, position"),
        ({"patience": -1}, "patience is -1"),
        ({"settle": "x"}, "settle is 'x'"),
        ({"system": 3}, "system is 3"),
        ({"sorry": 3}, "sorry is 3"),
        ({"full_duplex": 1}, "full_duplex is 1"),
    ],
)
def test_what_is_wrong_is_told_at_once(wrong, message):
    given = {"reply": print, "source": [], "sink": FakeSink()} | wrong
    reply = given.pop("reply")
    with pytest.raises((TypeError, ValueError), match=message):
        Conversation(FakeStt(), FakeTts(), reply, **given)


def test_models_get_their_options_and_say_what_is_wrong_with_them_at_the_beginning():
    it = Scene(
        print,
        voice="linda",
        speech={"pace": 0.9},
        hearing={"gain": "auto"},
        turns=TurnPolicy(frames=6),
    )

    async def main():
        async with it.talk:
            pass

    run(main())
    assert it.stt.options == {"gain": "auto", "turns": TurnPolicy(frames=6)}
    assert it.tts.options[0]["voice"] == "linda" and it.tts.options[0]["pace"] == 0.9
    busy = Scene(print)
    busy.tts.refuses = BusyError("all streams are in use")

    async def begin():
        with pytest.raises(BusyError):
            async with busy.talk:
                raise AssertionError

    run(begin())
    assert no_threads()
