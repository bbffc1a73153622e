"""What a stream has heard and said before its own sound, computed once for all that begin so.

Reference: scripts/stt_from_file_with_prompt_pytorch.py of Kyutai's delayed-streams-modeling. Sound
comes first, then SILENCE frames without, then the caller's sound. Text is forced from the very
first step on: over the prompt's sound it is what is said there; without, it is how the transcript
of the caller's sound begins.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import mlx.core as mx
import numpy as np

from dsm_mlx.audio import read as read_sound
from dsm_mlx.errors import AudioError
from dsm_mlx.lm.sampling import row_keys
from dsm_mlx.loading.weights import damaged
from dsm_mlx.messages import shown
from dsm_mlx.options import Prompt
from dsm_mlx.runtime.device import read
from dsm_mlx.runtime.rows import tree_bytes
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.stt.clock import Timing
from dsm_mlx.stt.steering import Prompted, Steering
from dsm_mlx.stt.step import SttStep, steer_of
from dsm_mlx.stt.words import WordReader

SILENCE = 10  # frames between a prompt's sound and the caller's
MARGIN = SILENCE // 2  # of them: words that begin there are the caller's already
PATIENCE = 5.0  # seconds for each token of a text without sound
_LONGEST, _MOST_TOKENS = 60.0, 1000  # seconds of sound, and of text
_KEPT, _KEPT_BYTES = 8, 256 << 20  # prompts that stay in memory, and what of it they may take


@dataclass(frozen=True, eq=False)
class ReadPrompt:
    """A prompt as a model can take it. ids: of its text, or none. pcm: float32 (frames, frame_size)
    at the model's rate, or none of it."""

    text: str | None
    ids: tuple[int, ...]
    pcm: np.ndarray

    @classmethod
    def of(cls, prompt: Prompt, step: SttStep, tokenizer) -> ReadPrompt:
        """On the caller's thread: it reads what may be a file.

        Raises:
            AudioError: its sound cannot be read, or is too long.
            ValueError: its text is such as the tokenizer cannot write, or too long.
        """
        config = step.mimi.config
        ids = () if prompt.text is None else text_ids("the prompt's text", prompt.text, tokenizer)
        if len(ids) > _MOST_TOKENS:
            raise ValueError(
                f"the prompt's text is {shown(prompt.text)} ({len(ids)} tokens, expected at most "
                f"{_MOST_TOKENS})"
            )
        pcm = np.zeros(0, np.float32)
        if prompt.audio is not None:
            pcm = read_sound(prompt.audio, prompt.sample_rate, config.sample_rate)
        if (seconds := pcm.size / config.sample_rate) > _LONGEST:
            raise AudioError(
                f"the prompt has {seconds:.1f} s of sound (expected at most {_LONGEST:g})"
            )
        pcm = np.pad(pcm, (0, -pcm.size % config.frame_size))
        return cls(prompt.text, tuple(ids), pcm.reshape(-1, config.frame_size))

    @classmethod
    def restored(cls, plain: dict[str, Any], step: SttStep, tokenizer) -> ReadPrompt:
        """What `plain` gave."""
        size, text = step.mimi.config.frame_size, plain["text"]
        pcm = np.frombuffer(b64decode(plain["pcm"]), np.float32).reshape(-1, size)
        return cls(text, tuple(tokenizer.encode(text)) if text else (), pcm)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"text": self.text, "pcm": b64encode(self.pcm.tobytes()).decode()}

    @property
    def digest(self) -> bytes:
        """Equal for what is equal."""
        found = hashlib.blake2b(self.pcm.tobytes(), digest_size=16)
        found.update(repr(self.ids).encode())
        return found.digest()


def text_ids(name: str, text: str, tokenizer) -> list[int]:
    """The tokens of a text. ValueError, with what it is called, for a sign that has none."""
    ids = tokenizer.encode(text)
    strange = [
        piece
        for piece, id in zip(tokenizer.encode(text, out_type=str), ids, strict=True)
        if id == tokenizer.unk_id()
    ]
    if strange or not ids:
        what = f"has {shown(''.join(strange))}" if strange else f"is {shown(text)}"
        raise ValueError(f"{name} {what} (expected what the model's tokenizer can write)")
    return ids


