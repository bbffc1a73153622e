"""What a realtime conversation refuses: each wrong field is named, and the session lives."""

import pytest
from realtime import Live
from serving import Served


@pytest.fixture(scope="module")
def server(small):
    folders = {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}
    with Served(**folders, max_streams=2) as served:
        yield served


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
TURNS = "session.audio.input.turn_detection"


@pytest.mark.parametrize(
    "message, param",
    [
        ({"type": "transcription_session.update"}, "type"),
        ({}, "type"),
        ({"type": "session.update"}, "session"),
        ({"type": "session.update", "session": {"type": "transcription"}}, "session.type"),
        ({"session": {"model": 3}}, "session.model"),
        ({"session": {"instructions": 3}}, "session.instructions"),
        ({"session": {"instructions": "a" * 20_001}}, "instructions"),
        ({"session": {"output_modalities": ["audio", "text"]}}, "session.output_modalities"),
        ({"session": {"output_modalities": [[]]}}, "session.output_modalities"),
        ({"session": {"max_output_tokens": 0}}, "session.max_output_tokens"),
        ({"session": {"tools": [{"type": "function"}]}}, "session.tools"),
        ({"session": {"tool_choice": "required"}}, "session.tool_choice"),
        ({"session": {"prompt": {"id": "p"}}}, "session.prompt"),
        ({"session": {"include": "all"}}, "session.include"),
        ({"session": {"audio": []}}, "session.audio"),
        ({"session": {"audio": {"input": 3}}}, "session.audio.input"),
        ({"session": {"audio": {"input": {"format": {}}}}}, "session.audio.input.format.type"),
        ({"session": {"audio": {"input": {"turn_detection": {"type": "x"}}}}}, f"{TURNS}.type"),
        ({"session": {"audio": {"input": {"turn_detection": {"create_response": 1}}}}},
         f"{TURNS}.create_response"),
        ({"session": {"audio": {"input": {"turn_detection": {"idle_timeout_ms": 5000}}}}},
         f"{TURNS}.idle_timeout_ms"),
        ({"session": {"audio": {"output": {"voice": 3}}}}, "session.audio.output.voice"),
        ({"session": {"audio": {"output": {"speed": 2}}}}, "session.audio.output.speed"),
        ({"type": "input_audio_buffer.append", "audio": "???"}, "audio"),
        ({"type": "input_audio_buffer.commit"}, ""),
        ({"item": None}, "item"),
        ({"item": ITEM | {"type": "function_call_output"}}, "item.type"),
        ({"item": ITEM | {"role": "tool"}}, "item.role"),
        ({"item": ITEM | {"id": ""}}, "item.id"),
        ({"item": ITEM | {"content": []}}, "item.content"),
        ({"item": ITEM | {"content": [{"type": "input_image"}]}}, "item.content[0].type"),
        ({"item": ITEM | {"content": [{"type": "input_text"}]}}, "item.content[0].text"),
        ({"item": ITEM, "previous_item_id": "nobody"}, "previous_item_id"),
        ({"type": "conversation.item.retrieve", "item_id": "nobody"}, "item_id"),
        ({"type": "conversation.item.delete"}, "item_id"),
        ({"type": "conversation.item.truncate", "item_id": 3}, "item_id"),
        ({"response": 3}, "response"),
        ({"response": {"conversation": "none"}}, "response.conversation"),
        ({"response": {"input": []}}, "response.input"),
        ({"response": {"metadata": {"a": 1}}}, "response.metadata.a"),
        ({"type": "response.cancel", "response_id": "nobody"}, "response_id"),
        ({"type": "output_audio_buffer.clear"}, "type"),
        ({"type": "dsm_mlx.played", "item_id": "nobody"}, "item_id"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_the_session_goes_on(server, message, param):
    names = {"session": "session.update", "item": "conversation.item.create"}
    names["response"] = "response.create"
    kind = message.get("type") or next((names[key] for key in names if key in message), None)
    with Live(server, "model=echo") as talking:
        talking.send(kind, **{"event_id": "mine", **message, "type": kind})
        error = talking.until("error")[-1]["error"]
        assert (error["param"], error["event_id"]) == (param, "mine"), error["message"]
        assert error["type"] == "invalid_request_error"
        assert talking.update()["type"] == "realtime"
