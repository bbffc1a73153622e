"""One connection of Wyoming's protocol, from its first event to its end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.ping import Pong

from dsm_mlx import AudioError, BusyError
from dsm_mlx.serve.inbox import Inbox
from dsm_mlx.serve.models import NO_SLOT
from dsm_mlx.serve.safety import told
from dsm_mlx.serve.sessions import Idle, first_of
from dsm_mlx.serve.state import State
from dsm_mlx.serve.wyoming import events, listening, speaking
from dsm_mlx.serve.wyoming.events import STOP, EventError

log = logging.getLogger("dsm_mlx")

AHEAD = 1 << 20  # bytes that are read and not yet worked on: then the client has to wait
_KNOWN = {
    *listening.TYPES, "audio-stop", *speaking.TYPES, "synthesize-chunk", "synthesize-stop",
}  # fmt: skip
_LINGER = 2.0  # seconds


class RefusedError(Exception):
    """What a client asks for cannot be; what to tell him."""


class Client:
    """What is asked for is done one after the other; `ping` and `describe` are answered at once."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        state: State,
        info: Event,
    ):
        """info: the answer to `describe`."""
        self.state = state
        self._reader, self._writer, self._info = reader, writer, info
        self._inbox: Inbox[tuple[Event, int]] = Inbox()
        self._bytes = 0  # in the inbox
        self._writing = asyncio.Lock()
        self._idle = Idle(state.options.limits.idle)

    async def run(self) -> None:
        """Until it is over. What goes wrong is told the client, and ends nothing else."""
        try:
            await first_of(self._read(), self._work(), self._stop(), self._idle.too_long())
        except asyncio.CancelledError:
            self._writer.transport.abort()
            raise
        except (EventError, ConnectionError):
            pass  # garbage gets no answer
        except BusyError:
            await self._fail(NO_SLOT, "busy")
        except (AudioError, RefusedError) as error:
            await self._fail(str(error), "refused")
        except asyncio.TimeoutError:
            await self._fail("nothing came for too long", "idle")
        except Exception as error:
            log.error("wyoming: %s", told(error))
            await self._fail("something went wrong in the server", "internal")
        finally:
            await self._close()

    async def _fail(self, text: str, code: str) -> None:
        with suppress(OSError):
            await self.send(Error(text, code).event())

    async def _close(self) -> None:
        """Let go of a client when he has read what was sent, or has not for too long.

        A socket that is closed before what came is read takes back what was sent last.
        """
        with suppress(OSError, asyncio.TimeoutError):
            self._writer.write_eof()
            await asyncio.wait_for(self._read_out(), _LINGER)
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), self.state.options.limits.stalled)
        except (OSError, asyncio.TimeoutError):
            self._writer.transport.abort()

    async def _read_out(self) -> None:
        while await self._reader.read(1 << 16):
            pass

    # ---- what comes in

    async def _read(self) -> None:
        limits = self.state.options.limits
        while True:
            while self._bytes > AHEAD or self._inbox.is_crowded:
                await self._inbox.less()
                self._idle.came()  # it would like to send
            found = await events.read(self._reader, limits)
            if found is None:
                return  # it has gone
            self._idle.came()
            event, size = found
            if event.type == "ping":
                text = event.data.get("text")
                await self.send(Pong(text if isinstance(text, str) else None).event())
            elif event.type == "describe":
                await self.send(self._info)
            elif event.type in _KNOWN:
                self._put(event, size)

    def _put(self, event: Event, size: int) -> None:
        self._inbox.put((event, size))
        self._bytes += size

    async def _stop(self) -> None:
        """When the server stops, what was heard is told, and what was given to say is said."""
        await self.state.sessions.stopping.wait()
        self._put(STOP, 0)
        await asyncio.Event().wait()

    async def next(self) -> Event:
        """The next event that asks for something. `STOP` when there will be no more."""
        await self._inbox.filled()
        event, size = self._inbox.items[0]
        if event is not STOP:
            self._inbox.take()
            self._bytes -= size
        return event

    # ---- what is done

    async def _work(self) -> None:
        models = self.state.models
        while (event := await self.next()) is not STOP:
            if event.type in listening.TYPES:
                if models.listeners is None:
                    raise RefusedError("this server has no model that listens")
                await listening.listen(self, event)
            elif event.type in speaking.TYPES:
                if models.speakers is None:
                    raise RefusedError("this server has no model that speaks")
                await speaking.speak(self, event)

    def check_text(self, size: int) -> None:
        """RefusedError for more characters than one text may have."""
        if size > self.state.options.limits.text:
            raise RefusedError("too much text")

    def at_work(self) -> None:
        """What was asked for goes on, which is not the client's being idle."""
        self._idle.came()

    async def send(self, event: Event) -> None:
        """ConnectionError if the client has gone, or does not read for too long."""
        self._idle.came()
        async with self._writing:
            try:
                writing = async_write_event(event, self._writer)
                await asyncio.wait_for(writing, self.state.options.limits.stalled)
            except asyncio.TimeoutError:
                raise ConnectionAbortedError from None
