"""A real browser at the server's pages: Debian's Chromium, whose microphone plays a file."""

import shutil
import wave
from contextlib import contextmanager

import numpy as np
import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")

SECONDS = 40_000  # milliseconds, of patience
FLAGS = [
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip

# Sounds of which the browser is told the time, and how loud what it plays gets.
PLAYED = """
    window.played = 0;
    window.loudest = 0;
    const { connect } = AudioNode.prototype;
    const { start } = AudioBufferSourceNode.prototype;
    AudioBufferSourceNode.prototype.start = function (...when) {
        window.played += this.buffer.length;
        return start.apply(this, when);
    };
    AudioNode.prototype.connect = function (to, ...more) {
        if (to instanceof AudioDestinationNode) {
            const analyser = to.context.createAnalyser();
            const wave = new Float32Array(analyser.fftSize);
            connect.call(this, analyser);
            setInterval(() => {
                analyser.getFloatTimeDomainData(wave);
                window.loudest = Math.max(window.loudest, ...wave);
            }, 20);
        }
        return connect.call(this, to, ...more);
    };
"""


def write_microphone(path, pcm):
    """A file that the microphone plays over and over; pcm: float samples at 24 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", "not compressed"))
        file.writeframes((np.asarray(pcm) * 32767).astype("<i2").tobytes())
    return path


@contextmanager
def launched(microphone):
    """A browser whose microphone plays that file."""
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"],
        )
        yield found
        found.close()


@contextmanager
def opened(browser, url, before="", prepare=None, **options):
    """A page, and what it asked for and complained of. before: a program that runs before it.
    prepare: called with the page before it goes there."""
    context = browser.new_context(accept_downloads=True, **options)
    context.add_init_script(before)
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("websocket", lambda socket: page.asked.append(socket.url))
    page.on("console", lambda line: line.type == "error" and page.complaints.append(line.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    try:
        if prepare:
            prepare(page)
        page.goto(url)
        page.locator("#models:not(:empty)").wait_for(state="attached")
        yield page
    finally:
        context.close()


def downloaded(page, selector):
    with page.expect_download() as download:
        page.click(selector)
    return download.value.path().read_bytes()


def unnamed(page):
    """How many of the page's controls have no name for those who do not see them."""
    return page.evaluate(
        """[...document.querySelectorAll('button, select, input, textarea, meter')].filter(
            e => !(e.ariaLabel || e.innerText || (e.labels && e.labels.length))).length"""
    )
