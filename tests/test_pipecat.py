"""Services in a pipeline of the installed Pipecat, with `tiny`."""

import asyncio
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pipecat", reason="pipecat-ai is not installed: pip install '.[pipecat]'")

from pipecat.frames.frames import (
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData, TTSUsageMetricsData
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.tts_service import TextAggregationMode
from piping import go, running

from dsm_mlx import TurnPolicy, load_stt, load_tts
from dsm_mlx.audio import read
from dsm_mlx.pipecat import DsmSTTService, DsmTTSService, listening
from dsm_mlx.pipecat import stt as stt_module
from dsm_mlx.pipecat import tts as tts_module

PACKAGE = Path(__file__).parents[1] / "dsm_mlx/pipecat"
TEXT = "the bus was late because the road was full of snow"
PIECES = ["The bus ", "was la", "te because the road ", "was full of snow."]
TURNS = TurnPolicy(threshold=0.9)  # with which `tiny` takes no pause for the end
SAID = "The bus was late because the road was full of snow."
GREEDY = DsmTTSService.Settings(temperature=0.0)


@cache
def stt():
    return load_stt("tiny")


@cache
def tts():
    return load_tts("tiny")


@cache
def sound(rate=24_000, silence=3.0):
    """Somebody speaks, and then nobody does."""
    pcm = read("demos/audio/bus.wav", target=rate)
    return np.concatenate([pcm, np.zeros(round(silence * rate), np.float32)])


# ---- what is heard


def test_turns_as_the_model_sees_them():
    async def test():
        async with running(DsmSTTService(stt(), turns=TURNS)) as pipe:
            await pipe.hear(sound())
            await pipe.finish()
        out = pipe.out
        assert out.text(TranscriptionFrame) == TEXT
        kinds = out.of(
            ProposedUserStartedSpeakingFrame,
            InterimTranscriptionFrame,
            TranscriptionFrame,
            ProposedUserStoppedSpeakingFrame,
        )
        order = [type(frame).__name__.removesuffix("Frame") for frame in kinds]
        shortened = [name for i, name in enumerate(order) if name != (order[:i] or [""])[-1]]
        turn = ["ProposedUserStartedSpeaking", "InterimTranscription", "Transcription",
                "ProposedUserStoppedSpeaking"]  # fmt: skip
        assert shortened == turn * len(out.of(TranscriptionFrame))
        assert all(frame.finalized for frame in out.of(TranscriptionFrame))
        assert TEXT.startswith(out.of(InterimTranscriptionFrame)[0].text)
        assert str(out.of(TranscriptionFrame)[0].language) == "en"

    go(test)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_a_vad_brings_out_the_words_at_once(rate):
    """Without any sound after the last word. Times are those of a recording."""
    pcm = sound(rate, 0.0)
    expected = stt().transcribe(pcm, sample_rate=rate).words

    async def test():
        service = DsmSTTService(stt(), turns=None, stt_ttfb_timeout=60.0)
        async with running(service, audio_in_sample_rate=rate, enable_metrics=True) as pipe:
            await pipe.hear(pcm, rate)
            await pipe.put(VADUserStoppedSpeakingFrame(stop_secs=0.2))
            found = await pipe.out.come(TranscriptionFrame)
            await pipe.out.until(lambda: max(pipe.out.metrics(TTFBMetricsData), default=0) > 0.2)
        assert found.finalized and found.result.text == found.text
        assert found.text == " ".join(word.text for word in expected)
        starts = [word.start for word in found.result.words]
        np.testing.assert_allclose(starts, [word.start for word in expected], atol=0.08)
        assert not pipe.out.of(ProposedUserStartedSpeakingFrame)

    go(test)


def test_what_is_muted_is_not_heard():
    async def test():
        async with running(DsmSTTService(stt(), turns=TURNS)) as pipe:
            await pipe.put(STTMuteFrame(mute=True))
            await pipe.hear(sound())
            await pipe.put(STTMuteFrame(mute=False))
            await pipe.hear(sound())
            await pipe.finish()
        words = [word for frame in pipe.out.of(TranscriptionFrame) for word in frame.result.words]
        assert pipe.out.text(TranscriptionFrame).startswith("the bus was late because")
        assert pipe.out.text(TranscriptionFrame).count("bus") == 1
        assert words[0].start > len(sound()) / 24_000 - 0.2  # time went on

    go(test)


def test_a_source_that_falls_silent_ends_a_turn(monkeypatch):
    monkeypatch.setattr(stt_module, "_SILENT_SECONDS", 0.2)

    async def test():
        async with running(DsmSTTService(stt(), turns=TURNS)) as pipe:
            await pipe.hear(sound(silence=0.0))
            await pipe.out.until(lambda: pipe.out.text(TranscriptionFrame) == TEXT)
            await pipe.out.come(
                ProposedUserStoppedSpeakingFrame, len(pipe.out.of(TranscriptionFrame))
            )

    go(test)


def test_new_settings_begin_a_new_stream_and_lose_nothing():
    async def test():
        service = DsmSTTService(stt(), turns=TURNS)
        async with running(service) as pipe:
            half = len(sound())
            await pipe.hear(sound())
            await pipe.out.come(TranscriptionFrame)
            await pipe.put(STTUpdateSettingsFrame(delta=DsmSTTService.Settings(gain="auto")))
            while service.settings.gain != "auto":  # sound would overtake it
                await asyncio.sleep(0.01)
            await pipe.hear(sound())
            await pipe.finish()
        assert pipe.out.text(TranscriptionFrame) == f"{TEXT} {TEXT}"
        words = [word for frame in pipe.out.of(TranscriptionFrame) for word in frame.result.words]
        starts = [word.start for word in words]
        assert starts == sorted(starts) and starts[11] > half / 24_000 - 0.01

    go(test)


def test_too_much_sound_is_told_once_and_left_out(monkeypatch):
    monkeypatch.setattr(listening, "MOST_SECONDS", 2.0)
    given = threading.Event()
    monkeypatch.setattr(stt_module, "load_stt", lambda name: given.wait(60) and load_stt(name))

    async def test():
        async with running(DsmSTTService("tiny", turns=TURNS)) as pipe:
            await pipe.hear(sound())
            assert "sound wait to be heard" in await pipe.error()
            given.set()
            await pipe.finish()
        assert len(pipe.errors) == 1 and pipe.out.text(TranscriptionFrame).startswith("the bus")

    go(test)


# ---- what is said


def test_words_have_their_times():
    async def test():
        service = DsmTTSService(tts(), settings=GREEDY)
        async with running(service, enable_metrics=True, enable_usage_metrics=True) as pipe:
            await pipe.say(*PIECES)
            await pipe.finish()
        out = pipe.out
        assert out.text(TTSTextFrame) == SAID
        times = np.array([frame.pts for frame in out.of(TTSTextFrame)]) / 1e9
        said = tts().synthesize(SAID, temperature=0.0)
        np.testing.assert_allclose(
            times - times[0], [word.start - said.words[0].start for word in said.words], atol=1e-3
        )
        assert out.pcm.size == said.audio.size
        order = [
            type(frame) for frame in out.of(TTSStartedFrame, TTSAudioRawFrame, TTSStoppedFrame)
        ]
        assert order[0] is TTSStartedFrame and order[-1] is TTSStoppedFrame
        assert set(order[1:-1]) == {TTSAudioRawFrame}
        assert out.metrics(TTSUsageMetricsData)[-1] == len("".join(PIECES))
        assert sum(value > 0 for value in out.metrics(TTFBMetricsData)) == 1

    go(test)


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_sound_at_the_pipeline_s_rate(rate):
    expected = tts().synthesize("Good morning.", temperature=0.0).audio

    async def test():
        async with running(
            DsmTTSService(tts(), settings=GREEDY), audio_out_sample_rate=rate
        ) as pipe:
            await pipe.put(TTSSpeakFrame("Good morning."))
            await pipe.finish()
        assert {frame.sample_rate for frame in pipe.out.of(TTSAudioRawFrame)} == {rate}
        assert pipe.out.pcm.size == round(expected.size * rate / 24_000)

    go(test)


def test_pauses_and_unknown_tags():
    async def test():
        async with running(DsmTTSService(tts(), settings=GREEDY)) as pipe:
            await pipe.say("The bus ", "was <bre", 'ak time="1s"/>late <b>today', ".")
            await pipe.finish()
        assert pipe.out.text(TTSTextFrame) == "The bus was late today."
        times = [frame.pts / 1e9 for frame in pipe.out.of(TTSTextFrame)]
        assert times[3] - times[2] > 1.0 > times[2] - times[1]
        assert pipe.errors == []

    go(test)


def test_whole_sentences_are_one_utterance_too():
    async def test():
        mode = {"text_aggregation_mode": TextAggregationMode.SENTENCE}
        async with running(DsmTTSService(tts(), settings=GREEDY, **mode)) as pipe:
            await pipe.say("Good morning. ", "The bus was late.")
            await pipe.finish()
        assert pipe.out.text(TTSTextFrame) == "Good morning. The bus was late."
        assert len(pipe.out.of(TTSStartedFrame)) == 1

    go(test)


def test_an_interruption_frees_the_row_and_the_next_reply_is_said():
    async def test():
        async with running(DsmTTSService(tts(), settings=GREEDY)) as pipe:
            await pipe.say(*PIECES * 20, end=False)
            await pipe.out.come(TTSAudioRawFrame, 3)
            assert tts().streams == 1
            await pipe.put(InterruptionFrame())
            await pipe.out.come(InterruptionFrame)
            assert tts().streams == 0
            said = len(pipe.out.of(TTSAudioRawFrame))
            await pipe.say("Good morning.")
            await pipe.finish()
        after = pipe.out.frames[pipe.out.frames.index(pipe.out.of(InterruptionFrame)[0]) :]
        words = [frame.text for frame in after if isinstance(frame, TTSTextFrame)]
        assert words == ["Good", "morning."]
        assert said < 60 < len(PIECES) * 20  # frames of 80 ms, of a text of more than a minute

    go(test)


def test_a_voice_that_there_is_and_one_that_there_is_not():
    async def test():
        async with running(DsmTTSService(tts(), settings=GREEDY)) as pipe:
            for voice in ("max", "nobody", "slt"):
                delta = DsmTTSService.Settings(voice=voice)
                await pipe.put(TTSUpdateSettingsFrame(delta=delta), TTSSpeakFrame("Good morning."))
            await pipe.finish()
        (error,) = pipe.errors
        assert "nobody" in error
        for voice, stopped in (("max", 0), ("slt", -1)):
            stops = pipe.out.of(TTSStoppedFrame)
            audio = [
                frame.audio
                for frame in pipe.out.of(TTSAudioRawFrame)
                if frame.context_id == stops[stopped].context_id
            ]
            expected = tts().synthesize("Good morning.", voice, temperature=0.0).audio
            assert len(b"".join(audio)) == 2 * expected.size

    go(test)


def test_what_is_too_long_ends_there_and_the_rest_is_not_said():
    settings = DsmTTSService.Settings(temperature=0.0, max_seconds=1.0)

    async def test():
        async with running(DsmTTSService(tts(), settings=settings)) as pipe:
            await pipe.say(*PIECES * 3, end=False)
            await pipe.out.come(TTSAudioRawFrame)
            while tts().streams:
                await asyncio.sleep(0.01)
            await pipe.put(LLMTextFrame(" And more."), LLMFullResponseEndFrame())
            await pipe.finish()
        assert 0 < pipe.out.pcm.size <= 24_000
        assert len(pipe.out.of(TTSStartedFrame)) == 1

    go(test)


# ---- together


class Scripted(FrameProcessor):
    """In the place of a language model: says what it was told, a word at a time."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            await self.push_frame(LLMFullResponseStartFrame())
            for word in f"You said {frame.context.messages[-1]['content']} .".split():
                await self.push_frame(LLMTextFrame(word + " "))
            await self.push_frame(LLMFullResponseEndFrame())
        else:
            await self.push_frame(frame, direction)


def talk(stt, tts):
    """A conversation with Pipecat's own aggregators: they take the turns as recommended."""
    context = LLMContext()
    pair = LLMContextAggregatorPair(context)
    hears, says = DsmSTTService(stt, turns=TURNS), DsmTTSService(tts, settings=GREEDY)
    return context, running(hears, pair.user(), Scripted(), says)


def test_two_conversations_at_once():
    async def one():
        context, pipeline = talk(stt(), tts())
        async with pipeline as pipe:
            await pipe.hear(sound())
            await pipe.out.until(lambda: "snow" in pipe.out.text(TTSTextFrame))
            await pipe.finish()
        return context, pipe

    async def test():
        for context, pipe in await asyncio.gather(one(), one()):
            assert " ".join(message["content"] for message in context.messages) == TEXT
            assert pipe.out.of(UserStartedSpeakingFrame, UserStoppedSpeakingFrame)
            assert pipe.out.of(InterruptionFrame) and pipe.errors == []
        assert stt().streams == tts().streams == 0

    go(test)


def test_a_pipeline_that_is_cancelled_frees_its_rows():
    async def test():
        async with running(DsmSTTService(stt(), turns=TURNS), DsmTTSService(tts())) as pipe:
            await pipe.hear(sound())
            await pipe.say(*PIECES * 20)
            await pipe.out.come(TTSAudioRawFrame)
            assert stt().streams == tts().streams == 1
        assert stt().streams == tts().streams == 0

    go(test)


# ---- models


def test_a_name_is_loaded_beside_the_loop_and_closed_with_the_pipeline(monkeypatch):
    given, loaded = threading.Event(), []

    def load(name):
        given.wait(60)
        loaded.append(load_stt(name))
        return loaded[0]

    monkeypatch.setattr(stt_module, "load_stt", load)

    async def test():
        async with running(DsmSTTService("tiny", turns=TURNS)) as pipe:  # it starts
            await pipe.hear(sound())
            given.set()
            await pipe.finish()
        assert pipe.out.text(TranscriptionFrame) == TEXT
        with pytest.raises(ValueError, match="closed"):
            loaded[0].stream()

    go(test)
    stt().stream().close()  # somebody's own stays open


@pytest.mark.parametrize("service", [DsmSTTService, DsmTTSService])
def test_a_model_that_there_is_not(service, tmp_path):
    async def test():
        async with running(service(f"{tmp_path}/x")) as pipe:
            assert "no such folder" in await pipe.error()
            await pipe.hear(sound())
            await pipe.say("Good morning.")
            await pipe.finish()
        assert len(pipe.errors) == 1  # and is asked for nothing more

    go(test)


@pytest.mark.parametrize("service, model", [(DsmSTTService, stt), (DsmTTSService, tts)])
def test_a_language_that_the_model_does_not_know(service, model):
    async def test():
        async with running(service(model(), settings=service.Settings(language="xx"))) as pipe:
            assert "language is 'xx' (this model knows en)" in await pipe.error()

    go(test)


def test_no_free_row(monkeypatch):
    monkeypatch.setattr(tts_module, "_WAIT_SECONDS", 0.0)

    async def test():
        with load_tts("tiny", max_streams=1) as model, model.stream() as taken:
            async with running(DsmTTSService(model, settings=GREEDY)) as pipe:
                await pipe.put(TTSSpeakFrame("Good morning."))
                assert "all 1 streams are in use" in await pipe.error()
                taken.cancel()
                await pipe.put(TTSSpeakFrame("Good morning."))
                await pipe.finish()
        assert pipe.out.text(TTSTextFrame).endswith("Good morning.")
        assert pipe.out.pcm.size

    go(test)


def test_mypy_strict(request):
    """Pipecat's own functions are partly untyped."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    cache = request.config.cache.mkdir("mypy-pipecat")
    options = ["--strict", "--allow-untyped-calls", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *options, f"--cache-dir={cache}", PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("Success"), done.stdout
