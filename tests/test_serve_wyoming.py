"""Wyoming, by the client of its own package, against a server in a process of its own."""

import asyncio
import json
import random
import signal
import socket
import time
from contextlib import suppress

import numpy as np
import pytest
from serving import Served
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)

from dsm_mlx import load_stt, load_tts
from dsm_mlx.audio import read, to_s16le
from dsm_mlx.audio.raw import Decoder
from dsm_mlx.audio.resample import Resampler
from dsm_mlx.cli import serve_args

BUS = "demos/audio/bus.wav"
SLOTS = 2
LIMITS = {
    "connections": 6, "message": 1 << 20, "json": 1 << 16, "text": 2000, "idle": 2.0,
    "stalled": 1.5, "wait": 1.0, "drain": 5.0,
}  # fmt: skip
SOUND = {"rate": 24_000, "width": 2, "channels": 1}


@pytest.fixture(scope="module")
def models(small):
    return {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny")), "max_streams": SLOTS}


@pytest.fixture(scope="module")
def server(models):
    with Served(**models, wyoming_port=0, limits=LIMITS) as served:
        yield served
        assert served.process.poll() is None  # after all that was done to it
        assert not any("Traceback" in line for line in served.told)


@pytest.fixture(scope="module")
def pcm():
    return read(BUS)


@pytest.fixture(scope="module")
def stt(small):
    return load_stt(small("stt-tiny"), dtype="float32")


@pytest.fixture(scope="module")
def tts(small):
    return load_tts(small("tts-tiny"), dtype="float32")


async def talk(server, *asked, until=None):
    """All events that come after these were sent, up to one of a type, or to the end."""
    async with AsyncTcpClient("127.0.0.1", server.wyoming, read_timeout=20) as client:
        for event in asked:
            await client.write_event(event)
        found = []
        with suppress(ConnectionError):
            while (event := await client.read_event()) is not None:
                found.append(event)
                if event.type == until:
                    break
        return found


def ask(server, *asked, until=None):
    return asyncio.run(talk(server, *asked, until=until))


def sound_events(data: bytes, size=4096, **format):
    format = SOUND | format
    yield Transcribe(language="en").event()
    yield AudioStart(**format).event()
    for start in range(0, len(data), size):
        yield AudioChunk(**format, audio=data[start : start + size]).event()
    yield AudioStop().event()


def heard(server, data: bytes, size=4096, **format) -> str:
    """The text of sound; what comes piece by piece is the same."""
    found = ask(server, *sound_events(data, size, **format), until="transcript-stop")
    kinds = [event.type for event in found]
    pieces = len(kinds) - 3
    assert kinds == [
        "transcript-start",
        *["transcript-chunk"] * pieces,
        "transcript",
        "transcript-stop",
    ]
    text = Transcript.from_event(found[-2]).text
    assert "".join(event.data["text"] for event in found[1:-2]) == text
    return text


def said(found) -> np.ndarray:
    assert found[0].type == "audio-start" and found[0].data["rate"] == 24_000
    chunks = [event for event in found if event.type == "audio-chunk"]
    assert all(event.data | SOUND == event.data for event in chunks)
    assert [event.data["timestamp"] for event in chunks] == [80 * i for i in range(len(chunks))]
    return np.frombuffer(b"".join(event.payload for event in chunks), "<i2")


def free(server):
    """All slots are free again."""
    from urllib.request import urlopen

    until = time.monotonic() + 5
    while True:
        with urlopen(server.url("/api/modules_info"), timeout=20) as answer:
            if [module["used_slots"] for module in json.load(answer)] == ["0", "0"]:
                return
        assert time.monotonic() < until
        time.sleep(0.05)


# ---- what it tells of itself


def test_it_describes_itself(server, stt, tts):
    info = Info.from_event(ask(server, Describe().event(), until="info")[0])
    (asr,), (speaker,) = info.asr, info.tts
    assert asr.installed and asr.supports_transcript_streaming
    assert [model.name for model in asr.models] == [stt.name]
    assert asr.models[0].languages == list(stt.info.languages)
    assert speaker.installed and speaker.supports_synthesize_streaming
    assert [voice.name for voice in speaker.voices] == tts.voices()
    assert all(voice.languages == list(tts.info.languages) for voice in speaker.voices)
    assert info.handle == info.intent == info.wake == info.mic == info.snd == []


def test_pings_are_answered_and_unknown_events_dropped(server):
    found = ask(
        server,
        Event("nobody-knows", {"a": 1}, b"payload"),
        Event("audio-stop"),
        Event("synthesize-chunk", {"text": "of nothing"}),
        Event("stop"),
        Ping("hello").event(),
        until="pong",
    )
    assert [(event.type, event.data) for event in found] == [("pong", {"text": "hello"})]


# ---- listening


def test_the_text_is_that_of_transcribe(server, stt, pcm):
    data = to_s16le(pcm)
    expected = stt.transcribe(BUS).text
    assert expected and heard(server, data) == expected
    assert heard(server, data, size=777) == expected  # cut in the middle of a sample


@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(16_000, 2, 1), (44_100, 4, 2), (8000, 3, 1), (48_000, 1, 1)]
)
def test_sound_of_any_kind_is_heard(server, stt, pcm, rate, width, channels):
    samples = Resampler(24_000, rate)(pcm, last=True)
    scaled = np.clip(samples.astype(np.float64), -1, 1 - 2.0**-31) * (1 << 31)
    whole = np.repeat(scaled.astype("<i4"), channels)
    data = whole.view(np.uint8).reshape(-1, 4)[:, 4 - width :].copy()
    if width == 1:
        data ^= 0x80
    data = data.tobytes()
    encoding = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}[width]
    decoder = Decoder(encoding, rate, channels)
    expected = np.concatenate([decoder(data), decoder.rest()])
    assert abs(len(expected) - len(pcm)) < 100
    text = heard(server, data, rate=rate, width=width, channels=channels)
    assert text == stt.transcribe(expected, sample_rate=24_000).text


