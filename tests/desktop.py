"""A screen without hardware, Xvfb with a window manager, and what can be seen on it.

Tests that need it are skipped where it cannot be started, unless DSM_MLX_REQUIRE_SCREEN=1.
"""

import gc
import queue
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from commands import wait_for
from required import missing

PROGRAMS = {
    "Xvfb": "xvfb", "openbox": "openbox", "xdotool": "xdotool", "xprop": "x11-utils",
    "import": "imagemagick",
}  # fmt: skip


kept = []  # Tcl's interpreters, whose end on any thread but their own is that of the process


def running():
    """Starts one of this process's own."""
    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if absent:
        missing("SCREEN", f"not installed: {', '.join(absent)}")
    try:
        import tkinter
    except ImportError:
        missing("SCREEN", "this Python has no Tk: apt install python3-tk")
    # It ends by itself with its last client. That is Tk, which keeps its connection as long as this
    # process lives, and would end it where the connection breaks.
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x800x24", "-terminate"]
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    server = subprocess.Popen(command, text=True, **quiet)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
        begin = tkinter.Tk.__init__

        def begun(root, *args, **options):
            begin(root, *args, **options)
            kept.append(root.tk)

        environment.setattr(tkinter.Tk, "__init__", begun)
        tkinter.Tk().destroy()
        with subprocess.Popen(["openbox"], **quiet) as manager:
            wait_for(lambda: "window id" in asked("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"), 20)
            yield
            manager.terminate()


def asked(*command):
    """What a program says."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def window_called(name, root=None):
    """The number of the window with this title, once it is there. root: it, if it is Tk's of this
    process."""
    found = []

    def look():
        if root:
            root.update()
        found[:] = asked("xdotool", "search", "--onlyvisible", "--name", f"^{name}$").split()
        return found

    wait_for(look)
    return int(found[-1])


def topmost():
    """The number of the window above all others."""
    stack = asked("xprop", "-root", "_NET_CLIENT_LIST_STACKING")
    return int(stack.rpartition(" ")[2], 16)


def press(window, key):
    """As on a keyboard."""
    asked("xdotool", "windowactivate", "--sync", str(window), "key", "--clearmodifiers", key)


def colours(window, path, root):
    """How many pixels of a window there are of each colour, as #rrggbb. root: a Tk window, which
    reads the picture that is left at `path`."""
    import tkinter

    asked("import", "-silent", "-window", str(window), f"png24:{path}")
    picture = tkinter.PhotoImage(master=root, file=path)
    found = {}
    for row in root.tk.call(picture, "data"):
        for colour in root.tk.splitlist(row):
            found[colour] = found.get(colour, 0) + 1
    return found


class Listener:
    """Does what the test says."""

    def __init__(self):
        self.messages, self.level, self.busy = queue.SimpleQueue(), -120.0, False
        self.done = []

    def start(self, choice):
        self.busy = True
        self.done.append(choice)

    def stop(self):
        self.done.append("stop")

    def close(self):
        self.done.append("close")

    def look(self):
        self.done.append("look")


def windows():
    """Yields `shown(**settings)`: a window that listens to nothing, what it is told by, and how it
    takes it: `.window`, `.listener`, `.tell(*messages)`."""
    from dsm_mlx.desktop.window import Settings, Window

    opened = []

    def show(**settings):
        listener = Listener()
        window = Window(listener, Settings(**{"listen": False, **settings}))
        opened.append(window)

        def tell(*messages):
            for message in messages:
                listener.messages.put(message)
            window._poll()
            window.root.update()

        tell()
        return SimpleNamespace(window=window, listener=listener, tell=tell)

    yield show
    while opened:
        opened.pop().close()
    gc.collect()  # here: what is Tk's must not end on a thread that is not


def pick(window, name, entry):
    """Choose an entry of the menu behind a button of the bar."""
    menu = next(m for m in window.bar._menus if m.master.cget("text") == name)
    menu.invoke(menu.index(entry))
