"""A whole conversation on sound devices: a microphone and headphones of PulseAudio's, in real time.

Skipped where PulseAudio cannot be started, unless DSM_MLX_REQUIRE_MICROPHONE=1 is set.
"""

import subprocess
import threading
import time

import numpy as np
import pytest
from test_chat_tiny import SOUND, STORY, close_to

import dsm_mlx
from dsm_mlx.audio import Microphone, Speaker, WavWriter, read
from dsm_mlx.chat import Conversation, Interrupted, Said, Saying, TurnEnded

RATE = 24_000
TAKES = 3  # a busy machine may lose some of the sound
FALLEN_SILENT = 0.3  # seconds, after what is said over the assistant is known


def pactl(*args):
    return subprocess.run(["pactl", *args], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def headphones(virtual_microphone):
    """What programs play to by themselves, and nobody's microphone hears."""
    number = pactl("load-module", "module-null-sink", "sink_name=headphones", "rate=48000").strip()
    pactl("set-default-sink", "headphones")
    yield "headphones.monitor"
    pactl("set-default-sink", "virtual")
    pactl("unload-module", number)


class Ear:
    """What is played to the headphones, and when each piece of it was there."""

    def __init__(self, device):
        options = [f"--device={device}", f"--rate={RATE}", "--channels=1", "--format=s16le"]
        self._recorder = subprocess.Popen(
            ["parec", "--latency-msec=20", *options], stdout=subprocess.PIPE
        )
        self._pieces = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self):
        while data := self._recorder.stdout.read1(4800):
            self._pieces.append((time.monotonic(), np.frombuffer(data[: len(data) & ~1], "<i2")))

    def close(self):
        self._recorder.terminate()
        self._thread.join(10)
        self._recorder.stdout.close()
        self._recorder.wait(10)

    def between(self, start, end):
        """float32 (samples,)."""
        found = [pcm for at, pcm in self._pieces if start < at <= end]
        return np.concatenate([np.zeros(0, "<i2"), *found]).astype(np.float32) / 32_768


def says(name, folder):
    """Somebody says a recording into the microphone; ends when it is said."""
    path = folder / f"{name}.wav"
    recording = next(path for path in SOUND.glob(f"{name}.*") if path.suffix != ".txt")
    with WavWriter(path) as writer:
        writer.write(read(recording))
    return subprocess.Popen(["paplay", "--device=virtual", path])


def scripted(messages):
    turn = sum(message["role"] == "user" for message in messages)
    answers = "The train leaves at nine.", (f"{word} " for word in STORY.split()), "Good morning."
    return answers[turn - 1]


def talk(models, ear, folder):
    """Three questions, of which the last is said over the second answer: the messages, the events
    with the time at which each came."""
    events, playing = [], [says("bus", folder)]

    def seen(*kinds):
        return sum(isinstance(event, kinds) for _, event in events)

    with (
        Microphone() as microphone,
        Speaker() as speaker,
        Conversation(
            *models,
            scripted,
            source=microphone,
            sink=speaker,
            full_duplex=True,
            voice="linda",
            speech={"seed": 1},
        ) as conversation,
    ):
        for event in conversation:
            events.append((time.monotonic(), event))
            if isinstance(event, Said) and len(playing) == 1:
                playing.append(says("kitchen", folder))
            told = [e.text for _, e in events if isinstance(e, Saying)]
            if seen(TurnEnded) == 2 and len("".join(told).split()) > 9 and len(playing) == 2:
                playing.append(says("cat", folder))
            if seen(Said) == 2:
                break
        messages = conversation.messages
    assert all(process.wait(20) == 0 for process in playing)
    return messages, events


def check(models, messages, events, ear):
    assert [message["role"] for message in messages] == ["user", "assistant"] * 3
    said = [message["content"] for message in messages]
    for name, text in zip(("bus", "kitchen", "cat"), said[::2], strict=True):
        close_to(text, (SOUND / f"{name}.txt").read_text())
    first, cut, last = said[1::2]
    assert (first, last) == ("The train leaves at nine.", "Good morning.")
    ((when, interrupted),) = (each for each in events if isinstance(each[1], Interrupted))
    assert interrupted.heard == cut and STORY.startswith(cut) and len(cut) < len(STORY) / 2
    begins = [at for at, event in events if isinstance(event, TurnEnded)]
    spoken, after = ear.between(begins[1], when + 0.2), ear.between(when + FALLEN_SILENT, begins[2])
    assert np.abs(spoken).max() > 0.05
    assert after.size > RATE / 4 and np.abs(after).max() < 1e-3
    close_to(models[0].transcribe(spoken, sample_rate=RATE).text, cut, 0.6)
    latencies = [event.latency for _, event in events if isinstance(event, Said)]
    assert all(0 < latency.total < 10 for latency in latencies)


@pytest.mark.thorough
def test_three_turns_and_an_interruption(headphones, tmp_path):
    with dsm_mlx.load_stt("tiny") as stt, dsm_mlx.load_tts("tiny") as tts:
        for take in range(TAKES):
            ear = Ear(headphones)
            try:
                messages, events = talk((stt, tts), ear, tmp_path)
            finally:
                ear.close()
            try:
                return check((stt, tts), messages, events, ear)
            except AssertionError:
                if take == TAKES - 1:
                    raise
