"""The bar below the words: what goes on, and what can be done about it, by mouse and by key."""

from __future__ import annotations

import sys
import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from tkinter import ttk
from typing import TYPE_CHECKING, NamedTuple

from dsm_mlx.audio.devices import Device
from dsm_mlx.desktop.controls import GAP, NONE, Flow, Level, device_choices, dress_menu, fill
from dsm_mlx.desktop.listening import BEST
from dsm_mlx.desktop.looks import LOOKS, Look

if TYPE_CHECKING:
    from dsm_mlx.desktop.window import Window

_MAC = sys.platform == "darwin"
_PAD = 12  # pixels around
_LEAST = 80  # pixels of height that words have beside the buttons


class Action(NamedTuple):
    """What somebody may do. key: as a menu shows it. keys: as Tk calls them, with Control or
    Command."""

    label: str
    key: str
    keys: Sequence[str]
    do: Callable[[Window], object]


ACTIONS = (
    Action("Start or stop", "L", ("l",), lambda window: window.toggle()),
    Action("Copy", "C", ("c",), lambda window: window.copy()),
    Action("Save…", "S", ("s",), lambda window: window.ask_and_save()),
    Action("Clear", "K", ("k",), lambda window: window.clear()),
    Action("Larger text", "+", ("plus", "equal", "KP_Add"), lambda window: window.resize(1)),
    Action("Smaller text", "-", ("minus", "KP_Subtract"), lambda window: window.resize(-1)),
    Action("Text as at first", "0", ("0",), lambda window: window.resize(None)),
    Action("Next contrast", "D", ("d",), lambda window: window.next_look()),
    Action("On top or not", "T", ("t",), lambda window: window.stay(not window.on_top.get())),
    Action("Words alone", "B", ("b",), lambda window: window.hide_bar()),
    Action("Close", "W", ("w", "q"), lambda window: window.close()),
)


def bind_keys(window: Window) -> None:
    """The keys of all actions, and those that scroll, wherever the keyboard is."""
    root, paper = window.root, window.paper
    for action in ACTIONS:
        for key in action.keys:

            def press(_: tk.Event, action: Action = action) -> str:
                action.do(window)
                return "break"

            root.bind(f"<{'Command' if _MAC else 'Control'}-{key}>", press)

    def page(event: tk.Event, pages: int) -> None:
        if event.widget is not paper.text:  # which does it by itself
            paper.page(pages)

    root.bind("<Prior>", lambda event: page(event, -1))
    root.bind("<Next>", lambda event: page(event, 1))
    root.bind("<End>", lambda _: paper.go_to_end())
    root.bind("<Escape>", lambda _: window.show_bar())
    paper.text.bind("<Button-2>" if _MAC else "<Button-3>", window.bar.open_menu)


class Bar(tk.Frame):
    """A line of what goes on, and the buttons of a window."""

    def __init__(self, window: Window):
        super().__init__(window.root, padx=_PAD, pady=_PAD)
        self._window = window
        self._menus: list[tk.Menu] = []
        above = tk.Frame(self)
        above.pack(fill="x", pady=(0, GAP))
        self.level = Level(above)
        self.level.pack(side="right", padx=(GAP, 0))
        self.state = tk.Label(above, anchor="w", justify="left")
        self.state.pack(side="left", fill="x", expand=True)
        self.state.bind("<Configure>", lambda event: self.state.configure(wraplength=event.width))
        self._flow = flow = Flow(self)
        flow.pack(fill="x")
        self._plain = above, self._flow, self.state
        self._above = above
        window.root.bind("<Configure>", lambda _: self._fit(), add="+")
        self.listen = ttk.Button(flow, style="Main.TButton", width=7, command=window.toggle)
        flow.add(self.listen)
        self._devices = self._menu_button("Microphone")
        self._button("A−", lambda: window.resize(-1))  # noqa: RUF001 - a minus
        self._button("A+", lambda: window.resize(1))
        looks = [(look.title, name) for name, look in LOOKS.items()]
        fill(self._menu_button("Contrast"), window.look, looks, window.dress)
        self._button("Copy", window.copy)
        self._button("Save…", window.ask_and_save)
        self._menu = self._menu_button("Menu")
        self._fill_menu()
        self.show_devices([])

    def _button(self, text: str, command: Callable[[], object]) -> None:
        style = "Captions.TButton"
        self._flow.add(ttk.Button(self._flow, text=text, command=command, style=style))

    def _menu_button(self, text: str) -> tk.Menu:
        button = ttk.Menubutton(
            self._flow, text=text, style="Captions.TMenubutton", direction="above"
        )
        menu = self._new_menu(button)
        button.configure(menu=menu)
        self._flow.add(button)
        return menu

    def _new_menu(self, parent: tk.Misc) -> tk.Menu:
        menu = tk.Menu(parent, tearoff=False, borderwidth=1, activeborderwidth=0)
        self._menus.append(menu)
        return menu

    def _fill_menu(self) -> None:
        """What has no button, and every key."""
        window, menu = self._window, self._menu
        models, self._delays = self._new_menu(menu), self._new_menu(menu)
        if window.models:
            names = [(BEST, NONE), *((name, name) for name in window.models)]
            fill(models, window.model, names, window.choose)
            menu.add_cascade(label="Model", menu=models)
        menu.add_cascade(label="Delay", menu=self._delays, state="disabled")
        menu.add_checkbutton(
            label="Stay on top", variable=window.on_top, command=lambda: window.stay()
        )
        menu.add_separator()
        for action in ACTIONS:
            menu.add_command(
                label=action.label,
                command=partial(action.do, window),
                accelerator=f"⌘{action.key}" if _MAC else f"Ctrl+{action.key}",
            )

    def _fit(self) -> None:
        """In a low window words come before buttons; the menu opens on the words as well."""
        root = self._window.root
        _, buttons = self._flow.places(root.winfo_width() - 2 * _PAD)
        left = root.winfo_height() - self._above.winfo_reqheight() - GAP - buttons - 2 * _PAD
        fits = left >= max(buttons, _LEAST)
        if fits and not self._flow.winfo_manager():
            self._flow.pack(fill="x")
        elif not fits:
            self._flow.pack_forget()

    def open_menu(self, event: tk.Event) -> None:
        """Where the mouse is."""
        self._menu.tk_popup(event.x_root, event.y_root)

    # ---- what it shows

    def dress(self, look: Look) -> None:
        """Wear a look."""
        for widget in (self, *self._plain):
            widget.configure(background=look.bar)
        self.level.dress(look)
        for menu in self._menus:
            dress_menu(menu, look)

    def show_devices(self, devices: list[Device]) -> None:
        """The microphones that there are, to choose from."""
        window = self._window
        choices = device_choices(devices, window.device.get())
        fill(self._devices, window.device, choices, window.choose)

    def show_delays(self, delays: Sequence[float]) -> None:
        """Those that the model knows, where there is a choice."""
        window = self._window
        values = [f"{delay:g}" for delay in delays]
        if window.delay.get() not in values:
            window.delay.set(NONE)
        names = [("The model's own", NONE), *((f"{value} s", value) for value in values)]
        fill(self._delays, window.delay, names, window.choose)
        self._menu.entryconfigure("Delay", state="normal" if len(values) > 1 else "disabled")

    def show_listening(self, on: bool) -> None:
        """on: whether it listens, which the button then ends."""
        self.listen.configure(text="Stop" if on else "Listen")
