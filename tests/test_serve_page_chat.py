"""The page of conversations in a real browser, behind which the test plays the server."""

import base64
import json
import os

import numpy as np
import pytest
from browsing import (
    PLAYED,
    downloaded,
    launched,
    needs_chromium,
    opened,
    unnamed,
    write_microphone,
)
from scripted import ANSWER, Script
from serving import Served

from dsm_mlx.cli.dialogue import Turn, line_of

pytestmark = needs_chromium

HEARD = "conversation.item.input_audio_transcription"
LATENCY = {"last_word": 0.41, "first_token": 0.12, "first_sound": 0.22, "total": 0.75}
STOPPED = """async () => {
    const { Player } = await import('/page/player.js');
    const player = new Player(0.05);
    await player.context.audioWorklet.addModule('/page/worklet.js');
    const tap = new AudioWorkletNode(player.context, 'tap', { numberOfOutputs: 0 });
    const out = [];
    tap.port.onmessage = ({ data }) => out.push(...data);
    player.volume.connect(tap);
    const tone = Int16Array.from({ length: 2400 }, (_, i) => 16000 * Math.sin(i / 10));
    const until = async (wanted) => {
        while (!wanted()) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    await player.resume();
    const pieces = Array.from({ length: 50 }, () => player.write(tone));
    await until(() => player.heard(pieces) > 0.35);
    player.stop();
    const heard = player.heard(pieces);
    const stopped = player.context.currentTime;
    await until(() => player.context.currentTime > stopped + 0.3);
    const still = player.heard(pieces);
    const loud = (sample) => Math.abs(sample) > 0.01;
    const sounded = (out.findLastIndex(loud) - out.findIndex(loud)) / 24000;
    const again = [player.write(tone)];
    await player.drained();
    await until(() => player.heard(again) >= again[0].seconds);
    return { sounded, heard, still };
}"""
PCM = """async (given) => {
    const { samples, base64 } = await import('/page/pcm.js');
    return [[...samples(given)], base64(Float32Array.from([0, 0.5, -0.5, 1, -1, 2, -2]))];
}"""


@pytest.fixture(scope="module")
def server():
    with Served("-m", "dsm_mlx.serve", "--stt", "tiny", "--tts", "tiny", "--port", "0") as served:
        yield served


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("microphone")
    tone = 0.25 * np.sin(np.arange(24_000) / 10)
    with launched(write_microphone(folder / "tone.wav", tone)) as found:
        yield found


@pytest.fixture
def talk(browser, server):
    """A page, and the server behind it."""
    script = Script()
    with opened(browser, server.url("/chat"), PLAYED, script.prepare) as page:
        yield page, script
        assert page.complaints == []


def state(page, name):
    page.locator(f"#state:has-text('{name}')").wait_for()


def shown(page, text):
    page.locator("#dialogue", has_text=text).wait_for()


def begin(page):
    page.click("#listen")
    state(page, "Listening")


@pytest.mark.thorough
def test_what_is_wished_is_told_and_the_microphone_is_heard(talk):
    page, script = talk
    page.select_option("#model", "qwen")
    page.select_option("#voice", index=2)
    page.fill("#instructions", "Be brief.")
    begin(page)
    session = script.wait_for("session.update")["session"]
    assert session["instructions"] == "Be brief." and session["type"] == "realtime"
    assert session["include"] == ["dsm_mlx.partial", "dsm_mlx.said", "dsm_mlx.latency"]
    assert session["model"] == "qwen"
    assert session["audio"]["input"]["turn_detection"] == {"type": "semantic_vad"}
    assert session["audio"]["output"]["voice"] == page.input_value("#voice") != ""
    assert script.sockets[0].url.endswith("/v1/realtime?model=qwen")
    sound = script.wait_for("input_audio_buffer.append", 12)["audio"]
    pcm = np.frombuffer(base64.b64decode(sound), "<i2")
    assert pcm.size == 1920 and np.abs(pcm).max() > 500
    page.click("#muting")
    script.wait_for("input_audio_buffer.append", len(script.of("input_audio_buffer.append")) + 4)
    assert not np.frombuffer(base64.b64decode(script.got[-1]["audio"]), "<i2").any()
    page.fill("#instructions", "Be long.")
    page.locator("#instructions").blur()
    assert script.wait_for("session.update", 2)["session"]["instructions"] == "Be long."


