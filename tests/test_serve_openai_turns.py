"""Whose turn it is in a realtime conversation, with models that hear what a test tells them to."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import pytest
from chatting import FRAME, RATE, SOON, FakeStt, FakeTts
from starlette.websockets import WebSocketDisconnect

from dsm_mlx import EndOfTurn, Partial, Word
from dsm_mlx.serve.answers import Answerer
from dsm_mlx.serve.models import Models
from dsm_mlx.serve.openai.conversation.session import Conversing
from dsm_mlx.serve.options import ServerOptions
from dsm_mlx.serve.state import State

STORY = "one two three four five six seven eight"


class Stt(FakeStt):
    name, max_streams = "ear", 2

    def close(self):
        pass


class Tts(FakeTts):
    name, max_streams = "mouth", 2

    def close(self):
        pass


class Socket:
    """A websocket whose client is the test."""

    def __init__(self):
        self._sent, self._told = asyncio.Queue(), asyncio.Queue()
        self.code = None

    async def receive(self):
        return await self._sent.get()

    async def send_text(self, text):
        await self._told.put(json.loads(text))

    async def close(self, code, reason):
        self.code = int(code)

    def send(self, kind, **fields):
        text = json.dumps({"type": kind, **fields})
        self._sent.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self):
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def until(self, end):
        """All events up to the first whose type ends so."""
        found = [await asyncio.wait_for(self._told.get(), SOON)]
        while not found[-1]["type"].endswith(end):
            found.append(await asyncio.wait_for(self._told.get(), SOON))
        return found


class Scene:
    """A conversation, its client and its models. replied: the messages of every reply."""

    def __init__(self, answers):
        self.models = Models(Stt(), Tts(), [Answerer("talker", lambda: self.reply, "Be brief.")])
        self.state = State(ServerOptions(), self.models)
        self.client, self._answers, self.replied = Socket(), answers, []
        self.session = Conversing(self.client, self.models.listeners.take(), self.state, "talker")

    def reply(self, messages):
        self.replied.append(messages)
        return self._answers(messages)

    @property
    def stream(self):
        return self.models.stt.opened

    async def wish(self, **turns):
        """Of turns: those that are given, or none of the server's."""
        detection = {"type": "server_vad", **turns} if turns else None
        include = ["dsm_mlx.partial"]
        session = {"audio": {"input": {"turn_detection": detection}}, "include": include}
        self.client.send("session.update", session=session)
        return await self.client.until("updated")

    async def hears(self, seconds):
        frames = round(seconds * RATE / FRAME)
        silence = base64.b64encode(bytes(2 * FRAME * frames)).decode()
        before = self.session.talk.time
        self.client.send("input_audio_buffer.append", audio=silence)
        while self.session.talk.time < before + frames * FRAME / RATE - 0.01:
            await asyncio.sleep(0.001)

    async def says(self, text):
        for word in text.split():
            await self.hears(0.32)
            now = self.stream.time
            self.stream.say(Word(word, now - 0.2, now - 0.1))
        await self.hears(0.08)

    async def asks(self, text):
        await self.says(text)
        self.stream.say(EndOfTurn(self.stream.time))


@asynccontextmanager
async def scene(answers=lambda messages: "Yes."):
    found = Scene(answers)
    talking = asyncio.ensure_future(found.session.run())
    await found.client.until("created")
    try:
        yield found
        assert not talking.done()
    finally:
        found.client.leave()
        with pytest.raises(WebSocketDisconnect):
            await asyncio.wait_for(talking, SOON)
    if hasattr(found.models.stt, "opened"):
        assert found.stream.closed
    assert all(speech.cancelled for speech in found.models.tts.opened)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 3 * SOON))


def of(events, end):
    return [event for event in events if event["type"].endswith(end)]


def transcripts(events):
    return [event["transcript"] for event in of(events, "transcription.completed")]


