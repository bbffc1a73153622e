"""What is asked of a stream or recording, checked and read: from arguments to a session."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from dsm_mlx.checks import check_number, check_seed
from dsm_mlx.messages import shown
from dsm_mlx.options import Gain, Prompt, TurnPolicy
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.session import Changed
from dsm_mlx.stt.boost import Boost, check_boost
from dsm_mlx.stt.core import SttCore
from dsm_mlx.stt.level import check_gain
from dsm_mlx.stt.prompt import ReadPrompt
from dsm_mlx.stt.session import Session


@dataclass(frozen=True)
class Asked:
    """The arguments of `SpeechToText.stream` as a model takes them."""

    delay: float
    temperature: float
    seed: int
    turns: TurnPolicy
    prompt: ReadPrompt | None
    boost: Boost | None
    gain: Gain

    @classmethod
    def of(
        cls,
        core: SttCore,
        delay: float | None,
        temperature: float,
        turns: TurnPolicy | None,
        prompt: Prompt | None,
        boost: Any,
        gain: Gain,
    ) -> Asked:
        """On the caller's thread: a prompt's sound is read.

        Raises:
            TypeError, ValueError: what is wrong with which argument.
            AudioError: a prompt's sound that cannot be read.
        """
        if turns is not None and not isinstance(turns, TurnPolicy):
            raise TypeError(f"turns is {shown(turns)} (expected a TurnPolicy or None)")
        if prompt is not None and not isinstance(prompt, Prompt):
            raise TypeError(f"prompt is {shown(prompt)} (expected a Prompt or None)")
        check_number("temperature", temperature, 0.0, 100.0)
        phrases = check_boost(boost)
        check_gain(gain)
        return cls(
            core.nearest_delay(delay),
            float(temperature),
            0,
            turns or TurnPolicy(),
            None if prompt is None else ReadPrompt.of(prompt, core.step, core.tokenizer),
            Boost(phrases, core.tokenizer) if phrases else None,
            gain,
        )

    def drawn_by(self, seed: int | None) -> Asked:
        """The same with a seed; None: one that nobody knows, where it matters."""
        check_seed(seed)
        if self.temperature and seed is None:
            seed = secrets.randbits(32)
        return replace(self, seed=seed or 0)

    @classmethod
    def restored(cls, plain: dict[str, Any], core: SttCore) -> Asked:
        """What `plain` gave, for the same model."""
        prompt, boost = plain["prompt"], plain["boost"]
        return cls(
            plain["delay"],
            plain["temperature"],
            plain["seed"],
            TurnPolicy(**plain["turns"]),
            prompt and ReadPrompt.restored(prompt, core.step, core.tokenizer),
            Boost(boost, core.tokenizer) if boost else None,
            plain["gain"],
        )

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "delay": self.delay,
            "temperature": self.temperature,
            "seed": self.seed,
            "turns": asdict(self.turns),
            "prompt": self.prompt and self.prompt.plain,
            "boost": self.boost and self.boost.phrases,
            "gain": self.gain,
        }

    def session(
        self, core: SttCore, *, live: bool = True, changed: Changed | None = None
    ) -> Session:
        """A session of it. A prompt that has not been heard lately is heard first, which takes its
        time."""
        timing, sampling = core.timing(self.delay), (self.temperature, self.seed)
        # Not the state itself: where tokens are drawn, each session would keep one of its own.
        afresh = partial(core.beginning, self.delay, *sampling)
        first, prompted = afresh, None
        if self.prompt:
            prepared = worker.run_pieces(core.after(self.prompt, self.delay))
            first, prompted = partial(core.prompts.row, prepared, *sampling), prepared.prompted
            if prompted.lasts:
                afresh, timing = first, replace(timing, prefix=0)
        return Session(
            worker.run(first),
            core.tokenizer,
            timing,
            self.turns,
            options=self.plain(),
            afresh=afresh,
            prompted=prompted,
            boost=self.boost,
            live=live,
            changed=changed,
        )
