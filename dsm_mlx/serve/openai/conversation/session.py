"""A conversation over a websocket of JSON, from `session.created` to the end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.websockets import WebSocket

from dsm_mlx import TurnPolicy
from dsm_mlx.chat.events import Event, Heard, Latency, Partial, Said, Saying
from dsm_mlx.chat.speaking import Told, Utterance
from dsm_mlx.chat.talk import Parts, Talk
from dsm_mlx.chat.turns import Manners
from dsm_mlx.chat.writing import Written
from dsm_mlx.serve.answers import Answerer, Chosen
from dsm_mlx.serve.inbox import Inbox
from dsm_mlx.serve.models import Slot, served
from dsm_mlx.serve.openai.conversation.ear import Ear
from dsm_mlx.serve.openai.conversation.items import Items
from dsm_mlx.serve.openai.conversation.person import Person
from dsm_mlx.serve.openai.conversation.playing import Playing
from dsm_mlx.serve.openai.conversation.requests import Requests
from dsm_mlx.serve.openai.conversation.response import FRAME, Response
from dsm_mlx.serve.openai.conversation.wire import Wire
from dsm_mlx.serve.openai.conversation.wishes import LATENCY, PARTIAL, SAID, Answer, Wishes
from dsm_mlx.serve.openai.events import error_of, new_id
from dsm_mlx.serve.openai.fields import WishError
from dsm_mlx.serve.openai.incoming import take_all, until_over
from dsm_mlx.serve.sessions import STOPPING, Idle, close
from dsm_mlx.serve.speech import stream_of
from dsm_mlx.serve.state import State
from dsm_mlx.stt.stream import TranscriptStream
from dsm_mlx.tts.stream import SpeechStream
from dsm_mlx.tts.text.rules import as_far_as_it_can

_PATIENCE = 0.6  # seconds in which a turn may go on, as long as nothing of its answer was heard
_WAIT_SECONDS = 2.0  # for the row of the answer before


class Conversing:
    """One client. `Talk` takes the turns; this is who it tells of them, and its record of what was
    said."""

    def __init__(
        self, websocket: WebSocket, slot: Slot[TranscriptStream], state: State, model: str | None
    ):
        """slot: of those who listen. model: who shall answer."""
        self._websocket, self._slot, self._state = websocket, slot, state
        self.models, self.limits = state.models, state.options.limits
        self._idle = Idle(self.limits.idle)
        self._id = new_id("sess")
        self.wishes = Wishes.first(self.models, model)
        self.wire = Wire(websocket, self._idle)
        self.items = Items(self.limits.text, self.wire.tell)
        self.person = Person(self.wire, self.items)
        self.ear = Ear(self.wishes.input.format)
        self.response: Response | None = None  # the latest
        self.playing: Playing | None = None  # the latest sound
        self.asked: Inbox[Answer] = Inbox()  # answers that the client asked for
        self._reply = Chosen(lambda: self._answerer)
        self._policy: TurnPolicy | None = None  # with which it hears
        self._manners, self._frames = Manners(), 0
        self.talk = Talk(self._parts(), self, self)
        self._failure: Exception | None = None

    def _parts(self) -> Parts:
        stt = served(self.models.stt)
        return Parts(
            open_transcript=self._open_transcript,
            utter=lambda told: self._utter(self.wishes.answer, told),
            check_speech=None,
            reply=self._reply,
            source=self.ear,
            sample_rate=stt.sample_rate,
            delay=stt.delay,
            full_duplex=True,
            patience=_PATIENCE,
            settle=0.0,
            sorry=None,
            manners=self._manners,
        )

    async def run(self) -> None:
        self.wire.tell("session.created", session=self._shown())
        talking = asyncio.ensure_future(self.talk.run())
        try:
            await until_over(
                self._websocket,
                self._over,
                take_all(self._websocket, self._idle, self._room, Requests(self), self._refuse),
                self.wire.send(),
                self._talked(talking),
                self._answer(),
                self._stop(),
                self._idle.too_long(),
            )
        finally:
            talking.cancel()
            await asyncio.wait({talking})
            self._reply.close()

    async def _over(self, message: str, code: int) -> None:
        self.wire.put(error_of(message))
        await self.wire.send_waiting()
        await close(self._websocket, code)

    async def _talked(self, talking: asyncio.Future[None]) -> None:
        """Raises what ended the talk."""
        await asyncio.shield(talking)
        await self.talk.ready()
        if self._failure:
            raise self._failure

    async def _stop(self) -> None:
        """When the server stops."""
        await self._state.sessions.stopping.wait()
        if self.response:
            self.response.fail(STOPPING)
        self.person.failed(STOPPING)
        self.wire.put(error_of(STOPPING, kind="server_error"))
        await self.wire.send_waiting()

    # ---- what comes in

    async def _room(self) -> None:
        await self.ear.room()
        await self.wire.room()

    async def _refuse(self, error: dict[str, Any]) -> None:
        self.wire.put(error)

    def use(self, wishes: Wishes) -> None:
        """From now on. WishError for what cannot change any more."""
        policy = wishes.input.policy
        if self._policy and policy and policy != self._policy:
            message = "turn_detection: when turns end cannot change when sound has come"
            raise WishError(message, "session.audio.input.turn_detection")
        self.check_length(wishes.answer)
        self.wishes = wishes
        self.ear.use(wishes.input.format)
        ends = self.person.detects = policy is not None
        self._manners.ends = ends
        self._manners.answers = ends and wishes.creates
        self._manners.interruptible = ends and wishes.interrupts
        self.wire.tell("session.updated", session=self._shown())

    def check_length(self, how: Answer) -> None:
        """WishError for instructions that are too long."""
        most = self.limits.whole_text
        if len(how.instructions or "") > most:
            message = f"instructions: too long (at most {most} characters)"
            raise WishError(message, "instructions")

    def _shown(self) -> dict[str, Any]:
        return self.wishes.shown(self._id, self._answerer.system)

    # ---- who hears, answers and speaks

    @property
    def _answerer(self) -> Answerer:
        return self.models.answerer(self.wishes.model)

    async def _open_transcript(self) -> TranscriptStream:
        """With the first sound, when it is known when a turn ends."""
        await self.ear.first()
        self._policy = self.wishes.input.policy or Wishes(self.wishes.model).input.policy
        return await self._slot.open(turns=self._policy)

    def _open_speech(self, how: Answer) -> SpeechStream:
        voice = self.models.voice(how.voice)
        options = {"normalize": as_far_as_it_can("auto"), "wait": _WAIT_SECONDS}
        return stream_of(served(self.models.tts), voice, pace=how.pace, **options)

    def _messages(self, how: Answer) -> list[dict[str, str]]:
        given = how.instructions
        return self.items.messages(self._answerer.system if given is None else given)

    def _utter(self, how: Answer, told: Told) -> Response:
        """What gives an answer."""
        self._frames = self.frames_said
        read = sum(len(message["content"].split()) for message in self._messages(how))
        most = self.limits.whole_text
        response = Response(self.wire, self.items, how, told, self._interrupted, read, most)
        if how.modality == "text":
            response.begin(Written(response))
        else:
            clock = asyncio.get_running_loop().time
            begins = self.playing.ends if self.playing else clock()
            playing = Playing(response.sound, response.sent, self.wire.room, begins)
            utterance = Utterance(partial(self._open_speech, how), playing, response)
            response.item.seconds = lambda: playing.written
            response.item.heard = utterance.heard_until
            self.playing = playing
            response.begin(utterance)
        self.response = response
        return response

    async def _answer(self) -> None:
        """Answers that the client asks for, one after another, when all that it said before is
        known. One whose sound is still being played is not waited for."""
        while True:
            await self.asked.filled()
            await self.person.settled()
            while self.talk.speaks:
                if self.playing and self.response and self.response.done:
                    self.playing.let_be()
                await self.talk.quiet()
            if self.asked.items:  # and nobody has cancelled it
                how = self.asked.take()
                self.talk.respond(partial(self._utter, how), self._messages(how))

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being made, and not only played."""
        return self.talk.speaks and not (self.response and self.response.done)

    def cancel(self, why: str = "client_cancelled") -> bool:
        """Stop what is being said, or will be; whether there was anything."""
        if self.asked.items:
            response = self._utter(self.asked.take(), self.talk)
            response.why = why
            response.stop()
            return True
        if not (self.response and self.talk.speaks):
            return False
        self.response.why = why
        self.talk.interrupt()
        return True

    # ---- what Talk tells

    def put(self, event: Event) -> None:
        if isinstance(event, Heard):
            held = self.talk.speaks and self._manners.interruptible
            self.person.heard(event.text, self.talk.turn_start, held)
        elif isinstance(event, Partial) and self._wants(PARTIAL):
            self.person.partial(event.text)
        elif isinstance(event, Saying) and self.response and self._wants(SAID):
            item = self.response.item.id
            self.wire.tell(SAID, text=event.text, response_id=self.response.id, item_id=item)
        elif isinstance(event, Said) and self.response and self._wants(LATENCY):
            self._tell_latency(event.latency, self.response.id)

    def _tell_latency(self, latency: Latency | None, response_id: str) -> None:
        if latency:
            seconds = {name: round(value, 3) for name, value in vars(latency).items()}
            total = round(latency.total, 3)
            self.wire.tell(LATENCY, response_id=response_id, **seconds, total=total)

    def end(self, error: Exception | None = None) -> None:
        self._failure = self._failure or error

    async def room(self) -> None:
        await self.wire.room()

    def _wants(self, name: str) -> bool:
        return name in (self.wishes.include or ())

    def _interrupted(self) -> None:
        """Somebody speaks over an answer, which is about to be stopped."""
        self.person.starts(self.talk.turn_start)

    # ---- Talk's record

    def add(self, role: str, text: str) -> None:
        if role == "user":  # of the assistant's a `Response` keeps what was heard
            self.person.ended(text, self.talk.time)

    def take_back(self) -> None:
        """The turn that was answered goes on."""
        if self.response:
            self.items.delete(self.response.item)
        self.person.take_back()

    def plain(self) -> list[dict[str, str]]:
        return self._messages(self.wishes.answer)

    # ---- what is counted

    @property
    def frames_heard(self) -> int:
        return round(self.talk.time * served(self.models.stt).sample_rate / FRAME)

    @property
    def frames_said(self) -> int:
        return self._frames + (self.response.frames if self.response else 0)
