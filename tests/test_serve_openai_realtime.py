"""OpenAI's live transcription: sound through a websocket of JSON.

With very small models where words do not matter, and `tiny` where they do.
"""

import numpy as np
import pytest
import soundfile
from realtime import Live
from serving import SECONDS, Served

from dsm_mlx import load_stt
from dsm_mlx.audio import read, to_s16le

BUS, CAT = "demos/audio/bus.wav", "demos/audio/cat.flac"
BUS_TEXT = "the bus was late because the road was full of snow"
CAT_TEXT = "a black cat was sleeping under the table when the doctor came"
SLOTS = 2
PAUSE = np.zeros(2 * 24_000, np.float32)


@pytest.fixture(scope="module")
def server(small):
    with Served(stt=str(small("stt-tiny")), max_streams=SLOTS) as served:
        yield served


@pytest.fixture(scope="module")
def tiny():
    with Served(stt="tiny", max_streams=SLOTS) as served:
        yield served


@pytest.fixture(scope="module")
def stt(small):
    return load_stt(small("stt-tiny"), dtype="float32")


def manual(client, **more):
    client.send(
        "session.update",
        session={"type": "transcription", "audio": {"input": {"turn_detection": None, **more}}},
    )
    return client.until("updated")[-1]


def deltas(events):
    return "".join(event["delta"] for event in events if event["type"].endswith(".delta"))


def completed(events):
    return [event["transcript"] for event in events if event["type"].endswith("completed")]


def test_turns_follow_each_other(server, stt):
    """Committed by the client; each has its own identity, and the words are the library's."""
    pcm = read(BUS)
    with Live(server) as client:
        assert client.first["type"] == "session.created"
        assert client.first["session"]["object"] == "realtime.transcription_session"
        assert manual(client)["session"]["audio"]["input"]["turn_detection"] is None
        client.append(pcm)
        client.commit()
        one = client.until("completed")
        client.append(pcm[:24_000])
        client.commit()
        two = client.until("completed")
    assert deltas(one) == one[-1]["transcript"] == stt.transcribe(BUS).text
    assert deltas(two) == two[-1]["transcript"]
    committed = [e for e in one + two if e["type"] == "input_audio_buffer.committed"]
    assert committed[0]["previous_item_id"] is None
    assert committed[1]["previous_item_id"] == committed[0]["item_id"] == one[-1]["item_id"]
    assert two[-1]["usage"]["seconds"] == pytest.approx(1.0, abs=0.2)
    assert len({event["event_id"] for event in one + two}) == len(one + two)


def test_the_older_shape(server, stt):
    headers = {"OpenAI-Beta": "realtime=v1"}
    with Live(server, additional_headers=headers) as client:
        assert client.first["type"] == "transcription_session.created"
        assert client.first["session"]["input_audio_format"] == "pcm16"
        client.send("transcription_session.update", session={"turn_detection": None})
        assert client.until("updated")[-1]["type"] == "transcription_session.updated"
        client.append(read(BUS))
        client.commit()
        assert client.until("completed")[-1]["transcript"] == stt.transcribe(BUS).text


@pytest.mark.thorough
def test_what_is_cleared_was_not_said(tiny):
    """What was committed before was said, and so is what comes after; nobody waits for answers."""
    with Live(tiny) as client:
        manual(client)
        client.append(read(BUS))
        client.commit()
        client.append(read(CAT)[:48_000])
        client.send("input_audio_buffer.clear")
        client.append(read(CAT))
        client.commit()
        found = client.until("completed")
        found += client.until("completed")
    assert completed(found) == [BUS_TEXT, CAT_TEXT]
    assert deltas(found) == BUS_TEXT + CAT_TEXT
    kinds = [event["type"].rpartition(".")[2] for event in found]
    assert kinds.count("cleared") == 1
    with Live(tiny) as client:  # with all of it heard, and a word under way
        manual(client)
        client.append(read(CAT)[:48_000])
        while client.until("delta")[-1]["delta"] != " cat":
            pass
        client.send("input_audio_buffer.clear")
        client.until("cleared")
        client.commit()
        assert client.until("error")[-1]["error"]["message"].startswith("the buffer is empty")
        client.append(read(BUS))
        client.commit()
        found = client.until("completed")
    assert completed(found) == [BUS_TEXT] and deltas(found) == BUS_TEXT
    assert found[-1]["usage"]["seconds"] == pytest.approx(len(read(BUS)) / 24_000, abs=0.01)


