"""Public functions whose arguments are anything at all."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import dsm_mlx
from dsm_mlx import audio, captions
from dsm_mlx.serve.options import Limits, ServerOptions
from fuzzing.mutations import near, value

_PCM = 0.1 * np.sin(np.arange(4000, dtype=np.float32))
_WORDS = [dsm_mlx.Word("one", 0.1, 0.4), dsm_mlx.Word("two", 0.5, 0.9)]

Call = tuple[Callable[..., Any], dict[str, Any]]


@cache
def _models(corpus: Path) -> tuple[dsm_mlx.SpeechToText, dsm_mlx.TextToSpeech, dsm_mlx.Mimi]:
    stt, tts = corpus / "stt", corpus / "tts"
    return dsm_mlx.load_stt(stt), dsm_mlx.load_tts(tts), dsm_mlx.load_codec(stt)


def attempt(rng: random.Random, corpus: Path, folder: Path) -> None:
    """A call that is right but for one or two of its arguments."""
    function, arguments = rng.choice(_calls(corpus, folder))
    for name in rng.sample(sorted(arguments), min(len(arguments), rng.choice((1, 1, 2)))):
        arguments[name] = near(arguments[name], rng) if rng.random() < 0.5 else value(rng)
    if rng.random() < 0.02:
        arguments["no_such_argument"] = 1
    function(**arguments)


def _calls(corpus: Path, folder: Path) -> list[Call]:
    stt, tts, codec = _models(corpus)
    transcript = dsm_mlx.Transcript("one two", _WORDS, duration=1.0)
    speech = dsm_mlx.Speech(_PCM, 24_000, _WORDS)
    loading = {"bits": None, "dtype": None, "revision": None, "cache": None, "max_streams": 1}
    voiced = {"voice": None, "temperature": 0.5, "cfg": None, "seed": 1, "padding_bonus": 0.0}
    voiced |= {"pace": 1.0, "max_seconds": 1.0, "normalize": "auto", "lexicon": {"a": "b"}}
    expected = {"prompt": None, "boost": ["we"]}
    return [
        (_loaded(dsm_mlx.load_stt), {"model": corpus / "stt", **loading}),
        (_loaded(dsm_mlx.load_tts), {"model": corpus / "tts", "codebooks": 2, **loading}),
        (dsm_mlx.load_codec, {"model": corpus / "stt", "codebooks": 2}),
        (dsm_mlx.TurnPolicy, {"pause": 0.5, "threshold": 0.5, "frames": 3, "rearm": 0.3}),
        (
            stt.transcribe,
            {
                "audio": _PCM,
                "sample_rate": 24_000,
                "delay": None,
                "batch": 2,
                "temperature": 0.0,
                "seed": 1,
                **expected,
            },
        ),
        (
            _listed(stt.transcribe_events),
            {"audio": [_PCM], "sample_rate": 24_000, "delay": None, "batch": 2, **expected},
        ),
        (
            _listened(stt),
            {
                "delay": None,
                "temperature": 0.0,
                "seed": 1,
                "turns": None,
                "wait": 0.0,
                "pcm": _PCM,
                **expected,
            },
        ),
        (dsm_mlx.Prompt, {"text": "we", "audio": _PCM, "sample_rate": 24_000}),
        (_boosted(stt), {"the one": 3.0, "we": 1.0}),
        (_prompted(stt), {"text": "we", "audio": _PCM, "sample_rate": 24_000}),
        (_pushed(stt), {"pcm": _PCM, "mark": "here"}),
        (stt.resume, {"data": b"dsm_mlx stream 1\n"}),
        (tts.synthesize, {"text": "Hi", "batch": 1, **voiced}),
        (_spoken(tts), {"text": "Hi", "wait": 0.0, **voiced}),
        (codec.encode, {"pcm": _PCM[None, None]}),
        (codec.decode, {"codes": np.zeros((1, 2, 3), np.int32)}),
        (transcript.save, {"path": folder / "one.srt"}),
        (transcript.to_srt, {"highlight_words": True, "style": None}),
        (speech.save, {"path": folder / "one.wav"}),
        (audio.read, {"source": _PCM, "sample_rate": 16_000, "target": 24_000}),
        (audio.RawFormat, {"encoding": "s16le", "sample_rate": 24_000, "channels": 1}),
        (_written, {"path": folder / "two.wav", "sample_rate": 24_000, "pcm": _PCM}),
        (_saved, {"path": folder / "two.flac", "sample_rate": 24_000, "pcm": _PCM}),
        (_encoded(codec), {"batch": 1, "pcm": _PCM[None, None, :3840]}),
        (_decoded(codec), {"batch": 1, "codes": np.zeros((1, 2, 3), np.int32)}),
        (_piped(stt.listen), {"source": [_PCM], "delay": None, "temperature": 0.0, "wait": 0.0}),
        (_piped(tts.speak), {"source": ["Hi"], "wait": 0.0, **voiced}),
        (_closed(corpus / "stt"), {"drain": 0.0}),
        (dsm_mlx.limit_memory, {"cache": 256 << 20, "wired": None}),
        (captions.CaptionStyle, vars(captions.CaptionStyle()).copy()),
        (captions.cues, {"words": _WORDS, "style": captions.CaptionStyle()}),
        (captions.render, {"transcript": transcript, "format": "vtt", "highlight_words": True}),
        (captions.write, {"transcript": transcript, "path": folder / "all", "format": "all"}),
        (_blocks, {"source": _PCM, "sample_rate": 16_000, "target": 24_000, "samples": 1920}),
        (_listed(audio.read_stream), {"stream": io.BytesIO(b"\1\2" * 999), "sample_rate": 8000}),
        (audio.check_pcm, {"pcm": _PCM, "name": "pcm", "rate": 24_000}),
        (audio.check_rate, {"value": 24_000}),
        (audio.to_s16le, {"pcm": _PCM}),
        (audio.Microphone, {"device": "no such device", "sample_rate": 24_000, "on_event": None}),
        (
            audio.Speaker,
            {"device": "none", "sample_rate": 24_000, "prebuffer": 0.1, "on_event": None},
        ),
        (Limits, vars(Limits()).copy()),
        (ServerOptions, {**vars(ServerOptions()), "unix_socket": folder / "socket"}),
    ]


def _loaded(load: Callable[..., Any]) -> Callable[..., None]:
    def call(**options: Any) -> None:
        load(**options).close()

    return call


def _listed(function: Callable[..., Any]) -> Callable[..., None]:
    def call(**options: Any) -> None:
        list(function(**options))

    return call


def _listened(stt: dsm_mlx.SpeechToText) -> Callable[..., None]:
    def call(pcm: Any, **options: Any) -> None:
        with stt.stream(**options) as stream:
            stream.feed(pcm)

    return call


def _boosted(stt: dsm_mlx.SpeechToText) -> Callable[..., None]:
    def call(**phrases: Any) -> None:
        stt.stream(boost=phrases).close()

    return call


def _prompted(stt: dsm_mlx.SpeechToText) -> Callable[..., None]:
    def call(**fields: Any) -> None:
        stt.stream(prompt=dsm_mlx.Prompt(**fields)).close()

    return call


def _pushed(stt: dsm_mlx.SpeechToText) -> Callable[..., None]:
    def call(pcm: Any, mark: Any) -> None:
        with stt.stream() as stream:
            stream.push(pcm)
            stream.mark(mark)
            saved = stream.save()
            stream.end()
            list(stream)
        stt.resume(saved).close()

    return call


def _spoken(tts: dsm_mlx.TextToSpeech) -> Callable[..., None]:
    def call(text: Any, **options: Any) -> None:
        with tts.stream(**options) as stream:
            stream.feed(text)
            stream.end()
            list(stream)

    return call


def _piped(function: Callable[..., Any]) -> Callable[..., None]:
    def call(source: Any, **options: Any) -> None:
        for _ in function(source, **options):
            pass

    return call


def _closed(model: Path) -> Callable[..., None]:
    def call(drain: Any) -> None:
        other = dsm_mlx.load_stt(model)
        try:
            other.close(drain)
        finally:
            other.close()

    return call


def _encoded(codec: dsm_mlx.Mimi) -> Callable[..., None]:
    def call(batch: Any, pcm: Any) -> None:
        codec.encoder(batch)(pcm)

    return call


def _decoded(codec: dsm_mlx.Mimi) -> Callable[..., None]:
    def call(batch: Any, codes: Any) -> None:
        codec.decoder(batch)(codes)

    return call


def _blocks(samples: Any, **options: Any) -> None:
    with audio.Sound(**options) as sound:
        for _ in sound.blocks(samples):
            pass


def _saved(path: Any, sample_rate: Any, pcm: Any) -> None:
    with audio.SoundWriter(path, sample_rate) as writer:
        writer.write(pcm)


def _written(path: Any, sample_rate: Any, pcm: Any) -> None:
    with audio.WavWriter(path, sample_rate) as writer:
        writer.write(pcm)
