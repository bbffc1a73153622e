"""What every endpoint can reach."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from dsm_mlx.serve.metrics import Metrics
from dsm_mlx.serve.models import Models
from dsm_mlx.serve.options import ServerOptions
from dsm_mlx.serve.sessions import Sessions


@dataclass
class State:
    """The server, as its endpoints see it. started: seconds of the monotonic clock."""

    options: ServerOptions
    models: Models
    sessions: Sessions = field(default_factory=Sessions)
    metrics: Metrics = field(default_factory=Metrics)
    started: float = field(default_factory=time.monotonic)


def state_of(connection: HTTPConnection) -> State:
    """That of a request or a websocket."""
    return connection.app.state.ours
