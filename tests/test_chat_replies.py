"""What answers a conversation without a model of ours: an echo, and servers good and bad."""

import asyncio
import socket
import threading

import pytest
from completions import END, HEAD, MODELS, answer, event, scripted, serving

from dsm_mlx.chat.replies.echo import EchoReply
from dsm_mlx.chat.replies.exchange import Address
from dsm_mlx.chat.replies.server import ServerReply
from dsm_mlx.chat.replies.thoughts import Thoughts
from dsm_mlx.errors import ReplyError

SAID = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
KEY = "sk-very-secret"


def reply(chat, models=MODELS, **options):
    """The pieces of a server's reply, and what it was asked."""
    asked = []

    def noted(client):
        asked.append(client)
        chat(client)

    with serving(scripted(noted, models)) as url:
        return list(ServerReply(url, **options)(SAID)), asked[0]


def failure(chat, models=MODELS, **options):
    """The pieces that came, and the error after them, without the address."""
    pieces = []
    with (
        serving(scripted(chat, models)) as url,
        pytest.raises(ReplyError) as caught,
    ):
        for piece in ServerReply(url, **options)(SAID):
            pieces.append(piece)  # noqa: PERF402 - what came before the error counts
    told = str(caught.value)
    assert told.startswith(f"{url}: ") and "\n" not in told and KEY not in told
    return pieces, told.removeprefix(f"{url}: ")


def test_an_echo_says_what_was_heard():
    assert EchoReply()([*SAID, {"role": "assistant", "content": "hi"}]) == "hello"
    assert EchoReply()(SAID[:1]) == ""


# ---- a good server


def test_pieces_come_as_they_are_sent():
    first = threading.Event()

    def chat(client):
        client.send(HEAD, event("", role="assistant"), event("Good "))
        assert first.wait(10)
        client.send(b": still here\n\n", event("day."), END)

    with serving(scripted(chat)) as url:
        pieces = iter(ServerReply(url)(SAID))
        assert next(pieces) == "Good "
        first.set()
        assert list(pieces) == ["day."]


def test_what_is_asked():
    def chat(client):
        client.send(HEAD, event("Yes."), END)

    options = {"key": KEY, "temperature": 0.5, "max_tokens": 9, "extra": {"top_p": 0.9}}
    pieces, asked = reply(chat, **options)
    assert pieces == ["Yes."] and asked.headers["authorization"] == f"Bearer {KEY}"
    wanted = {"model": "talker", "messages": SAID, "stream": True, "temperature": 0.5}
    assert asked.body == {**wanted, "max_tokens": 9, "top_p": 0.9}
    _, asked = reply(chat, model="mine", models=b"")  # which nobody asks for then
    assert asked.body == {"model": "mine", "messages": SAID, "stream": True}
    assert "authorization" not in asked.headers


def test_pieces_in_an_event_loop():
    async def collected(url):
        return [piece async for piece in ServerReply(url)(SAID)]

    with serving(scripted(lambda client: client.send(HEAD, event("a"), event("b"), END))) as url:
        assert asyncio.run(collected(url)) == ["a", "b"]


def test_lines_and_signs_that_are_cut_anywhere():
    stream = event("naïve ☃").replace(b"\n", b"\r\n") + END

    def chat(client):
        client.send(HEAD, *(stream[i : i + 1] for i in range(len(stream))))

    assert reply(chat)[0] == ["naïve ☃"]


def test_a_chunked_answer():
    head = HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")
    parts = [event("one "), event("two"), END]
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    assert reply(lambda client: client.send(head, *chunks, b"0\r\n\r\n"))[0] == ["one ", "two"]


def test_a_server_that_does_not_stream():
    whole = answer({"choices": [{"message": {"content": "At once."}, "finish_reason": "stop"}]})
    assert reply(lambda client: client.send(whole))[0] == ["At once."]


def test_a_server_that_goes_on_after_the_end_is_not_waited_for():
    def chat(client):
        client.send(HEAD, event("Done."), event(finish_reason="length"))
        assert client.wait_until_gone()

    assert reply(chat)[0] == ["Done."]


