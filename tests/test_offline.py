"""Without a network, or with one that does not answer: one line, soon, and nothing else is said.

Each in a process of its own with the hub's real client, which reads its settings when imported.
"""

import http.server
import os
import socket
import subprocess
import sys
import threading

import pytest

FIND = """
    print(locate("stt-1b", "stt").get("config.json").read_text())
"""
PROGRAM = """
import time
from dsm_mlx import CheckpointError, load_stt
from dsm_mlx.files.hub import HubFiles, locate
from dsm_mlx.loading.voices import Voices
start = time.monotonic()
try:{}
except CheckpointError as error:
    print(error)
print(time.monotonic() - start)
"""


def ask(cache, doing=FIND, **settings) -> tuple[str, float]:
    """What is printed by who asks a hub for something, and the seconds that it takes."""
    hub = {"HF_HOME": str(cache), "NO_PROXY": "*", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(doing)],
        env=os.environ | hub | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said, seconds = done.stdout.splitlines()
    return said, float(seconds)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "Connection refused"),
        ({"HF_ENDPOINT": "http://no-such-host.invalid"}, ""),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
    ids=["refused", "no name", "told so"],
)
def test_who_is_offline_is_told_at_once(tmp_path, settings, reason):
    said, seconds = ask(tmp_path, **settings)
    assert "kyutai/stt-1b-en_fr-candle: 'config.json' is not on this machine" in said
    assert reason in said and "`tiny`" in said and "folder" in said and len(said) < 300
    assert seconds < 6  # most of them to import


@pytest.mark.thorough
def test_a_hub_that_never_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=20) as silent:
        said, seconds = ask(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "cannot be reached" in said
    assert seconds < 10


def test_a_model_loads_in_one_line_too(tmp_path):
    doing = """
    load_stt("a/b")
"""
    said, _ = ask(tmp_path, doing, HF_ENDPOINT="http://127.0.0.1:9")
    assert said.startswith("a/b: ")


def test_voices_are_listed_as_far_as_they_are_here(tmp_path):
    snapshot = tmp_path / "hub/models--kyutai--tts-voices/snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot / "anna.wav.s@1.safetensors").write_bytes(b"")
    doing = """
    print(Voices(HubFiles("kyutai/tts-1.6b-en_fr"), ".s@1.safetensors").names())
"""
    said, seconds = ask(tmp_path, doing, HF_ENDPOINT="http://127.0.0.1:9")
    assert said == "['anna.wav']"
    assert seconds < 6


def test_a_misspelt_voice_without_a_network(tmp_path):
    snapshot = tmp_path / "hub/models--kyutai--tts-voices/snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot / "anna.wav.s@1.safetensors").write_bytes(b"")
    doing = """
    Voices(HubFiles("kyutai/tts-1.6b-en_fr"), ".s@1.safetensors").find("ana.wav")
"""
    said, seconds = ask(tmp_path, doing, HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot be reached" in said and "did you mean 'anna.wav'?" in said
    assert seconds < 6


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub with one file in each repository; that of moved/away has another name now."""

    content = b'{"here": "it is"}'

    def do_HEAD(self):
        if self.path.startswith("/moved/away/"):
            self.send_response(307)
            self.send_header("Location", self.path.replace("/moved/away/", "/new/name/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        found = self.path.endswith("/resolve/main/config.json")
        self.send_response(200 if found else 404)
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.send_header("ETag", '"an-etag"')
        self.send_header("Content-Length", str(len(self.content)) if found else "0")
        if not found:
            revision = "/resolve/main/" not in self.path
            self.send_header("X-Error-Code", "RevisionNotFound" if revision else "EntryNotFound")
        self.end_headers()
        return found

    def do_GET(self):
        if self.do_HEAD():
            self.wfile.write(self.content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_hub_that_answers_is_downloaded_from(tmp_path, hub):
    assert ask(tmp_path, HF_ENDPOINT=hub)[0] == '{"here": "it is"}'


def test_a_repository_that_has_moved(tmp_path, hub):
    said, _ = ask(tmp_path, FIND.replace("stt-1b", "moved/away"), HF_ENDPOINT=hub)
    assert said == '{"here": "it is"}'


def test_what_is_in_the_cache_is_read_without_a_word_to_the_hub(tmp_path, hub):
    ask(tmp_path, HF_ENDPOINT=hub)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert ask(tmp_path, HF_ENDPOINT=endpoint)[0] == '{"here": "it is"}'
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("config.json", "weights.bin"), "has no file 'weights.bin'"),
        (('"stt")', '"stt", "v3")'), "has no revision 'v3'"),
    ],
)
def test_a_hub_that_has_it_not(tmp_path, hub, change, message):
    assert message in ask(tmp_path, FIND.replace(*change), HF_ENDPOINT=hub)[0]
