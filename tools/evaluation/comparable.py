"""Whether models can be compared token by token, told from their configs and tokenizers alone."""

from __future__ import annotations

import hashlib

from dsm_mlx.convert.source import Source
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.stt.config import SttConfig
from dsm_mlx.tts.config import TtsConfig


def check(names: list[str], sources: list[Source]) -> None:
    """ValueError unless all mean the same by a token, and say it at the same time.

    names: what the user calls them. The first one's tokens are given to the others, so that step
    by step all have the same past.
    """
    first = _traits(names[0], sources[0])
    for name, source in zip(names[1:], sources[1:], strict=True):
        for what, value in _traits(name, source).items():
            if value != first.get(what):
                raise ValueError(
                    f"{name}: cannot be compared with {names[0]} token by token: its {what} is "
                    f"{value}, not {first.get(what)}"
                )


def _traits(name: str, source: Source) -> dict:
    """What two models must have in common, by the words for it."""
    if source.lm is None:
        raise ValueError(f"{name}: is a codec alone, which cannot be compared")
    config, raw = LmConfig.read(source.lm.config), source.lm.config
    traits = {"kind": source.kind}
    if source.kind == "stt":
        stt = SttConfig.read(raw)
        traits |= {"delay": f"{stt.delay} s", "silence before the sound": f"{stt.prefix} s"}
    else:
        tts = TtsConfig.read(raw)
        traits |= {"delay": f"{tts.audio_delay} s", "lookahead": tts.second_stream_ahead}
    return traits | {
        "number of text tokens": config.text_card,
        "number of codebooks": config.n_q,
        "number of values of a code": config.card,
        "delay pattern": list(config.delays),
        "tokenizer": _tokenizer(source),
    }


def _tokenizer(source: Source) -> str:
    name = source.lm.config.get("tokenizer_name", str)
    return hashlib.sha256(source.file(name).read_bytes()).hexdigest()[:12]
