"""Kyutai's protocol, as its clients speak it, against a server in a process of its own."""

import base64
import io
import itertools
import json
import socket
import struct
import time
import urllib.error
import urllib.request
import wave
from contextlib import ExitStack

import golden as fixtures
import msgpack
import numpy as np
import pytest
from serving import FRAME, Served, receive, rest, send, send_sound, until, words_of
from websockets.exceptions import InvalidStatus

from dsm_mlx import load_stt, load_tts
from dsm_mlx.audio import read
from dsm_mlx.audio.pyav import has_pyav
from dsm_mlx.serve.kyutai import messages
from dsm_mlx.serve.kyutai.wishes import cleaned

BUS = "demos/audio/bus.wav"
ASR, TTS = "/api/asr-streaming", "/api/tts_streaming"
SLOTS = 3
needs_pyav = pytest.mark.skipif(not has_pyav(), reason="PyAV is not installed")


@pytest.fixture(scope="module")
def server(small):
    settings = {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}
    with Served(**settings, max_streams=SLOTS) as served:
        yield served


@pytest.fixture(scope="module")
def stt(small):
    return load_stt(small("stt-tiny"), dtype="float32")


@pytest.fixture(scope="module")
def tts(small):
    return load_tts(small("tts-tiny"), dtype="float32")


@pytest.fixture(scope="module")
def pcm():
    return read(BUS)


@pytest.fixture(scope="module")
def heard(stt):
    return [(word.text, word.start) for word in stt.transcribe(BUS).words]


def said(tts, text, voice=None, seed=5) -> np.ndarray:
    with tts.stream(voice, seed=seed) as stream:
        stream.feed(text)
        stream.end()
        return np.concatenate([chunk.audio for chunk in stream])


def sound_of(found: list[dict]) -> np.ndarray:
    frames = [np.array(m["pcm"], np.float32) for m in found if m["type"] == "Audio"]
    assert {len(frame) for frame in frames} == {FRAME}
    return np.concatenate(frames)


def speak(server, *texts, query="format=PcmMessagePack&seed=5", eos=True):
    """All messages of a client that says these texts, and the code that the server closed with."""
    with server.connect(f"{TTS}?{query}") as client:
        for text in texts:
            send(client, type="Text", text=text)
        if eos:
            send(client, type="Eos")
        found = [msgpack.unpackb(data) for data in rest(client)]
        return found, client.close_code


