"""What has been said so far, as whoever writes replies is given it."""

from __future__ import annotations

from collections.abc import Iterable


class Messages:
    """The messages of a conversation. Those in a row of the same role are one, with a line each,
    because many models take none but by turns."""

    def __init__(self, system: str | None):
        self._said: list[tuple[str, str]] = []
        if system:
            self._said.append(("system", system))

    def add(self, role: str, text: str) -> None:
        """role: "user" or "assistant". What is empty was not said."""
        text = text.strip()
        if text:
            self._said.append((role, text))

    def take_back(self) -> None:
        """The person's last turn has not ended yet."""
        role, _ = self._said.pop()
        assert role == "user"

    def plain(self) -> list[dict[str, str]]:
        """New dicts of "role" and "content"."""
        return by_turns(self._said)


def by_turns(said: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Roles and texts as messages. Those in a row of the same role are one; empty ones are none."""
    found: list[dict[str, str]] = []
    for role, text in said:
        if not text:
            continue
        if found and found[-1]["role"] == role:
            found[-1]["content"] += f"\n{text}"
        else:
            found.append({"role": role, "content": text})
    return found