def test_words_come_while_it_is_spoken(server, pcm):
    async def play():
        async with AsyncTcpClient("127.0.0.1", server.wyoming, read_timeout=20) as client:
            *events, stop = sound_events(to_s16le(pcm))
            for event in events:
                await client.write_event(event)
            while (await client.read_event()).type != "transcript-chunk":
                pass
            await client.write_event(stop)
            while (first := await client.read_event()).type != "transcript":
                pass
            # and it can be used again
            for event in sound_events(to_s16le(pcm)):
                await client.write_event(event)
            while (second := await client.read_event()).type != "transcript":
                pass
            return first.data["text"], second.data["text"]

    first, second = asyncio.run(play())
    assert first == second != ""


def test_no_sound_is_an_empty_text(server, stt):
    assert heard(server, b"") == heard(server, b"x") == ""
    moment = stt.transcribe(np.zeros(240, np.float32), sample_rate=24_000)
    assert heard(server, bytes(480)) == moment.text  # what this model makes of it


@pytest.mark.parametrize(
    "format", [{"rate": 10}, {"rate": "x"}, {"width": 5}, {"width": None}, {"channels": 0}]
)
def test_sound_that_cannot_be_is_told(server, format):
    found = ask(server, *sound_events(bytes(4800), **format))
    assert [event.type for event in found] == ["transcript-start", "error"]
    assert "expected" in found[-1].data["text"] and found[-1].data["code"] == "refused"
    free(server)


# ---- speaking


@pytest.mark.parametrize("voice", [None, "voice1.wav", "../voice1.wav", "nobody"])
def test_a_text_is_said(server, voice):
    wanted = Synthesize("Hello there", voice and SynthesizeVoice(voice, speaker="any"))
    found = ask(server, wanted.event(), until="audio-stop")
    assert np.abs(said(found)).max() > 0 and len(said(found)) % 1920 == 0


def test_a_text_is_said_while_it_is_written(server):
    async def play():
        async with AsyncTcpClient("127.0.0.1", server.wyoming, read_timeout=20) as client:
            await client.write_event(SynthesizeStart(SynthesizeVoice("voice1.wav")).event())
            for piece in ("one tw", "o three four five si", "x seven eight"):
                await client.write_event(SynthesizeChunk(piece).event())
            found = [await client.read_event(), await client.read_event()]
            await client.write_event(SynthesizeChunk(" nine ten").event())
            await client.write_event(Synthesize("one two").event())
            await client.write_event(SynthesizeStop().event())
            while (event := await client.read_event()).type != "synthesize-stopped":
                found.append(event)
            return found

    found = asyncio.run(play())
    assert [event.type for event in found[:2]] == ["audio-start", "audio-chunk"]
    assert [event.type for event in found].count("audio-start") == 1
    assert found[-1].type == "audio-stop" and said(found).size


