"""The chat command: its arguments, what it shows and keeps, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from commands import BUFFERED, CHAT, run
from completions import END, HEAD, answer, event, scripted, serving

import dsm_mlx
from dsm_mlx.audio import read
from dsm_mlx.chat.events import (
    DeviceLost,
    Failed,
    Heard,
    Latency,
    Partial,
    Said,
    Saying,
    TurnEnded,
)
from dsm_mlx.cli import chat_args, chatting, reply_args
from dsm_mlx.cli.chat import main
from dsm_mlx.errors import AudioError

ROOT = Path(__file__).parents[1]
BUS = "the bus was late because the road was full of snow"
FULL = Path("/dev/full")
INSTALLED = find_spec("mlx_lm") is not None
LATENCY = Latency(0.2, 0.1, 0.3)


class Microphone:
    """One that hears a sentence, and then nobody."""

    error = None

    def __init__(self, device, rate):
        self._rate = rate

    def __enter__(self):
        return self

    def __iter__(self):
        pcm = read(ROOT / "demos/audio/bus.wav", target=self._rate)
        silence = np.zeros(3 * self._rate, np.float32)
        yield from np.array_split(np.concatenate([pcm, silence]), 100)
        if self.error:
            raise self.error

    def __exit__(self, *_):
        pass


class Speaker:
    """One that plays at once."""

    def __init__(self, device, rate):
        self._rate, self.position = rate, 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, pcm):
        self.position += pcm.size / self._rate

    def drain(self, timeout=None):
        return True

    def stop(self):
        self.position = 0.0


@pytest.fixture
def devices(monkeypatch):
    """Fakes in the place of sound devices."""
    monkeypatch.setattr(chatting, "Microphone", Microphone)
    monkeypatch.setattr(chatting, "Speaker", Speaker)
    monkeypatch.setattr(chatting, "find_device", lambda device, kind: None)


class Scripted:
    """In the place of a conversation: one turn of a person's, and whatever the reply says."""

    made: ClassVar[dict] = {}

    def __init__(self, stt, tts, reply, **options):
        self.reply, self.source = reply, options["source"]
        Scripted.made = options

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        yield from (Partial("the b", 0.1), Heard("the bus", 0.2), TurnEnded("the bus", 1.0))
        system = self.made["system"]
        messages = [{"role": "system", "content": system}] if system else []
        try:
            found = self.reply([*messages, {"role": "user", "content": "the bus"}])
            text = found if isinstance(found, str) else "".join(found)
        except dsm_mlx.ReplyError as error:
            yield Failed(f"the reply failed: {error}", 1.5)
        else:
            yield from (Saying(text, 2.0), Said(text, LATENCY, 3.0))
        if error := self.source.error:
            yield DeviceLost(str(error), 4.0)
            raise error


@pytest.fixture
def scripted_talk(devices, monkeypatch):
    monkeypatch.setattr(chatting, "Conversation", Scripted)


TINY = ["--stt", "tiny", "--tts", "tiny", "--voice", "slt"]


@pytest.mark.thorough
def test_a_talk_with_an_echo(devices, capsys, tmp_path):
    kept = tmp_path / "talk.jsonl"
    assert main([*TINY, "--echo", "--transcript", str(kept)]) == 0
    out, err = capsys.readouterr()
    assert out == f"you: {BUS}\nassistant: {BUS}\n"
    assert "--headphones" in err and re.search(r"^  \d\.\d\d s to the first sound: ", err, re.M)
    user, assistant = map(json.loads, kept.read_text().splitlines())
    assert (user["role"], user["text"]) == ("user", BUS) and user["time"] > 2
    assert (assistant["role"], assistant["text"]) == ("assistant", BUS)
    assert set(assistant["latency"]) == {"last_word", "first_token", "first_sound"}


ECHOED = "you: the bus\nassistant: the bus\n"


