"""Replies of a language model on this machine: the same words as afresh, in turns with all else."""

import threading
from functools import partial

import numpy as np
import pytest

import dsm_mlx
from dsm_mlx.chat.replies.local import LocalReply
from dsm_mlx.errors import BusyError, ReplyError
from dsm_mlx.llm.loading import open_model
from dsm_mlx.llm.template import ChatTemplate
from dsm_mlx.llm.writer import Ticket, Writer
from dsm_mlx.runtime import worker

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install '.[chat]'")
import small_llm

SYSTEM = {"role": "system", "content": "answer in few words"}
QUESTIONS = ["hello there", "and what is this", "why", "go on please and tell me more of it"]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


@pytest.fixture
def reply(llm):
    """`reply(**options)`: one whose tokens are the most likely ones."""
    return lambda *args, **options: LocalReply(
        llm(*args), **{"temperature": 0, "max_tokens": 24, "context": 512} | options
    )


@pytest.fixture
def counted(reply):
    """A reply and the sizes of what its model was given, one a turn."""
    made = reply()
    net, sizes = made._writer._net, []

    def call(tokens, **options):
        sizes.append(tokens.shape[1])
        return net(tokens, **options)

    call.layers = net.layers
    made._writer._net = call
    return made, sizes


def conversation(answer, cut):
    """What `answer` says to four questions. cut: how many letters of each answer are heard."""
    messages, answers = [SYSTEM], []
    for question in QUESTIONS:
        messages.append(user(question))
        answers.append("".join(answer(messages)))
        messages.append(assistant(answers[-1][:cut]))
    return answers


@pytest.mark.parametrize("cut", [None, 5, 0])
def test_what_is_kept_changes_nothing(reply, cut):
    """Whole answers, and those that were interrupted: as of a model that has read all afresh."""
    kept = conversation(reply(), cut)
    assert kept == conversation(lambda messages: reply()(messages), cut)
    assert len(set(kept)) == 4 and all(len(text) > 5 for text in kept)


def test_only_what_is_new_is_read(counted):
    made, sizes = counted
    messages = [SYSTEM, user("good day")]
    text = "".join(made(messages))
    assert len(text) == 24 and sum(sizes) == len(made._writer.known)
    # The last letter, which was drawn and not read, the ends of both turns, who speaks, and "why".
    for heard, new in ((text, 1 + 1 + 1 + 3 + 1 + 1), (text[:5], 1 + 1 + 3 + 1 + 1)):
        sizes.clear()
        "".join(made([*messages, assistant(heard), user("why")]))
        assert sum(sizes) == new - 1 + 24


def test_a_reply_that_was_closed_is_gone_on_from_where_it_was(counted, reply):
    made, sizes = counted
    messages = [SYSTEM, user("good day")]
    pieces = made(messages)
    heard = "".join(next(pieces) for _ in range(6))
    pieces.close()
    assert list(pieces) == [] and len(heard) == 6
    sizes.clear()
    messages += [assistant(heard), user("stop")]
    assert "".join(made(messages)) == "".join(reply()(messages))
    assert sum(sizes) == 1 + 1 + 1 + 4 + 1 + 24


def test_another_conversation_is_not_mixed_up_with_the_last(reply):
    made, other = reply(), [user("something else")]
    first = "".join(made([SYSTEM, user("hello")]))
    assert "".join(made(other)) == "".join(reply()(other))
    assert "".join(made([SYSTEM, user("hello")])) == first


def test_a_cache_that_cannot_be_cut_is_made_anew(llm, monkeypatch):
    from mlx_lm.models import cache as caches

    monkeypatch.setattr(caches, "can_trim_prompt_cache", lambda _: False)
    made_reply = LocalReply(llm(), temperature=0, max_tokens=24)
    assert conversation(made_reply, 3) == conversation(
        lambda messages: LocalReply(llm(), temperature=0, max_tokens=24)(messages), 3
    )


# ---- in turns