def test_thoughts_are_left_out():
    def chat(client):
        client.send(HEAD, *map(event, ["<th", "ink>hm", "m</thi", "nk>Yes <", "b>."]), END)

    assert "".join(reply(chat)[0]) == "Yes <b>."


@pytest.mark.parametrize(
    ("text", "inside", "said"),
    [
        ("a<think>b</think>c<think>d</think>", False, "ac"),
        ("b</think>c", True, "c"),
        ("never ending", True, ""),
        ("a < b <thin", False, "a < b <thin"),
        ("<think>never ending", False, ""),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_thoughts_in_pieces_of_any_size(text, inside, said, size):
    thoughts = Thoughts(inside=inside)
    pieces = [thoughts(text[i : i + size]) for i in range(0, len(text), size)]
    assert "".join([*pieces, thoughts.end()]) == said


# ---- a bad one


def test_no_server():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for model in (None, "mine"):
        with pytest.raises(ReplyError, match="nothing listens there"):
            list(ServerReply(f"localhost:{port}", model)(SAID))


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        ("401 No", {"error": {"message": f"bad key {KEY}"}}, "status 401: bad key ***"),
        ("401 No", b"", "it wants another key (status 401)"),
        ("404 No", {"error": "model 'x' not found"}, "status 404: model 'x' not found"),
        ("404 No", b"<html>nothing</html>", "it has no such page (status 404)"),
        ("500 No", {"detail": "out of\nmemory"}, "status 500: out of\\nmemory"),
        ("500 No", b"", "it answered with status 500"),
        ("302 No", b"", "it answered with status 302"),
    ],
)
def test_answers_that_are_errors(status, body, told):
    pieces, error = failure(lambda client: client.send(answer(body, status)), key=KEY)
    assert pieces == [] and told in error


def test_an_error_in_the_middle():
    wrong = b'data: {"error": {"message": "the model has crashed"}}\n\n'
    pieces, error = failure(lambda client: client.send(HEAD, event("So "), wrong))
    assert (pieces, error) == (["So "], "the model has crashed")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_stream_that_breaks_off(chunked):
    head, part = HEAD, event("So ")
    if chunked:
        head = HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")
        part = b"%x\r\n%s\r\n10\r\nhalf" % (len(part), part)
    pieces, error = failure(lambda client: client.send(head, part))
    assert (pieces, error) == (["So "], "the answer broke off")


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"data: {nonsense\n\n",
        HEAD + b"data: []\n\n",
        HEAD + b'data: {"choices": 3}\n\n',
        HEAD + b'data: {"choices": [3]}\n\n',
        HEAD + b'data: {"choices": [{"delta": {"content": 3}}]}\n\n',
        HEAD + b"data: " + b"[" * 100_000 + b"\n\n",
        HEAD + b"data: \xff\xfe\n\n",
        answer(b"<html>hello</html>", kind="text/html"),
    ],
)
def test_nonsense(sent):
    assert failure(lambda c: c.send(sent)) == ([], "what it sends is no chat completion")


def test_something_else_altogether():
    assert (
        failure(lambda c: c.send(b"220 mail\r\n"))[1] == "no OpenAI-compatible server answers there"
    )
    assert "not in lines" in failure(lambda c: c.send(HEAD, b"x" * (3 << 20)))[1]
    assert "broke off" in failure(lambda c: c.send(HEAD, b"hello\n"))[1]


def test_lines_that_are_no_data_do_not_count():
    def chat(client):
        client.send(HEAD, b"event: hello\nid: 3\nretry: 5\n: a comment\n\n", event("Yes."), END)

    assert reply(chat)[0] == ["Yes."]


