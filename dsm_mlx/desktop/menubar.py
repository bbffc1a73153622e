"""Captions in the menu bar of macOS, by the package rumps, which knows no other system."""

from __future__ import annotations

import os
import queue
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from dsm_mlx.audio.events import DeviceEvent
from dsm_mlx.desktop.captions import Captions
from dsm_mlx.desktop.listening import (
    BEST,
    Choice,
    Devices,
    Listener,
    Listening,
    Loaded,
    Loading,
    Message,
    Stopped,
    Waiting,
)

POLL = 0.2  # seconds
_LAST = 60  # signs of what was said last
_NOTHING = "Nothing was said yet"


class MenuBar:
    """An entry in the menu bar: listen, what was said last, copy it, open the captions window.

    listen: whether it listens from the start. models: names for a menu; without any there is none.
    open_window: starts the captions window in a process of its own, which Tk needs.
    """

    def __init__(
        self,
        listener: Listener,
        choice: Choice,
        *,
        models: Sequence[str] = (),
        listen: bool = True,
        open_window: Callable[[], object],
    ):
        import rumps  # which only macOS has

        self._rumps: Any = rumps
        self._listener, self._choice, self._listen = listener, choice, listen
        self._open_window = open_window
        self.captions = Captions()
        self._again = False
        self._app = rumps.App("dsm_mlx captions", title="○", quit_button=None)
        self._state = rumps.MenuItem("Ready")  # without a callback: grey
        self._last = rumps.MenuItem(_NOTHING)
        self._toggle = rumps.MenuItem("Listen", callback=self.toggle)
        names = [BEST, *models] if models else []
        self._models = {name: rumps.MenuItem(name, callback=self.choose) for name in names}
        self._app.menu = self._entries()
        self._mark_model()
        self._timer = rumps.Timer(self.poll, POLL)

    def _entries(self) -> list[Any]:
        """None is a line between two, and a pair an entry with a menu of its own."""
        item = self._rumps.MenuItem
        window = item("Open Captions Window", callback=self.open_window)
        copy, leave = item("Copy", callback=self.copy), item("Quit", callback=self.quit)
        models = [(item("Model"), list(self._models.values()))] if self._models else []
        return [self._state, self._last, None, self._toggle, copy, window, *models, None, leave]

    def run(self) -> None:
        """Show it until somebody quits, which ends the process."""
        if self._listen:
            self.toggle()
        self._timer.start()
        try:
            self._app.run()
        finally:
            self._listener.close()

    # ---- what is told

    def poll(self, _: object = None) -> None:
        """Show what was told since the last time. macOS does not call it while a menu is open."""
        with suppress(queue.Empty):
            while True:
                self._take(self._listener.messages.get_nowait())
        if said := self.captions.text.split():
            text = " ".join(said)
            self._last.title = text if len(text) <= _LAST else f"… {text[-_LAST:]}"

    def _take(self, message: Message) -> None:
        match message:
            case Loading():
                self._state.title = "Loading the model …"
            case Listening():
                self.captions.begin(message.began)
                self._show(f"Listening to {message.device}", on=True)
            case Waiting():
                self._show(message.message)
            case DeviceEvent():
                if message.kind != "lost":  # of which `Waiting` tells
                    self._state.title = message.message
            case Stopped():
                self._stopped(message.error)
            case Devices() | Loaded():
                pass
            case _:
                self.captions.take(message)

    def _stopped(self, error: Exception | None) -> None:
        self.captions.end()
        again, self._again = self._again, False
        self._show(str(error) if error else "Ready")
        self._toggle.title = "Listen"
        if again and not error:
            self.toggle()

    def _show(self, state: str, on: bool = False) -> None:
        self._state.title = state
        self._app.title = "●" if on else "○"

    # ---- what somebody does

    def toggle(self, _: object = None) -> None:
        """Start listening, or stop it."""
        if self._listener.busy:
            self._again = False
            self._listener.stop()
        else:
            self._listener.start(self._choice)
            self._toggle.title = "Stop"

    def copy(self, _: object = None) -> None:
        """All that was said, to the clipboard."""
        environment = os.environ | {"LC_CTYPE": "UTF-8"}  # which programs without a terminal lack
        text = self.captions.text.encode()
        subprocess.run(["pbcopy"], input=text, env=environment, check=False)

    def open_window(self, _: object = None) -> None:
        """The window listens by itself, with a model of its own; so this stops."""
        self._again = False
        self._listener.stop()
        self._open_window()

    def choose(self, item: Any) -> None:
        """Go on with another model."""
        name = None if item.title == BEST else item.title
        self._choice = Choice(name, self._choice.device)  # delays are a model's own
        self._mark_model()
        if self._listener.busy:
            self._again = True
            self._listener.stop()

    def _mark_model(self) -> None:
        chosen = self._choice.model or BEST
        for name, item in self._models.items():
            item.state = int(name == chosen)

    def quit(self, _: object = None) -> None:
        """rumps ends the process without coming back."""
        self._listener.close()
        self._rumps.quit_application()
