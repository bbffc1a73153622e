"""OpenAI's realtime conversations, with very small models: whose words do not matter."""

import base64
import threading

import numpy as np
import pytest
from completions import END, HEAD, answer, event, scripted, serving
from realtime import Live
from serving import LLM_KEY, SECONDS, Served

from dsm_mlx import load_stt
from dsm_mlx.audio import read

BUS = "demos/audio/bus.wav"
SLOTS = 2
ECHO, TALKER = "model=echo", "model=talker"
LONG = "one two three four five. " * 40


class Talker:
    """The language model's server: says what a test wants, when it wants.

    asked: the messages of every request.
    """

    def __init__(self):
        self.asked, self.says = [], self.speak
        self.go_on = threading.Event()

    def __call__(self, client):
        self.asked.append(client.body["messages"])
        self.says(client)

    def speak(self, client):
        client.send(HEAD, event("Good "), event("day."), END)

    def hesitate(self, client):
        """Begins, and waits."""
        client.send(HEAD, event("Well, "))
        self.go_on.wait(SECONDS)
        client.send(event("yes."), END)

    def fail(self, client):
        told = {"error": {"message": f"no {client.headers['authorization']}"}}
        client.send(answer(told, "500 Oh"))

    def tell_a_story(self, client):
        client.send(HEAD, event(LONG), END)


@pytest.fixture(scope="module")
def serve(small):
    talker = Talker()
    with (
        serving(scripted(talker)) as url,
        Served(
            stt=str(small("stt-tiny")), tts=str(small("tts-tiny")), max_streams=SLOTS, llm_url=url
        ) as served,
    ):
        served.talker = talker
        yield served


@pytest.fixture
def server(serve):
    serve.talker.says = serve.talker.speak
    serve.talker.asked.clear()
    serve.talker.go_on.clear()
    yield serve
    serve.talker.go_on.set()
    serve.free(SECONDS)


def kinds(events):
    return [e["type"] for e in events]


def text_of(events):
    return "".join(e["delta"] for e in events if e["type"].endswith(("text.delta", "script.delta")))


def sound_of(events):
    found = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    return b"".join(map(base64.b64decode, found))


def of_item(client, name):
    client.send("conversation.item.retrieve", item_id=name)
    return client.until("retrieved")[-1]["item"]


def said(client, name):
    """The transcript that an item has."""
    (part,) = of_item(client, name)["content"]
    return part["transcript"]


def manual(client, **more):
    return client.update(audio={"input": {"turn_detection": None}}, **more)


def test_a_session_as_it_begins_and_as_it_is_wished(server):
    with Live(server, TALKER) as client:
        session = client.first["session"]
        assert client.first["type"] == "session.created" and session["type"] == "realtime"
        assert session["model"] == "talker" and session["instructions"] == "Be brief."
        assert session["output_modalities"] == ["audio"]
        heard = session["audio"]["input"]
        assert heard["format"] == {"type": "audio/pcm", "rate": 24_000}
        assert heard["turn_detection"]["type"] == "server_vad"
        assert heard["turn_detection"]["create_response"]
        session = client.update(
            model="echo",
            output_modalities=["text"],
            max_output_tokens=5,
            audio={
                "input": {"turn_detection": {"type": "semantic_vad", "interrupt_response": False}},
                "output": {"voice": "voice0.wav", "speed": 0.9, "format": {"type": "audio/pcma"}},
            },
        )
    assert session["model"] == "echo" and session["instructions"] == ""
    assert session["output_modalities"] == ["text"] and session["max_output_tokens"] == 5
    turns = session["audio"]["input"]["turn_detection"]
    assert turns["type"] == "semantic_vad" and not turns["interrupt_response"]
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcma"}, "voice": "voice0.wav", "speed": 0.9,
    }  # fmt: skip


@pytest.mark.parametrize("name, found", [("echo", "echo"), ("gpt-realtime", "talker")])
def test_who_answers_is_chosen_by_name(server, name, found):
    with Live(server, f"model={name}") as client:
        assert client.first["session"]["model"] == found


def test_text_in_and_text_out(server):
    with Live(server, ECHO) as client:
        client.update(output_modalities=["text"])
        client.write("one two")
        client.ask(metadata={"mine": "yes"})
        events = client.answer()
    assert kinds(events) == [
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    response = events[-1]["response"]
    assert response["status"] == "completed" and response["metadata"] == {"mine": "yes"}
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "one two"}]
    assert response["usage"]["input_tokens"] == response["usage"]["output_tokens"] == 2
    assert {e["response_id"] for e in events if "response_id" in e} == {response["id"]}
    assert events[4]["previous_item_id"] == events[0]["item"]["id"]
    assert text_of(events) == events[7]["text"] == "one two"


