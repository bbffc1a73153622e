"""The server's page of captions and speech, in a real browser."""

import os
import re
import time
import urllib.error
import urllib.request

import msgpack
import numpy as np
import pytest
from browsing import (
    PLAYED,
    SECONDS,
    downloaded,
    launched,
    needs_chromium,
    opened,
    unnamed,
    write_microphone,
)
from serving import Served

from dsm_mlx import Word
from dsm_mlx.audio import read
from dsm_mlx.captions import to_srt, to_txt, to_vtt
from dsm_mlx.serve.kyutai import messages

pytestmark = needs_chromium

BUS = "demos/audio/bus.wav"
WORDS = ("the", "bus", "was", "late", "because", "road", "full", "snow")
# Every track that the microphone ever gave.
TRACKS = """
    window.tracks = [];
    const found = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await found(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
"""
FILES = """async (turns) => {
    const { srt, vtt, txt } = await import('/page/subtitles.js');
    return [txt(turns), srt(turns), vtt(turns)];
}"""
PACKED = """async ([messages, pcm]) => {
    const { audioMessage, decode, markerMessage } = await import('/page/msgpack.js');
    const sent = [audioMessage(Float32Array.from(pcm)), markerMessage(7)];
    return [
        messages.map((bytes) => decode(Uint8Array.from(bytes).buffer)),
        sent.map((buffer) => [...new Uint8Array(buffer)]),
    ];
}"""
LONG = """async () => {
    const { Captions } = await import('/page/captions.js');
    const [place, newest] = ['captions', 'newest'].map((id) => document.getElementById(id));
    window.captions = new Captions(place, newest);
    for (let i = 0; i < 200; i++) window.more(i);
}"""
MORE = """
    window.more = (i) => {
        window.captions.word({ text: `word${i}`, start: i, end: i + 0.5 });
        if (i % 5 === 4) window.captions.pause();
    };
"""
FOCUS = "document.activeElement.id || document.activeElement.dataset.file"
DENIED = """() => {
    navigator.mediaDevices.getUserMedia = async () => {
        throw new DOMException('', 'NotAllowedError');
    };
}"""
RESAMPLED = """async () => {
    const { Resampler } = await import('/page/resample.js');
    const tone = (rate, hz) =>
        Float32Array.from({ length: rate }, (_, i) => Math.sin(2 * Math.PI * hz * i / rate));
    const found = [];
    for (const rate of [44100, 48000, 16000]) {
        for (const hz of [1000, 15000]) {
            const pcm = tone(rate, hz);
            const whole = new Resampler(rate, 24000).push(pcm);
            const parts = new Resampler(rate, 24000);
            const split = [];
            for (let i = 0; i < rate; i += 777) split.push(...parts.push(pcm.slice(i, i + 777)));
            const all = Math.min(whole.length, split.length);
            const apart = Math.max(...whole.slice(0, all).map((v, i) => Math.abs(v - split[i])));
            const loud = Math.max(...whole.slice(2000, -2000).map(Math.abs));
            found.push([rate, hz, whole.length, split.length, apart, loud]);
        }
    }
    return found;
}"""


@pytest.fixture(scope="module")
def server():
    with Served("-m", "dsm_mlx.serve", "--stt", "tiny", "--tts", "tiny", "--port", "0") as served:
        yield served


@pytest.fixture(scope="module")
def microphone(tmp_path_factory):
    """The sentence and then 3 s of nobody, over and over."""
    pcm = np.concatenate([np.zeros(12_000), read(BUS), np.zeros(72_000)])
    return write_microphone(tmp_path_factory.mktemp("microphone") / "bus.wav", pcm)


@pytest.fixture(scope="module")
def browser(microphone):
    with launched(microphone) as found:
        yield found


@pytest.mark.thorough
def test_the_words_of_the_microphone_appear_and_can_be_taken(browser, server):
    with opened(browser, server.url("/")) as page:
        assert page.inner_text("#models") == "tiny"
        page.click("#listen")
        page.locator("#captions .pause").first.wait_for()
        assert page.inner_text("#listen") == "Stop listening"
        assert "Listening" in page.inner_text("#state")
        said = page.locator("#captions .settled").first.inner_text()
        assert sum(word in said.split() for word in WORDS) >= 6, said
        page.click("#listen")
        page.locator("#state:has-text('Stopped')").wait_for()
        files = [downloaded(page, f"[data-file={kind}]") for kind in ("txt", "srt", "vtt")]
        text, srt, vtt = (file.decode() for file in files)
        assert text.startswith(said) and text.endswith("\n")
        assert srt.startswith("1\n00:00:0") and said.split()[0] in srt.splitlines()[2]
        assert vtt.startswith("WEBVTT\n\n00:00:0")
        page.click("#clear")
        assert page.locator("#captions .turn").count() == 0
        own = (server.url("/"), server.url("/", "ws"), "blob:")
        assert all(url.startswith(own) for url in page.asked), page.asked
        assert page.complaints == []