@pytest.mark.parametrize(
    ("head", "kept"),
    [(b"HTTP/1.1 200 OK\r\n", b""), (HEAD, b""), (HEAD + event("So "), b": wait\n\n")],
)
def test_a_server_that_stalls(head, kept):
    """Also one that keeps the connection alive, and says nothing."""

    def chat(client):
        client.send(head)
        while not client.wait_until_gone(0.05):
            client.send(kept)

    pieces, error = failure(chat, model="x", timeout=0.7)
    assert pieces == (["So "] if b"So" in head else [])
    assert error == ("nothing more came for 0.7 s" if HEAD in head else "no answer within 0.7 s")


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (answer({"data": []}), "it has no model"),
        (answer({"data": [{"id": "embedder"}, 3, {}]}), "it has no model"),
        (answer({"models": []}), "what it says of its models is nothing known"),
        (answer(b"hello"), "what it says of its models is nothing known"),
        (answer({"message": "not today"}, "503 No"), "it answered with status 503: not today"),
    ],
)
def test_models_that_cannot_be_known(models, told):
    assert failure(lambda client: None, models) == ([], told)


def test_the_check():
    with serving(scripted(lambda client: None)) as url:
        assert ServerReply(url).check() == "talker" and ServerReply(url, "x").check() == "x"
    with serving(scripted(lambda client: None, answer(b"", "404 No"))) as url:
        assert ServerReply(url, "mine").check() == "mine"
        with pytest.raises(ReplyError, match="no such page"):
            ServerReply(url).check()
    with (
        serving(scripted(lambda client: None, answer(b"", "401 No"))) as url,
        pytest.raises(ReplyError, match="another key"),
    ):
        ServerReply(url, "mine").check()


# ---- closing


@pytest.mark.parametrize("sent", [None, HEAD, HEAD + event("So ")])
def test_closing_ends_the_connection_while_somebody_waits(sent):
    waiting, gone = threading.Event(), threading.Event()

    def chat(client):
        if sent:
            client.send(sent)
        waiting.set()
        if client.wait_until_gone():
            gone.set()

    with serving(scripted(chat)) as url:
        pieces, found = ServerReply(url)(SAID), []
        reader = threading.Thread(target=lambda: found.extend(pieces))
        reader.start()
        assert waiting.wait(10)
        pieces.close()
        assert gone.wait(10)
        reader.join(10)
        assert not reader.is_alive() and "".join(found) in ("", "So ")


def test_closing_between_two_pieces():
    gone = threading.Event()

    def chat(client):
        client.send(HEAD, event("one"), event("two"))
        if client.wait_until_gone():
            gone.set()

    with serving(scripted(chat)) as url:
        pieces = ServerReply(url)(SAID)
        assert next(pieces) == "one"
        pieces.close()
        assert gone.wait(10) and list(pieces) == []


def test_a_task_that_is_cancelled():
    waiting, gone = threading.Event(), threading.Event()

    def chat(client):
        client.send(HEAD)
        waiting.set()
        if client.wait_until_gone():
            gone.set()

    async def one_piece(url):
        pieces = ServerReply(url)(SAID)
        task = asyncio.ensure_future(pieces.__anext__())
        await asyncio.to_thread(waiting.wait, 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pieces.aclose()
        return await asyncio.to_thread(gone.wait, 10)

    with serving(scripted(chat)) as url:
        assert asyncio.run(one_piece(url))


# ---- arguments


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("localhost:11434", ("localhost", 11434, "/v1")),
        ("http://localhost:1234/v1/", ("localhost", 1234, "/v1")),
        ("https://host/api/v1/chat/completions", ("host", None, "/api/v1")),
        ("http://[::1]:80", ("::1", 80, "/v1")),
    ],
)
def test_addresses(url, where):
    address = Address.of(url, KEY)
    assert (address.host, address.port, address.path) == where
    assert address.secure == url.startswith("https") and KEY not in repr(address)


@pytest.mark.parametrize(
    "url",
    ["", "ftp://host", "http://", "http://host:99999", "http://u:p@host", "http://h/a b", "?"],
)
def test_what_is_no_address(url):
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        ServerReply(url)


def test_arguments_that_cannot_be():
    for wrong in ({"key": "a\nb"}, {"key": ""}, {"timeout": 0}, {"temperature": -1}):
        with pytest.raises(ValueError) as caught:
            ServerReply("localhost", **wrong)
        assert "a\nb" not in str(caught.value)
    for wrong in ({"model": 3}, {"max_tokens": 1.5}):
        with pytest.raises(TypeError):
            ServerReply("localhost", **wrong)
