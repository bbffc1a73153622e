"""The captions window. Tk's thread shows what a `Listener` tells, and never waits for it."""

from __future__ import annotations

import queue
import time
import tkinter as tk
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tkinter import filedialog, ttk

from dsm_mlx.audio.events import DeviceEvent
from dsm_mlx.audio.meter import FLOOR
from dsm_mlx.desktop.bar import Bar, bind_keys
from dsm_mlx.desktop.captions import Captions
from dsm_mlx.desktop.controls import NONE, dress_widgets
from dsm_mlx.desktop.listening import (
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
from dsm_mlx.desktop.looks import LOOKS, SIZE, larger
from dsm_mlx.desktop.paper import Paper

POLL = 50  # milliseconds between two looks at what was told
KINDS = [("Plain text", "*.txt"), ("SubRip", "*.srt"), ("WebVTT", "*.vtt"), ("JSON", "*.json")]


@dataclass(frozen=True)
class Settings:
    """How the window begins. choice: what is listened with. models: names for a menu; without any
    there is none. listen: whether it listens from the start. on_top: whether it stays above other
    windows. look: one of `LOOKS`. size: of the text, in points."""

    choice: Choice = field(default_factory=Choice)
    models: Sequence[str] = ()
    listen: bool = True
    on_top: bool = True
    look: str = "dark"
    size: int = SIZE


class Window:
    """Live captions. `run` shows them until the window is closed.

    Raises ValueError where no window can be opened.
    """

    def __init__(self, listener: Listener, settings: Settings):
        self._listener, self._settings = listener, settings
        self._choice, self.models = settings.choice, settings.models
        self.captions = Captions()
        self._failed: BaseException | None = None
        self._again = False  # listen again when it has stopped
        self._device = ""  # the name of what is listened to
        self._silent = False
        self._state = False, False  # whether it listens, and whether something is wrong
        try:
            self.root = tk.Tk(className="Captions")
        except tk.TclError as error:
            raise ValueError(f"no window can be opened: {error}") from None
        self.root.report_callback_exception = self._fail
        self.root.title("Captions")
        self.root.geometry("860x420")
        self.root.minsize(240, 160)
        self.root.protocol("WM_DELETE_WINDOW", self.close)
        self._make_variables()
        self.stay(settings.on_top)
        self.paper = Paper(self.root, "What is said appears here.")
        self.bar = Bar(self)
        self.bar.pack(side="bottom", fill="x")
        self.paper.pack(side="top", fill="both", expand=True)
        bind_keys(self)
        self.paper.resize(settings.size)
        self.dress()
        self.bar.show_listening(False)
        self._tell("Ready")

    def _make_variables(self) -> None:
        """What is chosen in menus."""
        choice = self._choice
        known = {"look": self._settings.look, "model": choice.model, "device": choice.device}
        known["delay"] = None if choice.delay is None else f"{choice.delay:g}"
        made = [tk.StringVar(self.root, NONE if v is None else str(v)) for v in known.values()]
        self.look, self.model, self.device, self.delay = made
        self.on_top: tk.BooleanVar = tk.BooleanVar(self.root)

    def run(self) -> None:
        """Show it until it is closed. What goes wrong within is raised, and so is Ctrl-C."""
        try:
            if self._settings.listen:
                self.start()
            else:
                self._listener.look()
            self._poll()
            self.root.mainloop()
        finally:
            self._listener.close()
            with suppress(tk.TclError):  # which it raises where it is closed already
                self.root.destroy()
        if self._failed:
            raise self._failed

    def close(self) -> None:
        """Close the window, which ends `run`."""
        self.root.destroy()

    def _fail(self, _: object, error: BaseException, *__: object) -> None:
        """An error in what Tk called, which Tk would only write about."""
        self._failed = error
        self.close()

    # ---- what is told

    def _poll(self) -> None:
        told = False
        with suppress(queue.Empty):
            while True:
                self._take(self._listener.messages.get_nowait())
                told = True
        if told:
            self.paper.show(self.captions.paragraphs)
        level = self._listener.level
        self.bar.level.show(level)
        if self._silent and level > FLOOR:
            self._tell_listening()
        self.root.after(POLL, self._poll)

    def _take(self, message: Message) -> None:
        match message:
            case Loading():
                self._tell("Loading the model …")
            case Loaded():
                self.bar.show_delays(message.delays)
                self._tell(f"Loaded {message.name}")
            case Listening():
                self.captions.begin(message.began)
                self._device = message.device
                self._tell_listening()
            case Waiting():
                self._tell(f"{message.message}; looking for another microphone …", wrong=True)
            case DeviceEvent():
                self._befall(message)
            case Devices():
                self.bar.show_devices(message.found)
            case Stopped():
                self._stopped(message.error)
            case _:
                self.captions.take(message)

    def _befall(self, event: DeviceEvent) -> None:
        """What happened to the microphone."""
        if event.kind in ("reopened", "changed"):
            self._device = event.device
            self._tell_listening()
        elif event.kind != "lost":  # of which `Waiting` tells
            self._tell(event.message, wrong=True)
            self._silent = event.kind == "silent"

    def _stopped(self, error: Exception | None) -> None:
        self.captions.end()
        self.bar.show_listening(False)
        if error:
            self._tell(str(error) or type(error).__name__, wrong=True)
        elif self._again:
            self.start()
        else:
            self._tell("Ready")
        self._again = False

    def _tell_listening(self) -> None:
        self._tell(f"Listening to {self._device}", on=True)

    def _tell(self, text: str, on: bool = False, wrong: bool = False) -> None:
        """on: whether it listens. wrong: whether somebody should know."""
        self._state, self._silent = (on, wrong), False
        sign = "▲" if wrong else "●" if on else "○"
        self.bar.state.configure(text=f"{sign}  {text[:1].upper()}{text[1:]}")
        self._colour_state()

    def _colour_state(self) -> None:
        look, (on, wrong) = LOOKS[self.look.get()], self._state
        colour = look.warn if wrong else look.ink if on else look.soft
        self.bar.state.configure(foreground=colour)

    # ---- what somebody does

    def toggle(self) -> None:
        """Start listening, or stop it."""
        if self._listener.busy:
            self._again = False
            self._listener.stop()
            self._tell("Stopping …")
        else:
            self.start()

    def start(self) -> None:
        """Start listening, with what was chosen."""
        self._listener.start(self._choice)
        self.bar.show_listening(True)
        self._tell("Opening the microphone …")

    def choose(self) -> None:
        """Take what the menus say, and go on with it."""
        device, delay = self.device.get().strip(), self.delay.get().strip()
        self._choice = Choice(
            self.model.get().strip() or None,
            int(device) if device.isdecimal() else device or None,
            float(delay) if delay else None,
        )
        if self._listener.busy:
            self._again = True
            self._listener.stop()

    def copy(self) -> None:
        """What is marked, or all of it, to the clipboard."""
        if text := self.paper.selected or self.captions.text:
            self.root.clipboard_clear()
            self.root.clipboard_append(text)
            self._tell("Copied", on=self._state[0])

    def ask_and_save(self) -> None:
        """Ask for a file's name, and write the captions there unless nobody gives one."""
        path = filedialog.asksaveasfilename(
            parent=self.root, defaultextension=".txt", filetypes=KINDS, initialfile="captions"
        )
        if path:
            self.save(path)

    def save(self, path: str) -> None:
        """Write the captions; the name's ending tells as what."""
        try:
            self.captions.save(path)
        except OSError as error:
            self._tell(f"not saved: {error.strerror} ({path})", wrong=True)
        except ValueError as error:
            self._tell(f"not saved: {error}", wrong=True)
        else:
            self._tell(f"saved {Path(path).name}", on=self._state[0])

    def clear(self) -> None:
        """Forget what was said; times count from now."""
        self.captions.clear(time.monotonic() if self._listener.busy else None)
        self.paper.clear()

    def resize(self, steps: int | None) -> None:
        """Larger text, or smaller; None: as it was at first."""
        known = self._settings.size
        self.paper.resize(known if steps is None else larger(self.paper.points, steps))

    def next_look(self) -> None:
        """Wear the next one of `LOOKS`."""
        names = list(LOOKS)
        self.look.set(names[(names.index(self.look.get()) + 1) % len(names)])
        self.dress()

    def dress(self) -> None:
        """Wear the look that is chosen."""
        look = LOOKS[self.look.get()]
        dress_widgets(ttk.Style(self.root), look)
        self.root.configure(background=look.bar)
        self.paper.dress(look)
        self.bar.dress(look)
        self._colour_state()

    def stay(self, on_top: bool | None = None) -> None:
        """Above other windows, or not; None: as the menu says."""
        if on_top is not None:
            self.on_top.set(on_top)
        self.root.attributes("-topmost", self.on_top.get())

    def hide_bar(self) -> None:
        """Words alone; Escape, or the same key, brings the rest back."""
        if self.bar.winfo_ismapped():
            self.bar.pack_forget()
        else:
            self.show_bar()

    def show_bar(self) -> None:
        """Bring the bar back."""
        self.bar.pack(side="bottom", fill="x", before=self.paper)
