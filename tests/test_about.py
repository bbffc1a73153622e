"""`python -m dsm_mlx`: what it tells of a machine, and that nothing it lacks stops it."""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
from email.message import Message

import pytest
from commands import run

import dsm_mlx
from dsm_mlx.audio import permission
from dsm_mlx.audio.devices import Device
from dsm_mlx.cli import extras, findings, telling
from dsm_mlx.cli.about import main
from dsm_mlx.runtime import machine

ABOUT = [sys.executable, "-m", "dsm_mlx"]
MICROPHONE = Device(0, "Inner ear", 1, 0, 48_000.0, True, False)
LOUDSPEAKER = Device(1, "Mouth", 0, 2, 48_000.0, False, True)
MACHINE = f"dsm_mlx {dsm_mlx.__version__} on this machine"
HEADINGS = [MACHINE, "sound", "models here", "more models", "extras", "what to type next"]


def told(capsys):
    assert main([]) == 0
    return capsys.readouterr().out


def test_it_tells_of_every_subject():
    status, out, err = run(ABOUT)
    assert (status, err) == (0, "")
    blocks = dict(block.split("\n", 1) for block in out.split("\n\n"))
    assert list(blocks) == HEADINGS
    assert machine.chip() in blocks[MACHINE] and "MLX " in blocks[MACHINE]
    assert [line.split()[:2] for line in blocks["models here"].splitlines()[:2]] == [
        ["tiny", "stt"],
        ["tiny", "tts"],
    ]


def test_json_has_the_same_as_values():
    status, out, err = run(ABOUT, "--json", env=os.environ | {"HF_HUB_OFFLINE": "1"})
    found = json.loads(out)
    assert (status, err) == (0, "") and found["hub"]["offline"] is True
    assert found["machine"]["memory"] > 1e8
    assert [model["kind"] for model in found["models"]["here"][:2]] == ["stt", "tts"]
    assert not any("stt-1b" in command for command in found["next"])


def test_help_version_and_usage():
    assert run(ABOUT, "--version") == (0, f"python -m dsm_mlx {dsm_mlx.__version__}\n", "")
    status, out, err = run(ABOUT, "--help")
    assert (status, err) == (0, "") and out.startswith("usage: python -m dsm_mlx ")
    status, out, err = run(ABOUT, "nonsense")
    assert (status, out) == (2, "") and "nonsense" in err


def test_nothing_is_asked_of_the_network(monkeypatch, capsys):
    def refuse(*args, **options):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert "cannot be told" not in told(capsys)


def test_devices_and_permission_are_named(monkeypatch, capsys):
    monkeypatch.setattr("dsm_mlx.audio.list_devices", lambda: [MICROPHONE, LOUDSPEAKER])
    monkeypatch.setattr(permission, "microphone_permission", lambda: "granted")
    out = told(capsys)
    assert "microphone: Inner ear\n" in out and "loudspeaker: Mouth\n" in out
    assert "permission to hear: granted\n" in out and " --mic " in out
    monkeypatch.setattr("dsm_mlx.audio.list_devices", lambda: [LOUDSPEAKER])
    out = told(capsys)
    assert "microphone: there is none\n" in out and " --mic " not in out


def test_without_portaudio_the_rest_is_told(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    out = told(capsys)
    assert "no sound devices: PortAudio cannot be loaded" in out
    assert "decoded by" in out and "tiny" in out


def test_whatever_is_broken_is_a_line_of_its_room(monkeypatch, capsys):
    def broken(*args):
        raise RuntimeError("it is\nbroken")

    for where, name in (
        (machine, "chip"),
        (machine, "mlx_version"),
        (permission, "microphone_permission"),
        (findings, "missing_of_extras"),
    ):
        monkeypatch.setattr(where, name, broken)
    monkeypatch.setattr("dsm_mlx.loading.local.local_models", broken)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    out = told(capsys)
    assert out.count("it is\\nbroken\n") == 5
    assert "MLX cannot be loaded: it is" in out and "what to type next" in out
    assert main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == {"error": "it is\\nbroken"}


def test_extras_by_the_metadata_of_the_package(monkeypatch):
    package = Message()
    for line in (
        "numpy>=1.26",
        "pytest>=8; extra == 'test'",
        'numpy>=1; extra == "text"',
        'no-such-package>=1; python_version >= "3.11" and extra == "chat"',
        "no-such-package; sys_platform == 'elsewhere' and extra == 'menubar'",
        f"numpy; sys_platform == '{sys.platform}' and extra == 'here'",
    ):
        package["Requires-Dist"] = line
    monkeypatch.setattr(extras, "metadata", lambda name: package)
    assert extras.missing_of_extras() == {
        "text": [],
        "chat": ["no-such-package"],
        "here": [],
    }
    lines = telling._extras({"missing": extras.missing_of_extras()})
    assert lines[0] == "text     numbers as words: here"
    assert lines[1].endswith("pip install 'dsm-mlx[chat]' (lacks no-such-package)")


def test_a_package_that_is_not_installed_has_no_extras_to_tell_of(monkeypatch, capsys):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "metadata", unknown)
    assert "run from a folder" in told(capsys)


def test_permission_as_files_tell_it(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(permission, "_DEVICES", tmp_path)
    assert permission.microphone_permission() is None
    (tmp_path / "pcmC0D0c").touch()
    assert permission.microphone_permission() == "granted"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert permission.microphone_permission().startswith("denied")


@pytest.mark.parametrize(
    "status, word", [(0, "not asked"), (1, "forbidden"), (2, "denied"), (3, "granted")]
)
def test_permission_as_macos_tells_it(monkeypatch, status, word):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(permission, "_authorization_status", lambda: status)
    assert permission.microphone_permission().startswith(word)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has the framework")
def test_a_system_without_the_framework_tells_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert permission.microphone_permission() is None


def test_help_imports_nothing_that_takes_a_while():
    code = (
        "import sys; from dsm_mlx.cli.about_args import parse; parse([]);"
        "print({'mlx', 'numpy', 'huggingface_hub', 'sounddevice'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
