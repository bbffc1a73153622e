"""OpenAI's realtime conversations in which somebody speaks, with `tiny`."""

import numpy as np
import pytest
from completions import END, HEAD, event, scripted, serving
from realtime import Live
from serving import SECONDS, Served

from dsm_mlx.audio import read
from dsm_mlx.serve.openai.incoming import RATE

BUS, CAT = "demos/audio/bus.wav", "demos/audio/cat.flac"
BUS_TEXT = "the bus was late because the road was full of snow"
CAT_TEXT = "a black cat was sleeping under the table when the doctor came"
PAUSE = np.zeros(RATE, np.float32)
STORY = "This is a long story, and nobody will want to hear it to its end. " * 3
VAD = {"type": "server_vad"}


@pytest.fixture(scope="module")
def server():
    def tell(client):
        client.send(HEAD, event(STORY), END)

    with (
        serving(scripted(tell)) as url,
        Served(stt="tiny", tts="tiny", max_streams=2, llm_url=url) as served,
    ):
        yield served
        served.free(SECONDS)


def talks(client, **turns):
    """As a page wants it: with all that is told beside the protocol."""
    include = ["dsm_mlx.partial", "dsm_mlx.said", "dsm_mlx.latency"]
    detection = None if turns.get("type", "") is None else {**VAD, **turns}
    return client.update(include=include, audio={"input": {"turn_detection": detection}})


def names(events):
    """What happened, without what only tells of words and sound."""
    found = [e["type"] for e in events if not e["type"].endswith((".delta", ".partial", ".said"))]
    return [name.removeprefix("input_audio_buffer.") for name in found]


def one(events, kind):
    (found,) = (e for e in events if e["type"] == kind)
    return found


def transcript(client, name):
    client.send("conversation.item.retrieve", item_id=name)
    (part,) = client.until("retrieved")[-1]["item"]["content"]
    return part["transcript"]


@pytest.mark.thorough
def test_a_turn_and_its_answer(server):
    with Live(server, "model=echo") as client:
        talks(client)
        client.append(np.concatenate([read(BUS), PAUSE]))
        events = client.until("dsm_mlx.latency")
    assert names(events)[:7] == [
        "speech_started", "speech_stopped", "committed", "conversation.item.added",
        "conversation.item.input_audio_transcription.completed", "conversation.item.done",
        "response.created",
    ]  # fmt: skip
    heard = one(events, "conversation.item.input_audio_transcription.completed")
    assert heard["transcript"] == BUS_TEXT
    deltas = [e["delta"] for e in events if e["type"].endswith("transcription.delta")]
    assert "".join(deltas) == BUS_TEXT
    partials = [e for e in events if e["type"] == "dsm_mlx.partial"]
    assert {e["item_id"] for e in partials} == {heard["item_id"]}
    assert all(BUS_TEXT.startswith(e["text"]) for e in partials) and len(partials) > 5
    assert "".join(e["text"] for e in events if e["type"] == "dsm_mlx.said") == BUS_TEXT
    response = one(events, "response.done")["response"]
    latency = events[-1]
    assert response["status"] == "completed" and latency["response_id"] == response["id"]
    stages = [latency[name] for name in ("last_word", "first_token", "first_sound")]
    assert min(stages) >= 0 and latency["total"] == pytest.approx(sum(stages), abs=0.01)


@pytest.mark.thorough
def test_who_speaks_over_an_answer_stops_it(server):
    """Somebody speaks, then the answer ends: cut where it was heard; and the turn goes on."""
    with Live(server, "model=talker") as client:
        talks(client)
        client.append(np.concatenate([read(BUS), PAUSE]))
        name = client.until("dsm_mlx.said")[-1]["item_id"]
        client.append(read(CAT))
        events = client.until("response.done")
        order = names(events)
        assert order.index("speech_started") < order.index("response.done")
        response = events[-1]["response"]
        details = {"type": "cancelled", "reason": "turn_detected"}
        assert response["status"] == "cancelled" and response["status_details"] == details
        kept = transcript(client, name)
        assert STORY.startswith(kept) and 0 < len(kept) < len(STORY) / 2
        client.append(PAUSE)
        rest = client.until("transcription.completed")
    heard = one(rest, "conversation.item.input_audio_transcription.completed")
    started = one(events, "input_audio_buffer.speech_started")
    assert heard["transcript"] == CAT_TEXT and heard["item_id"] == started["item_id"]


def test_what_is_cleared_was_not_said(server):
    with Live(server, "model=echo") as client:
        talks(client, type=None)
        client.append(read(CAT))
        client.until("transcription.delta")
        client.send("input_audio_buffer.clear")
        client.until("cleared")
        client.commit()
        assert client.until("error")[-1]["error"]["code"] == "input_audio_buffer_commit_empty"
        client.append(read(BUS))
        client.commit()
        client.ask(output_modalities=["text"])
        events = client.until("response.done")
    heard = one(events, "conversation.item.input_audio_transcription.completed")
    mine = [e["delta"] for e in events if e["type"].endswith("transcription.delta")
            and e["item_id"] == heard["item_id"]]  # fmt: skip
    assert heard["transcript"] == BUS_TEXT == "".join(mine)
    assert one(events, "response.output_text.done")["text"] == BUS_TEXT
