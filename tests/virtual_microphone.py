"""A microphone and a loudspeaker without hardware: PulseAudio with a sink that nobody hears.

Tests that need it are skipped where it cannot be started, unless DSM_MLX_REQUIRE_MICROPHONE=1.
"""

import re
import subprocess
from pathlib import Path

import pytest
from required import missing

from dsm_mlx.audio import list_devices
from dsm_mlx.audio.devices import refresh_devices
from dsm_mlx.errors import AudioError

SCRIPT = Path(__file__).parents[1] / "tools" / "virtual_microphone.sh"


def running():
    """Starts one of this process's own: tests that run side by side must not hear each other."""
    run = subprocess.run([SCRIPT, "start"], capture_output=True, text=True)
    if run.returncode:
        missing("MICROPHONE", run.stderr.strip())
    with pytest.MonkeyPatch.context() as environment:
        for name, value in re.findall(r"export (\w+)='(.*)'", run.stdout):
            environment.setenv(name, value)
        try:
            refresh_devices()  # PortAudio may have looked before the variables were set
            found = list_devices()
        except AudioError as error:
            missing("MICROPHONE", str(error))
        else:
            if not found:
                missing("MICROPHONE", "PortAudio sees no device: is libasound2-plugins installed?")
            yield
        finally:
            subprocess.run([SCRIPT, "stop"], check=True)