def post(server, path, data, **headers):
    request = urllib.request.Request(server.url(path), data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def get(server, path):
    with urllib.request.urlopen(server.url(path), timeout=30) as answer:
        return answer.read().decode()


def used_slots(server) -> list[str]:
    return [module["used_slots"] for module in json.loads(get(server, "/api/modules_info"))]


def wait_for(condition, seconds=5.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# ---- listening


def test_words_and_starts_are_those_of_transcribe(server, pcm, heard):
    with server.connect(ASR) as client:
        assert receive(client) == {"type": "Ready"}
        send_sound(client, pcm)
        send(client, type="Marker", id=7)
        found = until(client, "Marker")
        assert found[-1] == {"type": "Marker", "id": 7}
        assert words_of(found) == heard
        # The socket stays open after a Marker, and goes on.
        send_sound(client, pcm[: 5 * FRAME])
        send(client, type="Marker", id=-(1 << 63))
        again = until(client, "Marker")
        assert [m["type"] for m in again].count("Step") == 5
        assert again[-1]["id"] == -(1 << 63)


def test_a_step_for_every_frame_then_words_each_with_its_end(server, pcm):
    with server.connect(ASR) as client:
        send_sound(client, pcm, 777)
        send(client, type="Marker", id=0)
        found = until(client, "Marker")[1:]
    kinds = [m["type"] for m in found]
    steps = [m for m in found if m["type"] == "Step"]
    assert len(steps) == len(pcm) // FRAME
    assert [m["step_idx"] for m in steps] == list(range(1, len(steps) + 1))
    assert all(len(m["prs"]) == 4 and all(0 <= p <= 1 for p in m["prs"]) for m in steps)
    assert kinds[0] == "Step"
    for kind, following in itertools.pairwise(kinds):
        assert (kind == "Word") == (following == "EndWord")


def test_a_frame_that_a_marker_cuts_in_two_is_one_step(server, pcm):
    with server.connect(ASR) as client:
        assert receive(client) == {"type": "Ready"}
        for size, steps in ((1000, 0), (FRAME, 1), (920, 1), (100, 0)):
            send_sound(client, pcm[:size])
            send(client, type="Marker", id=size)
            kinds = [m["type"] for m in until(client, "Marker")]
            assert kinds.count("Step") == steps, size


def test_buffered_pcm_is_what_waits(server, pcm):
    with server.connect(ASR) as client:
        assert receive(client) == {"type": "Ready"}
        send_sound(client, pcm[: 10 * FRAME], 10 * FRAME)
        send(client, type="Marker", id=0)
        steps = [m for m in until(client, "Marker") if m["type"] == "Step"]
    assert [m["buffered_pcm"] for m in steps] == [FRAME * left for left in range(9, -1, -1)]


def test_numbers_of_any_type_text_pings_and_bin_are_taken(server, pcm, heard):
    half = len(pcm) // 2
    with server.connect(ASR) as client:
        client.send("a text frame means nothing here")
        send(client, type="Ping")
        client.send(msgpack.packb({"new": 1, "pcm": pcm[:half].tolist(), "type": "Audio"}))
        send(client, type="Audio", pcm=[])
        send_sound(client, pcm[half:], 100_000)
        send(client, type="Marker", id=1)
        assert words_of(until(client, "Marker")) == heard


def test_init_forgets_and_says_ready_and_loses_no_word(server, pcm, stt):
    with server.connect(ASR) as client:
        send(client, type="Init")
        assert receive(client) == receive(client) == {"type": "Ready"}
        send_sound(client, pcm[: 12 * FRAME])
        send(client, type="Init")
        first = until(client, "Ready")
        send_sound(client, pcm[: 12 * FRAME])
        send(client, type="Marker", id=1)
        second = until(client, "Marker")
    alone = [(w.text, w.start) for w in stt.transcribe(pcm[: 12 * FRAME], sample_rate=24_000).words]
    assert words_of(first) == alone
    assert [text for text, _ in words_of(second)] == [text for text, _ in alone]
    assert words_of(second)[0][1] >= 12 * 0.08  # times go on


def test_without_a_slot_there_is_an_error_and_a_close(server):
    for path, module in ((ASR, 0), (f"{TTS}?format=PcmMessagePack", 1)):
        with ExitStack() as clients:
            for _ in range(SLOTS):
                client = clients.enter_context(server.connect(path))
                assert receive(client) == {"type": "Ready"}
            with server.connect(path) as late:
                assert receive(late) == {"type": "Error", "message": "no free channels"}
                assert list(rest(late)) == [] and late.close_code == 1005
            assert used_slots(server)[module] == str(SLOTS)
        wait_for(lambda module=module: used_slots(server)[module] == "0")


def test_who_leaves_in_the_middle_frees_the_slot_at_once(server, pcm):
    """However much was sent and not heard: closing with a handshake, or vanishing."""
    for close in (lambda c: c.close(), lambda c: c.socket.shutdown(socket.SHUT_RDWR)):
        with server.connect(ASR) as client:
            for _ in range(8):
                send_sound(client, pcm, 100_000)
            close(client)
            wait_for(lambda: used_slots(server) == ["0", "0"], 2)


@needs_pyav
def test_ogg_opus_is_heard_cut_anywhere(server, pcm, stt):
    from dsm_mlx.serve.opus import OggOpusReader, OggOpusWriter

    writer = OggOpusWriter()
    whole = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
    data = writer.header() + b"".join(writer.frame(frame) for frame in whole)
    expected = stt.transcribe(OggOpusReader().push(data), sample_rate=24_000)
    with server.connect(ASR) as client:
        for i, start in enumerate(range(0, len(data), 333)):
            piece = data[start : start + 333]
            send(client, type="OggOpus", data=list(piece) if i % 2 else piece)
        send(client, type="Marker", id=1)
        assert words_of(until(client, "Marker")) == [(w.text, w.start) for w in expected.words]
    with server.connect(ASR) as client:
        send(client, type="OggOpus", data=list(bytes(200_000)))
        assert "no Ogg Opus" in until(client, "Error")[-1]["message"]


def test_a_posted_file_gives_its_words(server, heard):
    with open(BUS, "rb") as file:
        status, _, body = post(server, ASR, file.read())
    found = json.loads(body)
    assert status == 200 and words_of(found) == heard
    assert [m["type"] for m in found] == ["Word", "EndWord"] * len(heard)
    status, _, body = post(server, ASR, b"this is no sound")
    assert status == 400 and b"sound" in body
    assert used_slots(server) == ["0", "0"]


# ---- speaking


def test_sound_is_that_of_the_stream_with_the_same_seed(server, tts):
    found, code = speak(server, "Hello there", "my friend")
    assert found[0] == {"type": "Ready"} and code == 1005
    np.testing.assert_array_equal(sound_of(found), said(tts, "Hello there my friend"))
    words = [m for m in found if m["type"] == "Text"]
    assert [m["text"] for m in words] == ["Hello", "there", "my", "friend"]
    frames = 0
    for message in found[1:]:
        if message["type"] == "Audio":
            frames += 1
        else:  # ahead of its sound
            assert frames * 0.08 <= message["start_s"] + 1e-9 < message["stop_s"]


def test_each_message_ends_a_word_and_a_text_frame_is_text(server, tts):
    found, _ = speak(server, "Hel", "lo")
    assert [m["text"] for m in found if m["type"] == "Text"] == ["Hel", "lo"]
    with server.connect(f"{TTS}?format=Pcm&seed=5") as client:
        client.send("Hello there")
        client.send(b"\0")
        frames = list(rest(client))
        assert client.close_code == 1005
    assert {len(frame) for frame in frames} == {4 * FRAME}
    pcm = np.frombuffer(b"".join(frames), "<f4")
    np.testing.assert_array_equal(pcm, said(tts, "Hello there"))


def test_sound_comes_while_the_text_is_written(server, tts):
    with server.connect(f"{TTS}?format=PcmMessagePack&seed=5") as client:
        send(client, type="Text", text="one two three four")
        found = until(client, "Audio")
        send(client, type="Text", text="five six")
        send(client, type="Eos")
        found += [msgpack.unpackb(data) for data in rest(client)]
    np.testing.assert_array_equal(sound_of(found), said(tts, "one two three four five six"))


@needs_pyav
@pytest.mark.parametrize("packed", [True, False])
def test_ogg_opus_begins_with_its_headers_and_has_two_pages_a_frame(server, tts, packed):
    from dsm_mlx.serve.opus import OggOpusReader

    # OggOpus is the default format
    with server.connect(f"{TTS}?seed=5{'&format=OggOpusMessagePack' if packed else ''}") as client:
        client.send("Hello there")
        send(client, type="Eos")
        found = list(rest(client))
        assert client.close_code == 1005
    if packed:
        found = [msgpack.unpackb(data) for data in found]
        assert found[0] == {"type": "Ready"}
        found = [bytes(m["data"]) for m in found if m["type"] == "OggOpus"]
    head, *frames = found
    assert head[28:47] == b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 3840, 48_000, 0, 0)
    assert head.count(b"OggS") == 2 and head.count(b"OpusTags") == 1
    assert {frame.count(b"OggS") for frame in frames} == {2}
    granules = [struct.unpack_from("<q", frame, 6)[0] for frame in frames]
    assert granules == [1920 + 3840 * i for i in range(len(frames))]
    expected = said(tts, "Hello there")
    decoded = OggOpusReader().push(b"".join(found))
    assert len(frames) == len(expected) / FRAME
    assert len(decoded) == pytest.approx(len(expected) - FRAME, abs=32)
    path = io.BytesIO(b"".join(found))
    assert len(read(path)) == pytest.approx(len(expected) - FRAME, abs=32)  # by libsndfile


@pytest.mark.parametrize(
    "voice",
    [
        "nobody", "../voice1.wav", "/etc/passwd", "hf://kyutai/tts-voices/a.wav", "~/x", "%00",
        "voice1.wav.deadbeef@7.safetensors", "./voice1.wav",
    ],
)  # fmt: skip
def test_an_unknown_voice_is_the_default_one(server, tts, voice):
    found, code = speak(server, "Hi", query=f"format=PcmMessagePack&seed=5&voice={voice}")
    assert code == 1005
    np.testing.assert_array_equal(sound_of(found), said(tts, "Hi"))


def test_a_known_voice_speaks(server, tts):
    assert tts.voices() == ["voice0.wav", "voice1.wav", "voice2.wav"]
    expected = said(tts, "Hi", "voice1.wav")
    assert not np.array_equal(expected, said(tts, "Hi"))
    found, _ = speak(server, "Hi", query="format=PcmMessagePack&seed=5&voice=voice1.wav")
    np.testing.assert_array_equal(sound_of(found), expected)


def test_a_voice_message_before_ready_is_taken(server, tts):
    import mlx.core as mx

    file = fixtures.CHECKPOINTS / "tts-tiny/voice1.wav.deadbeef@7.safetensors"
    embedding = np.array(mx.load(str(file))["speaker_wavs"], np.float32)
    voice = {"embeddings": embedding.ravel().tolist(), "shape": list(embedding.shape)}
    expected = said(tts, "Hi", embedding)
    assert not np.array_equal(expected, said(tts, "Hi"))
    with server.connect(f"{TTS}?format=PcmMessagePack&seed=5") as client:
        send(client, type="Voice", **voice)
        send(client, type="Text", text="Hi")
        send(client, type="Eos")
        found = [msgpack.unpackb(data) for data in rest(client)]
    np.testing.assert_array_equal(sound_of(found), expected)


def test_a_voice_message_that_does_not_fit_is_told(server):
    with server.connect(f"{TTS}?format=PcmMessagePack") as client:
        send(client, type="Voice", embeddings=[0.0, 1.0], shape=[1, 2, 1])
        send(client, type="Text", text="Hi")
        assert until(client, "Error")[-1]["message"] == ("this model cannot speak with that voice")
        assert list(rest(client)) == []


def test_the_query_may_hold_more_but_nothing_bad(server):
    query = "format=PcmMessagePack&cfg_alpha=1.5&max_seq_len=7&anything=x&top_k=250&temperature=0.8"
    found, code = speak(server, "Hi", query=query)
    assert code == 1005 and sound_of(found).size
    for bad in ("format=mp3", "seed=x", "temperature=nan", "cfg_alpha=much", "top_k=1.5"):
        with pytest.raises(InvalidStatus) as caught, server.connect(f"{TTS}?{bad}"):
            pass
        assert caught.value.response.status_code == 400, bad


def test_nothing_to_say_is_just_a_close(server):
    found, code = speak(server)
    assert found == [{"type": "Ready"}] and code == 1005
    found, code = speak(server, " ", "\n")
    assert found == [{"type": "Ready"}] and code == 1005


def test_text_is_cleaned_and_breaks_are_short():
    assert cleaned("a \u2013 b") == "a  b"
    assert cleaned('<break time="3600s"/> <break time="1ms"/>') == (
        '<break time="10s"/> <break time="0.08s"/>'
    )


def test_tags_that_nobody_knows_are_left_out(server, tts):
    found, code = speak(server, "<b>Hello</b> there")
    assert code == 1005
    np.testing.assert_array_equal(sound_of(found), said(tts, "Hello there"))


def test_who_leaves_while_it_speaks_frees_the_slot_at_once(server):
    for close in (lambda c: c.close(), lambda c: c.socket.shutdown(socket.SHUT_RDWR)):
        with server.connect(f"{TTS}?format=Pcm") as client:
            client.send("word " * 500)
            client.recv()
            close(client)
            wait_for(lambda: used_slots(server) == ["0", "0"], 2)


def test_the_close_frame_is_empty(server):
    """As bytes: clients make 1005 of more than one thing."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        key = base64.b64encode(bytes(16)).decode()
        raw.sendall(
            f"GET {TTS}?format=PcmMessagePack HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode()
        )  # fmt: skip
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += raw.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101")
        raw.sendall(b"\x82\x81\0\0\0\0\0")  # one masked binary frame: Eos
        answer = answer.partition(b"\r\n\r\n")[2]
        ready = b"\x82\x0c" + messages.READY
        while len(answer) < len(ready) + 2:
            answer += raw.recv(4096)
        assert answer == ready + b"\x88\x00"


def test_a_posted_text_gives_a_wav_while_it_is_made(server):
    body = json.dumps({"text": "Hello there, my friend", "voice": "voice1.wav"}).encode()
    status, headers, data = post(server, TTS, body)
    assert status == 200 and headers["content-type"] == "audio/wav"
    assert headers["transfer-encoding"] == "chunked"
    assert data[:4] == b"RIFF" and data[4:8] == data[40:44] == b"\xff" * 4
    assert (len(data) - 44) % (2 * FRAME) == 0 and len(data) > 44
    for wrong in (b"", b"[]", b"{}", b'{"text": "a"}', b'{"text": 1, "voice": "a"}'):
        assert post(server, TTS, wrong)[0] in (400, 422)
    assert used_slots(server) == ["0", "0"]


def test_posted_turns_give_a_file_and_times(server, tts):
    turns = [("voice1.wav", "Hello there."), ("voice2.wav", "Hi, my friend!")]
    body = {"text": [text for _, text in turns], "voices": ["voice1.wav", "voice2.wav"]}
    expected = tts.synthesize(turns, seed=42)
    status, _, data = post(server, "/api/tts", json.dumps(body).encode())
    assert status == 200
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnframes()) == (24_000, len(expected.audio))
    body["return_timestamps"] = True
    answer = json.loads(post(server, "/api/tts", json.dumps(body).encode())[2])
    assert base64.b64decode(answer["wav"]) == data
    assert [(w["text"], w["start_s"], w["stop_s"]) for w in answer["transcript"]] == [
        (word.text, word.start, word.end) for word in expected.words
    ]


# ---- what it tells of itself


def test_it_tells_of_itself(server):
    assert set(json.loads(get(server, "/api/health"))) == {"status", "uptime_seconds"}
    for path in ("/api/status", f"{ASR}/health", "/health"):
        assert json.loads(get(server, path))["status"] == "ok"
    built = json.loads(get(server, "/api/build_info"))
    assert all(isinstance(value, str) for value in built.values())
    assert {"build_timestamp", "git_branch", "git_hash", "rustc_version"} <= set(built)
    asr, tts = json.loads(get(server, "/api/modules_info"))
    assert (asr["type"], asr["path"], asr["total_slots"]) == ("batched_asr", ASR, str(SLOTS))
    assert (tts["type"], tts["path"], tts["used_slots"]) == ("py", TTS, "0")
    assert {"lm", "audio_tokenizer"} <= set(asr) and "script" in tts
    status, _, body = post(server, "/api/voice", b"")
    assert status == 501 and b"not released" in body


def test_metrics_count(server):
    def value(name):
        lines = dict(line.rsplit(" ", 1) for line in get(server, "/metrics").splitlines())
        return float(lines[name])

    before = value("asr_connect"), value("asr_connection_num_steps_count")
    with server.connect(ASR) as client:
        assert receive(client) == {"type": "Ready"}
        assert value("asr_open_channels") == 1
    wait_for(lambda: value("asr_open_channels") == 0)
    after = value("asr_connect"), value("asr_connection_num_steps_count")
    assert after == (before[0] + 1, before[1] + 1)
    assert value("py_model_step_duration_count") > 0 < value("py_model_step_duration_sum")
