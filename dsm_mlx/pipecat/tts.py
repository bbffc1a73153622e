"""Text to speech as a service of Pipecat's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TextAggregationMode, TTSService
from pipecat.utils.types import NOT_GIVEN, NotGiven

from dsm_mlx import load_tts
from dsm_mlx.pipecat.models import Model, Name, called, ready, tell
from dsm_mlx.pipecat.speaking import Utterance
from dsm_mlx.tts.model import TextToSpeech
from dsm_mlx.tts.stream import SpeechStream

_OF_STREAMS = ("voice", "pace", "temperature", "cfg", "normalize", "lexicon", "max_seconds")
_WAIT_SECONDS = 10.0  # for a row that others have
_SILENT_SECONDS = 60.0  # without text, after which an utterance that was not ended is over


@dataclass
class DsmTTSSettings(TTSSettings):
    """What may be changed while the pipeline runs, for what is said from then on.

    voice: a name of the model's, a path, or `hf://…`; None: its default. pace, temperature, cfg,
    normalize, lexicon, max_seconds: as of `TextToSpeech.stream`. language: only checked.
    """

    pace: float | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    temperature: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    cfg: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    normalize: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    lexicon: Mapping[str, str] | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    max_seconds: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)


class DsmTTSService(TTSService):
    """Says text while it is being written, and tells when each word is spoken.

    The tokens of a language model are given to the model as they come, all of one reply to one
    stream, so that speech begins before the first sentence is complete and sounds as if all of the
    text had been known. `<break time="500ms"/>` in it is a pause. Each word is a `TTSTextFrame`
    with the time at which it is spoken. An interruption frees the row at the next step.
    """

    Settings = DsmTTSSettings
    _settings: DsmTTSSettings

    def __init__(
        self,
        model: TextToSpeech | Name = None,
        *,
        settings: DsmTTSSettings | None = None,
        **kwargs: Any,
    ):
        """
        Args:
            model: a handle, as `load_tts` gives it, which stays yours and may serve any number of
                pipelines; or what `load_tts` takes, which is loaded when the pipeline starts, on
                a thread, and closed with it.
            settings: what differs from the defaults.
            kwargs: of `TTSService`, such as `sample_rate` (without, the pipeline's) and
                `text_aggregation_mode` (without, `TOKEN`).
        """
        found = Model(model, TextToSpeech, load_tts)
        stored = DsmTTSSettings(
            model=found.name,
            voice=None,
            language=None,
            pace=1.0,
            temperature=None,
            cfg=None,
            normalize=None,
            lexicon=None,
            max_seconds=None,
        )
        if settings is not None:
            stored.apply_update(settings)
        ours: dict[str, Any] = {
            "text_aggregation_mode": TextAggregationMode.TOKEN,
            "append_trailing_space": True,  # between sentences, where they come whole
            "stop_frame_timeout_s": _SILENT_SECONDS,
        }
        super().__init__(
            settings=stored, push_text_frames=False, push_start_frame=True, **{**ours, **kwargs}
        )
        self._model = found
        self._preparing: asyncio.Task[None] | None = None
        self._utterances: dict[str, tuple[Utterance, asyncio.Task[None]]] = {}

    def can_generate_metrics(self) -> bool:
        """It does: the time to the first sound, and usage."""
        return True

    @property
    def supports_processing_metrics(self) -> bool:
        """Sound comes long after the text was handed over."""
        return False

    # ---- the life of a service

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        self._preparing = self.create_task(self._prepare(), "loading")

    async def stop(self, frame: EndFrame) -> None:
        """All is said before the frame goes on."""
        await super().stop(frame)
        await self._fall_silent()

    async def cancel(self, frame: CancelFrame) -> None:
        await self._fall_silent()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._fall_silent()
        if self._preparing is not None:
            await self.cancel_task(self._preparing)
        await self._model.close()

    async def _prepare(self) -> None:
        try:
            await ready(self, self._model)
        except Exception as error:
            await tell(self, error)

    # ---- settings

    async def _update_settings(  # type: ignore[override]  # as TTSService's own
        self, delta: TTSSettings
    ) -> dict[str, Any]:
        changed = await super()._update_settings(delta)
        self._warn_unhandled_updated_settings(changed.keys() - {*_OF_STREAMS, "language"})
        return changed

    # ---- what is said

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Hand over a piece of text; its sound goes to the audio context when it is made."""
        await self.start_tts_usage_metrics(text)
        if context_id not in self._utterances:
            utterance = Utterance(self.sample_rate)
            say = self._say(utterance, context_id, self._options())
            task = self.create_task(say, "utterance")
            self._utterances[context_id] = utterance, task
        self._utterances[context_id][0].write(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """No more text of this utterance comes."""
        context_id = context_id or self.get_active_audio_context_id()
        if context_id in self._utterances:
            self._utterances[context_id][0].end()
        elif context_id is not None and self.audio_context_available(context_id):
            await self._close_context(context_id)  # none of it came here: there is no model

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        await self.stop_all_metrics()
        await self._break_off(context_id)
        await super().on_audio_context_interrupted(context_id)

    async def on_audio_context_completed(self, context_id: str) -> None:
        """It was said, or nothing came of it for too long."""
        await self._break_off(context_id)
        await super().on_audio_context_completed(context_id)

    async def _break_off(self, context_id: str) -> None:
        if (found := self._utterances.pop(context_id, None)) is not None:
            utterance, task = found
            utterance.stop()
            await self.cancel_task(task)

    async def _fall_silent(self) -> None:
        for context_id in list(self._utterances):
            await self._break_off(context_id)

    def _options(self) -> dict[str, Any]:
        """Of a stream that begins now."""
        return {name: getattr(self._settings, name) for name in _OF_STREAMS}

    async def _say(self, utterance: Utterance, context_id: str, options: dict[str, Any]) -> None:
        """The sound and the words of an utterance, to its audio context."""
        try:
            async with aclosing(utterance.sound(self._open(options))) as sound:
                async for samples, words in sound:
                    times = [(word.text, word.start) for word in words]
                    await self.add_word_timestamps(times, context_id)
                    if samples:
                        frame = TTSAudioRawFrame(
                            samples, self.sample_rate, 1, context_id=context_id
                        )
                        await self.append_to_audio_context(context_id, frame)
        except Exception as error:
            await tell(self, error)
        await utterance.ended.wait()  # what comes after its end is not said
        self._utterances.pop(context_id, None)
        await self._close_context(context_id)

    async def _close_context(self, context_id: str) -> None:
        await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
        await self.remove_audio_context(context_id)

    async def _open(self, options: dict[str, Any]) -> SpeechStream:
        model = await ready(self, self._model)
        return await called(partial(model.stream, wait=_WAIT_SECONDS, **options))