class Paced:
    """A model whose turns last as long by the clock as a test says: some seconds, and more for each
    token."""

    def __init__(self, net, seconds, a_token):
        self._net, self.layers, self.now = net, net.layers, 0.0
        self._seconds, self._a_token, self.turns = seconds, a_token, []

    def __call__(self, tokens, **options):
        seconds = self._seconds + self._a_token * tokens.shape[1]
        self.now += seconds
        self.turns.append((tokens.shape[1], seconds))
        return self._net(tokens, **options)

    def clock(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "a_token", "size", "longest"),
    [
        (0.0, 0.15, 2, 0.3),  # on a slow processor
        (0.05, 0.001, 32, 0.082),  # a large model, whose weights take most of the time
        (0.005, 0.001, 32, 0.037),
        (0.001, 0.00001, 256, 0.004),  # more at once would gain nothing
    ],
)
def test_a_turn_lasts_about_as_long_as_a_token(llm, seconds, a_token, size, longest):
    loaded = open_model(llm(), 4096)
    paced = Paced(loaded.net, seconds, a_token)
    writer = Writer(paced, 0.0, 0, paced.clock)
    tokens = [1 + i % 20 for i in range(1500)]
    token = worker.run_pieces(writer.read(tokens, Ticket()))
    assert paced.turns[0][0] == paced.turns[-1][0] == 1 and sum(n for n, _ in paced.turns) == 1500
    assert paced.turns[-3][0] == size and max(s for _, s in paced.turns) < longest + 1e-9
    # And what follows is the same, whatever the turns were.
    other = Writer(loaded.net, 0.0, 0, lambda: 0.0)
    assert token == worker.run_pieces(other.read(tokens, Ticket()))


def test_a_turn_that_was_too_long_is_followed_by_shorter_ones(llm):
    paced = Paced(open_model(llm(), 4096).net, 0.001, 0.0001)
    writer = Writer(paced, 0.0, 0, paced.clock)
    worker.run_pieces(writer.read([1] * 600, Ticket()))
    assert max(paced.turns)[0] == 256
    paced._a_token, paced.turns[:] = 0.01, []
    worker.run_pieces(writer.read([2] * 600, Ticket()))
    assert paced.turns[0][0] == 256 and all(seconds < 0.07 for _, seconds in paced.turns[1:])


def test_every_turn_is_one_call_of_the_model(counted):
    made, sizes = counted
    ticket, tokens = Ticket(), [1] * 100
    pieces, calls = made._writer.read(tokens, ticket), []
    while True:
        done = worker.run(partial(next, pieces, "done"))
        calls.append(len(sizes))
        if done == "done":
            break
    worker.run(made._writer.write, ticket)
    assert calls == list(range(1, len(calls) + 1)) and len(sizes) == len(calls) + 1


def test_somebody_hears_while_a_reply_is_written(small, reply):
    """A stream's frames are stepped between two tokens, and its words are what they are alone."""
    made = reply(max_tokens=10_000, context=20_000)
    made._writer._draw = lambda logits: 3  # it never comes to an end
    pcm = 0.2 * np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    with dsm_mlx.load_stt(small("stt-tiny")) as stt:
        alone = stt.transcribe(pcm, sample_rate=24_000).words
        pieces, going = made([user("tell me")]), threading.Event()
        writing = threading.Thread(target=lambda: [going.set() for _ in pieces])
        writing.start()
        assert going.wait(10)
        with stt.stream() as stream:
            beside = [e for e in stream.feed(pcm) + stream.flush() if isinstance(e, dsm_mlx.Word)]
        assert writing.is_alive()
        pieces.close()
        writing.join(10)
        assert [w.text for w in beside] == [w.text for w in alone] and beside


class Slow:
    """A model that waits in its third turn until it may go on."""

    def __init__(self, net):
        self._net, self.layers, self.turns = net, net.layers, 0
        self.waits, self.go_on = threading.Event(), threading.Event()

    def __call__(self, tokens, **options):
        self.turns += 1
        if self.turns == 3:
            self.waits.set()
            assert self.go_on.wait(10)
        return self._net(tokens, **options)


@pytest.mark.parametrize("words", [1, 60])
def test_closing_ends_it_at_the_turn_that_is_computed(reply, words):
    """While it writes, and while it still reads."""
    made = reply()
    slow = made._writer._net = Slow(made._writer._net)
    pieces, found = made([user("hello " * words)]), []
    reader = threading.Thread(target=lambda: found.extend(pieces))
    reader.start()
    assert slow.waits.wait(10)
    pieces.close()
    slow.go_on.set()
    reader.join(10)
    assert not reader.is_alive() and slow.turns == 3 and len(found) <= 2
    messages = [user("hello again")]
    assert "".join(made(messages)) == "".join(reply()(messages))


