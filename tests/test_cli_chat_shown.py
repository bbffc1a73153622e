"""What the chat command shows of what happens, and which turns it keeps."""

import json
import logging
import re

from dsm_mlx.chat.events import (
    DeviceLost,
    Failed,
    Heard,
    Interrupted,
    Latency,
    Partial,
    Said,
    Saying,
    TakenBack,
    Thinking,
    TurnEnded,
    Writing,
)
from dsm_mlx.cli import chat_args, chatting
from dsm_mlx.cli.dialogue import Live, Turns, latency_line, line_of

LATENCY = Latency(0.2, 0.1, 0.3)


def shown(*events):
    """What a terminal has in the end: lines, with what is dimmed in brackets."""
    live, lines, at = Live(), [""], 0
    text = "".join(map(live.show, events))
    for part in re.findall(r"\x1b\[\d*[A-Za-z]|\n|[^\x1b\n]+", text):
        if part == "\n":
            lines.append("")
            at = 0
        elif part.startswith("\x1b["):
            if part[-1] == "D":
                at -= int(part[2:-1])
            elif part[-1] == "K":
                lines[-1] = lines[-1][:at]
        else:
            lines[-1] = lines[-1][:at] + part
            at += len(part)
    return lines


def test_words_as_they_come_and_as_they_are_heard():
    assert shown(Partial("he", 1)) == ["you: he"]
    talk = [Partial("he", 1), Heard("hello", 1), Partial("hello th", 2), Heard("hello there", 2)]
    assert shown(*talk[:3]) == ["you: hello th"]
    assert "".join(map(Live().show, talk[1:3])) == "you: hello\x1b[2m th\x1b[0m"
    talk += [TurnEnded("hello there", 3), Thinking(3), Writing("Good day", 3)]
    assert shown(*talk) == ["you: hello there"]
    talk += [Saying("Good", 4), Saying(" day.", 5)]
    assert shown(*talk) == ["you: hello there", "assistant: Good day."]
    talk += [Said("Good day.", LATENCY, 6), Heard("yes", 7)]
    assert shown(*talk) == ["you: hello there", "assistant: Good day.", "you: yes"]


def test_a_turn_that_is_taken_back_goes_on_in_its_line():
    talk = [Heard("well", 1), TurnEnded("well", 2), TakenBack("well", 2), Heard("well no", 3)]
    assert shown(*talk) == ["you: well no"]
    talk[2:3] = []  # not taken back: it is another turn, whatever its words
    assert shown(*talk) == ["you: well", "you: well no"]


def test_an_interruption_is_marked():
    talk = [Heard("hi", 1), TurnEnded("hi", 2), Saying("Good", 3), Interrupted("Good", "Good d", 4)]
    assert shown(*talk) == ["you: hi", "assistant: Good -- (interrupted)", ""]
    talk[2:3] = []
    assert shown(*talk) == ["you: hi", ""]


def test_nothing_does_something_to_the_terminal():
    talk = [Heard("a\x1b[2Jb", 1), Saying("\x1b]0;x\x07\r\nc", 2)]
    text = "".join(map(Live().show, talk))
    assert set(text) & {"\x1b", "\x07", "\r"} == set() and text.count("\n") == 1


def settled(*events):
    turns = Turns()
    return [line_of(turn) for event in events for turn in turns.take(event)] + [
        line_of(turn) for turn in turns.end()
    ]


def test_turns_are_given_when_nothing_can_change_them():
    assert settled(Heard("a", 1)) == []
    assert settled(TurnEnded("a", 1)) == ["you: a"]
    assert settled(TurnEnded("a", 1), TakenBack("a", 1), TurnEnded("a b", 2)) == ["you: a b"]
    assert settled(TurnEnded("a", 1), TurnEnded("b", 2)) == ["you: a", "you: b"]
    said = [TurnEnded("a", 1), Saying("B", 2), Said("B\nc", None, 3)]
    assert settled(*said) == ["you: a", "assistant: B c"]
    cut = [TurnEnded("a", 1), Interrupted("B", "B c", 3)]
    assert settled(*cut) == ["you: a", "assistant: B -- (interrupted)"]
    assert settled(TurnEnded("a", 1), Interrupted("", "B", 3)) == ["you: a"]
    assert settled(TurnEnded("a", 1), Failed("x", 2), TakenBack("a", 3)) == ["you: a"]


def test_an_interruption_in_the_transcript(tmp_path, capsys):
    kept = tmp_path / "talk.jsonl"
    args = chat_args.parse(["--echo", "--transcript", str(kept)])
    with chatting.Show(args, terminal=True) as show:
        for happened in (
            Heard("hi", 1),
            TurnEnded("hi", 1),
            Saying("Good", 2),
            Interrupted("Good", "Good day", 2.5),
            DeviceLost("gone", 3),
        ):
            show(happened)
    entries = [json.loads(line) for line in kept.read_text().splitlines()]
    assert entries[0] == {"role": "user", "text": "hi", "time": 1}
    cut = {"interrupted": True, "written": "Good day"}
    assert entries[1] == {"role": "assistant", "text": "Good", "time": 2.5, **cut}
    out, err = capsys.readouterr()
    assert out == "you: hi\nassistant: Good -- (interrupted)\n" and err == "error: gone\n"


def test_log_messages_get_lines_of_their_own(capsys):
    with chatting.Show(chat_args.parse(["--echo"]), terminal=True) as show:
        show(Heard("well", 1))
        logging.getLogger("dsm_mlx").warning("it is %s", "late")
        show(Heard("well then", 2))
    out, err = capsys.readouterr()
    assert out == "you: well\nyou: well then\n" and err == "it is late\n"


def test_how_long_an_answer_took():
    assert latency_line(LATENCY) == (
        "  0.60 s to the first sound: end of turn 0.20, first token 0.10, first sound 0.30"
    )
