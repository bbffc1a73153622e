"""The entry in the menu bar of macOS, with a stand-in for the package that draws it.

The stand-in has of rumps 0.4 what is used here, as its documentation has it. On a Mac nothing of
this was tried.
"""

import subprocess
import sys
import types

import pytest
from desktop import Listener

from dsm_mlx import Partial, Word
from dsm_mlx.audio.events import DeviceEvent
from dsm_mlx.desktop.listening import Choice, Listening, Loaded, Loading, Stopped, Waiting
from dsm_mlx.desktop.menubar import MenuBar


class MenuItem:
    def __init__(self, title, callback=None, key=None):
        assert isinstance(title, str)
        self.title, self.callback, self.state = title, callback, 0


class App:
    def __init__(self, name, title=None, icon=None, template=None, menu=None, quit_button="Quit"):
        self.name, self.title, self.quit_button = name, title, quit_button
        self.ran = False

    def run(self, **options):
        self.ran = True


class Timer:
    def __init__(self, callback, interval):
        self.callback, self.interval, self.started = callback, interval, False

    def start(self):
        self.started = True


@pytest.fixture
def bar(monkeypatch):
    """`bar(**options)`: the entry; `.told(*messages)`: it has been told, and looks."""
    rumps = types.ModuleType("rumps")
    rumps.App, rumps.MenuItem, rumps.Timer, rumps.quits = App, MenuItem, Timer, 0

    def quit_application(sender=None):
        rumps.quits += 1

    rumps.quit_application = quit_application
    monkeypatch.setitem(sys.modules, "rumps", rumps)

    def made(**options):
        bar = MenuBar(Listener(), Choice(), open_window=lambda: bar.windows.append(1), **options)
        bar.windows = []

        def told(*messages):
            for message in messages:
                bar._listener.messages.put(message)
            bar._timer.callback(bar._timer)

        bar.told = told
        return bar

    return made


def entries(bar):
    """Titles, with a list of titles for a menu within it."""
    found = []
    for entry in bar._app.menu:
        pair = isinstance(entry, tuple)
        found.append([item.title for item in entry[1]] if pair else entry and entry.title)
    return found


def click(bar, title):
    for entry in bar._app.menu:
        for item in entry[1] if isinstance(entry, tuple) else [entry]:
            if item and item.title == title:
                item.callback(item)


def test_the_menu(bar):
    first = ["Ready", "Nothing was said yet", None, "Listen", "Copy", "Open Captions Window"]
    assert entries(bar()) == [*first, None, "Quit"]
    models = ["Best on this machine", "tiny", "stt-1b"]
    assert entries(bar(models=["tiny", "stt-1b"])) == [*first, models, None, "Quit"]


def test_it_listens_from_the_start_unless_told_not_to(bar):
    listening, waiting = bar(), bar(listen=False)
    listening.run()
    waiting.run()
    assert listening._listener.done == [Choice(), "close"] and waiting._listener.done == ["close"]
    assert listening._app.ran and listening._timer.started and listening._timer.interval <= 0.5


def test_starting_stopping_and_what_goes_on(bar):
    bar = bar()
    click(bar, "Listen")
    assert bar._listener.done == [Choice()] and entries(bar)[3] == "Stop"
    bar.told(Loading())
    assert entries(bar)[0] == "Loading the model …"
    bar.told(Loaded("tiny", ()), Listening("Desk", 0.0))
    assert (entries(bar)[0], bar._app.title) == ("Listening to Desk", "●")
    bar.told(DeviceEvent("overflow", "Desk", "sound was lost"))
    assert entries(bar)[0] == "sound was lost"
    bar.told(DeviceEvent("lost", "Desk", "of no matter"), Waiting("'Desk' is lost"))
    assert (entries(bar)[0], bar._app.title) == ("'Desk' is lost", "○")
    click(bar, "Stop")
    assert bar._listener.done[-1] == "stop"
    bar._listener.busy = False
    bar.told(Stopped())
    assert (entries(bar)[0], entries(bar)[3]) == ("Ready", "Listen")
    bar.told(Stopped(ValueError("no such model")))
    assert entries(bar)[0] == "no such model"


def test_the_last_words(bar):
    bar = bar()
    bar.told(Listening("Desk", 0.0), Word("the", 0.0, 0.4), Partial("bu", 0.5))
    assert entries(bar)[1] == "the"
    bar.told(*(Word(f"word{i:02}", i, i + 0.5) for i in range(20)))
    last = entries(bar)[1]
    assert last.startswith("… ") and last.endswith("word18 word19") and len(last) == 62


def test_copying(bar, monkeypatch):
    copied = []
    monkeypatch.setattr(subprocess, "run", lambda command, **how: copied.append((command, how)))
    bar = bar()
    bar.told(Listening("Desk", 0.0), Word("déjà", 0.0, 0.4))
    click(bar, "Copy")
    (command, how), = copied  # fmt: skip
    assert command == ["pbcopy"] and how["input"] == "déjà\n".encode()
    assert how["env"]["LC_CTYPE"] == "UTF-8"


def test_the_window_listens_in_its_place(bar):
    bar = bar()
    click(bar, "Listen")
    click(bar, "Open Captions Window")
    assert bar._listener.done[-1] == "stop" and bar.windows == [1]


def test_another_model(bar):
    bar = bar(models=["tiny", "stt-1b"])
    marks = {item.title: item.state for item in bar._models.values()}
    assert marks == {"Best on this machine": 1, "tiny": 0, "stt-1b": 0}
    click(bar, "stt-1b")
    assert bar._listener.done == [] and bar._models["stt-1b"].state == 1
    click(bar, "Listen")
    click(bar, "tiny")
    assert bar._listener.done == [Choice("stt-1b"), "stop"]
    bar._listener.busy = False
    bar.told(Stopped())
    assert bar._listener.done[-1] == Choice("tiny") and entries(bar)[3] == "Stop"
    click(bar, "Best on this machine")
    bar._listener.busy = False
    bar.told(Stopped())
    assert bar._listener.done[-1] == Choice()


def test_quitting_stops_listening_first(bar):
    bar = bar()
    click(bar, "Quit")
    assert bar._listener.done == ["close"] and sys.modules["rumps"].quits == 1
