"""Speech to text as a service of Pipecat's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    StartFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.types import NOT_GIVEN, NotGiven

from dsm_mlx import load_stt
from dsm_mlx.audio.raw import Decoder
from dsm_mlx.options import Gain, Prompt, TurnPolicy
from dsm_mlx.pipecat.listening import MOST_SECONDS, Listening
from dsm_mlx.pipecat.models import Model, Name, as_language, called, language_of, ready, tell
from dsm_mlx.results import EndOfTurn, Event, Mark, Partial, Transcript, Word
from dsm_mlx.stt.boost import Phrases
from dsm_mlx.stt.model import SpeechToText
from dsm_mlx.stt.stream import TranscriptStream

_TURNS = TurnPolicy()
_OF_STREAMS = ("delay", "boost", "gain", "prompt")
_WAIT_SECONDS = 10.0  # for a row that others have
_END_SECONDS = 60.0  # that the last words may take, where much sound still waits
_SILENT_SECONDS = 1.0  # without any sound at all, after which a turn is over


@dataclass
class DsmSTTSettings(STTSettings):
    """What may be changed while the pipeline runs, beside `language`, which only frames tell.

    delay, boost, gain, prompt: as of `SpeechToText.stream`. A change begins a new stream, when the
        words of the old one are out.
    """

    delay: float | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    boost: Phrases | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    gain: Gain | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    prompt: Prompt | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)


class DsmSTTService(STTService):
    """Words as they become known, turns as the model sees them.

    `InterimTranscriptionFrame`s have what was said of the turn so far, with the word in progress;
    a `TranscriptionFrame`, which is `finalized`, all of it. The `result` of each is a `Transcript`
    of the words, with their times in seconds of the sound that this service was given.

    With `turns`, the service proposes where the person's turns begin and end, and recommends
    `ExternalUserTurnStrategies`: with the first word, and where the model is sure of the pause; the
    last words are brought out then, without waiting for the model's delay, and the transcript comes
    before the proposal. Neither a VAD nor a turn analyzer is needed, and frames of one are passed
    on. Without, every `VADUserStoppedSpeakingFrame` brings out a transcript, and the pipeline's own
    strategies decide.

    While it is muted, the model hears silence.
    """

    Settings = DsmSTTSettings
    _settings: DsmSTTSettings

    def __init__(
        self,
        model: SpeechToText | Name = None,
        *,
        turns: TurnPolicy | None = _TURNS,
        settings: DsmSTTSettings | None = None,
        **kwargs: Any,
    ):
        """
        Args:
            model: a handle, as `load_stt` gives it, which stays yours and may serve any number of
                pipelines; or what `load_stt` takes, which is loaded when the pipeline starts, on
                a thread, and closed with it. Sound that comes meanwhile waits, 20 s of it.
            turns: when a turn ends; None: the pipeline decides.
            settings: what differs from the defaults.
            kwargs: of `STTService`, such as `sample_rate`; without that, sound has the pipeline's.
        """
        found = Model(model, SpeechToText, load_stt)
        stored = DsmSTTSettings(
            model=found.name, language=None, delay=None, boost=None, gain=None, prompt=None
        )
        if settings is not None:
            stored.apply_update(settings)
        ends = {"keepalive_timeout": _SILENT_SECONDS, "keepalive_interval": _SILENT_SECONDS / 2}
        super().__init__(settings=stored, **{**ends, **kwargs})
        self._model, self._turns = found, turns
        self._known: list[str] = []  # languages
        self._listening: Listening | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._format: tuple[int, int] = (0, 0)
        self._decoder: Decoder | None = None
        self._given = 0.0  # seconds of sound, to all streams
        self._deaf = False  # sound is being lost
        self._words: list[Word] = []  # of this turn
        self._shown = ""  # what was told of it
        self._turn_is_open = self._turn_ends = False

    def can_generate_metrics(self) -> bool:
        """It does: the time to the transcript where the pipeline's VAD decides, and usage."""
        return True

    @property
    def supports_ttfs(self) -> bool:
        """Where the service itself sees the end of a turn, there is nothing between that and the
        transcript to be waited for."""
        return self._turns is None

    def service_metadata_frame(self) -> STTMetadataFrame:
        """Recommends that turns are left to this service, where it sees them."""
        frame = super().service_metadata_frame()
        if self._turns is not None:
            frame.user_turn_strategies = ExternalUserTurnStrategies()
        return frame

    # ---- the life of a service

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        self._listen()
        self._create_keepalive_task()

    async def stop(self, frame: EndFrame) -> None:
        """The last words are out before the frame goes on."""
        if self._listening is not None:
            self._listening.end()
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)
        await self._fall_deaf()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        await self._fall_deaf()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._fall_deaf()
        await self._model.close()

    async def _fall_deaf(self) -> None:
        self._listening = None
        await self._cancel_keepalive_task()
        while self._tasks:
            await self.cancel_task(self._tasks.pop())

    # ---- what comes in

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        stopped = isinstance(frame, VADUserStoppedSpeakingFrame) and self._turns is None
        if stopped and self._listening is not None:
            self._listening.flush()

    async def process_audio_frame(
        self, frame: InputAudioRawFrame, direction: FrameDirection
    ) -> None:
        format = (frame.sample_rate, frame.num_channels)
        if self._decoder is None or format != self._format:
            self._format, self._decoder = format, Decoder("s16le", *format)
        if self._muted and self.is_usable:
            self._hear(bytes(len(frame.audio)))
        await super().process_audio_frame(frame, direction)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Give sound to the model; frames come when it has heard it."""
        fits = self._hear(audio)
        if self._deaf != (not fits):
            self._deaf = not fits
            if self._deaf:
                await self.push_error(
                    f"more than {MOST_SECONDS:g} s of sound wait to be heard, so some "
                    "is left out: the model is being loaded, or this machine is too slow for it",
                    category=ErrorCategory.SERVER,
                )
        yield None

    def _hear(self, audio: bytes) -> bool:
        """Whether it will be heard."""
        if self._listening is None:
            self._listen()  # again, after a failure
        assert self._listening is not None and self._decoder is not None
        pcm = self._decoder(audio)
        fits = self._listening.give(pcm)
        self._given += pcm.size / 24_000 if fits else 0.0
        return fits

    def _is_keepalive_ready(self) -> bool:
        return self._turns is not None and self._turn_is_open and not self._turn_ends

    async def _send_keepalive(self, silence: bytes) -> None:
        """Nothing comes any more, as from a microphone that was switched off: that ends a turn."""
        if self._listening is not None:
            self._turn_ends = True
            self._listening.flush()

    # ---- settings

    async def _update_settings(  # type: ignore[override]  # as STTService's own
        self, delta: STTSettings
    ) -> dict[str, Any]:
        changed = await super()._update_settings(delta)
        if changed.keys() & {*_OF_STREAMS, "language"} and self._tasks:
            self._listen_anew()
        self._warn_unhandled_updated_settings(changed.keys() - {*_OF_STREAMS, "language"})
        return changed

    def _listen_anew(self) -> None:
        if self._listening is not None:
            self._listening.end()
        self._listen()

    # ---- what is heard

    def _listen(self) -> None:
        """Begin a stream, when the one before has ended."""
        before = self._tasks[-1] if self._tasks else None
        listening = self._listening = Listening()
        hearing = self._run(listening, before, self._given)
        self._tasks.append(self.create_task(hearing, "listening"))

    async def _run(
        self, listening: Listening, before: asyncio.Task[None] | None, start: float
    ) -> None:
        """start: of its first sound, in seconds of the service's."""
        try:
            if before is not None:
                await asyncio.wait([before])
            await listening.run(await self._open(), partial(self._tell, start))
        except Exception as error:
            if self._listening is listening:
                self._listening = None
            await tell(self, error)
        await self._finish()
        if (task := asyncio.current_task()) in self._tasks:
            self._tasks.remove(task)

    async def _open(self) -> TranscriptStream:
        model = await ready(self, self._model)
        self._known = model.languages
        options = {name: getattr(self._settings, name) for name in _OF_STREAMS}
        return await called(partial(model.stream, turns=self._turns, wait=_WAIT_SECONDS, **options))

    async def _tell(self, start: float, event: Event) -> None:
        """What the model says, as frames. start: of the stream, in seconds of the service's."""
        if isinstance(event, Word):
            word = replace(event, start=event.start + start, end=event.end + start)
            self._words.append(word)
            await self._show("")
        elif isinstance(event, Partial):
            await self._show(event.text)
        elif isinstance(event, EndOfTurn):
            if self._turns is not None and not self._turn_ends:
                self._end_turn()
        elif isinstance(event, Mark):
            await self._finish()

    async def _show(self, partial_word: str) -> None:
        """The turn so far, if that is news."""
        text = " ".join([*(word.text for word in self._words), *filter(None, [partial_word])])
        if text == self._shown:
            return
        self._shown = text
        if self._turns is not None and not self._turn_is_open:
            await self.broadcast_frame(ProposedUserStartedSpeakingFrame)
        self._turn_is_open = True
        frame = InterimTranscriptionFrame(text, *self._who, result=self._transcript(text))
        await self.push_frame(frame)

    def _end_turn(self) -> None:
        """Bring out its last words; then there is a `Mark`."""
        if self._listening is not None:
            self._turn_ends = True
            self._listening.finish()

    async def _finish(self) -> None:
        """All words of the turn are there, if there are any."""
        if self._words:
            text = " ".join(word.text for word in self._words)
            await self.emit_stt_usage_metrics()
            await self.push_frame(
                TranscriptionFrame(text, *self._who, result=self._transcript(text), finalized=True)
            )
        if self._turn_is_open and self._turns is not None:
            await self.broadcast_frame(ProposedUserStoppedSpeakingFrame)
        self._words, self._shown = [], ""
        self._turn_is_open = self._turn_ends = False

    @property
    def _who(self) -> tuple[str, str, Language | None]:
        """The user, when it was said, and in which language, as frames have them."""
        return self._user_id, time_now_iso8601(), as_language(language_of(self), self._known)

    def _transcript(self, text: str) -> Transcript:
        return Transcript(text, list(self._words), duration=self._given)
