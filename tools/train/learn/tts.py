"""Text to speech: audio codes from a script, in one of a few voices.

The text runs `audio_delay` ahead of the sound, with a second stream that shows a later word.
Voices are learnt tables that the model attends to; exporting writes each as an official voice
file. Some sessions are learnt with neither voice nor text, so that two-pass guidance works.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from moshi.conditioners import ConditionAttributes, TensorCondition
from safetensors.torch import load_file, save_file
from speech.phones import UNKNOWN
from speech.voices import PRESETS
from torch import nn

from learn import labels
from learn.corpus import JOINED, Pieces
from learn.device import autocast
from learn.language import Given, LanguageModel, fading, phone_head, phone_loss
from learn.plan import Plan
from learn.script_labels import FRAME_RATE, UNTOLD, scripted

_VOICE = "speaker_wavs"
_SLOTS, _VOICE_FRAMES = 5, 4
_UNGUIDED = 0.2  # of the sessions that may be
_TEXT_WEIGHT = 1.0
_FIRST_WEIGHT = 3.0  # of the first codebook, which tells the phones; the others count 1
_PHONE_WEIGHT = 1.0
# So that it reads the text, and does not only go on with what it said.
_LOST_CODES, _GAPS, _GAP = 0.1, 0.03, 5
_NOTHING = -1
_TRIES = 100


class Voices(nn.Module):
    """A table (frames, width) for each preset voice."""

    def __init__(self, width: int):
        super().__init__()
        self.table = nn.Parameter(torch.randn(len(PRESETS), _VOICE_FRAMES, width))

    def forward(self, chosen: torch.Tensor) -> TensorCondition:
        """chosen int (batch, slots), -1 for an empty slot -> (batch, slots * frames, width)."""
        filled = chosen >= 0
        tables = self.table[chosen.clamp(min=0)] * filled[:, :, None, None]
        mask = filled[:, :, None].expand(-1, -1, _VOICE_FRAMES)
        return TensorCondition(tables.flatten(1, 2), mask.flatten(1, 2))


class TextToSpeech(LanguageModel):
    """A stage of `loop.train`. A model to go on from has its voices beside it."""

    def __init__(self, plan: Plan, given: Given):
        super().__init__(plan, given)
        self._late = round(given.config["tts_config"]["audio_delay"] * FRAME_RATE)
        self._gaps: torch.Tensor
        self._unguided: torch.Tensor
        self._hidden: torch.Tensor
        self.model.text_linear.register_forward_pre_hook(self._keep)
        self.model.text_emb.register_forward_pre_hook(self._withhold)
        for embedding in self.model.emb:
            embedding.register_forward_pre_hook(self._forget)
        width = given.config["conditioners"][_VOICE]["tensor"]["dim"]
        self.voices = Voices(width).to(given.device)
        if given.start:
            self._take_over_voices(given.start)
        self.phone_head = phone_head(given.config["dim"], given.device)
        self.modules = {"model": self.model, "voices": self.voices, "phone_head": self.phone_head}
        parameters = [p for m in self.modules.values() for p in m.parameters()]
        adam = torch.optim.AdamW(
            parameters, lr=plan.learning_rate, betas=(0.9, 0.95), weight_decay=0.01
        )
        self.optimizers = {"adam": adam}
        self._pieces = Pieces(given.tokenizer)
        self._alike: dict[str, list[int]] = defaultdict(list)  # by who speaks
        for i, speakers in enumerate(self._corpus.speakers):
            self._alike[str(speakers)].append(i)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self._plan.seed, 4, step))
        # One has a text, or there is nothing to tell.
        rows = [
            self._row(rng, guided=i == 0 or rng.random() >= _UNGUIDED)
            for i in range(self._plan.batch)
        ]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _row(self, rng: np.random.Generator, guided: bool) -> dict[str, np.ndarray]:
        """Sessions of the same speakers, of words that the script's machine can follow."""
        ahead = self._config["tts_config"]["second_stream_ahead"]
        for _ in range(_TRIES):
            first = int(rng.integers(len(self._corpus)))
            alike = self._alike[str(self._corpus.speakers[first])]
            chosen = np.array([first, *rng.choice(alike, JOINED - 1)])
            codes, phones, words = self._corpus.joined(chosen)
            steps = self._late + codes.shape[-1]
            made = words and scripted(words, steps, ahead, self._config["text_card"], self._pieces)
            if made:
                late = np.full((len(codes), self._late), _NOTHING)
                return {
                    "codes": np.concatenate([late, codes.astype(np.int64)], -1),
                    "tokens": made.tokens,
                    "decisions": made.decisions,
                    "voices": self._voices_of(first, guided),
                    # of the frame that is said at each step
                    "phones": labels.phones(phones, self._late, steps),
                }
        raise ValueError("no session's words can be scripted")

    def _voices_of(self, session: int, guided: bool) -> np.ndarray:
        """int64 (slots,): the preset of each speaker; nothing without guidance."""
        voices = np.full(_SLOTS, _NOTHING)
        if guided:
            names = [preset_of(s) for s in json.loads(str(self._corpus.speakers[session]))]
            voices[: len(names)] = names
        return voices

    def _losses(self, arrays: dict[str, torch.Tensor], done: float):
        streams = torch.cat([arrays["tokens"][:, None], arrays["codes"]], 1)
        self._gaps = gaps(arrays["tokens"])
        self._unguided = arrays["voices"][:, :1] < 0
        with autocast(self._device):
            out = self.model(streams, self._condition(arrays["voices"]))
        text = F.cross_entropy(
            out.text_logits[:, 0].float().flatten(0, 1),
            arrays["decisions"].masked_fill(self._unguided, UNTOLD).flatten(),
            ignore_index=UNTOLD,
        )
        audio = []
        for k in range(self.model.dep_q):
            valid = out.mask[:, k]
            audio.append(
                F.cross_entropy(out.logits[:, k][valid].float(), arrays["codes"][:, k][valid])
            )
        weights = [_FIRST_WEIGHT, *[1.0] * (len(audio) - 1)]
        mean = sum(w * a for w, a in zip(weights, audio, strict=True)) / sum(weights)
        spoken = arrays["phones"].masked_fill(self._unguided[..., None], UNKNOWN)
        phones = phone_loss(self.phone_head, self._hidden, spoken)
        told = {"text": text, "phones": phones, "first": audio[0], "last": audio[-1]}
        return mean + _TEXT_WEIGHT * text + _PHONE_WEIGHT * fading(done) * phones, told

    def _keep(self, _, inputs: tuple[torch.Tensor]) -> None:
        """The states that the text is told from, to tell the phones from them, too."""
        (self._hidden,) = inputs

    def _withhold(self, _, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """The text, from all steps but the first of sessions without guidance."""
        (tokens,) = inputs
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        return (tokens.masked_fill(self._unguided & (steps > 0), _NOTHING),)

    def _forget(self, _, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """Some of the codes that the model said before; none where they embed to nothing."""
        (codes,) = inputs
        lost = torch.rand(codes.shape, device=codes.device) < _LOST_CODES
        return (codes.masked_fill(lost | self._gaps, _NOTHING),)

    def _condition(self, chosen: torch.Tensor):
        condition = self.voices(chosen)
        known = chosen[:, 0] >= 0
        attributes = [
            ConditionAttributes(
                text={"control": "ok" if known[row] else None},
                tensor={
                    _VOICE: TensorCondition(
                        condition.tensor[row : row + 1], condition.mask[row : row + 1]
                    )
                },
            )
            for row in range(len(chosen))
        ]
        provider = self.model.condition_provider
        return provider(provider.prepare(attributes))

    def export(self, folder: Path) -> None:
        """The checkpoint and its voices, as Kyutai publishes them."""
        super().export(folder)
        for path, table in zip(
            self._voice_files(folder), self.voices.table.detach().cpu(), strict=True
        ):
            save_file({_VOICE: table.T[None].contiguous()}, path, metadata=self._identity)

    def _take_over_voices(self, folder: Path) -> None:
        tables = [load_file(path)[_VOICE][0].T for path in self._voice_files(folder)]
        with torch.no_grad():
            self.voices.table.copy_(torch.stack(tables))

    @property
    def _identity(self) -> dict[str, str]:
        return {key: str(value) for key, value in self._config["model_id"].items()}

    def _voice_files(self, folder: Path) -> list[Path]:
        suffix = "{sig}@{epoch}.safetensors".format(**self._identity)
        return [folder / f"{name}.{suffix}" for name in PRESETS]


def gaps(steps: torch.Tensor) -> torch.Tensor:
    """Where all codes are lost: bool, the shape (batch, steps) of `steps`, _GAP steps at a time."""
    starts = (torch.rand(steps.shape, device=steps.device) < _GAPS).float()
    return F.max_pool1d(F.pad(starts, (_GAP - 1, 0)), _GAP, 1) > 0


def preset_of(speaker: dict) -> int:
    """Which preset voice spoke. ValueError if none did."""
    for i, preset in enumerate(PRESETS.values()):
        if (preset.synthesizer, preset.voice) == (speaker["synthesizer"], speaker["voice"]):
            return i
    raise ValueError(
        f"{speaker['voice']}: not a preset voice (sessions of the split tts have them)"
    )
