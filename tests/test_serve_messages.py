"""Kyutai's messages, to the byte."""

import msgpack
import numpy as np
import pytest

from dsm_mlx.serve.kyutai import messages


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (messages.READY, "81a474797065a55265616479"),
        (
            messages.word("bus", 0.96),
            "83a474797065a4576f7264a474657874a3627573aa73746172745f74696d65cb3feeb851eb851eb8",
        ),
        (
            messages.end_word(1.2),
            "82a474797065a7456e64576f7264a973746f705f74696d65cb3ff3333333333333",
        ),
        (messages.marker(7), "82a474797065a64d61726b6572a2696407"),
        (
            messages.error("no free channels"),
            "82a474797065a54572726f72a76d657373616765b06e6f2066726565206368616e6e656c73",
        ),
        (
            messages.step(300, [0.5, 0.25], 0),
            "84a474797065a453746570a8737465705f696478cd012ca370727392ca3f000000ca3e800000"
            "ac62756666657265645f70636d00",
        ),
        (
            messages.spoken("bus", 0.16, 0.48),
            "84a474797065a454657874a474657874a3627573a773746172745f73cb3fc47ae147ae147b"
            "a673746f705f73cb3fdeb851eb851eb8",
        ),
        (messages.audio(np.float32([0.5])), "82a474797065a5417564696fa370636d91ca3f000000"),
        (messages.ogg_opus(b"\x01\xff"), "82a474797065a74f67674f707573a46461746192" + "01ccff"),
    ],
)
def test_messages_are_those_of_the_specification(message, expected):
    assert message.hex() == expected


def test_what_comes_in_may_be_of_any_number_type_in_any_order():
    packed = msgpack.packb({"else": None, "pcm": [1, 0.5, -1], "type": "Audio"})
    message = messages.read(packed)
    np.testing.assert_array_equal(messages.samples(message), np.float32([1, 0.5, -1]))
    assert messages.samples({"pcm": []}).size == 0
    for data in (b"\x01\xff", [1, 255]):
        assert messages.octets({"data": data}) == b"\x01\xff"
    shaped = {"embeddings": [0.0, 1.0], "shape": [1, 2, 1]}
    assert messages.embedding(shaped).shape == (1, 2, 1)
    assert messages.embedding(shaped | {"shape": [2]}).shape == (1, 2)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (messages.samples, {"pcm": "abc"}),
        (messages.samples, {"pcm": ["a"]}),
        (messages.samples, {"pcm": [[1.0], [1.0, 2.0]]}),
        (messages.samples, {"pcm": [True]}),
        (messages.samples, {"pcm": [None]}),
        (messages.octets, {"data": [256]}),
        (messages.octets, {"data": ["a"]}),
        (messages.octets, {"data": 4}),
        (messages.embedding, {"embeddings": [1.0], "shape": [2]}),
        (messages.embedding, {"embeddings": [1.0], "shape": [1, 1, 1, 1]}),
        (messages.embedding, {"embeddings": [1.0], "shape": [-1, -1]}),
        (lambda m: messages.whole(m, "id"), {"id": 1 << 63}),
        (lambda m: messages.whole(m, "id"), {"id": True}),
        (messages.read, b"\x81\xa4type\x01"),
        (messages.read, b"\xc1"),
        (messages.read, b"\x91" * 100_000),
        (messages.read, b"\xdd\xff\xff\xff\xff"),
        (messages.read, b"\x81\x90\x01"),
    ],
)
def test_what_is_no_message_is_one_error(read, message):
    with pytest.raises(messages.MessageError):
        read(message)
