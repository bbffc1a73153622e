"""A frame of some rows, turn by turn: what a wing computes and a batch runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import mlx.core as mx

from dsm_mlx.runtime.session import Session

Of = TypeVar("Of", bound=Session, contravariant=True)


class Step(Protocol[Of]):
    """What a batch needs of a wing: one frame of some rows."""

    def position(self, state: Any) -> int:
        """How many steps lie behind a row with this state, which has been evaluated."""
        ...

    def frame(
        self,
        state: Any,
        sessions: Sequence[Of | None],
        active: mx.array | None,
        ahead: bool,
    ) -> Iterator[Any]:
        """Compute a frame.

        Args:
            state: of the rows, in order.
            sessions: of the rows; None where a row rests (`active` is False there).
            active: bool (rows,), or None where all go along.
            ahead: the next frame may be begun before the rest of this one is read: what its
                sessions need for that they must know when the state is yielded.

        Yields:
            None where a turn ends and the frame goes on; once, the new state (it may be lazy),
            after which the iterator hands the outcome to the sessions and ends.
        """
        ...


def most_positions(sessions: Sequence[Session | None]) -> int:
    """How many steps lie behind the row that is furthest ahead."""
    return max(session.position for session in sessions if session)


class Frame:
    """A frame that is being computed, and for whom.

    going: how many rows advance. since: when its next turn began to wait. seconds: that its turns
    have taken. ahead: see `Step`.
    """

    def __init__(
        self,
        turns: Iterator[Any],
        rows: list[int],
        sessions: list[Session | None],
        going: int,
        rank: int,
        since: float,
        ahead: bool,
    ):
        self._turns, self.rows, self.sessions = turns, rows, sessions
        self.going, self.rank, self.since, self.ahead = going, rank, since, ahead
        self.seconds = 0.0
        self.state: Any = None

    def go_on(self) -> bool:
        """One turn; whether the new state is known."""
        self.state = next(self._turns)
        return self.state is not None

    def read(self) -> None:
        """Hand the outcome to the sessions."""
        for _ in self._turns:
            raise AssertionError("a step yields its state once")