def test_words_settle_and_an_answer_is_shown_as_it_is_heard(talk):
    page, script = talk
    begin(page)
    script.tell("input_audio_buffer.speech_started", item_id="a")
    script.tell(f"{HEARD}.delta", item_id="a", delta="is the")
    script.tell("dsm_mlx.partial", item_id="a", text="is the bus la")
    page.locator("#dialogue .going:has-text('bus la')").wait_for()
    assert page.inner_text("#dialogue .settled") == "is the"
    script.tell(f"{HEARD}.completed", item_id="a", transcript="is the bus late")
    page.locator("#dialogue .settled:has-text('bus late')").wait_for()
    assert page.inner_text("#dialogue .going") == ""
    script.begin("r")
    state(page, "Thinking")
    script.say("r", seconds=0.12)
    script.end("r")
    state(page, "Speaking")
    assert "mountains" not in page.inner_text("#dialogue")
    shown(page, ANSWER)
    script.tell("dsm_mlx.latency", response_id="r", **LATENCY)
    shown(page, "0.75 s to the first sound: end of turn 0.41, first token 0.12, first sound 0.22")
    state(page, "Listening")
    played = [event["audio_ms"] for event in script.of("dsm_mlx.played")]
    assert played == sorted(played) and len(played) > 5 and played[-1] == 1320
    assert {event["item_id"] for event in script.of("dsm_mlx.played")} == {"item-r"}
    assert not script.of("conversation.item.truncate")
    lines = downloaded(page, "[data-file=txt]").decode().splitlines()
    turns = [Turn("you", "is the bus late", 1.0), Turn("assistant", ANSWER, 2.0)]
    assert lines == [line_of(turn) for turn in turns]


def test_who_talks_over_an_answer_stops_it_where_it_was_heard(talk):
    page, script = talk
    begin(page)
    script.begin("r")
    script.say("r", seconds=0.3)
    script.tell("dsm_mlx.latency", response_id="r", **LATENCY)
    shown(page, "It is late")
    script.tell("input_audio_buffer.speech_started", item_id="b")
    cut = script.wait_for("conversation.item.truncate")
    assert cut["item_id"] == "item-r" and cut["content_index"] == 0
    assert 600 <= cut["audio_end_ms"] < 3000
    played = page.evaluate("played")
    script.say("r", " which was on its way", 0.3)
    script.tell("dsm_mlx.said", response_id="r", text=" which was on its way")
    script.tell(f"{HEARD}.delta", item_id="b", delta="stop")
    shown(page, "stop")
    state(page, "Thinking")  # until the answer is over
    assert page.evaluate("played") == played
    heard = page.inner_text("#dialogue .assistant .settled")
    assert ANSWER.startswith(heard) and len(heard) < len(ANSWER)
    assert page.inner_text("#dialogue .mark") == "interrupted"
    output = [{"content": [{"type": "output_audio", "transcript": f"{heard} (all)"}]}]
    script.end("r", "cancelled", output=output)
    shown(page, f"{heard} (all)")
    state(page, "Listening")
    last = json.loads(downloaded(page, "[data-file=jsonl]").splitlines()[0])
    assert last["text"] == f"{heard} (all)" and last["interrupted"] and last["latency"] == LATENCY
    assert last["written"] == ANSWER


def test_a_turn_that_goes_on_becomes_another_one(talk):
    """What a server forgets of a long talk stays."""
    page, script = talk
    begin(page)
    for name in "abcd":
        script.tell(f"{HEARD}.completed", item_id=name, transcript=f"turn {name}")
    script.begin("r")
    script.tell("conversation.item.deleted", item_id="item-r")
    script.tell("conversation.item.deleted", item_id="a")
    script.tell("conversation.item.deleted", item_id="d")
    script.end("r", "cancelled")
    script.tell(f"{HEARD}.completed", item_id="e", transcript="turn d and more")
    shown(page, "and more")
    turns = page.locator("#dialogue .turn .settled").all_inner_texts()
    assert turns == ["turn a", "turn b", "turn c", "turn d and more"]
    state(page, "Listening")


def test_a_key_interrupts(talk):
    page, script = talk
    begin(page)
    script.begin("r")
    script.say("r", seconds=0.3)
    shown(page, "It is")
    page.keyboard.press("Escape")
    assert script.wait_for("response.cancel")["response_id"] == "r"
    assert 300 <= script.wait_for("conversation.item.truncate")["audio_end_ms"] < 3000
    page.locator("#dialogue .mark").wait_for()
    script.end("r", "cancelled")
    state(page, "Listening")
    script.begin("s")  # of which nothing has been heard yet
    state(page, "Thinking")
    page.click("#interrupt")
    script.wait_for("response.cancel", 2)
    script.end("s", "cancelled")
    state(page, "Listening")
    assert len(script.of("conversation.item.truncate")) == 1
    assert page.locator("#dialogue .assistant").count() == 1


def test_an_answer_that_fails_is_told(talk):
    page, script = talk
    begin(page)
    script.begin("r")
    script.end("r", "failed", status_details={"error": {"message": "no model"}})
    page.locator("#notice:has-text('There is no answer: no model.')").wait_for()
    state(page, "Listening")
    script.tell("error", error={"message": "that is not known", "event_id": None})
    page.locator("#notice:has-text('that is not known')").wait_for()
    script.begin("s")
    script.say("s", "Yes.")
    late = script.wait_for("dsm_mlx.played")["event_id"]
    script.tell("error", error={"message": "there is no such item", "event_id": late})
    script.end("s")
    state(page, "Listening")
    assert "not known" in page.inner_text("#notice")


