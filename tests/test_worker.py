"""Arrays live on one thread; who cannot reach it is told so."""

import subprocess
import sys

FORKED = """
import os, sys
from dsm_mlx.runtime import worker

assert worker.run(lambda: 41) == 41
if os.fork() == 0:
    try:
        worker.run(lambda: 42)
    except RuntimeError as error:
        print(error, flush=True)
        os._exit(0)
    os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_forked_process_is_told_to_load_anew():
    """It would wait for ever: threads do not come along."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "spawn" in done.stdout