@pytest.mark.thorough
def test_times_go_on_where_listening_begins_again(browser, server):
    """And where the words are cleared they begin anew; no microphone stays open."""
    with opened(browser, server.url("/"), before=TRACKS) as page:
        for turn in range(2):
            page.click("#listen")
            page.locator("#captions .pause").nth(turn).wait_for()
            page.click("#listen")
            page.locator("#state:has-text('Stopped')").wait_for()
        times = re.findall(r"(\S+) --> (\S+)", downloaded(page, "[data-file=srt]").decode())
        times = [time for span in times for time in span]
        assert len(times) >= 4 and times == sorted(times)
        shown = page.locator("#captions time").all_inner_texts()
        assert shown[0] < shown[1]  # there are some 5 s between
        page.click("#clear")
        page.click("#listen")
        page.locator("#captions .going:not(:empty)").wait_for()
        again = re.search(r"(\S+) -->", downloaded(page, "[data-file=srt]").decode())[1]
        assert again < times[-1]
        page.click("#listen")
        assert page.evaluate("tracks.length") == 3
        assert page.evaluate("tracks.every((track) => track.readyState === 'ended')")
        assert page.complaints == []


def test_who_stops_before_the_microphone_is_there_is_not_heard(browser, server):
    with opened(browser, server.url("/"), before=TRACKS) as page:
        page.evaluate("listen.click(); listen.click()")
        until = time.monotonic() + SECONDS / 1000  # `wait_for_function` would need unsafe-eval
        while not page.evaluate("tracks.length > 0 && tracks[0].readyState === 'ended'"):
            assert time.monotonic() < until
        assert page.inner_text("#listen") == "Start listening"
        assert not [url for url in page.asked if url.startswith("ws")]
        assert page.complaints == []


def test_files_are_those_of_our_captions(browser, server):
    texts = """Well, we waited. It was a.m. then, at J. Smith's... ("Really?") <b> & --> yes!"""
    texts = texts.split(" ")
    texts += ["incomprehensibilities"] * 9 + ["one", "two."] * 12
    words, time = [], 0.4
    for i, text in enumerate(texts):
        words.append(Word(text, time, time + 0.24))
        time += (0.24, 0.32, 0.4, 1.04, 0.08)[i % 5]
    fields = [{"text": word.text, "start": word.start, "end": word.end} for word in words]
    with opened(browser, server.url("/")) as page:
        found = page.evaluate(FILES, [fields[:7], fields[7:]])
    lines = [to_txt(words[:7]), to_txt(words[7:])]
    assert found == ["".join(lines), to_srt(words), to_vtt(words)]


def test_messages_are_those_of_the_server(browser, server):
    numbers = [0, 127, 128, 255, 65_536, 1 << 40, -1, -33, -200, -70_000, -(1 << 40), 0.1]
    told = {"type": "Word", "text": "größer" * 50, "numbers": numbers * 2, "none": [None, True]}
    sent = [messages.step(300, (0.5, 0.25), 0), msgpack.packb(told), messages.word("a", 1.25)]
    pcm = [0.0, 0.5, -1.0]
    with opened(browser, server.url("/")) as page:
        read_there, made_there = page.evaluate(PACKED, [[list(one) for one in sent], pcm])
    assert read_there == [msgpack.unpackb(one) for one in sent]
    audio, marker = (messages.read(bytes(one)) for one in made_there)
    assert messages.samples(audio).tolist() == pcm and audio["type"] == "Audio"
    assert marker == {"type": "Marker", "id": 7}


def test_who_reads_what_was_said_before_stays_there(browser, server):
    with opened(browser, server.url("/"), before=MORE) as page:
        page.evaluate(LONG)
        assert page.locator("#newest").is_hidden()
        page.evaluate("captions.place.scrollTop = 40")
        page.locator("#newest").wait_for()
        page.evaluate("for (let i = 200; i < 300; i++) more(i)")
        assert page.evaluate("captions.place.scrollTop") == 40
        page.click("#newest")
        page.locator("#newest").wait_for(state="hidden")
        page.evaluate("for (let i = 300; i < 400; i++) more(i)")
        place = (
            "captions.place.scrollHeight - captions.place.scrollTop - captions.place.clientHeight"
        )
        assert abs(page.evaluate(place)) <= 1
        assert page.locator("text=word399").is_visible()


