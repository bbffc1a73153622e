"""Both kinds of realtime session, at one address."""

from __future__ import annotations

from contextlib import ExitStack

from starlette.websockets import WebSocket

from dsm_mlx import BusyError
from dsm_mlx.serve.models import served
from dsm_mlx.serve.openai.conversation.session import Conversing
from dsm_mlx.serve.openai.events import error_of, send
from dsm_mlx.serve.openai.transcribing import Session
from dsm_mlx.serve.sessions import close
from dsm_mlx.serve.state import State, state_of


async def socket(websocket: WebSocket) -> None:
    """`/v1/realtime`: a conversation, or with `intent=transcription` a transcription."""
    state = state_of(websocket)
    wanted = websocket.scope.get("subprotocols", ())
    await websocket.accept("realtime" if "realtime" in wanted else None)
    old = "realtime=v1" in websocket.headers.get("openai-beta", "")
    transcribes = websocket.query_params.get("intent") == "transcription"
    if old and not transcribes:
        message = "conversations have the shape of today alone (no header OpenAI-Beta: realtime=v1)"
        await send(websocket, error_of(message))
        await close(websocket, 1008)
        return
    try:
        await (_transcribe(websocket, state, old) if transcribes else _converse(websocket, state))
    except BusyError as error:
        await send(websocket, error_of(str(error), kind="server_error"))
        await close(websocket, 1013)


async def _transcribe(websocket: WebSocket, state: State, old: bool) -> None:
    metrics = state.metrics.stt
    with metrics.counted(served(state.models.listeners).take) as slot, state.sessions.running():
        session = Session(websocket, slot, state, old)
        try:
            await session.run()
        finally:
            metrics.steps.add(session.frames)


async def _converse(websocket: WebSocket, state: State) -> None:
    """On a slot of each model that there is."""
    models, metrics = state.models, state.metrics
    with ExitStack() as stack:
        listener = stack.enter_context(metrics.stt.counted(served(models.listeners).take))
        if models.speakers:
            stack.enter_context(metrics.tts.counted(models.speakers.take))
        stack.enter_context(state.sessions.running())
        session = Conversing(websocket, listener, state, websocket.query_params.get("model"))
        try:
            await session.run()
        finally:
            metrics.stt.steps.add(session.frames_heard)
            if models.speakers:
                metrics.tts.steps.add(session.frames_said)