def test_nothing_to_say_is_no_sound(server):
    found = ask(server, Synthesize("").event(), until="audio-stop")
    assert [event.type for event in found] == ["audio-start", "audio-stop"]
    found = ask(
        server, SynthesizeStart().event(), SynthesizeStop().event(), until="synthesize-stopped"
    )
    assert [event.type for event in found] == ["audio-start", "audio-stop", "synthesize-stopped"]


def test_too_much_text_is_told(server):
    (error,) = ask(server, Synthesize("word " * 500).event())
    assert error.type == "error" and error.data["text"] == "too much text"
    live = [SynthesizeStart().event(), *[SynthesizeChunk("word " * 150).event()] * 3]
    assert ask(server, *live)[-1].type == "error"
    free(server)


# ---- how much, and for how long


def test_without_a_slot_there_is_an_error(server):
    async def play():
        async with AsyncTcpClient("127.0.0.1", server.wyoming) as one:
            async with AsyncTcpClient("127.0.0.1", server.wyoming) as two:
                for client in (one, two):
                    await client.write_event(AudioStart(**SOUND).event())
                    assert (await client.read_event()).type == "transcript-start"
                (error,) = await talk(server, AudioStart(**SOUND).event())
                assert (error.type, error.data["code"]) == ("error", "busy")
            await one.write_event(AudioStop().event())
            while (event := await one.read_event()).type != "transcript":
                assert event.type == "transcript-chunk"

    asyncio.run(play())
    free(server)


def test_who_leaves_frees_his_slot(server, pcm):
    async def play(*asked):
        client = AsyncTcpClient("127.0.0.1", server.wyoming)
        await client.connect()
        for event in asked:
            await client.write_event(event)
        await client.read_event()
        client._writer.transport.abort()

    asyncio.run(play(*list(sound_events(to_s16le(pcm)))[:-1]))
    free(server)
    asyncio.run(play(Synthesize("word " * 390).event()))
    free(server)


def line(**header) -> bytes:
    return json.dumps(header).encode() + b"\n"


GARBAGE = [
    b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\n", b"[]\n", b"7\n", b"null\n", b"{}\n",
    b'{"type": 1}\n', b"x" * 100_000, b"[" * 60_000 + b"\n", b"\xff" * 100 + b"\n",
    line(type="ping", data_length=1 << 17), line(type="audio-chunk", payload_length=1 << 21),
    line(type="ping", data_length=-1), line(type="ping", payload_length="5"),
    line(type="ping", data_length=5) + b"[1,2]", line(type="ping", data_length=2) + b"7\n",
    line(type="ping", data=[1]), line(type="ping", data_length=1e400),
    line(type="synthesize"), line(type="synthesize", data={"text": 5}),
]  # fmt: skip


def test_garbage_ends_the_connection_and_nothing_else(server):
    noise = random.Random(1)
    for data in [*GARBAGE, *[noise.randbytes(size) for size in (1, 30, 3000)]]:
        with socket.create_connection(("127.0.0.1", server.wyoming), timeout=10) as raw:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                assert raw.recv(4096) == b"", data[:40]
    assert ask(server, Ping("still there").event(), until="pong")


def test_an_event_that_breaks_off_is_no_event(server):
    for data in (b'{"type": "ping"', line(type="ping", data_length=9) + b"{}"):
        with socket.create_connection(("127.0.0.1", server.wyoming), timeout=10) as raw:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(4096) == b""


@pytest.mark.thorough
def test_who_says_nothing_for_too_long_is_told(server):
    for asked in ([], [AudioStart(**SOUND).event()]):
        found = ask(server, *asked)
        assert (found[-1].type, found[-1].data["code"]) == ("error", "idle")
    free(server)


def test_who_does_not_read_is_dropped(server):
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.wyoming))
        for event in (Synthesize("word " * 390).event(),) * 5:
            data = json.dumps(event.data).encode()
            raw.sendall(line(type=event.type, data_length=len(data)) + data)
        assert raw.recv(2)
        free(server)