def test_a_turn_that_goes_on_is_taken_back():
    """Its answer is cancelled, both items go, and another item has all that was said."""
    begun = asyncio.Event()

    async def slow(messages):
        begun.set()
        if len(it.replied) == 1:
            await asyncio.Event().wait()
        yield "Yes."

    async def main():
        nonlocal it
        async with scene(slow) as it:
            await it.asks("what is")
            events = await it.client.until("response.created")
            await begun.wait()
            assert transcripts(events) == ["what is"]
            await it.says("it")
            events += await it.client.until("transcription.delta")
            it.stream.say(EndOfTurn(it.stream.time))
            events += await it.client.until("response.done")
            return it.replied, events

    it = None
    replied, events = run(main())
    assert [m[-1]["content"] for m in replied] == ["what is", "what is it"]
    assert transcripts(events) == ["what is", "what is it"]
    user, answer, again, _ = (e["item"]["id"] for e in of(events, "conversation.item.added"))
    assert {e["item_id"] for e in of(events, "item.deleted")} == {user, answer}
    cancelled, done = (e["response"] for e in of(events, "response.done"))
    assert cancelled["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["status"] == "completed"
    starts = of(events, "speech_started")
    assert [e["item_id"] for e in starts] == [user, again]
    assert starts[0]["audio_start_ms"] == starts[1]["audio_start_ms"]
    deltas = [e["delta"] for e in of(events, "transcription.delta") if e["item_id"] == again]
    assert "".join(deltas) == "what is it"


def test_one_short_word_over_an_answer_begins_the_next_turn():
    async def main():
        async with scene(lambda messages: STORY) as it:
            await it.asks("go")
            await it.client.until("audio.delta")
            await it.hears(1.0)  # the turn does not go on any more
            await it.says("mm")
            events = await it.client.until("response.done")
            assert not of(events, "speech_started")
            await it.session.talk.quiet()
            await it.asks("why")
            events = await it.client.until("transcription.completed")
            assert transcripts(events) == ["mm why"]
            assert len(of(events, "speech_started")) == 1

    run(main())


def test_two_words_over_an_answer_stop_it_after_it_was_sent():
    """The answer was done, and is still being heard: no second end of it, and its text is cut."""
    long = " ".join([STORY] * 3)

    async def main():
        async with scene(lambda messages: long) as it:
            await it.asks("go")
            done = (await it.client.until("response.done"))[-1]["response"]
            name = done["output"][0]["id"]
            await it.hears(1.0)
            it.client.send("dsm_mlx.played", item_id=name, audio_ms=1000)
            await it.says("no stop")
            events = await it.client.until("speech_started")
            assert not of(events, "response.done")
            await it.asks("that")
            events = await it.client.until("response.created")
            assert transcripts(events) == ["no stop that"]
            it.client.send("conversation.item.truncate", item_id=name, audio_end_ms=450)
            await it.client.until("truncated")
            it.client.send("conversation.item.retrieve", item_id=name)
            item = (await it.client.until("retrieved"))[-1]["item"]
            assert item["content"][0]["transcript"] == "one two"
            while len(it.replied) < 2:  # on its way, in a thread
                await asyncio.sleep(0.001)
            return it.replied

    replied = run(main())
    cut = replied[1][2]
    assert cut["role"] == "assistant" and long.startswith(cut["content"]) and cut["content"] != long


@pytest.mark.parametrize("how", ["interrupt_response", "create_response"])
def test_turns_that_stop_nothing_or_are_not_answered(how):
    async def main():
        async with scene(lambda messages: STORY) as it:
            await it.wish(**{how: False})
            await it.asks("go on")
            if how == "create_response":
                await it.client.until("transcription.completed")
                it.client.send("response.create")
            await it.client.until("audio.delta")
            await it.asks("no stop that")
            events = await it.client.until("response.done")
            status = events[-1]["response"]["status"]
            events += await it.client.until("transcription.completed")
            assert transcripts(events) == ["no stop that"]
            if how == "interrupt_response":
                await it.client.until("audio.delta")
            return status, len(it.replied)

    assert run(main()) == ("completed", 2 if how == "interrupt_response" else 1)


def test_turns_by_hand():
    """What comes before a commit belongs to it; nobody is interrupted, and nobody sees ends."""

    async def main():
        async with scene(lambda messages: STORY) as it:
            await it.wish()
            await it.says("one two")
            it.stream.say(EndOfTurn(it.stream.time))
            it.stream.late = [Word("three", it.stream.time, it.stream.time)]
            it.client.send("input_audio_buffer.commit")
            it.client.send("response.create")
            events = await it.client.until("audio.delta")
            assert transcripts(events) == ["one two three"]
            await it.says("four five six")
            it.client.send("input_audio_buffer.commit")
            events = await it.client.until("response.done")
            assert events[-1]["response"]["status"] == "completed"
            events += await it.client.until("transcription.completed")
            assert transcripts(events) == ["four five six"]
            assert not of(events, "speech_started")
            it.client.send("response.create")  # which does not wait until the first was heard
            await it.client.until("response.done")
            return it.replied

    one, two = run(main())
    assert [m["content"] for m in one] == ["Be brief.", "one two three"]
    assert [m["content"] for m in two] == ["Be brief.", "one two three", STORY, "four five six"]


def test_what_is_cleared_belongs_to_no_turn():
    async def main():
        async with scene() as it:
            await it.wish()
            await it.says("one")
            it.client.send("input_audio_buffer.commit")
            await it.says("two")
            it.client.send("input_audio_buffer.clear")
            await it.says("three")
            it.client.send("input_audio_buffer.commit")
            it.client.send("input_audio_buffer.clear")
            events = await it.client.until("completed") + await it.client.until("completed")
            it.client.send("input_audio_buffer.commit")
            events += await it.client.until("error")
            return events

    events = run(main())
    assert transcripts(events) == ["one", "three"]
    assert events[-1]["error"]["code"] == "input_audio_buffer_commit_empty"
    by_item = {}
    for event in of(events, "transcription.delta"):
        by_item.setdefault(event["item_id"], []).append(event["delta"])
    ids = [e["item_id"] for e in of(events, "committed")]
    assert ["".join(by_item[name]) for name in ids] == ["one", "three"]


def test_when_turns_end_cannot_change_when_sound_has_come():
    """But whether the server looks for ends can."""

    async def main():
        async with scene() as it:
            await it.says("one")
            await it.client.until("delta")
            session = {"audio": {"input": {"turn_detection": {"silence_duration_ms": 2000}}}}
            it.client.send("session.update", session=session)
            error = (await it.client.until("error"))[-1]["error"]
            assert error["param"] == "session.audio.input.turn_detection"
            await it.wish()
            await it.says("two")
            it.client.send("input_audio_buffer.commit")
            assert transcripts(await it.client.until("completed")) == ["one two"]

    run(main())


def test_a_word_in_progress_is_told_to_who_asks_for_it():
    async def main():
        async with scene() as it:
            await it.wish(type="server_vad")
            await it.says("one")
            it.stream.say(Partial("tw", it.stream.time))
            events = await it.client.until("dsm_mlx.partial")
            started = of(events, "speech_started")[0]
            assert events[-1]["text"] == "one tw"
            assert events[-1]["item_id"] == started["item_id"]

    run(main())


def test_speech_that_cannot_be_had_fails_the_answer():
    async def main():
        async with scene() as it:
            it.models.tts.refuses = RuntimeError("no memory for another row")
            it.client.send("response.create")
            response = (await it.client.until("response.done"))[-1]["response"]
            assert response["status"] == "failed"
            assert "no memory" in response["status_details"]["error"]["message"]
            it.models.tts.refuses = None
            it.client.send("response.create")
            response = (await it.client.until("response.done"))[-1]["response"]
            assert response["status"] == "completed"

    run(main())


def test_options_of_speech_are_those_of_the_answer():
    async def main():
        async with scene() as it:
            it.models.voices = ["anna"]
            output = {"voice": {"id": "anna"}, "speed": 0.8}
            it.client.send("session.update", session={"audio": {"output": output}})
            it.client.send("response.create")
            await it.client.until("response.done")
            it.client.send("response.create", response={"audio": {"output": {"voice": "/etc"}}})
            await it.client.until("response.done")
            return it.models.tts.options

    one, two = run(main())
    assert (one["voice"], one["pace"]) == ("anna", 0.8)
    assert (two["voice"], two["pace"]) == (None, 0.8)
