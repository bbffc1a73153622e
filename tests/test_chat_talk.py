"""Conversations with a server that does all that is wrong, and with a language model of our own."""

import asyncio
import threading

from chatting import SOON, scene
from completions import END, HEAD, answer, event, scripted, serving

from dsm_mlx.chat import Failed, Interrupted, LocalReply, Said, Saying, ServerReply, Writing

SORRY = "Sorry."


def run(coroutine):
    asyncio.run(asyncio.wait_for(coroutine, 3 * SOON))


def test_a_server_that_fails_in_every_way_ends_no_talk():
    """It answers with an error, breaks off, stalls, never ends, and is well again."""
    gone = threading.Event()

    def error(client):
        client.send(answer({"error": {"message": "no memory"}}, "500 No"))

    def breaks_off(client):
        client.send(HEAD, event("It is late. "))

    def stalls(client):
        client.send(HEAD, event("One moment. "))
        client.wait_until_gone()

    def is_well(client):
        client.send(HEAD, event("Yes. "), END)

    def endless(client):
        client.send(HEAD)
        while not client.wait_until_gone(0.005):
            client.send(event("and so on "))
        gone.set()

    ways = iter([error, breaks_off, stalls, endless, is_well])

    async def talk(url):
        reply = ServerReply(url, "m", timeout=0.5)
        async with scene(reply, sorry=SORRY, full_duplex=True) as it:
            it.sink.fast = True
            for told, said in (
                ("answered with status 500: no memory", ""),
                ("the answer broke off", "It is late."),
                ("nothing more came for 0.5 s", "One moment."),
            ):
                await it.asks("what time is it")
                assert told in (await it.until(Failed)).message
                assert (await it.until(Said)).text.strip() == said
                assert it.speech.text.split() == [*said.split(), SORRY]
            await it.asks("tell me all")
            await it.until(Saying, 3)
            await it.says("stop it")
            assert (await it.until(Interrupted)).heard.startswith("and so on")
            assert await asyncio.to_thread(gone.wait, SOON)
            it.ends()
            assert (await it.until(Said)).text.strip() == "Yes."

    with serving(scripted(lambda client: next(ways)(client))) as url:
        run(talk(url))


def test_three_turns_with_a_language_model_and_an_interruption(llm):
    """Each answer is that of a model which reads everything afresh, the cut message among it."""
    asked = []
    options = {"temperature": 0, "max_tokens": 120, "context": 1024}
    reply = LocalReply(llm(), **options)

    def noted(messages):
        asked.append(messages)
        return reply(messages)

    async def talk():
        async with scene(noted, full_duplex=True, system="be brief") as it:
            it.sink.fast = True
            await it.asks("one")
            first = (await it.until(Said)).text
            it.sink.fast = False
            await it.asks("now and then")
            while not it.sink.written or it.sink.position:  # until the last answer is forgotten
                await asyncio.sleep(0)
            await it.plays(0.4)
            await it.until(Saying, 2)
            await it.says("no stop")
            cut = await it.until(Interrupted)
            it.sink.fast = True
            it.ends()
            last = (await it.until(Said)).text
            return first, cut, last, it.talk.messages, it.put_together(Writing)

    found = {}

    async def keep():
        found["all"] = await talk()

    run(keep())
    first, cut, last, messages, written = found["all"]
    assert len(cut.heard.split()) == 2 and cut.text.startswith(cut.heard) and cut.heard != cut.text
    said = [m["content"] for m in messages if m["role"] == "assistant"]
    assert said == [text.strip() for text in (first, cut.heard, last)]
    assert [len(m) for m in asked] == [2, 4, 6] and asked[2][4]["content"] == cut.heard.strip()
    afresh = ["".join(LocalReply(llm(), **options)(messages)) for messages in asked]
    assert written == "".join([afresh[0], cut.text, afresh[2]])
    assert afresh[1].startswith(cut.text.rstrip())
