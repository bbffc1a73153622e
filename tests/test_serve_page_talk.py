"""The page of conversations in a real browser, before a real server, in real time."""

import json

import numpy as np
import pytest
from browsing import downloaded, launched, needs_chromium, opened, write_microphone
from completions import END, HEAD, event, scripted, serving
from serving import Served

from dsm_mlx import load_tts

pytestmark = [needs_chromium, pytest.mark.alone, pytest.mark.thorough]

QUESTION = "how long does the bus take"
WORDS = QUESTION.split()
STORY = "This is a long story, and nobody will want to hear it to its end. " * 3
ANSWERS = ["It is late.", STORY.strip(), "You can walk."]
# What was ever shown of the person's words that may still change.
SEEN = """addEventListener('DOMContentLoaded', () => {
    window.going = new Set();
    const look = () => document.querySelectorAll('.turn.user .going').forEach(
        (place) => place.textContent && window.going.add(place.textContent.trim()));
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
});"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Whose microphone hears the question whenever it is opened, and then nobody."""
    with load_tts("tiny") as tts:
        said = tts.synthesize(QUESTION, seed=0).audio
    pcm = np.concatenate([np.zeros(24_000), said, np.zeros(120 * 24_000)])
    path = tmp_path_factory.mktemp("microphone") / "question.wav"
    with launched(write_microphone(path, pcm)) as found:
        yield found


def chat(client):
    """The language model: each answer in its turn."""
    given = [message for message in client.body["messages"] if message["role"] == "assistant"]
    client.send(HEAD, event(ANSWERS[len(given)]), END)


def heard_well(text):
    return sum(word in text.split() for word in WORDS) >= 3


def state(page, name):
    page.locator(f"#state:has-text('{name}')").wait_for()


def test_three_turns_and_who_is_talked_over(browser):
    """The second answer is long, and its end is not waited for."""
    with (
        serving(scripted(chat)) as url,
        Served(stt="tiny", tts="tiny", llm_url=url) as served,
        opened(browser, served.url("/chat"), before=SEEN) as page,
    ):
        assert page.locator("#echoes").is_hidden()
        models = page.locator("#model option").all_inner_texts()
        assert models == ["talker", "echo"] and page.input_value("#model") == "talker"
        page.click("#listen")
        state(page, "Thinking")
        state(page, "Speaking")
        page.locator("#dialogue .latency").wait_for()
        state(page, "Listening")
        page.click("#echo")  # which opens the microphone anew
        page.locator("#dialogue", has_text="a long").wait_for()
        page.click("#echo")
        page.locator("#dialogue .mark").wait_for()
        page.locator("#dialogue .latency").nth(1).wait_for()
        state(page, "Listening")
        page.click("#listen")
        state(page, "Stopped")
        lines = downloaded(page, "[data-file=jsonl]").decode().splitlines()
        assert page.evaluate("[...going].some((text) => !text.includes(' '))")
        own = (served.url("/"), served.url("/", "ws"), "blob:")
        assert all(url.startswith(own) for url in page.asked) and page.complaints == []
    turns = [json.loads(line) for line in lines]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 3, turns
    assert all(heard_well(turn["text"]) for turn in turns[::2]), turns
    first, second, third = turns[1::2]
    assert (first["text"], third["text"]) == (ANSWERS[0], ANSWERS[2])
    assert all(0 < answer["latency"]["total"] < 30 for answer in (first, third))
    assert second["interrupted"] and STORY.startswith(second["written"])
    assert STORY.startswith(second["text"]) and len(second["text"]) < len(STORY) / 2


def test_it_comes_back_when_the_server_does(browser, small):
    settings = {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny")), "max_streams": 2}
    with Served(**settings) as served, opened(browser, served.url("/chat")) as page:
        assert page.locator("#echoes").is_visible()  # there is nobody else
        page.click("#listen")
        state(page, "Listening")
        served.stop()
        state(page, "trying again")
        with Served(**settings, port=served.port, keys=["new"]) as again:
            page.locator("#door[open]").wait_for()
            page.fill("#key", "new")
            page.keyboard.press("Enter")
            state(page, "Listening")
            page.click("#listen")
            state(page, "Stopped")
            again.free()