@pytest.mark.parametrize("type", ["ping", "synthesize-chunk", "audio-chunk", "nobody-knows"])
def test_a_flood_costs_no_memory(server, type):
    """Of answers that nobody reads, and of what comes while something else is done."""
    before = server.memory
    data = json.dumps({"text": "x" * 100, "lists": [[]] * 15_000}).encode()
    event = line(type=type, data_length=len(data)) + data
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.wyoming))
        raw.sendall(line(type="synthesize", data={"text": "word " * 390}))
        raw.settimeout(0.5)
        until = time.monotonic() + 1.5
        with suppress(OSError):
            while time.monotonic() < until:
                raw.sendall(event * 10)
    free(server)
    assert server.memory - before < 60 << 20


def test_there_is_an_end_to_connections(server):
    async def play():
        clients = [AsyncTcpClient("127.0.0.1", server.wyoming) for _ in range(8)]
        answers = []
        for client in clients:
            await client.connect()
            with suppress(ConnectionError):
                await client.write_event(Ping().event())
        for client in clients:
            with suppress(ConnectionError):
                answers.append(await client.read_event())
        for client in clients:
            with suppress(ConnectionError):
                await client.disconnect()
        return [answer for answer in answers if answer is not None]

    until, answer = time.monotonic() + 20, None
    while (answered := len(asyncio.run(play()))) < LIMITS["connections"]:
        assert time.monotonic() < until  # those of the tests before have not left
    assert answered == LIMITS["connections"]
    while not answer:  # those who were there may not have been seen to leave
        assert time.monotonic() < until
        with suppress(ConnectionError):
            answer = ask(server, Ping().event(), until="pong")


def test_stopping_tells_those_at_work(models, pcm):
    async def play(served):
        async with (
            AsyncTcpClient("127.0.0.1", served.wyoming, read_timeout=20) as listener,
            AsyncTcpClient("127.0.0.1", served.wyoming, read_timeout=20) as speaker,
            AsyncTcpClient("127.0.0.1", served.wyoming, read_timeout=20) as idle,
        ):
            for event in list(sound_events(to_s16le(pcm)))[:-1]:
                await listener.write_event(event)
            await speaker.write_event(SynthesizeStart().event())
            await speaker.write_event(SynthesizeChunk("one two three four five").event())
            while (await listener.read_event()).type != "transcript-chunk":
                pass
            while (await speaker.read_event()).type != "audio-chunk":
                pass
            served.process.send_signal(signal.SIGTERM)
            kinds = []
            for client in (listener, speaker, idle):
                kinds.append([])
                with suppress(ConnectionError):
                    while (event := await client.read_event()) is not None:
                        kinds[-1].append(event.type)
            return kinds

    with Served(**models, wyoming_port=0) as served:
        listener, speaker, idle = asyncio.run(play(served))
        assert served.process.wait(20) == 0
    assert listener[-2:] == ["transcript", "transcript-stop"] and idle == []
    assert speaker[-2:] == ["audio-stop", "synthesize-stopped"]


def test_a_server_that_only_speaks_says_so(models):
    with Served(tts=models["tts"], wyoming_port=0) as served:
        info = Info.from_event(ask(served, Describe().event(), until="info")[0])
        assert info.asr == [] and info.tts
        (error,) = ask(served, AudioStart(**SOUND).event())
        assert (error.type, error.data["code"]) == ("error", "refused")


# ---- where


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ([], ("127.0.0.1", None)),
        (["--wyoming"], ("127.0.0.1", 10300)),
        (["--wyoming", "0"], ("127.0.0.1", 0)),
        (["--wyoming", "0.0.0.0:10300"], ("0.0.0.0", 10300)),
        (["--wyoming", "[::1]:1"], ("::1", 1)),
    ],
)
def test_where_it_listens(arguments, place):
    assert serve_args.parse(arguments).wyoming == place


@pytest.mark.parametrize("wrong", ["x", "70000", "host:", "localhost", "1:-1"])
def test_where_it_cannot_listen(wrong, capsys):
    with pytest.raises(SystemExit):
        serve_args.parse(["--wyoming", wrong])
    assert "expected [HOST:]PORT" in capsys.readouterr().err