def test_a_quiet_talk_that_is_added_to_a_transcript(scripted_talk, capsys, tmp_path):
    kept = tmp_path / "talk.txt"
    kept.write_text("you: before\n")
    assert main([*TINY, "--echo", "--quiet", "--headphones", "--transcript", str(kept)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (ECHOED, "") and kept.read_text() == f"you: before\n{ECHOED}"
    made = Scripted.made
    assert made["full_duplex"] and made["system"] is None and made["voice"] == "slt"
    assert made["hearing"] == {"gain": "auto"} and made["speech"] == {"normalize": "auto"}


def test_a_talk_with_a_server(scripted_talk, capsys):
    asked = []

    def chat(client):
        asked.append(client.body)
        client.send(HEAD, event("It is "), event("cold. "), END)

    with serving(scripted(chat)) as url:
        options = ["--llm-url", url, "--temperature", "0.5", "--language", "fr"]
        assert main([*TINY, *options]) == 0
    out, err = capsys.readouterr()
    assert out == "you: the bus\nassistant: It is cold.\n"
    assert "--language fr: what listens knows en\n" in err
    assert Scripted.made["speech"] == {"normalize": "fr"} and not Scripted.made["full_duplex"]
    system = {"role": "system", "content": f"{reply_args.SYSTEM} Answer in French."}
    said = [system, {"role": "user", "content": "the bus"}]
    wanted = {"model": "talker", "messages": said, "stream": True, "temperature": 0.5}
    assert asked == [wanted]


def test_a_server_that_fails_is_told_and_the_talk_goes_on(scripted_talk, capsys, tmp_path):
    words = tmp_path / "system.txt"
    words.write_text("be kind\n")
    asked = []

    def chat(client):
        asked.append(client.body["messages"][0]["content"])
        client.send(answer({"error": "no memory"}, "500 No"))

    with serving(scripted(chat)) as url:
        assert main([*TINY, "--llm-url", url, "--system-file", str(words)]) == 0
    out, err = capsys.readouterr()
    assert out == "you: the bus\n" and asked == ["be kind"]
    assert f"error: the reply failed: {url}: it answered with status 500: no memory\n" in err


def test_a_talk_with_a_model_on_this_machine(scripted_talk, capsys, caplog, llm):
    options = ["--llm", str(llm()), "--temperature", "0", "--max-tokens", "12"]
    assert main([*TINY, *options]) == 0
    user, assistant = capsys.readouterr().out.splitlines()
    assert user == "you: the bus" and len(assistant) > len("assistant: ")
    assert "of weights and up to" in caplog.text


def test_a_lost_microphone(scripted_talk, capsys, monkeypatch):
    monkeypatch.setattr(Microphone, "error", AudioError("the microphone is lost"))
    assert main([*TINY, "--echo"]) == 1
    out, err = capsys.readouterr()
    assert out == ECHOED and err.count("error: the microphone is lost\n") == 1


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_full_disk_ends_no_talk(scripted_talk, capsys):
    assert main([*TINY, "--echo", "--transcript", str(FULL)]) == 1
    out, err = capsys.readouterr()
    assert out == ECHOED
    assert err.count(f"error: {FULL}: No space left on device\n") == 1


# ---- what goes wrong before


def test_what_is_missing_is_told_before_anything_is_loaded(devices, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(dsm_mlx, "load_stt", lambda *_, **__: pytest.fail("too late"))
    missing = tmp_path / "no" / "talk.txt"
    for args, told in (
        (["--echo", "--stt", str(tmp_path / "none")], "no such folder"),
        (["--echo", "--voice", "nobody"], "nobody"),
        (["--echo", "--transcript", str(missing)], "there is no folder"),
        (["--echo", "--transcript", str(tmp_path)], "s a"),
        (["--llm", str(tmp_path / "none")], "no such folder" if INSTALLED else "dsm-mlx[chat]"),
        (["--llm-url", "http://127.0.0.1:9"], "nothing listens there"),
        (["--llm-url", "ftp://host"], "expected http://HOST:PORT"),
        (["--llm-url", "host", "--system-file", str(missing)], "No such file"),
    ):
        assert main(args) == 1
        err = capsys.readouterr().err.splitlines()
        assert err[-1].startswith("error: ") and told in err[-1], err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_missing_device(devices, capsys, monkeypatch, kind):
    def find(device, wanted):
        if wanted == kind:
            raise AudioError(f"no {wanted} {device}")

    monkeypatch.setattr(chatting, "find_device", find)
    assert main(["--echo", "--mic-device", "a", "--speaker-device", "b"]) == 1
    name = {"input": "a", "output": "b"}[kind]
    assert capsys.readouterr().err == f"error: no {kind} {name}\n"


def test_a_server_is_shown_the_key_that_a_variable_holds(devices, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    monkeypatch.setenv("DSM_MLX_LLM_KEY", "sk-two")
    seen = []

    def script(client):
        seen.append(client.headers.get("authorization"))
        client.send(answer({"error": "no sk-one, no sk-two"}, "401 No"))

    with serving(script) as url:
        for option in ([], ["--llm-key"], ["--llm-key", "OPENAI_API_KEY"]):
            assert main(["--llm-url", url, *option]) == 1
    assert seen == [None, "Bearer sk-two", "Bearer sk-one"]
    told = capsys.readouterr().err.splitlines()
    assert "sk-two" not in told[-2] and "sk-one" not in told[-1]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "give one of"),
        (["--echo", "--llm", "x"], "give one of"),
        (["--echo", "--llm-model", "x"], "--llm-model concerns a server"),
        (["--llm", "x", "--timeout", "3"], "--timeout concerns a server"),
        (["--llm-url", "x", "--seed", "3"], "--seed concerns a model on this machine"),
        (["--echo", "--system", "x"], "--system concerns a language model"),
        (["--llm", "x", "--system", "a", "--system-file", "b"], "say the same"),
        (["--llm-url", "x", "--timeout", "0"], "leaves no time"),
        (["--llm-url", "x", "--llm-key", "sk-mine"], "not the name of an environment variable"),
        (["--echo", "--language", "de"], "invalid choice"),
        (["--echo", "word"], "unrecognized"),
    ],
)
def test_usage(args, told, capsys):
    with pytest.raises(SystemExit) as ended:
        chat_args.parse(args)
    err = capsys.readouterr().err
    assert ended.value.code == 2 and told in err and "sk-mine" not in err.splitlines()[-1]


def test_help_fits_on_two_screens():
    status, out, err = run(CHAT, "--help", env=os.environ | {"COLUMNS": "80"})
    assert (status, err) == (0, "") and len(out.splitlines()) <= 56
    assert "--timeout" not in out and "--timeout" in run(CHAT, "--help-all")[1]
    assert run(CHAT, "--version")[1].endswith(f" {dsm_mlx.__version__}\n")


# ---- how it ends

# A microphone that nobody speaks into, without an end.
SILENT = """
import sys, time
import numpy as np
sys.path.insert(0, {tests!r})
from dsm_mlx.cli import chatting
import test_cli_chat as fakes
class Silent(fakes.Microphone):
    def __iter__(self):
        while True:
            time.sleep(0.08)
            yield np.zeros(self._rate // 12, np.float32)
chatting.Microphone, chatting.Speaker = Silent, fakes.Speaker
chatting.find_device = lambda device, kind: None
from dsm_mlx.cli.chat import main
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_the_end_of_a_talk(small, number):
    program = SILENT.format(tests=str(Path(__file__).parent))
    models = ["--stt", small("stt-tiny"), "--tts", small("tts-tiny")]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, models), "--echo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | BUFFERED,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    for line in process.stderr:
        if line.startswith(b"talk"):
            break
    process.send_signal(number)
    out, err = process.communicate()
    watchdog.cancel()
    assert (process.returncode, out, err) == (0, b"", b"")
