"""Who answers in the conversations of `dsm-serve`: what is asked for, and what comes of it."""

import json
import urllib.request

import pytest
from completions import END, HEAD, event, scripted, serving
from realtime import Live
from serving import SECONDS, Served

from dsm_mlx.cli import reply_args, serve_args
from dsm_mlx.serve.answers import Answerer, Chosen

KEY = "sk-of-nobody-at-all"


def command(small, *arguments):
    models = ["--stt", str(small("stt-tiny")), "--tts", "none", "--max-streams", "2"]
    return ["-m", "dsm_mlx.serve", *models, "--port", "0", *arguments]


def names(server):
    with urllib.request.urlopen(server.url("/v1/models"), timeout=SECONDS) as answer:
        return [model["id"] for model in json.load(answer)["data"] if model["answers"]]


def test_a_model_on_this_machine(small, llm):
    """Two conversations at once, which share it."""
    how = ["--max-tokens", "4", "--temperature", "0"]  # nothing is drawn
    with Served(*command(small, "--llm", str(llm()), *how)) as server:
        assert names(server) == ["model", "echo"]
        assert "  conversations   model, echo\n" in server.told
        with Live(server, "") as one, Live(server, "model=model") as two:
            assert one.first["session"]["instructions"] == reply_args.SYSTEM
            for client in (one, two):
                client.write("good day")
                client.ask()
            found = [client.answer()[-1]["response"] for client in (one, two)]
        assert [response["status"] for response in found] == ["completed"] * 2
        assert all(response["usage"]["output_tokens"] for response in found)
        server.free(SECONDS)


def test_a_server_that_is_shown_a_key(small, monkeypatch):
    shown = []

    def talk(client):
        shown.append(client.headers["authorization"])
        client.send(HEAD, event("Yes."), END)

    monkeypatch.setenv("MY_KEY", KEY)
    with serving(scripted(talk)) as url:
        asked = ["--llm-url", url, "--llm-key", "MY_KEY", "--system", "Be kind."]
        with Served(*command(small, *asked)) as server:
            assert names(server) == ["talker", "echo"]
            with Live(server, "model=nobody") as client:
                assert client.first["session"]["instructions"] == "Be kind."
                client.ask()
                events = client.answer()
        assert shown == [f"Bearer {KEY}"]
        assert KEY not in f"{events}{client.first}{server.told}"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Yes."


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--llm-model", "x"], "--llm-model concerns a server"),
        (["--system", "x"], "--system concerns a language model"),
        (["--llm", "x", "--stt", "none"], "--stt is none"),
        (["--llm-url", "x", "--llm-key", KEY], "not the name of an environment variable"),
    ],
)
def test_usage(arguments, told, capsys):
    with pytest.raises(SystemExit):
        serve_args.parse(arguments)
    line = capsys.readouterr().err.splitlines()[-1]
    assert told in line and KEY not in line


def test_who_answers_changes_between_two_answers():
    """Each is made when it is needed, and closed when it is not."""
    happened = []

    class Reply:
        def __init__(self, name):
            self._name = name
            happened.append(f"{name} made")

        def __call__(self, messages):
            return f"{self._name} {messages}"

        def close(self):
            happened.append(f"{self._name} closed")

    one, two = (Answerer(name, lambda name=name: Reply(name)) for name in ("one", "two"))
    choice = one
    chosen = Chosen(lambda: choice)
    assert chosen("a") == "one a" and chosen("b") == "one b"
    choice = two
    assert chosen("c") == "two c"
    chosen.close()
    chosen.close()
    assert happened == ["one made", "one closed", "two made", "two closed"]
    with pytest.raises(ValueError, match="over"):
        chosen("d")
    assert happened[-2:] == ["two made", "two closed"], "which had begun before the end"