@pytest.mark.parametrize(
    "format, bytes_a_second",
    [({"type": "audio/pcm", "rate": 24_000}, 48_000), ({"type": "audio/pcmu"}, 8000)],
)
def test_text_in_and_sound_out(server, format, bytes_a_second):
    with Live(server, ECHO) as client:
        client.update(audio={"output": {"format": format}})
        client.write("one two")
        client.ask()
        events = client.answer()
    assert text_of(events) == "one two"
    order = [kind for kind in kinds(events) if kind != "response.output_audio.delta"]
    assert order[-6:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    seconds = len(sound_of(events)) / bytes_a_second
    frames = events[-1]["response"]["usage"]["output_token_details"]["audio_tokens"]
    assert seconds == pytest.approx(frames * 0.08, abs=0.001) and frames > 1
    assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == "one two"


def test_a_turn_that_the_client_commits_is_answered_when_it_is_known(server, small):
    """However soon the answer is asked for."""
    with load_stt(small("stt-tiny"), dtype="float32") as stt:
        expected = stt.transcribe(BUS).text
    with Live(server, ECHO) as client:
        manual(client, output_modalities=["text"])
        client.append(read(BUS))
        client.commit()
        client.ask()
        events = client.answer()
    name = events[0]["item_id"]
    assert kinds(events)[:2] == ["input_audio_buffer.committed", "conversation.item.added"]
    transcribed = [e for e in events if "input_audio_transcription" in e["type"]]
    assert {e["item_id"] for e in transcribed} == {name}
    assert transcribed[-1]["transcript"] == expected == text_of(events)
    assert "".join(e["delta"] for e in transcribed[:-1]) == expected
    assert transcribed[-1]["usage"]["seconds"] == pytest.approx(len(read(BUS)) / 24_000, abs=0.1)
    assert not any("speech_" in kind for kind in kinds(events))


def test_the_model_is_told_what_was_said_in_its_order(server):
    with Live(server, TALKER) as client:
        client.update(output_modalities=["text"])
        client.write("one")
        first = client.until("added")[-1]["item"]["id"]
        client.ask()
        assert text_of(client.answer()) == "Good day."
        client.write("three", id="mine")
        client.send("conversation.item.create", previous_item_id="root", item={
            "type": "message", "role": "system",
            "content": [{"type": "input_text", "text": "zero"}],
        })  # fmt: skip
        client.ask(instructions="Be loud.")
        client.answer()
        client.send("conversation.item.delete", item_id=first)
        assert client.until("deleted")[-1]["item_id"] == first
        client.ask()
        client.answer()
    one, two, three = server.talker.asked
    assert one == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"}]
    assert [m["content"] for m in two] == ["Be loud.\nzero", "one", "Good day.", "three"]
    assert [m["content"] for m in three] == [
        "Be brief.\nzero", "Good day.", "three", "Good day.",
    ]  # fmt: skip


def test_an_answer_is_cancelled_and_the_next_one_comes(server):
    server.talker.says = server.talker.hesitate
    with Live(server, TALKER) as client:
        client.write("one")
        client.ask()
        client.until("transcript.delta")
        client.ask()
        error = client.until("error")[-1]["error"]
        assert error["code"] == "conversation_already_has_active_response"
        client.send("response.cancel")
        response = client.answer()[-1]["response"]
        details = {"type": "cancelled", "reason": "client_cancelled"}
        assert response["status"] == "cancelled" and response["status_details"] == details
        assert response["output"][0]["status"] == "incomplete"
        client.send("response.cancel")
        assert client.until("error")[-1]["error"]["code"] == "response_cancel_not_active"
        server.talker.says = server.talker.speak
        client.ask()
        assert client.answer()[-1]["response"]["status"] == "completed"


def test_an_answer_that_has_not_begun_is_cancelled(server):
    """Two at once: what was asked for while a turn is not known yet."""
    with Live(server, ECHO) as client:
        manual(client)
        client.append(read(BUS))
        client.commit()
        client.ask()
        client.send("response.cancel")
        assert client.answer()[-1]["response"]["status"] == "cancelled"
        client.until("transcription.completed")


def test_an_answer_is_cut_where_it_was_heard(server):
    """To whole words, by the client's word, however much was sent."""
    with Live(server, ECHO) as client:
        client.write("one two three four five six")
        client.ask()
        name = client.until("response.output_item.added")[-1]["item"]["id"]
        seconds = len(sound_of(client.answer())) / 48_000
        heard = []
        for share in (1.0, 0.5, 0.0):
            ms = int(1000 * seconds * share)
            client.send(
                "conversation.item.truncate", item_id=name, content_index=0, audio_end_ms=ms
            )
            assert client.until("truncated")[-1]["audio_end_ms"] == ms
            heard.append(said(client, name))
        client.send(
            "conversation.item.truncate", item_id=name, content_index=0, audio_end_ms=99_999
        )
        assert client.until("error")[-1]["error"]["param"] == "audio_end_ms"
    assert heard[0].startswith(heard[1]) and len(heard[0]) > len(heard[1]) and heard[2] == ""


def test_no_more_is_sent_than_a_few_seconds_beyond_what_is_heard(server):
    """As the client says; and when it has heard more, more comes."""
    server.talker.says = server.talker.tell_a_story
    with Live(server, TALKER) as client:
        client.ask()
        name = client.until("response.output_item.added")[-1]["item"]["id"]
        received = 0.0
        for heard in (0, 3, 6):
            client.send("dsm_mlx.played", item_id=name, audio_ms=1000 * heard)
            while received < heard + 4.8:
                event = client.receive()
                if event["type"] == "response.output_audio.delta":
                    received += len(base64.b64decode(event["delta"])) / 48_000
        client.send("output_audio_buffer.clear")
        found = client.until("output_audio_buffer.cleared")
    assert received < 6 + 5 + 3, "the clock goes on between two words of the client's"
    assert "cancelled" in {e["response"]["status"] for e in found if "response" in e}


def test_a_language_model_that_fails_is_told_without_its_key(server):
    server.talker.says = server.talker.fail
    with Live(server, TALKER) as client:
        client.ask()
        events = client.answer()
        response = events[-1]["response"]
        assert response["status"] == "failed" and sound_of(events) == b""
        message = response["status_details"]["error"]["message"]
        assert "500" in message and LLM_KEY not in str(events)
        server.talker.says = server.talker.speak
        client.ask()
        assert client.answer()[-1]["response"]["status"] == "completed"
    assert LLM_KEY not in "".join(server.told)


def test_an_answer_has_as_many_words_as_are_wanted(server):
    server.talker.says = server.talker.tell_a_story
    with Live(server, TALKER) as client:
        client.ask(max_output_tokens=3, output_modalities=["text"])
        events = client.answer()
    response = events[-1]["response"]
    assert text_of(events).split() == ["one", "two", "three"]
    details = {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["status"] == "incomplete" and response["status_details"] == details


def test_a_conversation_needs_both_slots_and_gives_both_back(server):
    with Live(server, ECHO), Live(server, ECHO), Live(server, ECHO) as third:
        error = third.first["error"]
        assert error["type"] == "server_error" and "streams are in use" in error["message"]
        assert server.used_slots == ["2", "2"]


def test_the_older_shape_is_refused(server):
    with Live(server, ECHO, additional_headers={"OpenAI-Beta": "realtime=v1"}) as client:
        assert "shape of today" in client.first["error"]["message"]


@pytest.mark.parametrize("end", ["response.created", "output_audio.delta"])
def test_who_vanishes_in_the_middle_frees_both_slots(server, end):
    server.talker.says = server.talker.tell_a_story
    with Live(server, TALKER) as client:
        manual(client)  # or what it hears in silence would be an interruption
        client.append(np.zeros(24_000, np.float32))
        client.ask()
        client.until(end)
    server.free(SECONDS)


def test_when_the_server_stops_an_answer_fails(small):
    talker = Talker()
    talker.says = talker.hesitate
    with serving(scripted(talker)) as url:
        folders = {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}
        with Served(**folders, llm_url=url) as ending, Live(ending, TALKER) as client:
            client.ask()
            client.until("transcript.delta")
            ending.process.terminate()
            found = client.until("error")
            response = found[-2]["response"]
            assert response["status"] == "failed"
            assert response["status_details"]["error"]["message"] == "the server is stopping"
            assert found[-1]["error"]["message"] == "the server is stopping"
            talker.go_on.set()
            assert ending.process.wait(SECONDS) == 0


def test_a_server_that_does_not_speak_writes_and_forgets_silent_clients(small):
    with Served(stt=str(small("stt-tiny")), limits={"idle": 1.0}) as mute:
        with Live(mute) as other:
            assert other.first["session"]["object"] == "realtime.transcription_session"
        with Live(mute, "") as client:
            assert client.first["session"]["output_modalities"] == ["text"]
            client.ask(output_modalities=["audio"])
            assert "does not speak" in client.until("error")[-1]["error"]["message"]
            client.write("one")
            client.ask()
            assert text_of(client.answer()) == "one"
            assert client.until("error")[-1]["error"]["message"] == "no message came for too long"
        mute.free(SECONDS)
