"""What the bar is made of: rows of widgets, the level, menus, and their colours."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Iterable
from tkinter import ttk

from dsm_mlx.audio.devices import Device
from dsm_mlx.audio.meter import share
from dsm_mlx.desktop.looks import Look

GAP = 8
NONE = " "  # of a menu's variable where nothing is chosen; for "" Tk takes the entry's label
_LEVEL_WIDTH, _LEVEL_HEIGHT = 96, 10
_NAME = 52  # signs of a microphone's name


class Flow(tk.Frame):
    """Widgets side by side, in as many rows as its width asks for."""

    def __init__(self, parent: tk.Misc):
        super().__init__(parent, height=1)
        self._items: list[tk.Widget] = []
        self.bind("<Configure>", lambda _: self._arrange())

    def add(self, *widgets: tk.Widget) -> None:
        """Put more of them, whose parent this is, after the others."""
        self._items += widgets
        for widget in widgets:
            widget.bind("<Configure>", lambda _: self.after_idle(self._arrange), add="+")

    def places(self, width: int) -> tuple[list[tuple[int, int]], int]:
        """Where each begins, and how high they all are, in so many pixels of width."""
        tallest = max(widget.winfo_reqheight() for widget in self._items)
        found, x, y = [], 0, 0
        for widget in self._items:
            wide, high = widget.winfo_reqwidth(), widget.winfo_reqheight()
            if x and x + wide > width:
                x, y = 0, y + tallest + GAP
            found.append((x, y + (tallest - high) // 2))
            x += wide + GAP
        return found, y + tallest

    def _arrange(self) -> None:
        found, height = self.places(self.winfo_width())
        for widget, (x, y) in zip(self._items, found, strict=True):
            widget.place(x=x, y=y)
        self.configure(height=height)


class Level(tk.Canvas):
    """How loud the microphone is."""

    def __init__(self, parent: tk.Misc):
        super().__init__(
            parent, width=_LEVEL_WIDTH, height=_LEVEL_HEIGHT, highlightthickness=1, borderwidth=0
        )
        self._bar = self.create_rectangle(0, 0, 0, _LEVEL_HEIGHT + 2, width=0)

    def dress(self, look: Look) -> None:
        """Wear a look."""
        self.configure(background=look.chip, highlightbackground=look.edge)
        self.itemconfigure(self._bar, fill=look.accent)

    def show(self, decibels: float) -> None:
        """decibels: of full scale, -120 to 0."""
        width = round((_LEVEL_WIDTH + 2) * share(decibels))
        self.coords(self._bar, 0, 0, width, _LEVEL_HEIGHT + 2)


def dress_menu(menu: tk.Menu, look: Look) -> None:
    """Give a menu the colours of a look."""
    menu.configure(
        background=look.bar,
        foreground=look.ink,
        activebackground=look.accent,
        activeforeground=look.on_accent,
        disabledforeground=look.soft,
        selectcolor=look.ink,
    )


def fill(
    menu: tk.Menu,
    variable: tk.Variable,
    choices: Iterable[tuple[str, str]],
    chosen: Callable[[], object],
) -> None:
    """A menu of which one entry is chosen. choices: what is shown, and the variable's value."""
    menu.delete(0, "end")
    for label, value in choices:
        menu.add_radiobutton(label=label, variable=variable, value=value, command=chosen)


def device_choices(devices: list[Device], wanted: str) -> list[tuple[str, str]]:
    """What a menu of microphones shows, and what a `Microphone` takes for each: its name, or its
    number where two have one name. wanted: one that is chosen, although it may not be there."""
    names = [device.name for device in devices]
    choices = [("System default", NONE)]
    for device in devices:
        same = names.count(device.name) > 1
        label = f"{_short(device.name)} ({device.index})" if same else _short(device.name)
        choices.append((label, str(device.index) if same else device.name))
    if wanted not in [value for _, value in choices]:
        choices.append((_short(wanted), wanted))
    return choices


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def dress_widgets(style: ttk.Style, look: Look) -> None:
    """The styles `Captions.` and `Main.` of buttons, menus and scroll bars."""
    style.theme_use("clam")
    plain = {
        "background": look.bar,
        "foreground": look.ink,
        "bordercolor": look.edge,
        "lightcolor": look.bar,
        "darkcolor": look.bar,
        "focuscolor": look.accent,
        "arrowcolor": look.ink,
        "padding": (10, 5),
        "relief": "raised",
        "borderwidth": 1,
        "width": 0,
    }
    main = plain | {
        "background": look.accent,
        "foreground": look.on_accent,
        "bordercolor": look.accent,
        "lightcolor": look.accent,
        "darkcolor": look.accent,
        "focuscolor": look.on_accent,
    }
    for name, options in ("Captions", plain), ("Main", main):
        for kind in ("TButton", "TMenubutton"):
            full = f"{name}.{kind}"
            style.configure(full, **options)
            pressed = look.chip if name == "Captions" else look.accent
            style.map(
                full,
                background=[("active", pressed), ("pressed", pressed)],
                foreground=[("disabled", look.soft)],
                bordercolor=[("focus", look.accent), ("active", look.ink)],
                lightcolor=[("active", pressed)],
                darkcolor=[("active", pressed)],
            )
    style.configure(
        "Captions.Vertical.TScrollbar",
        background=look.chip,
        troughcolor=look.paper,
        bordercolor=look.paper,
        lightcolor=look.chip,
        darkcolor=look.chip,
        arrowcolor=look.soft,
        gripcount=0,
    )
    style.map(
        "Captions.Vertical.TScrollbar",
        background=[("active", look.edge), ("disabled", look.paper)],
        lightcolor=[("disabled", look.paper)],
        darkcolor=[("disabled", look.paper)],
        arrowcolor=[("disabled", look.paper)],
    )
