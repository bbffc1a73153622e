"""What a session starts from: the voice, computed once and then shared, and its conditions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from dsm_mlx.audio import read
from dsm_mlx.codec.mimi import Mimi
from dsm_mlx.errors import AudioError
from dsm_mlx.lm.sampling import row_keys
from dsm_mlx.lm.tokens import NOTHING, UNGENERATED
from dsm_mlx.loading.voices import SPEAKER_CONDITIONER, join_speakers, read_embedding
from dsm_mlx.tts.session import Timing, forced_codes
from dsm_mlx.tts.step import TtsStep

_KEPT = 4  # voices whose keys and values, or prefix, stay in memory


@dataclass(frozen=True)
class SpeechOptions:
    """How a session speaks, apart from its voice.

    guidance: coefficient of two-pass guidance; None: one pass.
    cfg: name of the guidance that the model was taught as a condition; None: none.
    padding_bonus: added to the logit of padding; above 0 speech is slower.
    """

    temperature: float = 0.6
    guidance: float | None = None
    cfg: str | None = None
    padding_bonus: float = 0.0

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
    def length(self) -> int:
        """Positions that the model attends to; equal for sessions that share a batch."""
        return 0 if self.embeddings is None else self.embeddings.shape[1]


class PromptCache:
    """Makes the state and the conditions that a row starts from. On the owner thread only.

    slots: how many speakers the model's conditions hold. model_id: "sig" and "epoch".
    """

    def __init__(
        self, step: TtsStep, timing: Timing, codec: Mimi, slots: int, model_id: dict[str, str]
    ):
        self._step, self._lm, self._timing, self._codec = step, step.lm, timing, codec
        self._slots, self._model_id = slots, model_id
        self._speakers: OrderedDict = OrderedDict()
        self._starts: OrderedDict = OrderedDict()

    def read(self, paths: tuple[Path, ...]) -> VoicePrompt:
        """The voices in these files; none is a session without a voice.

        Raises:
            CheckpointError: a voice file that is damaged or for another model.
            AudioError: sound to clone from that cannot be read, or is too short or too long.
        """
        key = tuple((str(path), path.stat().st_mtime_ns) for path in paths)
        return _cached(self._speakers, key, lambda: self._read(key, paths))

    def start(self, speakers: VoicePrompt, style: SpeechOptions, seed: int) -> tuple[dict, dict]:
        """The state and the conditions of a batch of one, see `TtsStep`."""
        key = (speakers.key, style.key)
        state, conditions = _cached(self._starts, key, lambda: self._prepare(speakers, style))
        if state is None:
            state = self._step.init_state(1, style.guidance is not None)
        conditions = conditions | {
            "temperature": mx.array([style.temperature], mx.float32),
            "padding_bonus": mx.array([style.padding_bonus], mx.float32),
        }
        if style.guidance is not None:
            conditions["guidance"] = mx.array([style.guidance], mx.float32)
        return {**state, "row": {**state["row"], "keys": row_keys([seed])}}, conditions

    def _read(self, key: Hashable, paths: tuple[Path, ...]) -> VoicePrompt:
        if not paths:
            return VoicePrompt(key)
        conditioner = self._lm.config.conditioners.by_name.get(SPEAKER_CONDITIONER)
        if conditioner is None:
            return VoicePrompt(key, prefix=self._encode(paths[0]))
        voices = [read_embedding(path, conditioner.dim, self._model_id) for path in paths]
        embeddings, mask = join_speakers(voices, self._slots)
        return VoicePrompt(key, embeddings, mask)

    def _encode(self, path: Path) -> np.ndarray:
        """Sound -> int32 (codebooks, frames), without the last two (reference: `get_prefix`)."""
        pcm = read(path, target=self._codec.sample_rate)
        seconds, limit = len(pcm) / self._codec.sample_rate, self._lm.config.transformer.context
        frames = -(-len(pcm) // self._codec.frame_size) - 2
        if not 1 <= frames <= limit:
            raise AudioError(
                f"{path}: {seconds:.1f} s of sound (expected 0.3 to "
                f"{limit / self._codec.frame_rate:.1f} s to clone a voice from)"
            )
        return self._codec.encode(pcm[None, None])[0, :, :-2]

    def _prepare(self, speakers: VoicePrompt, style: SpeechOptions) -> tuple[dict | None, dict]:
        """What does not depend on the seed: conditions, and the state after the prefix if any."""
        guided, prefix = style.guidance is not None, speakers.prefix
        conditions = self._conditions(speakers, style.cfg, guided)
        if guided:
            until = -1 if prefix is None else prefix.shape[1] + self._timing.delay_steps
            conditions["null_until"] = mx.array([until], mx.int32)
        state = None
        if prefix is not None:
            state = self._hear_prefix(prefix, conditions, guided)
            mx.eval(state)
        mx.eval(conditions)
        return state, conditions

    def _conditions(self, speakers: VoicePrompt, cfg: str | None, guided: bool) -> dict:
        config = self._lm.config.conditioners
        if not config.by_name:
            return {}
        provider = self._lm.condition_provider
        conditions = {}
        added = provider.sum({"control": "ok", "cfg": cfg})
        if added is not None:
            conditions["sum"] = mx.concatenate([added, provider.sum({})]) if guided else added
        if config.cross:
            masks = [speakers.mask, mx.zeros_like(speakers.mask)] if guided else [speakers.mask]
            rows = [
                provider.cross({SPEAKER_CONDITIONER: (speakers.embeddings, mask)}) for mask in masks
            ]
            conditions["cross"] = self._lm.keys_values(mx.concatenate(rows))
        return conditions

    def _hear_prefix(self, prefix: np.ndarray, conditions: dict, guided: bool) -> dict:
        """The state after the voice's own sound: the model has heard it as if it had said it."""
        step = self._step
        state = step.init_state(1, guided)
        conditions = conditions | {"temperature": mx.zeros((1,)), "padding_bonus": mx.zeros((1,))}
        if guided:
            conditions["guidance"] = mx.ones((1,))
        nothing = mx.array([NOTHING], mx.int32)
        free = np.full(len(prefix), UNGENERATED, np.int32)
        for i in range(prefix.shape[1]):
            forced = forced_codes(prefix, i, self._timing)
            heard, state["row"], state["lm"] = step.sample_text(
                state["row"], state["lm"], conditions
            )
            _, state["row"] = step.sample_audio(
                state["row"],
                heard,
                nothing,
                mx.array(free if forced is None else forced)[None],
                conditions,
                depth=False,
            )
            _, state["decoder"] = step.decode(
                mx.array(prefix[None, :, i : i + 1]), state["decoder"]
            )
            mx.eval(state)
        return state


def _cached(cache: OrderedDict, key: Hashable, make: Callable):
    """The value of `key`, made if it is not there; the longest unused one is dropped."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > _KEPT:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
