"""The commands in processes of their own, as shells and services start them."""

import os
import subprocess
import sys
import time

# With buffers, as users have them: what they hold is written last.
BUFFERED = {"PYTHONUNBUFFERED": ""}
STT, TTS, CONVERT, SERVE, CHAT, CAPTIONS = (
    [sys.executable, "-m", f"dsm_mlx.{name}"]
    for name in ("stt", "tts", "convert", "serve", "chat", "desktop")
)


def run(command, *args, shell="", **options):
    """Run it to its end: exit status, stdout and stderr as text.

    shell: what a shell shall do with the standard streams, such as "<&-".
    """
    options["env"] = options.get("env", os.environ) | BUFFERED
    command = [*command, *map(str, args)]
    if shell:
        command = ["bash", "-c", f'exec "$@" {shell}', "bash", *command]
    done = subprocess.run(command, capture_output=True, timeout=120, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def start(command, *args, **options):
    """Start it, with pipes for all three streams."""
    options["env"] = options.get("env", os.environ) | BUFFERED
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *map(str, args)], **pipes | options)


def ended(process, seconds=60):
    """Wait for its end: exit status, stdout and stderr as text."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out.decode(), err.decode()


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
