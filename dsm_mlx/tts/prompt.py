"""What a row starts from: the voice, computed once and then shared, and its conditions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from dsm_mlx.audio import read
from dsm_mlx.codec.mimi import encode_pieces
from dsm_mlx.errors import AudioError
from dsm_mlx.lm.sampling import row_keys
from dsm_mlx.lm.tokens import NOTHING
from dsm_mlx.loading.voices import (
    SPEAKER_CONDITIONER,
    embedding_of,
    join_speakers,
    read_embedding,
)
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.tts.pace import UNCHANGED, Padding
from dsm_mlx.tts.session import Timing, forced_codes
from dsm_mlx.tts.step import TtsStep

_KEPT = 4  # voices whose keys and values, or prefix, stay in memory


@dataclass(frozen=True)
class SpeechOptions:
    """How a session speaks, apart from its voice.

    guidance: coefficient of two-pass guidance; None: one pass.
    cfg: name of the guidance that the model was taught as a condition; None: none.
    padding_bonus: added to the logit of padding, beside that of `padding`; above 0 speech is
    slower.
    padding: what the pace is made of.
    max_seconds: of sound at most; None: as much as the text needs.
    """

    temperature: float = 0.6
    guidance: float | None = None
    cfg: str | None = None
    padding_bonus: float = 0.0
    padding: Padding = UNCHANGED
    max_seconds: float | None = None

    @property
    def key(self) -> tuple[bool, str | None]:
        """What of it the keys, values and prefix depend on."""
        return self.guidance is not None, self.cfg


@dataclass(frozen=True)
class VoicePrompt:
    """The voices of one session as they were read. Nothing here is heavy.

    embeddings (1, length, width) with mask (1, length), or prefix int32 (codebooks, frames), or
    neither.
    """

    key: Hashable
    embeddings: mx.array | None = None
    mask: mx.array | None = None
    prefix: np.ndarray | None = None

    @property
    def attended(self) -> tuple[mx.array, mx.array]:
        """The embeddings and their mask, which a model that attends to voices has."""
        if self.embeddings is None or self.mask is None:
            raise RuntimeError("the voices were read for a model that does not attend to them")
        return self.embeddings, self.mask

    @property
    def length(self) -> int:
        """Positions that the model attends to; equal for sessions that share a batch."""
        return 0 if self.embeddings is None else self.embeddings.shape[1]


@dataclass(frozen=True)
class Prepared:
    """What sessions of a voice and of `SpeechOptions.key` share.

    keys_values: of every layer, for the voice and, with guidance, for no voice; empty where the
    model attends to none. state: after the prefix, None where there is none.
    """

    conditions: dict
    keys_values: Sequence[list[dict]]
    state: dict | None


class PromptCache:
    """Makes what rows start from. On the worker's thread only, but for `sound_of`.

    slots: how many speakers the model's conditions hold. model_id: "sig" and "epoch".
    """

    def __init__(self, step: TtsStep, timing: Timing, slots: int, model_id: dict[str, str]):
        self._step, self._lm, self._timing = step, step.lm, timing
        self._slots, self._model_id = slots, model_id
        self._voices: OrderedDict[Hashable, VoicePrompt] = OrderedDict()
        self._prepared: OrderedDict[Hashable, Prepared] = OrderedDict()
        self._null: OrderedDict[Hashable, list[dict]] = OrderedDict()

    def known(self, key: Hashable) -> bool:
        """Whether a voice need not be read again."""
        return key in self._voices

    def sound_of(self, path: Path) -> np.ndarray:
        """Sound to clone a voice from, float32 (samples,). On the caller's thread.

        Raises:
            AudioError: it cannot be read, or is too short or too long.
        """
        config = self._step.mimi.config
        pcm = read(path, target=config.sample_rate)
        seconds, limit = len(pcm) / config.sample_rate, self._lm.config.transformer.context
        if not 1 <= -(-len(pcm) // config.frame_size) - 2 <= limit:
            raise AudioError(
                f"{path}: {seconds:.1f} s of sound (expected 0.3 to "
                f"{limit / config.frame_rate:.1f} s to clone a voice from)"
            )
        return pcm

    def read(
        self, key: Hashable, voices: Sequence[Path | np.ndarray], sound: np.ndarray | None = None
    ) -> Pieces[VoicePrompt]:
        """The voices in these files or of these embeddings, or of a sound; neither is a session
        without a voice.

        Raises:
            CheckpointError: a voice file that is damaged or for another model.
            ValueError: an embedding that this model cannot have.
        """
        if key not in self._voices:
            if sound is not None:
                codes = (yield from encode_pieces(self._step.mimi, sound[None]))[0]
                # Without the last two frames (reference: `get_prefix`).
                voice = VoicePrompt(key, prefix=codes[:, :-2])
            elif voices:
                read = [self._embedding(voice) for voice in voices]
                voice = VoicePrompt(key, *join_speakers(read, self._slots))
            else:
                voice = VoicePrompt(key)
            _keep(self._voices, key, voice)
        self._voices.move_to_end(key)
        return self._voices[key]

    def _embedding(self, voice: Path | np.ndarray) -> mx.array:
        """float32 (frames, width)."""
        width = self._lm.config.conditioners.by_name[SPEAKER_CONDITIONER].dim
        if isinstance(voice, np.ndarray):
            return embedding_of(voice, width)
        return read_embedding(voice, width, self._model_id)

    def start(
        self, voice: VoicePrompt, options: SpeechOptions, seed: int
    ) -> Pieces[tuple[dict, Sequence[list[dict]]]]:
        """The state of a session that has said nothing, see `TtsStep`, and its keys and values."""
        key = voice.key, options.key
        if key not in self._prepared:
            _keep(self._prepared, key, (yield from self._prepare(voice, options)))
        self._prepared.move_to_end(key)
        prepared = self._prepared[key]
        bonus = options.padding_bonus + options.padding.bonus
        conditions = prepared.conditions | {
            "temperature": mx.array([options.temperature], mx.float32),
            "padding_bonus": mx.array([bonus], mx.float32),
        }
        if options.guidance is not None:
            conditions["guidance"] = mx.array([options.guidance], mx.float32)
        keys = row_keys([seed])
        if prepared.state is None:
            state = self._step.init_state(conditions, keys)
        else:
            row = {**prepared.state["row"], "keys": keys}
            state = {**prepared.state, "row": row, "conditions": conditions}
        mx.eval(state)
        return state, prepared.keys_values

    def _prepare(self, voice: VoicePrompt, options: SpeechOptions) -> Pieces[Prepared]:
        """What does not depend on the seed."""
        guided, prefix = options.guidance is not None, voice.prefix
        conditions = self._conditions(options.cfg, guided)
        if guided:
            until = -1 if prefix is None else prefix.shape[1] + self._timing.delay_steps
            conditions["null_until"] = mx.array([until], mx.int32)
        keys_values: list[list[dict]] = []
        if self._lm.config.conditioners.cross:
            embeddings, mask = voice.attended
            keys_values.append((yield from self._keys_values(embeddings, mask)))
            if guided:
                if voice.length not in self._null:
                    empty = mx.zeros_like(mask)
                    null = yield from self._keys_values(embeddings, empty)
                    _keep(self._null, voice.length, null)
                keys_values.append(self._null[voice.length])
        state = None
        if prefix is not None:
            state = yield from self._hear_prefix(prefix, conditions)
        mx.eval(conditions)
        return Prepared(conditions, keys_values, state)

    def _conditions(self, cfg: str | None, guided: bool) -> dict:
        if not self._lm.config.conditioners.by_name:
            return {}
        provider = self._lm.condition_provider
        added = provider.sum({"control": "ok", "cfg": cfg})
        if added is None:
            return {}
        null = provider.sum({}) if guided else None
        return {"sum": added if null is None else mx.concatenate([added, null])}

    def _keys_values(self, embeddings: mx.array, mask: mx.array) -> Pieces[list[dict]]:
        condition = self._lm.condition_provider.cross({SPEAKER_CONDITIONER: (embeddings, mask)})
        kept = []
        layers = () if condition is None else self._lm.keys_values(condition)
        for layer in layers:
            kept.append(layer)
            yield
        return kept

    def _hear_prefix(self, prefix: np.ndarray, conditions: dict) -> Pieces[dict]:
        """The state after the voice's own sound: the model has heard it as if it had said it."""
        step = self._step
        conditions = conditions | {"temperature": mx.zeros((1,)), "padding_bonus": mx.zeros((1,))}
        if "null_until" in conditions:
            conditions["guidance"] = mx.ones((1,))
        state = step.init_state(conditions, mx.zeros((1, 2), mx.uint32))
        nothing = mx.array([NOTHING], mx.int32)
        for i in range(prefix.shape[1]):
            forced = mx.array(forced_codes(prefix, i, self._timing))[None]
            sampled, state = step.sample_text(state)
            _, _, state = step.sample_audio(state, sampled, nothing, forced, depth=False)
            _, state = step.decode(mx.array(prefix[None, :, i : i + 1]), state)
            mx.eval(state)
            yield
        return state


def _keep(kept: OrderedDict, key: Hashable, value: object) -> None:
    """Remember a value; the longest unused one is dropped."""
    kept[key] = value
    if len(kept) > _KEPT:
        kept.popitem(last=False)