@pytest.mark.thorough
def test_a_text_is_said_while_it_is_made(browser, server):
    with opened(browser, server.url("/"), before=PLAYED) as page:
        page.locator("#voice option").nth(4).wait_for(state="attached")
        page.fill("#text", "Hello there.")
        page.select_option("#voice", index=2)
        page.click("#say")
        page.locator("#said:has-text('first sound')").wait_for()
        page.locator("#said:has-text('s of sound')").wait_for()
        wav = downloaded(page, "#keep")
        assert wav[:4] == b"RIFF" and np.abs(np.frombuffer(wav[44:], "<i2")).max() > 1000
        assert page.evaluate("played") == len(wav[44:]) // 2
        assert page.evaluate("loudest") > 0.03
        assert page.complaints == []


def test_speech_can_be_stopped(browser, server):
    with opened(browser, server.url("/")) as page:
        page.fill("#text", "one two three four. " * 30)
        page.click("#say")
        page.locator("#said:has-text('first sound')").wait_for()
        page.click("#hush")
        page.locator("#say:enabled").wait_for()
        assert float(page.inner_text("#said").split()[0]) < 60


def test_everything_by_keys_alone(browser, server):
    """Each control can be reached and has a name; Enter starts and stops."""
    with opened(browser, server.url("/")) as page:
        names = []
        for _ in range(40):
            page.keyboard.press("Tab")
            names.append(page.evaluate(FOCUS))
            if names[-1] == "listen" and "listen" not in names[:-1]:
                page.keyboard.press("Enter")
                page.locator("#listen:has-text('Stop')").wait_for()
        wanted = {"listen", "device", "echo", "captions", "smaller", "larger", "contrast", "copy"}
        assert wanted | {"txt", "srt", "vtt", "clear", "text", "say", "voice"} <= set(names)
        assert unnamed(page) == 0


@pytest.mark.thorough
def test_it_comes_back_when_the_server_does(browser, small):
    settings = {"stt": str(small("stt-tiny")), "max_streams": 2}
    with Served(**settings) as served, opened(browser, served.url("/")) as page:
        assert page.locator("#speaking").is_hidden()
        assert "no model that speaks" in page.inner_text("main")
        page.click("#listen")
        page.locator("#lag:has-text('behind')").wait_for()
        served.stop()
        page.locator("#state:has-text('trying again')").wait_for()
        with Served(**settings, port=served.port, keys=["new"]):  # as one that is made up each time
            page.locator("#door[open]").wait_for()
            page.fill("#key", "new")
            page.keyboard.press("Enter")
            page.locator("#lag:has-text('behind')").wait_for()


def test_a_key_is_asked_for(browser, small):
    with Served(stt=str(small("stt-tiny")), keys=["secret"]) as served:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.goto(served.url("/"))
        page.locator("#door[open]").wait_for()
        assert page.locator("#wrong").is_hidden()
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.locator("#wrong").wait_for()
        page.fill("#key", "secret")
        page.keyboard.press("Enter")
        page.locator("#hearing").wait_for()
        page.click("#listen")
        page.locator("#lag:has-text('behind')").wait_for()
        context.close()


def test_no_microphone_is_told(browser, server):
    """As where somebody said no."""
    with opened(browser, server.url("/")) as page:
        page.evaluate(DENIED)
        page.click("#listen")
        page.locator("#notice:has-text('not allowed')").wait_for()
        assert page.inner_text("#listen") == "Start listening"


def test_nothing_but_the_page_can_be_had(server):
    with urllib.request.urlopen(server.url("/")) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert f"connect-src 'self' ws://127.0.0.1:{server.port} wss://" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/page/", "/page/routes.py", "/page/..%2froutes.py", "/page/%2e%2e/routes.py"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(server.url(path))
        assert error.value.code == 404


def test_the_microphones_sound_is_resampled_well(browser, server):
    """A tone below the limit passes, one above it does not come back as another; any split."""
    with opened(browser, server.url("/")) as page:
        for rate, hz, length, split, apart, loud in page.evaluate(RESAMPLED):
            assert 23_900 <= length <= 24_010 and abs(length - split) <= 1 and apart < 1e-4
            if hz == 1000:
                assert 0.97 < loud < 1.03
            elif rate > 30_000:
                assert loud < 0.01


@pytest.mark.thorough
def test_it_looks_as_it_should_on_a_phone_and_at_night(browser, server, tmp_path):
    """Nothing sticks out; DSM_MLX_SCREENSHOTS keeps the pictures."""
    folder = os.environ.get("DSM_MLX_SCREENSHOTS", str(tmp_path))
    looks = [(360, "dark"), (1280, "light")]
    for width, scheme in looks:
        size = {"width": width, "height": 860}
        with opened(browser, server.url("/"), viewport=size, color_scheme=scheme) as page:
            page.click("#listen")
            page.locator("#captions .pause").first.wait_for()
            time.sleep(0.2)
            page.screenshot(path=f"{folder}/{width}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
