"""Dictation with one key: what was said is typed into the window that has the keyboard."""

import os
import subprocess
import sys
from pathlib import Path

import desktop
import pytest
from commands import wait_for

WORDS = {"bus", "late", "because", "road", "full", "snow"}
SCRIPT = Path(__file__).parents[1] / "demos/dictate.sh"


@pytest.fixture
def key(tmp_path, screen):
    """What the key runs; what `dsm-stt` is, by its shell code."""

    def press(command):
        stt = tmp_path / f"stt-{abs(hash(command))}"
        if not stt.exists():  # else it may be running
            stt.write_text(f"#!/bin/sh\n{command}\n")
            stt.chmod(0o755)
        environment = os.environ | {"DSM_STT": str(stt), "XDG_RUNTIME_DIR": str(tmp_path)}
        environment.pop("WAYLAND_DISPLAY", None)
        done = subprocess.run([SCRIPT, "--model", "tiny"], env=environment, timeout=60)
        assert done.returncode == 0

    return press


@pytest.fixture
def entry(screen):
    """A line of text that somebody writes in."""
    import tkinter

    root = tkinter.Tk()
    root.title("Editor")
    entry = tkinter.Entry(root)
    entry.pack()
    root.update()
    window = desktop.window_called("Editor", root)
    desktop.asked("xdotool", "windowactivate", "--sync", str(window))
    entry.focus_force()
    root.update()
    yield lambda: root.update() or entry.get()
    root.destroy()


@pytest.mark.thorough
def test_the_second_press_types_what_was_said(virtual_microphone, key, entry, tmp_path):
    real = f'exec {sys.executable} -m dsm_mlx.stt "$@"'
    key(real)
    log = tmp_path / f"dsm-dictate-{os.getuid()}" / "log"
    wait_for(lambda: log.exists() and "listening" in log.read_text())
    subprocess.run(["paplay", "demos/audio/bus.wav"], check=True, timeout=60)
    key(real)
    wait_for(lambda: len(WORDS & set(entry().split())) >= 4, 20)


def test_nothing_is_typed_where_nothing_was_heard(key, entry):
    silent = "trap 'exit 0' TERM; while :; do sleep 0.02; done"
    key(silent)
    key(silent)
    assert entry() == ""


def test_after_a_failure_the_next_press_listens_again(key, entry, tmp_path):
    folder = tmp_path / f"dsm-dictate-{os.getuid()}"
    key("echo no microphone >&2; exit 1")
    wait_for((folder / "done").exists)
    spoken = "trap 'echo again; exit 0' TERM; echo up >&2; while :; do sleep 0.02; done"
    key(spoken)
    log = folder / "log"
    wait_for(lambda: log.exists() and log.read_text() == "up\n")
    key(spoken)
    wait_for(lambda: entry() == "again", 20)
