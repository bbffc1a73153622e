"""A screen without hardware, Xvfb with a window manager, and what can be seen on it.

Tests that need it are skipped where it cannot be started, unless DSM_MLX_REQUIRE_SCREEN=1.
"""

import os
import shutil
import subprocess

import pytest
from commands import wait_for

PROGRAMS = {
    "Xvfb": "xvfb", "openbox": "openbox", "xdotool": "xdotool", "xprop": "x11-utils",
    "import": "imagemagick",
}  # fmt: skip


def running():
    """Starts one of this process's own."""
    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if absent:
        missing(f"not installed: {', '.join(absent)}")
    try:
        import tkinter  # noqa: F401
    except ImportError:
        missing("this Python has no Tk: apt install python3-tk")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    quiet = {"stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **quiet) as server:
        display = f":{server.stdout.readline().strip()}"
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DISPLAY", display)
            with subprocess.Popen(["openbox"], stdout=subprocess.DEVNULL, **quiet) as manager:
                wait_for(lambda: "window id" in asked("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"))
                yield display
                manager.terminate()
        server.terminate()


def missing(reason):
    if os.environ.get("DSM_MLX_REQUIRE_SCREEN") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def asked(*command):
    """What a program says."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def window_called(name):
    """The number of the window with this title, once it is there."""
    found = []

    def look():
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
