"""A user's program that type checkers read and nobody runs: see test_typing.py.

A line whose error is expected says so: the checkers complain where there is none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
from typing_extensions import assert_type

import dsm_mlx
from dsm_mlx import (
    Chunk,
    EndOfTurn,
    Event,
    Mark,
    Mimi,
    ModelInfo,
    Partial,
    Pause,
    Progress,
    Prompt,
    Renewed,
    Speech,
    SpeechStream,
    SpeechToText,
    TextToSpeech,
    Transcript,
    TranscriptStream,
    TurnPolicy,
    Word,
    chat,
)
from dsm_mlx.chat import Conversation, Sink


def progress(fraction: float, what: str) -> None: ...


def loading() -> tuple[SpeechToText, TextToSpeech]:
    stt = dsm_mlx.load_stt("tiny", bits=8, max_streams=4, progress=progress)
    assert_type(stt, SpeechToText)
    tts = dsm_mlx.load_tts(Path("model"), dtype="float16", cache="q8", codebooks=8)
    assert_type(tts, TextToSpeech)
    assert_type(dsm_mlx.load_codec(), Mimi)
    with dsm_mlx.load_stt() as handle:
        assert_type(handle, SpeechToText)
        assert_type(handle.info, ModelInfo)
        assert_type(handle.streams, int)
        assert_type(handle.max_streams, int)
    dsm_mlx.load_stt(bits="8")  # type: ignore[arg-type]
    dsm_mlx.load_stt(progres=progress)  # type: ignore[call-arg]
    return stt, tts


def recordings(stt: SpeechToText, path: Path, pcm: np.ndarray) -> None:
    assert_type(stt.transcribe(path), Transcript)
    assert_type(stt.transcribe("a.wav", temperature=0.2, seed=1), Transcript)
    assert_type(stt.transcribe(pcm, sample_rate=16_000, gain="auto"), Transcript)
    assert_type(stt.transcribe([path, "b.wav", pcm], sample_rate=16_000), list[Transcript])
    assert_type(stt.transcribe(("a.wav",), seed=[1]), list[Transcript])
    talk = stt.transcribe(
        path, channels="split", speakers=["Ann", "Bob"], track=2, start=1, end=9.5
    )
    assert_type([word.speaker for word in talk.words], list[str | None])
    stt.transcribe([path], channels="left")  # type: ignore[call-overload]
    for part in stt.transcribe_events([path], batch=2):
        assert_type(part, Progress)
        assert_type(part.events, list[Event])
        assert_type(part.error, Exception | None)
    result = stt.transcribe(path)
    assert_type(result.words, list[Word])
    assert_type(result.words[0].confidence, float | None)
    assert_type(result.turns, list[EndOfTurn])
    assert_type(result.pauses, list[Pause])
    result.save("a.srt", highlight_words=True)
    stt.transcribe(path, batsch=1)  # type: ignore[call-overload]
    print(result.wrods)  # type: ignore[attr-defined]


def streams(stt: SpeechToText, pcm: np.ndarray) -> None:
    with stt.stream(0.5, temperature=0.25, seed=1, turns=TurnPolicy(pause=1.0)) as stream:
        assert_type(stream, TranscriptStream)
        assert_type(stream.feed(pcm), list[Event])
        assert_type(stream.flush(), list[Event])
        assert_type(stream.reset(), list[Event])
    assert_type(stream.final_events, list[Event])
    with stt.resume(stream.save()) as again:
        again.push(pcm)
        again.mark({"any": "value"})
        again.end()
        for event in again:
            assert_type(event, Word | Partial | Pause | EndOfTurn | Mark | Renewed)
            if isinstance(event, Word):
                assert_type(event.start, float)
            elif isinstance(event, Pause):
                assert_type(event.probabilities, dict[float, float])
            elif isinstance(event, Mark):
                assert_type(event.value, object)
            elif isinstance(event, Renewed):
                assert_type(event.time, float)
        assert_type(again.fork(), TranscriptStream)
        assert_type((again.partial_word, again.waiting, again.time), tuple[str, int, float])
    prompt = Prompt("Żurek asked", audio=pcm, sample_rate=24_000)
    stt.stream(prompt=prompt, boost=["Żurek"]).close()
    assert_type(
        stt.transcribe("a.wav", prompt=Prompt("Well"), boost={"Ada": 4, "Bo": None}), Transcript
    )
    stt.stream(boost={"Ada": "much"})  # type: ignore[dict-item]
    stt.stream(prompt="Well")  # type: ignore[arg-type]
    for event in stt.listen([pcm], delay=0.5, gain="auto"):
        assert_type(event, Event)
    stt.stream(turns=0.5)  # type: ignore[arg-type]
    stt.stream(gain="auto").close()
    stt.stream(gain="loud")  # type: ignore[arg-type]
    stream.feed("sound")  # type: ignore[arg-type]


async def in_a_loop(stt: SpeechToText, tts: TextToSpeech, pcm: np.ndarray) -> None:
    async def sound() -> AsyncIterator[np.ndarray]:
        yield pcm

    async def text() -> AsyncIterator[str]:
        yield "Hello"

    async with stt.stream() as stream:
        assert_type(stream, TranscriptStream)
        await stream.ready()
        stream.push(pcm)
        stream.end()
        async for event in stream:
            assert_type(event, Event)
        await stream.aclose()
    async for event in stt.listen(sound()):
        assert_type(event, Event)
    async for part in stt.transcribe_events([pcm], sample_rate=24_000):
        assert_type(part, Progress)
    assert_type(await stt.atranscribe("a.wav"), Transcript)
    assert_type(await stt.atranscribe(["a.wav"]), list[Transcript])
    assert_type(await tts.asynthesize("Hello"), Speech)
    async with tts.stream("slt") as speech:
        assert_type(speech, SpeechStream)
        async for chunk in speech:
            assert_type(chunk, Chunk)
    async for chunk in tts.speak(text(), "slt", seed=1):
        assert_type(chunk, Chunk)
    stt.listen(text())  # type: ignore[arg-type]


def speech(tts: TextToSpeech) -> Iterator[np.ndarray]:
    spoken = tts.synthesize("Hello", "slt", seed=1, cfg=2.0, pace=0.9, lexicon={"a": "b"})
    assert_type(tts.synthesize(["Hello", "Bye"], "slt", seed=[1, 2]), list[Speech])
    assert_type(tts.synthesize([("slt", "Hello"), (None, "Bye")]), Speech)
    turns = [("slt", "Hello"), ("rms", "Bye")]  # of a type that is inferred, and narrower
    assert_type(tts.synthesize(turns), Speech)
    assert_type(tts.synthesize([turns, turns]), list[Speech])
    assert_type(tts.synthesize(tuple(said for _, said in turns)), list[Speech])
    tts.synthesize("Hello", sed=1)  # type: ignore[call-overload]
    tts.synthesize("Hello", temperature="hot")  # type: ignore[call-overload]
    tts.synthesize("Hello", pace="fast")  # type: ignore[call-overload]
    assert_type(spoken, Speech)
    assert_type(spoken.words, list[Word])
    assert_type((spoken.sample_rate, spoken.duration), tuple[int, float])
    spoken.save("a.wav")
    with tts.stream(wait=1.0, pace=1.1, max_seconds=2.5, normalize="fr") as stream:
        assert_type(stream.cut_short, bool)
        stream.feed("Hello")
        stream.end()
        assert_type(stream.fork(), SpeechStream)
        for chunk in stream:
            assert_type(chunk.words, list[Word])
            assert_type(chunk.ahead, int)
            yield chunk.audio
    assert_type(tts.voices(), list[str])
    assert_type(tts.cfg_values, tuple[float, ...])
    assert_type(tts.clones, bool)
    stream.feed(5)  # type: ignore[arg-type]
    tts.stream(voise="slt")  # type: ignore[call-arg]


def reply(messages: list[dict[str, str]]) -> Iterator[str]:
    yield messages[-1]["content"]


def conversation(stt: SpeechToText, tts: TextToSpeech, pcm: np.ndarray, sink: Sink) -> None:
    with Conversation(stt, tts, reply, source=[pcm], sink=sink, full_duplex=True) as talk:
        assert_type(talk, Conversation)
        talk.say("Hello")
        for event in talk:
            assert_type(event, chat.Event)
            if isinstance(event, chat.Said) and event.latency:
                assert_type(event.latency.total, float)
    assert_type(talk.messages, list[dict[str, str]])
    server = chat.ServerReply("localhost:11434", "m", temperature=0.5)
    for answers in (server, chat.LocalReply("folder", max_tokens=99), chat.EchoReply()):
        Conversation(stt, tts, answers, source=[pcm], sink=sink)
    for piece in server([{"role": "user", "content": "Hello"}]):
        assert_type(piece, str)
    chat.ServerReply(3)  # type: ignore[arg-type]
    Conversation(stt, tts, reply, source=[pcm], sink=3)  # type: ignore[arg-type]
    Conversation(stt, tts, reply, source=[pcm])  # type: ignore[call-arg]


def errors() -> None:
    try:
        dsm_mlx.load_stt()
    except (dsm_mlx.CheckpointError, dsm_mlx.AudioError, dsm_mlx.BusyError) as error:
        print(error)
    dsm_mlx.limit_memory(cache=1 << 20, wired=None)