def test_a_new_reply_ends_the_last_one(reply):
    made = reply()
    first, messages = made([user("one")]), [user("two")]
    assert next(first)
    second = made(messages)
    start = next(second)
    with pytest.raises(BusyError, match="another reply"):
        next(first)
    assert start + "".join(second) == "".join(reply()(messages))


def test_what_goes_wrong_in_a_turn_leaves_nothing_half(reply, monkeypatch):
    made, messages = reply(), [user("hello")]
    list(made(messages))
    net = made._writer._net

    def fail(*_, **__):
        raise RuntimeError("no memory")

    made._writer._net = fail
    with pytest.raises(RuntimeError, match="no memory"):
        list(made([user("hello you")]))
    made._writer._net = net
    assert made._writer.known == ()
    assert "".join(made(messages)) == "".join(reply()(messages))


def test_closing_the_model(reply):
    made = reply()
    pieces = made([user("hello")])
    assert next(pieces)
    made.close()
    with pytest.raises(ValueError, match="is closed"):
        list(pieces)
    with pytest.raises(ValueError, match="is closed"):
        list(made([user("hello")]))
    made.close()


# ---- what is said


def test_a_seed_makes_it_repeatable(reply):
    said = ["".join(reply(temperature=1, seed=seed)([user("hi")])) for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_no_more_tokens_than_wanted(reply):
    assert len("".join(reply(max_tokens=3)([user("hi")]))) == 3


def test_the_end_is_not_said(reply):
    """A model that wants to end at once, as its own mark of the end tells."""
    made = reply()
    end = next(iter(made._tokenizer.eos_token_ids))
    made._writer._draw = lambda _: end
    assert list(made([user("hi")])) == []


def test_thoughts_are_not_said(llm):
    """Where the template begins them, and where the model does."""
    loaded = open_model(llm(small_llm.THINKING), 512)
    tokenizer = loaded.tokenizer
    start, end = tokenizer.think_start_id, tokenizer.think_end_id
    letters = tokenizer.encode("hm yes", add_special_tokens=False)
    ends = next(iter(tokenizer.eos_token_ids))
    for template, drawn in (
        (small_llm.THINKING, [*letters[:3], end, *letters[3:], ends]),
        (small_llm.TEMPLATE, [start, *letters[:3], end, *letters[3:], ends]),
    ):
        thinker = LocalReply(llm(template), temperature=0, max_tokens=24)
        coming = iter(drawn)
        thinker._writer._draw = lambda _, coming=coming: next(coming)
        assert "".join(thinker([user("hi")])) == "yes"


def test_a_template_that_knows_no_system(llm, reply):
    strict, plain = reply(small_llm.STRICT), reply()
    told = user(f"{SYSTEM['content']}\n\n(You have said: good day)\n\nhi")
    messages = [SYSTEM, assistant("good day"), user("hi")]
    assert "".join(strict(messages)) == "".join(plain([told]))


def test_a_template_that_always_fails(llm):
    broken = LocalReply(llm("{{ raise_exception('never') }}"))
    with pytest.raises(ReplyError, match="its chat template failed \\(never\\)"):
        list(broken([user("hi")]))


def test_a_long_conversation_leaves_out_its_beginning(llm):
    """In steps, so that the beginning of what is left stays the same for some turns."""
    tokenizer = open_model(llm(), 512).tokenizer
    template = ChatTemplate(tokenizer, "m", 200)
    messages, starts, longest = [SYSTEM], [], 0
    for turn in range(40):
        messages.append(user(f"question {'abcdefghij'[turn % 10]}"))
        tokens = template.tokens(messages)
        text = tokenizer.decode(tokens)
        assert text.startswith(f"<|system|>{SYSTEM['content']}<|end|><|user|>")
        assert text.endswith(f"{messages[-1]['content']}<|end|><|assistant|>")
        starts.append(len(template._left_out))
        longest = max(longest, len(tokens))
        messages.append(assistant("an answer"))
    assert 150 < longest <= 200 and len(set(starts)) <= 12 and starts == sorted(starts)
    assert template.tokens([user("new")]) and template._left_out == []
    with pytest.raises(ReplyError, match="longer than the 200 tokens"):
        template.tokens([SYSTEM, user("x" * 300)])
    assert len(template.tokens([user("x" * 150)])) > 150
