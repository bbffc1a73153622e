"""The application: what every request passes, and the routes of all protocols.

To add a protocol, write `routes(models) -> list[BaseRoute]` in a room of its own, beside the paths
that need no key, and name both here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket

from dsm_mlx.serve.kyutai import routes as kyutai
from dsm_mlx.serve.openai import routes as openai
from dsm_mlx.serve.page import routes as page
from dsm_mlx.serve.safety import Crowd, Errors, Keys, Places, refusal
from dsm_mlx.serve.state import State

_THREADS = 64  # opening streams, and whole files: they wait for the model most of the time


def application(state: State) -> Starlette:
    """Everything that the models of `state` can serve, behind all the checks."""
    options, models = state.options, state.models
    middleware = [
        Middleware(Errors),
        Middleware(Places, options=options),
        Middleware(
            CORSMiddleware,
            allow_origins=options.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        ),
        Middleware(Keys, keys=options.keys, open_paths=kyutai.OPEN | openai.OPEN | page.OPEN),
        Middleware(Crowd, most=options.limits.connections),
    ]
    app = Starlette(
        routes=[*kyutai.routes(models), *openai.routes(models), *page.routes()],
        middleware=middleware,
        exception_handlers={HTTPException: _refused},
        lifespan=_lifespan,
    )
    app.state.ours = state
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    threads = ThreadPoolExecutor(_THREADS, "dsm-serve")
    asyncio.get_running_loop().set_default_executor(threads)
    yield


async def _refused(connection: HTTPConnection, error: Any) -> Response:
    """error: an HTTPException."""
    response = refusal(connection.scope, error.status_code, error.detail)
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(response)
    return response
