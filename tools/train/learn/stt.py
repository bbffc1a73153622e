"""Speech to text: words from codes, with the delay as a condition and heads for pauses."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from moshi.conditioners import ConditionAttributes
from speech.sessions import SECONDS
from torch import nn

from learn import labels
from learn.corpus import JOINED, Pieces
from learn.device import autocast
from learn.language import Given, LanguageModel, fading, phone_head, phone_loss
from learn.plan import Plan

_PHONES_LATE = 2  # steps, so that a frame of what follows has been heard
_PADDING_WEIGHT, _PAUSE_WEIGHT, _PHONE_WEIGHT = 0.5, 0.1, 0.3
_TEXT_TO_PADDING, _TEXT_TO_RANDOM = 0.03, 0.03
_LOST_CODES, _LOST_FRAMES = 0.05, 0.01
_NO_CONDITION = 0.1
# Delays are drawn with these weights, 0.5 and 2 s most of all; others share what is left.
_LIKELY = {"0.16": 0.05, "0.32": 0.08, "0.5": 0.27, "2.0": 0.35}
_FIRST_PIECE = 4


class SpeechToText(LanguageModel):
    """A stage of `loop.train`."""

    def __init__(self, plan: Plan, given: Given):
        super().__init__(plan, given)
        self._pieces = Pieces(given.tokenizer)
        self._delays = given.config["conditioners"]["delay"]["lut"]["possible_values"]
        self.phone_head = phone_head(given.config["dim"], given.device)
        self.modules = {"model": self.model, "phone_head": self.phone_head}
        self.optimizers = {"adam": _optimizer(self.model, self.phone_head, plan.learning_rate)}

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """codes, text, pauses and phones of sessions, and the condition of each (-1: none)."""
        rng = np.random.default_rng((self._plan.seed, 1, step))
        chosen = self._corpus.chosen(step, JOINED * self._plan.batch, self._plan.seed)
        joined = [self._corpus.joined(sessions) for sessions in chosen.reshape(-1, JOINED)]
        codes = np.stack([codes for codes, _, _ in joined]).astype(np.int64)
        steps = codes.shape[-1]
        default = str(self._config["stt_config"]["audio_delay_seconds"])
        conditions, text = [], []
        for _, _, words in joined:
            which = int(rng.choice(len(self._delays), p=delay_weights(self._delays)))
            if rng.random() < _NO_CONDITION:
                which = -1
            name = default if which < 0 else self._delays[which]
            delay = round(float(name) * labels.FRAME_RATE)
            conditions.append(which)
            text.append(labels.text_stream(words, delay, steps, self._pieces))
        return {
            "codes": codes,
            "text": np.stack(text),
            "conditions": np.array(conditions),
            "pauses": np.stack(
                [labels.pauses(words, steps, JOINED * SECONDS) for _, _, words in joined]
            ),
            "phones": np.stack(
                [labels.phones(phones, _PHONES_LATE, steps) for _, phones, _ in joined]
            ),
        }

    def _losses(self, arrays: dict[str, torch.Tensor], done: float):
        text = arrays["text"]
        hidden, logits, heads = self._forward(arrays["codes"], text, arrays["conditions"])
        entropy = F.cross_entropy(logits.flatten(0, 1), text.flatten(), reduction="none")
        entropy = entropy.view(text.shape)
        weight = torch.where(text == labels.PADDING, _PADDING_WEIGHT, 1.0)
        words = (entropy * weight).sum() / weight.sum()
        pauses = F.cross_entropy(
            heads.flatten(0, 2), arrays["pauses"].flatten(), ignore_index=labels.UNTOLD
        )
        phones = phone_loss(self.phone_head, hidden, arrays["phones"])
        pieces = text >= _FIRST_PIECE
        right = (logits.argmax(-1) == text)[pieces].float().mean()
        loss = words + _PAUSE_WEIGHT * pauses + _PHONE_WEIGHT * fading(done) * phones
        return loss, {"words": words, "right": right, "pauses": pauses, "phones": phones}

    def _forward(self, codes, text, conditions):
        """(hidden, text logits (batch, steps, card), heads (batch, heads, steps, 6)), float32."""
        model = self.model
        inputs = torch.cat([_blurred_text(text, model.text_card)[:, None], _lossy(codes)], 1)
        initial = model._get_initial_token().expand(len(text), -1, -1)
        inputs = torch.cat([initial, inputs[:, :, :-1]], 2)
        summed = self._condition(conditions)
        with autocast(self._device):
            hidden, logits = model.forward_text(inputs, summed, None)
            heads = torch.stack([head(hidden) for head in model.extra_heads], 1)
        return hidden.float(), logits[:, 0].float(), heads.float()

    def _condition(self, conditions: torch.Tensor) -> torch.Tensor:
        names = [None if i < 0 else self._delays[i] for i in conditions.tolist()]
        attributes = [ConditionAttributes(text={"delay": name}, tensor={}) for name in names]
        provider = self.model.condition_provider
        return self.model.fuser.get_sum(provider(provider.prepare(attributes)))


def delay_weights(names: list[str]) -> np.ndarray:
    """How likely each delay is drawn; sums to 1."""
    rest = [name for name in names if name not in _LIKELY]
    left = 1 - sum(_LIKELY.get(name, 0.0) for name in names)
    weights = np.array([_LIKELY.get(name, left / max(1, len(rest))) for name in names])
    return weights / weights.sum()


def _optimizer(model: nn.Module, head: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Matrices decay; embeddings, norms and the throw-away head do not."""
    named = dict(model.named_parameters())
    matrices = {name for name, p in named.items() if p.dim() >= 2 and "emb" not in name}
    groups = [
        {"params": [named[name] for name in named if name in matrices], "weight_decay": 0.03},
        {"params": [named[name] for name in named if name not in matrices], "weight_decay": 0.0},
        {"params": list(head.parameters()), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def _blurred_text(text: torch.Tensor, card: int) -> torch.Tensor:
    """Some tokens wrong, as the model's own will be when it listens to itself."""
    chance = torch.rand(text.shape, device=text.device)
    wrong = torch.randint(_FIRST_PIECE, card, text.shape, device=text.device)
    text = torch.where(chance < _TEXT_TO_PADDING, labels.PADDING, text)
    return torch.where(chance > 1 - _TEXT_TO_RANDOM, wrong, text)


def _lossy(codes: torch.Tensor) -> torch.Tensor:
    """Some codes and some whole frames missing (-1 embeds to nothing)."""
    lost = torch.rand(codes.shape, device=codes.device) < _LOST_CODES
    frames = torch.rand(codes[:, :1].shape, device=codes.device) < _LOST_FRAMES
    return codes.masked_fill(lost | frames, -1)
