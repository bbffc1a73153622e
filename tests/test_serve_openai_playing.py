"""How much of an answer a client has heard, and how much of it may be sent; what is cut of one."""

import asyncio

import numpy as np
import pytest
import soundfile

from dsm_mlx.audio import read
from dsm_mlx.audio.encodings import RawFormat, to_law
from dsm_mlx.audio.raw import Decoder, Encoder
from dsm_mlx.serve.openai.conversation.items import Item, Items
from dsm_mlx.serve.openai.conversation.playing import AHEAD, Playing
from dsm_mlx.serve.openai.conversation.response import Cap
from dsm_mlx.serve.openai.incoming import RATE

SECOND = np.zeros(RATE, np.float32)


class Clock(asyncio.SelectorEventLoop):
    """A loop in which time passes only while everybody waits, and then at once."""

    now = 100.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


def run(main):
    loop = Clock()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


def playing(loop, begins=0.0, sent=lambda: None):
    async def room():
        pass

    got = []
    found = Playing(got.append, sent, room, begins)
    found.got = got
    return found


def test_the_clock_tells_what_is_heard_and_stands_still_without_sound():
    async def main(loop):
        it = playing(loop)
        assert it.position == 0.0
        await it.write(0, SECOND)
        await asyncio.sleep(0.25)
        assert it.position == pytest.approx(0.25)
        await asyncio.sleep(5)
        assert it.position == 1.0
        await it.write(0, SECOND)
        assert it.position == 1.0 and it.ends == pytest.approx(loop.time() + 1)
        await it.drain()
        assert it.position == 2.0 and it.ends == loop.time()

    run(main)


def test_no_more_is_sent_than_so_much_ahead():
    async def main(loop):
        it, began = playing(loop), loop.time()
        for _ in range(10):
            await it.write(0, SECOND)
            assert it.written - it.position <= AHEAD + 1
        assert loop.time() - began == pytest.approx(10 - AHEAD - 1, abs=0.01)

    run(main)


def test_the_client_knows_better_and_the_clock_goes_on_from_there():
    async def main(loop):
        it = playing(loop)
        await it.write(0, np.tile(SECOND, 3))
        await asyncio.sleep(2)
        it.played(0.5)
        assert it.position == 0.5
        await asyncio.sleep(1)
        assert it.position == pytest.approx(1.5)
        it.played(99)
        assert it.position == 3.0

    run(main)


def test_it_begins_when_what_came_before_ends():
    async def main(loop):
        first = playing(loop)
        await first.write(0, SECOND)
        second = playing(loop, first.ends)
        await second.write(0, SECOND)
        await asyncio.sleep(0.9)
        assert second.position == 0.0
        await asyncio.sleep(0.2)
        assert second.position == pytest.approx(0.1)

    run(main)


def test_what_is_stopped_ends_and_nothing_more_is_sent():
    async def main(loop):
        told = []
        it = playing(loop, sent=lambda: told.append("sent"))
        await it.write(0, np.tile(SECOND, 9))
        waiting = asyncio.ensure_future(it.write(0, SECOND))
        await asyncio.sleep(0.5)
        assert it.stop() == pytest.approx(0.5) and it.ends == loop.time()
        await waiting
        await it.drain()
        assert len(it.got) == 1 and it.position == pytest.approx(0.5) and told == ["sent"]
        it.played(3)
        assert it.position == pytest.approx(0.5)

    run(main)


@pytest.mark.parametrize(
    "words, characters, pieces, found",
    [
        (None, 99, ["one ", "two"], "one two"),
        (2, 99, ["on", "e", " two three"], "one two "),
        (2, 99, ["one two"], "one two"),
        (2, 99, ["one tw", "", "o", " ", "three"], "one two "),
        (None, 5, ["one ", "two"], "one t"),
    ],
)
def test_a_cap(words, characters, pieces, found):
    cap = Cap(words, characters)
    text = ""
    for piece in pieces:
        text += cap(piece)
        if cap.reached:
            break
    assert text == found and cap.reached == (found != "".join(pieces))


def test_items_are_bounded_and_those_that_are_forgotten_are_told():
    told = []
    items = Items(10, lambda kind, **fields: told.append((kind, fields.get("item_id"))))
    one, two, three = (Item("user", "input_text", text) for text in ("a" * 4, "b" * 4, "c" * 8))
    for item in (one, two, three):
        items.add(item)
    deleted = [name for kind, name in told if kind == "conversation.item.deleted"]
    assert deleted == [one.id, two.id] and items.last == three.id
    assert items.messages("") == [{"role": "user", "content": "c" * 8}]


@pytest.mark.parametrize("encoding, kind", [("u-law", "ULAW"), ("a-law", "ALAW")])
def test_telephone_sound_is_that_of_libsndfile(tmp_path, encoding, kind):
    """As near, piece by piece; and every value is itself."""
    pcm = read("demos/audio/bus.wav", target=8000)
    encode = Encoder(encoding, 8000)
    values = RawFormat(encoding, 8000).decode(bytes(range(256)))[:, 0]

    assert np.array_equal(RawFormat(encoding).decode(to_law(encoding, values))[:, 0], values)
    soundfile.write(tmp_path / "a.wav", pcm, 8000, kind)
    theirs, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    mine = RawFormat(encoding, 8000).decode(to_law(encoding, pcm))[:, 0]
    assert np.abs(mine - pcm).max() <= np.abs(theirs - pcm).max() + 1e-6
    sound = read("demos/audio/bus.wav")
    data = b"".join(encode(sound[i : i + 1920]) for i in range(0, len(sound), 1920)) + encode.rest()
    assert len(data) == round(len(sound) / 3)
    back = Decoder(encoding, 8000, 1)
    again = np.concatenate([back(data), back.rest()])
    assert len(again) == pytest.approx(len(sound), abs=3)