@dataclass(frozen=True)
class Prepared:
    """A row that has heard a prompt, without the slots of its rings that are empty, and what its
    host side knows."""

    state: dict
    prompted: Prompted


class PromptCache:
    """Rows that have heard prompts. On the worker's thread only.

    name: of the model, for messages.
    """

    def __init__(self, step: SttStep, tokenizer, name: str):
        self._step, self._tokenizer, self._name = step, tokenizer, name
        self._kept: OrderedDict[tuple[bytes, float], Prepared] = OrderedDict()

    def prepare(
        self, prompt: ReadPrompt, delay: float, timing: Timing, condition: mx.array | None
    ) -> Pieces[Prepared]:
        """What streams begin with, a frame a turn.

        delay: of the words, in seconds; timing and condition: what goes with it.
        CheckpointError where what the model says is not finite.
        """
        key = prompt.digest, delay
        if key not in self._kept:
            self._kept[key] = yield from self._hear(prompt, timing, condition)
        self._kept.move_to_end(key)
        sizes = [tree_bytes(prepared.state) for prepared in self._kept.values()]
        while len(sizes) > _KEPT or (len(sizes) > 1 and sum(sizes) > _KEPT_BYTES):
            self._kept.popitem(last=False)
            sizes.pop(0)
        return self._kept[key]

    def row(self, prepared: Prepared, temperature: float, seed: int) -> dict:
        """The state of a row that goes on from there. Lazy."""
        sampling = {"temperature": mx.array([temperature], mx.float32), "keys": row_keys([seed])}
        return self._step.lengthened(prepared.state) | sampling

    def _hear(
        self, prompt: ReadPrompt, timing: Timing, condition: mx.array | None
    ) -> Pieces[Prepared]:
        """Greedily, whatever streams do after it, so that all can go on from it."""
        step, frames = self._step, self._frames(prompt, timing)
        words, steering = WordReader(self._tokenizer, timing.delay), Steering()
        steering.restart(_forcing(prompt, timing, len(frames)))

        def said(frame: int, token: int, probability: float) -> None:
            steering.push(token, probability)
            words.push(frame - len(frames), token, probability)

        state = step.beginning(condition, steer=steer_of([steering.wish()]))
        said(-1, state["text"].item(), 1.0)
        for i, frame in enumerate(frames):
            yield
            steer, seen = steer_of([steering.wish()]), step.lm.seen(i + 2)
            output, state = step(mx.array(frame[None]), state, seen=seen, steer=steer)
            mx.async_eval(output, state)
            token, probability, _, finite = (part[0] for part in read(*output))
            if not finite:
                raise damaged(self._name)
            said(i, int(token), float(probability))
        lasts = len(prompt.pcm) > 0
        if lasts:
            words.since = -MARGIN
        state = step.shortened(state, len(frames) + 1)
        mx.eval(state)
        return Prepared(state, Prompted(words.plain(), steering.forcing.plain(), lasts))

    def _frames(self, prompt: ReadPrompt, timing: Timing) -> np.ndarray:
        """All that is heard before the caller's sound, float32 (frames, frame_size). Without sound
        that is nothing: the silence that some models want first is heard as the stream's own."""
        if not len(prompt.pcm):
            return prompt.pcm
        size = timing.frame_size
        before = np.zeros((-(-timing.prefix // size), size), np.float32)
        return np.concatenate([before, prompt.pcm, np.zeros((SILENCE, size), np.float32)])


def _forcing(prompt: ReadPrompt, timing: Timing, frames: int) -> list:
    """Of `Forcing`. frames: that are heard before the caller's sound.

    Over sound the text has until the caller's first word can come. Text without sound has a time
    for each token, so that what does not fit the caller's sound does not keep it from being heard.
    """
    if frames:
        # The step of initial tokens, and all frames whose words begin before the margin.
        return [prompt.ids, max(1, 1 + frames + timing.delay - 2 - MARGIN), 0]
    patience = round(PATIENCE * timing.frame_rate) + timing.delay
    return [prompt.ids, 1 + timing.prefix // timing.frame_size + patience, patience]