def test_what_is_cleared_before_any_sound_came(server):
    with Live(server) as client:
        client.send("input_audio_buffer.clear")
        assert client.receive()["type"] == "input_audio_buffer.cleared"
        assert manual(client)["type"] == "session.updated"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "turns",
    [
        {"type": "server_vad", "silence_duration_ms": 500, "threshold": None},
        {"type": "semantic_vad", "eagerness": "high"},
    ],
)
def test_the_server_ends_turns(tiny, turns):
    """However fast the sound comes: what follows a turn belongs to the next one."""
    bus, cat = read(BUS), read(CAT)
    with Live(tiny) as client:
        client.send("session.update", session={"audio": {"input": {"turn_detection": turns}}})
        client.until("updated")
        client.append(np.concatenate([bus, PAUSE, cat, PAUSE]))
        found = client.until("completed") + client.until("completed")
    assert completed(found) == [BUS_TEXT, CAT_TEXT]
    order = [event["type"].rpartition(".")[2] for event in found]
    one = ["speech_started", "speech_stopped", "committed", "added", "completed"]
    assert [kind for kind in order if kind != "delta"] == one * 2
    ids = [event["item_id"] for event in found if event["type"].endswith("completed")]
    for event in found:
        if "item" not in event:
            assert event["item_id"] in ids
    started = [event["audio_start_ms"] for event in found if "audio_start_ms" in event]
    stopped = [event["audio_end_ms"] for event in found if "audio_end_ms" in event]
    second = (len(bus) + len(PAUSE)) / 24
    assert started[0] < len(bus) / 24 - 500 < stopped[0] < second <= started[1] + 80 < stopped[1]


@pytest.mark.thorough
def test_a_turn_may_be_ended_by_the_client_where_the_server_looks_for_ends(tiny):
    with Live(tiny) as client:
        client.append(read(BUS))
        client.commit()
        client.append(np.concatenate([read(CAT), PAUSE]))
        found = client.until("completed") + client.until("completed")
    assert completed(found) == [BUS_TEXT, CAT_TEXT]


@pytest.mark.thorough
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_sound_of_other_rates(tiny, rate):
    """Turn after turn, cut inside samples."""
    with Live(tiny) as client:
        manual(client, format={"type": "audio/pcm", "rate": rate})
        found = []
        for path in (BUS, CAT):
            client.append_bytes(to_s16le(read(path, target=rate)), 9601)
            client.commit()
            found += client.until("completed")
    assert completed(found) == [BUS_TEXT, CAT_TEXT]


def test_turn_detection_cannot_change_in_the_middle(server):
    with Live(server) as client:
        manual(client)
        client.append(np.zeros(4800, np.float32))
        client.send("session.update", session={"audio": {"input": {"turn_detection": {}}}})
        error = client.until("error")[-1]["error"]
        assert error["param"] == "session.audio.input.turn_detection"


@pytest.mark.parametrize(
    "message, told",
    [
        ("hello", "no JSON"),
        ("[]", "no JSON object"),
        ('{"type": "response.create"}', "response.create"),
        ('{"type": "input_audio_buffer.append", "audio": "???"}', "base64"),
        ('{"type": "input_audio_buffer.append"}', "base64"),
        ('{"type": "input_audio_buffer.commit"}', "empty"),
        ('{"type": "session.update"}', "session"),
        ('{"type": "session.update", "session": {"type": "realtime"}}', "transcription"),
    ],
)
def test_what_is_wrong_is_told_and_the_session_goes_on(server, message, told):
    with Live(server) as client:
        client.socket.send(message)
        error = client.until("error")[-1]["error"]
        assert told in error["message"] and error["type"] == "invalid_request_error"
        assert manual(client)["type"] == "session.updated"


def test_events_are_told_by_their_id(server):
    with Live(server) as client:
        client.send("input_audio_buffer.commit", event_id="mine")
        assert client.until("error")[-1]["error"]["event_id"] == "mine"


def test_no_slot_is_told_and_one_that_leaves_makes_room(server):
    with Live(server), Live(server), Live(server) as third:
        error = third.first["error"]
        assert error["type"] == "server_error" and "streams are in use" in error["message"]
    server.free()


def test_who_leaves_in_the_middle_frees_the_slot_at_once(server):
    """However much was sent and not heard."""
    with Live(server) as client:
        client.append(np.zeros(240_000, np.float32))
    server.free(2)


def test_when_the_server_stops_what_was_heard_is_told(small):
    with Served(stt=str(small("stt-tiny"))) as ending, Live(ending) as client:
        with Live(ending) as silent:
            manual(client)
            client.append(read(BUS))
            client.until("delta")
            ending.process.terminate()
            assert silent.receive()["error"]["message"] == "the server is stopping"
        assert client.until("error")[-1]["error"]["type"] == "server_error"
        assert ending.process.wait(SECONDS) == 0  # `stop` would send a second signal


def test_telephone_sound(server, stt, tmp_path):
    """8 kHz, µ-law."""
    path = tmp_path / "bus.wav"
    soundfile.write(path, read(BUS, target=8000), 8000, "ULAW")
    data = path.read_bytes()[-len(read(BUS, target=8000)) :]
    with Live(server) as client:
        manual(client, format={"type": "audio/pcmu"})
        client.append_bytes(data, 1600)
        client.commit()
        assert client.until("completed")[-1]["transcript"] == stt.transcribe(path).text
