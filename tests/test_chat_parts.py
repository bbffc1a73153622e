"""The small parts of a conversation: messages, spelling, the thread aside, the outbox."""

import asyncio
import threading

import pytest
from chatting import SOON

from dsm_mlx.chat import Heard, Partial
from dsm_mlx.chat.aside import Aside
from dsm_mlx.chat.messages import Messages
from dsm_mlx.chat.outbox import Outbox
from dsm_mlx.chat.spelling import Spelling


def test_messages_take_turns():
    messages = Messages("Be brief.")
    messages.add("user", "one")
    messages.add("assistant", " ")
    messages.add("user", "two")
    messages.add("assistant", "three ")
    assert messages.plain() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "three"},
    ]
    messages.add("user", "four")
    messages.take_back()
    assert messages.plain()[-1]["content"] == "three"
    messages.plain()[0]["content"] = "changed by a reply"
    assert messages.plain()[0]["content"] == "Be brief."


@pytest.mark.parametrize(
    ("text", "words", "pieces"),
    [
        ("It is nine.", "It is nine.", ["It", " is", " nine."]),
        ("It **is** _nine_, *yes*!", "It is nine, yes!", ["It", " **is**", " _nine_,", " *yes*!"]),
        ("## Trains\n\n- one\n- two", "Trains one two", ["## Trains", "\n\n- one", "\n- two"]),
        ("See [the page](https://a.b/c) now", "See the page now",
         ["See", " [the", " page](https://a.b/c)", " now"]),
        ("Do:\n```\nDo it\n```\nDo it.", "Do: Do it.", ["Do:", "\n```\nDo it\n```\nDo", " it."]),
        ("Cost: $5.50 👍 or 5 km", "Cost: $5.50 or 5|km", ["Cost:", " $5.50", " 👍 or", " 5 km"]),
        ("a cat, a bat", "a cat, a bat", ["a", " cat,", " a", " bat"]),
        ("un*believ*able thing", "unbelievable thing", ["", "un*believ*able thing"]),
        ("yes — no", "yes — no", ["yes", "", " — no"]),
    ],
)  # fmt: skip
def test_a_spoken_word_has_its_place_in_the_text(text, words, pieces):
    spelling = Spelling()
    for letter in text:
        spelling.write(letter)
    found = [spelling.speak(word.replace("|", " ")) for word in words.split()]
    assert found == pieces
    assert spelling.spoken == "".join(pieces)
    assert spelling.spoken + spelling.finish() == text


def test_a_word_is_not_looked_for_far_away():
    spelling = Spelling()
    spelling.write("one " + "two " * 200 + "far")
    assert spelling.speak("one") == "one"
    assert spelling.speak("far") == ""
    assert spelling.speak("two") == " two"


def test_calls_aside_come_one_after_another():
    aside, order = Aside("test"), []
    begun, gate = threading.Event(), threading.Event()

    def first():
        begun.set()
        gate.wait(SOON)
        order.append(1)

    async def main():
        assert await aside.free(0.1)  # nothing was ever given to it
        dropped = asyncio.ensure_future(aside.run(first))
        await asyncio.to_thread(begun.wait, SOON)
        never = asyncio.ensure_future(aside.run(order.append, "never"))
        await asyncio.sleep(0)
        dropped.cancel()
        never.cancel()
        aside.post(lambda: order.append(2))
        assert not await aside.free(0.01)
        gate.set()
        assert await aside.run(lambda: order.append(3) or 4) == 4
        assert order == [1, 2, 3]
        with pytest.raises(KeyError):
            await aside.run({}.__getitem__, "missing")
        with pytest.raises(RuntimeError, match="StopIteration"):
            await aside.run(next, iter([]))
        assert await aside.free(SOON)

    asyncio.run(main())
    thread = aside._thread
    aside.close()
    thread.join(SOON)
    assert not thread.is_alive()


def test_of_partial_words_the_latest_is_kept():
    async def main():
        outbox = Outbox()
        for event in Partial("a", 0), Partial("ab", 1), Heard("abc", 2), Partial("d", 3):
            outbox.put(event)
        outbox.end(ValueError("broken"))
        outbox.end()
        taken = [await outbox.take() for _ in range(3)]
        assert [event.text for event in taken] == ["ab", "abc", "d"]
        with pytest.raises(ValueError, match="broken"):
            await outbox.take()
        assert await outbox.take() is None

    asyncio.run(main())