def test_who_has_no_microphone_can_write(talk):
    """And what was said is told again to the next connection, without being asked to."""
    page, script = talk
    page.fill("#text", "Is the bus late?")
    page.keyboard.press("Enter")
    script.wait_for("response.create")
    kinds = [event["type"] for event in script.got]
    assert kinds == ["session.update", "conversation.item.create", "response.create"]
    script.begin("r")
    script.say("r", "Yes.")
    script.end("r")
    shown(page, "Yes.")
    state(page, "Ready")
    script.sockets[-1].close()
    state(page, "Stopped")
    assert page.locator("#notice").is_hidden()
    page.fill("#text", "Why?")
    page.click("text=Send")
    script.wait_for("response.create", 2)
    said = [event["item"] for event in script.of("conversation.item.create")]
    texts = [(item["role"], item["content"][0]["text"]) for item in said]
    first = ("user", "Is the bus late?")
    assert texts == [first, first, ("assistant", "Yes."), ("user", "Why?")]
    assert len(script.sockets) == 2 and not script.of("input_audio_buffer.append")
    assert page.inner_text("#dialogue").count("Is the bus late?") == 1
    page.click("#clear")
    script.wait_for("session.update", 3)
    assert len(script.of("conversation.item.create")) == 4


def test_a_lost_connection_comes_back_with_what_was_said(talk):
    page, script = talk
    begin(page)
    script.tell(f"{HEARD}.completed", item_id="a", transcript="hello there")
    script.begin("r")
    script.say("r", seconds=0.3)
    shown(page, "It is")
    script.takes = False
    script.sockets[-1].close()
    state(page, "trying again")
    page.locator("#dialogue .mark").wait_for()
    script.takes = True
    state(page, "Listening")
    roles = [event["item"]["role"] for event in script.of("conversation.item.create")]
    assert roles == ["user", "assistant"]
    script.wait_for("input_audio_buffer.append", len(script.of("input_audio_buffer.append")) + 1)
    page.click("#listen")
    state(page, "Stopped")
    page.complaints.clear()  # the browser's own, of a socket that was not taken


def test_sound_stops_within_some_milliseconds(talk):
    page, _ = talk
    found = page.evaluate(STOPPED)
    assert 0.35 < found["heard"] < 2 and found["still"] == found["heard"]
    assert found["sounded"] < found["heard"] + 0.03


def test_sound_is_16_bit_base64_both_ways(talk):
    page, _ = talk
    pcm = np.array([0, 1, -1, 32767, -32768], "<i2")
    got, made = page.evaluate(PCM, base64.b64encode(pcm.tobytes()).decode())
    assert got == pcm.tolist()
    made = np.frombuffer(base64.b64decode(made), "<i2").tolist()
    assert made == [0, 16384, -16383, 32767, -32767, 32767, -32767]


def test_who_reads_answers_is_read_them(talk):
    """A screen reader does not talk into answers that are heard."""
    page, _ = talk
    assert page.get_attribute("#dialogue", "aria-live") == "off"
    page.uncheck("#sound")
    assert page.get_attribute("#dialogue", "aria-live") == "polite"
    assert unnamed(page) == 0


def test_what_a_server_cannot_do_is_said(browser, server, small):
    with opened(browser, server.url("/")) as page:
        page.click("nav >> text=Conversation")
        page.locator("#models:not(:empty)").wait_for(state="attached")
        assert page.url == server.url("/chat")
    with Served(tts=str(small("tts-tiny"))) as dumb, opened(browser, dumb.url("/chat")) as page:
        assert "no model that listens" in page.inner_text("main")
        assert page.locator("#conversing").is_hidden()


@pytest.mark.thorough
def test_it_looks_as_it_should_on_a_phone_and_at_night(browser, server, tmp_path):
    """Nothing sticks out; DSM_MLX_SCREENSHOTS keeps the pictures."""
    folder = os.environ.get("DSM_MLX_SCREENSHOTS", str(tmp_path))
    for width, scheme in [(360, "dark"), (1280, "light")]:
        looks = {"viewport": {"width": width, "height": 860}, "color_scheme": scheme}
        script = Script()
        with opened(browser, server.url("/chat"), prepare=script.prepare, **looks) as page:
            begin(page)
            script.tell(f"{HEARD}.completed", item_id="a", transcript="what is the winter like")
            script.begin("r")
            script.say("r", seconds=0.3)
            script.tell("dsm_mlx.latency", response_id="r", **LATENCY)
            shown(page, "It is")
            page.keyboard.press("Escape")
            script.tell(f"{HEARD}.delta", item_id="b", delta="stop how")
            script.tell("dsm_mlx.partial", item_id="b", text="stop how long does")
            page.locator("#dialogue .going:has-text('long')").wait_for()
            page.screenshot(path=f"{folder}/chat-{width}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
